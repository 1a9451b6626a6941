/**
 * No kernel reads or writes outside its tensors. Every tensor lies inside a larger one, at any element, so that foreign
 * bytes begin right at its ends and, in a view, between its rows. Each problem runs twice, with the foreign bytes NaNs and
 * then small numbers: they have to stay as they are, operands too, and the results have to be the same bits both times.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Activation,
  type Arena,
  addBias,
  attention,
  cast,
  createArena,
  type Dimensions,
  DTYPES,
  type DType,
  dequantizeInt8,
  dequantizeMx,
  divideRows,
  fillUniform,
  gatherRows,
  hasRelaxedSimd,
  kernelRegistry,
  logSoftmax,
  matmul,
  matmulInt8,
  matmulMx,
  packWeights,
  quantizeInt8,
  quantizeMx,
  type ReduceOperator,
  reduce,
  rope,
  ropeInterleaved,
  scaleRows,
  scatterRows,
  softmax,
  softmaxBlock,
  type Tensor,
  topK,
  transpose,
  transposeBlocks,
} from '../src/kernels/index.ts';

const arenas = hasRelaxedSimd() ? [createArena({ deterministic: true }), createArena()] : [createArena()];
const FOREIGN = [0xff, 0x3c] as const;
/** Elements of foreign memory on each side, at least. */
const MARGIN = 32;
const OPERANDS = ['f32', 'bf16', 'f16', 'f8e4m3', 'f8e4m3fn', 'f8e5m2', 'f8e3m4', 'i8'] as const;
const FLOATS = OPERANDS.slice(0, -1);

/** In a matrix: part of the rows and columns of a wider one, and that transposed. */
type Layout = 'contiguous' | 'part' | 'turned';

interface Spec {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly layout?: Layout;
}

interface Problem {
  readonly operands: readonly Spec[];
  readonly outs: readonly Spec[];
  run(operands: readonly Tensor[], outs: readonly Tensor[]): void;
}

interface Guarded {
  readonly frame: Tensor;
  readonly tensor: Tensor;
  /** Where the tensor's bytes lie in the frame, in its own order. */
  readonly places: Int32Array;
}

function product(shape: readonly number[]): number {
  return shape.reduce((total, size) => total * size, 1);
}

/** The tensor inside a frame, `lead` elements further than the margin. */
function place(on: Arena, { dtype, shape, layout = 'contiguous' }: Spec, lead: number) {
  const skip = MARGIN + (dtype === 'f4e2m1' ? 2 * lead : lead);
  if (layout === 'contiguous') {
    const frame = on.tensor(dtype, [product(shape) + 2 * MARGIN + 2 * skip]);
    return { frame, tensor: frame.slice(skip, skip + product(shape)).reshape(shape) };
  }
  const [rows, cols] = (layout === 'turned' ? [...shape].reverse() : shape) as [number, number];
  const frame = on.tensor(dtype, [rows + 4, cols + skip + 3]);
  const part = frame.rows(2, rows + 2).columns(skip, skip + cols);
  return { frame, tensor: layout === 'turned' ? part.transpose() : part };
}

function placesOf({ frame, tensor }: { frame: Tensor; tensor: Tensor }): Int32Array {
  const begin = tensor.offset - frame.offset;
  const places = new Int32Array(tensor.bytes);
  if (tensor.isContiguous) return places.map((_, i) => begin + i);
  const { bytes } = DTYPES[tensor.dtype];
  const [, cols] = tensor.shape as [number, number];
  return places.map((_, i) => {
    const element = Math.floor(i / bytes);
    const at = Math.floor(element / cols) * tensor.strides[0]! + (element % cols) * tensor.strides[1]!;
    return begin + at * bytes + (i % bytes);
  });
}

/** Fails with `what` unless the bytes are equal. The loop is quicker than a matcher by far. */
function expectSameBytes(actual: Uint8Array, expected: Uint8Array, what: string): void {
  const at = actual.findIndex((byte, i) => byte !== expected[i]);
  if (at >= 0) expect.fail(`byte ${at} of ${what}: expected ${expected[at]}, got ${actual[at]}`);
}

/** Integers from -4 to 4, which every format holds; as scales, powers of two around 1. */
function guard(on: Arena, spec: Spec, lead: number, foreign: number, seed: number): Guarded {
  const placed = place(on, spec, lead);
  const places = placesOf(placed);
  using values = on.tensor(spec.dtype, spec.shape);
  if (spec.dtype === 'e8m0') values.bytesView().fill(126 + (seed % 3));
  else values.set(Array.from({ length: values.length }, (_, i) => ((i * 37 + seed) % 9) - 4));
  const bytes = placed.frame.bytesView().fill(foreign);
  values.bytesView().forEach((byte, i) => {
    bytes[places[i]!] = byte;
  });
  return { ...placed, places };
}

/** Runs the problem among `foreign` bytes; returns the bytes of its results. */
function runAmong(on: Arena, { operands, outs, run }: Problem, lead: number, foreign: number): Uint8Array[] {
  const given = operands.map((spec, i) => guard(on, spec, lead + i, foreign, i + 1));
  const written = outs.map((spec, i) => guard(on, spec, lead + operands.length + i, foreign, 7));
  const before = given.map(({ frame }) => frame.bytesView().slice());
  const tensors = (all: readonly Guarded[]) => all.map(({ tensor }) => tensor);
  run(tensors(given), tensors(written));
  given.forEach(({ frame }, i) => {
    expectSameBytes(frame.bytesView(), before[i]!, `the frame of operand ${i}`);
  });
  const results = written.map(({ frame, places }, i) => {
    const bytes = frame.bytesView();
    const result = Uint8Array.from(places, (at) => bytes[at]!);
    for (const at of places) bytes[at] = foreign;
    expectSameBytes(bytes, new Uint8Array(bytes.length).fill(foreign), `the frame of result ${i}`);
    return result;
  });
  for (const { frame } of [...given, ...written]) frame.dispose();
  return results;
}

function expectGuarded(problem: Problem, lead: number): void {
  for (const on of arenas) {
    const [first, second] = FOREIGN.map((foreign) => runAmong(on, problem, lead, foreign)) as [
      Uint8Array[],
      Uint8Array[],
    ];
    second.forEach((result, i) => {
      expectSameBytes(result, first[i]!, `result ${i} among other bytes, ${on.build} build`);
    });
  }
}

const LEAD = fc.integer({ min: 0, max: 15 });

describe('every kernel of the registry, at any alignment', () => {
  for (const row of kernelRegistry) {
    test(row.name, () => {
      const elements = (d: Dimensions) => row.operands(d).reduce((sum, { shape }) => sum + product(shape), 0);
      const tested = row.tested.filter((d) => elements(d) + product(row.outShape(d)) <= 8192);
      const problem = fc.record({
        d: fc.constantFrom(...tested),
        dtype: fc.constantFrom(...row.dtypes),
        isWide: fc.boolean(),
        lead: LEAD,
      });
      fc.assert(
        fc.property(problem, ({ d, dtype, isWide, lead }) => {
          const operands = row.operands(d).map(({ shape, dtype: own }) => ({ shape, dtype: own ?? dtype }));
          const outs = [{ shape: row.outShape(d), dtype: isWide || row.isInPlace ? ('f32' as const) : dtype }];
          expectGuarded({ operands, outs, run: (given, [out]) => row.run(given, out!, d) }, lead);
        }),
        { numRuns: 25 },
      );
    });
  }
});

/** Sizes and formats that the problems below are made of. */
interface Sizes {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly dtype: (typeof OPERANDS)[number];
  readonly other: (typeof OPERANDS)[number];
  readonly float: (typeof FLOATS)[number];
  readonly layouts: readonly [Layout, Layout, Layout];
  readonly choice: number;
}

const layout = fc.constantFrom<Layout>('contiguous', 'part', 'turned');
const sizes: fc.Arbitrary<Sizes> = fc.record({
  m: fc.integer({ min: 1, max: 24 }),
  n: fc.integer({ min: 1, max: 70 }),
  k: fc.integer({ min: 1, max: 50 }),
  dtype: fc.constantFrom(...OPERANDS),
  other: fc.constantFrom(...OPERANDS),
  float: fc.constantFrom(...FLOATS),
  layouts: fc.tuple(layout, layout, fc.constantFrom<Layout>('contiguous', 'part')),
  choice: fc.nat(11),
});

const OPERATORS: readonly ReduceOperator[] = ['sum', 'prod', 'max', 'min'];
const ACTIVATIONS: readonly (Activation | undefined)[] = ['silu', 'gelu', 'gelu-tanh', undefined];
const MX = ['f8e4m3fn', 'f8e5m2', 'f4e2m1'] as const;

const f32 = (...shape: number[]): Spec => ({ dtype: 'f32', shape });
const of = (dtype: DType, ...shape: number[]): Spec => ({ dtype, shape });

const PROBLEMS: Readonly<Record<string, (s: Sizes) => Problem>> = {
  'matmul with alpha, beta, bias and activation': ({ m, n, k, dtype, other, layouts: [a, b, c], choice }) => ({
    operands: [
      { dtype, shape: [m, k], layout: a },
      { dtype: other, shape: [k, n], layout: b },
      of(choice % 2 === 0 ? 'f32' : 'bf16', n),
    ],
    outs: [{ dtype: 'f32', shape: [m, n], layout: c }],
    run: ([x, y, bias], [out]) => {
      const activation = ACTIVATIONS[choice % 4];
      matmul(x!, y!, out!, { alpha: 0.5, beta: choice % 3, bias: bias!, ...(activation && { activation }) });
    },
  }),
  'matmul with packed weights, and part of them': ({ m, n, k, dtype, other, float, layouts: [a, b], choice }) => ({
    operands: [
      { dtype, shape: [m, k], layout: a },
      { dtype: other, shape: [k + (choice % 4), n + (choice % 9)], layout: b },
    ],
    outs: [of(float, m, n)],
    run: ([x, y], [out]) => {
      using weights = packWeights(y!);
      matmul(x!, weights.prefix(k, n), out!);
    },
  }),
  'matmul of many terms': ({ m, n, k, dtype, layouts: [a, b, c] }) => ({
    operands: [
      { dtype, shape: [m % 7, k + 380], layout: a },
      { dtype, shape: [k + 380, n % 20], layout: b },
    ],
    outs: [{ dtype: 'f32', shape: [m % 7, n % 20], layout: c }],
    run: ([x, y], [out]) => matmul(x!, y!, out!),
  }),
  matmulInt8: ({ m, n, k, layouts: [a, b, c] }) => ({
    operands: [
      { dtype: 'i8', shape: [m, k], layout: a },
      { dtype: 'i8', shape: [k, n], layout: b },
    ],
    outs: [{ dtype: 'i32', shape: [m, n], layout: c }],
    run: ([x, y], [out]) => matmulInt8(x!, y!, out!),
  }),
  matmulMx: ({ m, n, k, choice }) => {
    const [terms, cols, dtype] = [32 * (1 + (k % 4)), 2 * n, MX[choice % 3]!];
    return {
      operands: [of(dtype, m, terms), of('e8m0', m, terms / 32), of(dtype, terms, cols), of('e8m0', terms / 32, cols)],
      outs: [f32(m, cols)],
      run: ([a, aScales, b, bScales], [out]) =>
        matmulMx({ elements: a!, scales: aScales!, axis: 1 }, { elements: b!, scales: bScales!, axis: 0 }, out!),
    };
  },
  'quantizeMx and dequantizeMx': ({ m, n, choice }) => {
    const axis = (choice % 2) as 0 | 1;
    const shape = axis === 0 ? [32 * (1 + (m % 3)), 2 * n] : [m, 32 * (1 + (n % 3))];
    const scales = shape.map((size, i) => (i === axis ? size / 32 : size));
    const source = (['f32', 'bf16', 'f16'] as const)[choice % 3]!;
    return {
      operands: [of(source, ...shape)],
      outs: [of(MX[Math.floor(choice / 4)]!, ...shape), of('e8m0', ...scales), f32(...shape)],
      run: ([x], [elements, codes, back]) => {
        const mx = { elements: elements!, scales: codes!, axis };
        quantizeMx(x!, mx);
        dequantizeMx(mx, back!);
      },
    };
  },
  'quantizeInt8 and dequantizeInt8': ({ m, n, choice }) => ({
    operands: [of((['f32', 'bf16', 'f16'] as const)[choice % 3]!, m, n)],
    outs: [of('i8', m, n), f32(m), f32(m, n)],
    run: ([x], [elements, scales, back]) => {
      const quantised = { elements: elements!, scales: scales! };
      quantizeInt8(x!, quantised);
      dequantizeInt8(quantised, back!);
    },
  }),
  'cast of any format to any other, both roundings': ({ m, n, dtype, other, choice }) => {
    const from = choice === 0 ? 'f4e2m1' : choice === 1 ? 'i32' : dtype;
    const to = choice === 2 ? 'f4e2m1' : choice === 3 ? 'i32' : other;
    return {
      operands: [of(from, m, 2 * n)],
      outs: [of(to, m, 2 * n)],
      run: ([x], [out]) => cast(x!, out!, choice % 2 === 0 ? 'nearest' : { seed: 1, stream: 2 }),
    };
  },
  fillUniform: ({ m, n, dtype }) => ({
    operands: [],
    outs: [of(dtype, m, n)],
    run: (_, [out]) => fillUniform(out!, { seed: 1, stream: 2, scale: 4 }),
  }),
  'reduce in the format of the wire': ({ m, n, float, choice }) => ({
    operands: Array.from({ length: m }, () => of(float, n)),
    outs: [of(choice < 6 ? float : 'f32', n)],
    run: (sources, [out]) => reduce(OPERATORS[choice % 4]!, sources, out!),
  }),
  'moves of elements of 1, 2 and 4 bytes': ({ m, n, dtype, choice }) => {
    const rows = Array.from({ length: m }, (_, i) => (i + choice) % m);
    return {
      operands: [of(dtype, m, n)],
      outs: [of(dtype, m, n), of(dtype, m, n), of(dtype, n, m), of(dtype, n, m)],
      run: ([x], [gathered, scattered, turned, blocks]) => {
        gatherRows(x!, rows, gathered!);
        scatterRows(x!, rows, scattered!);
        transpose(x!, turned!);
        transposeBlocks(x!, blocks!);
      },
    };
  },
  'softmax and its logarithm with a mask, a bias, sinks and a window': ({ m, n, float, dtype, other, choice }) => ({
    operands: [of(float, m, n), of(dtype, ...(choice % 2 === 0 ? [n] : [m, n])), of(other, n), f32(m)],
    outs: [f32(m, n), of(float, m, n), of(float, m, n)],
    run: ([x, mask, bias, sinks], [masked, biased, logarithm]) => {
      softmax(x!, masked!, { mask: mask!, sinks: sinks!, scale: 0.5 });
      softmax(x!, biased!, { bias: bias!, visible: 1, window: 1 + choice });
      logSoftmax(x!, logarithm!, { mask: mask!, visible: 1 });
    },
  }),
  'softmaxBlock, scaleRows and divideRows': ({ m, n, k, float }) => ({
    operands: [of(float, m, n)],
    outs: [f32(m), f32(m), f32(m), f32(m, n), f32(m, k)],
    run: ([x], [max, sum, factor, out, rows]) => {
      max!.set(new Float32Array(m).fill(-Infinity));
      sum!.set(new Float32Array(m));
      softmaxBlock(x!, { max: max!, sum: sum!, factor: factor! }, out!, { visible: 1 });
      scaleRows(factor!, rows!);
      divideRows(sum!, rows!);
    },
  }),
  'attention with grouped queries and sinks, with and without a window': ({ m, n, k, float, choice }) => {
    const [heads, kvHeads, headDim] = [4, choice % 2 === 0 ? 2 : 4, 2 * (1 + (k % 9))];
    return {
      operands: [
        of(float, m, heads, headDim),
        of(float, m + n, kvHeads, headDim),
        of(float, m + n, kvHeads, headDim),
        f32(heads),
      ],
      outs: [of(choice < 6 ? 'f32' : float, m, heads, headDim)],
      run: ([q, keys, values, sinks], [out]) =>
        attention(q!, keys!, values!, out!, {
          sinks: sinks!,
          causal: choice % 3 > 0,
          ...(choice < 9 && { window: 1 + choice }),
        }),
    };
  },
  'rope, both forms': ({ m, n, k, float, choice }) => {
    const [heads, half] = [1 + (k % 5), n];
    return {
      operands: [of(float, m, heads, 2 * half), f32(m, half), f32(m, half)],
      outs: [of(choice % 2 === 0 ? 'f32' : float, m, heads, 2 * half)],
      run: ([x, cos, sin], [out]) => (choice < 6 ? rope : ropeInterleaved)(x!, cos!, sin!, out!),
    };
  },
  addBias: ({ m, n, choice }) => ({
    operands: [of(choice % 2 === 0 ? 'f32' : 'bf16', n)],
    outs: [f32(m, n)],
    run: ([bias], [out]) => addBias(bias!, out!),
  }),
  'top-k, its indices too': ({ m, n, float, choice }) => {
    const k = 1 + (choice % n);
    return {
      operands: [of(float, m, n)],
      outs: [of(float, m, k), of('i32', m, k)],
      run: ([x], [values, indices]) => topK(x!, values!, indices!),
    };
  },
};

describe('every format, layout and option, at any alignment', () => {
  for (const [name, make] of Object.entries(PROBLEMS)) {
    test(name, () => {
      fc.assert(
        fc.property(sizes, LEAD, (drawn, lead) => expectGuarded(make(drawn), lead)),
        { numRuns: 60 },
      );
    });
  }
});
