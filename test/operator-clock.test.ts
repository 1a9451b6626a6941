/** Operators on the cores of a chip: how they are shared, what bounds them, and what holds for any of them. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { OperatorCase, OperatorName } from '../src/core/operator-case.ts';
import { operatorClock, programmableCore, timeOperator } from '../src/core/operator-clock.ts';
import { OPERATOR_NAMES, operatorDims } from '../src/core/operator-dims.ts';
import { partsOf, splitOperator } from '../src/core/operator-split.ts';
import { operatorWork } from '../src/core/operator-work.ts';
import { chips, findChip } from '../src/hardware/catalog.ts';
import { fittedConstants } from '../src/hardware/fitted.ts';
import type { ChipSpec } from '../src/hardware/spec.ts';

const matmul = (m: number, k: number, n: number, more: Partial<OperatorCase> = {}): OperatorCase => ({
  op: 'matmul',
  dims: { m, k, n },
  dtype: 'bf16',
  ...more,
});
const clock = (chip: string, cores: number) => operatorClock(findChip(chip), cores);

describe('a share of the cores', () => {
  test('parts differ by one unit at most and add up', () => {
    expect(partsOf(1000, 3, 128)).toEqual([
      [384, 2],
      [232, 1],
    ]);
    expect(partsOf(5, 8)).toEqual([[1, 5]]);
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5000 }),
        fc.integer({ min: 1, max: 16 }),
        fc.integer({ min: 1, max: 200 }),
        (size, parts, unit) => {
          const cut = partsOf(size, parts, unit);
          expect(cut.reduce((sum, [length, count]) => sum + length * count, 0)).toBe(size);
          expect(cut.reduce((sum, [, count]) => sum + count, 0)).toBeLessThanOrEqual(parts);
        },
      ),
    );
  });

  test('matmul: the columns, which saves traffic, unless there are more rows than that leaves tiles', () => {
    expect(splitOperator(matmul(2048, 1024, 2048), 2)).toEqual([{ operator: matmul(2048, 1024, 1024), cores: 2 }]);
    expect(splitOperator(matmul(8192, 1024, 64), 2)).toEqual([{ operator: matmul(4096, 1024, 64), cores: 2 }]);
  });

  test('attention: groups of heads, then the heads of a group, then the queries', () => {
    const attention = (dims: OperatorCase['dims']): OperatorCase => ({
      op: 'attention',
      dims,
      dtype: 'bf16',
      causal: true,
    });
    const dims = { batch: 1, heads: 8, kvHeads: 2, headDim: 64, seqQ: 512, seqKv: 512 };
    const shares = (cores: number) =>
      splitOperator(attention(dims), cores).map(({ operator, cores: used }) => [used, operator.dims]);
    expect(shares(2)).toEqual([[2, { ...dims, heads: 4, kvHeads: 1 }]]);
    expect(shares(8)).toEqual([[8, { ...dims, heads: 1, kvHeads: 1 }]]);
  });

  test('no work is lost, whatever the operator', () => {
    for (const op of OPERATOR_NAMES) {
      // Attention under a mask, and the inner width of an MLP, are cut so that the shares are not the same operator.
      const operator: OperatorCase = { op, dims: sizes(op, 300), dtype: 'bf16' };
      for (const cores of [2, 3, 8]) {
        const shares = splitOperator(operator, cores);
        expect(
          shares.reduce((sum, share) => sum + share.cores, 0),
          op,
        ).toBeLessThanOrEqual(cores);
        const flops = shares.reduce((sum, share) => sum + share.cores * operatorWork(share.operator).flops, 0);
        expect(flops, op).toBeCloseTo(operatorWork(operator).flops, -1);
      }
    }
  });
});

/** Dimensions of about `size`, of any operator. */
function sizes(op: OperatorName, size: number): Readonly<Record<string, number>> {
  const given = {
    matmul: { m: size, k: size, n: size },
    attention: { heads: 4, kvHeads: 2, headDim: 64, seqQ: size, seqKv: size },
    mlp: { rows: size, hidden: size, ffn: 2 * size },
    rows: { rows: size, cols: 2 * size },
  };
  const special: Partial<Record<OperatorName, Record<string, number>>> = {
    'batched-matmul': { batch: 3, ...given.matmul },
    'batched-matmul-softmax': { batch: 3, ...given.matmul },
    'matmul-lora': { ...given.matmul, rank: 16 },
    'gated-mlp': given.mlp,
    attention: given.attention,
    'selective-scan': { channels: size, seq: size, state: 4 },
    'depthwise-conv1d': { channels: size, length: size, taps: 4 },
    'dma-copy': { bytes: 1000 * size },
  };
  return operatorDims(op, special[op] ?? (/matmul/.test(op) ? given.matmul : given.rows));
}

describe('time', () => {
  test('every operator is timed on every chip whose engines are published, above its lower bounds', () => {
    for (const id of ['trn1', 'trn2', 'trn3', 'inf2']) {
      const chip = findChip(id);
      const { tensor } = programmableCore(chip);
      for (const op of OPERATOR_NAMES) {
        const operator: OperatorCase = { op, dims: sizes(op, 260), dtype: 'bf16' };
        const { time, busy, flops, hbmBytes } = operatorClock(chip, 2)(operator);
        expect(flops).toBe(operatorWork(operator).flops);
        expect(time, op).toBeGreaterThanOrEqual(flops / (2 * 2 * 128 * 128 * tensor!.clock));
        expect(time, op).toBeGreaterThanOrEqual(hbmBytes / chip.memory.bandwidth!);
        for (const engine of Object.values(busy)) expect(engine, op).toBeLessThanOrEqual(time * (1 + 1e-9));
      }
    }
  });

  test('FP8 is twice and MXFP8 four times as fast as BF16 where TensorE is the bound', () => {
    const time = (dtype: OperatorCase['dtype']) => clock('trn3', 2)(matmul(4096, 8192, 4096, { dtype })).busy.TensorE!;
    expect(time('bf16') / time('fp8')).toBeCloseTo(2, 1);
    expect(time('bf16') / time('mxfp8')).toBeGreaterThan(3.8);
    expect(time('f32') / time('bf16')).toBeCloseTo(4, 1);
  });

  test('two cores on one stack share its bandwidth, two on different ones do not', () => {
    const copy = (cores: number): OperatorCase => ({
      op: 'silu',
      dims: { rows: 4096 * cores, cols: 4096 },
      dtype: 'bf16',
    });
    const slowdown = (chip: string) => clock(chip, 2)(copy(2)).time / clock(chip, 1)(copy(1)).time;
    expect(slowdown('trn1')).toBeCloseTo(1, 2);
    expect(slowdown('trn2')).toBeGreaterThan(1.05);
  });

  test('copies run beside each other on their shares of the cores', () => {
    const one = clock('trn2', 2)(matmul(2048, 2048, 2048));
    const four = clock('trn2', 8)(matmul(2048, 2048, 2048, { copies: 4 }));
    expect(four.time).toBe(one.time);
    expect(four.flops).toBe(4 * one.flops);
    expect(four.hbmBytes).toBe(4 * one.hbmBytes);
    expect(() => clock('trn2', 8)(matmul(64, 64, 64, { copies: 3 }))).toThrow(
      '"copies" expected a divisor of 8 cores, got 3',
    );
  });

  test('the host adds its launch', () => {
    const device = clock('trn2', 2)(matmul(256, 256, 256));
    const host = clock('trn2', 2)(matmul(256, 256, 256, { timing: 'host' }));
    expect(host.time - device.time).toBeCloseTo(fittedConstants().hostLaunch!, 12);
    expect(host.bound).toBe('overhead');
  });

  test('operands that stay on chip move nothing', () => {
    // Large enough for the weights' bytes to take longer than the many small DMAs of the moving operand.
    const operator = matmul(64, 8192, 8192);
    const weights = 2 * 8192 * 8192;
    const all = clock('trn2', 1)(operator);
    const resident = clock('trn2', 1)({ ...operator, resident: ['b'] });
    expect(all.hbmBytes - resident.hbmBytes).toBe(weights);
    expect(resident.time).toBeLessThan(all.time);
    expect(clock('trn2', 1)({ ...operator, resident: ['a', 'b', 'c'] }).hbmBytes).toBe(0);
  });

  test('each case is timed once', () => {
    const time = clock('trn2', 1);
    expect(time(matmul(128, 128, 128))).toBe(time(matmul(128, 128, 128)));
  });

  test('the implementations are different programs', () => {
    const names = (['optimised', 'naive', 'compiler'] as const).map(
      (implementation) =>
        timeOperator(findChip('trn2'), 1, fittedConstants(), matmul(1024, 2048, 1024, { implementation })).cost.time,
    );
    expect(names[0]).toBeLessThan(names[1]!);
    expect(names[0]).toBeLessThan(names[2]!);
  });
});

describe('what is not published', () => {
  test.each([
    ['inf1', 'NeuronCore clock'],
    ['trn4', 'NeuronCore clock'],
    ['h100-sxm', 'NeuronCore clock'],
  ])('%s is refused by name', (id, missing) => {
    const error = { code: 'UNSUPPORTED', path: id, message: expect.stringContaining(missing) };
    expect(() => programmableCore(findChip(id))).toThrow(expect.objectContaining(error));
  });

  test.each(['tensor', 'vector', 'scalar', 'dma'] as const)('a core without %s figures is refused', (engine) => {
    const trn2 = findChip('trn2');
    const chip: ChipSpec = { ...trn2, core: { ...trn2.core!, [engine]: null } };
    expect(() => programmableCore(chip)).toThrow(new RegExp(engine, 'i'));
  });

  test('a chip without a published HBM bandwidth is refused', () => {
    const trn2 = findChip('trn2');
    expect(() => programmableCore({ ...trn2, memory: { ...trn2.memory, bandwidth: null } })).toThrow(/HBM bandwidth/);
  });

  test('every chip of the catalogue is timed or refused, never charged 0', () => {
    for (const chip of chips()) {
      let time: number | undefined;
      try {
        time = operatorClock(chip, 1)({ op: 'add', dims: { rows: 128, cols: 128 }, dtype: 'bf16' }).time;
      } catch (error) {
        expect(error).toMatchObject({ code: 'UNSUPPORTED', path: chip.id });
      }
      if (time !== undefined) expect(time).toBeGreaterThan(0);
    }
  });

  test('a format that TensorE does not multiply', () => {
    expect(() => clock('trn1', 1)(matmul(64, 64, 64, { dtype: 'mxfp8' }))).toThrow(
      'expected a format that TensorE of neuroncore-v2 multiplies, got mxfp8',
    );
  });
});

test('dimensions have names and defaults', () => {
  expect(operatorDims('attention', { heads: 8, headDim: 64, seqQ: 10 })).toEqual({
    batch: 1,
    heads: 8,
    kvHeads: 8,
    headDim: 64,
    seqQ: 10,
    seqKv: 10,
  });
  expect(() => operatorDims('matmul', { m: 1 })).toThrow('"k", "n" expected for matmul, got none');
  expect(() => operatorDims('matmul', { m: 1, k: 1, n: 1, rows: 1 })).toThrow('"rows" is no dimension of matmul');
  expect(() => operatorDims('matmul', { m: 0, k: 1, n: 1 })).toThrow('"m" expected integer >= 1, got 0');
  expect(() => operatorDims('gemm', {})).toThrow('"op" expected one of matmul');
});
