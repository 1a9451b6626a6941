/** Attention programs against softmax(Q K^T / sqrt(d)) V in float64: grouped heads, masks, windows, odd lengths, decoding. */
import { describe, expect, test } from 'vitest';
import { attentionProgram, causalBands } from '../src/core/programs/attention.ts';
import type { AttentionOptions } from '../src/core/programs/attention-keys.ts';
import { findChip } from '../src/hardware/catalog.ts';
import { expectClose, type Inputs } from './program-support.ts';

const [v2, v3, v4] = ['trn1', 'trn2', 'trn3'].map((id) => findChip(id).core!);

const reference =
  ({ batch = 1, heads, kvHeads, headDim: d, seqQ, seqKv, causal = false, window = seqKv }: AttentionOptions) =>
  ({ q, kT, v }: Inputs): Float64Array => {
    const y = new Float64Array(batch * heads * seqQ * d);
    for (let h = 0; h < batch * heads; h++) {
      const g = Math.floor(h / (heads / kvHeads));
      for (let i = 0; i < seqQ; i++) {
        const position = seqKv - seqQ + i;
        const scores = Array.from({ length: seqKv }, (_, j) => {
          if (causal && (j > position || j <= position - window)) return -Infinity;
          let score = 0;
          for (let c = 0; c < d; c++) score += q![(h * seqQ + i) * d + c]! * kT![(g * d + c) * seqKv + j]!;
          return score / Math.sqrt(d);
        });
        const max = scores.reduce((a, b) => Math.max(a, b), -Infinity);
        const powers = scores.map((score) => Math.exp(score - max));
        const sum = powers.reduce((a, b) => a + b, 0);
        for (let j = 0; j < seqKv; j++) {
          if (powers[j] === 0) continue;
          for (let c = 0; c < d; c++) y[(h * seqQ + i) * d + c]! += (powers[j]! / sum) * v![(g * seqKv + j) * d + c]!;
        }
      }
    }
    return y;
  };

const check = (core: typeof v2, options: AttentionOptions) =>
  expectClose(attentionProgram(core!, options), 'y', reference(options), {
    roundings: options.dtype === 'f32' ? 100 : 3,
  });

describe('prefill', () => {
  for (const dtype of ['bf16', 'f32'] as const) {
    test(`all keys, grouped heads packed, ${dtype}`, () => {
      for (const core of [v2, v3, v4]) {
        check(core, { heads: 2, kvHeads: 1, headDim: 64, seqQ: 150, seqKv: 333, dtype });
      }
      check(v2, { batch: 2, heads: 2, kvHeads: 2, headDim: 128, seqQ: 700, seqKv: 700, dtype });
    });

    test(`causal, ${dtype}`, () => {
      for (const core of [v2, v4]) {
        check(core, { heads: 2, kvHeads: 1, headDim: 32, seqQ: 700, seqKv: 700, causal: true, dtype });
        check(core, { heads: 1, kvHeads: 1, headDim: 16, seqQ: 130, seqKv: 2500, causal: true, dtype });
      }
    });
  }

  test('FP32 operands multiplied in BF16', () => {
    const options = {
      heads: 1,
      kvHeads: 1,
      headDim: 64,
      seqQ: 200,
      seqKv: 300,
      dtype: 'f32',
      mixedPrecision: true,
    } as const;
    expectClose(attentionProgram(v2!, options), 'y', reference(options), { roundings: 3 });
  });

  test('a head wider than the partitions', () => {
    check(v3, { heads: 1, kvHeads: 1, headDim: 192, seqQ: 130, seqKv: 140, causal: true, dtype: 'bf16' });
  });

  test('windows shorter and longer than a band', () => {
    for (const window of [1, 100, 200, 640, 900]) {
      check(v3, { heads: 1, kvHeads: 1, headDim: 16, seqQ: 1100, seqKv: 1300, causal: true, window, dtype: 'f32' });
    }
  });

  test('one band for each 512 queries, and never more than 32', () => {
    expect(causalBands(1024, 1024, 1024)).toEqual([
      { row: 0, rows: 512, ranges: [{ from: 0, to: 512, isDiagonal: true, isWindowEdge: false }] },
      {
        row: 512,
        rows: 512,
        ranges: [
          { from: 0, to: 512, isDiagonal: false, isWindowEdge: false },
          { from: 512, to: 1024, isDiagonal: true, isWindowEdge: false },
        ],
      },
    ]);
    expect(causalBands(131072, 131072, 131072)).toHaveLength(32);
  });
});

describe('decoding', () => {
  test('one query of each head, keys on the partitions', () => {
    for (const core of [v2, v3, v4]) {
      for (const [heads, kvHeads] of [
        [1, 1],
        [8, 2],
        [5, 1],
      ] as const) {
        for (const seqKv of [1, 100, 128, 700, 9000]) {
          check(core, { batch: 2, heads, kvHeads, headDim: 64, seqQ: 1, seqKv, causal: true, dtype: 'bf16' });
        }
      }
    }
    check(v3, { heads: 4, kvHeads: 2, headDim: 128, seqQ: 3, seqKv: 513, dtype: 'f32' });
    check(v3, { heads: 4, kvHeads: 2, headDim: 160, seqQ: 1, seqKv: 513, dtype: 'f32' });
  });

  test('a window keeps the last keys', () => {
    check(v2, { heads: 4, kvHeads: 1, headDim: 32, seqQ: 1, seqKv: 1000, causal: true, window: 300, dtype: 'f32' });
  });
});

test('heads that do not form groups, and queries before the first key, are errors', () => {
  expect(() => attentionProgram(v2!, { heads: 3, kvHeads: 2, headDim: 64, seqQ: 8, seqKv: 8, dtype: 'bf16' })).toThrow(
    '"kvHeads" expected a divisor of 3 heads, got 2',
  );
  expect(() =>
    attentionProgram(v2!, { heads: 2, kvHeads: 2, headDim: 64, seqQ: 9, seqKv: 8, causal: true, dtype: 'bf16' }),
  ).toThrow('"seqQ" expected at most seqKv = 8 in causal attention, got 9');
});
