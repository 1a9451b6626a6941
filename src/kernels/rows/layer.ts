/** Registry rows of the operators of a decoder layer. */
import { add, addBias, rmsnorm, rope, softmax, swiglu } from '../layer.ts';
import {
  addBiasReference,
  addReference,
  rmsnormReference,
  ropeReference,
  softmaxReference,
  swigluReference,
} from '../reference/layer.ts';
import type { Reference } from '../reference/reference.ts';
import type { Tensor } from '../tensor.ts';
import { BOTH, EDGES, type KernelRow } from './row.ts';

function elementwise(
  name: string,
  flopsPerElement: number,
  roundings: number,
  run: (a: Tensor, b: Tensor, out: Tensor) => void,
  reference: (a: Float32Array, b: Float32Array) => Reference,
): KernelRow {
  return {
    name,
    dtypes: BOTH,
    operands: ({ n }) => [{ shape: [n!] }, { shape: [n!] }],
    outShape: ({ n }) => [n!],
    run: ([a, b], out) => run(a!, b!, out),
    reference: ([a, b]) => reference(a!, b!),
    roundings: () => roundings,
    flops: ({ n }) => flopsPerElement * n!,
    bytes: ({ n }, size) => 3 * n! * size,
    tested: EDGES.map((n) => ({ n })),
    timed: [{ n: 1 << 20 }],
  };
}

export const layerRows: readonly KernelRow[] = [
  elementwise('add', 1, 1, add, addReference),
  {
    name: 'addBias',
    dtypes: BOTH,
    operands: ({ cols }) => [{ shape: [cols!] }],
    outShape: ({ rows, cols }) => [rows!, cols!],
    isInPlace: true,
    run: ([bias], out) => addBias(bias!, out),
    reference: ([bias], _, initial) => addBiasReference(bias!, initial),
    roundings: () => 1,
    flops: ({ rows, cols }) => rows! * cols!,
    bytes: ({ rows, cols }, size) => 8 * rows! * cols! + cols! * size,
    tested: EDGES.map((cols) => ({ rows: 3, cols })),
    timed: [{ rows: 1024, cols: 1024 }],
  },
  // e^-x carries 2 units (1 ulp), then 1 + e, the division and the product.
  elementwise('swiglu', 6, 6, swiglu, swigluReference),
  {
    name: 'rmsnorm',
    dtypes: BOTH,
    operands: ({ rows, cols }) => [{ shape: [rows!, cols!] }, { shape: [cols!] }],
    outShape: ({ rows, cols }) => [rows!, cols!],
    run: ([x, gamma], out) => rmsnorm(x!, gamma!, out, { epsilon: 1e-5 }),
    reference: ([x, gamma], { cols }) => rmsnormReference(cols!, x!, gamma!, 1e-5),
    // Squares are positive, so their sum of c terms in 8 lanes is good to c / 8 + 8 units; halved by the root.
    roundings: ({ cols }) => cols! / 16 + 10,
    flops: ({ rows, cols }) => 4 * rows! * cols!,
    bytes: ({ rows, cols }, size) => 2 * rows! * cols! * size + cols! * size,
    tested: EDGES.filter((cols) => cols > 0).map((cols) => ({ rows: 3, cols })),
    timed: [{ rows: 1024, cols: 1024 }],
  },
  {
    name: 'rope',
    dtypes: BOTH,
    operands: ({ tokens, heads, headDim }) => [
      { shape: [tokens!, heads!, headDim!] },
      { shape: [tokens!, headDim! / 2], dtype: 'f32' },
      { shape: [tokens!, headDim! / 2], dtype: 'f32' },
    ],
    outShape: ({ tokens, heads, headDim }) => [tokens!, heads!, headDim!],
    run: ([x, cos, sin], out) => rope(x!, cos!, sin!, out),
    reference: ([x, cos, sin], { heads, headDim }) => ropeReference(heads!, headDim!, x!, cos!, sin!),
    roundings: () => 2,
    flops: ({ tokens, heads, headDim }) => 3 * tokens! * heads! * headDim!,
    bytes: ({ tokens, heads, headDim }, size) => 2 * tokens! * heads! * headDim! * size + 4 * tokens! * headDim!,
    tested: [2, 4, 6, 8, 14, 64, 128].map((headDim) => ({ tokens: 5, heads: 3, headDim })),
    timed: [{ tokens: 1024, heads: 8, headDim: 128 }],
  },
  ...[
    { name: 'softmax', visible: (cols: number) => cols, window: 2 ** 30 },
    { name: 'softmax-causal', visible: () => 1, window: 2 ** 30 },
    { name: 'softmax-window', visible: () => 3, window: 5 },
  ].map(
    ({ name, visible, window }): KernelRow => ({
      name,
      dtypes: ['f32'],
      operands: ({ rows, cols }) => [{ shape: [rows!, cols!] }],
      outShape: ({ rows, cols }) => [rows!, cols!],
      run: ([x], out, { cols }) => softmax(x!, out, { scale: 0.125, visible: Math.max(1, visible(cols!)), window }),
      reference: ([x], { rows, cols }) =>
        softmaxReference(rows!, cols!, x!, { scale: 0.125, visible: visible(cols!), window }),
      // The exponent x - max of size t is off by t/2 units in absolute terms; |x| <= 64 in the tests, scaled by 1/8.
      roundings: ({ cols }) => cols! / 4 + 40,
      flops: ({ rows, cols }) => 12 * rows! * cols!,
      bytes: ({ rows, cols }) => 8 * rows! * cols!,
      tested: EDGES.filter((cols) => cols > 0).map((cols) => ({ rows: 9, cols })),
      timed: [{ rows: 1024, cols: 1024 }],
    }),
  ),
];
