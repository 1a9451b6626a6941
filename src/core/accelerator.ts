/**
 * Operators on other makers' accelerators, for comparison: an engine roofline with the effects that keep real kernels below
 * it, each one constant for all chips.
 *
 *     t = launches * launch time + max(FLOPs / peak * waves * throttle, bytes / (bandwidth * memory efficiency))
 *
 *     waves        output tiles are dealt to the multiprocessors in whole rounds; the best of the usual tile shapes
 *     throttle     what the power limit takes off the clock
 *     attention    one fused kernel at a lower share of the peak, which it reaches for long sequences only: s / (s + half);
 *                  decoding splits the keys over the multiprocessors and merges: two launches
 *     8 and 4 bits quantise the activations first: a launch and a pass over them for the cast, and, unless blocks have scales of
 *                  their own alone, one before it for the largest magnitude
 *     host timing  launch and synchronisation by the host once
 *
 * The constants are fitted (data/fitted.json). Leaves out: caches, fusion.
 */

import { ModelError } from '../base/errors.ts';
import { pow } from '../base/math.ts';
import type { FlopsPerSecond, Seconds } from '../base/units.ts';
import { type Constants, fittedConstants } from '../hardware/fitted.ts';
import type { ChipSpec, PeakFormat } from '../hardware/spec.ts';
import type { OperandFormat, OperatorCase, OperatorClock, OperatorCost } from './operator-case.ts';
import { FORMAT_BYTES, type OperatorWork, operatorWork } from './operator-work.ts';

/** Rows and columns of an output tile that library kernels use. */
const TILES: readonly (readonly [number, number])[] = [
  [256, 128],
  [128, 256],
  [128, 128],
  [64, 256],
  [64, 128],
  [64, 64],
];

/** Which peak rate serves a format: the first that the chip states. */
const PEAKS: Readonly<Record<OperandFormat, readonly PeakFormat[]>> = {
  f32: ['tf32', 'f32'],
  tf32: ['tf32', 'f32'],
  int32: ['f32'],
  f16: ['f16', 'bf16'],
  bf16: ['bf16', 'f16'],
  fp8: ['fp8', 'bf16'],
  mxfp8: ['mxfp8', 'fp8', 'bf16'],
  mxfp4: ['mxfp4', 'fp4', 'fp8', 'bf16'],
  nvfp4: ['fp4', 'fp8', 'bf16'],
  int8: ['int8', 'fp8', 'bf16'],
  uint8: ['int8', 'fp8', 'bf16'],
};

const NARROW: readonly OperandFormat[] = ['fp8', 'mxfp8', 'mxfp4', 'nvfp4', 'int8', 'uint8'];
/** Formats whose blocks have scales of their own alone: an activation is quantised in one pass, without a largest magnitude first. */
const BLOCK_SCALED: readonly OperandFormat[] = ['mxfp8', 'mxfp4'];

/**
 * Times operators on one accelerator of another maker.
 * @throws ModelError (UNSUPPORTED) where a rate that the operator needs is not published
 */
export function acceleratorClock(chip: ChipSpec, constants: Constants = fittedConstants()): OperatorClock {
  const bandwidth = chip.memory.bandwidth;
  if (bandwidth === null)
    throw new ModelError('UNSUPPORTED', chip.id, 'expected a published memory bandwidth, got none');
  const memoryRate = bandwidth * constants.gpuMemoryEfficiency!;
  return (operator) => {
    const work = operatorWork(operator);
    const quantise = quantisation(operator, work);
    const bytes = work.aBytes + work.bBytes + work.cBytes + quantise.bytes;
    const busy = {
      compute: work.flops > 0 ? computeTime(chip, operator, work, constants) : 0,
      memory: (work.aBytes + work.bBytes + work.cBytes) / memoryRate,
    };
    const overhead = launchTime(operator, quantise.launches, constants) + quantise.bytes / memoryRate;
    const { copies = 1 } = operator;
    const time = overhead + copies * Math.max(busy.compute, busy.memory);
    return cost(time, copies * work.flops, copies * bytes, { ...busy, overhead });
  };
}

function cost(time: Seconds, flops: number, hbmBytes: number, busy: Readonly<Record<string, Seconds>>): OperatorCost {
  const bound = Object.keys(busy).reduce((most, name) => (busy[name]! > busy[most]! ? name : most));
  return { time, bound, busy, flops, hbmBytes };
}

function isDecode({ op, dims }: OperatorCase): boolean {
  return op === 'attention' && dims.seqQ === 1;
}

function launchTime(operator: OperatorCase, more: number, constants: Constants): Seconds {
  const launches = (isDecode(operator) ? 2 : 1) + more;
  const host = operator.timing === 'host' ? constants.gpuHostLaunch! : 0;
  return host + launches * constants.gpuLaunch!;
}

/** Casting 16-bit activations to the narrow format of a matmul, where they don't come in it. */
function quantisation({ op, dtype, dims, outDtype }: OperatorCase, { aBytes }: OperatorWork) {
  // A result wider than the operands says that the operands are cast for this matmul alone.
  const isCast =
    (op === 'matmul' || op === 'batched-matmul') &&
    NARROW.includes(dtype) &&
    outDtype !== undefined &&
    !NARROW.includes(outDtype);
  if (!isCast || aBytes === 0) return { bytes: 0, launches: 0 };
  const passes = BLOCK_SCALED.includes(dtype) ? 1 : 2;
  const read = FORMAT_BYTES.bf16 * (dims.batch ?? 1) * (dims.m ?? 1) * (dims.k ?? 1);
  return { bytes: passes * read + aBytes, launches: passes };
}

function peakRate(chip: ChipSpec, { dtype }: OperatorCase): FlopsPerSecond {
  const rate = PEAKS[dtype].map((format) => chip.peak[format]).find((value) => typeof value === 'number');
  if (typeof rate === 'number') return rate;
  throw new ModelError('UNSUPPORTED', chip.id, `expected a published peak rate for ${dtype}, got none`);
}

function computeTime(chip: ChipSpec, operator: OperatorCase, work: OperatorWork, constants: Constants): Seconds {
  const ideal = work.flops / peakRate(chip, operator);
  if (operator.op === 'attention') {
    const length = operator.dims.seqKv ?? 1;
    const share = length / (length + constants.gpuAttentionHalfLength!);
    // One query per head leaves the tensor cores idle; its time is that of the memory.
    return isDecode(operator) ? ideal : ideal / (constants.gpuAttentionEfficiency! * share);
  }
  const waves = waveFactor(chip.multiprocessors, operator);
  return ideal * waves * throttle(chip, operator, waves, constants);
}

/**
 * How much longer a product takes at the clock that the power limit allows. An operation of half the width takes half the
 * energy; in part-filled `waves` fewer units draw power. What is above the limit is taken off the clock, with whose cube dynamic
 * power goes, as the voltage follows the clock.
 */
function throttle(chip: ChipSpec, operator: OperatorCase, waves: number, { gpuFlopsPerJoule }: Constants): number {
  const { tdp } = chip.power;
  if (tdp === null) return 1;
  const rate = (peakRate(chip, operator) / waves) * (FORMAT_BYTES[operator.dtype] / FORMAT_BYTES.bf16);
  return pow(Math.max(1, rate / (tdp * gpuFlopsPerJoule!)), 1 / 3);
}

/** Time over that of a perfect division of the work among the multiprocessors; 1 where their number is not published. */
function waveFactor(processors: number | null, { dims }: OperatorCase): number {
  if (processors === null || dims.m === undefined || dims.n === undefined) return 1;
  const { batch = 1, m, n } = dims;
  const computed = TILES.map(([rows, columns]) => {
    const tiles = batch * Math.ceil(m / rows) * Math.ceil(n / columns);
    return Math.ceil(tiles / processors) * processors * rows * columns;
  });
  return Math.max(1, Math.min(...computed) / (batch * m * n));
}
