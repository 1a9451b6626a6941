/** Registry rows of the reductions of rows. */
import { rowReductionReference } from '../reference/rowreduce.ts';
import { type RowReduction, reduceRows } from '../rowreduce.ts';
import { BOTH, EDGES, type KernelRow } from './row.ts';

const reductions: readonly RowReduction[] = ['sum', 'mean', 'squares', 'max', 'min'];

export const rowReductionRows: readonly KernelRow[] = reductions.map((reduction) => ({
  name: `row-${reduction}`,
  dtypes: BOTH,
  operands: ({ rows, cols }) => [{ shape: [rows!, cols!] }],
  outShape: ({ rows }) => [rows!],
  run: ([x], out) => reduceRows(reduction, x!, out),
  reference: ([x], { rows, cols }) => rowReductionReference(reduction, rows!, cols!, x!),
  // A chain in each of 16 lanes, five additions of lanes, the tail of up to 15, the square and the division.
  roundings: ({ cols }) => cols! / 16 + 22,
  flops: ({ rows, cols }) => (reduction === 'squares' ? 2 : 1) * rows! * cols!,
  bytes: ({ rows, cols }, size) => rows! * cols! * size + 4 * rows!,
  tested: EDGES.filter((cols) => cols > 0).map((cols) => ({ rows: 3, cols })),
  timed: [{ rows: 1024, cols: 1024 }],
}));
