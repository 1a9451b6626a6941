import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Arena,
  cast,
  createArena,
  type DType,
  gatherRows,
  type ReduceOperator,
  reduce,
  scatterRows,
  sum,
  type Tensor,
  transposeBlocks,
} from '../src/kernels/index.ts';

const arena = createArena();
const OPERATORS = ['sum', 'prod', 'max', 'min'] as const;
const REDUCED = ['f32', 'bf16', 'f16', 'f8e4m3', 'f8e4m3fn', 'f8e5m2', 'f8e3m4'] as const;
const SPECIAL = [NaN, Infinity, -Infinity, 0, -0, 2 ** -149, -(2 ** -130), 2 ** -24, 3.4e38, -3.4e38, 1, -1.5];
/** Elements of foreign memory before and after each tensor under test. */
const MARGIN = 24;

/** A tensor of `values` inside a larger one whose other bytes must survive, shifted by `skew` elements. */
function framed(dtype: DType, values: ArrayLike<number>, skew = 0): { frame: Tensor; inner: Tensor } {
  const frame = arena.tensor(dtype, [values.length + 2 * MARGIN]);
  frame.bytesView().fill(0xa5);
  const inner = frame.slice(MARGIN - skew, MARGIN - skew + values.length).set(values);
  return { frame, inner };
}

function expectMarginsIntact(frame: Tensor, inner: Tensor): void {
  const bytes = frame.bytesView();
  const begin = inner.offset - frame.offset;
  bytes.forEach((byte, i) => {
    if ((i < begin || i >= begin + inner.bytes) && byte !== 0xa5)
      expect.fail(`byte ${i - begin} of the tensor written`);
  });
}

/** The fold that the kernel promises: FP32, in the order of the sources. */
function fold(operator: ReduceOperator, sources: readonly Float32Array[]): Float32Array {
  const combine = {
    sum: (a: number, b: number) => a + b,
    prod: (a: number, b: number) => a * b,
    max: Math.max,
    min: Math.min,
  }[operator];
  return sources.reduce((total, source) => total.map((x, i) => combine(x, source[i]!)));
}

/** `values` rounded once to `dtype`, to nearest even. */
function rounded(dtype: DType, values: Float32Array): Float32Array {
  const tensor = arena.tensor(dtype, [values.length]).set(values);
  const result = tensor.toFloat32();
  tensor.dispose();
  return result;
}

/** Seeded values of both signs and many binades. */
function numbers(length: number, seed: number): Float32Array {
  let state = seed + 1;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 32 - 0.5) * 2 ** ((state >>> 5) % 7);
  });
}

describe('reduce', () => {
  for (const dtype of REDUCED) {
    test(`equals the fold in FP32 with one rounding, bit for bit, from ${dtype}`, () => {
      // One and several groups of eight, each with a last group of every kind, and blocks with and without a tail.
      for (const count of [1, 2, 3, 8, 9, 10, 17, 18, 26]) {
        for (const n of [0, 1, 15, 16, 17, 4096, 4096 + 16 + 5]) {
          const sources = Array.from({ length: count }, (_, s) => arena.tensor(dtype, [n]).set(numbers(n, s)));
          const values = sources.map((source) => source.toFloat32());
          for (const operator of OPERATORS) {
            for (const outDtype of new Set<DType>([dtype, 'f32'])) {
              const out = arena.tensor(outDtype, [n]);
              reduce(operator, sources, out);
              expect(out.toFloat32()).toEqual(rounded(outDtype, fold(operator, values)));
              out.dispose();
            }
          }
          for (const source of sources) source.dispose();
        }
      }
    });
  }

  test('writes its output only, wherever tensors lie, with special values, and over a source', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...OPERATORS),
        fc.constantFrom(...REDUCED),
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 0, max: 70 }),
        fc.integer({ min: 0, max: 7 }),
        fc.boolean(),
        fc.integer({ min: 0, max: 19 }),
        fc.infiniteStream(
          fc.oneof(fc.constantFrom(...SPECIAL), fc.float({ noDefaultInfinity: true, min: -9, max: 9 })),
        ),
        (operator, dtype, count, n, skew, isOver, over, stream) => {
          const inputs = Array.from({ length: count }, (_, s) => {
            const values = Array.from({ length: n }, () => stream.next().value as number);
            return framed(dtype, values, (skew + s) % 8);
          });
          const values = inputs.map(({ inner }) => inner.toFloat32());
          const target = isOver ? inputs[over % count]! : framed(dtype, new Float32Array(n), skew);
          reduce(
            operator,
            inputs.map(({ inner }) => inner),
            target.inner,
          );
          expect(target.inner.toFloat32()).toEqual(rounded(dtype, fold(operator, values)));
          expectMarginsIntact(target.frame, target.inner);
          inputs.forEach((input, s) => {
            if (input !== target) expect(input.inner.toFloat32()).toEqual(values[s]);
            expectMarginsIntact(input.frame, input.inner);
            input.frame.dispose();
          });
          target.frame.dispose();
        },
      ),
    );
  });

  test('max and min of a NaN are NaN from any source, and order -0 below +0', () => {
    const n = 21; // a vector loop and a tail
    for (const operator of ['max', 'min'] as const) {
      for (const position of [0, 1, 2]) {
        const sources = [1, 2, 3].map((x, s) =>
          arena.tensor('f32', [n]).set(new Float32Array(n).fill(s === position ? NaN : x)),
        );
        const out = arena.tensor('f32', [n]);
        reduce(operator, sources, out);
        expect([...out.toFloat32()]).toEqual(new Array(n).fill(NaN));
      }
      for (const order of [
        [0, -0],
        [-0, 0],
      ]) {
        const sources = order.map((x) => arena.tensor('bf16', [n]).set(new Float32Array(n).fill(x)));
        const out = arena.tensor('bf16', [n]);
        reduce(operator, sources, out);
        expect([...out.toFloat32()]).toEqual(new Array(n).fill(operator === 'max' ? 0 : -0));
      }
    }
  });

  test('a sum of zeros is -0 only if every source is -0', () => {
    const zero = arena.tensor('f32', [3]).set([0, -0, -0]);
    const negative = arena.tensor('f32', [3]).set([-0, 0, -0]);
    const out = arena.tensor('f32', [3]);
    sum([zero, negative], out);
    expect([...out.toFloat32()]).toEqual([0, 0, -0]);
  });

  test('a bf16 sum of many terms is rounded once, not at each term', () => {
    // 1 + 16 x 2^-9 = 1 + 2^-5. Rounded to bf16 (ulp 2^-7 at 1) after each term, every 2^-9 would be lost.
    const one = arena.tensor('bf16', [40]).set(new Float32Array(40).fill(1));
    const small = arena.tensor('bf16', [40]).set(new Float32Array(40).fill(2 ** -9));
    const out = arena.tensor('bf16', [40]);
    sum([one, ...new Array<Tensor>(16).fill(small)], out);
    expect([...out.toFloat32()]).toEqual(new Array(40).fill(1.03125));
  });

  test('stochastic rounding gives what a cast of the FP32 result gives', () => {
    const sources = [0, 1, 2].map((seed) => arena.tensor('bf16', [5000]).set(numbers(5000, seed)));
    const wide = arena.tensor('f32', [5000]);
    const expected = arena.tensor('bf16', [5000]);
    const out = arena.tensor('bf16', [5000]);
    const rounding = { seed: 3, stream: 9 };
    sum(sources, wide);
    cast(wide, expected, rounding);
    sum(sources, out, rounding);
    expect(out.toFloat32()).toEqual(expected.toFloat32());
  });

  test('names the operand that is wrong', () => {
    const a = arena.tensor('f32', [4]);
    const half = arena.tensor('bf16', [4]);
    expect(() => sum([], a)).toThrow('"sources" expected at least one tensor, got none');
    expect(() => reduce('avg' as ReduceOperator, [a], a)).toThrow('"operator" expected one of sum, prod, max, min');
    expect(() => sum([a, half], a)).toThrow('"sources[1]" expected dtype f32 as "sources[0]", got bf16');
    expect(() => sum([a, a], half)).toThrow('"out" expected dtype f32 as "sources[0]" or f32, got bf16');
    expect(() => sum([a, arena.tensor('f32', [5])], a)).toThrow('"sources[1]" expected shape [4], got [5]');
    expect(() => sum([arena.tensor('e8m0', [4])], a)).toThrow('"sources[0]" expected dtype f32, bf16');
    expect(() => sum([arena.tensor('i32', [4])], a)).toThrow('"out" expected dtype i32 as "sources[0]", got f32');
    expect(() => sum([createArena().tensor('f32', [4])], a)).toThrow('"out" expected the arena of "sources[0]"');
    const long = arena.tensor('f32', [9]);
    expect(() => sum([a.slice(0, 4), long.slice(0, 4)], long.slice(1, 5))).toThrow(
      '"out" expected memory of its own, got some of "sources[1]"',
    );
    const square = arena.tensor('f32', [2, 2]);
    expect(() => sum([square.transpose()], square)).toThrow('"sources[0]" expected a contiguous tensor');
  });
});

/** The bytes of a tensor in blocks of `size`. */
function blocks(tensor: Tensor, size: number): string[] {
  const bytes = tensor.bytesView();
  return Array.from({ length: size === 0 ? 0 : bytes.length / size }, (_, i) =>
    bytes.slice(i * size, (i + 1) * size).join(),
  );
}

/** A framed tensor of [..., width] with bytes that tell every place from its neighbours. */
function numbered(dtype: DType, shape: readonly number[], from: Arena = arena): { frame: Tensor; inner: Tensor } {
  const length = shape.reduce((total, size) => total * size, 1);
  const frame = from.tensor(dtype, [length + 2 * MARGIN]);
  frame.bytesView().fill(0xa5);
  const inner = frame.slice(MARGIN - 1, MARGIN - 1 + length);
  inner.bytesView().forEach((_, i, bytes) => {
    bytes[i] = (i * 167 + (i >> 8)) & 0xff;
  });
  return { frame, inner: inner.reshape(shape) };
}

const BYTE_SIZES: readonly (readonly [DType, number])[] = [
  ['i8', 1],
  ['f16', 2],
  ['f32', 4],
];
// Widths around every step of the loop (1, 4, 16 bytes) and around 256, where it hands over to memory.copy.
const WIDTH = fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 250, max: 262 }));

describe('gatherRows and scatterRows', () => {
  test('move whole rows of every element size and touch nothing else', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...BYTE_SIZES),
        fc.integer({ min: 1, max: 9 }),
        WIDTH,
        fc.array(fc.nat(), { maxLength: 12 }),
        ([dtype, bytes], rows, width, picks) => {
          const indices = picks.map((pick) => pick % rows);
          const table = numbered(dtype, [rows, width]);
          const picked = numbered(dtype, [indices.length, width]);
          const tableBlocks = blocks(table.inner, width * bytes);

          gatherRows(table.inner, indices, picked.inner);
          const gathered = blocks(picked.inner, width * bytes);
          if (width > 0) expect(gathered).toEqual(indices.map((index) => tableBlocks[index]));
          expect(blocks(table.inner, width * bytes)).toEqual(tableBlocks);

          picked.inner.bytesView().forEach((_, i, all) => {
            all[i] = i & 0xff;
          });
          const source = blocks(picked.inner, width * bytes);
          scatterRows(picked.inner, Uint16Array.from(indices), table.inner);
          const expected = [...tableBlocks];
          source.forEach((block, i) => {
            expected[indices[i]!] = block;
          });
          expect(blocks(table.inner, width * bytes)).toEqual(expected);

          for (const { frame, inner } of [table, picked]) {
            expectMarginsIntact(frame, inner);
            frame.dispose();
          }
        },
      ),
    );
  });

  test('work above 2 GiB, where offsets are negative as signed integers', () => {
    const big = createArena();
    big.allocate(2 ** 31);
    const table = big.tensor('f32', [3, 100]).set(numbers(300, 1));
    const out = big.tensor('f32', [2, 100]);
    gatherRows(table, [2, 0], out);
    expect(out.toFloat32()).toEqual(
      Float32Array.from([...numbers(300, 1).slice(200), ...numbers(300, 1).slice(0, 100)]),
    );
    const flat = big.tensor('bf16', [200]).set(out.toFloat32());
    reduce('max', [flat, flat, flat], flat);
    expect(flat.toFloat32()).toEqual(rounded('bf16', out.toFloat32()));
  });

  test('check every index and shape before anything moves', () => {
    const table = arena.tensor('f32', [3, 2]).set([1, 2, 3, 4, 5, 6]);
    const out = arena.tensor('f32', [2, 2]).set([0, 0, 0, 0]);
    expect(() => gatherRows(table, [0, 3], out)).toThrow('"indices[1]" expected integer in 0..2, got 3');
    expect(() => gatherRows(table, [0, -1], out)).toThrow('"indices[1]" expected integer in 0..2, got -1');
    expect(() => gatherRows(table, [0, 0.5], out)).toThrow('"indices[1]" expected integer in 0..2, got 0.5');
    expect(() => scatterRows(out, [1, NaN], table)).toThrow('"indices[1]" expected integer in 0..2, got NaN');
    expect(() => gatherRows(table, [0], out)).toThrow('"out" expected shape [1,2], got [2,2]');
    expect(() => scatterRows(out, [0, 1, 2], table)).toThrow('"source" expected shape [3,2], got [2,2]');
    expect(() => gatherRows(table, [0, 1], table.rows(1, 3))).toThrow('"out" expected memory of its own');
    expect(() => gatherRows(arena.tensor('f32', [0, 2]), [0, 0], out)).toThrow('"indices[0]" expected a row, got 0');
    expect([...out.toFloat32(), ...table.toFloat32()]).toEqual([0, 0, 0, 0, 1, 2, 3, 4, 5, 6]);
  });
});

describe('transposeBlocks', () => {
  test('exchanges the first two axes for every element size and touches nothing else', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...BYTE_SIZES),
        fc.integer({ min: 0, max: 35 }),
        fc.integer({ min: 0, max: 18 }),
        fc.oneof(fc.integer({ min: 0, max: 20 }), fc.constant(257)),
        ([dtype, bytes], p, q, width) => {
          const source = numbered(dtype, [p, q, width]);
          const target = numbered(dtype, [q, p, width]);
          transposeBlocks(source.inner, target.inner);
          const before = blocks(source.inner, width * bytes);
          const after = blocks(target.inner, width * bytes);
          expect(after).toEqual(before.map((_, i) => before[(i % p) * q + Math.floor(i / p)]));
          for (const { frame, inner } of [source, target]) {
            expectMarginsIntact(frame, inner);
            frame.dispose();
          }
        },
      ),
    );
  });

  test('an all-to-all of four ranks gives each rank the blocks that the others meant for it', () => {
    // Rank i sends the number 10 i + j to rank j.
    const sent = arena.tensor('f32', [4, 4]).set(Array.from({ length: 16 }, (_, i) => 10 * (i >> 2) + (i & 3)));
    const received = arena.tensor('f32', [4, 4]);
    transposeBlocks(sent, received);
    expect([...received.rows(2, 3).reshape([4]).toFloat32()]).toEqual([2, 12, 22, 32]);
  });

  test('names the operand that is wrong', () => {
    const source = arena.tensor('f32', [2, 3]);
    expect(() => transposeBlocks(source, arena.tensor('f32', [2, 3]))).toThrow('"out" expected shape [3,2], got [2,3]');
    expect(() => transposeBlocks(source.reshape([6]), source)).toThrow('"source" expected at least two dimensions');
    expect(() => transposeBlocks(source, source.reshape([3, 2]))).toThrow('"out" expected memory of its own');
  });
});
