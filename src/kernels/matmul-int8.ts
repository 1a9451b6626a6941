/**
 * out[m, n] i32 = a[m, k] b[k, n] of int8, exact. Trainium converts integer matmuls to FP32 (and so loses exactness beyond
 * 2^24); this one is for quantised models on this host and as a reference.
 */
import { MC, NC } from './blocking.ts';
import { expectMatrix, type Tensor } from './tensor.ts';

/** Pairs of terms in a block: as many bytes as KC terms of FP32. */
const PAIRS = 384;
const NR = 8;

/**
 * `a`: [m, k] i8, `b`: [k, n] i8, any strides; `out`: [m, n] i32, rows may have a stride. k <= 131,071: no sum overflows.
 * @throws TypeError or RangeError that names the operand.
 */
export function matmulInt8(a: Tensor, b: Tensor, out: Tensor): void {
  const [m, k] = expectMatrix('a', a);
  const [bRows, n] = expectMatrix('b', b);
  const [rows, cols] = expectMatrix('out', out);
  for (const [name, tensor, dtype] of [
    ['a', a, 'i8'],
    ['b', b, 'i8'],
    ['out', out, 'i32'],
  ] as const) {
    if (tensor.dtype !== dtype) throw new TypeError(`"${name}" expected dtype ${dtype}, got ${tensor.dtype}`);
    if (tensor.arena !== a.arena) throw new TypeError(`"${name}" expected the arena of "a", got another one`);
  }
  if (bRows !== k) throw new RangeError(`"b" expected ${k} rows as "a" has columns, got shape [${b.shape}]`);
  if (rows !== m || cols !== n) throw new RangeError(`"out" expected shape [${m},${n}], got [${out.shape}]`);
  if (k > 131_071) throw new RangeError(`"a" expected at most 131071 columns, so that no sum overflows, got ${k}`);
  if (out.strides[1] !== 1 && n > 1) throw new TypeError('"out" expected adjacent columns, got a transposed view');
  if (m === 0 || n === 0) return;
  const { arena } = a;
  const { kernels } = arena;
  const [aRow, aCol] = a.strides as [number, number];
  const [bRow, bCol] = b.strides as [number, number];
  const stride = out.strides[0]!;
  if (k === 0) {
    for (let i = 0; i < m; i++) new Int32Array(arena.memory.buffer, out.offset + i * stride * 4, n).fill(0);
    return;
  }
  const packedA = arena.scratch('packed A', MC * PAIRS * 4);
  const packedB = arena.scratch('packed B', PAIRS * Math.ceil(Math.min(NC, n) / NR) * NR * 4);
  const edge = arena.scratch('int8 edge', 192);
  for (let jc = 0; jc < n; jc += NC) {
    const nc = Math.min(NC, n - jc);
    for (let pc = 0; pc < k; pc += 2 * PAIRS) {
      const kc = Math.min(2 * PAIRS, k - pc);
      kernels.packColumnPairs_i8(kc, nc, b.offset + pc * bRow + jc * bCol, bRow, bCol, packedB);
      for (let ic = 0; ic < m; ic += MC) {
        const mc = Math.min(MC, m - ic);
        kernels.packRowPairs_i8(mc, kc, a.offset + ic * aRow + pc * aCol, aRow, aCol, packedA);
        const to = out.offset + (ic * stride + jc) * 4;
        kernels.multiplyDots_i8(mc, nc, (kc + 1) >> 1, packedA, packedB, to, stride, pc > 0 ? 1 : 0, edge);
      }
    }
  }
}
