/**
 * The numeric executor against references in double precision, instruction by instruction, and against hand arithmetic.
 */
import { describe, expect, test } from 'vitest';
import {
  type AluOperator,
  block,
  createArena,
  createMxTensor,
  type DType,
  fillUniform,
  findChip,
  HbmView,
  Index,
  matmul,
  type ProgramBuilder,
  quantizeMx,
  type RunProgramOptions,
  runProgram,
  type Tensor,
  tileProgram,
} from '../src/index.ts';

const arena = createArena();
const core = (chip: 'trn1' | 'trn2' | 'trn3') => findChip(chip).core!;

function random(dtype: DType, shape: readonly number[], stream: number, scale = 2): Tensor {
  const tensor = arena.tensor(dtype, shape);
  fillUniform(tensor.reshape([1, tensor.length]), { seed: 5, stream, scale });
  return tensor;
}

/** Nearest even in `dtype`, by the kernels, which have tests of their own. */
function rounded(dtype: DType, values: ArrayLike<number>): Float32Array {
  using tensor = arena.tensor(dtype, [values.length + (values.length % 2)]);
  tensor.set(Array.from({ length: tensor.length }, (_, i) => values[i] ?? 0));
  return tensor.toFloat32().slice(0, values.length);
}

/** Loads inputs [P, F] to SBUF, lets `write` compute, stores what it returns; one tile each, no loops. */
function onTile(
  inputs: Readonly<Record<string, Tensor>>,
  outputs: Readonly<Record<string, readonly [DType, number, number]>>,
  write: (nc: ProgramBuilder, tiles: Record<string, ReturnType<ProgramBuilder['sbuf']>>) => void,
  { chip = 'trn3', ...options }: RunProgramOptions & { readonly chip?: 'trn1' | 'trn2' | 'trn3' } = {},
): Record<string, Float32Array> {
  const program = tileProgram('test', core(chip), (nc) => {
    const tiles: Record<string, ReturnType<ProgramBuilder['sbuf']>> = {};
    for (const [name, { dtype, shape }] of Object.entries(inputs)) {
      const [p, f] = shape as [number, number];
      tiles[name] = nc.sbuf(name, dtype, p, f);
      nc.dmaCopy(tiles[name]!, block(nc.input(name, dtype, [p, f]), [0, p], [0, f]));
    }
    for (const [name, [dtype, p, f]] of Object.entries(outputs)) tiles[name] = nc.sbuf(name, dtype, p, f);
    write(nc, tiles);
    for (const [name, [dtype, p, f]] of Object.entries(outputs)) {
      nc.dmaCopy(block(nc.output(name, dtype, [p, f]), [0, p], [0, f]), tiles[name]!);
    }
  });
  const results = runProgram(program, inputs, { arena, ...options });
  return Object.fromEntries(
    Object.entries(results).map(([name, tensor]) => {
      const values = tensor.toFloat32();
      tensor.dispose();
      return [name, values];
    }),
  );
}

const ALU: Readonly<Record<AluOperator, (a: number, b: number) => number>> = {
  add: (a, b) => a + b,
  subtract: (a, b) => a - b,
  multiply: (a, b) => a * b,
  divide: (a, b) => a / b,
  max: (a, b) => Math.max(a, b),
  min: (a, b) => Math.min(a, b),
  is_gt: (a, b) => Number(a > b),
  is_ge: (a, b) => Number(a >= b),
  is_equal: (a, b) => Number(a === b),
};

describe('element by element', () => {
  test.each(Object.keys(ALU) as AluOperator[])('tensor_tensor %s is rounded once', (alu) => {
    const [a, b] = [random('bf16', [37, 19], 1), random('f32', [37, 19], 2)];
    const { out } = onTile({ a, b }, { out: ['f16', 37, 19] }, (nc, t) => nc.tensorTensor(t.out!, t.a!, alu, t.b!));
    const y = b.toFloat32();
    expect(out).toEqual(
      rounded(
        'f16',
        a.toFloat32().map((x, i) => ALU[alu](x, y[i]!)),
      ),
    );
  });

  test.each(Object.keys(ALU) as AluOperator[])('tensor_scalar %s takes a number or a column, on either side', (alu) => {
    const [x, column] = [random('f32', [5, 7], 1), random('f32', [5, 1], 2)];
    const { left, right, both } = onTile(
      { x, column },
      { left: ['f32', 5, 7], right: ['f32', 5, 7], both: ['f32', 5, 7] },
      (nc, t) => {
        nc.tensorScalar(t.left!, t.x!, alu, t.column!, { reverse0: true });
        nc.tensorScalar(t.right!, t.x!, alu, 0.75);
        nc.tensorScalar(t.both!, t.x!, 'add', 3, { alu1: alu, operand1: t.column! });
      },
    );
    const values = x.toFloat32();
    const scalars = column.toFloat32();
    const scalarOf = (i: number) => scalars[Math.floor(i / 7)]!;
    expect(left).toEqual(values.map((value, i) => ALU[alu](scalarOf(i), value)));
    expect(right).toEqual(values.map((value) => ALU[alu](value, 0.75)));
    expect(both).toEqual(values.map((value, i) => ALU[alu](Math.fround(value + 3), scalarOf(i))));
  });

  const erf = (x: number): number => {
    let [sum, term] = [0, x];
    for (let n = 0; n < 60; n++) {
      sum += term / (2 * n + 1);
      term *= -(x * x) / (n + 1);
    }
    return (2 / Math.sqrt(Math.PI)) * sum;
  };
  test.each([
    ['copy', (x: number) => x],
    ['exp', Math.exp],
    ['gelu', (x: number) => (x * (1 + erf(x / Math.SQRT2))) / 2],
    ['gelu_tanh', (x: number) => (x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))) / 2],
    ['log', Math.log],
    ['reciprocal', (x: number) => 1 / x],
    ['relu', (x: number) => Math.max(x, 0)],
    ['rsqrt', (x: number) => 1 / Math.sqrt(x)],
    ['sigmoid', (x: number) => 1 / (1 + Math.exp(-x))],
    ['silu', (x: number) => x / (1 + Math.exp(-x))],
    ['softplus', (x: number) => Math.log1p(Math.exp(x))],
    ['sqrt', Math.sqrt],
    ['square', (x: number) => x * x],
    ['tanh', Math.tanh],
  ] as const)('activation %s of x scale + bias, with the sum of each row', (fn, reference) => {
    const isPositive = fn === 'log' || fn === 'rsqrt' || fn === 'sqrt';
    const [x, scale, bias] = [random('f32', [33, 21], 1), random('f32', [33, 1], 2), random('f32', [33, 1], 3)];
    const { out, sum } = onTile({ x, scale, bias }, { out: ['f32', 33, 21], sum: ['f32', 33, 1] }, (nc, t) => {
      if (isPositive) {
        nc.activation(t.x!, 'square', t.x!);
        nc.activation(t.scale!, 'square', t.scale!);
        nc.tensorScalar(t.bias!, t.bias!, 'max', 0.5);
      }
      nc.activation(t.out!, fn, t.x!, { scale: t.scale!, bias: t.bias!, reduced: t.sum! });
    });
    const positive = (value: number, least: number) => (isPositive ? Math.fround(Math.max(least, value)) : value);
    const square = (value: number) => (isPositive ? Math.fround(value * value) : value);
    const [xs, scales, biases] = [x.toFloat32(), scale.toFloat32(), bias.toFloat32()];
    const sums = new Float64Array(33);
    out!.forEach((value, i) => {
      const p = Math.floor(i / 21);
      const argument = Math.fround(Math.fround(square(xs[i]!) * square(scales[p]!)) + positive(biases[p]!, 0.5));
      const expected = reference(argument);
      expect(Math.abs(value - expected)).toBeLessThanOrEqual(
        8 * 2 ** -23 * Math.abs(expected) + 2e-7 * Math.abs(argument),
      );
      sums[p]! += value;
    });
    sum!.forEach((value, p) => {
      const row = out!.subarray(p * 21, (p + 1) * 21);
      const magnitude = row.reduce((total, y) => total + Math.abs(y), 0);
      expect(Math.abs(value - sums[p]!)).toBeLessThanOrEqual(21 * 2 ** -24 * magnitude);
    });
  });

  test('softplus and sigmoid keep their tails', () => {
    const x = arena.tensor('f32', [1, 4]).set([-80, -30, 30, 88]);
    const { out, sigmoid } = onTile({ x }, { out: ['f32', 1, 4], sigmoid: ['f32', 1, 4] }, (nc, t) => {
      nc.activation(t.out!, 'softplus', t.x!);
      nc.activation(t.sigmoid!, 'sigmoid', t.x!);
    });
    const expected = (last: readonly number[]) => [Math.exp(-80), Math.exp(-30), ...last];
    for (const [got, values] of [
      [out, expected([30, 88])],
      [sigmoid, expected([1, 1])],
    ] as const) {
      values.forEach((value, i) => {
        expect(Math.abs(got![i]! - value)).toBeLessThanOrEqual(4 * 2 ** -23 * value);
      });
    }
  });

  test('select takes a where the predicate is not 0', () => {
    const predicate = arena.tensor('f32', [1, 4]).set([1, 0, -2, 0]);
    const [a, b] = [arena.tensor('f32', [1, 4]).set([1, 2, 3, 4]), arena.tensor('f32', [1, 4]).set([5, 6, 7, 8])];
    const { out, filled } = onTile({ predicate, a, b }, { out: ['f32', 1, 4], filled: ['f32', 1, 4] }, (nc, t) => {
      nc.select(t.out!, t.predicate!, t.a!, t.b!);
      nc.select(t.filled!, t.predicate!, t.a!, -Infinity);
    });
    expect([...out!]).toEqual([1, 6, 3, 8]);
    expect([...filled!]).toEqual([1, -Infinity, 3, -Infinity]);
  });

  test('affine_select keeps a triangle, iota counts, in integers beyond 2^24', () => {
    const x = arena.tensor('f32', [3, 4]).set(new Float32Array(12).fill(1));
    const { out, count, large } = onTile(
      { x },
      { out: ['f32', 3, 4], count: ['f32', 3, 4], large: ['i32', 3, 4] },
      (nc, t) => {
        nc.affineSelect(t.out!, t.x!, { partitionStep: 1, freeStep: -1, fill: -9 });
        nc.iota(t.count!, { base: new Index(10), partitionStep: -4, freeStep: 2 });
        nc.iota(t.large!, { base: new Index(2 ** 24), freeStep: 1 });
      },
    );
    expect([...out!]).toEqual([1, -9, -9, -9, 1, 1, -9, -9, 1, 1, 1, -9]);
    for (const [constant, partitionStep, freeStep] of [
      [-3, 1, 2],
      [5, -4, 0],
      [2, 0, -3],
      [0, 1, 1],
      [-9, 0, 0],
    ] as const) {
      const { kept } = onTile({ x }, { kept: ['f32', 3, 4] }, (nc, t) =>
        nc.affineSelect(t.kept!, t.x!, { base: new Index(constant), partitionStep, freeStep, fill: -9 }),
      );
      const keeps = (i: number) => constant + Math.floor(i / 4) * partitionStep + (i % 4) * freeStep >= 0;
      expect([...kept!]).toEqual(Array.from({ length: 12 }, (_, i) => (keeps(i) ? 1 : -9)));
    }
    expect([...count!]).toEqual([10, 12, 14, 16, 6, 8, 10, 12, 2, 4, 6, 8]);
    // toFloat32 rounds 2^24 + 1 and 2^24 + 3 to even.
    expect([...large!.slice(0, 4)]).toEqual([2 ** 24, 2 ** 24, 2 ** 24 + 2, 2 ** 24 + 4]);
  });

  test('exponential subtracts the maximum and sums', () => {
    const [x, max] = [random('bf16', [40, 30], 1), random('f32', [40, 1], 2)];
    const { out, sum } = onTile({ x, max }, { out: ['f32', 40, 30], sum: ['f32', 40, 1] }, (nc, t) =>
      nc.exponential(t.out!, t.x!, t.max!, t.sum!),
    );
    const [xs, maxima] = [x.toFloat32(), max.toFloat32()];
    out!.forEach((value, i) => {
      const expected = Math.exp(Math.fround(xs[i]! - maxima[Math.floor(i / 30)]!));
      expect(Math.abs(value - expected)).toBeLessThanOrEqual(3 * 2 ** -23 * expected);
    });
    sum!.forEach((value, p) => {
      const expected = out!.subarray(30 * p, 30 * p + 30).reduce((total, y) => total + y, 0);
      expect(value / expected).toBeCloseTo(1, 5);
    });
  });
});

describe('along the rows', () => {
  test('tensor_reduce adds, finds extremes, and may negate', () => {
    const x = random('bf16', [64, 50], 3);
    const { sum, max, min } = onTile(
      { x },
      { sum: ['f32', 64, 1], max: ['bf16', 64, 1], min: ['f32', 64, 1] },
      (nc, t) => {
        nc.tensorReduce(t.sum!, 'add', t.x!);
        nc.tensorReduce(t.max!, 'max', t.x!, { negate: true });
        nc.tensorReduce(t.min!, 'min', t.x!);
      },
    );
    const values = x.toFloat32();
    for (let p = 0; p < 64; p++) {
      const row = values.subarray(50 * p, 50 * p + 50);
      expect(sum![p]).toBeCloseTo(
        row.reduce((total, y) => total + y, 0),
        4,
      );
      expect(max![p]).toBe(-Math.max(...row));
      expect(min![p]).toBe(Math.min(...row));
    }
  });

  test('scan is a recurrence, with a number or a column to start from', () => {
    const [a, b, start] = [random('f32', [9, 23], 1, 1), random('f32', [9, 23], 2), random('f32', [9, 1], 3)];
    const { out, running } = onTile({ a, b, start }, { out: ['f32', 9, 23], running: ['f32', 9, 23] }, (nc, t) => {
      nc.scan(t.out!, t.a!, t.b!, { initial: t.start! });
      nc.scan(t.running!, t.a!, t.b!, { alu0: 'max', alu1: 'min', initial: -1 });
    });
    const [as, bs, starts] = [a.toFloat32(), b.toFloat32(), start.toFloat32()];
    for (let p = 0; p < 9; p++) {
      let [state, extreme] = [starts[p]!, -1];
      for (let i = 23 * p; i < 23 * (p + 1); i++) {
        state = Math.fround(Math.fround(state * as[i]!) + bs[i]!);
        extreme = Math.min(Math.max(extreme, as[i]!), bs[i]!);
        expect(out![i]).toBe(state);
        expect(running![i]).toBe(extreme);
      }
    }
  });

  test.each([1, 2, 7, 96])('bn_stats of %i elements and bn_aggr give mean and variance', (length) => {
    const x = random('f32', [16, 2 * length], 4);
    const { statistics, out } = onTile({ x }, { statistics: ['f32', 16, 12], out: ['f32', 16, 2] }, (nc, t) => {
      nc.bnStats(t.statistics!.columns(0, 6), t.x!.columns(0, length));
      nc.bnStats(t.statistics!.columns(6, 6), t.x!.columns(length, length));
      nc.bnAggregate(t.out!, t.statistics!);
    });
    const values = x.toFloat32();
    for (let p = 0; p < 16; p++) {
      const row = [...values.subarray(2 * length * p, 2 * length * (p + 1))];
      const mean = row.reduce((sum, y) => sum + y, 0) / row.length;
      const variance = row.reduce((sum, y) => sum + (y - mean) ** 2, 0) / row.length;
      expect(statistics![12 * p]).toBe(Math.ceil(length / 2));
      expect(statistics![12 * p + 3]).toBe(Math.floor(length / 2));
      expect(out![2 * p]).toBeCloseTo(mean, 5);
      expect(out![2 * p + 1]).toBeCloseTo(variance, 5);
    }
  });
});

/** out = stationary^T moving on one tile; operands [K, M] and [K, N]. */
function onTensorE(
  chip: 'trn1' | 'trn2' | 'trn3',
  a: Tensor,
  b: Tensor,
  options: RunProgramOptions & { readonly mode?: 'normal' | 'double-row'; readonly psum?: DType } = {},
): Float32Array {
  const { mode = 'normal', psum = 'f32' } = options;
  const packing = mode === 'normal' ? 1 : 2;
  const [m, n] = [a.shape[1]! / packing, b.shape[1]! / packing];
  const { out } = onTile(
    { a, b },
    { out: [psum, m, n] },
    (nc, t) => {
      const sum = nc.psum('sum', m, n, { dtype: psum });
      nc.matmul(sum, t.a!, t.b!, { mode });
      nc.copy(t.out!, sum);
    },
    { chip, ...options },
  );
  return out!;
}

describe('TensorE', () => {
  test.each([
    ['bf16', 'bf16'],
    ['f16', 'bf16'],
    ['f32', 'f32'],
    ['f8e4m3', 'f8e5m2'],
    ['f8e3m4', 'bf16'],
  ] as const)('nc_matmul of %s and %s is the kernel’s product, for odd sizes', (left, right) => {
    const [a, b] = [random(left, [77, 45], 1), random(right, [77, 131], 2)];
    using expected = arena.tensor('f32', [45, 131]);
    matmul(a.transpose(), b, expected);
    expect(onTensorE('trn2', a, b)).toEqual(expected.toFloat32());
  });

  test('accumulation goes on in PSUM over a loop, as one chain of sums', () => {
    const [a, b] = [random('bf16', [300, 40], 1), random('bf16', [300, 70], 2)];
    const program = tileProgram('chain', core('trn1'), (nc) => {
      const [x, y] = [nc.input('a', 'bf16', [300, 40]), nc.input('b', 'bf16', [300, 70])];
      const out = nc.output('out', 'f32', [40, 70]);
      const sum = nc.psum('sum', 40, 70);
      const [s, m] = [nc.sbuf('s', 'bf16', 128, 40, { slots: 2 }), nc.sbuf('m', 'bf16', 128, 70, { slots: 2 })];
      const result = nc.sbuf('result', 'f32', 40, 70);
      nc.tiles(300, 128, (start, rows, i) => {
        nc.dmaCopy(s.slot(i).rows(0, rows), block(x, [start, rows], [0, 40]));
        nc.dmaCopy(m.slot(i).rows(0, rows), block(y, [start, rows], [0, 70]));
        nc.matmul(sum, s.slot(i).rows(0, rows), m.slot(i).rows(0, rows), { accumulate: [i] });
      });
      nc.copy(result, sum);
      nc.dmaCopy(block(out, [0, 40], [0, 70]), result);
    });
    using expected = arena.tensor('f32', [40, 70]);
    matmul(a.transpose(), b, expected);
    const { out } = runProgram(program, { a, b });
    expect(out!.toFloat32()).toEqual(expected.toFloat32());
  });

  test('double row contracts over pairs of adjacent elements', () => {
    const [a, b] = [random('f8e4m3', [64, 2 * 10], 1), random('f8e4m3', [64, 2 * 14], 2)];
    const [as, bs] = [a.toFloat32(), b.toFloat32()];
    const out = onTensorE('trn2', a, b, { mode: 'double-row' });
    out.forEach((value, i) => {
      const [m, n] = [Math.floor(i / 14), i % 14];
      let sum = 0;
      for (let p = 0; p < 64; p++) {
        for (let q = 0; q < 2; q++) sum += as[p * 20 + 2 * m + q]! * bs[p * 28 + 2 * n + q]!;
      }
      expect(value).toBeCloseTo(sum, 3);
    });
  });

  test('BF16 in PSUM is added in FP32 and rounded at every instruction, on v4', () => {
    const [a, b] = [random('bf16', [32, 8], 1), random('bf16', [32, 9], 2)];
    const { out } = onTile({ a, b }, { out: ['bf16', 8, 9] }, (nc, t) => {
      const sum = nc.psum('sum', 8, 9, { dtype: 'bf16' });
      nc.matmul(sum, t.a!, t.b!);
      nc.matmul(sum, t.a!, t.b!, { accumulate: true });
      nc.copy(t.out!, sum);
    });
    using product = arena.tensor('f32', [8, 9]);
    matmul(a.transpose(), b, product);
    const once = rounded('bf16', product.toFloat32());
    const wide = arena.tensor('f32', [8, 9]).set(once);
    matmul(a.transpose(), b, wide, { accumulate: true });
    expect(out).toEqual(rounded('bf16', wide.toFloat32()));
  });

  test('quantize_mx and the MX matmul are those of the kernels', () => {
    // K = 4 x 32: element 4 p + q of the contraction lies in partition p, packed place q.
    const [a, b] = [random('bf16', [32, 4 * 6], 1), random('bf16', [32, 4 * 10], 2, 30)];
    const { out, codes, ea } = onTile(
      { a, b },
      {
        out: ['f32', 6, 10],
        ea: ['f8e5m2', 32, 24],
        eb: ['f8e4m3fn', 32, 40],
        codes: ['e8m0', 4, 6],
        sb: ['e8m0', 4, 10],
      },
      (nc, t) => {
        nc.quantizeMx(t.ea!, t.codes!, t.a!);
        nc.quantizeMx(t.eb!, t.sb!, t.b!);
        const sum = nc.psum('sum', 6, 10);
        nc.matmul(sum, t.ea!, t.eb!, { mode: 'mx', scales: [t.codes!, t.sb!] });
        nc.copy(t.out!, sum);
      },
    );
    const contraction = (x: Tensor, columns: number) => {
      const values = x.toFloat32();
      const matrix = arena.tensor('f32', [128, columns]);
      return matrix.set(
        Array.from({ length: 128 * columns }, (_, i) => {
          const [k, c] = [Math.floor(i / columns), i % columns];
          return values[(k >> 2) * 4 * columns + 4 * c + (k & 3)]!;
        }),
      );
    };
    const mxA = createMxTensor(arena, 'f8e5m2', [128, 6], 0);
    const mxB = createMxTensor(arena, 'f8e4m3fn', [128, 10], 0);
    quantizeMx(contraction(a, 6), mxA);
    quantizeMx(contraction(b, 10), mxB);
    const scales = mxA.scales.toFloat32();
    expect(codes).toEqual(scales);
    const elements = mxA.elements.toFloat32();
    expect(ea![4 * 5 + 3]).toBe(elements[3 * 6 + 5]);
    const [elementsB, scalesB] = [mxB.elements.toFloat32(), mxB.scales.toFloat32()];
    out!.forEach((value, i) => {
      const [m, n] = [Math.floor(i / 10), i % 10];
      let sum = 0;
      for (let k = 0; k < 128; k++) {
        const x = elements[k * 6 + m]! * scales[Math.floor(k / 32) * 6 + m]!;
        sum += x * elementsB[k * 10 + n]! * scalesB[Math.floor(k / 32) * 10 + n]!;
      }
      expect(Math.abs(value - sum)).toBeLessThan(1e-3 * 128);
      expect(value).toBeCloseTo(sum, 2);
    });
  });

  test('MXFP4 operands come packed from HBM', () => {
    const [a, b] = [random('f4e2m1', [8, 4 * 4], 1, 6), random('f4e2m1', [8, 4 * 8], 2, 6)];
    const ones = (columns: number) => {
      const codes = arena.tensor('e8m0', [1, columns]);
      codes.bytesView().fill(128); // 2^1
      return codes;
    };
    const [sa, sb] = [ones(4), ones(8)];
    const { out } = onTile({ a, b, sa, sb }, { out: ['f32', 4, 8] }, (nc, t) => {
      const sum = nc.psum('sum', 4, 8);
      nc.matmul(sum, t.a!, t.b!, { mode: 'mx', scales: [t.sa!, t.sb!] });
      nc.copy(t.out!, sum);
    });
    const [as, bs] = [a.toFloat32(), b.toFloat32()];
    const expected = Array.from({ length: 32 }, (_, i) => {
      let sum = 0;
      for (let p = 0; p < 8; p++) {
        for (let q = 0; q < 4; q++) sum += 4 * as[p * 16 + 4 * (i >> 3) + q]! * bs[p * 32 + 4 * (i & 7) + q]!;
      }
      return sum;
    });
    expect([...out!]).toEqual(expected);
  });

  test('transposes move bits: TensorE, VectorE and DMA', () => {
    const x = random('bf16', [32, 20], 1);
    const { tensorE, vectorE, dma } = onTile(
      { x },
      { tensorE: ['bf16', 20, 32], vectorE: ['bf16', 20, 32], dma: ['bf16', 20, 32] },
      (nc, t) => {
        const sum = nc.psum('sum', 20, 32, { dtype: 'bf16' });
        nc.transpose(sum, t.x!);
        nc.copy(t.tensorE!, sum);
        nc.transpose(t.vectorE!, t.x!, 'VectorE');
        nc.dmaTranspose(t.dma!, t.x!);
      },
    );
    const values = x.toFloat32();
    const expected = Float32Array.from({ length: 640 }, (_, i) => values[(i % 32) * 20 + Math.floor(i / 32)]!);
    expect(tensorE).toEqual(expected);
    expect(vectorE).toEqual(expected);
    expect(dma).toEqual(expected);
  });
});

describe('access patterns', () => {
  test('strides, broadcasts and nests address the elements that they say', () => {
    const x = random('f16', [3, 24], 1);
    const { even, wide, swapped } = onTile(
      { x },
      { even: ['f32', 3, 12], wide: ['bf16', 3, 24], swapped: ['f16', 3, 24] },
      (nc, t) => {
        nc.copy(t.even!, t.x!.access(0, [[2, 12]]));
        nc.copy(
          t.wide!.access(0, [[1, 24]]),
          t.x!.access(3, [
            [0, 4],
            [3, 6],
          ]),
        );
        nc.copy(
          t.swapped!.access(0, [
            [1, 4],
            [4, 6],
          ]),
          t.x!,
        );
      },
    );
    const at = (p: number, i: number) => x.toFloat32()[24 * p + i]!;
    for (let p = 0; p < 3; p++) {
      for (let i = 0; i < 12; i++) expect(even![12 * p + i]).toBe(at(p, 2 * i));
      for (let i = 0; i < 24; i++) expect(wide![24 * p + i]).toBe(rounded('bf16', [at(p, 3 + 3 * (i % 6))])[0]);
      for (let i = 0; i < 24; i++) expect(swapped![24 * p + (i % 6) * 4 + Math.floor(i / 6)]).toBe(at(p, i));
    }
  });

  test.each(['f32', 'bf16', 'f16', 'f8e4m3fn', 'i8', 'i32'] as const)(
    'DMA moves %s between any two layouts',
    (dtype) => {
      const x = random(dtype, [10, 12], 1, 50);
      const program = tileProgram('layouts', core('trn3'), (nc) => {
        const [from, to] = [nc.input('x', dtype, [10, 12]), nc.output('out', dtype, [10, 12])];
        const [rows, flat] = [nc.sbuf('rows', dtype, 5, 24), nc.sbuf('flat', dtype, 1, 120)];
        nc.dmaCopy(rows, new HbmView(from, new Index(0), 24, 5, [[1, 24]]));
        nc.dmaCopy(flat, rows);
        // Columns of the output from the flat tile, one after another.
        nc.loop(12, (c) => {
          nc.dmaCopy(new HbmView(to, c, 12, 10, [[1, 1]]), flat.access(c, [[12, 10]]));
        });
      });
      const { out } = runProgram(program, { x });
      expect(out!.bytesView()).toEqual(x.bytesView());
    },
  );

  test('a row of HBM is broadcast over partitions with a step of 0', () => {
    const x = random('f32', [1, 6], 1);
    const program = tileProgram('broadcast', core('trn2'), (nc) => {
      const tile = nc.sbuf('tile', 'f32', 4, 6);
      nc.dmaCopy(tile, new HbmView(nc.input('x', 'f32', [1, 6]), new Index(0), 0, 4, [[1, 6]]));
      nc.dmaCopy(block(nc.output('out', 'f32', [4, 6]), [0, 4], [0, 6]), tile);
    });
    const values = x.toFloat32();
    expect(runProgram(program, { x }).out!.toFloat32()).toEqual(
      Float32Array.of(...values, ...values, ...values, ...values),
    );
  });

  test('an accumulating DMA adds to what is there', () => {
    const [x, y] = [random('bf16', [4, 6], 1), random('f32', [4, 6], 2)];
    const { x: ignored, ...rest } = onTile({ x, y }, { out: ['bf16', 4, 6] }, (nc, t) => {
      nc.dmaCopy(t.out!, t.x!);
      nc.dmaCopy(t.out!, t.y!, { accumulate: true });
    });
    expect(ignored).toBeUndefined();
    const ys = y.toFloat32();
    expect(rest.out).toEqual(
      rounded(
        'bf16',
        x.toFloat32().map((value, i) => value + ys[i]!),
      ),
    );
  });

  test('an instruction may overwrite its own operand, shifted too', () => {
    const x = random('f32', [2, 8], 1);
    const { out, moved } = onTile({ x }, { out: ['f32', 2, 8], moved: ['f32', 2, 8] }, (nc, t) => {
      nc.tensorScalar(t.x!.columns(1, 7), t.x!.columns(0, 7), 'multiply', 2);
      nc.copy(t.out!.columns(1, 7), t.x!.columns(1, 7));
      nc.copy(t.out!.columns(0, 1), t.x!.columns(0, 1));
      nc.copy(t.x!.columns(1, 7), t.x!.columns(0, 7));
      nc.copy(t.moved!, t.x!);
    });
    const values = x.toFloat32();
    expect([...moved!.slice(0, 8)]).toEqual([values[0], ...out!.slice(0, 7)]);
    expect([...out!.slice(0, 8)]).toEqual([values[0], ...values.slice(0, 7).map((value) => 2 * value)]);
  });
});

describe('rounding and storage', () => {
  const formats: readonly DType[] = ['bf16', 'f16', 'f8e4m3', 'f8e4m3fn', 'f8e5m2', 'f8e3m4', 'i8', 'i32'];
  test.each(formats)('%s is rounded to nearest even when it is written', (dtype) => {
    const x = random('f32', [16, 64], 7, 12);
    const { out } = onTile({ x }, { out: [dtype, 16, 64] }, (nc, t) => nc.tensorScalar(t.out!, t.x!, 'multiply', 1.5));
    expect(out).toEqual(
      rounded(
        dtype,
        x.toFloat32().map((value) => value * 1.5),
      ),
    );
  });

  test('stochastic rounding is seeded, differs between results, and is right on average', () => {
    const x = random('f32', [1, 4], 7);
    x.set([1 + 2 ** -10, 1 + 2 ** -10, 1 + 2 ** -10, 1 + 2 ** -10]);
    const run = (seed: number) =>
      onTile(
        { x },
        { out: ['bf16', 1, 4096] },
        (nc, t) => nc.loop(1024, (i) => nc.copy(t.out!.columns(i.times(4), 4), t.x!)),
        { rounding: { seed, stream: 1 } },
      ).out!;
    expect(run(1)).toEqual(run(1));
    expect(run(1)).not.toEqual(run(2));
    // Up with probability 2^-10 / 2^-7: 512 of 4096, standard deviation 21.
    expect(Math.abs(run(1).filter((value) => value > 1).length - 512)).toBeLessThan(110);
  });

  test('precise holds FP32 in every tile and output: what is left is the error of the algorithm', () => {
    const x = random('f32', [4, 8], 1);
    const program = tileProgram('precise', core('trn3'), (nc) => {
      const tile = nc.sbuf('tile', 'f8e4m3fn', 4, 8);
      nc.dmaCopy(tile, block(nc.input('x', 'f32', [4, 8]), [0, 4], [0, 8]));
      nc.tensorScalar(tile, tile, 'multiply', 3);
      nc.dmaCopy(block(nc.output('out', 'bf16', [4, 8]), [0, 4], [0, 8]), tile);
    });
    expect(runProgram(program, { x }, { precise: true }).out!.toFloat32()).toEqual(
      x.toFloat32().map((value) => value * 3),
    );
    expect(runProgram(program, { x }).out!.dtype).toBe('bf16');
  });

  test('outputs that the program leaves out are NaN, integers a fixed pattern', () => {
    const program = tileProgram('empty', core('trn2'), (nc) => {
      nc.output('out', 'bf16', [2, 3]);
      nc.output('integers', 'i32', [2]);
    });
    const { out, integers } = runProgram(program, {}, { arena });
    expect(out!.toFloat32().every(Number.isNaN)).toBe(true);
    expect(integers!.bytesView()[0]).toBe(0xa5);
  });

  test('gives back all memory that it took, after an error too', () => {
    const own = createArena();
    const x = own.tensor('bf16', [128, 64]);
    const program = (reads: boolean) =>
      tileProgram('memory', core('trn2'), (nc) => {
        const tile = nc.sbuf('tile', 'bf16', 128, 64, { slots: 2 });
        nc.dmaCopy(tile.slot(0), block(nc.input('x', 'bf16', [128, 64]), [0, 128], [0, 64]));
        nc.tensorScalar(tile.slot(0), tile.slot(reads ? 1 : 0), 'add', 1);
        nc.dmaCopy(block(nc.output('out', 'bf16', [128, 64]), [0, 128], [0, 64]), tile.slot(0));
      });
    runProgram(program(false), { x }).out!.dispose();
    const used = own.usedBytes;
    runProgram(program(false), { x }).out!.dispose();
    expect(() => runProgram(program(true), { x })).toThrow('reads tile "tile"[1] that nothing has written');
    expect(own.usedBytes).toBe(used);
  });
});

describe('what nothing has written', () => {
  const refuse = (write: (nc: ProgramBuilder) => void, message: string) => {
    const program = tileProgram('bad', core('trn2'), write);
    expect(() => runProgram(program, {}, { arena })).toThrow(message);
  };

  test('a tile read before it is written is an error that names the instruction and the slot', () => {
    refuse((nc) => {
      const a = nc.sbuf('a', 'bf16', 128, 8);
      nc.copy(a, a);
    }, 'bad: instruction 0 (tensor_copy): reads tile "a"[0] that nothing has written');
  });

  test('half a tile is not a tile', () => {
    refuse((nc) => {
      const a = nc.sbuf('a', 'bf16', 128, 8);
      nc.memset(a.columns(0, 4), 0);
      nc.copy(a.columns(0, 3), a.columns(1, 3));
      nc.copy(a.columns(0, 2), a.columns(3, 2));
    }, 'instruction 2 (tensor_copy): reads tile "a"[0]');
  });

  test('blocks that together cover a tile do', () => {
    const program = tileProgram('blocks', core('trn2'), (nc) => {
      const a = nc.sbuf('a', 'f32', 64, 12);
      nc.loop(4, (i) => nc.memset(a.columns(i.times(3), 3).rows(0, 32), 1));
      nc.memset(a.access(0, [[2, 6]]).rows(32, 32), 2);
      nc.memset(a.access(1, [[2, 6]]).rows(32, 32), 3);
      nc.dmaCopy(block(nc.output('out', 'f32', [64, 12]), [0, 64], [0, 12]), a);
    });
    const out = runProgram(program, {}, { arena }).out!.toFloat32();
    expect([...out.slice(0, 12)]).toEqual(Array(12).fill(1));
    expect([...out.slice(32 * 12, 33 * 12)]).toEqual([2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3]);
  });

  test('every second element is not every element', () => {
    refuse((nc) => {
      const a = nc.sbuf('a', 'f32', 1, 12);
      nc.memset(a.access(0, [[2, 6]]), 2);
      nc.copy(a.access(0, [[4, 3]]), a.access(0, [[2, 3]]));
      nc.copy(a.columns(0, 2), a.columns(0, 2));
    }, 'instruction 2 (tensor_copy)');
  });

  test('PSUM accumulates only what is there', () => {
    refuse((nc) => {
      const [a, sum] = [nc.sbuf('a', 'bf16', 8, 8), nc.psum('sum', 8, 8)];
      nc.memset(a, 1);
      nc.matmul(sum, a, a, { accumulate: true });
    }, 'instruction 1 (nc_matmul): reads tile "sum"[0]');
  });

  test('scratch and outputs in HBM are read back only where they were written', () => {
    refuse((nc) => {
      const [a, scratch] = [nc.sbuf('a', 'f32', 4, 8), nc.scratch('s', 'f32', [4, 16])];
      nc.memset(a, 1);
      nc.dmaCopy(block(scratch, [0, 4], [0, 8]), a);
      nc.dmaCopy(a, block(scratch, [0, 4], [0, 8]));
      nc.dmaCopy(a, block(scratch, [0, 4], [4, 8]));
    }, 'instruction 3 (dma_copy): reads tensor "s"');
  });

  test('a tile is lost when another one takes its memory', () => {
    // The second round adds to what the first left in PSUM, but `other` was written there in between.
    refuse((nc) => {
      const a = nc.sbuf('a', 'f32', 4, 8);
      nc.memset(a, 1);
      nc.loop(2, (i) => {
        nc.scope(() => nc.matmul(nc.psum('sum', 8, 8), a, a, { accumulate: [i] }));
        nc.scope(() => nc.matmul(nc.psum('other', 8, 8), a, a));
      });
    }, 'instruction 1 (nc_matmul): reads tile "sum"[0]');
    const program = tileProgram('scopes', core('trn2'), (nc) => {
      const out = nc.output('out', 'f32', [2, 4, 8]);
      nc.scope(() => {
        const a = nc.sbuf('a', 'f32', 4, 8);
        nc.memset(a, 1);
        nc.dmaCopy(block(out, [0, 4], [0, 8], [0]), a);
      });
      nc.scope(() => {
        const b = nc.sbuf('b', 'f32', 4, 8);
        nc.memset(b, 2);
        nc.dmaCopy(block(out, [0, 4], [0, 8], [1]), b);
      });
    });
    const out = runProgram(program, {}, { arena }).out!.toFloat32();
    expect([out[0], out[63]]).toEqual([1, 2]);
  });
});

describe('calls', () => {
  const program = tileProgram('calls', core('trn2'), (nc) => {
    const tile = nc.sbuf('tile', 'bf16', 4, 6);
    nc.dmaCopy(tile, block(nc.input('x', 'bf16', [4, 6]), [0, 4], [0, 6]));
    nc.dmaCopy(block(nc.output('y', 'bf16', [4, 6]), [0, 4], [0, 6]), tile);
  });

  test('inputs are checked by name, format and shape', () => {
    const x = random('bf16', [4, 6], 1);
    expect(() => runProgram(program, {}, { arena })).toThrow('"x" expected a tensor, got undefined');
    expect(() => runProgram(program, {})).toThrow('"arena" expected an arena');
    expect(() => runProgram(program, { x, z: x })).toThrow('"inputs" expected x, got z');
    expect(() => runProgram(program, { x: random('f32', [4, 6], 1) })).toThrow('"x" expected dtype bf16, got f32');
    expect(() => runProgram(program, { x: random('bf16', [6, 4], 1) })).toThrow('of shape [4,6], got [6,4]');
    expect(() => runProgram(program, { x }, { arena: createArena() })).toThrow('"x" expected the arena');
    expect(() => runProgram(program, { x }, { maxInstructions: 1 })).toThrow('expected at most 1 instructions, got 2');
  });

  test('a program of more steps than a lifetime is refused', () => {
    const endless = tileProgram('endless', core('trn2'), (nc) => {
      const a = nc.sbuf('a', 'f32', 1, 1);
      nc.loop(1e9, () => nc.loop(1e6, () => nc.memset(a, 0)));
    });
    expect(() => runProgram(endless, {}, { arena })).toThrow('expected at most 100000000 instructions');
  });
});
