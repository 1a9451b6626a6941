/**
 * out[m, n] i32 = a[m, k] b[k, n] of int8, exact. Trainium converts integer matmuls to FP32 (and so loses exactness beyond
 * 2^24); this one is for quantised models on this host and as a reference.
 */
import type { Arena } from './arena.ts';
import { columnChunks, NC, rowBlocks, THREAD_SCRATCH } from './blocking.ts';
import type { Call, Task } from './pool.ts';
import { expectMatrix, type Tensor } from './tensor.ts';

/** Lanes of 32 bits in a block: as many bytes of a panel of B as 384 terms of FP32. */
const LANES = 384;
const NR = 8;
/** Where a thread's packed A and its panel of C at the right edge lie in its scratch, as arguments of a call. */
const PACKED_A = -1 - THREAD_SCRATCH.packedA;
const EDGE = -1 - THREAD_SCRATCH.panel;

/** How terms lie in a lane: two int16 or four bytes, and what quads.ts in assembly/ calls the bias. */
interface Form {
  readonly name: 'Pairs' | 'Quads';
  readonly terms: number;
  /** Lanes that a panel of B has before its terms. */
  readonly head: number;
  readonly bias: readonly number[];
}

/** The fastest form that is exact on this host. */
function formOf({ kernels }: Arena): Form {
  const bias = kernels.quadBias?.() ?? -1;
  return bias < 0 ? { name: 'Pairs', terms: 2, head: 0, bias: [] } : { name: 'Quads', terms: 4, head: 1, bias: [bias] };
}

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
  const [aRow, aCol] = a.strides as [number, number];
  const [bRow, bCol] = b.strides as [number, number];
  const stride = out.strides[0]!;
  if (k === 0) {
    for (let i = 0; i < m; i++) new Int32Array(arena.memory.buffer, out.offset + i * stride * 4, n).fill(0);
    return;
  }
  const { name, terms, head, bias } = formOf(arena);
  const lanes = Math.min(LANES, Math.ceil(k / terms));
  const packedB = arena.scratch('packed B', (lanes + head) * Math.ceil(Math.min(NC, n) / NR) * NR * 4);
  for (let jc = 0; jc < n; jc += NC) {
    const chunks = columnChunks(arena, Math.min(NC, n - jc));
    for (let pc = 0; pc < k; pc += LANES * terms) {
      const kc = Math.min(LANES * terms, k - pc);
      const steps = Math.ceil(kc / terms);
      const panels = (first: number): number => packedB + first * (steps + head) * 4;
      const packB = chunks.map(([first, count]): Task => {
        const from = b.offset + pc * bRow + (jc + first) * bCol;
        return [{ kernel: `packColumn${name}_i8`, args: [kc, count, from, bRow, bCol, panels(first), ...bias] }];
      });
      arena.runTasks(packB);
      const multiply = rowBlocks(arena, m).flatMap(([ic, mc]) => {
        const from = a.offset + ic * aRow + pc * aCol;
        const packA: Call = { kernel: `packRow${name}_i8`, args: [mc, kc, from, aRow, aCol, PACKED_A, ...bias] };
        return chunks.map(([first, count]): Task => {
          const to = out.offset + (ic * stride + jc + first) * 4;
          const args = [mc, count, steps, PACKED_A, panels(first), to, stride, pc > 0 ? 1 : 0, EDGE];
          return [packA, { kernel: `multiply${name}_i8`, args }];
        });
      });
      arena.runTasks(multiply);
    }
  }
}
