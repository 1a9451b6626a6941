/** Registry rows of the normalizations. */
import { layernorm, rmsnorm } from '../norm.ts';
import { layernormReference, rmsnormReference } from '../reference/norm.ts';
import { BOTH, type Dimensions, EDGES, type KernelRow } from './row.ts';

const EPSILON = 1e-5;

const shared = {
  dtypes: BOTH,
  outShape: ({ rows, cols }: Dimensions) => [rows!, cols!],
  // Squares are positive, so their sum of c terms in 16 lanes is good to c / 16 + 20 units; halved by the root.
  roundings: ({ cols }: Dimensions) => cols! / 32 + 20,
  tested: EDGES.filter((cols) => cols > 0).map((cols) => ({ rows: 3, cols })),
  timed: [
    { rows: 1024, cols: 1024 },
    { rows: 4096, cols: 4096 },
  ],
};

export const normRows: readonly KernelRow[] = [
  {
    ...shared,
    name: 'rmsnorm',
    operands: ({ rows, cols }) => [{ shape: [rows!, cols!] }, { shape: [cols!] }],
    run: ([x, gamma], out) => rmsnorm(x!, gamma!, out, { epsilon: EPSILON }),
    reference: ([x, gamma], { cols }) => rmsnormReference(cols!, x!, gamma!, EPSILON),
    flops: ({ rows, cols }) => 4 * rows! * cols!,
    bytes: ({ rows, cols }, size) => 2 * rows! * cols! * size + cols! * size,
  },
  {
    ...shared,
    name: 'layernorm',
    operands: ({ rows, cols }) => [{ shape: [rows!, cols!] }, { shape: [cols!] }, { shape: [cols!] }],
    run: ([x, gamma, beta], out) => layernorm(x!, gamma!, beta!, out, { epsilon: EPSILON }),
    reference: ([x, gamma, beta], { cols }) => layernormReference(cols!, x!, gamma!, beta!, EPSILON),
    flops: ({ rows, cols }) => 8 * rows! * cols!,
    bytes: ({ rows, cols }, size) => 2 * rows! * cols! * size + 2 * cols! * size,
  },
];
