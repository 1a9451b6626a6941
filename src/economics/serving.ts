/**
 * What a system serves of a model within a limit on the time per output token: the plan with the most tokens per second.
 *
 * A chip is a rank. A group of ranks serves as one: a tensor-parallel group, or several whose attention is replicated and
 * whose experts are spread over all of them; the system holds as many groups as fit. Tried are degrees of tensor parallelism
 * (powers of 2, of 4 on more than 16 chips), experts cut over the tensor-parallel group or spread over the most ranks, and
 * batches in powers of two until memory or the limit is passed: decode gets slower with the batch. Between the last power
 * and the next the winner's batch is then found by bisection.
 * Continuous serving: prefills interrupt the decoding. Leaves out: pipelines, speculation, queues (`trnsim serve`).
 */
import type { Seconds } from '../base/units.ts';
import type { SystemSpec } from '../hardware/spec.ts';
import { createCluster } from '../machine/cluster.ts';
import type { Formats, Software } from '../models/graph.ts';
import type { ModelSpec } from '../models/spec.ts';
import { evaluateInference } from '../workloads/inference/evaluate.ts';
import { inferencePlanMemory, rankCapacity } from '../workloads/inference/infer.ts';
import { type InferencePlan, inferencePlan } from '../workloads/inference/plan.ts';
import { inferenceTables } from '../workloads/inference/tables.ts';
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

type Cut = Pick<ServingPoint, 'tp' | 'dp' | 'ep'>;

const MAX_BATCH = 2 ** 16;

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
 * The best point, or null if no plan fits into memory and the limit.
 * @throws ModelError UNSUPPORTED for what is not modelled on the system
 */
export function bestServing(system: SystemSpec, options: ServingOptions): ServingPoint | null {
  const limit = expectFinite('tpot', options.tpot, { above: 0 });
  const tables = inferenceTables(createCluster(system, { rank: 'chip' }));
  const capacity = rankCapacity(tables.cluster);
  const pointAt = (cut: Cut, batch: number): ServingPoint | null => {
    const plan = planOf(options, cut, batch);
    if (plan === null || inferencePlanMemory(plan).total > capacity) return null;
    const { ttft, tpot, tokensPerSecond } = evaluateInference(plan, tables);
    const groups = Math.floor(system.chips / (cut.tp * cut.dp));
    const total = groups * tokensPerSecond;
    if (tpot > limit) return null;
    return { tokensPerSecond: total, tokensPerSecondPerChip: total / system.chips, tpot, ttft, groups, batch, ...cut };
  };
  let best: ServingPoint | null = null;
  for (const cut of cuts(options.model, system.chips)) {
    for (let batch = cut.dp; batch <= MAX_BATCH; batch *= 2) {
      const point = pointAt(cut, batch);
      if (point === null) break;
      if (best === null || point.tokensPerSecond > best.tokensPerSecond) best = point;
    }
  }
  if (best === null) return null;
  // Whole sequences for each replica, between the batch that fits and its double that does not.
  const { dp } = best;
  for (let step = best.batch / dp / 2; step >= 1; step /= 2) {
    const point = pointAt(best, best.batch + step * dp);
    if (point !== null && point.tokensPerSecond > best.tokensPerSecond) best = point;
  }
  return best;
}

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
