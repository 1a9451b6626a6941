/**
 * One row for each kernel: its reference, its shapes, its tolerance, what it computes and what it moves. Tests, benchmarks
 * and `trnsim bench` are loops over these rows: adding a kernel here adds it everywhere.
 */

import { sum } from './collective.ts';
import type { DType } from './dtype.ts';
import { add, addBias, rmsnorm, rope, softmax, swiglu } from './layer.ts';
import { matmul } from './matmul.ts';
import {
  addBiasReference,
  addReference,
  matmulReference,
  type Reference,
  rmsnormReference,
  ropeReference,
  softmaxReference,
  sumReference,
  swigluReference,
} from './reference.ts';
import type { Tensor } from './tensor.ts';

/** A problem of one kernel: its dimensions by name. */
export type Dimensions = Readonly<Record<string, number>>;

export interface KernelRow {
  readonly name: string;
  /** Formats of the operands. */
  readonly dtypes: readonly DType[];
  /** Shapes of the operands, and their formats where they are not the row's. */
  operands(d: Dimensions): readonly { readonly shape: readonly number[]; readonly dtype?: DType }[];
  outShape(d: Dimensions): readonly number[];
  /** Computes `out` (f32 or the operands' format); an in-place kernel finds its input in `out`. */
  run(operands: readonly Tensor[], out: Tensor, d: Dimensions): void;
  /** `initial` is what `out` held before. */
  reference(operands: readonly Float32Array[], d: Dimensions, initial: Float32Array): Reference;
  /** Roundings in FP32 that an element can meet, in units of 2^-24 of its magnitude. */
  roundings(d: Dimensions): number;
  /** True where the kernel works on `out` in place, so that `out` is f32. */
  readonly isInPlace?: boolean;
  flops(d: Dimensions): number;
  /** Bytes that have to be read and written at least. */
  bytes(d: Dimensions, elementBytes: number): number;
  /** Problems whose every edge a test visits, and problems worth timing. */
  readonly tested: readonly Dimensions[];
  readonly timed: readonly Dimensions[];
}

const BOTH: readonly DType[] = ['f32', 'bf16'];
/** Sizes around every vector width and tile edge. */
const EDGES = [0, 1, 3, 4, 5, 7, 8, 15, 16, 17, 31, 33, 63, 65, 127, 1023];

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

export const kernelRegistry: readonly KernelRow[] = [
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
