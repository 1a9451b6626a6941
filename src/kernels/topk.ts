/**
 * The largest elements of each row, as in sampling and in the routing of experts.
 */
import { expectInteger } from '../base/errors.ts';
import { storeRounded } from './cast.ts';
import { expectBeside, expectOperands, withFloat32 } from './layer-operands.ts';
import { expectMatrix, expectShape, type Tensor } from './tensor.ts';

/**
 * The k largest elements of every row of `x` [rows, cols], largest first, into `values` [rows, k], and their columns into
 * `indices` [rows, k] i32; k is what the shape of `values` says. Equal elements come in the order of their columns; a NaN
 * ranks above infinity. Takes time in proportion to cols where k is small: an element that gets in costs up to k steps.
 * @throws RangeError if k > cols.
 */
export function topK(x: Tensor, values: Tensor, indices: Tensor): void {
  const { arena } = expectOperands({ x }, values);
  expectBeside('indices', indices, 'x', x);
  const [rows, cols] = expectMatrix('x', x);
  const [, k] = expectMatrix('values', values);
  expectInteger('values.shape[1]', k, 1, cols);
  expectShape('values', values, [rows, k]);
  expectShape('indices', indices, [rows, k]);
  if (indices.dtype !== 'i32') throw new TypeError(`"indices" expected dtype i32, got ${indices.dtype}`);
  storeRounded(values, 'nearest', (y) => {
    withFloat32([x], (wide) => arena.kernels.topK_f32(rows, cols, wide!, k, y, indices.offset));
  });
}
