/**
 * What is said of one fleet: its machines, power, price, throughput and network, as a JSON-safe row in which every figure
 * that was taken from somewhere says from where. `plan-fleet.ts` sizes the fleets and ranks the rows.
 */
import { ModelError } from '../base/errors.ts';
import { buildClos } from '../fabric/clos.ts';
import { networkBisection } from '../fabric/metrics.ts';
import { facility, findSystem } from '../hardware/catalog.ts';
import type { SystemSpec } from '../hardware/spec.ts';
import { breakEvenPrice } from './costs.ts';
import type { Fleet } from './fleet.ts';
import { type ChipPower, footprint, JOULES_PER_MWH } from './power.ts';
import { type ChipPrice, chipPrice, type PriceQuery } from './prices.ts';
import type { ServingPoint } from './serving.ts';

export interface FleetPlan {
  readonly system: string;
  readonly chip: string;
  /** Part of the target in a mixed fleet; null where the fleet stands alone. */
  readonly share: number | null;
  readonly chips: number;
  /** Chips / chips of a system, and how many of them are whole. */
  readonly systems: number;
  readonly wholeSystems: number;
  /** Dense peak by format. */
  readonly computeEFLOPS: Readonly<Record<string, number>>;
  /** Bandwidth and capacity of all device memories; null where nobody publishes them. */
  readonly hbmPBps: number | null;
  readonly hbmPB: number | null;
  /** Of one chip: its TDP, its share of hosts, switches, fans and conversion, both together, and with the building. */
  readonly chipW: {
    readonly tdp: number | null;
    readonly rest: number | null;
    readonly allIn: number;
    readonly building: number;
  } | null;
  /** Of a server (a sled on Trainium3) and of a system with all of its chips. */
  readonly serverKW: number | null;
  readonly systemKW: number | null;
  /** Of the machines, and with cooling and conversion of the building. */
  readonly itPowerMW: number | null;
  readonly buildingPowerMW: number | null;
  readonly pue: number | null;
  readonly pueSource: string;
  /** Part of the peak that cooling leaves; 1 where nothing throttles. */
  readonly computeSpeed: number;
  readonly powerSource: string;
  /** Of all chips, at list price; null where no price is public, which `priceReason` says. */
  readonly usdPerHour: number | null;
  readonly usdPerPflopHour: number | null;
  readonly priceReason: string;
  /** Electricity of the building alone. */
  readonly energyUsdPerHour: number | null;
  readonly electricitySource: string;
  /** Where no price is public: what the fleet may cost for an FP8 PFLOP-hour to cost what it does on Trainium2. */
  readonly breakEvenUsdPerHour: number | null;
  /** All models together, each with an equal part of the tokens; per joule and MWh of the building. */
  readonly tokensPerS: number | null;
  readonly tokensPerJ: number | null;
  readonly tokensPerMWh: number | null;
  readonly costPerMTokUsd: number | null;
  readonly throughputReason: string;
  /** The plan of each model on one system, in the order of the workload. */
  readonly serving: readonly (Pick<ServingPoint, 'groups' | 'batch' | 'tp' | 'dp' | 'ep'> & {
    readonly model: string;
    /** Of one system, and of a chip. */
    readonly tokensPerS: number;
    readonly tokensPerSPerChip: number;
    readonly tpotNs: number;
    readonly ttftNs: number;
  })[];
  /** Null unless the intensity of the site is given: it differs too much to be assumed. */
  readonly carbonKgPerHour: number | null;
  readonly waterLPerHour: number | null;
  /** The scale-out network that joins all of them; null where there is none, or it does not hold as many. */
  readonly network: {
    /** Next to the chips first. */
    readonly tiers: readonly {
      readonly name: string;
      readonly switches: number;
      readonly ports: number;
      readonly oversubscription: number;
    }[];
    /** Separate networks side by side; `switches` counts those of all. */
    readonly planes: number;
    /** Through the middle of the network, all planes together. */
    readonly bisectionTBps: number;
  } | null;
}

/** What a row says besides the fleet, and why. */
export interface FleetContext {
  /** Part of a mixed fleet; null where the fleet stands alone. */
  readonly share: number | null;
  /** Null where none is public. */
  readonly price: ChipPrice | null;
  readonly query: PriceQuery;
  readonly points: readonly (ServingPoint & { readonly model: string })[];
  readonly throughputReason: string;
  /** The user's own, in place of the building's published one. */
  readonly isOwnPue: boolean;
  /** kg CO2e per kWh of the grid, litres per kWh of the machines. */
  readonly carbonIntensity: number | undefined;
  readonly waterIntensity: number | undefined;
}

/** The row of a fleet; quantities nobody knows are null. */
export function describeFleet(fleet: Fleet, context: FleetContext): FleetPlan {
  const { share, price, query, points, throughputReason, isOwnPue, carbonIntensity, waterIntensity } = context;
  const { system, chips, compute, itPower, buildingPower, power, tokensPerSecond, usdPerHour } = fleet;
  const per = (value: number | null, unit: number) => (value === null ? null : value / unit);
  const perJoule = tokensPerSecond === null || buildingPower === null ? null : tokensPerSecond / buildingPower;
  const { carbonKg, waterL } =
    itPower === null || power === null
      ? { carbonKg: null, waterL: null }
      : footprint(itPower * 3600, power.pue, carbonIntensity, waterIntensity);
  return {
    system: system.id,
    chip: system.chip.id,
    share,
    chips,
    systems: fleet.systems,
    wholeSystems: fleet.wholeSystems,
    computeEFLOPS: Object.fromEntries(Object.entries(compute).map(([format, rate]) => [format, rate / 1e18])),
    hbmPBps: per(fleet.memoryBandwidth, 1e15),
    hbmPB: per(fleet.memoryCapacity, 1e15),
    ...powerOf(system, power),
    itPowerMW: per(itPower, 1e6),
    buildingPowerMW: per(buildingPower, 1e6),
    pue: power?.pue ?? null,
    pueSource: isOwnPue ? 'as given' : facility().sources.pue,
    computeSpeed: power?.speed ?? 1,
    powerSource: power?.source ?? system.powerSource,
    usdPerHour,
    usdPerPflopHour: usdPerHour === null || compute.bf16 === undefined ? null : usdPerHour / (compute.bf16 / 1e15),
    priceReason: price?.reason ?? noPrice(system, query),
    energyUsdPerHour: buildingPower === null ? null : buildingPower * 3600 * facility().electricity,
    electricitySource: facility().sources.electricity,
    breakEvenUsdPerHour: price === null ? breakEven(system, chips, query) : null,
    tokensPerS: tokensPerSecond,
    tokensPerJ: perJoule,
    tokensPerMWh: perJoule === null ? null : perJoule * JOULES_PER_MWH,
    costPerMTokUsd:
      usdPerHour === null || tokensPerSecond === null ? null : (usdPerHour / 3600 / tokensPerSecond) * 1e6,
    throughputReason,
    serving: points.map(({ tpot, ttft, tokensPerSecond: all, tokensPerSecondPerChip, ...point }) => ({
      ...point,
      tokensPerS: all,
      tokensPerSPerChip: tokensPerSecondPerChip,
      tpotNs: tpot * 1e9,
      ttftNs: ttft * 1e9,
    })),
    carbonKgPerHour: carbonKg,
    waterLPerHour: waterL,
    network: networkOf(system, chips),
  };
}

/** Why there is no price, with what was asked for, and how to give one. */
function noPrice({ chip }: SystemSpec, query: PriceQuery): string {
  const asked = Object.values(query).filter((value) => value !== undefined);
  return `no public price of ${chip.name}${asked.length === 0 ? '' : ` for ${asked.join(', ')}`}: give one with --chip-price`;
}

/** Power by level, all from the same all-in power of a chip, so that the levels add up. */
function powerOf({ chips, layout }: SystemSpec, power: ChipPower | null) {
  if (power === null) return { chipW: null, serverKW: null, systemKW: null };
  const { tdp, system: allIn, building } = power;
  const perServer = layout.chipsPerServer;
  return {
    chipW: { tdp, rest: tdp === null ? null : allIn - tdp, allIn, building },
    serverKW: perServer === null ? null : (perServer * allIn) / 1e3,
    systemKW: (chips * allIn) / 1e3,
  };
}

/** Dollars an hour at which the fleet's FP8 compute costs what it does on Trainium2; null if one of the two is not known. */
function breakEven({ chip }: SystemSpec, chips: number, query: PriceQuery): number | null {
  const trn2 = findSystem('trn2.48xlarge');
  const reference = chipPrice(trn2, query);
  if (reference === null) return null;
  const price = breakEvenPrice(chip, { chip: trn2.chip, usdPerChipHour: reference.usdPerChipHour }, 'fp8');
  return price === null ? null : price * chips;
}

/**
 * The network that joins the systems, sized for the chips. Where the network's own bandwidth is not known, a chip has its part
 * of what the system has.
 */
function networkOf(system: SystemSpec, chips: number): FleetPlan['network'] {
  const { network, scaleOut: own } = system;
  const bandwidth = network?.bandwidth ?? (own === null ? null : own / system.chips);
  if (network === null || bandwidth === null || chips <= system.chips) return null;
  try {
    const scaleOut = buildClos(network, chips, bandwidth);
    return {
      tiers: scaleOut.tiers.map(({ switches }, i) => {
        const { name, ports, oversubscription } = network.tiers[i]!;
        return { name, switches, ports, oversubscription: i === scaleOut.tiers.length - 1 ? 1 : oversubscription };
      }),
      planes: network.planes,
      bisectionTBps: networkBisection(scaleOut) / 1e12,
    };
  } catch (error) {
    // More chips than the network's tiers hold.
    if (error instanceof ModelError) return null;
    throw error;
  }
}
