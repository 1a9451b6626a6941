import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  cast,
  copy,
  createArena,
  DTYPES,
  type DType,
  fillUniform,
  kernelRegistry,
  matmul,
  sum,
  warmUp,
} from '../src/kernels/index.ts';
import { bf16Code, bf16Value } from '../src/kernels/reference/formats.ts';
import { philox } from '../src/kernels/reference/random.ts';
import { pick } from './fixtures/pick.ts';

const arena = createArena();

/** Seeded data in [-64, 64], already rounded to `dtype`, so that the reference sees what the kernel sees. */
function randomTensor(dtype: DType, shape: readonly number[], stream: number) {
  const tensor = arena.tensor(dtype, shape);
  fillUniform(tensor.reshape([1, tensor.length]), { seed: 7, stream, scale: 64 });
  return tensor;
}

describe('every kernel of the registry', () => {
  for (const row of kernelRegistry) {
    for (const dtype of row.dtypes) {
      const outDtypes = row.isInPlace || dtype === 'f32' ? (['f32'] as const) : (['f32', 'bf16'] as const);
      for (const outDtype of outDtypes) {
        if (row.name.startsWith('sum') && outDtype !== dtype) continue;
        test(`${row.name} of ${dtype} into ${outDtype} equals its reference at every edge size`, () => {
          for (const d of row.tested) {
            const operands = row
              .operands(d)
              .map((operand, i) => randomTensor(operand.dtype ?? dtype, operand.shape, i + 1));
            const out = randomTensor(outDtype, row.outShape(d), 99);
            const initial = out.toFloat32();
            const expected = row.reference(
              operands.map((operand) => operand.toFloat32()),
              d,
              initial,
            );
            row.run(operands, out, d);
            const actual = out.toFloat32();
            for (let i = 0; i < actual.length; i++) {
              const value = expected.value[i]!;
              const bound =
                row.roundings(d) * 2 ** -24 * expected.magnitude[i]! +
                (outDtype === 'f32' ? 0 : DTYPES[outDtype].unitRoundoff * Math.abs(value)) +
                1e-37;
              if (!(Math.abs(actual[i]! - value) <= bound)) {
                expect.fail(`${JSON.stringify(d)}[${i}]: got ${actual[i]}, expected ${value} +- ${bound}`);
              }
            }
            for (const tensor of [...operands, out]) tensor.dispose();
          }
        });
      }
    }
  }
});

describe('conversion between f32 and bf16', () => {
  test('every one of the 2^16 bf16 codes widens exactly and comes back', () => {
    const codes = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const tensor = arena.tensor('bf16', [65536]);
    new Uint8Array(arena.memory.buffer, tensor.offset, tensor.bytes).set(new Uint8Array(codes.buffer));
    const wide = arena.tensor('f32', [65536]);
    cast(tensor, wide);
    const values = wide.toFloat32();
    values.forEach((value, code) => {
      expect(Object.is(value, bf16Value(code)) || (Number.isNaN(value) && Number.isNaN(bf16Value(code)))).toBe(true);
    });
    const back = arena.tensor('bf16', [65536]);
    cast(wide, back);
    const result = new Uint16Array(arena.memory.buffer, back.offset, 65536);
    codes.forEach((code) => {
      if (result[code] !== (Number.isNaN(values[code]!) ? 0x7fc0 : code))
        expect.fail(`code ${code} became ${result[code]}`);
    });
  });

  test('rounds to nearest even around every code, in vectors and in tails', () => {
    // For every code: itself, one ulp of f32 above, just below half, half, just above half, and all but one ulp.
    const steps = [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff];
    const bits = Uint32Array.from(
      { length: 65536 * steps.length },
      (_, i) => ((i / steps.length) << 16) | steps[i % steps.length]!,
    );
    const inputs = new Float32Array(bits.buffer);
    const source = arena.tensor('f32', [inputs.length]);
    new Uint32Array(arena.memory.buffer, source.offset, bits.length).set(bits);
    const out = arena.tensor('bf16', [inputs.length]);
    cast(source, out);
    const vector = new Uint16Array(arena.memory.buffer, out.offset, inputs.length).slice();
    vector.forEach((code, i) => {
      if (code !== bf16Code(inputs[i]!)) expect.fail(`${bits[i]!.toString(16)} -> ${code.toString(16)}`);
    });
    // The tail loop (here: single elements) gives the same codes.
    const one = arena.tensor('bf16', [1]);
    for (let i = 0; i < inputs.length; i += 1009) {
      cast(source.slice(i, i + 1), one);
      expect(new Uint16Array(arena.memory.buffer, one.offset, 1)[0]).toBe(vector[i]);
    }
  });

  test('stochastic rounding goes up as often as the distance says, and repeats for the same seed', () => {
    const n = 1 << 16;
    for (const fraction of [0.25, 0.5, 0.9]) {
      const x = 1 + fraction * 2 ** -7;
      const source = arena.tensor('f32', [n]).set(new Float32Array(n).fill(x));
      const out = arena.tensor('bf16', [n]);
      cast(source, out, { seed: 3, stream: 1 });
      const first = out.toFloat32();
      const ups = first.filter((value) => value > 1).length;
      // 6 standard deviations of a binomial: fails by chance once in 10^9.
      expect(Math.abs(ups - n * fraction)).toBeLessThan(6 * Math.sqrt(n * fraction * (1 - fraction)));
      expect(new Set(first)).toEqual(new Set([1, 1 + 2 ** -7]));
      cast(source, out, { seed: 3, stream: 1 });
      expect(out.toFloat32()).toEqual(first);
      cast(source, out, { seed: 4, stream: 1 });
      expect(out.toFloat32()).not.toEqual(first);
      source.dispose();
      out.dispose();
    }
  });

  test('stochastic rounding keeps exact values, infinities and NaN, and treats tails as vectors', () => {
    const special = [0, -0, 1, -3.5, Infinity, -Infinity, NaN, 2 ** -133, 3.3895313892515355e38];
    const source = arena.tensor('f32', [special.length]).set(special);
    const out = arena.tensor('bf16', [special.length]);
    cast(source, out, { seed: 1, stream: 1 });
    expect([...out.toFloat32()]).toEqual(special);
    const long = randomTensor('f32', [64], 5);
    const whole = arena.tensor('bf16', [64]);
    cast(long, whole, { seed: 9, stream: 2 });
    const part = arena.tensor('bf16', [57]);
    cast(long.slice(0, 57), part, { seed: 9, stream: 2 });
    expect(part.toFloat32()).toEqual(whole.toFloat32().slice(0, 57));
  });
});

describe('the counter-based generator', () => {
  test('reproduces the known answers of Philox4x32-10', () => {
    // see: Random123, kat_vectors
    expect(philox([0, 0, 0, 0], [0, 0])).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
    expect(philox([0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff], [0xffffffff, 0xffffffff])).toEqual([
      0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd,
    ]);
  });

  test('fills a tensor with the words of its stream, scaled', () => {
    const seed = 0x12345 * 2 ** 32 + 0x89abcdef;
    const out = arena.tensor('f32', [1, 40]);
    fillUniform(out, { seed, stream: 77, scale: 2, columns: 2 ** 40, row: 5, column: 3 });
    const first = 5 * 2 ** 40 + 3;
    out.toFloat32().forEach((value, i) => {
      const word = first + i;
      const block = Math.floor(word / 4);
      const random = philox([block >>> 0, Math.floor(block / 2 ** 32), 77, 0], [0x89abcdef, 0x12345])[word % 4]!;
      expect(value).toBe(Math.fround(Math.fround(random | 0) * 2 ** -30));
    });
  });

  test('a shard of a matrix equals the same part of the whole, in f32 and bf16', () => {
    for (const dtype of ['f32', 'bf16'] as const) {
      const whole = arena.tensor(dtype, [13, 50]);
      fillUniform(whole, { seed: 5, stream: 1, scale: 1 });
      const shard = arena.tensor(dtype, [6, 23]);
      fillUniform(shard, { seed: 5, stream: 1, scale: 1, columns: 50, row: 4, column: 19 });
      expect(shard.toFloat32()).toEqual(pick(whole.toFloat32(), 50, 4, 10, 19, 42));
    }
  });

  test('has the mean and variance of a uniform distribution', () => {
    const n = 1 << 18;
    const out = arena.tensor('f32', [1, n]);
    fillUniform(out, { seed: 11, stream: 0, scale: 1 });
    const values = out.toFloat32();
    const mean = values.reduce((total, x) => total + x, 0) / n;
    const variance = values.reduce((total, x) => total + x * x, 0) / n;
    expect(Math.abs(mean)).toBeLessThan(6 * Math.sqrt(1 / 3 / n));
    expect(Math.abs(variance - 1 / 3)).toBeLessThan(6 * Math.sqrt(4 / 45 / n));
  });
});

describe('arena and tensors', () => {
  test('hands out aligned blocks that never overlap, and joins what comes back', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 200_000 }), fc.boolean()), { maxLength: 60 }),
        (steps) => {
          const own = createArena();
          const live = new Map<number, number>();
          for (const [bytes, drop] of steps) {
            const offset = own.allocate(bytes);
            expect(offset % 64).toBe(0);
            for (const [other, size] of live) expect(offset + bytes <= other || other + size <= offset).toBe(true);
            live.set(offset, bytes);
            if (drop) {
              const victim = [...live.keys()][Math.floor(live.size / 2)]!;
              own.release(victim);
              live.delete(victim);
            }
          }
          const size = own.memory.buffer.byteLength;
          for (const offset of live.keys()) own.release(offset);
          expect(own.usedBytes).toBe(0);
          own.allocate(size - createArena().allocate(1));
          expect(own.memory.buffer.byteLength).toBe(size);
        },
      ),
      { numRuns: 50 },
    );
  });

  test('a full arena is an error that says how much was asked for', () => {
    const small = createArena({ maximumBytes: 1 << 20 });
    expect(() => small.allocate(2 << 20)).toThrow(/kernel memory: expected at most 1048576 bytes/);
    expect(small.allocate(1 << 19)).toBeGreaterThan(0);
  });

  test('using a disposed tensor or a view of it is an error', () => {
    const tensor = arena.tensor('f32', [4, 4]);
    const view = tensor.rows(1, 2);
    tensor.dispose();
    tensor.dispose();
    expect(() => view.toFloat32()).toThrow('disposed');
    expect(() => tensor.slice(0, 1)).toThrow('disposed');
  });

  test('works above 2 GiB, where offsets are negative as signed integers', () => {
    const big = createArena();
    const low = big.allocate(2 ** 31);
    const a = big.tensor('bf16', [3, 5]).set(Array.from({ length: 15 }, (_, i) => i));
    const out = big.tensor('f32', [3, 3]);
    expect(a.offset).toBeGreaterThan(2 ** 31);
    matmul(a, a.transpose(), out);
    expect([...out.toFloat32()]).toEqual([30, 80, 130, 80, 255, 430, 130, 430, 730]);
    sum([out, out], out);
    expect(out.toFloat32()[0]).toBe(60);
    const moved = big.tensor('f32', [3, 3]);
    copy(out, moved);
    expect(moved.toFloat32()[8]).toBe(1460);
    big.release(low);
  });

  test('warming up runs every kernel and leaves nothing behind but working space', () => {
    const own = createArena();
    warmUp(own, { milliseconds: 0 });
    const { usedBytes } = own;
    warmUp(own, { kernels: ['matmul', 'softmax'], milliseconds: 1 });
    expect(own.usedBytes).toBe(usedBytes);
    expect(() => warmUp(own, { kernels: ['sofmax'] })).toThrow('"kernels" expected one of matmul, ');
  });

  test('views check their bounds', () => {
    const tensor = arena.tensor('f32', [4, 6]);
    expect(() => tensor.rows(2, 5)).toThrow('"end" expected integer in 0..4, got 5');
    expect(() => tensor.columns(-1, 2)).toThrow('"begin" expected integer in 0..2, got -1');
    expect(() => tensor.reshape([5, 5])).toThrow('"shape" expected 24 elements');
    expect(() => tensor.transpose().toFloat32()).toThrow('"toFloat32" expected a contiguous tensor');
    expect(() => arena.tensor('f32', [2, -1])).toThrow('"shape[1]" expected integer');
    expect(() => arena.tensor('f32', 2 as never)).toThrow('"shape" expected an array of sizes, got 2');
    expect(() => arena.tensor('float' as never, [2])).toThrow('"dtype" expected one of f32, bf16, ');
  });
});
