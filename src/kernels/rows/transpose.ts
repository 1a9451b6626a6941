/** Registry row of the transposition. It rounds nothing, so its operand has the format of the result. */
import { transposeReference } from '../reference/transpose.ts';
import { transpose } from '../transpose.ts';
import { EDGES, type KernelRow } from './row.ts';

export const transposeRow: KernelRow = {
  name: 'transpose',
  dtypes: ['f32'],
  operands: ({ rows, cols }) => [{ shape: [rows!, cols!] }],
  outShape: ({ rows, cols }) => [cols!, rows!],
  run: ([x], out) => transpose(x!, out),
  reference: ([x], { rows, cols }) => transposeReference(rows!, cols!, x!),
  roundings: () => 0,
  flops: () => 0,
  bytes: ({ rows, cols }, size) => 2 * rows! * cols! * size,
  tested: EDGES.flatMap((cols) => [5, 16].map((rows) => ({ rows, cols }))),
  timed: [
    { rows: 1000, cols: 1000 },
    { rows: 1024, cols: 1024 },
  ],
};
