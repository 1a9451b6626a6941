/**
 * What a reader could compute on the back of an envelope: the models must beat it.
 *
 *     kernel      max(FLOPs / peak, operands once / memory bandwidth), both the share of the cores used
 *     collective  bus-bandwidth factor x bytes / bandwidth of the links of a chip, or of a node where there are several
 *     inference   prefill 2 x activated parameters x tokens / peak; a decode step reads the weights once
 *     training    6 FLOPs per activated parameter and token, and attention, at 40 % of peak
 *
 * Leaves out everything else: latencies, tiles, overlap, communication. The peak of a NeuronCore is that of its clock and
 * array (2 x 128 x 128 x clock), which the documented rate of a Trainium2 chip exceeds by 6 %.
 */
import type { BytesPerSecond, Flops, FlopsPerSecond } from '../base/units.ts';
import { findSystem } from '../hardware/catalog.ts';
import type { ChipSpec, PeakFormat, SystemSpec } from '../hardware/spec.ts';
import type {
  CollectiveQuestion,
  InferenceQuestion,
  KernelCase,
  KernelQuestion,
  MeasuredModel,
  Question,
  TrainingQuestion,
} from './measurement.ts';

/** Bytes of an element, and which of the chip's peak rates multiplies it: the first that the chip states. */
const FORMATS: ReadonlyMap<string, { readonly bytes: number; readonly peaks: readonly PeakFormat[] }> = new Map([
  ['fp32', { bytes: 4, peaks: ['f32'] }],
  ['tf32', { bytes: 4, peaks: ['tf32'] }],
  ['fp16', { bytes: 2, peaks: ['f16'] }],
  ['bf16', { bytes: 2, peaks: ['bf16'] }],
  ['fp8', { bytes: 1, peaks: ['fp8'] }],
  ['mxfp8', { bytes: 1, peaks: ['mxfp8', 'fp8'] }],
  ['mxfp4', { bytes: 0.5, peaks: ['mxfp4', 'fp4'] }],
  ['nvfp4', { bytes: 0.5, peaks: ['fp4'] }],
  ['int8', { bytes: 1, peaks: ['int8'] }],
  ['uint8', { bytes: 1, peaks: ['int8'] }],
]);

/** Operations, and elements read and written once, of a kernel; undefined for an operator that is not in the table. */
function kernelWork({ op, dims, causal = false }: KernelCase): { flops: Flops; elements: number } | undefined {
  const dim = (name: string): number => dims[name] ?? 1;
  const [batch, m, k, n] = [dim('batch'), dim('m'), dim('k'), dim('n')];
  const product = { flops: 2 * batch * m * k * n, elements: batch * (m * k + k * n + m * n) };
  const elementWise = (passes: number) => ({ flops: 0, elements: passes * dim('rows') * dim('cols') });
  switch (op) {
    case 'matmul':
    case 'batched-matmul':
    case 'batched-matmul-softmax':
    case 'rmsnorm-matmul':
      return product;
    case 'add-rmsnorm-matmul':
      return { ...product, elements: product.elements + m * k };
    case 'matmul-add-rmsnorm':
      return { ...product, elements: product.elements + m * n };
    case 'matmul-lora': {
      const { flops, elements } = product;
      return { flops: flops + 2 * m * dim('rank') * (k + n), elements: elements + dim('rank') * (k + n) };
    }
    case 'gated-mlp': {
      const [rows, hidden, ffn] = [dim('rows'), dim('hidden'), dim('ffn')];
      return { flops: 6 * rows * hidden * ffn, elements: 2 * rows * hidden + 3 * hidden * ffn };
    }
    case 'attention': {
      const [queries, keys, width] = [dim('seqQ'), dim('seqKv'), batch * dim('headDim')];
      const seen = causal ? keys - (Math.min(queries, keys) - 1) / 2 : keys;
      return {
        flops: 4 * dim('heads') * queries * seen * width,
        elements: 2 * width * (dim('heads') * queries + dim('kvHeads') * keys),
      };
    }
    case 'selective-scan':
      return { flops: 0, elements: 3 * batch * dim('channels') * dim('seq') };
    case 'depthwise-conv1d': {
      const elements = batch * dim('channels') * dim('length');
      return { flops: 2 * elements * dim('taps'), elements: 2 * elements };
    }
    case 'dma-copy':
      return { flops: 0, elements: dim('bytes') };
    case 'adamw':
      return elementWise(5);
    case 'add':
    case 'swiglu':
    case 'rope':
      return elementWise(3);
    case 'softmax':
    case 'rmsnorm':
    case 'layernorm':
    case 'gelu':
    case 'silu':
    case 'transpose':
    case 'embedding':
      return elementWise(2);
    default:
      return undefined;
  }
}

/** Peak of the whole chip for a number format, in operations per second; undefined if nobody states it. */
function peakRate({ core, cores, peak }: ChipSpec, dtype: string): FlopsPerSecond | undefined {
  const rate = FORMATS.get(dtype)
    ?.peaks.map((format) => peak[format])
    .find((value) => typeof value === 'number');
  if (rate === undefined || rate === null) return undefined;
  if (core?.tensor == null || cores === null || typeof peak.bf16 !== 'number') return rate;
  const { rows, columns, clock } = core.tensor;
  return (rate / peak.bf16) * 2 * rows * columns * clock * cores;
}

function kernelBaseline({ case: ran }: KernelQuestion, { chip }: SystemSpec): number | undefined {
  const work = kernelWork(ran);
  const bytes = FORMATS.get(ran.dtype)?.bytes;
  const { bandwidth } = chip.memory;
  const peak = work?.flops === 0 ? Infinity : peakRate(chip, ran.dtype);
  if (work === undefined || bytes === undefined || bandwidth === null || peak === undefined) return undefined;
  const share = chip.cores === null ? 1 : ran.cores / chip.cores;
  return (ran.copies * Math.max(work.flops / peak, (work.elements * bytes) / bandwidth)) / share;
}

/** What one chip can send inside the system, all its links together; its memory's rate where it is alone. */
function chipEgress({ fabric, chip }: SystemSpec): BytesPerSecond | null {
  if (fabric === null || fabric.type === 'single') return chip.memory.bandwidth;
  if (fabric.type === 'switched') return fabric.levels[0]!.bandwidth;
  return fabric.dimensions.reduce((sum, { size, bandwidth }) => sum + Math.min(2, size - 1) * bandwidth, 0);
}

/** A ring passes everything through every chip and node once; otherwise the ranks of a chip or node share its links. */
const RING_OPERATIONS: readonly string[] = ['all-reduce', 'all-gather', 'reduce-scatter'];

function collectiveBaseline({ system, case: ran }: CollectiveQuestion, spec: SystemSpec): number | undefined {
  const isOneChip = ran.ranks <= ran.ranksPerAccelerator;
  const inside = isOneChip ? spec.chip.memory.bandwidth : chipEgress(spec);
  const outside = system.nodes > 1 ? spec.scaleOut : Infinity;
  if (inside === null || outside === null) return undefined;
  const others = (ran.ranks - 1) / ran.ranks;
  if (RING_OPERATIONS.includes(ran.op)) {
    return ((ran.op === 'all-reduce' ? 2 : 1) * others * ran.bytes) / Math.min(inside, outside);
  }
  const bandwidth = Math.min(inside / ran.ranksPerAccelerator, outside / ran.ranksPerNode);
  return ((ran.op === 'all-to-all' ? others : 1) * ran.bytes) / bandwidth;
}

/** Weights that one token passes through, and all of them, without norms, biases and the input table. */
export function weightCounts(model: MeasuredModel): { readonly activated: number; readonly all: number } {
  const { layers, hidden, heads, kvHeads, headDim, ffn = 0, gatedMlp, vocab, experts = 0, mla } = model;
  const { topK = 0, moeFfn = 0, sharedExperts = 0, denseLayers = experts > 0 ? 0 : layers } = model;
  const attention =
    mla === undefined
      ? hidden * headDim * 2 * (heads + kvHeads)
      : hidden * (mla.qLoraRank + mla.kvLoraRank + mla.qkRopeHeadDim) +
        mla.qLoraRank * heads * (mla.qkNopeHeadDim + mla.qkRopeHeadDim) +
        mla.kvLoraRank * heads * (mla.qkNopeHeadDim + mla.vHeadDim) +
        heads * mla.vHeadDim * hidden;
  const matrices = (gatedMlp ? 3 : 2) * hidden;
  const always = layers * attention + denseLayers * matrices * ffn + vocab * hidden;
  const ofExperts = (used: number) => (layers - denseLayers) * matrices * moeFfn * used;
  return { activated: always + ofExperts(topK + sharedExperts), all: always + ofExperts(experts + sharedExperts) };
}

function trainingBaseline({ system, case: ran }: TrainingQuestion, { chip }: SystemSpec): number | undefined {
  const peak = peakRate(chip, ran.dtype);
  if (peak === undefined) return undefined;
  const { layers, heads, headDim } = ran.model;
  const perToken = 6 * weightCounts(ran.model).activated + 12 * layers * heads * headDim * ran.seqLen;
  return (ran.globalBatch * ran.seqLen * perToken) / (system.accelerators * peak * 0.4);
}

function inferenceBaseline({ system, case: ran, metric }: InferenceQuestion, { chip }: SystemSpec): number | undefined {
  const peak = peakRate(chip, ran.computeDtype);
  const bytes = FORMATS.get(ran.weightDtype)?.bytes;
  const { bandwidth } = chip.memory;
  if (peak === undefined || bytes === undefined || bandwidth === null) return undefined;
  const { activated } = weightCounts(ran.model);
  // Replicas of the model work on a share of the batch each, at the same time.
  const chips = system.accelerators / ran.dp;
  const batch = ran.batch / ran.dp;
  const prefill = (2 * activated * batch * ran.inputLen) / (chips * peak);
  const step = (activated * bytes) / (chips * bandwidth);
  if (metric === 'ttftS') return prefill;
  return metric === 'tpotS' ? step : (ran.batch * ran.outputLen) / (prefill + ran.outputLen * step);
}

/** The envelope's value in the metric's unit; undefined where a number for it is not published. */
export function baseline(question: Question): number | undefined {
  let system: SystemSpec;
  try {
    system = findSystem(question.system.id);
  } catch {
    return undefined; // a system that is not in the catalogue
  }
  switch (question.kind) {
    case 'kernel':
      return kernelBaseline(question, system);
    case 'collective':
      return collectiveBaseline(question, system);
    case 'training':
      return trainingBaseline(question, system);
    case 'inference':
      return inferenceBaseline(question, system);
  }
}
