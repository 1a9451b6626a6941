/** The part of `trnsim plan` that sizes fleets: by power, budget, load or chips; and what failures leave of a job. */
import { type Command, InvalidArgumentError, Option } from 'commander';
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
  PRICE_BASES,
  type PriceBasis,
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
  type Shock,
  type SystemSpec,
  systems,
  toJson,
} from '../../index.ts';
import { defined, given } from '../arguments.ts';
import { isPath, readTextFile } from '../files.ts';
import { loadModel, loadSystem } from '../machines.ts';

export interface FleetFlags {
  readonly power?: number;
  readonly budget?: number;
  readonly years: number;
  readonly load?: number;
  readonly chips?: number;
  readonly goodput?: readonly number[];
  readonly costs?: boolean;
  readonly reroute?: string;
  readonly chip?: readonly string[];
  readonly system?: string | readonly string[];
  readonly model?: string | readonly string[];
  readonly dtype?: string;
  readonly weightDtype?: string;
  readonly input?: number;
  readonly output?: number;
  readonly tpot: number;
  readonly efficiency?: number;
  readonly tokensPerChip?: number;
  readonly pue?: number;
  readonly chipPower?: number;
  readonly allInPower?: number;
  readonly cooling?: 'air' | 'liquid';
  readonly priceDate?: string;
  readonly priceBasis?: PriceBasis;
  readonly priceRegion?: string;
  readonly chipPrice?: number;
  readonly carbonIntensity?: number;
  readonly waterIntensity?: number;
  readonly share?: readonly (readonly [string, number])[];
  readonly supply?: readonly (readonly [string, number])[];
  readonly shock?: readonly (readonly [string, Shock])[];
  readonly maxShare?: number;
  readonly rampPerWeek?: number;
  readonly rampGrowth?: number;
  readonly rampLimit?: number;
  readonly reliability?: string;
  readonly checkpoint?: number;
  readonly storage?: string;
  readonly restart?: number;
  readonly interval?: number;
  readonly repair?: number;
  readonly replicas?: number;
  readonly resize?: number;
  readonly slowShare?: number;
  readonly slowdown?: number;
  readonly communication?: number;
  readonly seed?: number;
  readonly rampStart?: number;
  readonly json?: boolean;
}

const PREFIXES: Readonly<Record<string, number>> = { '': 1, k: 1e3, K: 1e3, M: 1e6, G: 1e9, B: 1e9, T: 1e12 };

/** A number with an optional prefix and, where one is named, its unit: `2GW`, `1.5M`, `10B`, `1e6`. */
function scaled(unit: string): (text: string) => number {
  const form = new RegExp(
    `^(-?\\d{1,15}(?:\\.\\d{1,12})?(?:e[+-]?\\d{1,2})?)\\s*([kKMGBT]?)${unit === '' ? '' : `(?:${unit})?`}$`,
  );
  return (text) => {
    const match = form.exec(text.trim());
    if (match === null) throw new InvalidArgumentError(`Expected a number such as 2000 or 1.5M${unit}.`);
    return Number(match[1]) * PREFIXES[match[2]!]!;
  };
}

const number = scaled('');

function collect<T>(parse: (text: string) => T): (text: string, before?: readonly T[]) => T[] {
  return (text, before = []) => [...before, ...text.split(',').map(parse)];
}

/** `trn2=0.6` */
function pair(text: string): readonly [string, number] {
  const [id, value, ...rest] = text.split('=');
  if (value === undefined || rest.length > 0) throw new InvalidArgumentError('Expected ID=NUMBER.');
  return [id!, number(value)];
}

/** `p5en.48xlarge:price=1.5` */
function shock(text: string): readonly [string, Shock] {
  const match = /^(.+):(price|supply)=(.+)$/.exec(text);
  if (match === null) throw new InvalidArgumentError('Expected ID:price=FACTOR or ID:supply=FACTOR.');
  return [match[1]!, { [match[2]!]: number(match[3]!) }];
}

/** Adds the options that `command` does not have yet: searches over parallelism have some of the same name. */
export function addFleetOptions(command: Command): Command {
  const add = (option: Option): void => {
    if (!command.options.some(({ long }) => long === option.long)) command.addOption(option);
  };
  const value = (flags: string, description: string, parse: (text: string) => number = number) =>
    add(new Option(flags, description).argParser(parse));
  value('--power <watts>', 'size a fleet by power: 2GW, 500MW', scaled('W'));
  value('--budget <usd>', 'size a fleet by dollars: 10B, 5e6');
  add(new Option('--years <n>', 'that the budget pays for').argParser(number).default(1));
  value('--load <tokens/s>', 'size a fleet by what it has to serve: 1M');
  value('--chips <n>', 'a fleet of this many chips');
  add(
    new Option('--goodput <chips>', 'what failures leave of a job on this many chips, several with commas').argParser(
      collect(number),
    ),
  );
  add(new Option('--costs', '$ per PFLOP-hour and per TB/s-hour of all systems, and what Trainium2 saves'));
  add(new Option('--chip <id>', 'on the largest system of this chip; several with commas').argParser(collect(String)));
  add(new Option('--system <id>', 'on this system (id or file); several with commas').argParser(collect(String)));
  add(
    new Option('--model <id>', 'served by the fleet (id or config.json); several with commas').argParser(
      collect(String),
    ),
  );
  add(new Option('--dtype <name>', 'format of the matmuls').default('bf16'));
  add(new Option('--weight-dtype <name>', 'format of the weights (default: that of the matmuls)'));
  value('--input <tokens>', 'of a request (default: 1000)');
  value('--output <tokens>', 'of a request (default: 500)');
  add(new Option('--tpot <ms>', 'most time per output token').argParser(number).default(100));
  value('--efficiency <part>', 'part of the predicted throughput that is reached (default: 1)');
  value('--tokens-per-chip <n>', "tokens/s of a chip, in place of a model's");
  value('--pue <ratio>', 'power of the building / power of the machines (default: AWS, 2025)');
  value('--chip-power <watts>', 'TDP of a chip, in place of the published one', scaled('W'));
  value('--all-in-power <watts>', 'of a chip with its share of hosts, switches and conversion', scaled('W'));
  add(new Option('--cooling <how>', 'of the chips').choices(['air', 'liquid']));
  add(new Option('--price-date <date>', 'prices read until then: 2026-09 or 2026-09-19'));
  add(new Option('--price-basis <basis>', 'of the price').choices([...PRICE_BASES]));
  add(new Option('--price-region <region>', 'of the price: us-east-1 ...'));
  value('--chip-price <usd>', 'of a chip-hour, in place of a public one');
  value('--carbon-intensity <kg>', 'CO2e of the grid, kg per kWh');
  value('--water-intensity <litres>', 'litres per kWh of the machines');
  add(
    new Option('--share <id=part>', "a system's or chip's part of a mixed fleet; several with commas").argParser(
      collect(pair),
    ),
  );
  add(new Option('--supply <id=chips>', 'most chips that can be had; several with commas').argParser(collect(pair)));
  add(
    new Option('--shock <id:what=factor>', 'on price or supply, for the best mix: p5en.48xlarge:price=1.5').argParser(
      collect(shock),
    ),
  );
  value('--max-share <part>', 'most of the load that one supplier may serve');
  value('--ramp-per-week <systems>', 'systems that come each week: how long the fleet takes');
  value('--ramp-start <systems>', 'that are there already');
  value('--ramp-limit <systems>', 'most that the site takes');
  value('--ramp-growth <part>', 'how much more come each week');
  add(new Option('--reliability <id>', 'failure rates: llama-3-405b, rsc-1, rsc-2, or a JSON file like them'));
  value('--checkpoint <s>', 'time that a checkpoint stops the job (default: 60, or from --model and --storage)');
  add(new Option('--storage <bytes/s>', 'bandwidth of the checkpoint storage: 2TB'));
  value('--restart <s>', 'from a failure until work goes on (default: 600)');
  add(new Option('--reroute <system>', 'take detours round broken links of these systems'));
  value('--interval <s>', 'work between checkpoints (default: the best)');
  value('--repair <s>', 'until a failed unit is back, for the spares (default: a day)');
  value('--replicas <n>', 'of elastic data parallelism (default: 100)');
  value('--resize <s>', 'that all replicas wait when one leaves or comes (default: 1)');
  value('--slow-share <part>', 'of the chips that are stragglers (default: 0)');
  value('--slowdown <factor>', 'of a straggler (default: 1)');
  value('--communication <part>', 'of a step, that detours slow (default: 0.25)');
  value('--seed <n>', 'of the Monte Carlo (default: 1)');
  return command;
}

/** Whether the flags ask for a fleet rather than a search over parallelism. */
export function asksForFleet({ power, budget, load, chips, goodput, costs }: FleetFlags): boolean {
  return [power, budget, load, chips, goodput, costs].some((value) => value !== undefined);
}

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

function largestSystem(id: string): SystemSpec {
  const chip = findChip(id);
  const own = systems().filter((system) => system.chip.id === chip.id);
  if (own.length === 0) throw new RangeError(`"chip" expected one that a system has, got ${JSON.stringify(id)}`);
  return own.reduce((most, system) => (system.chips > most.chips ? system : most));
}

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

function fleetOptions(flags: FleetFlags): FleetPlanOptions {
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

function costOptions(flags: FleetFlags): CostPlanOptions {
  const { workload, price } = fleetOptions({ ...flags, chips: 1 });
  const ids = [...list(flags.system), ...(flags.chip ?? [])];
  const [model] = workload!.models;
  return {
    breakEven: findChip('trn3'),
    ...defined({ price, systems: ids.length === 0 ? undefined : ids.map(systemOf) }),
    ...(model !== undefined && { serving: workload!, training: { ...TRAINED, model, formats: workload!.formats } }),
  };
}

/** Prints the fleet, or the goodput, that the flags ask for. */
export function runFleetPlan(flags: FleetFlags): void {
  const { json = false, goodput, costs = false, rampPerWeek, rampGrowth, rampLimit } = flags;
  if (costs) {
    const result = planCosts(costOptions(flags));
    process.stdout.write(json ? toJson(result) : costsReport(result));
    return;
  }
  if (goodput !== undefined) {
    const { storage } = flags;
    const result = planGoodput({
      chips: goodput,
      ...given(flags, GOODPUT_FLAGS),
      ...defined({
        reliability: flags.reliability === undefined ? undefined : reliabilityOf(flags.reliability),
        write: flags.checkpoint,
        model: modelsOf(flags)[0],
        storage: storage === undefined ? undefined : parseSize('storage', storage.replace(/\/s$/, '')),
        reroute: flags.reroute === undefined ? undefined : systemOf(flags.reroute),
      }),
    });
    process.stdout.write(json ? toJson(result) : goodputReport(result));
    return;
  }
  const result = planFleet(fleetOptions(flags));
  const fleet = result.plans[0]!;
  const arrival =
    rampPerWeek === undefined
      ? null
      : ramp({
          perWeek: rampPerWeek,
          growth: rampGrowth ?? 0,
          target: Math.max(1, fleet.wholeSystems),
          ...defined({ limit: rampLimit, start: flags.rampStart }),
        });
  const answer = arrival === null ? result : { ...result, ramp: arrival };
  process.stdout.write(
    json ? toJson(answer) : `${fleetReport(result)}${arrival === null ? '' : rampReport(arrival, fleet.system)}`,
  );
}
