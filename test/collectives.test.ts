import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { algorithmBandwidth, busBandwidth, busFactor } from '../src/collectives/formula.ts';
import { executeNumeric } from '../src/collectives/numeric.ts';
import {
  type Action,
  ADD,
  COPY,
  chunkStart,
  type Schedule,
  stepConflicts,
  storedSchedule,
  type Transfer,
} from '../src/collectives/schedule.ts';
import { trafficOf } from '../src/collectives/traffic.ts';
import { createArena } from '../src/kernels/arena.ts';
import { DTYPES, type DType } from '../src/kernels/dtype.ts';
import type { Tensor } from '../src/kernels/tensor.ts';
import { ringAllReduce } from './fixtures/ring.ts';

const RANKS = [1, 2, 3, 4, 5, 7, 8, 16, 64];
const SIZES = [0, 1, 3, 7, 64, 1001, 20011];
const DTYPE_NAMES: readonly DType[] = ['f32', 'bf16'];

const arena = createArena();

function upTo(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i);
}

/** A fixed order that is not the identity: k -> k * 5 mod p where that is a permutation, else reversed. */
function shuffled(p: number): number[] {
  return p % 5 === 0 ? upTo(p).reverse() : upTo(p).map((k) => (k * 5) % p);
}

/** Steps of [source, destination, length] from and to the start of the buffers. */
function plan(
  ranks: number,
  elements: number,
  steps: readonly (readonly (readonly [number, number, number])[])[],
): Schedule {
  return storedSchedule(
    { collective: 'all-reduce', algorithm: 'given', ranks, elements },
    steps.map((step) =>
      step.map(([source, destination, length]) => ({
        source,
        destination,
        sourceOffset: 0,
        destinationOffset: 0,
        length,
        action: ADD,
      })),
    ),
  );
}

function withBuffers(dtype: DType, values: readonly (readonly number[])[], use: (buffers: Tensor[]) => void): void {
  const buffers = values.map((row) => arena.tensor(dtype, [row.length]).set(row));
  use(buffers);
  for (const buffer of buffers) buffer.dispose();
}

/** The buffers after `schedule`. */
function run(schedule: Schedule, dtype: DType, values: readonly (readonly number[])[]): number[][] {
  let results: number[][] = [];
  withBuffers(dtype, values, (buffers) => {
    executeNumeric(schedule, buffers);
    results = buffers.map((buffer) => Array.from(buffer.toFloat32()));
  });
  return results;
}

describe('schedule', () => {
  test('chunks cover the elements in order and the first ones are one longer', () => {
    expect(upTo(5).map((i) => chunkStart(10, 4, i))).toEqual([0, 3, 6, 8, 10]);
    expect(upTo(5).map((i) => chunkStart(2, 4, i))).toEqual([0, 1, 2, 2, 2]);
  });

  test('empty transfers and steps without any other are left out', () => {
    const schedule = plan(3, 8, [
      [[0, 1, 0]],
      [
        [0, 1, 4],
        [1, 2, 0],
      ],
      [],
    ]);
    expect(schedule.steps).toBe(1);
    expect(schedule.transfers(0).length).toEqual(Float64Array.of(4));
    expect(trafficOf(schedule, 2).total).toBe(8);
  });

  test('a transfer conflicts if another of its step writes a part of what it reads', () => {
    const base: Pick<Transfer, 'length' | 'action'> = { length: 4, action: COPY };
    const schedule = storedSchedule({ collective: 'send-recv', algorithm: 'given', ranks: 4, elements: 8 }, [
      [
        { ...base, source: 0, destination: 1, sourceOffset: 0, destinationOffset: 0 },
        { ...base, source: 1, destination: 2, sourceOffset: 3, destinationOffset: 0 },
        { ...base, source: 1, destination: 3, sourceOffset: 4, destinationOffset: 0 },
      ],
    ]);
    expect(stepConflicts(schedule.transfers(0))).toEqual([1]);
    expect(() => schedule.transfers(1)).toThrow(RangeError);
  });
});

describe('ring all-reduce schedule', () => {
  test('one rank, or no elements, moves nothing', () => {
    for (const schedule of [ringAllReduce([0], 100), ringAllReduce([0, 1, 2], 0)]) {
      expect(schedule.steps).toBe(0);
      expect(trafficOf(schedule, 4).total).toBe(0);
    }
  });

  test('it takes 2(p - 1) steps and moves 2(p - 1) buffers in all', () => {
    for (const p of RANKS) {
      for (const n of SIZES.filter((size) => size > 0)) {
        const schedule = ringAllReduce(shuffled(p), n);
        expect(schedule.steps).toBe(2 * (p - 1));
        const { total, sent, received } = trafficOf(schedule, 4);
        expect(total).toBe(2 * (p - 1) * n * 4);
        expect(sent.reduce((a, b) => a + b, 0)).toBe(total);
        expect(received.reduce((a, b) => a + b, 0)).toBe(total);
      }
    }
  });

  test('each rank sends and receives 2(p - 1)/p of the buffer, to within two elements', () => {
    // A rank sends every chunk twice except chunk i+1 (not in the first half) and chunk i+2 (not in the second),
    // so at most the two longer chunks differ from the mean.
    for (const p of RANKS) {
      for (const n of SIZES) {
        const schedule = ringAllReduce(shuffled(p), n);
        const mean = (2 * (p - 1) * n) / p;
        const slack = n % p === 0 ? 0 : 2;
        const { sent, received } = trafficOf(schedule, 1);
        for (const count of [...sent, ...received]) {
          expect(Math.abs(count - mean)).toBeLessThanOrEqual(slack);
        }
      }
    }
  });

  test('no step reads what it writes', () => {
    for (const p of RANKS) {
      for (const n of SIZES) {
        const schedule = ringAllReduce(shuffled(p), n);
        for (let step = 0; step < schedule.steps; step++) expect(stepConflicts(schedule.transfers(step))).toEqual([]);
      }
    }
  });

  test('every rank sends only to its successor in the order', () => {
    const order = [2, 0, 3, 1];
    const schedule = ringAllReduce(order, 10);
    const { source, destination } = schedule.transfers(0);
    source.forEach((from, t) => {
      expect(destination[t]).toBe(order[(order.indexOf(from) + 1) % 4]);
    });
  });

  test('an order that is no permutation is an error', () => {
    expect(() => ringAllReduce([0, 2, 2], 8)).toThrow('"orders[0][2]" expected a position not listed before, got 2');
    expect(() => ringAllReduce([0, 3], 8)).toThrow('"orders[0][1]" expected integer in 0..1, got 3');
    expect(() => ringAllReduce([], 8)).toThrow('"ranks" expected integer in 1..1048576, got 0');
    expect(() => ringAllReduce([0, 1], 1.5)).toThrow('"elements"');
  });
});

describe('numeric executor', () => {
  describe.each(DTYPE_NAMES)('%s', (dtype) => {
    test.each(RANKS)('ring all-reduce of whole numbers over %i ranks is exact on every rank', (p) => {
      for (const n of SIZES) {
        // At most 64 * 2 = 128 in size, so every partial sum is a bf16 number.
        const values = upTo(p).map((rank) => upTo(n).map((i) => ((rank * 7 + i * 3) % 5) - 2));
        const expected = upTo(n).map((i) => values.reduce((total, row) => total + row[i]!, 0));
        for (const row of run(ringAllReduce(shuffled(p), n), dtype, values)) {
          expect(row.findIndex((x, i) => x !== expected[i])).toBe(-1);
        }
      }
    });

    test.each(RANKS)(
      'ring all-reduce of fractions over %i ranks is within p * u * sum of |x| and equal everywhere',
      (p) => {
        const n = 1001;
        const values = upTo(p).map((rank) =>
          upTo(n).map((i) => Math.fround((((rank + 1) * 7919 + i * 104729) % 9973) / 9973 - 0.4)),
        );
        withBuffers(dtype, values, (buffers) => {
          const stored = buffers.map((buffer) => buffer.toFloat32()); // rounded to the dtype: what the sum is of
          executeNumeric(ringAllReduce(upTo(p), n), buffers);
          const results = buffers.map((buffer) => buffer.toFloat32());
          for (let i = 0; i < n; i++) {
            const exact = stored.reduce((total, row) => total + row[i]!, 0);
            const size = stored.reduce((total, row) => total + Math.abs(row[i]!), 0);
            expect(Math.abs(results[0]![i]! - exact)).toBeLessThanOrEqual(p * DTYPES[dtype].unitRoundoff * size);
          }
          for (const row of results) expect(row).toEqual(results[0]);
        });
      },
    );
  });

  test('a step reads what was there before it: two ranks swap, three rotate, two exchange and add', () => {
    const all = { sourceOffset: 0, destinationOffset: 0, length: 2 };
    const make = (ranks: number, transfers: readonly (readonly [number, number, Action])[]): Schedule =>
      storedSchedule({ collective: 'send-recv', algorithm: 'given', ranks, elements: 2 }, [
        transfers.map(([source, destination, action]) => ({ ...all, source, destination, action })),
      ]);
    const two = [
      [1, 2],
      [3, 4],
    ];
    const three = [...two, [5, 6]];
    expect(
      run(
        make(2, [
          [0, 1, COPY],
          [1, 0, COPY],
        ]),
        'f32',
        two,
      ),
    ).toEqual([
      [3, 4],
      [1, 2],
    ]);
    expect(
      run(
        make(3, [
          [0, 1, COPY],
          [1, 2, COPY],
          [2, 0, COPY],
        ]),
        'bf16',
        three,
      ),
    ).toEqual([
      [5, 6],
      [1, 2],
      [3, 4],
    ]);
    expect(
      run(
        make(2, [
          [0, 1, ADD],
          [1, 0, ADD],
        ]),
        'f32',
        two,
      ),
    ).toEqual([
      [4, 6],
      [4, 6],
    ]);
  });

  test('adds to one range in one step are rounded once', () => {
    // bf16 has 8 significant bits: 256 + 1 rounds to 256, and so would each addition apart; 256 + 1 + 1 = 258 fits.
    const schedule = plan(3, 1, [
      [
        [1, 0, 1],
        [2, 0, 1],
      ],
    ]);
    expect(run(schedule, 'bf16', [[256], [1], [1]])[0]).toEqual([258]);
    const apart = plan(3, 1, [[[1, 0, 1]], [[2, 0, 1]]]);
    expect(run(apart, 'bf16', [[256], [1], [1]])[0]).toEqual([256]);
  });

  test('any schedule does what a snapshot of each step does', () => {
    const [ranks, elements] = [3, 12];
    const transfer: fc.Arbitrary<Transfer> = fc
      .record({
        source: fc.nat(ranks - 1),
        destination: fc.nat(ranks - 1),
        sourceOffset: fc.nat(elements),
        destinationOffset: fc.nat(elements),
        length: fc.nat(elements),
        action: fc.constantFrom<Action>(COPY, ADD),
      })
      .map((t) => ({ ...t, length: Math.min(t.length, elements - Math.max(t.sourceOffset, t.destinationOffset)) }));
    fc.assert(
      fc.property(fc.array(fc.array(transfer, { maxLength: 6 }), { maxLength: 4 }), (steps) => {
        let expected = upTo(ranks).map((rank) => upTo(elements).map((i) => rank * elements + i));
        const start = expected;
        for (const step of steps) {
          const before = expected;
          expected = before.map((row) => [...row]);
          for (const t of step) {
            for (let i = 0; i < t.length; i++) {
              const out = expected[t.destination]!;
              const at = t.destinationOffset + i;
              out[at] = (t.action === ADD ? out[at]! : 0) + before[t.source]![t.sourceOffset + i]!;
            }
          }
        }
        const schedule = storedSchedule({ collective: 'send-recv', algorithm: 'given', ranks, elements }, steps);
        expect(run(schedule, 'f32', start)).toEqual(expected);
      }),
      { numRuns: 300 },
    );
  });

  test('no memory is kept', () => {
    run(
      plan(2, 2, [
        [
          [0, 1, 2],
          [1, 0, 2],
        ],
      ]),
      'f32',
      [
        [1, 2],
        [3, 4],
      ],
    );
    const used = arena.usedBytes;
    run(
      plan(2, 2, [
        [
          [0, 1, 2],
          [1, 0, 2],
        ],
      ]),
      'f32',
      [
        [1, 2],
        [3, 4],
      ],
    );
    expect(arena.usedBytes).toBe(used);
  });

  test('wrong buffers are an error that names the culprit', () => {
    const schedule = ringAllReduce([0, 1], 4);
    const good = arena.tensor('f32', [4]);
    expect(() => executeNumeric(schedule, [good])).toThrow('"buffers" expected one per rank, 2, got 1');
    expect(() => executeNumeric(schedule, [good, arena.tensor('f32', [5])])).toThrow(
      '"buffers[1].length" expected 4, got 5',
    );
    expect(() => executeNumeric(schedule, [good, arena.tensor('bf16', [4])])).toThrow(
      '"buffers[1]" expected dtype f32',
    );
    expect(() => executeNumeric(schedule, [good, createArena().tensor('f32', [4])])).toThrow(
      '"buffers[1]" expected the arena',
    );
    expect(() => executeNumeric(schedule, [good, good])).toThrow(
      '"buffers[1]" expected memory of its own, got some of buffers[0]',
    );
  });
});

describe('bandwidths', () => {
  test('bus factors are those of nccl-tests', () => {
    expect(busFactor('all-reduce', 64)).toBe(126 / 64);
    expect(busFactor('all-gather', 64)).toBe(63 / 64);
    expect(busFactor('reduce-scatter', 64)).toBe(63 / 64);
    expect(busFactor('all-to-all', 64)).toBe(63 / 64);
    expect(busFactor('send-recv', 64)).toBe(1);
  });

  test('the bus bandwidth of a ring without latency is the rate of its links', () => {
    // 2 (p - 1) steps of an eighth of 8000 bytes at 1 GB/s
    expect(algorithmBandwidth(8000, 14e-6)).toBeCloseTo(8000 / 14e-6, 3);
    expect(busBandwidth('all-reduce', 8000, 8, 14e-6)).toBeCloseTo(1e9, 3);
  });

  test('numbers that mean nothing are errors', () => {
    expect(() => algorithmBandwidth(-1, 1)).toThrow('"bytes" expected a number >= 0, got -1');
    expect(() => algorithmBandwidth(1, 0)).toThrow('"time" expected a number > 0, got 0');
    expect(() => busFactor('all-reduce', 0)).toThrow(RangeError);
  });
});
