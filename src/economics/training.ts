/**
 * What a system trains of a model: the plan of most tokens per second on a number of its chips, by the clocks of
 * `trnsim train`. For comparisons of machines on one job, so the space is small: every tensor and pipeline parallelism that
 * divides the ranks, micro-batches of 1 and 2, 1F1B, sharded optimizer states (ZeRO 1), with and without recomputation.
 * `trnsim plan --train` searches all of it.
 */
import { ModelError } from '../base/errors.ts';
import type { Seconds } from '../base/units.ts';
import type { SystemSpec } from '../hardware/spec.ts';
import { createCluster } from '../machine/cluster.ts';
import type { Formats } from '../models/graph.ts';
import type { ModelSpec } from '../models/spec.ts';
import { searchTraining, trainingSearch } from '../workloads/plan/search.ts';

/** The same job on every system. */
export interface TrainingWorkload {
  readonly model: ModelSpec;
  readonly formats: Formats;
  /** Chips that share a step; the last system may be used in part. */
  readonly chips: number;
  /** Tokens of a sequence, and sequences of a step. */
  readonly seq: number;
  readonly globalBatch: number;
}

/** The best plan of a system: what it reaches, and how it is cut. */
export interface TrainingPoint {
  readonly tokensPerSecondPerChip: number;
  readonly step: Seconds;
  readonly tp: number;
  readonly pp: number;
  readonly dp: number;
  readonly microBatch: number;
  readonly recompute: string;
}

/**
 * The best plan, or null if none fits into memory.
 * @throws ModelError if the system's links, memory or network are not published, or its clocks do not model the model
 */
export function bestTraining(system: SystemSpec, workload: TrainingWorkload): TrainingPoint | null {
  const { model, formats, chips, seq, globalBatch } = workload;
  const cluster = createCluster(system, { chips });
  const search = trainingSearch(
    { model, cluster, formats, seq, globalBatch },
    { cp: [1], zero: [1], schedule: ['1f1b'], microBatch: [1, 2] },
  );
  let best = null;
  for (const state of searchTraining(search, 1)) best = state.best[0] ?? null;
  if (best === null) return null;
  const { tp, pp, dp, microBatch, recompute } = best.plan;
  const tokensPerSecondPerChip = (seq * globalBatch) / best.step / chips;
  return { tokensPerSecondPerChip, step: best.step, tp, pp, dp, microBatch, recompute };
}

/** `value()`, or the reason why the models cannot say. */
export function orReason<T>(value: () => T): T | string {
  try {
    return value();
  } catch (error) {
    if (error instanceof ModelError) return error.message;
    throw error;
  }
}
