/**
 * `trnsim plan --power | --budget | --load | --chips`: a target sized into chips on one or several systems, as a JSON-safe
 * result in which every figure that was taken from somewhere says from where.
 *
 * Several systems are alternatives, ranked; with shares they are one mixed fleet, each with its part of the target. With a
 * load and prices, the cheapest mix of the systems is found as well, before and after shocks.
 */
import { expectInteger } from '../base/errors.ts';
import type { Dollars, Seconds, Watts } from '../base/units.ts';
import type { SystemSpec } from '../hardware/spec.ts';
import type { Formats, Software } from '../models/graph.ts';
import type { ModelSpec } from '../models/spec.ts';
import { expectFinite } from './expect.ts';
import { type FleetTarget, sizeFleet } from './fleet.ts';
import { describeFleet, type FleetPlan } from './fleet-description.ts';
import { bestMix, type Portfolio, type Shock, type Supplier, shocked } from './portfolio.ts';
import { chipPrice, givenPrice, type PriceQuery } from './prices.ts';
import { bestServing } from './serving.ts';

/** What the fleet serves: each of the models gets an equal part of the tokens. */
export interface Workload {
  readonly models: readonly ModelSpec[];
  readonly formats: Formats;
  /** Tokens of a request's prompt, and of its answer. */
  readonly input: number;
  readonly output: number;
  /** Most time per output token that a plan may take. */
  readonly tpot: Seconds;
  readonly software: Software;
  /** Part of the model's throughput that is reached, 1 if left out. */
  readonly efficiency?: number;
}

export interface FleetPlanOptions {
  readonly target: FleetTarget;
  /** Alternatives; with `shares` the members of one fleet. */
  readonly systems: readonly SystemSpec[];
  readonly workload?: Workload;
  /** Tokens per second of a chip, in place of the workload's. */
  readonly tokensPerSecondPerChip?: number;
  /** Power of the building / power of the machines, in place of the published one. */
  readonly pue?: number;
  /** TDP of a chip, and what it takes with its share of hosts, switches and conversion, in place of published ones. */
  readonly chipPower?: Watts;
  readonly allInPower?: Watts;
  readonly cooling?: 'air' | 'liquid';
  /** Which of the public prices; `usdPerChipHour` takes their place. */
  readonly price?: PriceQuery;
  readonly usdPerChipHour?: Dollars;
  /** kg CO2e per kWh of the grid, litres per kWh of the machines. */
  readonly carbonIntensity?: number;
  readonly waterIntensity?: number;
  /** By system id: a mixed fleet. */
  readonly shares?: ReadonlyMap<string, number>;
  /** By system id: chips that can be had, shocks, and the most that one supplier may serve. */
  readonly supply?: ReadonlyMap<string, number>;
  readonly shocks?: ReadonlyMap<string, Shock>;
  readonly maxShare?: number;
}

/** A split of the load over several systems, its cost an hour, and how concentrated it is. */
export interface MixResult extends Pick<Portfolio, 'usdPerHour' | 'hhi'> {
  readonly name: 'cheapest' | 'same mix after the shocks' | 'cheapest after the shocks';
  readonly mix: readonly { readonly name: string; readonly tokensPerS: number; readonly share: number }[];
}

export interface FleetPlanResult {
  readonly schemaVersion: 1;
  readonly target: FleetTarget;
  /** Ranked: least cost per token, then least power per token, then most compute. In a mixed fleet, in the order of its shares. */
  readonly plans: readonly FleetPlan[];
  /** Of a mixed fleet. */
  readonly total: Readonly<Record<'chips' | 'buildingPowerMW' | 'usdPerHour' | 'tokensPerS', number | null>> | null;
  readonly mix: readonly MixResult[] | null;
}

/**
 * @throws RangeError for an option out of range; ModelError UNSUPPORTED where the target can't be divided, CAPACITY where
 * the suppliers can't serve the load
 */
export function planFleet(options: FleetPlanOptions): FleetPlanResult {
  const { target, systems, shares } = options;
  checkShares(shares);
  checkWorkload(options.workload);
  if (options.maxShare !== undefined) expectFinite('max-share', options.maxShare, { above: 0, max: 1 });
  const parts = shares === undefined ? systems.map((system) => ({ system, share: null })) : shared(systems, shares);
  const plans = parts.map(({ system, share }) =>
    planOf(system, share === null ? target : partOf(target, share), share, options),
  );
  if (shares === undefined) plans.sort(compare);
  return {
    schemaVersion: 1,
    target,
    plans,
    total: shares === undefined ? null : totalOf(plans),
    mix:
      target.type === 'load' && plans.length > 1 && shares === undefined
        ? mixes(plans, target.tokensPerSecond, options)
        : null,
  };
}

/** Before any plan is tried: a search takes a refusal as a plan that does not fit. */
function checkWorkload(workload: Workload | undefined): void {
  if (workload === undefined) return;
  expectInteger('input', workload.input, 1);
  expectInteger('output', workload.output, 1);
  expectFinite('tpot', workload.tpot, { above: 0 });
  expectFinite('efficiency', workload.efficiency ?? 1, { above: 0, max: 1 });
}

function checkShares(shares: ReadonlyMap<string, number> = new Map()): void {
  const total = Array.from(shares, ([id, share]) => expectFinite(`share of ${id}`, share, { above: 0, max: 1 }));
  const sum = total.reduce((a, b) => a + b, 0);
  if (sum > 1 + 1e-9) throw new RangeError(`"share" expected shares of at most 1 together, got ${sum}`);
}

/** Systems with a part of the fleet; one without a share is no member. */
function shared(systems: readonly SystemSpec[], shares: ReadonlyMap<string, number>) {
  return systems.map((system) => ({ system, share: shares.get(system.id) ?? 0 })).filter(({ share }) => share > 0);
}

/** The part of a target that one member has. Chips are whole: a product that rounding left just below one counts as it. */
function partOf(target: FleetTarget, share: number): FleetTarget {
  switch (target.type) {
    case 'power':
      return { ...target, watts: share * target.watts };
    case 'budget':
      return { ...target, usd: share * target.usd };
    case 'load':
      return { ...target, tokensPerSecond: share * target.tokensPerSecond };
    case 'chips':
      return { ...target, chips: Math.floor(share * target.chips + 1e-6) };
  }
}

function planOf(system: SystemSpec, target: FleetTarget, share: number | null, options: FleetPlanOptions): FleetPlan {
  const { pue, chipPower, allInPower, cooling, usdPerChipHour, price: query = {} } = options;
  const price = usdPerChipHour === undefined ? chipPrice(system, query) : givenPrice(usdPerChipHour);
  const { tokens, points, reason } = throughput(system, options);
  const fleet = sizeFleet(system, target, {
    ...(pue !== undefined && { pue }),
    ...(chipPower !== undefined && { chipPower }),
    ...(allInPower !== undefined && { allInPower }),
    ...(cooling !== undefined && { cooling }),
    price,
    tokensPerSecondPerChip: tokens,
  });
  return describeFleet(fleet, {
    share,
    price,
    query,
    points,
    throughputReason: reason,
    isOwnPue: pue !== undefined,
    carbonIntensity: options.carbonIntensity,
    waterIntensity: options.waterIntensity,
  });
}

/** Tokens per second of a chip when each model gets an equal part of them: the harmonic mean over the models. */
function throughput(system: SystemSpec, { workload, tokensPerSecondPerChip }: FleetPlanOptions) {
  if (tokensPerSecondPerChip !== undefined) {
    expectFinite('tokens-per-chip', tokensPerSecondPerChip, { above: 0 });
    return { tokens: tokensPerSecondPerChip, points: [], reason: 'tokens per second of a chip as given' };
  }
  if (workload === undefined || workload.models.length === 0)
    return { tokens: null, points: [], reason: 'no model was named' };
  const { efficiency = 1 } = workload;
  const points = workload.models.map((model) => ({ model, point: bestServing(system, { ...workload, model }) }));
  const missing = points.find(({ point }) => point === null);
  if (missing !== undefined) {
    const reason = `no plan serves ${missing.model.name} within ${workload.tpot * 1e3} ms a token on one ${system.id}`;
    return { tokens: null, points: [], reason };
  }
  const seconds = points.reduce((sum, { point }) => sum + 1 / point!.tokensPerSecondPerChip, 0);
  const found = points.map(({ model, point }) => ({ model: model.name, ...point! }));
  const reason = `best plan on one ${system.id} by the formula clocks, ${workload.input} in, ${workload.output} out${efficiency === 1 ? '' : `, x ${efficiency} as given`}`;
  return { tokens: (efficiency * points.length) / seconds, points: found, reason };
}

/** Plans by cost per token, then tokens per joule, then compute: what is unknown comes last. */
function compare(a: FleetPlan, b: FleetPlan): number {
  const order = (x: number | null, y: number | null) => (x ?? Infinity) - (y ?? Infinity) || 0;
  const energy = ({ tokensPerJ }: FleetPlan) => (tokensPerJ === null ? null : 1 / tokensPerJ);
  return (
    order(a.costPerMTokUsd, b.costPerMTokUsd) ||
    order(energy(a), energy(b)) ||
    (b.computeEFLOPS.bf16 ?? 0) - (a.computeEFLOPS.bf16 ?? 0)
  );
}

/** Sums over a mixed fleet; one unknown part makes the sum unknown. */
function totalOf(plans: readonly FleetPlan[]): FleetPlanResult['total'] {
  const sum = (name: 'chips' | 'buildingPowerMW' | 'usdPerHour' | 'tokensPerS') =>
    plans.reduce<number | null>(
      (total, plan) => (total === null || plan[name] === null ? null : total + plan[name]),
      0,
    );
  return {
    chips: sum('chips'),
    buildingPowerMW: sum('buildingPowerMW'),
    usdPerHour: sum('usdPerHour'),
    tokensPerS: sum('tokensPerS'),
  };
}

/** The cheapest mix of the systems whose cost per token is known, and what the shocks do to it. */
function mixes(plans: readonly FleetPlan[], load: number, options: FleetPlanOptions): MixResult[] | null {
  const { supply, shocks = new Map<string, Shock>(), maxShare } = options;
  const suppliers = plans
    .filter((plan) => plan.costPerMTokUsd !== null)
    .map(({ system, usdPerHour, tokensPerS, chips }): Supplier => {
      const available = supply?.get(system);
      return {
        name: system,
        cost: usdPerHour! / tokensPerS!,
        ...(available !== undefined && { available: (available * tokensPerS!) / chips }),
      };
    });
  if (suppliers.length < 2) return null;
  const before = bestMix(suppliers, load, maxShare);
  if (shocks.size === 0) return [mixResult('cheapest', before)];
  const after = shocked(suppliers, shocks);
  const kept = before.mix.reduce((sum, { throughput: amount }, i) => sum + amount * after[i]!.cost, 0);
  return [
    mixResult('cheapest', before),
    mixResult('same mix after the shocks', { ...before, usdPerHour: kept }),
    mixResult('cheapest after the shocks', bestMix(after, load, maxShare)),
  ];
}

function mixResult(name: MixResult['name'], { mix, usdPerHour, hhi }: Portfolio): MixResult {
  const parts = mix.map(({ throughput: tokensPerS, ...part }) => ({ ...part, tokensPerS }));
  return { name, mix: parts, usdPerHour, hhi };
}
