/**
 * The clock of a tile program: timelines worked out by hand from the documented figures, to the picosecond, and the promise
 * that a folded loop takes exactly as long as the same loop run in full.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { block } from '../src/core/access.ts';
import { clockProgram, type Interval } from '../src/core/clock.ts';
import { type Program, type ProgramBuilder, tileProgram } from '../src/core/program.ts';
import { findChip } from '../src/hardware/catalog.ts';

const v2 = findChip('trn1').core!;
const v3 = findChip('trn2').core!;
const v4 = findChip('trn3').core!;

/** Picoseconds of `cycles` at `clock` hertz. */
const cycles = (count: number, clock: number): number => Math.round((count / clock) * 1e12);
/** Semaphore to DMA start, and the least time of 128 descriptors on 16 engines (1.18 us / 8 rounds each). */
const DMA_START = 1_300_000;
const LEAST_DMA = 1_180_000;
/** NeuronCore-v2: 272 GB/s over 16 engines. */
const dmaTime = (bytes: number): number => Math.round((bytes / 272e9) * 1e12);

function intervals(program: Program): Interval[] {
  const seen: Interval[] = [];
  clockProgram(program, { observe: (interval) => seen.push(interval) });
  return seen;
}

function matmulTiles(count: number): Program {
  return tileProgram('matmul', v2, (nc) => {
    const a = nc.input('a', 'bf16', [128, 128]);
    const b = nc.input('b', 'bf16', [128, 512 * count]);
    const stationary = nc.sbuf('stationary', 'bf16', 128, 128);
    const moving = nc.sbuf('moving', 'bf16', 128, 512 * count);
    const sum = nc.psum('sum', 128, 512);
    nc.dmaCopy(stationary, block(a, [0, 128], [0, 128]));
    nc.dmaCopy(moving, block(b, [0, 128], [0, 512 * count]));
    for (let i = 0; i < count; i++) {
      nc.matmul(sum, stationary, moving.columns(512 * i, 512), { accumulate: i > 0 });
    }
  });
}

describe('a timeline by hand', () => {
  test('one tile: two loads side by side, then the stationary load, then the moving pass', () => {
    const [a, b, matmul] = intervals(matmulTiles(1));
    expect([a!.start, a!.end]).toEqual([DMA_START, DMA_START + LEAST_DMA]);
    expect([b!.start, b!.end]).toEqual([DMA_START, DMA_START + LEAST_DMA]);
    const loaded = DMA_START + LEAST_DMA + cycles(128, 2.8e9);
    expect(matmul!.start).toBe(loaded);
    expect(matmul!.end).toBe(loaded + cycles(512, 2.8e9));
    expect(clockProgram(matmulTiles(1)).time).toBe(matmul!.end);
  });

  test('two matmuls into one accumulator follow each other without a gap, and load the stationary tile once', () => {
    const [, , first, second] = intervals(matmulTiles(2));
    expect(second!.start).toBe(first!.end);
    expect(second!.end - second!.start).toBe(cycles(512, 2.8e9));
  });

  test('a dependent vector instruction waits the static overhead of 100 cycles after the matmul', () => {
    const program = tileProgram('evacuate', v2, (nc) => {
      const x = nc.sbuf('x', 'bf16', 128, 512);
      const sum = nc.psum('sum', 128, 512);
      const out = nc.sbuf('out', 'bf16', 128, 512);
      nc.memset(x, 1);
      nc.matmul(sum, x.columns(0, 128), x);
      nc.copy(out, sum);
    });
    const [set, matmul, copy] = intervals(program);
    expect(set!.end).toBe(cycles(512, 1.12e9));
    expect(matmul!.start).toBe(set!.end + cycles(100, 1.12e9) + cycles(128, 2.8e9));
    expect(copy!.start).toBe(matmul!.end + cycles(100, 2.8e9));
    expect(copy!.end - copy!.start).toBe(cycles(512, 1.12e9));
  });

  test('DMA bound: long rows move at the rate of all engines', () => {
    const rows = 32;
    const program = tileProgram('copy', v2, (nc) => {
      const x = nc.input('x', 'bf16', [128 * rows, 8192]);
      const tile = nc.sbuf('tile', 'bf16', 128, 8192, { slots: 2 });
      nc.loop(rows, (i) => nc.dmaCopy(tile.slot(i), block(x, [i.times(128), 128], [0, 8192])));
    });
    const { time, bound, hbmRead, folded } = clockProgram(program);
    expect(time).toBe(DMA_START + rows * dmaTime(128 * 8192 * 2));
    expect(bound).toBe('DMA');
    expect(hbmRead).toBe(rows * 128 * 8192 * 2);
    expect(folded).toBeGreaterThan(rows / 2);
  });

  test('ScalarE bound: activations of one tile after another, each as many cycles as it has elements', () => {
    const program = tileProgram('exp', v2, (nc) => {
      const x = nc.sbuf('x', 'bf16', 128, 2048);
      const y = nc.sbuf('y', 'bf16', 128, 2048, { slots: 2 });
      nc.memset(x, 0);
      nc.loop(100, (i) => nc.activation(y.slot(i), 'exp', x));
    });
    const { time, busy, bound } = clockProgram(program);
    expect(busy.ScalarE).toBe(100 * cycles(2048, 1.4e9));
    // Zeros in 16 bits are set two elements a cycle.
    expect(time).toBe(cycles(1024, 1.12e9) + cycles(100, 1.12e9) + busy.ScalarE);
    expect(bound).toBe('ScalarE');
  });

  test('two cores on one HBM stack each get half of what the stack gives', () => {
    const program = tileProgram('copy', v3, (nc) => {
      const x = nc.input('x', 'bf16', [128, 16384]);
      nc.dmaCopy(nc.sbuf('tile', 'bf16', 128, 16384), block(x, [0, 128], [0, 16384]));
    });
    const bytes = 128 * 16384 * 2;
    expect(clockProgram(program).time).toBe(DMA_START + Math.round((bytes / 368e9) * 1e12));
    const half = clockProgram(program, { hbmBandwidth: 649e9 / 2 });
    expect(half.time).toBe(DMA_START + Math.round((bytes / 324.5e9) * 1e12));
  });

  test('TensorE of NeuronCore-v3 starts at half its rate, and is at full rate after 3 us', () => {
    const program = tileProgram('ramp', v3, (nc) => {
      const x = nc.sbuf('x', 'bf16', 128, 512);
      const sum = nc.psum('sum', 128, 512);
      nc.memset(x, 1);
      nc.loop(100, () => nc.matmul(sum, x.columns(0, 128), x));
    });
    const matmuls = intervals(program).slice(1);
    const full = cycles(512, 2.4e9);
    expect(matmuls[0]!.end - matmuls[0]!.start).toBe(2 * full);
    expect(matmuls[99]!.end - matmuls[99]!.start).toBe(full);
    const slow = matmuls.filter(({ start, end }) => end - start > full);
    expect(slow.at(-1)!.start - matmuls[0]!.start).toBeLessThan(3_000_000);
  });

  test('a transfer that waits for its operands does not hold up a later one that is ready', () => {
    const program = tileProgram('overlap', v2, (nc) => {
      const x = nc.input('x', 'bf16', [256, 8192]);
      const y = nc.output('y', 'bf16', [128, 8192]);
      const tile = nc.sbuf('tile', 'bf16', 128, 8192, { slots: 2 });
      const slow = nc.sbuf('slow', 'bf16', 128, 8192);
      nc.dmaCopy(tile.slot(0), block(x, [0, 128], [0, 8192]));
      nc.reciprocal(slow, tile.slot(0));
      nc.dmaCopy(block(y, [0, 128], [0, 8192]), slow);
      nc.dmaCopy(tile.slot(1), block(x, [128, 128], [0, 8192]));
    });
    const [load, , store, next] = intervals(program);
    expect(next!.start).toBe(load!.end);
    expect(store!.start).toBeGreaterThan(next!.end);
  });

  test('VectorE and GpSimdE share a port to SBUF: always on v2, later while VectorE is in a performance mode', () => {
    const program = (core: typeof v2, dtype: 'bf16' | 'f32') =>
      tileProgram('port', core, (nc) => {
        const [a, b] = ['a', 'b'].map((name) => nc.sbuf(name, dtype, 128, 1024));
        const [c, d] = ['c', 'd'].map((name) => nc.sbuf(name, dtype, 128, 1024));
        nc.memset(a!, 1);
        nc.memset(b!, 1, 'GpSimdE');
        nc.tensorTensor(c!, a!, 'add', a!);
        nc.tensorTensor(d!, b!, 'add', b!, 'GpSimdE');
      });
    for (const dtype of ['bf16', 'f32'] as const) {
      const { time, busy } = clockProgram(program(v2, dtype));
      expect(time).toBe(busy.VectorE + busy.GpSimdE);
    }
    // Setting memory is no performance mode, and adding 16 bits is: from when GpSimdE could add, the two additions follow each other.
    const ready = cycles(1024, 1.2e9) + cycles(100, 1.2e9);
    expect(clockProgram(program(v3, 'bf16')).time).toBe(ready + cycles(512, 0.96e9) + cycles(1024, 1.2e9));
    const { time, busy } = clockProgram(program(v3, 'f32'));
    expect(time).toBe(busy.VectorE + cycles(100, 0.96e9));
  });

  test('work that waits for its operands does not hold the port: what is ready goes first', () => {
    const program = tileProgram('port order', v2, (nc) => {
      const x = nc.input('x', 'f32', [128, 1024]);
      const [slow, y, z] = ['slow', 'y', 'z'].map((name) => nc.sbuf(name, 'f32', 128, 1024));
      nc.memset(z!, 1, 'GpSimdE');
      nc.dmaCopy(slow!, block(x, [0, 128], [0, 1024]));
      nc.copy(y!, slow!);
      nc.copy(z!, z!, 'GpSimdE');
    });
    const [set, load, late, ready] = intervals(program);
    expect(ready!.start).toBe(set!.end + cycles(100, 1.4e9));
    expect(late!.start).toBeGreaterThanOrEqual(load!.end);
  });

  test('the critical path adds up to the time', () => {
    for (const program of [matmulTiles(1), matmulTiles(2)]) {
      const { time, criticalPath } = clockProgram(program);
      expect(Object.values(criticalPath).reduce((sum, part) => sum + part, 0)).toBe(time);
    }
  });
});

describe('bad programs', () => {
  test('reading a tile that nothing has written names the instruction, the tile and the slot', () => {
    const program = tileProgram('early', v2, (nc) => {
      const x = nc.sbuf('x', 'bf16', 128, 64, { slots: 2 });
      nc.memset(x.slot(0), 0);
      nc.copy(x.slot(0), x.slot(1));
    });
    expect(() => clockProgram(program)).toThrow(
      'early: instruction 1 (tensor_copy): reads "x"[1], which nothing has written',
    );
  });

  test('more than PSUM or SBUF holds is refused where it is declared', () => {
    const over = (write: (nc: ProgramBuilder) => void) => () => tileProgram('over', v3, write);
    expect(over((nc) => nc.psum('sum', 128, 512, { slots: 9 }))).toThrow(/tile sum: expected at most 16384 bytes/);
    expect(over((nc) => nc.sbuf('big', 'f32', 128, 57345))).toThrow(/tile big: expected at most 229376 bytes/);
    expect(over((nc) => nc.sbuf('odd', 'f32', 32, 8, { startPartition: 16 }))).toThrow(/start partition of 0, 32, 64/);
  });
});

/** A random program of nested loops over rotating buffers, as plain choices, so that a failure shrinks. */
const step = fc.record({
  kind: fc.constantFrom('load', 'matmul', 'activation', 'vector', 'gpsimd', 'store'),
  from: fc.nat(3),
  to: fc.nat(3),
  columns: fc.constantFrom(32, 64, 128, 512),
  byInner: fc.boolean(),
});

function randomProgram(
  core: typeof v2,
  slots: number[],
  before: Step[],
  inner: Step[],
  after: Step[],
  counts: number[],
) {
  return tileProgram('random', core, (nc) => {
    const x = nc.input('x', 'bf16', [128, 512]);
    const y = nc.output('y', 'bf16', [128, 512]);
    const tiles = slots.map((count, i) => nc.sbuf(`t${i}`, 'bf16', 128, 512, { slots: count }));
    const sum = nc.psum('sum', 128, 512, { slots: 3 });
    for (const [t, tile] of tiles.entries()) for (let s = 0; s < slots[t]!; s++) nc.memset(tile.slot(s), 0);
    for (let s = 0; s < 3; s++) nc.memset(sum.slot(s), 0);
    const write = (steps: Step[], outer: Parameters<Parameters<typeof nc.loop>[1]>[0], index: typeof outer) => {
      for (const { kind, from, to, columns, byInner } of steps) {
        const slot = byInner ? index : outer;
        const a = tiles[from]!.slot(slot).columns(0, columns);
        const b = tiles[to]!.slot(slot.plus(1)).columns(0, columns);
        if (kind === 'load') nc.dmaCopy(b, block(x, [0, 128], [0, columns]));
        else if (kind === 'store') nc.dmaCopy(block(y, [0, 128], [0, columns]), a);
        else if (kind === 'activation') nc.activation(b, 'exp', a);
        else if (kind === 'vector') nc.tensorTensor(b, a, 'add', sum.slot(slot).columns(0, columns));
        else if (kind === 'gpsimd') nc.copy(b, a, 'GpSimdE');
        else {
          const stationary = tiles[from]!.slot(slot).columns(0, 128);
          nc.matmul(sum.slot(slot).columns(0, columns), stationary, b, { accumulate: [index] });
        }
      }
    };
    nc.loop(counts[0]!, (i) => {
      write(before, i, i);
      nc.loop(counts[1]!, (j) => write(inner, i, j));
      write(after, i, i);
    });
  });
}
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

describe('folding', () => {
  test('a folded program takes exactly as long, and does exactly as much, as the same program run in full', () => {
    let folded = 0;
    const steps = (max: number) => fc.array(step, { maxLength: max });
    fc.assert(
      fc.property(
        fc.constantFrom(v2, v3, v4),
        fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 4, maxLength: 4 }),
        steps(3),
        fc.array(step, { minLength: 1, maxLength: 5 }),
        steps(3),
        fc.tuple(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 60 })),
        (core, slots, before, inner, after, counts) => {
          const program = randomProgram(core, slots, before, inner, after, counts);
          const short = clockProgram(program);
          const { folded: none, ...full } = clockProgram(program, { fold: false });
          expect(none).toBe(0);
          expect({ ...short, folded: 0 }).toEqual({ ...full, folded: 0 });
          if (short.folded > 0) folded++;
        },
      ),
      { numRuns: 300, seed: 7 },
    );
    expect(folded).toBeGreaterThan(100);
  });
});
