/**
 * out[m, n] (+)= a[m, k] b[k, n], operands f32 or bf16, FP32 accumulation (PSUM), one rounding at the end.
 * A transposed operand is a transposed view: nothing is copied but the blocks that the kernel packs.
 */
import { type Rounding, storeRounded } from './cast.ts';
import { expectLike, expectMatrix, type Tensor } from './tensor.ts';

/** Working space of the kernel. Kept in step with assembly/matmul.ts: 4 (MC KC + KC NC + MR NR) bytes. */
const MATMUL_SCRATCH_BYTES = 4 * (120 * 384 + 384 * 4096 + 5 * 8);

export interface MatmulOptions {
  /** Adds to `out` instead of overwriting it. `out` must be f32: an accumulator that is rounded at each step is not one. */
  readonly accumulate?: boolean;
  /** How a bf16 `out` is rounded. */
  readonly rounding?: Rounding;
}

/**
 * `a`: [m, k], `b`: [k, n], equal dtype, any strides. `out`: [m, n], f32 (rows may have a stride) or contiguous bf16.
 * @throws TypeError or RangeError that names the operand.
 */
export function matmul(a: Tensor, b: Tensor, out: Tensor, options: MatmulOptions = {}): void {
  const [m, k] = expectMatrix('a', a);
  const [bRows, n] = expectMatrix('b', b);
  const [rows, cols] = expectMatrix('out', out);
  if (bRows !== k) throw new RangeError(`"b" expected ${k} rows as "a" has columns, got shape [${b.shape}]`);
  if (rows !== m || cols !== n) throw new RangeError(`"out" expected shape [${m},${n}], got [${out.shape}]`);
  expectLike('b', b, 'a', a);
  if (out.arena !== a.arena) throw new TypeError('"out" expected the arena of "a", got another one');
  if (out.strides[1] !== 1 && n > 1) throw new TypeError('"out" expected adjacent columns, got a transposed view');
  const { accumulate = false, rounding = 'nearest' } = options;
  if (accumulate && out.dtype !== 'f32') throw new TypeError(`"out" expected f32 to accumulate into, got ${out.dtype}`);
  if (out.dtype !== 'f32' && !out.isContiguous) throw new TypeError(`"out" expected a contiguous ${out.dtype} tensor`);
  if (m === 0 || n === 0) return;

  const { arena } = a;
  const scratch = arena.scratch('matmul', MATMUL_SCRATCH_BYTES);
  const kernel = a.dtype === 'f32' ? arena.kernels.matmul_f32 : arena.kernels.matmul_bf16;
  storeRounded(out, rounding, (c) => {
    const rowStride = out.dtype === 'f32' ? out.strides[0]! : n;
    if (k === 0) {
      if (!accumulate)
        for (let i = 0; i < m; i++) new Float32Array(arena.memory.buffer, c + i * rowStride * 4, n).fill(0);
      return;
    }
    const [aRow, aCol] = a.strides;
    const [bRow, bCol] = b.strides;
    kernel(m, n, k, a.offset, aRow!, aCol!, b.offset, bRow!, bCol!, c, rowStride, accumulate ? 1 : 0, scratch);
  });
}
