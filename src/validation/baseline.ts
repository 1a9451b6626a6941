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
import { ModelError } from '../base/errors.ts';
import type { BytesPerSecond, FlopsPerSecond, Seconds } from '../base/units.ts';
import type { OperandFormat } from '../core/operator-case.ts';
import { FORMAT_BYTES, operatorWork } from '../core/operator-work.ts';
import { findSystem } from '../hardware/catalog.ts';
import type { ChipSpec, PeakFormat, SystemSpec } from '../hardware/spec.ts';
import { formatOf, operatorOf } from './kernel.ts';
import type {
  CollectiveQuestion,
  InferenceQuestion,
  KernelQuestion,
  MeasuredModel,
  Question,
  TrainingQuestion,
} from './measurement.ts';

/** Which of a chip's peak rates multiplies a format: the first that the chip states, or none. */
const PEAKS: Readonly<Partial<Record<OperandFormat, readonly PeakFormat[]>>> = {
  mxfp8: ['mxfp8', 'fp8'],
  mxfp4: ['mxfp4', 'fp4'],
  nvfp4: ['fp4'],
  uint8: ['int8'],
  int32: [],
};

/**
 * Peak of the whole chip for a number format, in operations per second.
 * @throws ModelError if nobody states it
 */
function peakRate({ id, core, cores, peak }: ChipSpec, dtype: string): FlopsPerSecond {
  const format = formatOf(dtype);
  const names = PEAKS[format] ?? [format as PeakFormat];
  const rate = names.map((name) => peak[name]).find((value) => typeof value === 'number');
  if (typeof rate !== 'number') throw unknown(id, `peak rate of ${dtype}`);
  if (core?.tensor == null || cores === null || typeof peak.bf16 !== 'number') return rate;
  const { rows, columns, clock } = core.tensor;
  return (rate / peak.bf16) * 2 * rows * columns * clock * cores;
}

function memoryRate({ id, memory }: ChipSpec): BytesPerSecond {
  if (memory.bandwidth === null) throw unknown(id, 'memory bandwidth');
  return memory.bandwidth;
}

function unknown(id: string, quantity: string): ModelError {
  return new ModelError('UNSUPPORTED', id, `expected a published ${quantity}, got none`);
}

function kernelBaseline({ case: ran }: KernelQuestion, { chip }: SystemSpec): Seconds {
  const { flops, aBytes, bBytes, cBytes } = operatorWork(operatorOf(ran));
  const compute = flops === 0 ? 0 : flops / peakRate(chip, ran.dtype);
  const share = ran.cores / (chip.cores ?? 1);
  return (ran.copies * Math.max(compute, (aBytes + bBytes + cBytes) / memoryRate(chip))) / share;
}

/** What one chip can send inside the system, all its links together; its memory's rate where it is alone. */
function chipEgress({ fabric, chip }: SystemSpec): BytesPerSecond {
  if (fabric === null || fabric.type === 'single') return memoryRate(chip);
  if (fabric.type === 'switched') return fabric.levels[0]!.bandwidth;
  if (fabric.type === 'graph') {
    return fabric.links.reduce((sum, { from, bandwidth }) => sum + (from === 0 ? bandwidth : 0), 0);
  }
  return fabric.dimensions.reduce((sum, { size, bandwidth }) => sum + Math.min(2, size - 1) * bandwidth, 0);
}

/** A ring passes everything through every chip and node once; otherwise the ranks of a chip or node share its links. */
const RING_OPERATIONS: readonly string[] = ['all-reduce', 'all-gather', 'reduce-scatter'];

function collectiveBaseline({ system, case: ran }: CollectiveQuestion, spec: SystemSpec): Seconds {
  const isOneChip = ran.ranks <= ran.ranksPerAccelerator;
  const inside = isOneChip ? memoryRate(spec.chip) : chipEgress(spec);
  const outside = system.nodes > 1 ? spec.scaleOut : Infinity;
  if (outside === null) throw unknown(spec.id, 'scale-out bandwidth');
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

function trainingBaseline({ system, case: ran }: TrainingQuestion, { chip }: SystemSpec): Seconds {
  const peak = peakRate(chip, ran.dtype);
  const { layers, heads, headDim } = ran.model;
  const perToken = 6 * weightCounts(ran.model).activated + 12 * layers * heads * headDim * ran.seqLen;
  return (ran.globalBatch * ran.seqLen * perToken) / (system.accelerators * peak * 0.4);
}

function inferenceBaseline({ system, case: ran, metric }: InferenceQuestion, { chip }: SystemSpec): number {
  const peak = peakRate(chip, ran.computeDtype);
  const bytes = FORMAT_BYTES[formatOf(ran.weightDtype)];
  const { activated } = weightCounts(ran.model);
  // Replicas of the model work on a share of the batch each, at the same time.
  const chips = system.accelerators / ran.dp;
  const batch = ran.batch / ran.dp;
  const prefill = (2 * activated * batch * ran.inputLen) / (chips * peak);
  const step = (activated * bytes) / (chips * memoryRate(chip));
  if (metric === 'ttftS') return prefill;
  return metric === 'tpotS' ? step : (ran.batch * ran.outputLen) / (prefill + ran.outputLen * step);
}

/**
 * The envelope's value in the metric's unit.
 * @throws ModelError or RangeError where a number for it is not published, or a name is not known
 */
export function baseline(question: Question): number {
  const system = findSystem(question.system.id);
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
