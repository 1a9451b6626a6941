/**
 * The cheapest mix of suppliers for a load, and what a shock of prices or supply does to it.
 *
 *     minimise sum cost_i x_i   with   sum x_i = demand,  0 <= x_i <= available_i,  x_i <= maxShare demand
 *
 * x_i is throughput bought from supplier i, cost_i its price per unit of throughput. A linear program (yalps, a simplex).
 * Concentration is the Herfindahl-Hirschman index, the sum of the squared shares: 1 is a single supplier, 1 / n an even split.
 * Leaves out: long contracts, fixed costs of a second platform, and steps of whole systems.
 */
import { type Constraint, solve } from 'yalps';
import { ModelError } from '../base/errors.ts';
import { expectFinite } from './expect.ts';

export interface Supplier {
  readonly name: string;
  /** Dollars per hour for one unit of throughput. */
  readonly cost: number;
  /** Most throughput that can be had; without limit if left out. */
  readonly available?: number;
}

/** A factor on the price and on the supply of one supplier: { price: 1.5 } is 50 % dearer. */
export interface Shock {
  readonly price?: number;
  readonly supply?: number;
}

/** What one supplier serves: its throughput, and its part of the demand. */
export interface Mix {
  readonly name: string;
  readonly throughput: number;
  readonly share: number;
}

/** A split of the demand. `hhi` is the concentration, 1 / n to 1. */
export interface Portfolio {
  readonly mix: readonly Mix[];
  readonly usdPerHour: number;
  readonly hhi: number;
}

/**
 * @param maxShare most of the demand that one supplier may serve
 * @throws ModelError CAPACITY if the suppliers cannot serve the demand
 */
export function bestMix(suppliers: readonly Supplier[], demand: number, maxShare: number = 1): Portfolio {
  expectFinite('demand', demand, { above: 0 });
  expectFinite('max-share', maxShare, { above: 0, max: 1 });
  const constraints = new Map<string, Constraint>([['demand', { equal: 1 }]]);
  const variables = new Map<string, Record<string, number>>();
  for (const { name, cost, available = Infinity } of suppliers) {
    expectFinite(`cost of ${name}`, cost, { min: 0 });
    // Shares rather than amounts: the solver's tolerances are absolute.
    const most = Math.min(maxShare, available === Infinity ? 1 : available / demand);
    constraints.set(`most of ${name}`, { max: expectFinite(`supply of ${name}`, most, { min: 0 }) });
    variables.set(name, { demand: 1, [`most of ${name}`]: 1, cost });
  }
  const solution = solve({ direction: 'minimize', objective: 'cost', constraints, variables });
  if (solution.status !== 'optimal') {
    throw new ModelError('CAPACITY', 'suppliers', `expected supply for ${demand} of load, got less`);
  }
  const shares = new Map(solution.variables);
  return portfolio(
    suppliers,
    suppliers.map(({ name }) => shares.get(name) ?? 0),
    demand,
  );
}

function portfolio(suppliers: readonly Supplier[], shares: readonly number[], demand: number): Portfolio {
  return {
    mix: suppliers.map(({ name }, i) => ({ name, throughput: shares[i]! * demand, share: shares[i]! })),
    usdPerHour: suppliers.reduce((sum, { cost }, i) => sum + cost * shares[i]! * demand, 0),
    hhi: shares.reduce((sum, share) => sum + share * share, 0),
  };
}

/** The suppliers after shocks, by name. @throws RangeError for a shock of a stranger or a negative factor */
export function shocked(suppliers: readonly Supplier[], shocks: ReadonlyMap<string, Shock>): Supplier[] {
  for (const name of shocks.keys()) {
    if (suppliers.some((supplier) => supplier.name === name)) continue;
    throw new RangeError(`"shock" expected one of ${suppliers.map((s) => s.name).join(', ')}, got ${name}`);
  }
  return suppliers.map((supplier) => {
    const { price = 1, supply = 1 } = shocks.get(supplier.name) ?? {};
    expectFinite('shock of price', price, { min: 0 });
    expectFinite('shock of supply', supply, { min: 0 });
    const { available } = supplier;
    return {
      ...supplier,
      cost: supplier.cost * price,
      ...(available !== undefined && { available: available * supply }),
    };
  });
}
