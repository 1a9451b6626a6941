import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Arena,
  cast,
  createArena,
  createMxTensor,
  DTYPES,
  type DType,
  dequantizeInt8,
  dequantizeMx,
  fillUniform,
  type Generator,
  hasRelaxedSimd,
  type MxDType,
  type MxScaleRule,
  parseDType,
  quantizeInt8,
  quantizeMx,
  type Rounding,
  type Tensor,
} from '../src/kernels/index.ts';
import {
  FLOAT_FORMATS,
  type FloatDType,
  floatValue,
  mxExponent,
  mxRoundTrip,
  nearestCode,
} from '../src/kernels/reference/formats.ts';
import { lfsr, philox, xorwow } from '../src/kernels/reference/random.ts';

const arena = createArena();
const FLOATS = Object.keys(FLOAT_FORMATS) as FloatDType[];
const GENERATORS: readonly Generator[] = ['philox', 'xorwow', 'lfsr'];

/** Codes of a contiguous tensor, one number each. */
function codesOf(tensor: Tensor): number[] {
  const bytes = tensor.bytesView();
  const { bytes: size } = DTYPES[tensor.dtype];
  if (size === 0.5) return [...bytes].flatMap((byte) => [byte & 15, byte >> 4]);
  if (size === 2) return [...new Uint16Array(bytes.slice().buffer)];
  return [...bytes];
}

function withCodes(dtype: FloatDType, codes: readonly number[]): Tensor {
  const tensor = arena.tensor(dtype, [codes.length]);
  const { bytes: size } = DTYPES[dtype];
  if (size === 2) tensor.bytesView().set(new Uint8Array(Uint16Array.from(codes).buffer));
  else if (size === 1) tensor.bytesView().set(codes);
  else
    tensor
      .bytesView()
      .set(Array.from({ length: codes.length / 2 }, (_, i) => codes[2 * i]! | (codes[2 * i + 1]! << 4)));
  return tensor;
}

/** The codes that `values` are rounded to. */
function rounded(
  dtype: DType,
  values: ArrayLike<number>,
  { rounding = 'nearest', saturate, on = arena }: { rounding?: Rounding; saturate?: boolean; on?: Arena } = {},
): number[] {
  using source = on.tensor('f32', [values.length]).set(values);
  using out = on.tensor(dtype, [values.length]);
  cast(source, out, rounding, saturate === undefined ? {} : { saturate });
  return codesOf(out);
}

function codeCount(dtype: FloatDType): number {
  const { exponentBits, fractionBits } = FLOAT_FORMATS[dtype];
  return 2 ** (1 + exponentBits + fractionBits);
}

function allCodes(dtype: FloatDType): number[] {
  return Array.from({ length: codeCount(dtype) }, (_, i) => i);
}

const float = new Float32Array(1);
const word = new Uint32Array(float.buffer);

/** The FP32 `steps` places away from `x`. */
function neighbour(x: number, steps: number): number {
  float[0] = x;
  word[0]! += steps;
  return float[0]!;
}

const critical = new Map<FloatDType, Float32Array>();

/** What FP32 can hold around every value of a format and every middle of two: each, its neighbours, both signs. */
function criticalPoints(dtype: FloatDType): Float32Array {
  const known = critical.get(dtype);
  if (known) return known.slice();
  const values = allCodes(dtype)
    .slice(0, codeCount(dtype) / 2)
    .map((code) => floatValue(dtype, code))
    .filter(Number.isFinite);
  const last = values.at(-1)!;
  // The value after the largest, as if the exponent went on: bf16's is 2^128, which FP32 does not have.
  const beyond = last + (last - values.at(-2)!);
  const points = [...values, Math.min(beyond, 3.4028234663852886e38)].flatMap((value, i) => {
    const next = values[i + 1] ?? beyond;
    const middle = value + (next - value) / 2;
    return [value, middle, next === Infinity ? value : next]
      .filter((x) => x < 2 ** 128)
      .flatMap((x) => [x, neighbour(x, 1), x === 0 ? x : neighbour(x, -1)]);
  });
  const more = [last * 2, 1e30, Infinity].map(Math.fround);
  const result = Float32Array.from([...points, ...more].flatMap((x) => [x, -x]));
  critical.set(dtype, result);
  return result.slice();
}

function expectCodes(actual: readonly number[], expected: readonly number[], inputs: ArrayLike<number>): void {
  const wrong = actual.findIndex((code, i) => code !== expected[i]);
  if (wrong >= 0) expect.fail(`${inputs[wrong]} became code ${actual[wrong]}, expected ${expected[wrong]}`);
  expect(actual.length).toBe(expected.length);
}

describe.each(FLOATS)('%s', (dtype) => {
  const hasOverflow = dtype !== 'f4e2m1';

  test('every code widens to the value of its fields, in vectors and in tails', () => {
    const codes = allCodes(dtype);
    using tensor = withCodes(dtype, codes);
    const expected = codes.map((code) => floatValue(dtype, code));
    expect([...tensor.toFloat32()]).toEqual(expected);
    const few = dtype === 'f4e2m1' ? 2 : 1;
    const wide = arena.tensor('f32', [few]);
    for (let i = 0; i < codes.length; i += codes.length > 256 ? 26 : few) {
      cast(tensor.slice(i, i + few), wide);
      expect([...wide.toFloat32()]).toEqual(expected.slice(i, i + few));
    }
  });

  test('codes widen in runs of every length as they do one by one', () => {
    const few = dtype === 'f4e2m1' ? 2 : 1;
    const codes = Array.from({ length: 70 }, (_, i) => (i * 41 + 7) % codeCount(dtype));
    using tensor = withCodes(dtype, codes);
    const expected = codes.map((code) => floatValue(dtype, code));
    for (let length = few; length <= 66; length += few) {
      using wide = arena.tensor('f32', [length]);
      cast(tensor.slice(4, 4 + length), wide);
      expect([...wide.toFloat32()]).toEqual(expected.slice(4, 4 + length));
    }
  });

  test('every code comes back from FP32, NaN as the canonical one', () => {
    const codes = allCodes(dtype);
    const values = codes.map((code) => floatValue(dtype, code));
    const expected = codes.map((code, i) => (Number.isNaN(values[i]) ? FLOAT_FORMATS[dtype].nan : code));
    expectCodes(rounded(dtype, values), expected, values);
  });

  test('rounds to nearest even around every value and every middle, saturating or not', () => {
    const inputs = criticalPoints(dtype);
    for (const saturate of hasOverflow ? [true, false] : [true]) {
      const expected = Array.from(inputs, (x) => nearestCode(dtype, x, saturate));
      expectCodes(rounded(dtype, inputs, { saturate }), expected, inputs);
    }
  });

  test('rounds any bits of FP32 as the reference does, whatever the length', () => {
    const bits = fc.array(fc.integer({ min: 0, max: 2 ** 32 - 1 }), { minLength: 1, maxLength: 39 });
    fc.assert(
      fc.property(bits, fc.integer({ min: -20, max: 20 }), (patterns, exponent) => {
        // Half of them near the format's range, half anywhere, NaN with any payload among them.
        const inputs = new Float32Array(Uint32Array.from(patterns).buffer).map((x, i) =>
          i % 2 === 0 ? x : (patterns[i]! / 2 ** 31 - 1) * 2 ** exponent,
        );
        const even = inputs.subarray(0, inputs.length - (dtype === 'f4e2m1' ? inputs.length % 2 : 0));
        const expected = Array.from(even, (x) => nearestCode(dtype, x, true));
        expectCodes(rounded(dtype, even, { saturate: true }), expected, even);
      }),
    );
  });

  test('is monotone: a larger number never gets a smaller value', () => {
    const inputs = criticalPoints(dtype).sort();
    const values = rounded(dtype, inputs).map((code) => floatValue(dtype, code));
    const kept = values.filter((value) => !Number.isNaN(value));
    expect(kept.every((value, i) => i === 0 || value >= kept[i - 1]!)).toBe(true);
  });

  test('the table of formats has its largest value and its unit roundoff', () => {
    const finite = allCodes(dtype)
      .map((code) => floatValue(dtype, code))
      .filter(Number.isFinite);
    expect(DTYPES[dtype].max).toBe(Math.max(...finite.slice(0, finite.length / 2)));
    expect(DTYPES[dtype].unitRoundoff).toBe(2 ** -(FLOAT_FORMATS[dtype].fractionBits + 1));
  });

  test('stochastic rounding keeps values, and takes others to one of their two neighbours', () => {
    const values = allCodes(dtype)
      .map((code) => floatValue(dtype, code))
      .filter(Number.isFinite);
    const codes = rounded(dtype, values, { rounding: { seed: 1, stream: 2 } });
    expectCodes(codes, rounded(dtype, values), values);
    const inputs = criticalPoints(dtype).filter((x) => Math.abs(x) <= DTYPES[dtype].max);
    const even = inputs.subarray(0, inputs.length - (inputs.length % 2));
    const results = rounded(dtype, even, { rounding: { seed: 3, stream: 4 } });
    results.forEach((code, i) => {
      const x = Math.abs(even[i]!);
      const sign = codeCount(dtype) / 2;
      const value = floatValue(dtype, code % sign);
      const other = floatValue(dtype, (code % sign) + (value > x ? -1 : 1));
      const isBetween = value === x || Number.isNaN(other) || (value > x ? other <= x : other >= x);
      const isSigned = code >= sign === (even[i]! < 0 || Object.is(even[i], -0));
      if (!isBetween || !isSigned) expect.fail(`${even[i]} became code ${code}`);
    });
  });

  test.each(GENERATORS)('stochastic rounding by %s goes up in proportion to the distance', (generator) => {
    // Between two normals and between two subnormals, at eight distances. With up-counts of n = 4096 trials,
    // chi2 = sum (ups - n p)^2 / (n p (1 - p)) over 16 cases has mean 16, deviation 5.7; 56 is 7 deviations above.
    const n = 4096;
    const subnormal = floatValue(dtype, 1);
    let chi2 = 0;
    for (const [low, step] of [
      [1, 2 ** -FLOAT_FORMATS[dtype].fractionBits],
      [0, subnormal],
    ] as const) {
      for (let eighth = 0.5; eighth < 8; eighth++) {
        const p = eighth / 8;
        const codes = rounded(dtype, new Float32Array(n).fill(low + p * step), {
          rounding: { seed: 11 + 2 * eighth, stream: 1, generator },
        });
        const ups = codes.filter((code) => floatValue(dtype, code) > low).length;
        chi2 += (ups - n * p) ** 2 / (n * p * (1 - p));
      }
    }
    expect(chi2).toBeLessThan(56);
    expect(chi2).toBeGreaterThan(0.5);
  });
});

describe('overflow and special values', () => {
  const special = [NaN, -NaN, Infinity, -Infinity, 0, -0, 2 ** -149, 1e30];

  test.each<[FloatDType, readonly number[]]>([
    ['bf16', [0x7fc0, 0x7fc0, 0x7f80, 0xff80, 0, 0x8000, 0, 0x714a]],
    ['f16', [0x7e00, 0x7e00, 0x7c00, 0xfc00, 0, 0x8000, 0, 0x7c00]],
    ['f8e4m3', [0x7c, 0x7c, 0x78, 0xf8, 0, 0x80, 0, 0x78]],
    ['f8e4m3fn', [0x7f, 0x7f, 0x7e, 0xfe, 0, 0x80, 0, 0x7e]],
    ['f8e5m2', [0x7e, 0x7e, 0x7c, 0xfc, 0, 0x80, 0, 0x7c]],
    ['f8e3m4', [0x78, 0x78, 0x70, 0xf0, 0, 0x80, 0, 0x70]],
    ['f4e2m1', [0x7, 0x7, 0x7, 0xf, 0, 0x8, 0, 0x7]],
  ])('%s has the codes of its definition', (dtype, codes) => {
    expect(rounded(dtype, special)).toEqual(codes);
    expect(rounded(dtype, special, { rounding: { seed: 1, stream: 1 } })).toEqual(codes);
  });

  test('f8e4m3fn told not to saturate overflows to NaN, from 464 on', () => {
    // 464 is the middle of 448 and 480, the value that code 0x7f would have; the tie goes to the even code 0x7e.
    expect(rounded('f8e4m3fn', [448, 464, 465, Infinity, -1e9], { saturate: false })).toEqual([
      0x7e, 0x7e, 0x7f, 0x7f, 0xff,
    ]);
  });

  test('a saturating cast takes infinities along', () => {
    expect(rounded('f16', [65519, 65520, Infinity, -Infinity], { saturate: true })).toEqual([
      0x7bff, 0x7bff, 0x7bff, 0xfbff,
    ]);
    expect(rounded('f16', [65519, 65520])).toEqual([0x7bff, 0x7c00]);
    expect(rounded('f8e4m3', [247, 248, 1e9], { saturate: true })).toEqual([0x77, 0x77, 0x77]);
    expect(rounded('f8e4m3', [247, 248, 1e9])).toEqual([0x77, 0x78, 0x78]);
  });

  test('formats without infinity and NaN can not be told to overflow', () => {
    expect(() => rounded('i8', [1], { saturate: false })).toThrow('"saturate" expected true for i8');
    expect(() => rounded('f4e2m1', [1, 1], { saturate: false })).toThrow('"saturate" expected true for f4e2m1');
  });
});

describe('integers', () => {
  test('i8 rounds ties to even and saturates; NaN becomes 0', () => {
    const inputs = [
      0.5,
      1.5,
      2.5,
      -0.5,
      -1.5,
      126.5,
      127.5,
      1e9,
      -127.5,
      -128.5,
      -129,
      -Infinity,
      Infinity,
      NaN,
      -0.49,
    ];
    const expected = [0, 2, 2, 0, -2, 126, 127, 127, -128, -128, -128, -128, 127, 0, 0];
    expect([...arena.tensor('i8', [15]).set(inputs).toFloat32()]).toEqual(expected.map((x) => x + 0));
  });

  test('every i8 code widens and comes back', () => {
    const values = Array.from({ length: 256 }, (_, i) => i - 128);
    expect([...arena.tensor('i8', [256]).set(values).toFloat32()]).toEqual(values);
  });

  test('i32 rounds ties to even and saturates', () => {
    const tensor = arena.tensor('i32', [7]).set([2.5, -3.5, 1e7 + 1, 3e9, -3e9, NaN, -0.5]);
    expect([...new Int32Array(tensor.bytesView().slice().buffer)]).toEqual([
      2, -4, 10000001, 2147483647, -2147483648, 0, 0,
    ]);
  });

  test.each(['i8', 'i32'] as const)('stochastic rounding to %s is unbiased on both sides of zero', (dtype) => {
    const n = 1 << 14;
    for (const x of [2.25, -2.25, 0.1, -0.75]) {
      using source = arena.tensor('f32', [n]).set(new Float32Array(n).fill(x));
      using out = arena.tensor(dtype, [n]);
      cast(source, out, { seed: 5, stream: 6 });
      const values = out.toFloat32();
      expect(new Set(values)).toEqual(new Set([Math.trunc(x) + 0, Math.trunc(x) + Math.sign(x)]));
      const p = Math.abs(x - Math.trunc(x));
      const mean = values.reduce((total, value) => total + value, 0) / n;
      // Six standard deviations of the mean of n coins.
      expect(Math.abs(mean - x)).toBeLessThan(6 * Math.sqrt((p * (1 - p)) / n));
    }
  });
});

describe('casts', () => {
  test('between two short formats round once', () => {
    // 1 + 2^-8 + 2^-11 is above the middle of two bf16 and would be below it after a first rounding to f8.
    using source = arena.tensor('f16', [3]).set([1.0625, 240, -0.3]);
    using out = arena.tensor('f8e4m3', [3]);
    cast(source, out);
    expect(codesOf(out)).toEqual([
      0x38,
      0x77,
      nearestCode('f8e4m3', floatValue('f16', nearestCode('f16', -0.3, false)), false),
    ]);
    using eight = arena.tensor('f8e5m2', [3]);
    cast(out, eight);
    // 240 = 1.875 * 2^7: the tie of 224 and 256 goes to the even fraction.
    expect([...eight.toFloat32()]).toEqual([1, 256, -0.3125]);
  });

  test('of equal dtypes copy the bits, NaN payloads included', () => {
    using source = withCodes('f8e5m2', [0x7d, 0xff, 1]);
    using out = arena.tensor('f8e5m2', [3]);
    cast(source, out);
    expect(codesOf(out)).toEqual([0x7d, 0xff, 1]);
  });

  test('to e8m0 are refused, from e8m0 give powers of two', () => {
    const scales = arena.tensor('e8m0', [256]);
    expect(() => scales.set(new Float32Array(256))).toThrow('"set" expected a dtype that FP32 is rounded to, got e8m0');
    expect(() => cast(arena.tensor('f32', [256]), scales)).toThrow('"out" expected a dtype');
    scales.bytesView().set(Array.from({ length: 256 }, (_, i) => i));
    expect([...scales.toFloat32()]).toEqual(Array.from({ length: 256 }, (_, i) => (i === 255 ? NaN : 2 ** (i - 127))));
  });

  test('write nothing outside their output and read what lies in a view', () => {
    const dtypes = [...FLOATS, 'i8', 'i32'] as const;
    const roundings = ['nearest', ...GENERATORS] as const;
    fc.assert(
      fc.property(
        fc.constantFrom(...dtypes),
        fc.constantFrom(...roundings),
        fc.integer({ min: 0, max: 40 }),
        fc.integer({ min: 0, max: 9 }),
        (dtype, name, half, skip) => {
          const n = dtype === 'f4e2m1' ? 2 * half : half;
          const begin = dtype === 'f4e2m1' ? 2 * skip : skip;
          const rounding: Rounding = name === 'nearest' ? name : { seed: 1, stream: 2, generator: name };
          using source = arena.tensor('f32', [n]).set(Array.from({ length: n }, (_, i) => i - 3.3));
          using frame = arena.tensor(dtype, [begin + n + 16]);
          using whole = arena.tensor(dtype, [n]);
          using wide = arena.tensor('f32', [n + 8]).set(new Float32Array(n + 8).fill(-7));
          frame.bytesView().fill(0xa5);
          const view = frame.slice(begin, begin + n);
          cast(source, view, rounding);
          cast(source, whole, rounding);
          expect(codesOf(view)).toEqual(codesOf(whole));
          const bytes = frame.bytesView();
          const from = begin * DTYPES[dtype].bytes;
          expect(bytes.every((byte, i) => byte === 0xa5 || (i >= from && i < from + view.bytes))).toBe(true);
          cast(view, wide.slice(4, 4 + n));
          expect([...wide.toFloat32()].filter((_, i) => i < 4 || i >= 4 + n)).toEqual(new Array(8).fill(-7));
        },
      ),
      { numRuns: 300 },
    );
  });

  test('fill any format with the rounded numbers of the FP32 stream', () => {
    using wide = arena.tensor('f32', [5, 18]);
    fillUniform(wide, { seed: 2, stream: 3, scale: 4, columns: 100, row: 2, column: 7 });
    for (const dtype of [...FLOATS, 'i8'] as const) {
      using short = arena.tensor(dtype, [5, 18]);
      fillUniform(short, { seed: 2, stream: 3, scale: 4, columns: 100, row: 2, column: 7 });
      expect(codesOf(short)).toEqual(rounded(dtype, wide.toFloat32()));
    }
  });

  test('parse the names that users and NKI write, among the formats that fit', () => {
    expect(parseDType('dtype', 'BFloat16')).toBe('bf16');
    expect(parseDType('dtype', 'float8_e4m3fn', ['f8e4m3fn', 'bf16'])).toBe('f8e4m3fn');
    expect(() => parseDType('dtype', 'fp8', Object.keys(DTYPES) as DType[])).toThrow('"dtype" expected one of f32');
    expect(() => parseDType('dtype', 'int8')).toThrow('expected one of f32, bf16, got "int8"');
  });
});

describe('f4e2m1 tensors', () => {
  test('hold two codes in a byte, the first in the low half', () => {
    const tensor = arena.tensor('f4e2m1', [1, 6]).set([0, 0.5, 1, -6, 4, -0]);
    expect([...tensor.bytesView()]).toEqual([0x10, 0xf2, 0x86]);
    expect(tensor.bytes).toBe(3);
    expect([...tensor.columns(2, 4).toFloat32()]).toEqual([1, -6]);
  });

  test('have rows of whole bytes, and so do their views', () => {
    expect(() => arena.tensor('f4e2m1', [2, 3])).toThrow('"shape" expected rows of whole bytes');
    const tensor = arena.tensor('f4e2m1', [2, 4]);
    expect(() => tensor.transpose()).toThrow('whole bytes');
    expect(() => tensor.slice(1, 3)).toThrow('whole bytes');
    expect(() => tensor.slice(0, 3)).toThrow('whole bytes');
  });
});

describe('generators of random words', () => {
  /** The state that a stream seeds: word j of generator g, from the Philox stream; the register's last is odd. */
  function seeded(seed: number, stream: number, generators: number, words: number, register: number): Uint32Array[] {
    const streamWord = (w: number) => philox([Math.floor(w / 4), 0, stream, 0], [seed, 0])[w % 4]!;
    return Array.from({ length: generators }, (_, g) =>
      Uint32Array.from({ length: words }, (_, j) => (streamWord(j * generators + g) | (j === register ? 1 : 0)) >>> 0),
    );
  }

  /** Element i goes up if and only if the low half of its random word is at least one half. */
  function ups(n: number, generator: Generator): boolean[] {
    return rounded('bf16', new Float32Array(n).fill(1 + 2 ** -8), {
      rounding: { seed: 9, stream: 4, generator },
    }).map((code) => code === 0x3f81);
  }

  const n = 10_000; // three runs of 4096, the last one short

  test('philox gives element i word i of its stream', () => {
    const expected = Array.from(
      { length: n },
      (_, i) => (philox([i >> 2, 0, 4, 0], [9, 0])[i % 4]! & 0xffff) >= 0x8000,
    );
    expect(ups(n, 'philox')).toEqual(expected);
  });

  test('xorwow deals the elements to 512 generators with six words of state', () => {
    const states = seeded(9, 4, 512, 6, 4);
    const expected = Array.from({ length: n }, (_, i) => (xorwow(states[i % 512]!) & 0xffff) >= 0x8000);
    expect(ups(n, 'xorwow')).toEqual(expected);
  });

  test('lfsr deals the elements to 128 shift registers, 32 steps for each word', () => {
    const states = seeded(9, 4, 128, 1, 0);
    const expected = Array.from({ length: n }, (_, i) => {
      const state = states[i % 128]!;
      state[0] = lfsr(state[0]!);
      return (state[0]! & 0xffff) >= 0x8000;
    });
    expect(ups(n, 'lfsr')).toEqual(expected);
  });

  test('xorwow reproduces the start of the sequence that its paper seeds', () => {
    // x = 123456789, y = 362436069, z = 521288629, w = 88675123, v = 5783321, d = 6615241, one step by hand:
    // t = x ^ (x >> 2) = 0x075bcd15 ^ 0x01d6f345 = 0x068d3e50;  t ^ (t << 1) = 0x0b9742f0
    // v ^ (v << 4) = 0x00583f19 ^ 0x0583f190 = 0x05dbce89;  v' = 0x0e4c8c79, d' = 6977678 = 0x006a788e
    const state = Uint32Array.of(123456789, 362436069, 521288629, 88675123, 5783321, 6615241);
    expect(xorwow(state)).toBe(0x0e4c8c79 + 0x006a788e);
  });

  test.each(GENERATORS)('%s repeats for the same seed and stream, and only then', (generator) => {
    const values = Float32Array.from({ length: 999 }, (_, i) => 1 + i / 7777);
    const run = (seed: number, stream: number) => rounded('f8e4m3', values, { rounding: { seed, stream, generator } });
    expect(run(1, 1)).toEqual(run(1, 1));
    expect(run(1, 2)).not.toEqual(run(1, 1));
    expect(run(2, 1)).not.toEqual(run(1, 1));
  });

  test('refuse unknown names and seeds out of range', () => {
    const bad = (rounding: object) => () => rounded('bf16', [1], { rounding: rounding as Rounding });
    expect(bad({ seed: 1, stream: 1, generator: 'mt' })).toThrow('"generator" expected one of philox, xorwow, lfsr');
    expect(bad({ seed: -1, stream: 1 })).toThrow('"seed" expected integer');
    expect(bad({ seed: 1, stream: 2 ** 32 })).toThrow('"stream" expected integer');
  });
});

describe('MX', () => {
  /** One row of 32: the values given, then zeros. */
  function block(...values: number[]): Float32Array {
    const row = new Float32Array(32);
    row.set(values);
    return row;
  }

  function quantized(dtype: MxDType, rule: MxScaleRule, row: Float32Array) {
    const mx = createMxTensor(arena, dtype, [1, 32], 1);
    quantizeMx(arena.tensor('f32', [1, 32]).set(row), mx, { rule });
    const back = arena.tensor('f32', [1, 32]);
    dequantizeMx(mx, back);
    return { scale: mx.scales.bytesView()[0]!, codes: codesOf(mx.elements), values: [...back.toFloat32()] };
  }

  test('known answers in f8e4m3fn: the rule since NKI 0.5 leaves room, the one before clips', () => {
    // Largest 1000: floor(log2) = 9. nki: 2^(9 - 7) = 4, code 129; 1000 / 4 = 250 -> 256 (step 16 from 128: 250 is
    // nearer to 256), code 0x78. Before: 2^(9 - 8) = 2, code 128; 1000 / 2 = 500 saturates at 448, code 0x7e.
    const row = block(1000, -3, 0.01);
    // -3 / 4 = -0.75, code 0xb4; 0.01 / 4 = 0.0025 = 1.28 * 2^-9: the smallest subnormal, code 1.
    const now = quantized('f8e4m3fn', 'nki', row);
    expect(now.scale).toBe(129);
    expect(now.codes.slice(0, 4)).toEqual([0x78, 0xb4, 0x01, 0]);
    expect(now.values.slice(0, 4)).toEqual([1024, -3, 2 ** -7, 0]);
    // -3 / 2 = -1.5, code 0xbc; 0.01 / 2 = 0.005 = 2.56 * 2^-9, three times the smallest, code 3.
    for (const rule of ['nki-before-0.5', 'ocp'] as const) {
      const before = quantized('f8e4m3fn', rule, row);
      expect(before.scale).toBe(128);
      expect(before.codes.slice(0, 4)).toEqual([0x7e, 0xbc, 0x03, 0]);
      expect(before.values.slice(0, 3)).toEqual([896, -3, 3 * 2 ** -8]);
    }
  });

  test('known answers in f8e5m2 and f4e2m1', () => {
    // f8e5m2, largest 7.9: floor(log2) = 2. nki: 2^(2 - 14), code 115; 7.9 * 2^12 = 32358 -> 32768. ocp: 2^(2 - 15), code
    // 114; 7.9 * 2^13 = 64717 is beyond 57344 + 4096: saturates instead of infinity, 57344 * 2^-13 = 7.
    expect(quantized('f8e5m2', 'nki', block(7.9))).toMatchObject({ scale: 115, values: [...block(8)] });
    expect(quantized('f8e5m2', 'ocp', block(7.9))).toMatchObject({ scale: 114, values: [...block(7)] });
    // f4e2m1, largest 5: floor(log2) = 2. ocp: 2^(2 - 2) = 1; 5 is the tie of 4 and 6, to the even code of 4.
    // nki: 2^(2 - 1) = 2; 5 / 2 = 2.5 is the tie of 2 and 3, to 2: 4. 0.6 / 2 = 0.3 -> 0.5: 1.
    expect(quantized('f4e2m1', 'ocp', block(5, 0.6, -7))).toMatchObject({
      scale: 127,
      values: [...block(4, 0.5, -6)],
    });
    expect(quantized('f4e2m1', 'nki', block(5, 0.6, -7))).toMatchObject({ scale: 128, values: [...block(4, 1, -8)] });
  });

  test('a block of zeros has the scale 2^-127, and so has one that is too small for a scale', () => {
    for (const dtype of ['f8e4m3fn', 'f8e5m2', 'f4e2m1'] as const) {
      expect(quantized(dtype, 'nki', block())).toMatchObject({ scale: 0, values: [...block()] });
      expect(quantized(dtype, 'ocp', block(2 ** -149)).scale).toBe(0);
    }
    // 2^-127 * 2^7: the smallest that uses its scale fully under nki.
    expect(quantized('f8e4m3fn', 'nki', block(2 ** -120))).toMatchObject({ scale: 0, values: [...block(2 ** -120)] });
  });

  test('the largest numbers do not overflow the scale', () => {
    const largest = 3.4028234663852886e38;
    // floor(log2) = 127: nki 2^120, code 247; the element rounds up to 256 * 2^120 = 2^128, beyond FP32.
    expect(quantized('f8e4m3fn', 'nki', block(largest))).toMatchObject({ scale: 247, values: [...block(Infinity)] });
    // f4e2m1: 2^126, code 253; 3.99 rounds up to 4.
    expect(quantized('f4e2m1', 'nki', block(largest)).scale).toBe(253);
    expect(quantized('f8e4m3fn', 'ocp', block(largest))).toMatchObject({
      scale: 246,
      values: [...block(448 * 2 ** 119)],
    });
  });

  test('an infinity or a NaN makes its block NaN and no other', () => {
    for (const bad of [NaN, Infinity, -Infinity]) {
      for (const axis of [0, 1] as const) {
        const values = new Float32Array(64 * 64).fill(3);
        values[40 * 64 + 5] = bad;
        const mx = createMxTensor(arena, 'f8e4m3fn', [64, 64], axis);
        quantizeMx(arena.tensor('f32', [64, 64]).set(values), mx);
        expect([...mx.scales.bytesView()].filter((code) => code === 0xff).length).toBe(1);
        const back = arena.tensor('f32', [64, 64]);
        dequantizeMx(mx, back);
        const isBad = (i: number) =>
          axis === 0 ? i % 64 === 5 && i >= 32 * 64 : Math.floor(i / 64) === 40 && i % 64 < 32;
        back.toFloat32().forEach((value, i) => {
          if (!Object.is(value, isBad(i) ? NaN : 3)) expect.fail(`element ${i} is ${value}`);
        });
      }
    }
  });

  test.each(['f8e4m3fn', 'f8e5m2', 'f4e2m1'] as const)(
    '%s equals its reference along both axes, from any source',
    (dtype) => {
      for (const source of ['f32', 'bf16', 'f16'] as const) {
        for (const [rows, cols] of [
          [32, 2],
          [64, 96],
          [96, 32],
          [32, 1058],
        ] as const) {
          for (const axis of [0, 1] as const) {
            if ((axis === 0 ? rows : cols) % 32 !== 0) continue;
            using x = arena.tensor(source, [rows, cols]);
            fillUniform(x, { seed: 1, stream: rows + cols, scale: 100 });
            const values = x.toFloat32();
            const mx = createMxTensor(arena, dtype, [rows, cols], axis);
            quantizeMx(x, mx);
            using back = arena.tensor('f32', [rows, cols]);
            dequantizeMx(mx, back);
            const actual = back.toFloat32();
            const k = { f8e4m3fn: 7, f8e5m2: 14, f4e2m1: 1 }[dtype];
            const stride = axis === 0 ? cols : 1;
            for (let start = 0; start < values.length; start++) {
              const inBlock = axis === 0 ? Math.floor(start / cols) % 32 : (start % cols) % 32;
              if (inBlock !== 0) continue;
              const members = Array.from({ length: 32 }, (_, i) => start + i * stride);
              const input = members.map((i) => values[i]!);
              expect(members.map((i) => actual[i]!)).toEqual(mxRoundTrip(dtype, input, mxExponent(input, k)));
            }
            mx.elements.dispose();
            mx.scales.dispose();
          }
        }
      }
    },
  );

  test('dequantises into bf16 with one rounding', () => {
    const mx = createMxTensor(arena, 'f8e4m3fn', [2, 32], 1);
    quantizeMx(arena.tensor('f32', [2, 32]).set(Float32Array.from({ length: 64 }, (_, i) => i)), mx);
    const wide = arena.tensor('f32', [2, 32]);
    const short = arena.tensor('bf16', [2, 32]);
    dequantizeMx(mx, wide);
    dequantizeMx(mx, short);
    expect([...short.toFloat32()]).toEqual([...wide.toFloat32()]);
  });

  test('names what is wrong', () => {
    expect(() => createMxTensor(arena, 'f8e5m2', [4, 48], 1)).toThrow(
      '"shape[1]" expected a multiple of 32 along the scaled axis, got 48',
    );
    expect(() => createMxTensor(arena, 'f8e5m2', [48, 4], 0)).toThrow('"shape[0]" expected a multiple of 32');
    const mx = createMxTensor(arena, 'f8e5m2', [4, 64], 1);
    expect(() => quantizeMx(arena.tensor('f32', [64, 4]), mx)).toThrow('"x" expected shape [4,64], got [64,4]');
    expect(() => quantizeMx(arena.tensor('i8', [4, 64]), mx)).toThrow('"x" expected dtype f32 or bf16 or f16, got i8');
    expect(() => quantizeMx(arena.tensor('f32', [4, 64]), { ...mx, axis: 0 })).toThrow(
      '"shape[0]" expected a multiple',
    );
    const elements = arena.tensor('f8e4m3', [4, 64]);
    expect(() => quantizeMx(arena.tensor('f32', [4, 64]), { ...mx, elements })).toThrow(
      '"out.elements" expected dtype f8e4m3fn or f8e5m2 or f4e2m1, got f8e4m3',
    );
    const rule = 'mean' as MxScaleRule;
    expect(() => quantizeMx(arena.tensor('f32', [4, 64]), mx, { rule })).toThrow('"rule" expected one of nki');
  });
});

describe('int8', () => {
  function int8(rows: number, cols: number, scales: number) {
    return { elements: arena.tensor('i8', [rows, cols]), scales: arena.tensor('f32', [scales]) };
  }

  test('known answers: a row is scaled so that its largest magnitude is 127', () => {
    const q = int8(2, 4, 2);
    quantizeInt8(arena.tensor('f32', [2, 4]).set([127, -63.5, 0.5, 1.5, -2.54, 1.27, 0, 0.01]), q);
    // Row 0 has scale 1: ties of 63.5, 0.5 and 1.5 go to even. Row 1 has scale 0.02: 63.5 in FP32, 0.5 in FP32.
    expect([...q.elements.toFloat32()].slice(0, 5)).toEqual([127, -64, 0, 2, -127]);
    expect([...q.scales.toFloat32()]).toEqual([1, Math.fround(Math.fround(2.54) / 127)]);
  });

  test('one scale serves the whole tensor if there is room for one', () => {
    const q = int8(2, 3, 1);
    quantizeInt8(arena.tensor('bf16', [2, 3]).set([254, 2, 4, -6, 8, 100]), q);
    expect([...q.elements.toFloat32()]).toEqual([127, 1, 2, -3, 4, 50]);
    const back = arena.tensor('f32', [2, 3]);
    dequantizeInt8(q, back);
    expect([...back.toFloat32()]).toEqual([254, 2, 4, -6, 8, 100]);
  });

  test('a row of zeros comes back as zeros, one with a NaN or an infinity as NaN', () => {
    const q = int8(4, 5, 4);
    quantizeInt8(
      arena.tensor('f32', [4, 5]).set([0, 0, 0, 0, -0, 1, NaN, 2, 3, 4, Infinity, 1, 2, 3, 4, 1, 2, 3, 4, 127]),
      q,
    );
    const back = arena.tensor('f32', [4, 5]);
    dequantizeInt8(q, back);
    const values = [...back.toFloat32()];
    expect(q.scales.toFloat32()[0]).toBe(2 ** -126);
    expect(values.slice(0, 5)).toEqual([0, 0, 0, 0, 0]);
    expect(values.slice(5, 15)).toEqual(new Array(10).fill(NaN));
    expect(values.slice(15)).toEqual([1, 2, 3, 4, 127]);
  });

  test('no element is off by more than half a step', () => {
    fc.assert(
      fc.property(
        fc.array(fc.float({ noNaN: true, min: -1000, max: 1000 }), { minLength: 1, maxLength: 70 }),
        (row) => {
          const q = int8(1, row.length, 1);
          using x = arena.tensor('f32', [1, row.length]).set(row);
          using back = arena.tensor('f32', [1, row.length]);
          quantizeInt8(x, q);
          dequantizeInt8(q, back);
          const step = q.scales.toFloat32()[0]!;
          // 1e-5 of the step: three FP32 roundings of numbers up to 127 steps.
          back.toFloat32().forEach((value, i) => {
            expect(Math.abs(value - Math.fround(row[i]!))).toBeLessThanOrEqual(step * (0.5 + 127 * 3 * 2 ** -24));
          });
          q.elements.dispose();
          q.scales.dispose();
        },
      ),
    );
  });

  test('names what is wrong', () => {
    const q = int8(4, 5, 3);
    expect(() => quantizeInt8(arena.tensor('f32', [4, 5]), q)).toThrow('"out.scales" expected 1 or 4 elements, got 3');
    expect(() => quantizeInt8(arena.tensor('f32', [5, 4]), int8(4, 5, 4))).toThrow('"x" expected shape [4,5]');
    const floats = { elements: arena.tensor('f32', [4, 5]), scales: arena.tensor('f32', [4]) };
    expect(() => dequantizeInt8(floats, arena.tensor('f32', [4, 5]))).toThrow(
      '"x.elements" expected dtype i8, got f32',
    );
  });
});

describe('the two builds of the kernels', () => {
  test.skipIf(!hasRelaxedSimd())('convert to the same bits', () => {
    const plain = createArena({ deterministic: true });
    const relaxed = createArena();
    expect([plain.build, relaxed.build]).toEqual(['simd', 'relaxed']);
    for (const dtype of [...FLOATS, 'i8'] as const) {
      const inputs = dtype === 'i8' ? criticalPoints('f8e5m2') : criticalPoints(dtype);
      for (const rounding of [
        'nearest',
        ...GENERATORS.map((generator) => ({ seed: 1, stream: 2, generator })),
      ] as const) {
        expectCodes(
          rounded(dtype, inputs, { rounding, on: relaxed }),
          rounded(dtype, inputs, { rounding, on: plain }),
          inputs,
        );
      }
    }
    const bytes = [plain, relaxed].map((on) => {
      const x = on.tensor('f32', [64, 64]);
      fillUniform(x, { seed: 1, stream: 1, scale: 8 });
      const mx = createMxTensor(on, 'f4e2m1', [64, 64], 0);
      quantizeMx(x, mx);
      const back = on.tensor('bf16', [64, 64]);
      dequantizeMx(mx, back, { seed: 3, stream: 3 });
      return [...mx.elements.bytesView(), ...mx.scales.bytesView(), ...back.bytesView()];
    });
    expect(bytes[1]).toEqual(bytes[0]);
  });
});
