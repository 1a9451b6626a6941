/**
 * Additions of a decoder layer. Operands in their storage format, FP32 inside, one rounding into `out`.
 */
import type { Rounding } from './cast.ts';
import { expectOperands, withFloat32 } from './layer-operands.ts';
import { storeRows } from './row-blocks.ts';
import { expectMatrix, expectShape, type Tensor } from './tensor.ts';

/** out = a + b, equal shapes. */
export function add(a: Tensor, b: Tensor, out: Tensor, rounding: Rounding = 'nearest'): void {
  const { arena, dtype, length } = expectOperands({ a, b }, out);
  expectShape('b', b, a.shape);
  expectShape('out', out, a.shape);
  const kernel = dtype === 'bf16' ? arena.kernels.add_bf16 : arena.kernels.add_f32;
  storeRows(length, [a, b], out, rounding, (n, [left, right], y) => kernel(n, left!, right!, y), ['f32', 'bf16']);
}

/** Adds `bias` [cols] to every row of `out` [rows, cols] f32, in place: the bias goes to the accumulator, before rounding. */
export function addBias(bias: Tensor, out: Tensor): void {
  const { arena, dtype } = expectOperands({ bias }, out);
  const [rows, cols] = expectMatrix('out', out);
  expectShape('bias', bias, [cols]);
  if (out.dtype !== 'f32') throw new TypeError(`"out" expected f32, the accumulator, got ${out.dtype}`);
  if (dtype === 'bf16') arena.kernels.addBias_bf16(rows, cols, bias.offset, out.offset);
  else withFloat32([bias], (wide) => arena.kernels.addBias_f32(rows, cols, wide!, out.offset));
}
