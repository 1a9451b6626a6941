/**
 * Memory of the fullest rank by class: `prepare...` once for a model and what doesn't change, then a cheap evaluation per
 * plan that allocates nothing (a search calls it millions of times).
 *
 * Weights, gradients and optimizer state are cut by ZeRO over data x context parallelism: 1 optimizer, 2 and gradients, 3
 * and weights (of which two layers are then whole at a time). Weights of experts have their own data-parallel group.
 * Stage s of p pipeline stages with v chunks has the layers of virtual stages s, s + p, ..., each
 * [floor(j L / (p v)), floor((j + 1) L / (p v))); the embedding is in the first, the head in the last.
 * Buffers: logits in FP32, one gathered activation, what neighbours send, the working set of a recomputed layer.
 * Leaves out: fragmentation, the runtime's own memory, program code.
 * see: ZeRO, arXiv:1910.02054; activations.ts, in-flight.ts.
 */
import { ModelError } from '../base/errors.ts';
import type { Bytes } from '../base/units.ts';
import { FORMAT_BYTES } from '../core/operator-work.ts';
import { type ActivationOptions, activationBytesPerToken } from './activations.ts';
import { formatsOf } from './formats.ts';
import type { Shard, Step } from './graph.ts';
import { microBatchesInFlight, type PipelineSchedule } from './in-flight.ts';
import { layerParameters } from './parameters.ts';
import { rankEdgeParameters } from './shard.ts';
import { layerCount, type ModelSpec } from './spec.ts';

export interface TrainingPlan extends Omit<Shard, 'cpMode'> {
  readonly pp: number;
  readonly dp: number;
  readonly zero: 0 | 1 | 2 | 3;
  readonly schedule: PipelineSchedule;
  /** Chunks of layers on each stage; 1 except for `interleaved`. */
  readonly interleave: number;
  /** Sequences of a micro-batch, and micro-batches of a step on each replica. */
  readonly microBatch: number;
  readonly microBatches: number;
  readonly recompute: Step['recompute'];
}

/** What a rank holds. Mutable: an evaluation writes into it. */
export interface MemoryUse {
  weights: Bytes;
  gradients: Bytes;
  optimizer: Bytes;
  activations: Bytes;
  kvCache: Bytes;
  buffers: Bytes;
  total: Bytes;
  /** Pipeline stage of the fullest rank. */
  stage: number;
}

export function emptyMemory(): MemoryUse {
  return { weights: 0, gradients: 0, optimizer: 0, activations: 0, kvCache: 0, buffers: 0, total: 0, stage: 0 };
}

export interface TrainingMemoryOptions extends Partial<ActivationOptions> {
  readonly seq: number;
  /** Of the optimizer per parameter; 12: FP32 master weight and two moments. */
  readonly stateBytes?: number;
}

/** Numbers of one way to cut the weights, by kind of layer. */
interface CutNumbers {
  readonly dense: Float64Array;
  readonly experts: Float64Array;
  readonly activation: Float64Array;
  /** Without recomputation: what a layer holds while it is computed again. */
  readonly working: Float64Array;
  readonly embedding: number;
  readonly head: number;
}

export interface PreparedMemory {
  readonly model: ModelSpec;
  readonly options: ActivationOptions & { readonly stateBytes: number };
  readonly layers: number;
  /** Layers of kind k before layer l, at [k (layers + 1) + l]. */
  readonly before: Float64Array;
  /** By ep, and by the rest of the cut: filled when one is first met. Two small integers, as a large one would be allocated. */
  readonly cuts: Map<number, Map<number, CutNumbers>>;
}

/** Positions of each kind of layer, as running counts. */
export function layersBefore({ kinds, runs }: ModelSpec, layers: number): Float64Array {
  const before = new Float64Array(kinds.length * (layers + 1));
  let layer = 0;
  for (const { kind, count } of runs) {
    for (let i = 0; i < count; i++, layer++) {
      for (let k = 0; k < kinds.length; k++) {
        const at = k * (layers + 1) + layer;
        before[at + 1] = before[at]! + (k === kind ? 1 : 0);
      }
    }
  }
  return before;
}

export function prepareTrainingMemory(model: ModelSpec, options: TrainingMemoryOptions): PreparedMemory {
  const { seq, stateBytes = 12, dropout = false, flash = true, expertSkew = 1 } = options;
  const formats = options.formats ?? formatsOf('bf16');
  const layers = layerCount(model);
  const before = layersBefore(model, layers);
  return { model, options: { seq, stateBytes, dropout, flash, expertSkew, formats }, layers, before, cuts: new Map() };
}

const RECOMPUTE = ['none', 'selective', 'full'] as const;

function cutNumbers({ model, options }: PreparedMemory, plan: TrainingPlan): CutNumbers {
  const of = (value: (kind: ModelSpec['kinds'][number]) => number) => Float64Array.from(model.kinds, value);
  const parameters = model.kinds.map((kind) => layerParameters(model, kind, plan));
  return {
    dense: Float64Array.from(parameters, ({ total, experts }) => total - experts),
    experts: Float64Array.from(parameters, ({ experts }) => experts),
    activation: of((kind) => activationBytesPerToken(model, kind, plan, plan.recompute, options)),
    working: of((kind) => activationBytesPerToken(model, kind, plan, 'none', options)),
    ...rankEdgeParameters(model, plan.tp),
  };
}

/** From the cache. A function by itself: a closure in it would be allocated even when it is not used. */
function numbersOf(prepared: PreparedMemory, plan: TrainingPlan): CutNumbers {
  const { tp, ep, expertTp, sp, recompute } = plan;
  let byRest = prepared.cuts.get(ep);
  if (byRest === undefined) {
    byRest = new Map();
    prepared.cuts.set(ep, byRest);
  }
  const key = (tp * 4096 + expertTp) * 6 + RECOMPUTE.indexOf(recompute) * 2 + (sp ? 1 : 0);
  let numbers = byRest.get(key);
  if (numbers === undefined) {
    numbers = cutNumbers(prepared, plan);
    byRest.set(key, numbers);
  }
  return numbers;
}

/** Writes the memory of the fullest rank of `plan` into `out`. */
export function trainingMemory(prepared: PreparedMemory, plan: TrainingPlan, out: MemoryUse): void {
  const { model, options, layers, before } = prepared;
  const { pp, dp, cp, tp, ep, expertTp, zero, interleave, schedule, microBatch, microBatches } = plan;
  const numbers = numbersOf(prepared, plan);
  const weightBytes = FORMAT_BYTES[options.formats.weights];
  const expertBytes = FORMAT_BYTES[options.formats.expertWeights];
  const gradientBytes = FORMAT_BYTES[options.formats.gradients];
  const activationBytes = FORMAT_BYTES[options.formats.activations];
  const denseRanks = dp * cp;
  const expertRanks = Math.max(1, (tp * cp * dp) / (ep * expertTp));
  const tokens = microBatch * Math.ceil(options.seq / cp);
  const local = plan.sp ? tp : 1;
  const isDual = schedule === 'dualpipe' && pp > 1;
  const virtual = pp * interleave;
  const row = layers + 1;
  out.total = -1;
  for (let stage = 0; stage < pp; stage++) {
    let dense = 0;
    let experts = 0;
    let kept = 0;
    let working = 0;
    let largest = 0;
    const copies = isDual ? 2 : interleave;
    for (let chunk = 0; chunk < copies; chunk++) {
      const at = isDual ? (chunk === 0 ? stage : pp - 1 - stage) : chunk * pp + stage;
      const first = Math.floor((at * layers) / virtual);
      const end = Math.floor(((at + 1) * layers) / virtual);
      for (let kind = 0; kind < model.kinds.length; kind++) {
        const count = before[kind * row + end]! - before[kind * row + first]!;
        if (count === 0) continue;
        dense += count * numbers.dense[kind]!;
        experts += count * numbers.experts[kind]!;
        kept += count * numbers.activation[kind]!;
        if (numbers.working[kind]! > working) working = numbers.working[kind]!;
        const weights = numbers.dense[kind]! * weightBytes + numbers.experts[kind]! * expertBytes;
        if (weights > largest) largest = weights;
      }
    }
    const hasEmbedding = stage === 0 || (isDual && stage === pp - 1);
    const hasHead = stage === pp - 1 || (isDual && stage === 0);
    if (hasEmbedding) dense += numbers.embedding;
    // On one stage a tied table is there already.
    const tied = model.tied && hasEmbedding && model.head !== 'pooler' ? Math.ceil(model.vocab / tp) * model.hidden : 0;
    if (hasHead) dense += numbers.head - tied;
    const held = microBatchesInFlight(schedule, stage, pp, interleave, microBatches) / (isDual ? 2 : 1);

    const denseCut = zero >= 3 ? denseRanks : 1;
    const expertCut = zero >= 3 ? expertRanks : 1;
    const weights = (dense * weightBytes) / denseCut + (experts * expertBytes) / expertCut;
    const gradients = gradientBytes * (zero >= 2 ? dense / denseRanks + experts / expertRanks : dense + experts);
    const optimizer = options.stateBytes * (zero >= 1 ? dense / denseRanks + experts / expertRanks : dense + experts);
    const edges =
      (hasEmbedding && options.dropout ? (held * model.hidden) / local : 0) +
      (hasHead ? (2 * activationBytes * model.hidden) / local : 0);
    const activations = tokens * (held * kept + edges);
    const buffers =
      tokens *
        ((hasHead ? (4 * model.vocab) / tp : 0) +
          (plan.sp ? activationBytes * model.hidden : 0) +
          (pp > 1 ? (2 * activationBytes * model.hidden) / local : 0) +
          (plan.recompute === 'full' ? working : 0)) +
      (zero === 3 && denseRanks > 1 ? 2 * largest : 0);
    const total = weights + gradients + optimizer + activations + buffers;
    if (total <= out.total) continue;
    out.weights = weights;
    out.gradients = gradients;
    out.optimizer = optimizer;
    out.activations = activations;
    out.kvCache = 0;
    out.buffers = buffers;
    out.total = total;
    out.stage = stage;
  }
}

const CLASSES = ['weights', 'gradients', 'optimizer', 'activations', 'kvCache', 'buffers'] as const;
const gigabytes = (bytes: Bytes): string => `${(bytes / 1e9).toFixed(2)} GB`;

/** @throws ModelError CAPACITY that says what is over, by how much, and what holds it, largest first */
export function checkMemory(use: MemoryUse, capacity: Bytes): void {
  if (use.total <= capacity) return;
  const parts = CLASSES.filter((name) => use[name] > 0).sort((a, b) => use[b] - use[a]);
  const list = parts.map((name) => `${name === 'kvCache' ? 'KV cache' : name} ${gigabytes(use[name])}`).join(', ');
  throw new ModelError(
    'CAPACITY',
    'memory',
    `expected at most ${gigabytes(capacity)} on a rank, got ${gigabytes(use.total)}, ${gigabytes(use.total - capacity)} over, on stage ${use.stage}: ${list}`,
  );
}
