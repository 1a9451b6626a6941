/**
 * Transposition of matrices in memory, for consumers that need rows where there are columns. `Tensor.transpose` is the
 * view that moves nothing.
 */
import { DTYPES } from './dtype.ts';
import { expectApart, expectOperands } from './layer-operands.ts';
import { expectLike, expectMatrix, expectShape, type Tensor } from './tensor.ts';

/**
 * out[c, r] = x[r, c], bit for bit; `x`: [rows, cols], `out`: [cols, rows], of one dtype with 1, 2 or 4 bytes an element.
 * @throws TypeError for f4e2m1, two of which share a byte.
 */
export function transpose(x: Tensor, out: Tensor): void {
  const { arena, dtype } = expectOperands({ x }, out);
  const [rows, cols] = expectMatrix('x', x);
  expectShape('out', out, [cols, rows]);
  expectLike('out', out, 'x', x);
  expectApart('x', x, out);
  const { bytes } = DTYPES[dtype];
  if (bytes < 1) throw new TypeError(`"x" expected a dtype of whole bytes, got ${dtype}`);
  const { transpose_1, transpose_2, transpose_4 } = arena.kernels;
  const kernel = bytes === 1 ? transpose_1 : bytes === 2 ? transpose_2 : transpose_4;
  kernel(rows, cols, x.offset, out.offset, arena.scratch('transpose', 512));
}
