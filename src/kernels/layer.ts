/**
 * The other operators of a decoder layer. Operands in their storage format, FP32 inside, one rounding into `out`.
 */
import { expectInteger } from '../base/errors.ts';
import { type Rounding, storeRounded } from './cast.ts';
import { expectContiguous, expectLike, expectMatrix, expectShape, type Tensor } from './tensor.ts';

/** Checks that all operands are contiguous, in one arena, and of the dtype of the first, which is returned. */
function expectOperands(operands: Readonly<Record<string, Tensor>>, out: Tensor): Tensor {
  const [firstName, first] = Object.entries(operands)[0]!;
  for (const [name, operand] of Object.entries(operands)) {
    expectContiguous(name, operand);
    expectLike(name, operand, firstName, first);
  }
  expectContiguous('out', out);
  if (out.arena !== first.arena) throw new TypeError(`"out" expected the arena of "${firstName}", got another one`);
  return first;
}

/** out = a + b, equal shapes. */
export function add(a: Tensor, b: Tensor, out: Tensor, rounding: Rounding = 'nearest'): void {
  const { arena, dtype } = expectOperands({ a, b }, out);
  expectShape('b', b, a.shape);
  expectShape('out', out, a.shape);
  const kernel = dtype === 'f32' ? arena.kernels.add_f32 : arena.kernels.add_bf16;
  storeRounded(out, rounding, (y) => kernel(a.length, a.offset, b.offset, y));
}

/** Adds `bias` [cols] to every row of `out` [rows, cols] f32, in place: the bias goes to the accumulator, before rounding. */
export function addBias(bias: Tensor, out: Tensor): void {
  const { arena, dtype } = expectOperands({ bias }, out);
  const [rows, cols] = expectMatrix('out', out);
  expectShape('bias', bias, [cols]);
  if (out.dtype !== 'f32') throw new TypeError(`"out" expected f32, the accumulator, got ${out.dtype}`);
  const kernel = dtype === 'f32' ? arena.kernels.addBias_f32 : arena.kernels.addBias_bf16;
  kernel(rows, cols, bias.offset, out.offset);
}

/** out = silu(gate) up, equal shapes; silu(x) = x / (1 + e^-x). */
export function swiglu(gate: Tensor, up: Tensor, out: Tensor, rounding: Rounding = 'nearest'): void {
  const { arena, dtype } = expectOperands({ gate, up }, out);
  expectShape('up', up, gate.shape);
  expectShape('out', out, gate.shape);
  const kernel = dtype === 'f32' ? arena.kernels.swiglu_f32 : arena.kernels.swiglu_bf16;
  storeRounded(out, rounding, (y) => kernel(gate.length, gate.offset, up.offset, y));
}

export interface RmsnormOptions {
  /** Added to the mean square. */
  readonly epsilon: number;
  readonly rounding?: Rounding;
}

/** out[r, c] = x[r, c] gamma[c] / sqrt(mean_c x[r, c]^2 + epsilon); `x`, `out`: [rows, cols], `gamma`: [cols]. */
export function rmsnorm(x: Tensor, gamma: Tensor, out: Tensor, options: RmsnormOptions): void {
  const { arena, dtype } = expectOperands({ x, gamma }, out);
  const [rows, cols] = expectMatrix('x', x);
  expectShape('gamma', gamma, [cols]);
  expectShape('out', out, x.shape);
  const kernel = dtype === 'f32' ? arena.kernels.rmsnorm_f32 : arena.kernels.rmsnorm_bf16;
  storeRounded(out, options.rounding ?? 'nearest', (y) =>
    kernel(rows, cols, x.offset, gamma.offset, options.epsilon, y),
  );
}

/**
 * Rotary embedding, "rotate half": `x`, `out`: [tokens, heads, headDim], `cos`, `sin`: [tokens, headDim / 2] f32.
 * `out` must not be `x`.
 */
export function rope(x: Tensor, cos: Tensor, sin: Tensor, out: Tensor, rounding: Rounding = 'nearest'): void {
  const { arena, dtype } = expectOperands({ x }, out);
  expectOperands({ cos, sin }, out);
  if (x.shape.length !== 3 || x.shape[2]! % 2 !== 0) {
    throw new RangeError(`"x" expected shape [tokens, heads, even headDim], got [${x.shape}]`);
  }
  const [tokens, heads, headDim] = x.shape as [number, number, number];
  expectShape('cos', cos, [tokens, headDim / 2]);
  expectShape('sin', sin, [tokens, headDim / 2]);
  expectShape('out', out, x.shape);
  if (cos.dtype !== 'f32') throw new TypeError(`"cos" expected dtype f32, got ${cos.dtype}`);
  if (out.offset === x.offset && x.length > 0) throw new TypeError('"out" expected memory of its own, got that of "x"');
  const kernel = dtype === 'f32' ? arena.kernels.rope_f32 : arena.kernels.rope_bf16;
  storeRounded(out, rounding, (y) => kernel(tokens, heads, headDim / 2, x.offset, cos.offset, sin.offset, y));
}

export interface SoftmaxOptions {
  /** Factor on the scores, >= 0; 1 / sqrt(headDim) in attention. */
  readonly scale?: number;
  /** Columns that row 0 may see; every further row sees one more. Left out: no mask. */
  readonly visible?: number;
  /** Columns at most that a row sees: the last ones of those visible. Left out: no window. */
  readonly window?: number;
  readonly rounding?: Rounding;
}

/** Softmax over the columns of `x` [rows, cols] f32, masked columns 0. `out` may be `x`. */
export function softmax(x: Tensor, out: Tensor, options: SoftmaxOptions = {}): void {
  const { arena, dtype } = expectOperands({ x }, out);
  const [rows, cols] = expectMatrix('x', x);
  expectShape('out', out, x.shape);
  if (dtype !== 'f32') throw new TypeError(`"x" expected dtype f32 (scores come from the accumulator), got ${dtype}`);
  const { scale = 1, visible = cols, window = 2 ** 30, rounding = 'nearest' } = options;
  if (!(scale >= 0 && scale < Infinity)) throw new RangeError(`"scale" expected a finite number >= 0, got ${scale}`);
  expectInteger('visible', visible, 1, 2 ** 30);
  expectInteger('window', window, 1, 2 ** 30);
  storeRounded(out, rounding, (y) => arena.kernels.softmax_f32(rows, cols, x.offset, scale, visible, window, y));
}
