import { describe, expect, test } from 'vitest';
import {
  type Arena,
  createArena,
  createMxTensor,
  type DType,
  dequantizeMx,
  fillUniform,
  hasRelaxedSimd,
  matmul,
  matmulInt8,
  matmulMx,
  packMxWeights,
  packWeights,
  quantizeMx,
  type Tensor,
} from '../src/kernels/index.ts';
import { matmulReference } from '../src/kernels/reference/matmul.ts';
import { pick } from './fixtures/pick.ts';

const arena = createArena();
const OPERANDS = ['f32', 'bf16', 'f16', 'f8e4m3', 'f8e4m3fn', 'f8e5m2', 'f8e3m4', 'i8'] as const;

function randomTensor(dtype: DType, shape: readonly number[], stream: number, on: Arena = arena): Tensor {
  const wide = on.tensor('f32', [1, shape.reduce((total, size) => total * size, 1)]);
  fillUniform(wide, { seed: 7, stream, scale: 8 });
  const tensor = on.tensor(dtype, shape).set(wide.toFloat32());
  wide.dispose();
  return tensor;
}

/** Fails unless every element of `out` is within k + few roundings of the double-precision product. */
function expectProduct(out: Float32Array, m: number, n: number, k: number, a: Float32Array, b: Float32Array): void {
  const { value, magnitude } = matmulReference(m, n, k, a, b);
  out.forEach((y, i) => {
    const bound = (k + 4) * 2 ** -24 * magnitude[i]!;
    if (!(Math.abs(y - value[i]!) <= bound)) expect.fail(`[${i}]: got ${y}, expected ${value[i]} +- ${bound}`);
  });
}

describe('matmul', () => {
  test('takes transposed and strided views of its operands', () => {
    const a = randomTensor('f32', [9, 40], 1);
    const b = randomTensor('f32', [30, 11], 2);
    const plain = arena.tensor('f32', [9, 5]);
    const viewed = arena.tensor('f32', [9, 5]);
    const aPart = arena.tensor('f32', [9, 11]).set(pick(a.toFloat32(), 40, 0, 9, 7, 18));
    const bPart = arena.tensor('f32', [11, 5]).set(transposed(pick(b.toFloat32(), 11, 20, 25, 0, 11), 5, 11));
    matmul(aPart, bPart, plain);
    matmul(a.columns(7, 18), b.rows(20, 25).transpose(), viewed);
    expect(viewed.toFloat32()).toEqual(plain.toFloat32());
  });

  test('accumulates into f32 exactly as two calls with split k, on integers', () => {
    const values = Float32Array.from({ length: 60 * 60 }, (_, i) => (i % 17) - 8);
    const a = arena.tensor('bf16', [60, 60]).set(values);
    const once = arena.tensor('f32', [60, 60]);
    const twice = arena.tensor('f32', [60, 60]);
    matmul(a, a, once);
    matmul(a.columns(0, 23), a.rows(0, 23), twice);
    matmul(a.columns(23, 60), a.rows(23, 60), twice, { accumulate: true });
    expect(twice.toFloat32()).toEqual(once.toFloat32());
  });

  test('names the operand whose shape or dtype is wrong', () => {
    const a = arena.tensor('f32', [2, 3]);
    expect(() => matmul(a, arena.tensor('f32', [4, 5]), arena.tensor('f32', [2, 5]))).toThrow('"b" expected 3 rows');
    const square = arena.tensor('f32', [3, 3]);
    expect(() => matmul(square, arena.tensor('f32', [3, 3]), square)).toThrow(
      '"out" expected memory of its own, got that of "a"',
    );
    expect(() => matmul(arena.tensor('f32', [3, 3]), square, square)).toThrow(
      '"out" expected memory of its own, got that of "b"',
    );
    expect(() => matmul(a, arena.tensor('i32', [3, 5]), arena.tensor('f32', [2, 5]))).toThrow('"b" expected dtype f32');
    expect(() => matmul(a, arena.tensor('f32', [3, 5]), arena.tensor('f32', [5, 2]))).toThrow(
      '"out" expected shape [2,5]',
    );
    const out = arena.tensor('bf16', [2, 5]);
    expect(() => matmul(a, arena.tensor('f32', [3, 5]), out, { accumulate: true })).toThrow('"out" expected f32');
  });
});

describe('matmul of every format', () => {
  for (const dtype of OPERANDS) {
    test(`${dtype} by ${dtype}, plain and with packed weights, equals the reference at ragged sizes`, () => {
      for (const [m, n, k] of [
        [1, 1, 1],
        [1, 77, 400],
        [5, 8, 3],
        [7, 9, 385],
        [13, 33, 50],
        [121, 130, 20],
        [64, 24, 769],
      ] as const) {
        const a = randomTensor(dtype, [m, k], 1);
        const b = randomTensor(dtype, [k, n], 2);
        const out = arena.tensor('f32', [m, n]);
        matmul(a, b, out);
        const plain = out.toFloat32();
        expectProduct(plain, m, n, k, a.toFloat32(), b.toFloat32());
        const weights = packWeights(b);
        matmul(a, weights, out);
        // A row alone sums in other chains than in place.
        if (m === 1) expectProduct(out.toFloat32(), m, n, k, a.toFloat32(), b.toFloat32());
        else expect(out.toFloat32()).toEqual(plain);
        for (const owner of [a, b, out, weights]) owner.dispose();
      }
    });

    test(`${dtype} weights with f32 activations, transposed views and slices`, () => {
      const a = randomTensor('f32', [19, 60], 3);
      const b = randomTensor(dtype, [50, 70], 4);
      const out = arena.tensor('f32', [19, 33]);
      matmul(a.columns(3, 43), b.rows(7, 40).columns(11, 51).transpose(), out);
      const bValues = transposed(pick(b.toFloat32(), 70, 7, 40, 11, 51), 33, 40);
      expectProduct(out.toFloat32(), 19, 33, 40, pick(a.toFloat32(), 60, 0, 19, 3, 43), bValues);
      const aOfFormat = b.rows(7, 40).columns(11, 51).transpose();
      const turned = arena.tensor('f32', [40, 19]);
      matmul(aOfFormat, a.columns(3, 36).transpose(), turned);
      expectProduct(turned.toFloat32(), 40, 19, 33, bValues, transposed(pick(a.toFloat32(), 60, 0, 19, 3, 36), 19, 33));
    });
  }

  test('products of narrow formats are exact, so the fused and the plain build give the same bits', ({ skip }) => {
    skip(!hasRelaxedSimd(), 'this host has no relaxed SIMD');
    const plain = createArena({ deterministic: true });
    const fused = createArena();
    expect([plain.build, fused.build]).toEqual(['simd', 'relaxed']);
    for (const dtype of OPERANDS.filter((name) => name !== 'f32')) {
      const results = [plain, fused].map((on) => {
        const out = on.tensor('f32', [37, 41]);
        matmul(randomTensor(dtype, [37, 700], 1, on), randomTensor(dtype, [700, 41], 2, on), out);
        return out.toFloat32();
      });
      expect(results[1]).toEqual(results[0]);
    }
  });
});

describe('matmul options', () => {
  test('alpha, beta and bias are those of the formula', () => {
    const a = randomTensor('f32', [9, 20], 1);
    const b = randomTensor('f32', [20, 150], 2);
    const bias = randomTensor('bf16', [150], 3);
    const out = randomTensor('f32', [9, 150], 4);
    const before = out.toFloat32();
    const { value } = matmulReference(9, 150, 20, a.toFloat32(), b.toFloat32());
    const biasValues = bias.toFloat32();
    matmul(a, b, out, { alpha: 0.5, beta: -2, bias });
    out.toFloat32().forEach((y, i) => {
      expect(y).toBeCloseTo(0.5 * value[i]! - 2 * before[i]! + biasValues[i % 150]!, 3);
    });
    matmul(a, b, out, { bias, activation: 'silu' });
    out.toFloat32().forEach((y, i) => {
      const x = value[i]! + biasValues[i % 150]!;
      expect(y).toBeCloseTo(x / (1 + Math.exp(-x)), 3);
    });
    for (const alpha of [-1.5, 0, 1e6]) {
      for (const weights of [b, packWeights(b)]) {
        matmul(a, weights, out, { alpha });
        out.toFloat32().forEach((y, i) => {
          expect(Math.abs(y - alpha * value[i]!)).toBeLessThanOrEqual(1e-4 * Math.abs(alpha));
        });
      }
    }
    expect(() => matmul(a, b, out, { alpha: Number.NaN })).toThrow('"alpha" expected a finite number, got NaN');
    expect(() => matmul(a, b, out, { bias: randomTensor('f32', [149], 1) })).toThrow('"bias" expected shape [150]');
  });

  test('a batch is its matrices one by one', () => {
    const a = randomTensor('bf16', [3, 5, 7], 1);
    const b = randomTensor('bf16', [3, 7, 9], 2);
    const out = arena.tensor('f32', [3, 5, 9]);
    matmul(a, b, out);
    for (let i = 0; i < 3; i++) {
      const one = arena.tensor('f32', [5, 9]);
      matmul(a.at(i), b.at(i), one);
      expect(out.toFloat32().slice(45 * i, 45 * (i + 1))).toEqual(one.toFloat32());
    }
    expect(() => matmul(a, arena.tensor('bf16', [2, 7, 9]), out)).toThrow('"b" expected shape [3,7,9]');
  });

  test('packed weights outlive their tensor and end with dispose', () => {
    const b = randomTensor('f8e4m3fn', [10, 12], 1);
    const a = randomTensor('f32', [4, 10], 2);
    const out = arena.tensor('f32', [4, 12]);
    const values = b.toFloat32();
    const weights = packWeights(b);
    b.dispose();
    matmul(a, weights, out);
    expectProduct(out.toFloat32(), 4, 12, 10, a.toFloat32(), values);
    weights.dispose();
    expect(() => matmul(a, weights, out)).toThrow('packed weights expected to be live');
  });
});

describe('matmul of MX matrices', () => {
  for (const dtype of ['f8e4m3fn', 'f8e5m2', 'f4e2m1'] as const) {
    test(`${dtype} is the product of the dequantised matrices, by tensors and by packed weights`, () => {
      const [m, k, n] = [9, 96, 22];
      const a = createMxTensor(arena, dtype, [m, k], 1);
      const b = createMxTensor(arena, dtype, [k, n], 0);
      quantizeMx(randomTensor('f32', [m, k], 1), a);
      quantizeMx(randomTensor('f32', [k, n], 2), b);
      const [aWide, bWide] = [arena.tensor('f32', [m, k]), arena.tensor('f32', [k, n])];
      dequantizeMx(a, aWide);
      dequantizeMx(b, bWide);
      const out = arena.tensor('f32', [m, n]);
      matmulMx(a, b, out);
      const both = out.toFloat32();
      expectProduct(both, m, n, k, aWide.toFloat32(), bWide.toFloat32());
      const weights = packMxWeights(b);
      matmul(aWide, weights, out);
      expect(out.toFloat32()).toEqual(both);
      matmulMx(aWide, b, out);
      expect(out.toFloat32()).toEqual(both);
    });
  }

  test('scales along the wrong axis are an error that names the operand', () => {
    const a = createMxTensor(arena, 'f8e5m2', [32, 32], 0);
    expect(() => matmulMx(a, a, arena.tensor('f32', [32, 32]))).toThrow('"a" expected scales along axis 1, got axis 0');
  });
});

/** int8 tensors with the bytes -128 and 127 among them, their product by `matmulInt8`, and the reference's. */
function int8Products(where: Arena, m: number, n: number, k: number, turned = false) {
  const aValues = Float32Array.from({ length: m * k }, (_, i) => (i % 3 === 0 ? -128 : (i * 37) % 128));
  const bValues = Float32Array.from({ length: k * n }, (_, i) => (i % 5 === 0 ? -128 : 127 - ((i * 11) % 200)));
  const place = (values: Float32Array, rows: number, cols: number): Tensor =>
    turned
      ? where
          .tensor('i8', [cols, rows])
          .set(transposed(values, rows, cols))
          .transpose()
      : where.tensor('i8', [rows, cols]).set(values);
  const out = where.tensor('i32', [m, n]);
  matmulInt8(place(aValues, m, k), place(bValues, k, n), out);
  const actual = new Int32Array(where.memory.buffer, out.offset, m * n);
  return { actual: [...actual], expected: [...matmulReference(m, n, k, aValues, bValues).value] };
}

describe('matmulInt8', () => {
  const int8Arenas = [
    { name: 'of pairs', arena: createArena({ deterministic: true }) },
    ...(hasRelaxedSimd() ? [{ name: 'of quads, where the host has them', arena: createArena() }] : []),
  ];

  test.each(int8Arenas)('is exact at ragged sizes, for extreme values and any k: $name', ({ arena: where }) => {
    for (const [m, n, k] of [
      [1, 1, 1],
      [3, 5, 7],
      [6, 8, 2],
      [17, 33, 769],
      [125, 16, 31],
      [7, 47, 1540],
      [200, 24, 3075],
      [5, 9, 0],
    ] as const) {
      for (const turned of [false, true]) {
        const { actual, expected } = int8Products(where, m, n, k, turned);
        expect(actual).toEqual(expected);
      }
    }
  });

  test('threads share it and change nothing', () => {
    const threads = createArena({ threads: 2 });
    const { actual, expected } = int8Products(threads, 190, 1040, 70);
    expect(actual).toEqual(expected);
    threads.dispose();
  });

  test.skipIf(!hasRelaxedSimd())('quads of a host that counts bytes as signed are exact too', () => {
    // Bytes of A from 0 to 127 mean the same to every host, so the form without a bias can be tried on any.
    const where = createArena();
    const { kernels, memory } = where;
    const [m, n, k] = [13, 21, 39];
    const aValues = Float32Array.from({ length: m * k }, (_, i) => (i * 37) % 128);
    const bValues = Float32Array.from({ length: k * n }, (_, i) => 127 - ((i * 11) % 256));
    const a = where.tensor('i8', [m, k]).set(aValues);
    const b = where.tensor('i8', [k, n]).set(bValues);
    const out = where.tensor('i32', [m, n]);
    const [packedA, packedB, edge] = [4 * m * 10, 3 * 32 * 11, 32 * m].map((bytes) => where.allocate(bytes));
    kernels.packRowQuads_i8!(m, k, a.offset, k, 1, packedA!, 0);
    kernels.packColumnQuads_i8!(k, n, b.offset, n, 1, packedB!, 0);
    kernels.multiplyQuads_i8!(m, n, 10, packedA!, packedB!, out.offset, n, 0, edge!);
    const actual = [...new Int32Array(memory.buffer, out.offset, m * n)];
    expect(actual).toEqual([...matmulReference(m, n, k, aValues, bValues).value]);
  });

  test('names the operand that is wrong', () => {
    const a = arena.tensor('i8', [2, 3]);
    expect(() => matmulInt8(a, arena.tensor('i8', [4, 5]), arena.tensor('i32', [2, 5]))).toThrow('"b" expected 3 rows');
    expect(() => matmulInt8(a, arena.tensor('f32', [3, 5]), arena.tensor('i32', [2, 5]))).toThrow(
      '"b" expected dtype i8',
    );
    expect(() => matmulInt8(a, arena.tensor('i8', [3, 5]), arena.tensor('f32', [2, 5]))).toThrow(
      '"out" expected dtype i32',
    );
  });
});

function transposed(values: Float32Array, rows: number, cols: number): Float32Array {
  return Float32Array.from(values, (_, i) => values[(i % rows) * cols + Math.floor(i / rows)]!);
}

test('a row alone against bytes keeps the range of its values: products of 1e34 and of 1e-30 are right', () => {
  const [k, n] = [37, 19];
  const weights = randomTensor('i8', [k, n], 5);
  for (const size of [1e34, 1e-30]) {
    const a = arena.tensor('f32', [1, k]).set(Float32Array.from({ length: k }, (_, p) => size * (1 + (p % 5))));
    const out = arena.tensor('f32', [1, n]);
    matmul(a, packWeights(weights), out);
    const [x, w] = [a.toFloat32(), weights.toFloat32()];
    out.toFloat32().forEach((value, j) => {
      let [sum, total] = [0, 0];
      for (let p = 0; p < k; p++) {
        sum += x[p]! * w[p * n + j]!;
        total += Math.abs(x[p]! * w[p * n + j]!);
      }
      expect(Math.abs(value - sum)).toBeLessThanOrEqual(k * 2 ** -24 * total);
    });
  }
});
