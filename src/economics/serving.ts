/**
 * What a system serves of a model within a limit on the time per output token: the plan with the most tokens per second.
 *
 * A chip is a rank. A group of ranks serves as one: a tensor-parallel group, or several whose attention is replicated and
 * whose experts are spread over all of them; the system holds as many groups as fit. Tried are degrees of tensor parallelism
 * (powers of 2, of 4 on more than 16 chips), experts cut over the tensor-parallel group or spread over the most ranks, and
 * batches in powers of four and the most that memory holds, until the limit is passed: decode gets slower with the batch.
 * Between two of them the batch at the limit is read off the straight line.
 * Continuous serving: prefills interrupt the decoding. Leaves out: pipelines, speculation, queues (`trnsim serve`).
 */
import { ModelError } from '../base/errors.ts';
import type { Bytes, Seconds } from '../base/units.ts';
import type { SystemSpec } from '../hardware/spec.ts';
import { createCluster } from '../machine/cluster.ts';
import type { Formats, Software } from '../models/graph.ts';
import type { ModelSpec } from '../models/spec.ts';
import {
  evaluateInference,
  type InferenceClocks,
  type InferenceTime,
  inferenceClocks,
} from '../workloads/inference/evaluate.ts';
import { inferencePlanMemory, rankCapacity } from '../workloads/inference/infer.ts';
import { type InferencePlan, inferencePlan } from '../workloads/inference/plan.ts';
import { type InferenceTables, inferenceTables } from '../workloads/inference/tables.ts';
import { expectFinite } from './expect.ts';

export interface ServingOptions {
  readonly model: ModelSpec;
  readonly formats: Formats;
  /** Tokens of a request. */
  readonly input: number;
  readonly output: number;
  /** Most time per output token. */
  readonly tpot: Seconds;
  readonly software?: Software;
  /** Clocks of the system with chips as ranks, to share among calls; made if left out. */
  readonly tables?: InferenceTables;
}

export interface ServingPoint {
  /** Of all groups that the system holds, and by chip of the system. */
  readonly tokensPerSecond: number;
  readonly tokensPerSecondPerChip: number;
  readonly tpot: Seconds;
  readonly ttft: Seconds;
  readonly groups: number;
  /** Of one group: sequences in flight, and how its chips share the model. */
  readonly batch: number;
  readonly tp: number;
  readonly dp: number;
  readonly ep: number;
}

/** How one group of chips shares the model. */
type Cut = Pick<ServingPoint, 'tp' | 'dp' | 'ep'>;

const MAX_BATCH = 2 ** 16;

/**
 * The ways to cut that are tried. Experts stay in the tensor-parallel group, or are spread over the largest power-of-two multiple
 * of it that has an expert for each rank: more ranks share the weights, and the attention is repeated.
 */
function cuts({ kinds }: ModelSpec, chips: number): Cut[] {
  const experts = Math.max(...kinds.map(({ mlp }) => (mlp.kind === 'moe' ? mlp.experts : 1)));
  const found: Cut[] = [];
  for (let tp = 1; tp <= chips; tp *= chips > 16 ? 4 : 2) {
    found.push({ tp, dp: 1, ep: 1 });
    let ranks = tp;
    while (2 * ranks <= Math.min(experts, chips)) ranks *= 2;
    if (ranks > 1 && ranks <= experts) found.push({ tp, dp: ranks / tp, ep: ranks });
  }
  return found;
}

/**
 * What the system can do: for each way to cut the model the points of growing batches, up to the first beyond `tpot`.
 * One list answers for every tighter limit (`servingWithin`).
 * @throws ModelError if the system's links, memory or network are not published, or if its clocks model none of the plans
 */
export function servingRows(system: SystemSpec, options: ServingOptions): ServingPoint[][] {
  const limit = expectFinite('tpot', options.tpot, { above: 0 });
  const tables = options.tables ?? inferenceTables(createCluster(system, { rank: 'chip' }));
  const capacity = rankCapacity(tables.cluster);
  let reason: ModelError | null = null;
  const rows = cuts(options.model, system.chips).map((cut) => {
    const groups = Math.floor(system.chips / (cut.tp * cut.dp));
    const row: ServingPoint[] = [];
    // One cut's steps are the same in every batch: its prefills are timed once.
    let clocks: InferenceClocks | null = null;
    for (const batch of batches(options, cut, capacity)) {
      if ((row.at(-1)?.tpot ?? 0) > limit) break;
      const plan = planOf(options, cut, batch)!;
      clocks ??= inferenceClocks(plan, tables);
      const time = timed(plan, tables, clocks);
      if (time instanceof ModelError) {
        reason ??= time;
        break;
      }
      const { ttft, tpot, tokensPerSecond } = time;
      const total = groups * tokensPerSecond;
      row.push({
        tokensPerSecond: total,
        tokensPerSecondPerChip: total / system.chips,
        tpot,
        ttft,
        groups,
        batch,
        ...cut,
      });
    }
    return row;
  });
  if (reason !== null && rows.every((row) => row.length === 0)) throw reason;
  return rows;
}

/** Batches to try: powers of four on each replica, then the largest that fits into memory. */
function batches(options: ServingOptions, cut: Cut, capacity: Bytes): number[] {
  const { dp } = cut;
  const fits = (batch: number) => {
    const plan = planOf(options, cut, batch);
    return plan !== null && inferencePlanMemory(plan).total <= capacity;
  };
  const found: number[] = [];
  let batch = dp;
  for (; batch <= MAX_BATCH && fits(batch); batch *= 4) found.push(batch);
  let [most, over] = [found.at(-1) ?? 0, batch];
  // Memory grows with the batch: halve what is between, in whole sequences on each replica.
  while (most > 0 && over <= MAX_BATCH && over - most > dp) {
    const middle = dp * Math.floor((most + over) / (2 * dp));
    if (fits(middle)) most = middle;
    else over = middle;
  }
  if (most > (found.at(-1) ?? 0)) found.push(most);
  return found;
}

/** The error for a shape that the clocks do not model: the row ends there. */
function timed(plan: InferencePlan, tables: InferenceTables, clocks: InferenceClocks): InferenceTime | ModelError {
  try {
    return evaluateInference(plan, tables, clocks);
  } catch (error) {
    if (error instanceof ModelError) return error;
    throw error;
  }
}

/** The point of most tokens per second within a limit; null if there is none. */
export function servingWithin(rows: readonly (readonly ServingPoint[])[], limit: Seconds): ServingPoint | null {
  let best: ServingPoint | null = null;
  for (const row of rows) {
    const over = row.findIndex(({ tpot }) => tpot > limit);
    const last = row[(over === -1 ? row.length : over) - 1];
    if (last === undefined) continue;
    const point = over === -1 ? last : between(last, row[over]!, limit);
    if (best === null || point.tokensPerSecond > best.tokensPerSecond) best = point;
  }
  return best;
}

/** The point between two batches at which a token takes `limit`, with whole sequences on each replica. */
function between(low: ServingPoint, high: ServingPoint, limit: Seconds): ServingPoint {
  const { dp } = low;
  const part = (limit - low.tpot) / (high.tpot - low.tpot);
  const batch = dp * Math.floor((low.batch + part * (high.batch - low.batch)) / dp);
  const at = (batch - low.batch) / (high.batch - low.batch);
  const mean = (name: 'tpot' | 'ttft' | 'tokensPerSecond' | 'tokensPerSecondPerChip') =>
    low[name] + at * (high[name] - low[name]);
  return {
    ...low,
    batch,
    tpot: mean('tpot'),
    ttft: mean('ttft'),
    tokensPerSecond: mean('tokensPerSecond'),
    tokensPerSecondPerChip: mean('tokensPerSecondPerChip'),
  };
}

/**
 * The best point, or null if no plan fits into memory and the limit.
 * @throws ModelError if the system's links, memory or network are not published
 */
export function bestServing(system: SystemSpec, options: ServingOptions): ServingPoint | null {
  return servingWithin(servingRows(system, options), options.tpot);
}

/** Null where the model cannot be cut so: the search passes over it. */
function planOf(options: ServingOptions, cut: Cut, batch: number): InferencePlan | null {
  const { model, formats, input, output, software = 'library' } = options;
  const { tp, dp, ep } = cut;
  try {
    return inferencePlan({ tp, dp, ep, batch, model, formats, input, output, software, serving: 'continuous' });
  } catch (error) {
    // Experts that the ranks do not divide.
    if (error instanceof RangeError) return null;
    throw error;
  }
}
