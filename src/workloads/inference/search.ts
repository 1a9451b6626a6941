/**
 * The search of inference plans: every way to cut the model over the ranks, with every batch that fits into memory.
 *
 * | axis  | values unless given                                                                    |
 * |-------|------------------------------------------------------------------------------------------|
 * | tp    | divisors of the ranks, at most the attention heads                                       |
 * | pp    | divisors of the rest, at most the layers                                                 |
 * | cp    | 1                                                                                        |
 * | dp    | what is left                                                                             |
 * | ep    | of a mixture: whole experts on each rank, over all ranks of a stage as far as there are; and none |
 * | batch | powers of two, from one sequence a replica up to 1024 a replica                           |
 *
 * Memory is checked before times: larger batches of a cut that is full are not looked at.
 */
import { expectInteger, ModelError } from '../../base/errors.ts';
import type { Bytes } from '../../base/units.ts';
import type { Cluster } from '../../fabric/cluster.ts';
import type { Constants } from '../../hardware/fitted.ts';
import { layerCount, type ModelSpec } from '../../models/spec.ts';
import { economics } from '../economics.ts';
import { evaluateInference } from './evaluate.ts';
import { inferencePlanMemory, rankCapacity } from './infer.ts';
import { type InferenceOptions, type InferencePlan, inferencePlan } from './plan.ts';
import { inferenceTables } from './tables.ts';

/** Values of the axes to try; those left out have the defaults of the table. */
export interface InferenceSpace {
  readonly tp?: readonly number[];
  readonly pp?: readonly number[];
  readonly cp?: readonly number[];
  readonly ep?: readonly number[];
  readonly batch?: readonly number[];
}

export interface InferenceLimits {
  readonly ttftNs?: number;
  readonly tpotNs?: number;
}

export interface InferenceRow {
  readonly tp: number;
  readonly pp: number;
  readonly cp: number;
  readonly dp: number;
  readonly ep: number;
  readonly batch: number;
  readonly ttftNs: number;
  readonly tpotNs: number;
  readonly tokensPerS: number;
  readonly memoryBytes: Bytes;
  readonly costPerMTokUsd: number | null;
  readonly energyPerMTokJ: number | null;
}

/** What the plans are ordered by: most tokens per second, least time per token, least time to the first token. */
export type InferenceObjective = 'throughput' | 'tpot' | 'ttft';

/** Cuts and batches of a job, memory not considered. */
export interface InferenceCut {
  readonly tp: number;
  readonly pp: number;
  readonly cp: number;
  readonly dp: number;
  readonly ep: number;
}

const MOST_PER_REPLICA = 1024;

function divisors(n: number, most: number): number[] {
  const found: number[] = [];
  for (let d = 1; d <= Math.min(n, most); d++) if (n % d === 0) found.push(d);
  return found;
}

function expertCuts({ kinds }: ModelSpec, tp: number, ranks: number): number[] {
  const experts = kinds.reduce((most, { mlp }) => (mlp.kind === 'moe' ? Math.max(most, mlp.experts) : most), 0);
  if (experts === 0) return [1];
  // Whole experts: over as many ranks of the stage as divide them and as tensor parallelism divides.
  const spread = divisors(experts, ranks).filter((ep) => ep % tp === 0 && ranks % ep === 0);
  return [...new Set([1, ...spread.slice(-1)])];
}

/** Every cut of `model` over all ranks of `cluster`. */
export function inferenceCuts(model: ModelSpec, { ranks }: Cluster, space: InferenceSpace): InferenceCut[] {
  const heads = model.kinds.reduce((most, { attention }) => Math.max(most, attention.heads), 1);
  for (const [axis, values] of Object.entries(space) as [keyof InferenceSpace, readonly number[]][]) {
    for (const value of values) expectInteger(axis, value, 1, 2 ** 24);
  }
  const cuts: InferenceCut[] = [];
  for (const tp of space.tp ?? divisors(ranks, heads)) {
    for (const pp of space.pp ?? divisors(ranks, layerCount(model))) {
      for (const cp of space.cp ?? [1]) {
        const dp = ranks / (tp * pp * cp);
        if (!Number.isInteger(dp) || pp > layerCount(model)) continue;
        for (const ep of space.ep ?? expertCuts(model, tp, tp * cp * dp)) {
          if ((ep % tp === 0 || ep === 1) && ep <= tp * cp * dp) cuts.push({ tp, pp, cp, dp, ep });
        }
      }
    }
  }
  return cuts;
}

/** Evaluates one cut after another, and keeps what was found. */
export class InferenceSearch {
  readonly cuts: readonly InferenceCut[];
  readonly rows: InferenceRow[] = [];
  /** Plans looked at, and those that did not fit into memory or that the clocks do not model. */
  tried = 0;
  refused = 0;
  readonly #options: InferenceOptions;
  readonly #cluster: Cluster;
  readonly #space: InferenceSpace;
  readonly #tables: ReturnType<typeof inferenceTables>;
  readonly #capacity: Bytes;

  constructor(cluster: Cluster, options: InferenceOptions, space: InferenceSpace = {}, constants?: Constants) {
    this.#options = options;
    this.#cluster = cluster;
    this.#space = space;
    this.#tables = inferenceTables(cluster, constants);
    this.#capacity = rankCapacity(cluster);
    this.cuts = inferenceCuts(options.model, cluster, space);
  }

  /** All batches of one cut, small ones first, until one does not fit. */
  evaluate(cut: InferenceCut): void {
    for (const batch of this.#space.batch ?? batchesOf(cut.dp)) {
      const plan = inferencePlan({ ...this.#options, ...cut, batch });
      const memory = inferencePlanMemory(plan).total;
      this.tried++;
      if (memory > this.#capacity) {
        this.refused++;
        return;
      }
      const row = this.#row(plan, cut, memory);
      if (row === null) this.refused++;
      else this.rows.push(row);
    }
  }

  /** Null where the machine cannot run the plan. */
  #row(plan: InferencePlan, cut: InferenceCut, memoryBytes: Bytes): InferenceRow | null {
    try {
      const time = evaluateInference(plan, this.#tables);
      const { energyJ, costUsd } = economics(this.#cluster.system, this.#cluster.nodes, 1 / time.tokensPerSecond);
      return {
        ...cut,
        batch: plan.batch,
        ttftNs: time.ttft * 1e9,
        tpotNs: time.tpot * 1e9,
        tokensPerS: time.tokensPerSecond,
        memoryBytes,
        costPerMTokUsd: costUsd === null ? null : 1e6 * costUsd,
        energyPerMTokJ: energyJ === null ? null : 1e6 * energyJ,
      };
    } catch (error) {
      if (error instanceof ModelError) return null;
      throw error;
    }
  }
}

function batchesOf(dp: number): number[] {
  const batches: number[] = [];
  for (let each = 1; each <= MOST_PER_REPLICA; each *= 2) batches.push(each * dp);
  return batches;
}

const ORDER: Readonly<Record<InferenceObjective, (row: InferenceRow) => number>> = {
  throughput: (row) => -row.tokensPerS,
  tpot: (row) => row.tpotNs,
  ttft: (row) => row.ttftNs,
};

/** Rows within the limits, best first; the smaller time per token decides between equals. */
export function rankInference(
  rows: readonly InferenceRow[],
  objective: InferenceObjective,
  { ttftNs = Infinity, tpotNs = Infinity }: InferenceLimits = {},
): InferenceRow[] {
  const value = ORDER[objective];
  return rows
    .filter((row) => row.ttftNs <= ttftNs && row.tpotNs <= tpotNs)
    .sort((a, b) => value(a) - value(b) || a.tpotNs - b.tpotNs);
}

/** Rows that no other beats in both throughput and time per token, most throughput first. */
export function inferenceFront(rows: readonly InferenceRow[]): InferenceRow[] {
  let best = Infinity;
  return rankInference(rows, 'throughput').filter(({ tpotNs }) => {
    const isBetter = tpotNs < best;
    best = Math.min(best, tpotNs);
    return isBetter;
  });
}
