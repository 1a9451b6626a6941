/** Registry row of the k largest elements of a row: their values. The columns are compared in the tests. */
import { topKReference } from '../reference/topk.ts';
import { topK } from '../topk.ts';
import { BOTH, EDGES, type KernelRow } from './row.ts';

export const topKRow: KernelRow = {
  name: 'top-k',
  dtypes: BOTH,
  operands: ({ rows, cols }) => [{ shape: [rows!, cols!] }],
  outShape: ({ rows, k }) => [rows!, k!],
  run: ([x], out) => {
    using indices = out.arena.tensor('i32', out.shape);
    topK(x!, out, indices);
  },
  reference: ([x], { rows, cols, k }) => topKReference(rows!, cols!, k!, x!).values,
  roundings: () => 0,
  flops: ({ rows, cols }) => rows! * cols!,
  bytes: ({ rows, cols, k }, size) => rows! * (cols! * size + 8 * k!),
  tested: EDGES.filter((cols) => cols > 0).flatMap((cols) =>
    [1, Math.ceil(cols / 3), cols].map((k) => ({ rows: 3, cols, k })),
  ),
  timed: [
    { rows: 1024, cols: 128, k: 8 },
    { rows: 32, cols: 32768, k: 50 },
  ],
};
