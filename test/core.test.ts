/**
 * The numbers are worked out by hand from the formulas of core/engines.ts and the documented rates:
 *
 *     core  TensorE   VectorE, lanes 16/32-bit   ScalarE, lanes      DMA        DMA start   static overhead
 *     v2    2.8 GHz   1.12 GHz  128 / 128        1.4 GHz  128 / 128  272 GB/s   1300 ns     100 cycles
 *     v3    2.4 GHz   0.96 GHz  512 / 256        1.2 GHz  128 / 128  368 GB/s   1300 ns     100 cycles
 *     v4    2.4 GHz   1.2 GHz   512 / 256        1.2 GHz  256 / 128  528 GB/s   1300 ns     100 cycles
 *
 * HBM: 820 GiB/s on trn1 (2 cores), 2.9 TB/s on trn2 (8 cores), 4.9 TB/s on trn3 (8 cores).
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type OperatorCost, operatorCost, rankEngines } from '../src/core/engines.ts';
import { type Operator, type OperatorKind, operatorFlops } from '../src/core/operator.ts';
import { chips, findChip } from '../src/hardware/catalog.ts';
import type { ChipSpec } from '../src/hardware/spec.ts';

const NEURON_CHIPS = ['trn1', 'trn2', 'trn3', 'inf2'];
const KINDS: readonly OperatorKind[] = ['matmul', 'rmsnorm', 'rope', 'softmax', 'swiglu', 'add'];

function operator(kind: OperatorKind, sizes: Partial<Operator>): Operator {
  return { name: kind, kind, batch: 1, m: 1, k: 0, n: 1, hbmBytes: 0, ...sizes };
}

interface Case {
  chip: string;
  cores?: number;
  dtype?: 'bf16' | 'f32';
}

function cost({ chip, cores = 1, dtype = 'bf16' }: Case, kind: OperatorKind, sizes: Partial<Operator>): OperatorCost {
  return operatorCost(operator(kind, sizes), rankEngines(findChip(chip), cores), dtype === 'bf16');
}

/** Busy cycles of TensorE on a trn2. */
function tensorCycles(sizes: Partial<Operator>, { cores = 1, dtype = 'bf16' }: Omit<Case, 'chip'> = {}): number {
  return cost({ chip: 'trn2', cores, dtype }, 'matmul', sizes).busy.TensorE * 2.4e9;
}

function ns(seconds: number): number {
  return seconds * 1e9;
}

describe('one 128 x 128 x 512 tile', () => {
  const tile = { m: 128, k: 128, n: 512 };

  // TensorE: 512 columns in 512 cycles. VectorE: 128 * 512 FP32 results leave PSUM, 65536 / lanes cycles.
  test.each([
    // v2: TensorE 512 / 2.8 = 182.857 ns; VectorE 512 / 1.12 = 457.143 ns + 100 / 1.12 = 89.286 ns
    { chip: 'trn1', bound: 'VectorE', tensor: 182.857, vector: 457.143, time: 546.429 },
    // v3: TensorE 512 / 2.4 = 213.333 ns; VectorE 256 / 0.96 = 266.667 ns + 100 / 0.96 = 104.167 ns
    { chip: 'trn2', bound: 'VectorE', tensor: 213.333, vector: 266.667, time: 370.833 },
    // v4: TensorE 213.333 ns + 41.667 ns; VectorE 256 / 1.2 = 213.333 ns as well, but + 100 / 1.2 = 83.333 ns
    { chip: 'trn3', bound: 'VectorE', tensor: 213.333, vector: 213.333, time: 296.667 },
  ])('on $chip waits for the results to leave PSUM', ({ chip, bound, tensor, vector, time }) => {
    const { busy, ...rest } = cost({ chip }, 'matmul', tile);
    expect(ns(busy.TensorE)).toBeCloseTo(tensor, 3);
    expect(ns(busy.VectorE)).toBeCloseTo(vector, 3);
    expect(busy.ScalarE).toBe(0);
    expect(busy.DMA).toBe(0);
    expect(rest.bound).toBe(bound);
    expect(ns(rest.time)).toBeCloseTo(time, 3);
    expect(rest.flops).toBe(2 * 128 * 128 * 512);
  });

  test('eight times as long a contraction is bound by TensorE', () => {
    const long = { ...tile, k: 1024 };
    // v2: 8 * 512 / 2.8 = 1462.857 ns + 100 / 2.8 = 35.714 ns
    expect(ns(cost({ chip: 'trn1' }, 'matmul', long).time)).toBeCloseTo(1498.571, 3);
    // v3, v4: 8 * 512 / 2.4 = 1706.667 ns + 100 / 2.4 = 41.667 ns
    for (const chip of ['trn2', 'trn3']) {
      const { time, bound } = cost({ chip }, 'matmul', long);
      expect(bound).toBe('TensorE');
      expect(ns(time)).toBeCloseTo(1748.333, 3);
    }
  });

  test('FP32 takes four passes', () => {
    expect(tensorCycles(tile, { dtype: 'f32' })).toBeCloseTo(4 * 512, 6);
  });

  test('operands in HBM add the start of a DMA', () => {
    const without = cost({ chip: 'trn2' }, 'matmul', tile);
    const withHbm = cost({ chip: 'trn2' }, 'matmul', { ...tile, hbmBytes: 2 });
    expect(ns(withHbm.time - without.time)).toBeCloseTo(1300, 6);
    expect(withHbm.bound).toBe('VectorE');
  });
});

describe('TensorE', () => {
  test('a ragged K fills whole tiles of 128 rows', () => {
    expect(tensorCycles({ m: 128, k: 129, n: 512 })).toBeCloseTo(2 * 512, 6);
    expect(tensorCycles({ m: 128, k: 1, n: 512 })).toBeCloseTo(512, 6);
  });

  test('a ragged N moves its own columns, at least 64', () => {
    // n = 600: 512 + 88 columns beside ceil(100/128) = 1 stationary tile; the other way 5 * max(64, 100) = 500
    expect(tensorCycles({ m: 100, k: 128, n: 600 })).toBeCloseTo(500, 6);
    // n = 520: 512 + max(64, 8) = 576; the other way ceil(520/128) = 5 tiles * 128 = 640
    expect(tensorCycles({ m: 128, k: 128, n: 520 })).toBeCloseTo(576, 6);
  });

  test('the operand that costs less stands still', () => {
    // m = 130 stationary: 2 tiles * 600 = 1200. n = 600 stationary: 5 tiles * 130 = 650. K = 129: 2 of them.
    expect(tensorCycles({ m: 130, k: 129, n: 600 })).toBeCloseTo(2 * 650, 6);
    // One token: the weights stand, 32 tiles of 64 least cycles, 32 times; the other way 32 * 4096.
    expect(tensorCycles({ m: 1, k: 4096, n: 4096 })).toBeCloseTo(32 * 32 * 64, 6);
  });

  test('the cores of a rank share rows, columns and problems', () => {
    // 8 cores, 128 rows each: 512 columns.
    expect(tensorCycles({ m: 1024, k: 128, n: 512 }, { cores: 8 })).toBeCloseTo(512, 6);
    // One tile of rows: 512 columns / 8 cores = 64 each.
    expect(tensorCycles({ m: 128, k: 128, n: 512 }, { cores: 8 })).toBeCloseTo(64, 6);
    // 12 problems over 8 cores: 4 groups of 2 cores, 3 problems each of 128 columns / 2 = 64 cycles. 8 groups: 2 * 128.
    expect(tensorCycles({ batch: 12, m: 128, k: 128, n: 128 }, { cores: 8 })).toBeCloseTo(3 * 64, 6);
  });
});

describe('DMA', () => {
  // trn1 core: 272 GB/s < 440.2 GB/s, its half of the HBM. trn2 core: 2.9 TB/s / 8 = 362.5 < 368 GB/s. trn3 core: 528.
  test.each([
    { chip: 'trn1', cores: 1, bandwidth: 272e9 },
    { chip: 'trn1', cores: 2, bandwidth: 544e9 },
    { chip: 'inf2', cores: 1, bandwidth: 272e9 },
    { chip: 'trn2', cores: 1, bandwidth: 362.5e9 },
    { chip: 'trn2', cores: 2, bandwidth: 725e9 },
    { chip: 'trn2', cores: 8, bandwidth: 2900e9 },
    { chip: 'trn3', cores: 1, bandwidth: 528e9 },
    { chip: 'trn3', cores: 8, bandwidth: 4224e9 },
  ])('$cores cores of $chip move $bandwidth bytes a second', ({ chip, cores, bandwidth }) => {
    expect(rankEngines(findChip(chip), cores).hbmBandwidth).toBeCloseTo(bandwidth, 0);
  });

  test('an operator bound by DMA takes its bytes over the bandwidth and the start, no instruction overhead', () => {
    // 29 MB / 362.5 GB/s = 80 us, + 1.3 us
    const { time, bound } = cost({ chip: 'trn2' }, 'add', { m: 128, n: 64, hbmBytes: 29e6 });
    expect(bound).toBe('DMA');
    expect(ns(time)).toBeCloseTo(81_300, 3);
  });
});

describe('VectorE and ScalarE', () => {
  test('softmax over long rows is bound by the exponentials of ScalarE', () => {
    // 256 rows: 2 on each partition. 1024 columns, a lane a partition: 2048 cycles.
    // v3 ScalarE: 2048 / 1.2 = 1706.667 ns + 100 / 1.2 = 83.333 ns. VectorE: 2 passes * 2 * 1024/4 = 1024 / 0.96 = 1066.667 ns
    const v3 = cost({ chip: 'trn2' }, 'softmax', { m: 256, n: 1024 });
    expect(v3.bound).toBe('ScalarE');
    expect(ns(v3.busy.VectorE)).toBeCloseTo(1066.667, 3);
    expect(ns(v3.time)).toBeCloseTo(1790, 3);
    // v4 ScalarE: two lanes a partition, 1024 / 1.2 = 853.333 ns + 83.333 ns; VectorE 1024 / 1.2 = 853.333 ns too
    expect(ns(cost({ chip: 'trn3' }, 'softmax', { m: 256, n: 1024 }).time)).toBeCloseTo(936.667, 3);
    // v2: ScalarE 2048 / 1.4 = 1462.857 ns, VectorE 2 * 2048 / 1.12 = 3657.143 ns + 89.286 ns
    const v2 = cost({ chip: 'trn1' }, 'softmax', { m: 256, n: 1024 });
    expect(v2.bound).toBe('VectorE');
    expect(ns(v2.time)).toBeCloseTo(3746.429, 3);
  });

  test('a row is never split over partitions: one row takes as long as 128', () => {
    const one = cost({ chip: 'trn2' }, 'rmsnorm', { m: 1, n: 4096 });
    expect(cost({ chip: 'trn2' }, 'rmsnorm', { m: 128, n: 4096 })).toEqual(one);
    expect(cost({ chip: 'trn2' }, 'rmsnorm', { m: 129, n: 4096 }).busy.ScalarE).toBeCloseTo(2 * one.busy.ScalarE, 15);
    // ScalarE: 4096 / 1.2 = 3413.333 ns. VectorE: two passes of 4096 / 4 lanes, 2048 / 0.96 = 2133.333 ns
    expect(ns(one.busy.ScalarE)).toBeCloseTo(3413.333, 3);
    expect(ns(one.busy.VectorE)).toBeCloseTo(2133.333, 3);
  });

  test('the rows of all problems and of all cores lie side by side', () => {
    // 32 heads of 64 rows over 8 cores: 256 rows on each, 2 on a partition, as if it were one problem of 2048 rows.
    const heads = cost({ chip: 'trn2', cores: 8 }, 'softmax', { batch: 32, m: 64, n: 600 });
    expect(heads).toEqual(cost({ chip: 'trn2', cores: 8 }, 'softmax', { m: 2048, n: 600 }));
    expect(ns(heads.busy.ScalarE)).toBeCloseTo(1000, 6); // 2 * 600 / 1.2
  });

  test('elements without rows spread over all lanes of all cores', () => {
    // rope, 3 passes of 100 * 128 elements on 2 cores of 512 lanes: 3 * ceil(12.5) = 39 cycles / 0.96
    expect(ns(cost({ chip: 'trn2', cores: 2 }, 'rope', { m: 100, n: 128 }).busy.VectorE)).toBeCloseTo(40.625, 6);
    // SwiGLU in FP32: VectorE 65536 / 256 = 256 cycles, ScalarE 65536 / 128 = 512 cycles
    const { busy } = cost({ chip: 'trn2', dtype: 'f32' }, 'swiglu', { m: 128, n: 512 });
    expect(ns(busy.VectorE)).toBeCloseTo(266.667, 3);
    expect(ns(busy.ScalarE)).toBeCloseTo(426.667, 3);
  });

  test('only matmuls count FLOPs', () => {
    const sizes = { batch: 3, m: 5, k: 7, n: 11 };
    expect(operatorFlops(operator('matmul', sizes))).toBe(2 * 3 * 5 * 7 * 11);
    for (const kind of KINDS.filter((name) => name !== 'matmul')) expect(operatorFlops(operator(kind, sizes))).toBe(0);
  });
});

describe('chips without published engines', () => {
  test.each([
    ['inf1', 'NeuronCore clock'],
    ['trn4', 'NeuronCore clock'],
    ['h100-sxm', 'NeuronCore clock'],
  ])('%s is refused by name', (id, missing) => {
    const error = { code: 'UNSUPPORTED', path: id, message: expect.stringContaining(missing) };
    expect(() => rankEngines(findChip(id), 1)).toThrow(expect.objectContaining(error));
  });

  test.each(['tensor', 'vector', 'scalar', 'dma'] as const)('a core without %s figures is refused', (engine) => {
    const trn2 = findChip('trn2');
    const chip: ChipSpec = { ...trn2, core: { ...trn2.core!, [engine]: null } };
    expect(() => rankEngines(chip, 1)).toThrow(new RegExp(engine, 'i'));
  });

  test('a chip without a published HBM bandwidth is refused', () => {
    const trn2 = findChip('trn2');
    const chip: ChipSpec = { ...trn2, memory: { capacity: 1, bandwidth: null, stacks: null } };
    expect(() => rankEngines(chip, 1)).toThrow(/HBM bandwidth/);
  });

  test('every other chip of the catalogue is timed or refused, never charged 0', () => {
    for (const chip of chips()) {
      let time: number | undefined;
      try {
        time = operatorCost(operator('add', { m: 128, n: 128, hbmBytes: 1e6 }), rankEngines(chip, 1), true).time;
      } catch (error) {
        expect(error).toMatchObject({ code: 'UNSUPPORTED', path: chip.id });
      }
      if (time !== undefined) expect(time).toBeGreaterThan(0);
    }
  });
});

describe('properties', () => {
  const size = fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 20_000 }));
  const anyCase = fc.record({
    chip: fc.constantFrom(...NEURON_CHIPS),
    dtype: fc.constantFrom('bf16' as const, 'f32' as const),
  });
  const anyCores = fc.integer({ min: 1, max: 8 });
  const anySizes = fc.record({
    batch: fc.integer({ min: 1, max: 20 }),
    m: size,
    k: size,
    n: size,
    hbmBytes: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 1e5 }), fc.integer({ min: 1, max: 1e8 })),
  });
  const anyKind = fc.constantFrom(...KINDS);
  const coresOf = (chip: string, cores: number) => Math.min(cores, findChip(chip).cores!);
  const slack = 1 - 1e-12; // one rounding of a double

  test('nothing is faster than its FLOPs over the peak of the array or its bytes over the bandwidth', () => {
    fc.assert(
      fc.property(anyCase, anyCores, anyKind, anySizes, (machine, wished, kind, sizes) => {
        const cores = coresOf(machine.chip, wished);
        const { time, flops } = cost({ ...machine, cores }, kind, sizes);
        const { core, hbmBandwidth } = rankEngines(findChip(machine.chip), cores);
        const peak = cores * 2 * 128 * 128 * core.tensor!.clock * (machine.dtype === 'f32' ? 1 / 4 : 1);
        expect(time).toBeGreaterThanOrEqual((flops / peak) * slack);
        expect(time).toBeGreaterThanOrEqual((sizes.hbmBytes / hbmBandwidth) * slack);
      }),
    );
  });

  test('the time is no less than any engine is busy', () => {
    fc.assert(
      fc.property(anyCase, anyKind, anySizes, (machine, kind, sizes) => {
        const { time, busy } = cost(machine, kind, sizes);
        for (const engine of Object.values(busy)) expect(time).toBeGreaterThanOrEqual(engine);
      }),
    );
  });

  test('more rows, columns, terms, problems or bytes never take less time', () => {
    const axis = fc.constantFrom('batch', 'm', 'k', 'n', 'hbmBytes' as const);
    const more = fc.integer({ min: 1, max: 600 });
    fc.assert(
      fc.property(anyCase, anyKind, anySizes, axis, more, (machine, kind, sizes, key, growth) => {
        const grown = { ...sizes, [key]: sizes[key as 'm'] + growth };
        const before = cost(machine, kind, sizes).time;
        expect(cost(machine, kind, grown).time).toBeGreaterThanOrEqual(before * slack);
      }),
      { numRuns: 1000 },
    );
  });

  test('an operator does not get faster where its bound passes from one engine to another', () => {
    // VectorE: 51200 / 512 lanes = 100 cycles = 104.167 ns, + 104.167 ns. DMA at 362.5 GB/s: 37760 B in 104.166 ns,
    // 37762 B in 104.171 ns. Two bytes more must not save the overhead of VectorE.
    const [less, more] = [37_760, 37_762].map((hbmBytes) =>
      cost({ chip: 'trn2' }, 'add', { m: 128, n: 400, hbmBytes }),
    );
    expect(ns(less!.time)).toBeCloseTo(1300 + 208.333, 3);
    expect(more).toMatchObject({ time: less!.time, bound: 'VectorE' });
  });

  test('more cores are never slower', () => {
    fc.assert(
      fc.property(anyCase, anyCores, anyKind, anySizes, (machine, wished, kind, sizes) => {
        const cores = coresOf(machine.chip, wished);
        const { time } = cost({ ...machine, cores }, kind, sizes);
        if (cores < 2) return;
        expect(time).toBeLessThanOrEqual(cost({ ...machine, cores: cores - 1 }, kind, sizes).time / slack);
      }),
      { numRuns: 1000 },
    );
  });
});
