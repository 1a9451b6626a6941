/** A training job from what is given: defaults, and the checks that a plan is possible on the cluster. */
import { expectInteger, expectKnownKeys, expectOneOf, ModelError } from '../../base/errors.ts';
import type { Bytes } from '../../base/units.ts';
import type { Cluster } from '../../fabric/cluster.ts';
import { type Constants, fittedConstants } from '../../hardware/fitted.ts';
import { formatsOf } from '../../models/formats.ts';
import type { Formats, Shard, Step } from '../../models/graph.ts';
import { type PipelineSchedule, SCHEDULES } from '../../models/in-flight.ts';
import { parallelism } from '../../models/shard.ts';
import { layerCount, type ModelSpec } from '../../models/spec.ts';
import { whyNoSchedule } from '../pipeline/order.ts';
import { holdsExperts, PLACEMENTS, type Placement } from './placement.ts';
import { compactPlan, type Overlap, type StepPlan, type TrainingSetup } from './setup.ts';

export interface TrainingJobOptions {
  readonly model: ModelSpec;
  readonly cluster: Cluster;
  /** Tokens of a sequence. */
  readonly seq: number;
  /** Sequences of a step, all replicas together. */
  readonly globalBatch: number;
  /** BF16, with gradients summed in FP32, if left out. */
  readonly formats?: Formats;
  /** Of master weight and both moments, per parameter. 12 (FP32) if left out; 4 is BF16 moments and no master weight. */
  readonly stateBytes?: Bytes;
  /** What the compiler generates on NeuronCores, fused kernels on other makers' accelerators, if left out. */
  readonly software?: TrainingSetup['software'];
  readonly overlap?: Partial<Overlap>;
  /** True if left out. */
  readonly flash?: boolean;
  /** True if left out. */
  readonly fusedSoftmax?: boolean;
  /** False if left out. */
  readonly dropout?: boolean;
  /** Load of the busiest expert rank over the mean; 1 if left out. */
  readonly expertSkew?: number;
  readonly constants?: Constants;
}

/** Degrees are 1 if left out, except `dp`: what the ranks leave for it. */
export interface PlanOptions extends Partial<Shard> {
  readonly pp?: number;
  readonly dp?: number;
  readonly zero?: number;
  readonly schedule?: PipelineSchedule;
  readonly interleave?: number;
  readonly microBatch?: number;
  readonly recompute?: Step['recompute'];
  readonly placement?: Placement;
}

const JOB_KEYS = [
  'model',
  'cluster',
  'seq',
  'globalBatch',
  'formats',
  'stateBytes',
  'software',
  'overlap',
  'flash',
  'dropout',
  'fusedSoftmax',
  'expertSkew',
  'constants',
] satisfies (keyof TrainingJobOptions)[];
const PLAN_KEYS = [
  'tp',
  'sp',
  'cp',
  'cpMode',
  'ep',
  'expertTp',
  'pp',
  'dp',
  'zero',
  'schedule',
  'interleave',
  'microBatch',
  'recompute',
  'placement',
] satisfies (keyof PlanOptions)[];
const ZERO_STAGES = [0, 1, 2, 3] as const;

/** @throws TypeError or RangeError for a wrong option */
export function trainingSetup(options: TrainingJobOptions): TrainingSetup {
  expectKnownKeys('options', options, JOB_KEYS);
  const { model, cluster, overlap = {} } = options;
  const usual = cluster.system.chip.cores === null ? 'library' : 'compiler';
  expectKnownKeys('overlap', overlap, ['gradients', 'tensor', 'passes']);
  const stateBytes = options.stateBytes ?? 12;
  if (!(stateBytes >= 0 && stateBytes <= 64)) {
    throw new RangeError(`"stateBytes" expected a number in 0..64, got ${stateBytes}`);
  }
  const expertSkew = options.expertSkew ?? 1;
  if (!(expertSkew >= 1 && expertSkew <= 2 ** 20)) {
    throw new RangeError(`"expertSkew" expected a number in 1..1048576, got ${expertSkew}`);
  }
  return {
    model,
    cluster,
    seq: expectInteger('seq', options.seq, 1, 2 ** 30),
    globalBatch: expectInteger('globalBatch', options.globalBatch, 1, 2 ** 30),
    formats: options.formats ?? formatsOf('bf16'),
    stateBytes,
    software: expectOneOf('software', options.software ?? usual, ['compiler', 'library']),
    overlap: { gradients: overlap.gradients ?? true, tensor: overlap.tensor ?? false, passes: overlap.passes ?? false },
    flash: options.flash ?? true,
    dropout: options.dropout ?? false,
    fusedSoftmax: options.fusedSoftmax ?? true,
    expertSkew,
    constants: options.constants ?? fittedConstants(),
  };
}

/** The largest part of the ranks that `others` leave for `dp`. */
function defaultDegree({ ranks }: Cluster, others: number): number {
  return ranks % others === 0 ? ranks / others : 1;
}

/**
 * A plan of the job.
 * @throws RangeError or TypeError that names what is wrong with it
 */
export function stepPlan(setup: TrainingSetup, options: PlanOptions = {}): StepPlan {
  expectKnownKeys('plan', options, PLAN_KEYS);
  const { pp: stages, dp: replicas, zero, schedule, interleave, microBatch, recompute, placement, ...cut } = options;
  const { cluster, globalBatch } = setup;
  const shard = parallelism(cut);
  const pp = expectInteger('pp', stages ?? 1, 1, 4096);
  const dp = expectInteger('dp', replicas ?? defaultDegree(cluster, shard.tp * pp * shard.cp), 1, 2 ** 24);
  const chunks = expectInteger('interleave', interleave ?? 1, 1, 1024);
  const size = expectInteger('microBatch', microBatch ?? 1, 1, 2 ** 20);
  const perReplica = globalBatch / (size * dp);
  if (!Number.isInteger(perReplica)) {
    throw new RangeError(`"globalBatch" expected a multiple of microBatch x dp = ${size * dp}, got ${globalBatch}`);
  }
  const plan = compactPlan({
    ...shard,
    pp,
    dp,
    zero: ZERO_STAGES[expectInteger('zero', zero ?? 1, 0, 3)]!,
    schedule: expectOneOf('schedule', schedule ?? (chunks > 1 ? 'interleaved' : '1f1b'), SCHEDULES),
    interleave: chunks,
    microBatch: size,
    microBatches: perReplica,
    recompute: expectOneOf('recompute', recompute ?? 'none', ['none', 'selective', 'full']),
    placement: expectOneOf('placement', placement ?? 'tp-cp-dp-pp', PLACEMENTS),
  });
  const reason = whyNotPossible(setup, plan);
  if (reason !== null) throw new RangeError(reason);
  return plan;
}

/** Why the job cannot run so, memory aside; null if it can. */
export function whyNotPossible({ model, cluster, seq }: TrainingSetup, plan: StepPlan): string | null {
  const { tp, cp, dp, pp, ep, expertTp, interleave, schedule, microBatches, placement } = plan;
  const ranks = tp * cp * dp * pp;
  if (ranks !== cluster.ranks) return `"tp x cp x dp x pp" expected ${cluster.ranks}, the ranks, got ${ranks}`;
  if (tp > 4095) return `"tp" expected at most 4095, got ${tp}`;
  if (cp > seq || cp > 4095) return `"cp" expected at most ${Math.min(seq, 4095)}, got ${cp}`;
  const layers = layerCount(model);
  if (pp * interleave > layers) {
    return `"pp x interleave" expected at most ${layers}, the layers, got ${pp * interleave}`;
  }
  const scheduleReason = whyNoSchedule({ schedule, devices: pp, chunks: interleave, microBatches });
  if (scheduleReason !== null) return scheduleReason;
  const experts = model.kinds.reduce((most, { mlp }) => (mlp.kind === 'moe' ? Math.max(most, mlp.experts) : most), 1);
  if (ep > experts) return `"ep" expected at most ${experts}, the experts, got ${ep}`;
  if ((tp * cp * dp) % (ep * expertTp) !== 0) {
    return `"ep x expertTp" expected a divisor of tp x cp x dp = ${tp * cp * dp}, got ${ep * expertTp}`;
  }
  if (!holdsExperts(placement, plan, ep * expertTp)) {
    return `"placement" expected the ranks of the experts side by side, got ${placement}`;
  }
  return null;
}

/**
 * Device memory of a rank.
 * @throws ModelError CAPACITY if nobody publishes it
 */
export function rankCapacity({ system, ranksPerChip }: Cluster): Bytes {
  const { capacity } = system.chip.memory;
  if (capacity === null) {
    throw new ModelError('CAPACITY', system.id, `expected ${system.chip.name} to have a published memory size`);
  }
  return capacity / ranksPerChip;
}
