/** Registry rows of the reductions of collectives. */
import { sum } from '../collective.ts';
import { sumReference } from '../reference/collective.ts';
import { BOTH, EDGES, type KernelRow } from './row.ts';

export const collectiveRows: readonly KernelRow[] = [
  ...[2, 5, 16].map(
    (count): KernelRow => ({
      name: `sum-${count}`,
      dtypes: BOTH,
      operands: ({ n }) => Array.from({ length: count }, () => ({ shape: [n!] })),
      outShape: ({ n }) => [n!],
      run: (sources, out) => sum(sources, out),
      reference: (sources) => sumReference(sources),
      roundings: () => count - 1,
      flops: ({ n }) => (count - 1) * n!,
      bytes: ({ n }, size) => (count + 1) * n! * size,
      tested: EDGES.map((n) => ({ n })),
      timed: [{ n: 1 << 18 }],
    }),
  ),
];
