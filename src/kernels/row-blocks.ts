/**
 * Operators of rows whose operands or result are not FP32: a block of rows at a time is widened, computed and rounded, so that
 * what is FP32 in between stays in the nearest caches and takes little memory whatever the tensors' size.
 */
import { expectRounded, narrow, type Rounding, widen } from './convert.ts';
import { DTYPES, type DType } from './dtype.ts';
import type { Tensor } from './tensor.ts';

/** Elements of a block, but for one row at least: 64 KiB as FP32. */
const BLOCK = 2 ** 14;

/** `count` rows from row `first` on: where each operand's are, and where their results in FP32 go. */
type Compute = (count: number, offsets: readonly number[], y: number, first: number) => void;

/**
 * Runs `compute` on all of `rows` rows, which operands and `out` have in equal parts and contiguous, and rounds what it makes
 * into `out`, which may be an operand. `computes`: the formats that it reads as they are; it gets the others as FP32.
 */
export function storeRows(
  rows: number,
  operands: readonly Tensor[],
  out: Tensor,
  rounding: Rounding,
  compute: Compute,
  computes: readonly DType[] = ['f32'],
): void {
  if (rows === 0) return;
  const { arena } = out;
  const isWidened = operands.map(({ dtype }) => !computes.includes(dtype));
  const target = out.dtype === 'f32' ? undefined : expectRounded('out', out.dtype);
  const isDirect = target === undefined && !isWidened.includes(true);
  // Random bits belong to elements of the whole result, so a stochastic rounding takes it whole.
  const isStochastic = target !== undefined && rounding !== 'nearest';
  const longest = Math.max(1, out.length / rows, ...operands.map(({ length }) => length / rows));
  // An even number of rows, since two elements may share a byte.
  const block = isDirect || isStochastic ? rows : Math.min(rows, Math.max(2, 2 * Math.floor(BLOCK / longest / 2)));
  const buffers: number[] = [];
  const buffer = (tensor: Tensor): number => {
    const at = arena.allocate((tensor.length / rows) * block * 4);
    buffers.push(at);
    return at;
  };
  const place = ({ dtype, length, offset }: Tensor, first: number): number =>
    offset + (length / rows) * first * DTYPES[dtype].bytes;
  try {
    const wide = operands.map((operand, i) => (isWidened[i] ? buffer(operand) : undefined));
    const result = target === undefined ? undefined : buffer(out);
    for (let first = 0; first < rows; first += block) {
      const count = Math.min(block, rows - first);
      const offsets = operands.map((operand, i) => {
        const from = place(operand, first);
        const to = wide[i];
        if (to === undefined) return from;
        widen(arena, operand.dtype, (operand.length / rows) * count, from, to);
        return to;
      });
      const to = place(out, first);
      compute(count, offsets, result ?? to, first);
      if (target !== undefined) narrow(arena, target, (out.length / rows) * count, result!, to, rounding);
    }
  } finally {
    for (const at of buffers) arena.release(at);
  }
}
