import { describe, expect, test } from 'vitest';
import { attention, createArena, DTYPES, type DType, fillUniform, type Tensor } from '../src/kernels/index.ts';

const arena = createArena();

function randomTensor(dtype: DType, shape: readonly number[], stream: number): Tensor {
  const tensor = arena.tensor(dtype, shape);
  fillUniform(tensor.reshape([1, tensor.length]), { seed: 3, stream, scale: 2 });
  return tensor;
}

interface Case {
  readonly queries: number;
  readonly keys: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly causal?: boolean;
  readonly window?: number;
  readonly sinks?: readonly number[];
}

/** softmax(q k^T / sqrt(d)) v by its formula in double precision, one query and head at a time. */
function naiveAttention(q: Float32Array, k: Float32Array, v: Float32Array, c: Case): Float64Array {
  const { queries, keys, heads, kvHeads, headDim, causal = true, window = Infinity, sinks } = c;
  const out = new Float64Array(queries * heads * headDim);
  for (let i = 0; i < queries; i++) {
    const visible = causal ? keys - queries + i + 1 : keys + i;
    const end = Math.min(keys, visible);
    const begin = Math.max(0, visible - window);
    for (let h = 0; h < heads; h++) {
      const kv = Math.floor((h * kvHeads) / heads);
      const weights: number[] = [];
      for (let j = begin; j < end; j++) {
        let score = 0;
        for (let d = 0; d < headDim; d++)
          score += q[(i * heads + h) * headDim + d]! * k[(j * kvHeads + kv) * headDim + d]!;
        weights.push(Math.exp(score / Math.sqrt(headDim)));
      }
      const sum = weights.reduce((total, x) => total + x, sinks === undefined ? 0 : Math.exp(sinks[h]!));
      for (let d = 0; d < headDim; d++) {
        let value = 0;
        weights.forEach((weight, w) => {
          value += (weight / sum) * v[((begin + w) * kvHeads + kv) * headDim + d]!;
        });
        out[(i * heads + h) * headDim + d] = value;
      }
    }
  }
  return out;
}

const CASES: readonly Case[] = [
  { queries: 1, keys: 1, heads: 1, kvHeads: 1, headDim: 1 },
  { queries: 5, keys: 5, heads: 4, kvHeads: 2, headDim: 6 },
  { queries: 130, keys: 130, heads: 2, kvHeads: 1, headDim: 16 },
  { queries: 1, keys: 400, heads: 4, kvHeads: 4, headDim: 8 },
  { queries: 7, keys: 390, heads: 2, kvHeads: 2, headDim: 10 },
  { queries: 140, keys: 500, heads: 1, kvHeads: 1, headDim: 8, window: 33 },
  { queries: 300, keys: 800, heads: 1, kvHeads: 1, headDim: 8, window: 400 },
  { queries: 20, keys: 30, heads: 2, kvHeads: 1, headDim: 4, causal: false },
  { queries: 9, keys: 9, heads: 3, kvHeads: 1, headDim: 8, sinks: [0.5, -2, 3] },
];

describe('attention', () => {
  for (const c of CASES) {
    test(`equals its formula for ${JSON.stringify(c)}`, () => {
      for (const dtype of ['f32', 'bf16'] as const) {
        const q = randomTensor(dtype, [c.queries, c.heads, c.headDim], 1);
        const k = randomTensor(dtype, [c.keys, c.kvHeads, c.headDim], 2);
        const v = randomTensor(dtype, [c.keys, c.kvHeads, c.headDim], 3);
        const out = arena.tensor('f32', q.shape);
        attention(q, k, v, out, {
          ...(c.causal === false && { causal: false }),
          ...(c.window !== undefined && { window: c.window }),
          ...(c.sinks !== undefined && { sinks: arena.tensor('f32', [c.heads]).set(c.sinks) }),
        });
        const expected = naiveAttention(q.toFloat32(), k.toFloat32(), v.toFloat32(), c);
        // Values lie in [-2, 2] and weights sum to 1: the probabilities' rounding u and the sums' few 2^-24 remain.
        const bound = 2 * ((dtype === 'f32' ? 0 : DTYPES[dtype].unitRoundoff) + (c.keys + 100) * 2 ** -24);
        out.toFloat32().forEach((y, i) => {
          if (!(Math.abs(y - expected[i]!) <= bound)) expect.fail(`${dtype}[${i}]: got ${y}, expected ${expected[i]}`);
        });
      }
    });
  }

  test('a prompt and then one token with a cache give the last row of the whole', () => {
    const [tokens, heads, headDim] = [257, 2, 8];
    const [q, k, v] = [1, 2, 3].map((stream) => randomTensor('f32', [tokens, heads, headDim], stream));
    const whole = arena.tensor('f32', q!.shape);
    attention(q!, k!, v!, whole);
    const last = arena.tensor('f32', [1, heads, headDim]);
    attention(arena.tensor('f32', [1, heads, headDim]).set(q!.at(tokens - 1).toFloat32()), k!, v!, last);
    last.toFloat32().forEach((y, i) => {
      expect(y).toBeCloseTo(whole.toFloat32()[(tokens - 1) * heads * headDim + i]!, 5);
    });
  });

  test('leaves nothing allocated and names the operand that is wrong', () => {
    const q = randomTensor('f32', [4, 6, 8], 1);
    const k = randomTensor('f32', [4, 2, 8], 2);
    const out = arena.tensor('bf16', q.shape);
    attention(q, k, k, out);
    const used = arena.usedBytes;
    attention(q, k, k, out);
    expect(arena.usedBytes).toBe(used);
    expect(() => attention(q, randomTensor('f32', [4, 4, 8], 1), k, out)).toThrow('"v" expected shape [4,4,8]');
    expect(() => attention(q, randomTensor('f32', [3, 2, 8], 1), randomTensor('f32', [3, 2, 8], 1), out)).toThrow(
      '"k" expected at least as many tokens as the 4 queries, got 3',
    );
    expect(() => attention(q, k, k, out, { window: 0 })).toThrow('"window" expected integer >= 1, got 0');
  });
});
