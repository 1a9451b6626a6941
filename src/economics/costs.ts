/**
 * What compute and memory bandwidth cost on different machines, from the prices of their chips.
 *
 *     $ per PFLOP-hour   = price of a chip-hour / dense peak      $ per TB/s-hour = price / HBM bandwidth
 *     saving of a over b = 1 - cost(a) / cost(b)
 *     break-even price   = (1 - saving) x cost(b) x what one chip of a does
 *
 * At equal efficiency: the same part of the peak on both. Where the part is known, give it: measured serving can invert
 * a comparison of peaks. Training: 6 FLOPs per parameter that a token meets, and token.
 */
import type { Dollars, Seconds } from '../base/units.ts';
import { systems } from '../hardware/catalog.ts';
import type { ChipSpec, PeakFormat, SystemSpec } from '../hardware/spec.ts';
import { parameterCounts } from '../models/parameters.ts';
import type { ModelSpec } from '../models/spec.ts';
import { expectFinite } from './expect.ts';
import { type ChipPrice, chipPrice, choosePrice, type PriceQuery } from './prices.ts';

/** What is paid for: operations in a format, or bytes from memory. */
export type CostMetric = PeakFormat | 'bandwidth';

/** Formats in the order in which one stands in for another of the same width, where a maker states one only. */
const SAME_WIDTH: Readonly<Partial<Record<PeakFormat, readonly PeakFormat[]>>> = {
  fp8: ['fp8', 'mxfp8'],
  mxfp4: ['mxfp4', 'fp4'],
  fp4: ['fp4', 'mxfp4'],
};

/** Dense PFLOP/s of a chip, or TB/s of its memory; null where it has none or nobody says. */
export function capability(chip: ChipSpec, metric: CostMetric): number | null {
  if (metric === 'bandwidth') return chip.memory.bandwidth === null ? null : chip.memory.bandwidth / 1e12;
  const rates = (SAME_WIDTH[metric] ?? [metric]).map((format) => chip.peak[format]);
  const rate = rates.find((value) => typeof value === 'number') ?? null;
  return rate === null ? null : rate / 1e15;
}

/** Dollars per PFLOP-hour or per TB/s-hour. */
export function unitCost(chip: ChipSpec, usdPerChipHour: Dollars, metric: CostMetric): number | null {
  const amount = capability(chip, metric);
  return amount === null ? null : usdPerChipHour / amount;
}

/** What compute and memory bandwidth cost on one system; null where the chip has no such rate, or nobody says. */
export interface CostRow {
  readonly system: string;
  readonly spec: SystemSpec;
  readonly price: ChipPrice;
  /** Dollars per dense PFLOP-hour, and per TB/s-hour of HBM. */
  readonly bf16: number | null;
  readonly fp8: number | null;
  readonly bandwidth: number | null;
}

/** The row of a system at a price, that of its chip-hour. */
export function costRow(spec: SystemSpec, price: ChipPrice): CostRow {
  const cost = (metric: CostMetric) => unitCost(spec.chip, price.usdPerChipHour, metric);
  return { system: spec.id, spec, price, bf16: cost('bf16'), fp8: cost('fp8'), bandwidth: cost('bandwidth') };
}

/**
 * Rows of all systems with a price of their own for this date, basis and region; `first` before the others, by its id.
 * @throws RangeError for a query that no price can answer
 */
export function costTable(first: string, query: PriceQuery = {}): CostRow[] {
  const rows = systems().flatMap((system) => {
    const row = choosePrice(system.id, query);
    return row === null ? [] : [costRow(system, chipPrice(system, query)!)];
  });
  return [...rows.filter(({ system }) => system === first), ...rows.filter(({ system }) => system !== first)];
}

/** How much cheaper `a` is than `b`: 0.36 is 36 % less, negative is dearer. */
export function saving(a: number, b: number): number {
  return 1 - a / b;
}

/** Price of a chip-hour at which a unit of `metric` costs `less` than the reference's. */
export function breakEvenPrice(
  chip: ChipSpec,
  reference: { readonly chip: ChipSpec; readonly usdPerChipHour: Dollars },
  metric: CostMetric,
  less: number = 0,
): Dollars | null {
  expectFinite('saving', less, { max: 1 });
  const own = capability(chip, metric);
  const cost = unitCost(reference.chip, reference.usdPerChipHour, metric);
  return own === null || cost === null ? null : (1 - less) * cost * own;
}

export interface TrainingRun {
  readonly time: Seconds;
  /** Of all chips together: what the run is billed for. */
  readonly chipHours: number;
  /** Model FLOPs: 6 x parameters that a token meets x tokens. */
  readonly flops: number;
}

/**
 * A training run of `tokens` on `chips` at a model FLOPs utilisation and goodput, each in (0, 1]; null if the
 * chip's rate in the format is not known. 6 FLOPs: Kaplan et al., "Scaling Laws for Neural Language Models" (2020), 2.1.
 * @throws RangeError for an option out of range
 */
export function trainingRun(
  model: ModelSpec,
  tokens: number,
  chip: ChipSpec,
  chips: number,
  options: { readonly mfu: number; readonly format?: PeakFormat; readonly goodput?: number },
): TrainingRun | null {
  const mfu = expectFinite('mfu', options.mfu, { above: 0, max: 1 });
  const goodput = expectFinite('goodput', options.goodput ?? 1, { above: 0, max: 1 });
  const rate = capability(chip, options.format ?? 'bf16');
  if (rate === null) return null;
  const flops = 6 * parameterCounts(model).active * tokens;
  const time = flops / (chips * rate * 1e15 * mfu * goodput);
  return { time, chipHours: (chips * time) / 3600, flops };
}
