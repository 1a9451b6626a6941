/** The part of `trnsim plan` that sizes fleets: by power, budget, load or chips; and what failures leave of a job. */
import {
  type CostPlanOptions,
  costsReport,
  type FleetPlanOptions,
  type FleetTarget,
  findChip,
  findReliability,
  fleetReport,
  formatsOf,
  goodputReport,
  type PriceQuery,
  parseJson,
  parseOperandFormat,
  parseSize,
  planCosts,
  planFleet,
  planGoodput,
  type ReliabilityProfile,
  ramp,
  rampReport,
  reliabilityFromJson,
  type SystemSpec,
  systems,
  toJson,
} from '../../index.ts';
import { defined, given } from '../arguments.ts';
import { isPath, readTextFile } from '../files.ts';
import { loadModel, loadSystem } from '../machines.ts';
import type { FleetFlags } from './plan-fleet-options.ts';

/** Flags that other questions share come as lists, as one text, or not at all. */
function list(value: string | readonly string[] | undefined): readonly string[] {
  return value === undefined ? [] : typeof value === 'string' ? [value] : value;
}

/** The system with this id, or the largest one of the chip with this id. */
function systemOf(id: string): SystemSpec {
  if (isPath(id)) return loadSystem(id);
  const key = id.toLowerCase();
  const isSystem = systems().some(
    (system) => system.id === key || system.aliases.some((alias) => alias.toLowerCase() === key),
  );
  return isSystem ? loadSystem(id) : largestSystem(id);
}

/** @throws RangeError if no system has the chip */
function largestSystem(id: string): SystemSpec {
  const chip = findChip(id);
  const own = systems().filter((system) => system.chip.id === chip.id);
  if (own.length === 0) throw new RangeError(`"chip" expected one that a system has, got ${JSON.stringify(id)}`);
  return own.reduce((most, system) => (system.chips > most.chips ? system : most));
}

/** The one target that was named. @throws RangeError if there are none or several */
function targetOf({ power, budget, load, chips, years }: FleetFlags): FleetTarget {
  const targets: (FleetTarget | undefined)[] = [
    power === undefined ? undefined : { type: 'power', watts: power },
    budget === undefined ? undefined : { type: 'budget', usd: budget, hours: years * 8760 },
    load === undefined ? undefined : { type: 'load', tokensPerSecond: load },
    chips === undefined ? undefined : { type: 'chips', chips },
  ];
  const asked = targets.filter((target) => target !== undefined);
  if (asked.length === 1) return asked[0]!;
  throw new RangeError(`"plan" expected one of --power, --budget, --load, --chips, got ${asked.length}`);
}

function modelsOf(flags: FleetFlags) {
  return list(flags.model).map(loadModel);
}

function priceQuery({ priceDate, priceBasis, priceRegion }: FleetFlags): PriceQuery {
  return defined({ date: priceDate, basis: priceBasis, region: priceRegion });
}

function fleetPlan(flags: FleetFlags): FleetPlanOptions {
  const { share, supply, shock: shocks, dtype = 'bf16', weightDtype, input = 1000, output = 500, tpot } = flags;
  // Ids of chips stand for their largest system, so everything that is keyed by an id is keyed by that of the system.
  const bySystem = <V>(pairs: readonly (readonly [string, V])[] | undefined) =>
    pairs && new Map(pairs.map(([id, value]) => [systemOf(id).id, value] as const));
  const compute = parseOperandFormat('dtype', dtype);
  const weights = weightDtype === undefined ? {} : { weights: parseOperandFormat('weight-dtype', weightDtype) };
  const ids = [...list(flags.system), ...(flags.chip ?? []), ...(share ?? []).map(([id]) => id)];
  return {
    target: targetOf(flags),
    systems: [
      ...new Map((ids.length === 0 ? ['trn2', 'trn3'] : ids).map((id) => [systemOf(id).id, systemOf(id)])).values(),
    ],
    workload: {
      models: modelsOf(flags),
      formats: formatsOf(compute, weights),
      input,
      output,
      tpot: tpot / 1e3,
      software: 'megakernel',
      ...defined({ efficiency: flags.efficiency }),
    },
    price: priceQuery(flags),
    ...defined({
      tokensPerSecondPerChip: flags.tokensPerChip,
      pue: flags.pue,
      chipPower: flags.chipPower,
      allInPower: flags.allInPower,
      cooling: flags.cooling,
      usdPerChipHour: flags.chipPrice,
      carbonIntensity: flags.carbonIntensity,
      waterIntensity: flags.waterIntensity,
      shares: bySystem(share),
      supply: bySystem(supply),
      shocks: bySystem(shocks),
      maxShare: flags.maxShare,
    }),
  };
}

/** An id of the shipped profiles, or a file. */
function reliabilityOf(id: string): ReliabilityProfile {
  return isPath(id) ? reliabilityFromJson(parseJson(readTextFile(id), id), id) : findReliability(id);
}

/** Flags of the names of their options. */
const GOODPUT_FLAGS = [
  'restart',
  'interval',
  'repair',
  'replicas',
  'resize',
  'slowShare',
  'slowdown',
  'communication',
  'seed',
] as const;

/** Chips and sequences of the training step whose tokens `--costs --model` prices: the same job on every system. */
const TRAINED = { chips: 64, seq: 4096, globalBatch: 256 } as const;

/** `fleetPlan` reads the flags and wants a target. Prices of a chip need none, so one chip stands for it. */
function costOptions(flags: FleetFlags): CostPlanOptions {
  const { workload, price } = fleetPlan({ ...flags, chips: 1 });
  const ids = [...list(flags.system), ...(flags.chip ?? [])];
  const [model] = workload!.models;
  return {
    breakEven: findChip('trn3'),
    ...defined({ price, systems: ids.length === 0 ? undefined : ids.map(systemOf) }),
    ...(model !== undefined && { serving: workload!, training: { ...TRAINED, model, formats: workload!.formats } }),
  };
}

/** What a machine's peak costs. */
export function runCostsPlan(flags: FleetFlags): void {
  const result = planCosts(costOptions(flags));
  process.stdout.write(flags.json ? toJson(result) : costsReport(result));
}

/** What failures leave of a job. */
export function runGoodputPlan(flags: FleetFlags): void {
  const { storage } = flags;
  const result = planGoodput({
    chips: flags.goodput!,
    ...given(flags, GOODPUT_FLAGS),
    ...defined({
      reliability: flags.reliability === undefined ? undefined : reliabilityOf(flags.reliability),
      write: flags.checkpoint,
      model: modelsOf(flags)[0],
      storage: storage === undefined ? undefined : parseSize('storage', storage.replace(/\/s$/, '')),
      reroute: flags.reroute === undefined ? undefined : systemOf(flags.reroute),
    }),
  });
  process.stdout.write(flags.json ? toJson(result) : goodputReport(result));
}

/** The fleet of a target. */
export function runFleetPlan(flags: FleetFlags): void {
  const { json = false, rampPerWeek, rampGrowth, rampLimit, rampStart } = flags;
  if (rampPerWeek === undefined && (rampGrowth ?? rampLimit ?? rampStart) !== undefined)
    throw new RangeError('"ramp-per-week" expected with --ramp-growth, --ramp-limit and --ramp-start, got none');
  if (flags.years !== 1 && flags.budget === undefined)
    throw new RangeError(`"years" expected with --budget, got ${flags.years} without one`);
  const result = planFleet(fleetPlan(flags));
  // The best where fleets are ranked; the first member of a mixed one.
  const fleet = result.plans[0]!;
  const arrival =
    rampPerWeek === undefined
      ? null
      : ramp({
          perWeek: rampPerWeek,
          growth: rampGrowth ?? 0,
          target: Math.max(1, fleet.wholeSystems),
          ...defined({ limit: rampLimit, start: rampStart }),
        });
  const answer = arrival === null ? result : { ...result, ramp: arrival };
  process.stdout.write(
    json ? toJson(answer) : `${fleetReport(result)}${arrival === null ? '' : rampReport(arrival, fleet.system)}`,
  );
}
