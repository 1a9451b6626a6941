/** Pipelines: the closed forms against the events, and both against the papers' bubbles. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type PipelineSchedule, SCHEDULES } from '../src/models/in-flight.ts';
import { pipelineSvg, pipelineText } from '../src/report/pipeline.ts';
import { type PipelineWork, pipelineTime, pipelineWork } from '../src/workloads/pipeline/closed-form.ts';
import { makespan, runPipeline } from '../src/workloads/pipeline/engine.ts';
import { type PipelineShape, pipelineOrder, whyNoSchedule } from '../src/workloads/pipeline/order.ts';
import { BACKWARD, FORWARD, INPUT, WEIGHT } from '../src/workloads/pipeline/pass.ts';

interface Stage {
  readonly forward: number;
  readonly input: number;
  readonly weight: number;
}

/** Work of stages; a forward and a backward pass together take `overlap` of both. */
function workOf(stages: readonly Stage[], hop: number, overlap = 1): PipelineWork {
  const work = pipelineWork(stages.length);
  stages.forEach(({ forward, input, weight }, stage) => {
    work.forward[stage] = forward;
    work.input[stage] = input;
    work.weight[stage] = weight;
    work.backward[stage] = input + weight;
    work.pair[stage] = overlap * (forward + input + weight);
  });
  work.hop = hop;
  return work;
}

function closed({ schedule, devices, chunks, microBatches }: PipelineShape, work: PipelineWork): number {
  pipelineTime(schedule, devices, chunks, microBatches, work);
  return work.time;
}

const shapes: fc.Arbitrary<PipelineShape> = fc
  .record({
    schedule: fc.constantFrom(...SCHEDULES),
    half: fc.integer({ min: 1, max: 4 }),
    odd: fc.nat(1),
    chunks: fc.integer({ min: 2, max: 4 }),
    rounds: fc.integer({ min: 0, max: 6 }),
    rest: fc.nat(7),
  })
  .map(({ schedule, half, odd, chunks, rounds, rest }) => {
    const devices = schedule === 'dualpipe' ? 2 * half : 2 * half - odd;
    const isCut = schedule === 'interleaved' && devices > 1;
    const least = schedule === 'dualpipe' ? 2 * devices : isCut ? devices : 1;
    // Interleaved: whole rounds; dualpipe: an even number from two on.
    const extra = isCut ? 0 : schedule === 'dualpipe' ? 2 * (rest % devices) : rest % devices;
    const count = Math.max(least, devices * rounds + extra);
    return { schedule, devices, chunks: isCut ? chunks : 1, microBatches: count };
  });

const stage = fc.record({
  forward: fc.integer({ min: 1, max: 100 }),
  input: fc.integer({ min: 1, max: 100 }),
  weight: fc.integer({ min: 1, max: 100 }),
});

describe('the bubble', () => {
  const [forward, input, weight] = [10, 10, 8];
  const [p, m] = [4, 16];
  const equal = (count: number) => workOf(Array<Stage>(count).fill({ forward, input, weight }), 0);
  const idle = (shape: PipelineShape, work = equal(shape.devices * shape.chunks)) => {
    const run = runPipeline(pipelineOrder(shape), work);
    expect(closed(shape, work)).toBeCloseTo(run.time, 9);
    return run.time - Math.max(...run.busy);
  };
  const shape = (schedule: PipelineSchedule, chunks = 1): PipelineShape => ({
    schedule,
    devices: p,
    chunks,
    microBatches: m,
  });

  test('of GPipe and 1F1B is (p - 1)(F + B)', () => {
    expect(idle(shape('gpipe'))).toBe((p - 1) * (forward + input + weight));
    expect(idle(shape('1f1b'))).toBe((p - 1) * (forward + input + weight));
  });

  test('of v chunks a device is a v-th of that, for the same work', () => {
    // Virtual stages of half the layers have half the work.
    const halves = workOf(Array<Stage>(2 * p).fill({ forward: 5, input: 5, weight: 4 }), 0);
    expect(idle(shape('interleaved', 2), halves)).toBeCloseTo(((p - 1) * (forward + input + weight)) / 2, 9);
  });

  test('of ZB-H1 is (p - 1)(F + B - 2 W)', () => {
    expect(idle(shape('zb-h1'))).toBeCloseTo((p - 1) * (forward + input - weight), 9);
  });

  test('of DualPipe is (p / 2 - 1)(F&B + B - 3 W)', () => {
    const work = workOf(Array<Stage>(p).fill({ forward, input, weight }), 0, 0.9);
    const both = 0.9 * (forward + input + weight);
    expect(idle(shape('dualpipe'), work)).toBeCloseTo((p / 2 - 1) * (both + input + weight - 3 * weight), 9);
  });
});

/** Passes and pairs as the step model makes them: weight gradients and hops are the shortest, a pair is no shorter than its passes. */
const proportions = fc.record({
  forward: fc.integer({ min: 10, max: 100 }),
  input: fc.integer({ min: 10, max: 200 }),
  weightPart: fc.integer({ min: 0, max: 10 }),
  hopPart: fc.integer({ min: 0, max: 4 }),
  overlap: fc.constantFrom(1, 0.9, 0.75),
});

/** `factors`: of each stage's work. */
function workIn(
  { forward, input, weightPart, hopPart, overlap }: typeof proportions extends fc.Arbitrary<infer T> ? T : never,
  factors: readonly number[],
): PipelineWork {
  const shortest = Math.min(forward, input);
  const weight = (shortest * weightPart) / 10;
  const pair = Math.max(overlap, Math.max(forward, input + weight) / (forward + input + weight));
  const stages = factors.map((factor) => ({
    forward: factor * forward,
    input: factor * input,
    weight: factor * weight,
  }));
  return workOf(stages, (shortest * hopPart) / 10, pair);
}

test('on equal stages the closed form is the time of the events, for any schedule, size, hop and proportion', () => {
  fc.assert(
    fc.property(shapes, proportions, (shape, each) => {
      const work = workIn(each, Array<number>(shape.devices * shape.chunks).fill(1));
      const { time } = runPipeline(pipelineOrder(shape), work);
      expect(closed(shape, work) / time).toBeCloseTo(1, 9);
    }),
    { numRuns: 500 },
  );
});

test('on stages that differ by up to 1.3 times it is at most 7 % below and 13 % above the events', () => {
  const factor = fc.integer({ min: 100, max: 130 });
  fc.assert(
    fc.property(shapes, proportions, fc.array(factor, { minLength: 32, maxLength: 32 }), (shape, each, factors) => {
      const work = workIn(
        each,
        factors.slice(0, shape.devices * shape.chunks).map((percent) => percent / 100),
      );
      const { time } = runPipeline(pipelineOrder(shape), work);
      const ratio = closed(shape, work) / time;
      // Above: the slowest stage's work and the others' bubble are added up, of which a part is at the same time. Below: a slow
      // stage in the middle of chunks holds up both ways.
      expect(ratio).toBeGreaterThan(0.93);
      expect(ratio).toBeLessThan(1.13);
    }),
    { numRuns: 300 },
  );
});

test('no schedule is faster than its busiest device, and the events never idle longer than GPipe with everything put off', () => {
  fc.assert(
    fc.property(shapes, fc.array(stage, { minLength: 32, maxLength: 32 }), fc.nat(3), (shape, all, hop) => {
      const work = workOf(all.slice(0, shape.devices * shape.chunks), hop);
      const run = runPipeline(pipelineOrder(shape), work);
      expect(run.time).toBeGreaterThanOrEqual(Math.max(...run.busy) - 1e-9);
      const sum = (times: Float64Array) => times.reduce((total, time) => total + time, 0);
      const serial =
        shape.microBatches * (sum(work.forward) + sum(work.backward) + 4 * shape.devices * shape.chunks * hop);
      expect(run.time).toBeLessThanOrEqual(serial + 1e-9);
    }),
    { numRuns: 200 },
  );
});

test('each device runs each pass of its stages once, and every backward pass after what it waits for', () => {
  fc.assert(
    fc.property(shapes, (shape) => {
      const order = pipelineOrder(shape);
      const run = runPipeline(order, workOf(Array<Stage>(order.stages).fill({ forward: 2, input: 1, weight: 1 }), 0));
      const ends = new Map<string, number>();
      const counts = { [FORWARD]: 0, [BACKWARD]: 0, [INPUT]: 0, [WEIGHT]: 0 };
      for (const pass of run.passes.flat()) {
        counts[pass.kind]++;
        ends.set(
          `${pass.kind === FORWARD ? 'f' : pass.kind === WEIGHT ? 'w' : 'b'} ${pass.stage} ${pass.microBatch}`,
          pass.end,
        );
      }
      const work = order.stages * shape.microBatches;
      expect(counts[FORWARD]).toBe(work);
      expect(counts[BACKWARD] + counts[INPUT]).toBe(work);
      expect(counts[WEIGHT]).toBe(counts[INPUT]);
      for (let at = 0; at < order.stages; at++) {
        for (let batch = 0; batch < shape.microBatches; batch++) {
          const [forward, backward] = [ends.get(`f ${at} ${batch}`)!, ends.get(`b ${at} ${batch}`)!];
          expect(backward).toBeGreaterThan(forward);
          if (at > 0) expect(forward).toBeGreaterThan(ends.get(`f ${at - 1} ${batch}`)!);
          if (at > 0) expect(ends.get(`b ${at - 1} ${batch}`)!).toBeGreaterThan(backward);
        }
      }
    }),
    { numRuns: 100 },
  );
});

test('a steady state found early gives the time of all micro-batches', () => {
  for (const schedule of SCHEDULES) {
    const chunks = schedule === 'interleaved' ? 2 : 1;
    const shape = { schedule, devices: 4, chunks, microBatches: 400 };
    const stages = Array.from({ length: 4 * chunks }, (_, at) => ({ forward: 10 + at, input: 9, weight: 8 }));
    const work = workOf(stages, 0.5);
    expect(makespan(shape, work)).toBeCloseTo(runPipeline(pipelineOrder(shape), work).time, 6);
  }
});

test('a schedule that does not exist for a shape says why', () => {
  const shape = { schedule: 'dualpipe' as const, devices: 3, chunks: 1, microBatches: 12 };
  expect(whyNoSchedule(shape)).toBe('"pp" expected an even number for dualpipe, got 3');
  expect(() => pipelineOrder({ ...shape, devices: 4, microBatches: 4 })).toThrow(
    '"microBatches" expected an even number >= 2 pp = 8 for dualpipe, got 4',
  );
});

test('zero-bubble and DualPipe timelines are drawn, as text and as SVG', () => {
  for (const schedule of ['zb-h1', 'dualpipe'] as const) {
    const shape = { schedule, devices: 4, chunks: 1, microBatches: 8 };
    const run = runPipeline(pipelineOrder(shape), workOf(Array<Stage>(4).fill({ forward: 3, input: 3, weight: 3 }), 0));
    const lines = pipelineText(run).split('\n');
    expect(lines.filter((line) => /^\s+[0-3] /.test(line))).toHaveLength(4);
    expect(lines.join('')).toContain('w');
    const svg = pipelineSvg(run, schedule);
    expect(svg.match(/<rect/g)!.length).toBeGreaterThanOrEqual(2 * 4 * 8);
    expect(svg).toContain('</svg>');
  }
});
