/**
 * `trnsim infer`: a batch of requests on a cluster, as a JSON-safe result with memory, time, energy and cost.
 */

import { ModelError } from '../../base/errors.ts';
import type { Bytes } from '../../base/units.ts';
import type { Cluster } from '../../fabric/cluster.ts';
import type { Constants } from '../../hardware/fitted.ts';
import { inferenceMemory } from '../../models/inference-memory.ts';
import { checkMemory, type MemoryUse } from '../../models/memory.ts';
import { economics } from '../economics.ts';
import { BREAKDOWN_KEYS, type StepBreakdown } from './breakdown.ts';
import { evaluateInference } from './evaluate.ts';
import {
  type InferenceOptions,
  type InferencePlan,
  inferencePlan,
  paddedPrompt,
  planRanks,
  replicaBatch,
} from './plan.ts';
import { inferenceTables } from './tables.ts';

/** Nanoseconds by what takes them; see `StepBreakdown`. */
export type BreakdownNs = Readonly<Record<`${keyof StepBreakdown}Ns`, number>>;

export interface InferenceResult {
  readonly schemaVersion: 1;
  readonly fidelity: 'formula';
  readonly model: string;
  readonly system: string;
  readonly nodes: number;
  readonly ranks: number;
  readonly ttftNs: number;
  readonly tpotNs: number;
  /** From the first prompt to the last token. */
  readonly totalNs: number;
  /** Generated tokens, all sequences. */
  readonly tokensPerS: number;
  readonly tokensPerSPerSequence: number;
  readonly tokensPerStep: number;
  /** The fullest rank. */
  readonly memory: {
    readonly weightsBytes: number;
    readonly kvCacheBytes: number;
    readonly activationsBytes: number;
    readonly buffersBytes: number;
    readonly totalBytes: number;
    readonly capacityBytes: number;
    readonly stage: number;
  };
  readonly breakdown: {
    readonly prefill: BreakdownNs;
    /** Of one token. */
    readonly decode: BreakdownNs & { readonly interruptionNs: number };
  };
  readonly energyJ: number | null;
  readonly energyReason: string;
  readonly costUsd: number | null;
  readonly costReason: string;
  /** Per million generated tokens. */
  readonly energyPerMTokJ: number | null;
  readonly costPerMTokUsd: number | null;
}

/** What the fullest rank holds: weights and cache of the model and of its draft, the larger of their working sets. */
export function inferencePlanMemory(plan: InferencePlan): MemoryUse {
  const { model, shard, pp, formats, input, output, page, compiled, prefillChunk, serving, speculation } = plan;
  const sequences = Math.max(replicaBatch(plan), compiled?.batch ?? 1);
  const prompt = Math.min(prefillChunk ?? Infinity, paddedPrompt(plan, input));
  const together = serving === 'continuous' || pp > 1 ? 1 : replicaBatch(plan);
  const options = {
    shard,
    formats,
    sequences,
    length: compiled?.maxLen ?? input + output,
    tokens: Math.max(sequences, together * prompt),
    page,
  };
  const use = inferenceMemory(model, { ...options, pp });
  if (speculation === null) return use;
  const draft = inferenceMemory(speculation.draft, options);
  for (const name of ['weights', 'kvCache'] as const) {
    use[name] += draft[name];
    use.total += draft[name];
  }
  return use;
}

/** HBM of a rank: its part of the chip's. */
export function rankCapacity({ system, ranksPerChip }: Cluster): Bytes {
  const { capacity } = system.chip.memory;
  if (capacity === null) {
    throw new ModelError('UNSUPPORTED', system.chip.id, 'expected a published memory capacity, got none');
  }
  return capacity / ranksPerChip;
}

/**
 * @throws RangeError or TypeError for a wrong option; ModelError CAPACITY if a rank's memory is too small, UNSUPPORTED for
 * what is not modelled
 */
export function infer(cluster: Cluster, options: InferenceOptions, constants?: Constants): InferenceResult {
  const plan = inferencePlan(options);
  const ranks = planRanks(plan);
  if (ranks > cluster.ranks) {
    throw new RangeError(
      `"ranks" expected tp x cp x dp x pp of at most ${cluster.ranks}, those of ${cluster.nodes} x ${cluster.system.id}, got ${ranks}`,
    );
  }
  const memory = inferencePlanMemory(plan);
  const capacity = rankCapacity(cluster);
  checkMemory(memory, capacity);
  const time = evaluateInference(plan, inferenceTables(cluster, constants));
  const generated = plan.batch * plan.output;
  const bill = economics(cluster.system, cluster.nodes, time.total);
  const perMTok = (value: number | null) => (value === null ? null : (value / generated) * 1e6);
  return {
    schemaVersion: 1,
    fidelity: 'formula',
    model: plan.model.name,
    system: cluster.system.id,
    nodes: cluster.nodes,
    ranks,
    ttftNs: time.ttft * 1e9,
    tpotNs: time.tpot * 1e9,
    totalNs: time.total * 1e9,
    tokensPerS: time.tokensPerSecond,
    tokensPerSPerSequence: 1 / time.tpot,
    tokensPerStep: time.tokensPerStep,
    memory: {
      weightsBytes: memory.weights,
      kvCacheBytes: memory.kvCache,
      activationsBytes: memory.activations,
      buffersBytes: memory.buffers,
      totalBytes: memory.total,
      capacityBytes: capacity,
      stage: memory.stage,
    },
    breakdown: {
      prefill: inNanoseconds(time.prefill),
      decode: { ...inNanoseconds(time.decode), interruptionNs: time.interruption * 1e9 },
    },
    ...bill,
    energyPerMTokJ: perMTok(bill.energyJ),
    costPerMTokUsd: perMTok(bill.costUsd),
  };
}

function inNanoseconds(breakdown: StepBreakdown): BreakdownNs {
  return Object.fromEntries(BREAKDOWN_KEYS.map((key) => [`${key}Ns`, breakdown[key] * 1e9])) as BreakdownNs;
}
