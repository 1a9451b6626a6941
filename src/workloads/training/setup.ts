/** What all plans of a training job have in common, and a plan in full: what `step-model.ts` evaluates. */
import type { Seconds } from '../../base/units.ts';
import type { Cluster } from '../../fabric/cluster.ts';
import type { Constants } from '../../hardware/fitted.ts';
import type { Formats, Shard, Software } from '../../models/graph.ts';
import { emptyMemory, type MemoryUse, type TrainingPlan } from '../../models/memory.ts';
import type { ModelSpec } from '../../models/spec.ts';
import type { Placement } from './placement.ts';

/**
 * What the training software overlaps beyond what the graph's dependencies allow. All are documented programs.
 */
export interface Overlap {
  /** Gradients are reduced bucket by bucket while the last backward pass runs, and ZeRO's weights gathered during the next
   * forward pass; otherwise both after the last micro-batch, as one operation each. */
  readonly gradients: boolean;
  /** Exchanges of tensor parallelism run piece by piece with the products beside them. */
  readonly tensor: boolean;
  /** The forward pass of one micro-batch runs beside the backward pass of another, each computing while the other sends. */
  readonly passes: boolean;
}

export interface TrainingSetup {
  readonly model: ModelSpec;
  readonly cluster: Cluster;
  readonly seq: number;
  /** Sequences of a step, all replicas together. */
  readonly globalBatch: number;
  readonly formats: Formats;
  /** Master weight and moments, bytes a parameter. */
  readonly stateBytes: number;
  readonly software: Exclude<Software, 'megakernel'>;
  readonly overlap: Overlap;
  readonly flash: boolean;
  /** See `Step.fusedSoftmax`. */
  readonly fusedSoftmax: boolean;
  /** Masks of dropout are kept. */
  readonly dropout: boolean;
  readonly expertSkew: number;
  readonly constants: Constants;
}

export interface StepPlan extends TrainingPlan, Pick<Shard, 'cpMode'> {
  readonly placement: Placement;
}

/**
 * The same plan with its numbers as small integers in an object of one shape: what V8 reads without allocating. A quotient such as
 * `ranks / tp` is a boxed double to it even where it is whole, and each way to spread an object makes a shape of its own.
 */
export function compactPlan(plan: StepPlan): StepPlan {
  return {
    tp: plan.tp | 0,
    sp: plan.sp,
    cp: plan.cp | 0,
    cpMode: plan.cpMode,
    ep: plan.ep | 0,
    expertTp: plan.expertTp | 0,
    pp: plan.pp | 0,
    dp: plan.dp | 0,
    zero: plan.zero,
    schedule: plan.schedule,
    interleave: plan.interleave | 0,
    microBatch: plan.microBatch | 0,
    microBatches: plan.microBatches | 0,
    recompute: plan.recompute,
    placement: plan.placement,
  };
}

/** The cost of a step. Mutable: an evaluation writes into it. Times add up to `step`. */
export interface StepCost {
  step: Seconds;
  /** Micro-batches on the slowest device, and what the pipeline adds: idling, and hops between devices. */
  work: Seconds;
  bubble: Seconds;
  /** Exposed reduction of gradients and gathering of weights. */
  gradients: Seconds;
  weights: Seconds;
  optimizer: Seconds;
  host: Seconds;
  readonly memory: MemoryUse;
}

export function emptyCost(): StepCost {
  return {
    step: 0,
    work: 0,
    bubble: 0,
    gradients: 0,
    weights: 0,
    optimizer: 0,
    host: 0,
    memory: emptyMemory(),
  };
}
