/**
 * `trnsim plan --costs`: what compute, memory bandwidth and, for a model, tokens cost on every system with a price, what the
 * first one saves over each, and the break-even price of a chip that has none: what a chip-hour of it may cost to be as dear.
 *
 * Per PFLOP and TB/s at equal efficiency; per token by the clocks, one workload and one limit on the time per token for all.
 */
import type { Dollars } from '../base/units.ts';
import type { ChipSpec, SystemSpec } from '../hardware/spec.ts';
import { breakEvenPrice, type CostRow, costTable, saving } from './costs.ts';
import type { Workload } from './plan-fleet.ts';
import type { PriceQuery } from './prices.ts';
import { bestServing } from './serving.ts';
import { bestTraining, orReason, type TrainingWorkload } from './training.ts';

export interface CostPlanOptions {
  readonly price?: PriceQuery;
  /** Only these systems; all with a price if left out. */
  readonly systems?: readonly SystemSpec[];
  /** Whose savings are listed. */
  readonly reference?: string;
  /** Without a public price: its break-even prices are listed. */
  readonly breakEven: ChipSpec;
  /** Tokens served, of the first model, and trained. */
  readonly serving?: Workload;
  readonly training?: TrainingWorkload;
}

/** What a million tokens cost; null with the reason. */
export interface TokenCost {
  readonly usdPerMTok: Dollars | null;
  readonly tokensPerSPerChip: number | null;
  readonly reason: string;
}

/** A value for each of the three rates that a comparison of prices is about. */
type Metrics<T> = Readonly<Record<'bf16' | 'fp8' | 'bandwidth', T>>;

export interface CostPlanRow {
  readonly system: string;
  readonly chip: string;
  readonly usdPerChipHour: Dollars;
  readonly priceReason: string;
  readonly usdPerBf16PflopHour: Dollars | null;
  readonly usdPerFp8PflopHour: Dollars | null;
  readonly usdPerTBpsHour: Dollars | null;
  /** What the reference saves over this system, in percent. */
  readonly savingPct: Metrics<number | null>;
  /** Price of a chip-hour of the chip without a price at which it costs as much as this system. */
  readonly breakEvenUsdPerChipHour: Metrics<Dollars | null>;
  /** Null without a model. */
  readonly served: TokenCost | null;
  readonly trained: TokenCost | null;
}

export interface CostPlan {
  readonly schemaVersion: 1;
  readonly reference: string;
  readonly breakEvenChip: string;
  /** What was served and trained, in words; null without a model. */
  readonly workload: string | null;
  readonly plans: readonly CostPlanRow[];
}

function metrics<T>(value: (metric: 'bf16' | 'fp8' | 'bandwidth') => T): Metrics<T> {
  return { bf16: value('bf16'), fp8: value('fp8'), bandwidth: value('bandwidth') };
}

/** @throws RangeError for a query that no price can answer, or an option out of range */
export function planCosts(options: CostPlanOptions): CostPlan {
  const { price = {}, systems, reference = 'trn2.48xlarge', breakEven, serving, training } = options;
  const all = costTable(reference, price);
  const rows = systems === undefined ? all : all.filter((row) => systems.some(({ id }) => id === row.system));
  const first = all.find(({ system }) => system === reference) ?? null;
  return {
    schemaVersion: 1,
    reference,
    breakEvenChip: breakEven.id,
    workload: workloadText(serving, training),
    plans: rows.map((row) => costPlanRow(row, first, breakEven, serving, training)),
  };
}

/** The job in words: a price of tokens means nothing without it. */
function workloadText(serving?: Workload, training?: TrainingWorkload): string | null {
  if (serving === undefined || training === undefined) return null;
  return (
    `served: ${serving.models[0]!.name}, ${serving.input} in, ${serving.output} out, at most ${1e3 * serving.tpot} ms a token; ` +
    `trained: sequences of ${training.seq}, ${training.globalBatch} a step, on ${training.chips} chips`
  );
}

function costPlanRow(
  row: CostRow,
  first: CostRow | null,
  breakEven: ChipSpec,
  serving?: Workload,
  training?: TrainingWorkload,
): CostPlanRow {
  const { chip } = row.spec;
  const { usdPerChipHour, reason: priceReason } = row.price;
  // A plan's rate becomes a price; a reason stays one, and no plan at all is a reason too.
  const perToken = (rate: number | null | string, none: string): TokenCost =>
    typeof rate === 'number'
      ? { usdPerMTok: (usdPerChipHour / 3600 / rate) * 1e6, tokensPerSPerChip: rate, reason: priceReason }
      : { usdPerMTok: null, tokensPerSPerChip: null, reason: rate ?? none };
  return {
    system: row.system,
    chip: chip.id,
    usdPerChipHour,
    priceReason,
    usdPerBf16PflopHour: row.bf16,
    usdPerFp8PflopHour: row.fp8,
    usdPerTBpsHour: row.bandwidth,
    savingPct: metrics((metric) => {
      const [own, other] = [first?.[metric] ?? null, row[metric]];
      return own === null || other === null ? null : 100 * saving(own, other);
    }),
    breakEvenUsdPerChipHour: metrics((metric) => breakEvenPrice(breakEven, { chip, usdPerChipHour }, metric)),
    served:
      serving === undefined
        ? null
        : perToken(
            orReason(
              () => bestServing(row.spec, { ...serving, model: serving.models[0]! })?.tokensPerSecondPerChip ?? null,
            ),
            'no plan fits into memory and the limit',
          ),
    trained:
      training === undefined
        ? null
        : perToken(
            orReason(() => bestTraining(row.spec, training)?.tokensPerSecondPerChip ?? null),
            'no plan fits into memory',
          ),
  };
}
