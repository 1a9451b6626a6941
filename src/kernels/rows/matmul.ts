/** Registry rows of the matrix product. */
import { matmul } from '../matmul.ts';
import { matmulReference } from '../reference/matmul.ts';
import { BOTH, EDGES, type KernelRow } from './row.ts';

export const matmulRows: readonly KernelRow[] = [
  {
    name: 'matmul',
    dtypes: BOTH,
    operands: ({ m, n, k }) => [{ shape: [m!, k!] }, { shape: [k!, n!] }],
    outShape: ({ m, n }) => [m!, n!],
    run: ([a, b], out) => matmul(a!, b!, out),
    reference: ([a, b], { m, n, k }) => matmulReference(m!, n!, k!, a!, b!),
    // Every product and every addition rounds once; the blocks of K add one more each.
    roundings: ({ k }) => k! + Math.ceil(k! / 384) + 1,
    flops: ({ m, n, k }) => 2 * m! * n! * k!,
    bytes: ({ m, n, k }, size) => (m! * k! + k! * n!) * size + m! * n! * 4,
    tested: [
      ...EDGES.filter((size) => size <= 65).map((size) => ({ m: size, n: size, k: size })),
      { m: 1, n: 127, k: 400 },
      { m: 6, n: 9, k: 1023 },
      { m: 121, n: 17, k: 5 },
      { m: 3, n: 4101, k: 7 },
      { m: 5, n: 8, k: 0 },
    ],
    timed: [
      { m: 64, n: 64, k: 64 },
      { m: 128, n: 128, k: 128 },
      { m: 256, n: 256, k: 256 },
      { m: 512, n: 512, k: 512 },
      { m: 1024, n: 1024, k: 1024 },
      { m: 128, n: 896, k: 4096 },
    ],
  },
];
