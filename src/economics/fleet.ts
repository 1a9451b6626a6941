/**
 * Fleets: how many chips a power feed, a budget or a load comes to, and what that many chips are together.
 *
 *     by power    chips = power / (all-in power of a chip x PUE)
 *     by budget   chips = budget / (price of a chip-hour x hours)
 *     by load     chips = tokens per second / tokens per second of a chip
 *
 * Chips are whole; systems are counted as chips / chips of a system, and the whole ones of them apart.
 * Leaves out: what does not fit into sites, spares (see `sparesFor`), and machines that are not accelerators.
 */
import { expectInteger, ModelError } from '../base/errors.ts';
import type { Bytes, BytesPerSecond, Dollars, FlopsPerSecond, Watts } from '../base/units.ts';
import type { PeakFormat, SystemSpec } from '../hardware/spec.ts';
import { expectFinite } from './expect.ts';
import { type ChipPower, chipPower, type PowerOptions } from './power.ts';
import type { ChipPrice } from './prices.ts';

/** More chips than have ever been built for one maker. */
const MAX_FLEET = 1e9;

/** What a fleet is sized by. A budget pays for `hours` of every chip, idle or not. */
export type FleetTarget =
  | { readonly type: 'power'; readonly watts: Watts }
  | { readonly type: 'budget'; readonly usd: Dollars; readonly hours: number }
  | { readonly type: 'load'; readonly tokensPerSecond: number }
  | { readonly type: 'chips'; readonly chips: number };

export interface FleetOptions extends PowerOptions {
  /** Price of a chip-hour; null if none is public. */
  readonly price?: ChipPrice | null;
  /** What one chip of the system serves of the chosen model. */
  readonly tokensPerSecondPerChip?: number | null;
}

export interface Fleet {
  readonly system: SystemSpec;
  readonly chips: number;
  /** chips / chips of a system, and how many of them are whole. */
  readonly systems: number;
  readonly wholeSystems: number;
  /** Dense peak by format, after throttling. */
  readonly compute: Readonly<Partial<Record<PeakFormat, FlopsPerSecond>>>;
  readonly memoryBandwidth: BytesPerSecond | null;
  readonly memoryCapacity: Bytes | null;
  /** Null where no power of the system is published. */
  readonly power: ChipPower | null;
  readonly itPower: Watts | null;
  readonly buildingPower: Watts | null;
  readonly price: ChipPrice | null;
  readonly usdPerHour: Dollars | null;
  readonly tokensPerSecond: number | null;
}

/**
 * The fleet that a target comes to.
 * @throws RangeError for a target that is not positive or is less than one chip; ModelError UNSUPPORTED if what the
 * target is divided by is not known
 */
export function sizeFleet(system: SystemSpec, target: FleetTarget, options: FleetOptions = {}): Fleet {
  const chips = fleetChips(system, target, options);
  if (target.type === 'chips') expectInteger('chips', chips, 1, MAX_FLEET);
  else if (!(chips >= 1 && chips <= MAX_FLEET)) {
    throw new RangeError(`"${target.type}" expected what 1 to ${MAX_FLEET} chips take, got that of ${chips}`);
  }
  return fleetOf(system, chips, options);
}

/** Chips before the bounds are checked: as many as a power or a budget reaches, as few as a load needs. */
function fleetChips(system: SystemSpec, target: FleetTarget, options: FleetOptions): number {
  const { price = null, tokensPerSecondPerChip = null } = options;
  switch (target.type) {
    case 'chips':
      return target.chips;
    case 'power':
      return Math.floor(expectFinite('power', target.watts, { above: 0 }) / chipPower(system, options).building);
    case 'budget': {
      const hours = expectFinite('hours', target.hours, { above: 0 });
      if (price === null || price.usdPerChipHour === 0) throw unknown(system, 'price', '--chip-price');
      return Math.floor(expectFinite('budget', target.usd, { above: 0 }) / (price.usdPerChipHour * hours));
    }
    case 'load':
      if (tokensPerSecondPerChip === null || tokensPerSecondPerChip === 0)
        throw unknown(system, 'throughput', '--model');
      return Math.ceil(expectFinite('load', target.tokensPerSecond, { above: 0 }) / tokensPerSecondPerChip);
  }
}

function unknown({ id }: SystemSpec, what: string, flag: string): ModelError {
  return new ModelError('UNSUPPORTED', id, `expected a ${what} of a chip to divide by, got none; give ${flag}`);
}

/** What so many chips are together. Unknown parts stay null: a total of them would be taken for a figure. */
function fleetOf(system: SystemSpec, chips: number, options: FleetOptions): Fleet {
  const { chip } = system;
  const power = knownPower(system, options);
  const { price = null, tokensPerSecondPerChip = null } = options;
  const times = (value: number | null): number | null => (value === null ? null : value * chips);
  const formats = Object.entries(chip.peak).filter((entry): entry is [string, number] => typeof entry[1] === 'number');
  return {
    system,
    chips,
    systems: chips / system.chips,
    wholeSystems: Math.floor(chips / system.chips),
    compute: Object.fromEntries(formats.map(([format, peak]) => [format, peak * chips * (power?.speed ?? 1)])),
    memoryBandwidth: times(chip.memory.bandwidth),
    memoryCapacity: times(chip.memory.capacity),
    power,
    itPower: times(power?.system ?? null),
    buildingPower: times(power?.building ?? null),
    price,
    usdPerHour: times(price?.usdPerChipHour ?? null),
    tokensPerSecond: times(tokensPerSecondPerChip),
  };
}

/** A fleet without a published power still has chips, compute and a price. */
function knownPower(system: SystemSpec, options: PowerOptions): ChipPower | null {
  try {
    return chipPower(system, options);
  } catch (error) {
    if (error instanceof ModelError) return null;
    throw error;
  }
}

/** Totals of a mixed fleet, of the quantities that can be added. */
export interface FleetSum {
  readonly chips: number;
  readonly bf16: FlopsPerSecond | null;
  readonly memoryBandwidth: BytesPerSecond | null;
  readonly buildingPower: Watts | null;
  readonly usdPerHour: Dollars | null;
  readonly tokensPerSecond: number | null;
}

/** Fleets of several systems together. A sum of which one part is unknown is null. */
export function sumFleets(fleets: readonly Fleet[]): FleetSum {
  const sum = (value: (fleet: Fleet) => number | null): number | null =>
    fleets.reduce<number | null>((total, fleet) => {
      const part = value(fleet);
      return total === null || part === null ? null : total + part;
    }, 0);
  return {
    chips: sum(({ chips }) => chips)!,
    bf16: sum(({ compute }) => compute.bf16 ?? null),
    memoryBandwidth: sum(({ memoryBandwidth }) => memoryBandwidth),
    buildingPower: sum(({ buildingPower }) => buildingPower),
    usdPerHour: sum(({ usdPerHour }) => usdPerHour),
    tokensPerSecond: sum(({ tokensPerSecond }) => tokensPerSecond),
  };
}

/**
 * Chips of each member of a mixed fleet, rounded down; what the shares leave of the chips is nobody's.
 * @throws RangeError if a share is not in 0..1, or they exceed 1 together
 */
export function splitFleet(chips: number, shares: ReadonlyMap<string, number>): Map<string, number> {
  expectInteger('chips', chips, 1, MAX_FLEET);
  const total = Array.from(shares, ([id, share]) => expectFinite(`share of ${id}`, share, { min: 0, max: 1 })).reduce(
    (a, b) => a + b,
    0,
  );
  if (total > 1 + 1e-9) throw new RangeError(`"share" expected shares of at most 1 together, got ${total}`);
  return new Map(Array.from(shares, ([id, share]) => [id, Math.floor(share * chips + 1e-6)]));
}
