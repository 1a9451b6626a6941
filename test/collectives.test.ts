import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ringAllReduce } from '../src/collectives/build.ts';
import { busiestLinks, executeClock, type LinkInterval } from '../src/collectives/clock.ts';
import { algorithmBandwidth, busBandwidth, busFactor, ringAllReduceTime } from '../src/collectives/formula.ts';
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
import { ringOrder } from '../src/fabric/rings.ts';
import { hops } from '../src/fabric/routes.ts';
import { buildTopology, type Topology } from '../src/fabric/topology.ts';
import type { FabricSpec } from '../src/hardware/spec.ts';
import { createArena } from '../src/kernels/arena.ts';
import { DTYPES, type DType } from '../src/kernels/dtype.ts';
import type { Tensor } from '../src/kernels/tensor.ts';

const RANKS = [1, 2, 3, 4, 5, 7, 8, 16, 64];
const SIZES = [0, 1, 3, 7, 64, 1001, 20011];
const DTYPE_NAMES: readonly DType[] = ['f32', 'bf16'];
const LINK = { bandwidth: 1e9, latency: 1e-6 };
const ON_CHIP = { bandwidth: 1e10, latency: 1e-7 };

const arena = createArena();

function upTo(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i);
}

/** A fixed order that is not the identity: k -> k * 5 mod p where that is a permutation, else reversed. */
function shuffled(p: number): number[] {
  return p % 5 === 0 ? upTo(p).reverse() : upTo(p).map((k) => (k * 5) % p);
}

function torus(sizes: readonly number[], wrap = true): Topology {
  const dimensions = sizes.map((size, d) => ({ name: 'xyz'[d]!, size, wrap, ...LINK }));
  return buildTopology(
    { type: 'torus', dimensions },
    sizes.reduce((a, b) => a * b),
    ON_CHIP,
  );
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

describe('clock executor', () => {
  test('a ring of 4 over single links takes 6 steps of latency and one chunk', () => {
    // 1000 elements of 4 B in 4 chunks of 1000 B: 1 us + 1000 B / (1 GB/s) = 2 us a step, 12 us in all.
    const result = executeClock(ringAllReduce(upTo(4), 1000), torus([4]), upTo(4), 4);
    expect(Array.from(result.stepTimes)).toEqual(new Array(6).fill(2e6));
    expect(result.time).toBe(12e6);
  });

  test('transfers of one step share the link they meet on', () => {
    // Chain 0 - 1 - 2. Both transfers cross 1->2: 2000 B at 1 GB/s = 2 us. 0 to 2 has two latencies: 2 + 2 = 4 us.
    const topology = torus([3], false);
    expect(
      executeClock(
        plan(3, 1000, [
          [
            [0, 2, 1000],
            [1, 2, 1000],
          ],
        ]),
        topology,
        upTo(3),
        1,
      ).time,
    ).toBe(4e6);
    // One after the other: 2 + 1 us, then 1 + 1 us.
    expect(executeClock(plan(3, 1000, [[[0, 2, 1000]], [[1, 2, 1000]]]), topology, upTo(3), 1).time).toBe(5e6);
  });

  test('steps that repeat and steps that differ are each charged their own time', () => {
    const a = [0, 1, 1000] as const;
    const b = [0, 1, 3000] as const;
    const c = [1, 0, 1000] as const;
    const result = executeClock(plan(2, 3000, [[a], [a], [b], [a], [c], [a, c]]), torus([2]), upTo(2), 1);
    expect(Array.from(result.stepTimes)).toEqual([2e6, 2e6, 4e6, 2e6, 2e6, 2e6]);
    // Link 0->1 carries a, a, b, a, a; link 1->0 carries c twice.
    expect(Array.from(result.linkBytes).filter((bytes) => bytes > 0)).toEqual([7000, 2000]);
  });

  test('the closing hop of a chain sets the time of every step', () => {
    // 6 chips, 5 links back: 5 us + 100 B / (1 GB/s) = 5.1 us, 10 steps.
    expect(executeClock(ringAllReduce(upTo(6), 600), torus([6], false), upTo(6), 1).time).toBe(10 * 5.1e6);
  });

  test('ranks on one chip meet on its on-chip link', () => {
    // Ranks 0 1 | 2 3 on two chips. A step: two on-chip transfers, 0.1 us + 0.1 us, beside two over the link,
    // 1 us + 1000 B / (1 GB/s) = 2 us, which set the pace.
    const result = executeClock(ringAllReduce(upTo(4), 4000), torus([2]), [0, 0, 1, 1], 1);
    expect(result.time).toBe(6 * 2e6);
    // All four on one chip: 4000 B on one on-chip link of 10 GB/s = 0.4 us + 0.1 us.
    const single = buildTopology({ type: 'single' }, 1, ON_CHIP);
    expect(executeClock(ringAllReduce(upTo(4), 4000), single, [0, 0, 0, 0], 1).time).toBe(6 * 0.5e6);
  });

  test('a switch charges its latency once and each port carries its own chip', () => {
    const level = { name: 'sled', kind: 'switch', groupSize: 4, reduces: false, ...LINK } as const;
    const sled = buildTopology({ type: 'switched', levels: [level] }, 4, ON_CHIP);
    expect(executeClock(ringAllReduce(upTo(4), 4000), sled, upTo(4), 1).time).toBe(6 * 2e6);
  });

  test('an empty schedule takes no time', () => {
    const result = executeClock(ringAllReduce([0], 100), torus([4]), [2], 4);
    expect(result.time).toBe(0);
    expect(busiestLinks(result, torus([4]), 5)).toEqual([]);
  });

  test('the closed form agrees wherever every hop is one link', () => {
    const fabrics: [number[], number][] = [
      [[2], 2],
      [[4], 4],
      [[12], 12],
      [[4, 4], 16],
      [[4, 4, 4], 64],
    ];
    for (const [sizes, p] of fabrics) {
      const topology = torus(sizes);
      const ring = ringOrder(topology.fabric, upTo(p));
      for (const chunk of [1, 17, 4096, 999_999]) {
        const { time, stepTimes } = executeClock(ringAllReduce(ring, p * chunk), topology, upTo(p), 2);
        const exact = ringAllReduceTime(2 * p * chunk, p, LINK) * 1e12;
        // Half a picosecond of rounding per step, and the doubles' own.
        expect(Math.abs(time - exact)).toBeLessThanOrEqual(0.5 * stepTimes.length + exact * 1e-14);
      }
    }
  });

  test('an uneven buffer takes the time of its longest chunk', () => {
    // 10 elements on 4 ranks: chunks 3 3 2 2, so each step lasts 1 us + 3 ns.
    expect(executeClock(ringAllReduce(upTo(4), 10), torus([4]), upTo(4), 1).time).toBe(6 * 1_003_000);
  });

  const placed = fc.record({
    sizes: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 3 }),
    wrap: fc.boolean(),
    chips: fc.array(fc.nat(), { minLength: 1, maxLength: 9 }),
    elements: fc.nat(5000),
  });

  test('no link carries more than its rate, and the links carry each transfer once per hop', () => {
    fc.assert(
      fc.property(placed, ({ sizes, wrap, chips, elements }) => {
        const topology = torus(sizes, wrap);
        const chipOf = chips.map((chip) => chip % topology.chips);
        const schedule = ringAllReduce(upTo(chipOf.length), elements);
        const result = executeClock(schedule, topology, chipOf, 2);
        topology.bandwidth.forEach((bandwidth, link) => {
          // Busy times are rounded to the picosecond once per step.
          const seconds = (result.linkBusy[link]! + 0.5 * schedule.steps) / 1e12;
          expect(result.linkBytes[link]!).toBeLessThanOrEqual(bandwidth * seconds * (1 + 1e-12));
          expect(result.linkBusy[link]!).toBeLessThanOrEqual(result.time);
        });
        let expected = 0;
        for (const [pair, bytes] of trafficOf(schedule, 2).pairs) {
          const [from, to] = [chipOf[Math.floor(pair / schedule.ranks)]!, chipOf[pair % schedule.ranks]!];
          expected += bytes * Math.max(1, hops(topology, from, to)); // on-chip: one link
        }
        expect(result.linkBytes.reduce((a, b) => a + b, 0)).toBe(expected);
        expect(result.time).toBe(result.stepTimes.reduce((a, b) => a + b, 0));
      }),
      { numRuns: 100 },
    );
  });

  test('more bytes never take less time', () => {
    fc.assert(
      fc.property(placed, fc.nat(3000), ({ sizes, wrap, chips, elements }, more) => {
        const topology = torus(sizes, wrap);
        const chipOf = chips.map((chip) => chip % topology.chips);
        const time = (n: number): number =>
          executeClock(ringAllReduce(upTo(chipOf.length), n), topology, chipOf, 2).time;
        expect(time(elements + more)).toBeGreaterThanOrEqual(time(elements));
      }),
      { numRuns: 100 },
    );
  });

  test('the observer sees each link once per step, inside the step, and all of its bytes', () => {
    const topology = torus([4, 4]);
    const intervals: LinkInterval[] = [];
    const schedule = ringAllReduce(ringOrder(topology.fabric, upTo(16)), 1001);
    const result = executeClock(schedule, topology, upTo(16), 4, (interval) => intervals.push(interval));
    const starts = [0];
    for (const time of result.stepTimes) starts.push(starts.at(-1)! + time);
    const bytes = new Float64Array(topology.from.length);
    for (const { step, link, start, end, bytes: carried } of intervals) {
      expect(start).toBe(starts[step]);
      expect(end).toBeLessThanOrEqual(starts[step + 1]!);
      bytes[link]! += carried;
    }
    expect(bytes).toEqual(result.linkBytes);
    expect(new Set(intervals.map(({ step, link }) => `${step} ${link}`)).size).toBe(intervals.length);
  });

  test('the busiest link is the one that two transfers cross', () => {
    const topology = torus([3], false);
    const result = executeClock(
      plan(3, 1000, [
        [
          [0, 2, 1000],
          [1, 2, 1000],
        ],
      ]),
      topology,
      upTo(3),
      1,
    );
    // 2 us busy in a step of 4 us.
    expect(busiestLinks(result, topology, 1)).toEqual([
      { link: expect.any(Number), name: 'chip1->chip2 (x+)', bytes: 2000, busy: 2e6, utilization: 0.5 },
    ]);
    expect(busiestLinks(result, topology, 9).length).toBe(2);
  });

  test('a placement that does not fit the topology is an error', () => {
    const schedule = ringAllReduce([0, 1], 4);
    expect(() => executeClock(schedule, torus([2]), [0], 4)).toThrow('"chipOf" expected 2 ranks, got 1');
    expect(() => executeClock(schedule, torus([2]), [0, 2], 4)).toThrow('"chipOf[1]" expected integer in 0..1, got 2');
    expect(() => executeClock(schedule, torus([2]), [0, 1], 0)).toThrow(
      '"bytesPerElement" expected a number > 0, got 0',
    );
  });
});

describe('formula', () => {
  test('ring all-reduce time is 2(p - 1)(alpha + n / (p beta))', () => {
    // 4 ranks, 4000 B: 6 * (1 us + 1 us)
    expect(ringAllReduceTime(4000, 4, LINK)).toBeCloseTo(12e-6, 18);
    expect(ringAllReduceTime(4000, 1, LINK)).toBe(0);
    expect(ringAllReduceTime(0, 4, LINK)).toBe(0);
  });

  test('bus factors are those of nccl-tests', () => {
    expect(busFactor('all-reduce', 64)).toBe(126 / 64);
    expect(busFactor('all-gather', 64)).toBe(63 / 64);
    expect(busFactor('reduce-scatter', 64)).toBe(63 / 64);
    expect(busFactor('all-to-all', 64)).toBe(63 / 64);
    expect(busFactor('send-recv', 64)).toBe(1);
  });

  test('without latency the bus bandwidth of a ring is the rate of its links', () => {
    const free: FabricSpec = {
      type: 'torus',
      dimensions: [{ name: 'x', size: 8, wrap: true, bandwidth: 1e9, latency: 0 }],
    };
    const { time } = executeClock(ringAllReduce(upTo(8), 8000), buildTopology(free, 8, ON_CHIP), upTo(8), 1);
    expect(busBandwidth('all-reduce', 8000, 8, time / 1e12)).toBeCloseTo(1e9, 3);
    expect(algorithmBandwidth(8000, 14e-6)).toBeCloseTo(8000 / 14e-6, 3);
  });

  test('numbers that mean nothing are errors', () => {
    expect(() => ringAllReduceTime(-1, 4, LINK)).toThrow('"bytes" expected a number >= 0, got -1');
    expect(() => ringAllReduceTime(1, 0, LINK)).toThrow('"ranks" expected integer >= 1, got 0');
    expect(() => ringAllReduceTime(1, 2, { bandwidth: 0, latency: 0 })).toThrow('"link.bandwidth"');
    expect(() => algorithmBandwidth(1, 0)).toThrow('"time" expected a number > 0, got 0');
    expect(() => busFactor('all-reduce', 0)).toThrow(RangeError);
  });
});
