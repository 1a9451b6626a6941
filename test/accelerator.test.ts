/** Operators on other makers' accelerators: the arithmetic of the formula by hand, and what must hold for any case. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { acceleratorClock } from '../src/core/accelerator.ts';
import type { OperatorCase } from '../src/core/operator-case.ts';
import { operatorWork } from '../src/core/operator-work.ts';
import { findChip } from '../src/hardware/catalog.ts';

const constants = {
  gpuFlopsPerJoule: 1e12,
  gpuMemoryEfficiency: 0.5,
  gpuAttentionEfficiency: 0.5,
  gpuAttentionHalfLength: 1024,
  gpuLaunch: 5e-6,
  gpuHostLaunch: 30e-6,
};
const h100 = acceleratorClock(findChip('h100'), constants);
const matmul = (m: number, k: number, n: number): OperatorCase => ({ op: 'matmul', dims: { m, k, n }, dtype: 'bf16' });

describe('an accelerator', () => {
  test('a large matmul runs at the peak at the clock that the power limit allows, in whole waves of output tiles', () => {
    // 256 x 128 tiles: 32 x 33 = 1,056 = 8 waves of 132 multiprocessors, so nothing is lost.
    const { time, bound, flops } = h100(matmul(8192, 4096, 4224));
    expect(flops).toBe(2 * 8192 * 4096 * 4224);
    // 700 W do 700e12 operations a second at full clock, and power goes with its cube.
    expect(time).toBeCloseTo(5e-6 + (flops / 989.5e12) * Math.cbrt(989.5 / 700), 12);
    expect(bound).toBe('compute');
  });

  test('operations of half the width take half the energy; a chip with power to spare keeps its clock', () => {
    const cool = acceleratorClock(findChip('h100'), { ...constants, gpuFlopsPerJoule: 2e12 });
    const large = matmul(8192, 4096, 4224);
    expect(cool(large).time).toBeCloseTo(5e-6 + cool(large).flops / 989.5e12, 12);
    expect(h100({ ...large, dtype: 'fp8' }).busy.compute! * 2).toBeCloseTo(h100(large).busy.compute!, 12);
    // Eight tiles of 64 x 64 on 132 multiprocessors draw little power: full clock.
    const few = matmul(256, 65536, 128);
    expect(h100(few).busy.compute).toBeCloseTo((h100(few).flops * (132 / 8)) / 989.5e12, 12);
  });

  test('a matrix-vector product runs at the memory rate', () => {
    const { time, bound, hbmBytes } = h100(matmul(1, 8192, 8192));
    expect(hbmBytes).toBe(2 * (8192 + 8192 * 8192 + 8192));
    expect(time).toBeCloseTo(5e-6 + hbmBytes / (3.35e12 * 0.5), 12);
    expect(bound).toBe('memory');
  });

  test('a host-timed launch, and quantising for a narrow format, come on top', () => {
    const device = h100(matmul(64, 64, 64)).time;
    expect(h100({ ...matmul(64, 64, 64), timing: 'host' }).time - device).toBeCloseTo(30e-6, 12);
    const narrow: OperatorCase = { op: 'matmul', dims: { m: 64, k: 64, n: 64 }, dtype: 'fp8' };
    // Two more launches, and 4 + 1 bytes of each activation at the memory rate.
    const cast = 2 * 5e-6 + (5 * 64 * 64) / (3.35e12 * 0.5);
    // One wave of one tile: bound by TensorCores, so the wider result costs nothing.
    expect(h100({ ...narrow, outDtype: 'bf16' }).time - h100(narrow).time).toBeCloseTo(cast, 12);
    // Blocks with scales of their own need no pass for the largest magnitude; several products are cast as one is.
    const block: OperatorCase = { ...narrow, op: 'batched-matmul', dims: { ...narrow.dims, batch: 2 }, dtype: 'mxfp8' };
    const activations = 2 * 64 * 64;
    const once = 5e-6 + (activations * (2 + 1 + 1 / 32)) / (3.35e12 * 0.5);
    expect(h100({ ...block, outDtype: 'bf16' }).time - h100(block).time).toBeCloseTo(once, 12);
  });

  test('a chip without a published bandwidth, or without the rate of a format, is an error that says so', () => {
    const silent = acceleratorClock({ ...findChip('h100'), peak: {} }, constants);
    expect(() => silent({ ...matmul(1, 1, 1), dtype: 'f32' })).toThrow(
      'h100-sxm: expected a published peak rate for f32, got none',
    );
  });

  test('more work never takes less time', () => {
    fc.assert(
      fc.property(fc.tuple(fc.nat(4000), fc.nat(4000), fc.nat(4000)), fc.nat(2000), ([m, k, n], more) => {
        const time = h100(matmul(m + 1, k + 1, n + 1)).time;
        expect(h100(matmul(m + 1, k + 1 + more, n + 1)).time).toBeGreaterThanOrEqual(time);
      }),
    );
  });
});

describe('the least work of an operator', () => {
  const attention = (dims: Record<string, number>, more: Partial<OperatorCase> = {}): OperatorCase => ({
    op: 'attention',
    dims: { batch: 1, heads: 1, kvHeads: 1, headDim: 1, ...dims },
    dtype: 'bf16',
    ...more,
  });

  test('a causal mask leaves s (s + 1) / 2 of the pairs, a window at most its width for each query', () => {
    for (const [queries, keys, window] of [
      [5, 5, 5],
      [5, 9, 9],
      [5, 9, 3],
      [7, 7, 4],
      [1, 8, 3],
    ] as const) {
      let pairs = 0;
      for (let i = 0; i < queries; i++) pairs += Math.min(keys - queries + i + 1, window);
      const work = operatorWork(attention({ seqQ: queries, seqKv: keys }, { causal: true, window }));
      expect(work.exponentials).toBe(pairs);
      expect(work.flops).toBe(4 * pairs);
    }
  });

  test('operands that stay on chip, and narrow weights, are not read in full', () => {
    const base = matmul(2, 32, 3);
    expect(operatorWork({ ...base, weightDtype: 'mxfp4' }).bBytes).toBe(32 * 3 * (0.5 + 1 / 32));
    expect(operatorWork({ ...base, resident: ['a', 'c'] })).toMatchObject({ aBytes: 0, bBytes: 192, cBytes: 0 });
  });
});
