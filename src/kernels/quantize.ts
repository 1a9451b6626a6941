/**
 * Numbers with shared scales: x = element * scale.
 *
 * MX (OCP Microscaling Formats 1.0): blocks of 32 along one axis of a matrix share a power of two, an E8M0 code. With a the
 * largest magnitude of a block and 2^Emax the largest power of two of the element format (8, 15, 2 for f8e4m3fn, f8e5m2,
 * f4e2m1), the scale is
 *
 *     nki              2^(floor(log2 a) - (Emax - 1))    `nki.isa.quantize_mx` since NKI 0.5: nothing saturates
 *     nki-before-0.5   2^(floor(log2 a) - Emax)          saturates what rounds beyond the largest element
 *     ocp              the same, the sample algorithm of the standard (its section 6.3)
 *
 * A block of zeros has the scale 2^-127. A block with an infinity or a NaN has the scale NaN, so all of it is read back as
 * NaN: the standard leaves this open, and a block in which one number is lost can't be trusted. Elements are rounded to
 * nearest even and saturate.
 *
 * INT8: symmetric, scale = largest magnitude / 127 of a row or the whole tensor, at least 2^-126; element = nearest even of
 * x * (1 / scale). A row with an infinity or a NaN is read back as NaN.
 *
 * Leaves out: Trainium's layout of scales in SBUF quadrants, which changes no number.
 */
import { expectOneOf } from '../base/errors.ts';
import type { Arena } from './arena.ts';
import { type Rounding, storeRounded } from './cast.ts';
import { narrow, widen } from './convert.ts';
import { DTYPES, type DType } from './dtype.ts';
import { expectContiguous, expectDType, expectMatrix, expectShape, type Tensor } from './tensor.ts';

/** Elements that share a scale. */
export const MX_BLOCK = 32;

export type MxDType = 'f8e4m3fn' | 'f8e5m2' | 'f4e2m1';
export const MX_SCALE_RULES = ['nki', 'nki-before-0.5', 'ocp'] as const;
export type MxScaleRule = (typeof MX_SCALE_RULES)[number];

export interface MxTensor {
  /** [rows, cols], of an MxDType. */
  readonly elements: Tensor;
  /** e8m0: [rows / 32, cols] for axis 0, [rows, cols / 32] for axis 1. */
  readonly scales: Tensor;
  /** The axis along which 32 elements share a scale: of a product's operands, the one that is summed over. */
  readonly axis: 0 | 1;
}

export interface QuantizeMxOptions {
  /** How a block's scale follows from its largest magnitude: `nki` by default. */
  readonly rule?: MxScaleRule;
}

export interface Int8Tensor {
  readonly elements: Tensor;
  /** f32: [rows], or [1] for the whole tensor. */
  readonly scales: Tensor;
}

const SOURCES: readonly DType[] = ['f32', 'bf16', 'f16'];
const EMAX: Readonly<Record<MxDType, number>> = { f8e4m3fn: 8, f8e5m2: 15, f4e2m1: 2 };
const HEADROOM: Readonly<Record<MxScaleRule, number>> = { nki: 1, 'nki-before-0.5': 0, ocp: 0 };
/** Elements in a pass over blocks that lie in rows: their FP32 form stays in cache. */
const PASS = 8192;

/** An MX matrix [rows, cols] in `arena`, contents undefined. Dispose of its two tensors. */
export function createMxTensor(arena: Arena, dtype: MxDType, shape: readonly [number, number], axis: 0 | 1): MxTensor {
  return { elements: arena.tensor(dtype, shape), scales: arena.tensor('e8m0', scaleShape(shape, axis)), axis };
}

function scaleShape(shape: readonly number[], axis: 0 | 1): number[] {
  if (shape[axis]! % MX_BLOCK !== 0) {
    throw new RangeError(
      `"shape[${axis}]" expected a multiple of ${MX_BLOCK} along the scaled axis, got ${shape[axis]}`,
    );
  }
  return shape.map((size, i) => (i === axis ? size / MX_BLOCK : size));
}

/** Checks an MX matrix; returns its element format. */
function expectMx(name: string, { elements, scales, axis }: MxTensor): MxDType {
  expectMatrix(`${name}.elements`, elements);
  expectContiguous(`${name}.elements`, elements);
  expectContiguous(`${name}.scales`, scales);
  expectDType(`${name}.elements`, elements, Object.keys(EMAX) as MxDType[]);
  expectDType(`${name}.scales`, scales, ['e8m0']);
  expectArena(`${name}.scales`, scales, `${name}.elements`, elements);
  expectShape(`${name}.scales`, scales, scaleShape(elements.shape, axis));
  return elements.dtype as MxDType;
}

function expectArena(name: string, tensor: Tensor, otherName: string, other: Tensor): void {
  if (tensor.arena !== other.arena)
    throw new TypeError(`"${name}" expected the arena of "${otherName}", got another one`);
}

/** What is taken off the exponent of a block's largest magnitude to get that of its scale. */
export function mxExponent(dtype: MxDType, rule: MxScaleRule): number {
  return EMAX[dtype] - HEADROOM[rule];
}

/**
 * Quantises `x` [rows, cols] (f32, bf16 or f16) into `out`.
 * @throws RangeError if the scaled axis is not a multiple of 32 or the shapes differ, TypeError for a wrong dtype.
 */
export function quantizeMx(x: Tensor, out: MxTensor, options: QuantizeMxOptions = {}): void {
  expectContiguous('x', x);
  expectDType('x', x, SOURCES);
  const dtype = expectMx('out', out);
  expectShape('x', x, out.elements.shape);
  expectArena('x', x, 'out.elements', out.elements);
  const rule = expectOneOf<MxScaleRule>('rule', options.rule ?? 'nki', MX_SCALE_RULES);
  const k = mxExponent(dtype, rule);
  const { arena } = x;
  const { kernels } = arena;
  forEachPass(out, (first, count, rows, cols, wide, factors) => {
    widen(arena, x.dtype, count, x.offset + first * DTYPES[x.dtype].bytes, wide);
    const [absMax, scale] =
      out.axis === 0
        ? [kernels.absMaxColumns_f32, kernels.scaleColumns_f32]
        : [kernels.absMaxRows_f32, kernels.scaleRows_f32];
    absMax(rows, cols, wide, factors);
    kernels.mxScales(count / MX_BLOCK, k, factors, out.scales.offset + first / MX_BLOCK);
    scale(rows, cols, factors, wide);
    narrow(arena, dtype, count, wide, out.elements.offset + first * DTYPES[dtype].bytes, 'nearest', true);
  });
}

/** `out` = elements times scales, of `out`'s dtype, rounded once. The product is exact in FP32 above 2^-126. */
export function dequantizeMx(x: MxTensor, out: Tensor, rounding: Rounding = 'nearest'): void {
  const dtype = expectMx('x', x);
  expectContiguous('out', out);
  expectShape('out', out, x.elements.shape);
  expectArena('out', out, 'x.elements', x.elements);
  const { arena } = out;
  const { kernels } = arena;
  const scale = x.axis === 0 ? kernels.scaleColumns_f32 : kernels.scaleRows_f32;
  storeRounded(out, rounding, (y) => {
    forEachPass(x, (first, count, rows, cols, _, factors) => {
      const part = y + 4 * first;
      widen(arena, dtype, count, x.elements.offset + first * DTYPES[dtype].bytes, part);
      kernels.widen_e8m0(count / MX_BLOCK, x.scales.offset + first / MX_BLOCK, factors);
      scale(rows, cols, factors, part);
    });
  });
}

/**
 * Visits an MX matrix in passes over whole blocks: elements `first` .. `first` + `count` - 1, seen as [rows, cols] with one
 * scale for each row (axis 1) or column (axis 0), and FP32 buffers for the elements and for the scales.
 */
function forEachPass(
  { elements, axis }: MxTensor,
  visit: (first: number, count: number, rows: number, cols: number, wide: number, factors: number) => void,
): void {
  const { arena, length } = elements;
  const pass = Math.min(length, axis === 0 ? MX_BLOCK * elements.shape[1]! : PASS);
  const wide = arena.allocate(pass * 4 + (pass / MX_BLOCK) * 4);
  try {
    for (let first = 0; first < length; first += pass) {
      const count = Math.min(pass, length - first);
      const [rows, cols] = axis === 0 ? [MX_BLOCK, elements.shape[1]!] : [count / MX_BLOCK, MX_BLOCK];
      visit(first, count, rows, cols, wide, wide + pass * 4);
    }
  } finally {
    arena.release(wide);
  }
}

/** Checks an INT8 tensor; returns [rows, cols] with one scale for each row. */
function expectInt8(name: string, { elements, scales }: Int8Tensor): [number, number] {
  expectContiguous(`${name}.elements`, elements);
  expectContiguous(`${name}.scales`, scales);
  expectDType(`${name}.elements`, elements, ['i8']);
  expectDType(`${name}.scales`, scales, ['f32']);
  expectArena(`${name}.scales`, scales, `${name}.elements`, elements);
  const rows = elements.shape[0] ?? 1;
  if (scales.length === 1) return [1, elements.length];
  if (scales.length === rows) return [rows, elements.length / Math.max(rows, 1)];
  throw new RangeError(`"${name}.scales" expected 1 or ${rows} elements, got ${scales.length}`);
}

/**
 * Quantises `x` (f32, bf16 or f16) into `out`, with one scale for the tensor or one for each row, as `out.scales` has room.
 * @throws RangeError if the shapes differ, TypeError for a wrong dtype.
 */
export function quantizeInt8(x: Tensor, out: Int8Tensor): void {
  expectContiguous('x', x);
  expectDType('x', x, SOURCES);
  const [rows, cols] = expectInt8('out', out);
  expectShape('x', x, out.elements.shape);
  expectArena('x', x, 'out.elements', out.elements);
  const { arena } = x;
  const { kernels } = arena;
  const wide = arena.allocate((x.length + rows) * 4);
  try {
    const factors = wide + x.length * 4;
    widen(arena, x.dtype, x.length, x.offset, wide);
    kernels.absMaxRows_f32(rows, cols, wide, factors);
    const reciprocals = new Float32Array(arena.memory.buffer, factors, rows);
    const scales = new Float32Array(arena.memory.buffer, out.scales.offset, rows);
    for (let row = 0; row < rows; row++) {
      scales[row] = Math.max(reciprocals[row]! / 127, 2 ** -126);
      reciprocals[row] = 1 / scales[row]!;
    }
    kernels.scaleRows_f32(rows, cols, factors, wide);
    narrow(arena, 'i8', x.length, wide, out.elements.offset, 'nearest');
  } finally {
    arena.release(wide);
  }
}

/** `out` = elements times scales, in FP32 and rounded once to `out`'s dtype. */
export function dequantizeInt8(x: Int8Tensor, out: Tensor, rounding: Rounding = 'nearest'): void {
  const [rows, cols] = expectInt8('x', x);
  expectContiguous('out', out);
  expectShape('out', out, x.elements.shape);
  expectArena('out', out, 'x.elements', x.elements);
  const { arena } = out;
  storeRounded(out, rounding, (y) => {
    widen(arena, 'i8', out.length, x.elements.offset, y);
    arena.kernels.scaleRows_f32(rows, cols, x.scales.offset, y);
  });
}
