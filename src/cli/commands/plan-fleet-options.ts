/**
 * The flags of `trnsim plan` that size fleets, price machines and ask what failures leave, in groups by what reads them:
 * `plan.ts` refuses a flag that the question at hand does not read.
 */
import { InvalidArgumentError, Option } from 'commander';
import { PRICE_BASES, type PriceBasis, type Shock } from '../../index.ts';

export interface FleetFlags {
  /** Targets, of which a fleet has one: watts, dollars, tokens per second, chips. */
  readonly power?: number;
  readonly budget?: number;
  readonly years: number;
  readonly load?: number;
  readonly chips?: number;
  /** Sizes of the job that failures are asked of. */
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
  /** Milliseconds, and 100 if left out: an answer without a limit would be one that nobody waits for. */
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
  /** By id of a system or a chip: parts of a fleet, chips that can be had, factors on price or supply. */
  readonly share?: readonly (readonly [string, number])[];
  readonly supply?: readonly (readonly [string, number])[];
  readonly shock?: readonly (readonly [string, Shock])[];
  readonly maxShare?: number;
  readonly rampPerWeek?: number;
  readonly rampGrowth?: number;
  readonly rampLimit?: number;
  readonly reliability?: string;
  /** Seconds, as `restart`, `interval`, `repair` and `resize`. */
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

/** Of amounts: B is a billion, as budgets are written. */
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

/** Commander calls the parser once a flag, with what came before. */
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

const value = (flags: string, description: string, parse: (text: string) => number = number): Option =>
  new Option(flags, description).argParser(parse);
const text = (flags: string, description: string): Option => new Option(flags, description);
/** Several with commas, or the flag repeated. */
const several = <T>(flags: string, description: string, parse: (text: string) => T): Option =>
  new Option(flags, `${description}; several with commas`).argParser(collect(parse));

/** What a fleet is sized by: one of them. */
export function targetOptions(): Option[] {
  return [
    value('--power <watts>', 'size a fleet by power: 2GW, 500MW', scaled('W')),
    value('--budget <usd>', 'size a fleet by dollars: 10B, 5e6'),
    value('--years <n>', 'that the budget pays for').default(1),
    value('--load <tokens/s>', 'size a fleet by what it has to serve: 1M'),
    value('--chips <n>', 'a fleet of this many chips'),
  ];
}

/** Machines, and what they serve. */
export function servingOptions(): Option[] {
  return [
    several('--chip <id>', 'on the largest system of this chip', String),
    several('--system <id>', 'on this system (id or file)', String),
    several('--model <id>', 'served by the fleet (id or config.json)', String),
    text('--dtype <name>', 'format of the matmuls').default('bf16'),
    text('--weight-dtype <name>', 'format of the weights (default: that of the matmuls)'),
    value('--input <tokens>', 'of a request (default: 1000)'),
    value('--output <tokens>', 'of a request (default: 500)'),
    value('--tpot <ms>', 'most time per output token').default(100),
    value('--efficiency <part>', 'part of the predicted throughput that is reached (default: 1)'),
  ];
}

/** Which of the public prices. */
export function priceOptions(): Option[] {
  return [
    text('--price-date <date>', 'prices read until then: 2026-09 or 2026-09-19'),
    text('--price-basis <basis>', 'of the price').choices([...PRICE_BASES]),
    text('--price-region <region>', 'of the price: us-east-1 ...'),
  ];
}

/** Of fleets alone. */
export function fleetOptions(): Option[] {
  return [
    value('--tokens-per-chip <n>', "tokens/s of a chip, in place of a model's"),
    value('--pue <ratio>', 'power of the building / power of the machines (default: AWS, 2025)'),
    value('--chip-power <watts>', 'TDP of a chip, in place of the published one', scaled('W')),
    value('--all-in-power <watts>', 'of a chip with its share of hosts, switches and conversion', scaled('W')),
    text('--cooling <how>', 'of the chips').choices(['air', 'liquid']),
    value('--chip-price <usd>', 'of a chip-hour, in place of a public one'),
    value('--carbon-intensity <kg>', 'CO2e of the grid, kg per kWh'),
    value('--water-intensity <litres>', 'litres per kWh of the machines'),
    several('--share <id=part>', "a system's or chip's part of a mixed fleet", pair),
    several('--supply <id=chips>', 'most chips that can be had', pair),
    several('--shock <id:what=factor>', 'on price or supply, for the best mix: p5en.48xlarge:price=1.5', shock),
    value('--max-share <part>', 'most of the load that one supplier may serve'),
    value('--ramp-per-week <systems>', 'systems that come each week: how long the fleet takes'),
    value('--ramp-start <systems>', 'that are there already'),
    value('--ramp-limit <systems>', 'most that the site takes'),
    value('--ramp-growth <part>', 'how much more come each week'),
  ];
}

/** `--model` is read too: the size of its checkpoints. */
export function goodputOptions(): Option[] {
  return [
    several('--goodput <chips>', 'what failures leave of a job on this many chips', number),
    text('--reliability <id>', 'failure rates: llama-3-405b, rsc-1, rsc-2, or a JSON file like them'),
    value('--checkpoint <s>', 'time that a checkpoint stops the job (default: 60, or from --model and --storage)'),
    text('--storage <bytes/s>', 'bandwidth of the checkpoint storage: 2TB'),
    value('--restart <s>', 'from a failure until work goes on (default: 600)'),
    text('--reroute <system>', 'take detours round broken links of these systems'),
    value('--interval <s>', 'work between checkpoints (default: the best)'),
    value('--repair <s>', 'until a failed unit is back, for the spares (default: a day)'),
    value('--replicas <n>', 'of elastic data parallelism (default: 100)'),
    value('--resize <s>', 'that all replicas wait when one leaves or comes (default: 1)'),
    value('--slow-share <part>', 'of the chips that are stragglers (default: 0)'),
    value('--slowdown <factor>', 'of a straggler (default: 1)'),
    value('--communication <part>', 'of a step, that detours slow (default: 0.25)'),
    value('--seed <n>', 'of the Monte Carlo (default: 1)'),
  ];
}

export function costsOptions(): Option[] {
  return [text('--costs', '$ per PFLOP-hour and per TB/s-hour of all systems, and what Trainium2 saves')];
}
