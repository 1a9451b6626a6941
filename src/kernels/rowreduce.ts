/**
 * Reductions of rows to one number each. Any format in, FP32 inside, one rounding into `out`.
 */
import { expectOneOf } from '../base/errors.ts';
import type { Rounding } from './cast.ts';
import { expectApart, expectOperands } from './layer-operands.ts';
import { storeRows } from './row-blocks.ts';
import { expectMatrix, expectShape, type Tensor } from './tensor.ts';

/** `squares` is the sum of squares. */
export type RowReduction = 'sum' | 'mean' | 'squares' | 'max' | 'min';

const SIGN_BIT = -(2 ** 31);
/** The kernel, and its argument beside the row: a divisor (nothing: the number of columns), or what a maximum flips. */
const KERNELS = {
  sum: { kernel: 'sumRows_f32', argument: 1 },
  mean: { kernel: 'sumRows_f32', argument: undefined },
  squares: { kernel: 'squareRows_f32', argument: 1 },
  max: { kernel: 'maxRows_f32', argument: 0 },
  min: { kernel: 'maxRows_f32', argument: SIGN_BIT },
} as const;

/**
 * out[r] = the reduction of x[r, :]; `x`: [rows, cols], `out`: [rows]. NaN where a row has one. A row of no columns has
 * sum and squares 0.
 * @throws RangeError for the mean, maximum or minimum of rows without columns.
 */
export function reduceRows(reduction: RowReduction, x: Tensor, out: Tensor, rounding: Rounding = 'nearest'): void {
  expectOneOf('reduction', reduction, Object.keys(KERNELS) as RowReduction[]);
  const { arena } = expectOperands({ x }, out);
  const [rows, cols] = expectMatrix('x', x);
  expectShape('out', out, [rows]);
  expectApart('x', x, out);
  if (cols === 0 && reduction !== 'sum' && reduction !== 'squares') {
    throw new RangeError(`"x" expected at least one column for the ${reduction} of a row, got shape [${x.shape}]`);
  }
  const { kernel, argument = cols } = KERNELS[reduction];
  storeRows(rows, [x], out, rounding, (n, [from], y) => arena.kernels[kernel](n, cols, from!, argument, y));
}
