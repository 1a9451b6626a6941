/** The flow clock's loop against a plain progressive filling, folding against the unfolded run, and the event queue. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { buildSchedule } from '../src/collectives/build.ts';
import { driveOf } from '../src/collectives/drive.ts';
import { collectiveEngine } from '../src/collectives/engine.ts';
import { EventQueue } from '../src/collectives/event-queue.ts';
import { type FlowProblem, flowProblem, runFlow } from '../src/collectives/flow.ts';
import { fold } from '../src/collectives/fold.ts';
import { compileSteps } from '../src/collectives/program.ts';
import { Wires } from '../src/collectives/wires.ts';
import { applyFaults } from '../src/fabric/degrade.ts';
import { findSystem } from '../src/hardware/catalog.ts';
import { fittedConstants } from '../src/hardware/fitted.ts';
import { createCluster } from '../src/machine/cluster.ts';

interface Flow {
  readonly bytes: number;
  /** Resource and weight. */
  readonly uses: readonly (readonly [number, number])[];
}

/** All flows at once, between a sender and a receiver of their own. */
function problemOf(flows: readonly Flow[], capacity: readonly number[]): FlowProblem {
  const start = [0];
  for (const { uses } of flows) start.push(start.at(-1)! + uses.length);
  const own = (resource: number, flow: Flow): number =>
    flow.uses.reduce((sum, [r, weight]) => sum + (r === resource ? weight : 0), 0);
  const index = Int32Array.from(flows, (_, i) => i);
  return {
    path: index,
    bytes: Float64Array.from(flows, ({ bytes }) => bytes),
    paths: {
      start: Uint32Array.from(start),
      resource: Uint32Array.from(flows.flatMap(({ uses }) => uses.map(([resource]) => resource))),
      weight: Float64Array.from(flows.flatMap(({ uses }) => uses.map(([, weight]) => weight))),
      limit: Float64Array.from(flows, (flow) => Math.min(...flow.uses.map(([r]) => capacity[r]! / own(r, flow)))),
    },
    capacity: Float64Array.from(capacity),
    resources: Int32Array.from(capacity, (_, r) => r),
    stages: {
      first: Int32Array.from({ length: 2 * flows.length + 1 }, (_, e) => e),
      owner: Int32Array.from({ length: 2 * flows.length }, (_, s) => s),
      open: new Int32Array(2 * flows.length).fill(1),
      firstSend: Int32Array.from({ length: 2 * flows.length + 1 }, (_, s) => Math.ceil(s / 2)),
      sends: index,
      sentIn: index.map((i) => 2 * i),
      receivedIn: index.map((i) => 2 * i + 1),
    },
  };
}

/** Max-min rates by raising all rates together until a resource is full, and again with the others: slow and plain. */
function fairRates(flows: readonly Flow[], capacity: readonly number[]): number[] {
  const rates = flows.map(() => 0);
  let open = new Set(flows.keys());
  const left = [...capacity];
  while (open.size > 0) {
    const weight = capacity.map((_, r) =>
      [...open].reduce((sum, f) => sum + flows[f]!.uses.reduce((w, [used, x]) => w + (used === r ? x : 0), 0), 0),
    );
    const step = Math.min(
      ...capacity.map((_, r) => (weight[r]! > 0 ? left[r]! / weight[r]! : Number.POSITIVE_INFINITY)),
    );
    for (const f of open) rates[f]! += step;
    capacity.forEach((_, r) => {
      left[r]! -= step * weight[r]!;
    });
    const full = new Set([...capacity.keys()].filter((r) => weight[r]! > 0 && left[r]! < 1e-9 * capacity[r]!));
    open = new Set([...open].filter((f) => !flows[f]!.uses.some(([r]) => full.has(r))));
  }
  return rates;
}

function referenceTime(flows: readonly Flow[], capacity: readonly number[]): number {
  let running = [...flows];
  let time = 0;
  while (running.length > 0) {
    const rates = fairRates(running, capacity);
    const next = Math.min(...running.map(({ bytes }, f) => bytes / rates[f]!));
    time += next;
    running = running
      .map((flow, f) => ({ ...flow, bytes: flow.bytes - next * rates[f]! }))
      .filter((flow, f) => flow.bytes > 1e-9 * rates[f]!);
  }
  return time;
}

const noLatency = (flows: number) => ({ latency: new Float64Array(flows), efficiency: 1 });

describe('flow loop', () => {
  test('two flows share a link, and the one that is left has all of it', () => {
    const flows = [
      { bytes: 100, uses: [[0, 1]] },
      { bytes: 300, uses: [[0, 1]] },
    ] as const;
    // 50 B/s each for 2 s, then 200 B at 100 B/s.
    expect(runFlow(problemOf(flows, [100]), noLatency(2), 1).time).toBeCloseTo(4, 12);
  });

  test('a flow held back elsewhere leaves its share to the others: the allocation is converged', () => {
    // The triangle of peers.md: A is on both links, B on the first, C on the second, which is narrow.
    const flows = [
      {
        bytes: 30,
        uses: [
          [0, 1],
          [1, 1],
        ],
      },
      { bytes: 170, uses: [[0, 1]] },
      { bytes: 30, uses: [[1, 1]] },
    ] as const;
    // Link 1: A and C 30 each; link 0: B has the other 70. A and C end at 1 s, B had 70 of 170, then 100 B/s.
    const result = runFlow(problemOf(flows, [100, 60]), noLatency(3), 1);
    expect(result.time).toBeCloseTo(2, 12);
    expect(Array.from(result.peak)).toEqual([1, 1]);
  });

  test('equals plain progressive filling on random flows', () => {
    const flow = fc.record({
      bytes: fc.integer({ min: 1, max: 1000 }),
      uses: fc.uniqueArray(fc.tuple(fc.integer({ min: 0, max: 5 }), fc.constantFrom(0.5, 1, 2)), {
        minLength: 1,
        maxLength: 4,
        selector: ([resource]) => resource,
      }),
    });
    fc.assert(
      fc.property(
        fc.array(flow, { minLength: 1, maxLength: 12 }),
        fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 6, maxLength: 6 }),
        (flows, capacity) => {
          const { time, peak } = runFlow(problemOf(flows, capacity), noLatency(flows.length), 1);
          const expected = referenceTime(flows, capacity);
          expect(Math.abs(time / expected - 1)).toBeLessThan(1e-6);
          for (const part of peak) expect(part).toBeLessThanOrEqual(1 + 1e-9);
        },
      ),
      { numRuns: 300, seed: 7 },
    );
  });
});

describe('folding', () => {
  const cases: [string, object, string, string, string[]][] = [
    ['trn2.48xlarge', { rank: 'chip' }, 'all-to-all', 'mesh', []],
    ['trn2.48xlarge', { rank: 'chip' }, 'all-to-all', 'mesh', ['chip3<->chip7']],
    ['trn2.48xlarge', { rank: 'chip' }, 'all-reduce', 'ring', []],
    ['trn2.48xlarge', { ranks: 16 }, 'all-reduce', 'kangaring', []],
    ['trn2.48xlarge', { rank: 'chip' }, 'all-reduce', 'rdh', ['chip 5 slow 0.5']],
    ['trn3-ultraserver-gen2', { rank: 'chip', ranks: 24 }, 'all-gather', 'mesh', ['chip1->sled0 slow 0.5']],
    ['hgx-h100', {}, 'all-reduce', 'double-binary-tree', []],
  ];
  for (const [system, options, collective, algorithm, faults] of cases) {
    test(`a folded ${algorithm} ${collective} on ${system} ${faults.join(' ')} is the unfolded one`, async () => {
      const { parseFault } = await import('../src/fabric/faults.ts');
      const cluster = applyFaults(createCluster(findSystem(system), options), faults.flatMap(parseFault));
      const wires = new Wires(cluster);
      const engine = collectiveEngine(cluster, fittedConstants());
      const ranks = cluster.ranks;
      const schedule = buildSchedule({
        collective: collective as 'all-reduce',
        algorithm,
        ranks,
        elements: 96 * ranks,
      });
      const members = Int32Array.from({ length: ranks }, (_, r) => r);
      for (const steps of [[0], Array.from({ length: schedule.steps }, (_, s) => s)]) {
        const program = compileSteps(schedule, steps, [members], 4096, wires);
        const problem = flowProblem(program, wires, engine);
        const drives = engine.protocols.map((protocol) => driveOf(program, wires, engine, protocol));
        const plain = runFlow(problem, drives[0]!, 1);
        const folded = fold(problem, drives);
        if (folded === null) continue;
        expect(folded.problem.path.length).toBeLessThan(problem.path.length);
        const result = runFlow(folded.problem, folded.drives[0]!, 1);
        expect(result.time / plain.time).toBeCloseTo(1, 9);
        expect(result.earliest / plain.earliest).toBeCloseTo(1, 9);
        plain.peak.forEach((peak, r) => {
          expect(result.peak[folded.resourceClass[r]!]).toBeCloseTo(peak, 6);
        });
      }
    });
  }

  test('a torus of equal chips in one step is one class of transfers for each distance, however many chips there are', () => {
    const classes = [16, 64].map((chips) => {
      const cluster = createCluster(findSystem(chips === 16 ? 'trn2.48xlarge' : 'trn2-ultraserver'), { rank: 'chip' });
      const wires = new Wires(cluster);
      const engine = collectiveEngine(cluster, fittedConstants());
      const schedule = buildSchedule({
        collective: 'all-to-all',
        algorithm: 'mesh',
        ranks: chips,
        elements: chips * 8,
      });
      const program = compileSteps(schedule, [0], [Int32Array.from({ length: chips }, (_, r) => r)], 1, wires);
      const drives = [driveOf(program, wires, engine, engine.protocols[0]!)];
      return fold(flowProblem(program, wires, engine), drives)!.problem.path.length;
    });
    // 4 x 4: (0 1 2) x (0 1 2) hops without order, 6; with both of z's rates 9 x 3.
    expect(classes[0]).toBeLessThanOrEqual(9);
    expect(classes[1]).toBeLessThanOrEqual(27);
  });
});

describe('event queue', () => {
  test('pops by time, and events of one instant in the order in which they were pushed', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 200 }), (times) => {
        const queue = new EventQueue(4);
        times.forEach((time, i) => {
          queue.push(time, i % 4, i, i + 1, 2 * time);
        });
        const expected = times.map((time, i) => ({ time, i })).sort((a, b) => a.time - b.time || a.i - b.i);
        for (const { time, i } of expected) {
          queue.pop();
          expect([queue.time, queue.kind, queue.subject, queue.detail, queue.tail]).toEqual([
            time,
            i % 4,
            i,
            i + 1,
            2 * time,
          ]);
        }
        expect(queue.size).toBe(0);
      }),
      { seed: 3 },
    );
  });

  test('pushes between pops keep the order', () => {
    const queue = new EventQueue(1);
    for (const time of [5, 1, 3]) queue.push(time, 0, time, 0, 0);
    queue.pop();
    expect(queue.time).toBe(1);
    queue.push(2, 0, 2, 0, 0);
    queue.push(3, 0, 30, 0, 0);
    expect(
      [2, 3, 3, 5].map(() => {
        queue.pop();
        return queue.subject;
      }),
    ).toEqual([2, 3, 30, 5]);
  });
});
