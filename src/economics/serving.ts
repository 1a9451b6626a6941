/**
 * What a system serves of a model within a limit on the time per output token: the plan with the most tokens per second.
 *
 * A chip is a rank. One replica of the model is a tensor-parallel group, or attention replicas that share experts; a system
 * runs as many replicas as fit. Tried are the powers of two of tensor parallelism, experts over the ranks of the group or of all
 * groups, and batches in powers of two until memory or the limit is passed; decode gets slower with the batch, so the first
 * batch over the limit ends a row. Continuous serving: prefills interrupt the decoding.
 * Leaves out: pipeline parallelism, speculation, prefill on other machines, queues (`trnsim serve`).
 */
import { ModelError } from '../base/errors.ts';
import type { Seconds } from '../base/units.ts';
import type { SystemSpec } from '../hardware/spec.ts';
import { createCluster } from '../machine/cluster.ts';
import type { Formats, Software } from '../models/graph.ts';
import type { ModelSpec } from '../models/spec.ts';
import { evaluateInference } from '../workloads/inference/evaluate.ts';
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
}

export interface ServingPoint {
  /** Of the whole system, and of one of its chips. */
  readonly tokensPerSecond: number;
  readonly tokensPerSecondPerChip: number;
  readonly tpot: Seconds;
  readonly ttft: Seconds;
  /** Sequences in flight on the whole system. */
  readonly batch: number;
  readonly tp: number;
  readonly dp: number;
  readonly ep: number;
}

const MAX_BATCH = 2 ** 16;

/** Ways to cut the model over the chips: tp, and replicas that share experts or not. */
function* cuts(model: ModelSpec, chips: number): Generator<{ tp: number; dp: number; ep: number }> {
  const experts = model.kinds.reduce((most, { mlp }) => (mlp.kind === 'moe' ? Math.max(most, mlp.experts) : most), 0);
  for (let tp = 1; tp <= chips; tp *= 2) {
    const dp = Math.floor(chips / tp);
    yield { tp, dp, ep: 1 };
    if (experts > 0 && tp * dp <= experts) yield { tp, dp, ep: tp * dp };
  }
}

/**
 * The best point, or null if no plan fits into memory and the limit.
 * @throws ModelError UNSUPPORTED for what is not modelled on the system
 */
export function bestServing(system: SystemSpec, options: ServingOptions): ServingPoint | null {
  expectFinite('tpot', options.tpot, { above: 0 });
  const tables = inferenceTables(createCluster(system, { rank: 'chip' }));
  const capacity = rankCapacity(tables.cluster);
  let best: ServingPoint | null = null;
  for (const { tp, dp, ep } of cuts(options.model, system.chips)) {
    for (let perReplica = 1; perReplica * dp <= MAX_BATCH; perReplica *= 2) {
      const plan = planOf(options, { tp, dp, ep, batch: perReplica * dp });
      if (plan === null || inferencePlanMemory(plan).total > capacity) break;
      const point = serve(plan, tables, system.chips);
      if (point.tpot > options.tpot) break;
      if (best === null || point.tokensPerSecond > best.tokensPerSecond) best = point;
    }
  }
  return best;
}

function planOf(
  { model, formats, input, output, software = 'library' }: ServingOptions,
  cut: { readonly tp: number; readonly dp: number; readonly ep: number; readonly batch: number },
): InferencePlan | null {
  try {
    return inferencePlan({ ...cut, model, formats, input, output, software, serving: 'continuous' });
  } catch (error) {
    // Heads, experts or widths that the ranks do not divide.
    if (error instanceof RangeError || error instanceof ModelError) return null;
    throw error;
  }
}

function serve(plan: InferencePlan, tables: InferenceTables, chips: number): ServingPoint {
  const { ttft, tpot, tokensPerSecond } = evaluateInference(plan, tables);
  const { shard, dp, batch } = plan;
  return {
    tokensPerSecond,
    tokensPerSecondPerChip: tokensPerSecond / chips,
    tpot,
    ttft,
    batch,
    tp: shard.tp,
    dp,
    ep: shard.ep,
  };
}
