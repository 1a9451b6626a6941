import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { exp as exactExp } from '../src/base/math.ts';
import {
  type Arena,
  add,
  addBias,
  cast,
  createArena,
  type DType,
  divideRows,
  erf,
  exp,
  gelu,
  layernorm,
  logSoftmax,
  matmul,
  reduceRows,
  rmsnorm,
  rope,
  ropeInterleaved,
  scaleRows,
  silu,
  softmax,
  softmaxBlock,
  swiglu,
  type Tensor,
  tanh,
  topK,
  transpose,
} from '../src/kernels/index.ts';
import { erfValue, tanhValue } from '../src/kernels/reference/activation.ts';
import { softmaxReference } from '../src/kernels/reference/softmax.ts';
import { topKReference } from '../src/kernels/reference/topk.ts';

const arena = createArena();
/** Both builds where this host has two, else the plain one twice. */
const arenas: readonly Arena[] = [createArena({ deterministic: true }), arena];

const words = new Int32Array(1);
const floats = new Float32Array(words.buffer);

/** Distance of the FP32 `actual` from `exact`, in steps of FP32 at `exact`. */
function ulps(actual: number, exact: number): number {
  if (Object.is(actual, exact) || (Number.isNaN(actual) && Number.isNaN(exact))) return 0;
  const nearest = Math.fround(exact);
  if (!Number.isFinite(nearest)) return actual === nearest ? 0 : Infinity;
  floats[0] = Math.abs(nearest);
  words[0]! += 1;
  const step = Number.isFinite(floats[0]!) ? floats[0]! - Math.abs(nearest) : 2 ** 104;
  return Math.abs(actual - exact) / step;
}

/** Every exponent and sign with `count` fractions spread over the binade, infinities and NaNs included. */
function everyBinade(count: number): Float32Array {
  const bits = new Uint32Array(512 * count);
  for (let i = 0; i < bits.length; i++) {
    const fraction = (Math.imul(i % count, 0x9e3779b1) >>> 9) + (i % count === 1 ? 1 : 0);
    bits[i] = (Math.floor(i / count) << 23) | (fraction & 0x7fffff);
  }
  return new Float32Array(bits.buffer);
}

function apply(owner: Arena, values: ArrayLike<number>, run: (x: Tensor, out: Tensor) => void): Float32Array {
  using x = owner.tensor('f32', [values.length]).set(values);
  using out = owner.tensor('f32', [values.length]);
  run(x, out);
  return out.toFloat32();
}

function worst(values: ArrayLike<number>, actual: Float32Array, exact: (x: number) => number): [number, number] {
  let [largest, at] = [0, 0];
  actual.forEach((y, i) => {
    const error = ulps(y, exact(values[i]!));
    if (!(error <= largest)) [largest, at] = [error, values[i]!];
  });
  return [largest, at];
}

test('tanh and erf never leave [-1, 1], and gelu never passes x', () => {
  const on = createArena();
  const n = 1 << 16;
  const values = Float32Array.from({ length: n }, (_, i) => ((i - n / 2) / n) * 22);
  const x = on.tensor('f32', [n]).set(values);
  const y = on.tensor('f32', [n]);
  for (const bounded of [tanh, erf]) {
    bounded(x, y);
    expect(y.toFloat32().every((value) => Math.abs(value) <= 1)).toBe(true);
  }
  gelu(x, y);
  expect(y.toFloat32().every((value, i) => value <= Math.max(0, values[i]!))).toBe(true);
});

describe('vector functions', () => {
  const functions = [
    { name: 'exp', kernel: exp, exact: exactExp, bound: 2.5, from: -105, to: 90 },
    { name: 'tanh', kernel: tanh, exact: tanhValue, bound: 6, from: -10, to: 10 },
    { name: 'erf', kernel: erf, exact: erfValue, bound: 8, from: -5, to: 5 },
  ];
  for (const { name, kernel, exact, bound, from, to } of functions) {
    test(`${name} is within ${bound} ulp in every binade of FP32 and densely where it varies`, () => {
      const n = 200_000;
      const dense = Float32Array.from({ length: n }, (_, i) => from + ((to - from) * i) / n);
      for (const owner of arenas) {
        for (const values of [everyBinade(64), dense]) {
          const actual = apply(owner, values, (x, out) => kernel(x, out));
          const [error, at] = worst(values, actual, exact);
          if (!(error <= bound)) expect.fail(`${owner.build}: ${name}(${at}) is off by ${error} ulp`);
        }
      }
    });
  }

  test('silu and both forms of gelu go to 0 and x at the ends and keep NaN', () => {
    const x = [-Infinity, -200, -89, -0, 0, 1e-40, 200, Infinity, NaN];
    for (const owner of arenas) {
      const kernels = [
        (a: Tensor, out: Tensor) => silu(a, out),
        (a: Tensor, out: Tensor) => gelu(a, out),
        (a: Tensor, out: Tensor) => gelu(a, out, { form: 'tanh' }),
      ];
      for (const kernel of kernels) {
        const y = apply(owner, x, kernel);
        expect(y[0]).toBeNaN();
        for (const i of [1, 2, 3, 4]) expect(Math.abs(y[i]!)).toBeLessThan(1e-36);
        expect(y[5]).toBe(Math.fround(Math.fround(1e-40) / 2));
        expect(y[6]).toBe(200);
        expect(y[7]).toBe(Infinity);
        expect(y[8]).toBeNaN();
      }
    }
  });

  test('gelu is within 4 ulp above 0 and 8 ulp of x / 2 below', () => {
    const values = Float32Array.from({ length: 200_000 }, (_, i) => (i - 100_000) / 12_500);
    for (const owner of arenas) {
      const actual = apply(owner, values, (x, out) => gelu(x, out));
      actual.forEach((y, i) => {
        const x = values[i]!;
        const exact = (x * (1 + erfValue(x / Math.SQRT2))) / 2;
        const step = x > 0 ? ulps(y, exact) / 4 : Math.abs(y - exact) / (8 * 2 ** (Math.floor(Math.log2(-x / 2)) - 23));
        if (x !== 0 && !(step <= 1)) expect.fail(`${owner.build}: gelu(${x}) is ${y}`);
      });
    }
  });

  test('silu equals x / (1 + e^-x) to 5 ulp wherever that is a normal number', () => {
    const values = Float32Array.from({ length: 60_000 }, (_, i) => -80 + i / 375);
    for (const owner of arenas) {
      const actual = apply(owner, values, (x, out) => silu(x, out));
      expect(worst(values, actual, (x) => x / (1 + exactExp(-x)))[0]).toBeLessThan(5);
    }
  });

  test('an element has the same bits wherever it stands in a tensor, and in place', () => {
    const values = Float32Array.from({ length: 70 }, (_, i) => Math.sin(i) * 20);
    const kernels: ((x: Tensor, out: Tensor) => void)[] = [exp, tanh, erf, silu, gelu, (x, out) => swiglu(x, x, out)];
    for (const kernel of kernels) {
      const whole = apply(arena, values, (x, out) => kernel(x, out));
      for (let n = 0; n < 40; n++) {
        using x = arena.tensor('f32', [70]).set(values);
        const part = x.slice(13, 13 + n);
        kernel(part, part);
        expect(part.toFloat32()).toEqual(whole.slice(13, 13 + n));
      }
    }
  });

  test('operands of other formats give what their widened copies give', () => {
    for (const dtype of ['bf16', 'f16', 'f8e4m3fn', 'f8e5m2', 'i8'] as const) {
      using x = arena.tensor(dtype, [6, 10]).set(Array.from({ length: 60 }, (_, i) => (i % 13) - 6));
      using wide = arena.tensor('f32', [6, 10]);
      cast(x, wide);
      const before = arena.usedBytes;
      const kernels: ((a: Tensor, out: Tensor) => void)[] = [
        silu,
        softmax,
        (a, out) => add(a, a, out),
        (a, out) => rmsnorm(a, a.rows(0, 1).reshape([10]), out, { epsilon: 1 }),
        (a, out) => layernorm(a, a.rows(0, 1).reshape([10]), a.rows(1, 2).reshape([10]), out, { epsilon: 1 }),
      ];
      for (const kernel of kernels) {
        using expected = arena.tensor('f32', [6, 10]);
        using actual = arena.tensor('f32', [6, 10]);
        kernel(wide, expected);
        kernel(x, actual);
        expect(actual.toFloat32()).toEqual(expected.toFloat32());
      }
      // Every temporary has been given back; what stays is scratch, which is allocated once.
      kernels[0]!(x, arena.tensor('f32', [6, 10]));
      expect(arena.usedBytes - before).toBeLessThan(2048);
    }
  });
});

describe('softmax', () => {
  const rows = 6;
  const cols = 37;
  const scores = Float32Array.from({ length: rows * cols }, (_, i) => Math.sin(i * 1.7) * 30);
  const options = { scale: 0.25, visible: 33, window: 20 };

  function expectClose(actual: Float32Array, expected: ArrayLike<number>, tolerance = 1e-5): void {
    actual.forEach((y, i) => {
      if (!(Math.abs(y - expected[i]!) <= tolerance * Math.abs(expected[i]!) + 1e-37)) {
        expect.fail(`[${i}]: got ${y}, expected ${expected[i]}`);
      }
    });
  }

  test('a boolean mask, one that is added and sinks give what the formula gives', () => {
    const sees = (row: number, col: number) => ((row % 2) * 7 + col * 5) % 3 !== 0;
    const bias = (row: number, col: number) => (row % 3) - col / 8;
    const sink = (row: number) => (row < 3 ? 2 : -40);
    using x = arena.tensor('f32', [rows, cols]).set(scores);
    using out = arena.tensor('f32', [rows, cols]);
    const table = (n: number, value: (row: number, col: number) => number) =>
      Array.from({ length: n * cols }, (_, i) => value(Math.floor(i / cols), i % cols));
    using mask = arena.tensor('i8', [2, cols]).set(table(2, (row, col) => Number(sees(row, col))));
    using added = arena.tensor('f32', [3, cols]).set(table(3, bias));
    using sinks = arena.tensor('f32', [2]).set([2, -40]);
    softmax(x, out, { ...options, mask, sinks });
    expectClose(out.toFloat32(), softmaxReference(rows, cols, scores, { ...options, sees, sink }).value);
    softmax(x, out, { ...options, bias: added });
    expectClose(out.toFloat32(), softmaxReference(rows, cols, scores, { ...options, bias }).value);
    logSoftmax(x, out, { ...options, bias: added });
    expectClose(
      Float32Array.from(out.toFloat32(), exactExp),
      softmaxReference(rows, cols, scores, { ...options, bias }).value,
    );
  });

  test('one mask row serves every row, and a hidden NaN or infinity does no harm', () => {
    using x = arena.tensor('f32', [2, 3]).set([1, NaN, 2, 5, Infinity, 6]);
    using mask = arena.tensor('f32', [3]).set([1, 0, 1]);
    softmax(x, x, { mask });
    // 1 / (1 + e) = 0.2689414
    expectClose(x.toFloat32(), [0.26894142, 0, 0.73105858, 0.26894142, 0, 0.73105858]);
  });

  test('a row that sees nothing is 0, a NaN or infinity makes its row NaN and no other', () => {
    for (const n of [3, 16, 21]) {
      using x = arena.tensor('f32', [4, n]).set(
        Array.from({ length: 4 * n }, (_, i) => {
          const row = Math.floor(i / n);
          if (row === 0) return -Infinity;
          if (row === 1) return i % n === 1 ? NaN : -Infinity;
          return row === 2 && i % n === 2 ? Infinity : 1;
        }),
      );
      using out = arena.tensor('f32', [4, n]);
      softmax(x, out);
      const y = out.toFloat32();
      expect([...y.slice(0, n)].every((value) => value === 0)).toBe(true);
      expect([...y.slice(n, 3 * n)].every(Number.isNaN)).toBe(true);
      expectClose(y.slice(3 * n), new Float32Array(n).fill(1 / n));
      logSoftmax(x, out);
      const logarithms = out.toFloat32();
      expect([...logarithms.slice(0, n)].every((value) => value === -Infinity)).toBe(true);
      expect([...logarithms.slice(n, 3 * n)].every(Number.isNaN)).toBe(true);
    }
  });

  test('a sink alone takes the whole weight, and one of -infinity none', () => {
    using x = arena.tensor('f32', [2, 4]).set([-1e30, -1e30, -1e30, -1e30, 1, 1, 1, 1]);
    using sinks = arena.tensor('f32', [2]).set([0, -Infinity]);
    softmax(x, x, { sinks });
    expect([...x.toFloat32()]).toEqual([0, 0, 0, 0, 0.25, 0.25, 0.25, 0.25]);
  });

  test('rows sum to 1 and do not depend on a constant added to the scores: no bit does in the plain build', () => {
    for (const owner of arenas) {
      fc.assert(
        fc.property(fc.integer({ min: 1, max: 300 }), fc.integer({ min: -64, max: 64 }), (n, shift) => {
          // Multiples of 1/8 below 32: adding the shift is exact.
          const values = Array.from({ length: n }, (_, i) => ((i * 37) % 256) / 8);
          const y = apply(owner, values, (x, out) => softmax(x.reshape([1, n]), out.reshape([1, n])));
          const moved = apply(
            owner,
            values.map((value) => value + shift),
            (x, out) => softmax(x.reshape([1, n]), out.reshape([1, n])),
          );
          // Of each of the two: a weight's 2.5 ulp, as much of the sum's, half for each addition of a lane and of lanes, and 1.
          const tolerance = 2 * (2.5 + 2.5 + (Math.ceil(n / 16) + 5) / 2 + 1);
          if (owner.build === 'simd') expect(moved).toEqual(y);
          else expect(worst(y, moved, (value) => value)[0]).toBeLessThanOrEqual(tolerance);
          expect(Math.abs(y.reduce((total, value) => total + value, 0) - 1)).toBeLessThan(1e-5);
        }),
        { numRuns: 40 },
      );
    }
  });

  test('weights are within 2.5 ulp of e^x, and rows right wherever their scores are, however many they are', () => {
    const deep = Float32Array.from({ length: 50_001 }, (_, i) => -87 + (87 * i) / 50_000);
    for (const owner of arenas) {
      const running = {
        max: owner.tensor('f32', [1]).set([-Infinity]),
        sum: owner.tensor('f32', [1]).set([0]),
        factor: owner.tensor('f32', [1]),
      };
      const weights = apply(owner, deep, (x, out) => {
        softmaxBlock(x.reshape([1, deep.length]), running, out.reshape([1, deep.length]));
      });
      const [error, at] = worst(deep, weights, exactExp);
      if (!(error <= 2.5)) expect.fail(`${owner.build}: the weight of ${at} is off by ${error} ulp`);

      // 50000 and 1e7 are beyond what the relaxed build takes in as an exponent.
      for (const [base, scale] of [
        [0, 1],
        [-345.625, 0.0883883461356163],
        [30000, 1],
        [-50000, 1],
        [1e7, 0.25],
      ] as const) {
        const values = Float32Array.from({ length: 3 * 21 }, (_, i) => base - ((i * 29) % 64));
        const actual = apply(owner, values, (x, out) =>
          softmax(x.reshape([3, 21]), out.reshape([3, 21]), { scale, visible: 19 }),
        );
        for (let row = 0; row < 3; row++) {
          const seen = values.subarray(21 * row, 21 * row + 19 + row);
          const top = Math.max(...seen);
          const exponentials = [...seen].map((value) => Math.exp(Math.fround(scale) * (value - top)));
          const total = exponentials.reduce((sum, value) => sum + value, 0);
          const expected = exponentials.map((value) => value / total);
          const [off] = worst(expected, actual.slice(21 * row, 21 * row + seen.length), (value) => value);
          if (!(off <= 8)) expect.fail(`${owner.build}: a row at ${base} is off by ${off} ulp`);
        }
      }
    }
  });

  test('attention in blocks of columns equals attention over the whole row, causal and with a window', () => {
    const depth = 5;
    for (const limits of [{}, { visible: 1 }, { visible: 20, window: 9 }]) {
      using x = arena.tensor('f32', [rows, cols]).set(scores);
      using values = arena
        .tensor('f32', [cols, depth])
        .set(Array.from({ length: cols * depth }, (_, i) => (i % 9) - 4));
      using weights = arena.tensor('f32', [rows, cols]);
      using expected = arena.tensor('f32', [rows, depth]);
      softmax(x, weights, { scale: 0.25, ...limits });
      matmul(weights, values, expected);

      const running = {
        max: arena.tensor('f32', [rows]).set(new Float32Array(rows).fill(-Infinity)),
        sum: arena.tensor('f32', [rows]).set(new Float32Array(rows)),
        factor: arena.tensor('f32', [rows]),
      };
      using actual = arena.tensor('f32', [rows, depth]).set(new Float32Array(rows * depth));
      for (let begin = 0; begin < cols; begin += 8) {
        const end = Math.min(cols, begin + 8);
        const part = Float32Array.from({ length: rows * (end - begin) }, (_, i) => {
          const row = Math.floor(i / (end - begin));
          return scores[row * cols + begin + (i % (end - begin))]!;
        });
        using block = arena.tensor('f32', [rows, end - begin]).set(part);
        softmaxBlock(block, running, block, {
          scale: 0.25,
          ...limits,
          ...(limits.visible === undefined ? {} : { visible: limits.visible - begin }),
        });
        scaleRows(running.factor, actual);
        matmul(block, values.rows(begin, end), actual, { accumulate: true });
      }
      divideRows(running.sum, actual);
      const magnitude = Math.max(...expected.toFloat32().map(Math.abs));
      actual.toFloat32().forEach((y, i) => {
        expect(Math.abs(y - expected.toFloat32()[i]!)).toBeLessThan(1e-5 * magnitude);
      });
    }
  });
});

describe('top-k', () => {
  test('finds the values and columns that sorting finds, equal ones in the order of their columns', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(-Infinity, -2, -0, 0, 1, 1.5, 7, Infinity, NaN), { minLength: 1, maxLength: 80 }),
        fc.nat(),
        (row, seed) => {
          const k = 1 + (seed % row.length);
          using x = arena.tensor('f32', [1, row.length]).set(row);
          using values = arena.tensor('f32', [1, k]);
          using indices = arena.tensor('i32', [1, k]);
          topK(x, values, indices);
          const expected = topKReference(1, row.length, k, row);
          expect([...indices.toFloat32()]).toEqual(expected.indices);
          expect([...values.toFloat32()]).toEqual([...expected.values.value]);
        },
      ),
    );
  });
});

describe('row reductions', () => {
  test('a NaN anywhere in a row is its result, and no other row changes', () => {
    for (const cols of [1, 5, 16, 35]) {
      for (let at = 0; at < cols; at++) {
        const values = new Float32Array(2 * cols).fill(1);
        values[at] = NaN;
        using x = arena.tensor('f32', [2, cols]).set(values);
        using out = arena.tensor('f32', [2]);
        for (const reduction of ['sum', 'mean', 'squares', 'max', 'min'] as const) {
          reduceRows(reduction, x, out);
          expect(out.toFloat32()[0]).toBeNaN();
          expect(out.toFloat32()[1]).toBe(reduction === 'sum' || reduction === 'squares' ? cols : 1);
        }
      }
    }
  });

  test('rows without columns have sum 0 and no mean', () => {
    const x = arena.tensor('f32', [3, 0]);
    const out = arena.tensor('f32', [3]).set([7, 7, 7]);
    reduceRows('sum', x, out);
    expect([...out.toFloat32()]).toEqual([0, 0, 0]);
    expect(() => reduceRows('mean', x, out)).toThrow('"x" expected at least one column for the mean of a row');
  });
});

describe('normalization', () => {
  test('layernorm of a row with a large mean keeps the digits of its deviations', () => {
    // Deviations +-1 about 2^20: the variance is 1, and the mean of squares would lose it in FP32 (2^40 + 1).
    using x = arena.tensor('f32', [1, 64]).set(Array.from({ length: 64 }, (_, i) => 2 ** 20 + (i % 2 ? 1 : -1)));
    using gamma = arena.tensor('f32', [64]).set(new Float32Array(64).fill(3));
    using beta = arena.tensor('f32', [64]).set(new Float32Array(64).fill(10));
    layernorm(x, gamma, beta, x, { epsilon: 0 });
    expect([...x.toFloat32()]).toEqual(Array.from({ length: 64 }, (_, i) => (i % 2 ? 13 : 7)));
  });
});

describe('operands that are not FP32, which go through block by block', () => {
  const [rows, cols] = [37, 1100];
  const gamma = Float32Array.from({ length: cols }, (_, i) => 1 + (i % 9) / 8);
  const place = (dtype: DType, values: Float32Array): Tensor =>
    arena.tensor(dtype, values.length === cols ? [cols] : [rows, cols]).set(values);
  const values = Float32Array.from({ length: rows * cols }, (_, i) => ((i * 7919) % 1009) / 128 - 4);

  test.each<[string, (x: Tensor, out: Tensor) => void]>([
    ['exp', (x, out) => exp(x, out)],
    ['swiglu', (x, out) => swiglu(x, x, out)],
    ['add', (x, out) => add(x, x, out)],
    ['softmax, causal', (x, out) => softmax(x, out, { visible: 5 })],
    ['softmax with sinks', (x, out) => softmax(x, out, { sinks: arena.tensor('f32', [1]).set([0.5]) })],
    ['log-softmax', (x, out) => logSoftmax(x, out)],
    ['rmsnorm', (x, out) => rmsnorm(x, place(x.dtype, gamma), out, { epsilon: 1e-6 })],
    ['layernorm', (x, out) => layernorm(x, place(x.dtype, gamma), place(x.dtype, gamma), out, { epsilon: 1e-6 })],
  ])('%s is that of the same numbers in FP32, rounded once, in place too', (_, run) => {
    for (const dtype of ['bf16', 'f8e4m3'] as const) {
      const x = place(dtype, values);
      const wide = place('f32', x.toFloat32());
      const [expected, actual] = [arena.tensor('f32', [rows, cols]), arena.tensor(dtype, [rows, cols])];
      run(wide, expected);
      cast(expected, actual);
      const rounded = actual.toFloat32();
      run(x, actual);
      expect(actual.toFloat32()).toEqual(rounded);
      run(x, x);
      expect(x.toFloat32()).toEqual(rounded);
    }
  });

  test('reductions of rows are', () => {
    const x = place('bf16', values);
    const [expected, actual] = [arena.tensor('f32', [rows]), arena.tensor('f32', [rows])];
    for (const reduction of ['sum', 'mean', 'squares', 'max', 'min'] as const) {
      reduceRows(reduction, place('f32', x.toFloat32()), expected);
      reduceRows(reduction, x, actual);
      expect(actual.toFloat32()).toEqual(expected.toFloat32());
    }
  });

  test('stochastic bits of an element do not depend on how many come before it', () => {
    const rounding = { seed: 3, stream: 1 };
    const all = arena.tensor('bf16', [rows, cols]);
    exp(place('bf16', values), all, rounding);
    const wide = arena.tensor('f32', [rows, cols]);
    exp(place('f32', place('bf16', values).toFloat32()), wide);
    const once = arena.tensor('bf16', [rows, cols]);
    cast(wide, once, rounding);
    expect(all.toFloat32()).toEqual(once.toFloat32());
  });
});

describe('rotary embedding', () => {
  test('interleaved pairs of a permuted head equal the halves of the original', () => {
    const [tokens, heads, headDim] = [3, 2, 14];
    const values = Float32Array.from({ length: tokens * heads * headDim }, (_, i) => Math.sin(i));
    const angles = Array.from({ length: (tokens * headDim) / 2 }, (_, i) => i / 5);
    using cos = arena.tensor('f32', [tokens, headDim / 2]).set(angles.map(Math.cos));
    using sin = arena.tensor('f32', [tokens, headDim / 2]).set(angles.map(Math.sin));
    // Element j of a head of halves stands at 2 j (first half) or 2 (j - h) + 1 (second) of a head of pairs.
    const source = (i: number) => {
      const j = i % headDim;
      return i - j + (j % 2) * (headDim / 2) + Math.floor(j / 2);
    };
    using x = arena.tensor('f32', [tokens, heads, headDim]).set(values);
    using pairs = arena.tensor('f32', x.shape).set(values.map((_, i) => values[source(i)]!));
    using halvesOut = arena.tensor('f32', x.shape);
    using pairsOut = arena.tensor('f32', x.shape);
    rope(x, cos, sin, halvesOut);
    ropeInterleaved(pairs, cos, sin, pairsOut);
    const expected = halvesOut.toFloat32();
    expect(pairsOut.toFloat32()).toEqual(expected.map((_, i) => expected[source(i)]!));
  });
});

describe('transposition', () => {
  test('moves elements of 1, 2 and 4 bytes bit for bit, and twice is the identity', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 90 }),
        fc.integer({ min: 0, max: 90 }),
        fc.constantFrom<DType>('i8', 'bf16', 'f32'),
        (rows, cols, dtype) => {
          using x = arena.tensor(dtype, [rows, cols]);
          x.bytesView().forEach((_, i, bytes) => {
            bytes[i] = (Math.imul(i + 1, 0x9e3779b1) >>> 24) & 0xff;
          });
          using out = arena.tensor(dtype, [cols, rows]);
          using back = arena.tensor(dtype, [rows, cols]);
          transpose(x, out);
          transpose(out, back);
          expect(back.bytesView()).toEqual(x.bytesView());
          const size = rows * cols === 0 ? 1 : x.bytes / (rows * cols);
          const [from, to] = [x.bytesView(), out.bytesView()];
          for (let i = 0; i < to.length; i++) {
            const element = Math.floor(i / size);
            const [c, r] = [Math.floor(element / rows), element % rows];
            if (to[i] !== from[(r * cols + c) * size + (i % size)]) expect.fail(`byte ${i} of [${cols}, ${rows}]`);
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe('wrong calls', () => {
  const x = arena.tensor('f32', [4, 6]);
  const out = arena.tensor('f32', [4, 6]);
  const row = arena.tensor('f32', [6]);

  test('name the operand and what was expected of it', () => {
    expect(() => add(x, arena.tensor('f32', [6, 4]), out)).toThrow('"b" expected shape [4,6], got [6,4]');
    expect(() => add(x, arena.tensor('bf16', [4, 6]), out)).toThrow('"b" expected dtype f32 as "a", got bf16');
    expect(() => addBias(row, arena.tensor('bf16', [4, 6]))).toThrow('"out" expected f32, the accumulator, got bf16');
    expect(() => exp(x.columns(0, 3), out)).toThrow('"x" expected a contiguous tensor');
    expect(() => silu(x, createArena().tensor('f32', [4, 6]))).toThrow('"out" expected the arena of "x"');
    expect(() => gelu(x, out, { form: 'fast' as 'erf' })).toThrow('"form" expected one of erf, tanh, got "fast"');
    expect(() => rmsnorm(x, arena.tensor('f32', [4]), out, { epsilon: 1 })).toThrow('"gamma" expected shape [6]');
    expect(() => layernorm(x, row, row, out, { epsilon: -1 })).toThrow(
      '"epsilon" expected a finite number >= 0, got -1',
    );
    expect(() => transpose(x, out)).toThrow('"out" expected shape [6,4], got [4,6]');
    expect(() => reduceRows('median' as 'max', x, arena.tensor('f32', [4]))).toThrow('"reduction" expected one of sum');
    expect(() => topK(x, arena.tensor('f32', [4, 7]), arena.tensor('i32', [4, 7]))).toThrow(
      '"values.shape[1]" expected integer in 1..6, got 7',
    );
    expect(() => topK(x, arena.tensor('f32', [4, 2]), arena.tensor('f32', [4, 2]))).toThrow(
      '"indices" expected dtype i32, got f32',
    );
  });

  test('of softmax name the option', () => {
    expect(() => softmax(x, out, { scale: 0 })).toThrow('"scale" expected a finite number > 0, got 0');
    expect(() => softmax(x, out, { visible: 0 })).toThrow('"visible" expected integer in 1..');
    expect(() => softmax(x, out, { mask: arena.tensor('f32', [3, 6]) })).toThrow(
      '"mask" expected shape [6] or [divisor of 4, 6], got [3,6]',
    );
    expect(() => softmax(x, out, { mask: row, bias: row })).toThrow('"bias" expected none beside "mask"');
    expect(() => softmax(x, out, { sinks: arena.tensor('f32', [3]) })).toThrow('"sinks" expected shape [divisor of 4]');
  });
});
