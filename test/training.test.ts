/** Training steps: hand arithmetic of the graph's queues, then what must hold for any model, machine and plan. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ModelError } from '../src/base/errors.ts';
import { findSystem } from '../src/hardware/catalog.ts';
import { fittedConstants } from '../src/hardware/fitted.ts';
import { createCluster } from '../src/machine/cluster.ts';
import { formatsOf } from '../src/models/formats.ts';
import type { CollectiveItem, OperatorItem } from '../src/models/graph.ts';
import { modelSpec, models } from '../src/models/presets.ts';
import { parallelism } from '../src/models/shard.ts';
import { graphTime, type ItemClock } from '../src/workloads/training/graph-time.ts';
import {
  type PlanOptions,
  stepPlan,
  type TrainingJobOptions,
  trainingSetup,
} from '../src/workloads/training/options.ts';
import { operatorTime, rankClock } from '../src/workloads/training/part-clock.ts';
import { emptyCost } from '../src/workloads/training/setup.ts';
import { StepModel } from '../src/workloads/training/step-model.ts';
import { trainStep } from '../src/workloads/training/train.ts';

const operator = (name: string, after: readonly number[]): OperatorItem => ({
  type: 'operator',
  name,
  case: { op: 'matmul', dims: { m: 1, k: 1, n: 1 }, dtype: 'bf16' },
  repeat: 1,
  flops: 0,
  after,
});
const exchange = (dimension: CollectiveItem['dimension'], after: readonly number[]): CollectiveItem => ({
  type: 'collective',
  name: 'exchange',
  collective: 'all-gather',
  dimension,
  ranks: 2,
  bytes: 1,
  dtype: 'bf16',
  repeat: 1,
  after,
});
const clock: ItemClock = { operator: ({ name }) => Number(name), collective: () => 5 };

test('FP32 products of compiled programs move twice the bytes of BF16 ones or more, and multiply as fast', () => {
  const cluster = createCluster(findSystem('trn1.32xlarge'), {});
  const setup = (software: 'compiler' | 'library') =>
    trainingSetup({ model: modelSpec('bert-large'), cluster, seq: 128, globalBatch: 512, software });
  const time = (software: 'compiler' | 'library', dtype: 'bf16' | 'f32', rows: number): number => {
    const job = setup(software);
    return operatorTime(job, rankClock(job), { op: 'matmul', dims: { m: rows, k: 8192, n: 8192 }, dtype });
  };
  // Bound by TensorE, whose FP32 takes four passes: hand-written kernels pay for them, the compiler casts.
  expect(time('library', 'f32', 8192) / time('library', 'bf16', 8192)).toBeCloseTo(4, 0);
  expect(time('compiler', 'f32', 8192) / time('compiler', 'bf16', 8192)).toBeLessThan(2);
  // Bound by memory: 8 bytes an operand for the cast and the product, instead of 2.
  expect(time('compiler', 'f32', 1) / time('compiler', 'bf16', 1)).toBeGreaterThan(2);
});

describe('a graph', () => {
  test('computes and sends in two queues; what nothing forbids overlaps, and only the rest is exposed', () => {
    // 3, then a send of 5 beside 4, then 2 that needs both: 3 + 5 + 2.
    const graph = [operator('3', []), exchange('tp', [0]), operator('4', [0]), operator('2', [1, 2])];
    const { time, compute, communication, exposed } = graphTime(graph, clock, { pieces: 1, contention: 0 });
    expect([time, compute, communication, exposed.tp]).toEqual([10, 9, 5, 5]);
    // Half of a hidden send is taken from the operators beside it: here the send is on the critical path.
    expect(
      graphTime([operator('3', []), exchange('dp', []), operator('9', [0])], clock, { pieces: 1, contention: 0.5 })
        .time,
    ).toBe(14.5);
  });

  test('a gather in pieces lets its product start with the first and end a piece after the last', () => {
    const graph = [exchange('tp', []), operator('8', [0])];
    expect(graphTime(graph, clock, { pieces: 1, contention: 0 }).time).toBe(13);
    expect(graphTime(graph, clock, { pieces: 4, contention: 0 }).time).toBe(5 / 4 + 8);
  });
});

const job = (over: Partial<TrainingJobOptions> = {}): TrainingJobOptions => ({
  model: modelSpec('llama-3.1-8b'),
  cluster: createCluster(findSystem('trn2.48xlarge'), { rank: 'chip' }),
  seq: 4096,
  globalBatch: 64,
  ...over,
});
const tp4: PlanOptions = { ...parallelism({ tp: 4 }), pp: 2 };

test('the parts of a step add up to it, and its MFU is that of its time', () => {
  const { breakdown, stepTimeNs, mfu, tokensPerS } = trainStep(job(), tp4);
  const sum = Object.values(breakdown).reduce((total, part) => total + part, 0);
  expect(sum / stepTimeNs).toBeCloseTo(1, 9);
  // 6 x 8.03e9 weights less the embedding, and 12 L h s / 2 for causal attention, over 16 chips of 667 TFLOP/s.
  const weights = 6 * (8.03e9 - 128256 * 4096);
  const attention = (12 * 32 * 4096 * 4096) / 2;
  expect(mfu! / (((weights + attention) * tokensPerS) / (16 * 667e12))).toBeCloseTo(1, 2);
});

test('a plan costs the same in a model that has seen every other', () => {
  const setup = trainingSetup(job());
  const shared = new StepModel(setup);
  const plans = [
    tp4,
    { ...parallelism({ tp: 2 }), pp: 4, zero: 3 },
    { ...parallelism({ tp: 2, cp: 2 }), pp: 2, placement: 'tp-pp-cp-dp' as const },
    { ...parallelism({ tp: 2, cp: 2 }), pp: 4, placement: 'tp-pp-cp-dp' as const },
    { ...parallelism({ tp: 1 }), pp: 4, schedule: 'zb-h1' as const, recompute: 'full' as const },
    { ...parallelism({ tp: 1 }), pp: 4, schedule: 'dualpipe' as const },
  ].map((options) => stepPlan(setup, options));
  const [together, alone] = [emptyCost(), emptyCost()];
  for (const plan of [...plans, ...[...plans].reverse()]) {
    shared.evaluate(plan, together);
    new StepModel(setup).evaluate(plan, alone);
    expect(together).toEqual(alone);
  }
});

test('gradient accumulation costs its micro-batches and nothing else', () => {
  const step = (globalBatch: number) => trainStep(job({ globalBatch }), tp4).stepTimeNs;
  const [one, two, three] = [step(64), step(128), step(192)];
  expect(three - two).toBeCloseTo(two - one, -1);
});

test('a machine that is faster in anything takes no longer', () => {
  const base = findSystem('trn2.48xlarge');
  const constants = fittedConstants();
  const time = (system: typeof base, more = {}) =>
    trainStep(job({ cluster: createCluster(system, { rank: 'chip' }), constants: { ...constants, ...more } }), tp4)
      .stepTimeNs;
  const slow = time(base);
  const memory = { ...base.chip.memory, bandwidth: 2 * base.chip.memory.bandwidth! };
  expect(time({ ...base, chip: { ...base.chip, memory } })).toBeLessThanOrEqual(slow);
  expect(time(base, { neuronTrainingStep: 0 })).toBeLessThan(slow);
  const h100 = findSystem('dgx-h100');
  const on = (chip: typeof h100.chip) =>
    trainStep(job({ cluster: createCluster({ ...h100, chip }) }), { ...parallelism({ tp: 2 }) }).stepTimeNs;
  const { chip } = h100;
  const peak = Object.fromEntries(
    Object.entries(chip.peak).map(([name, rate]) => [name, typeof rate === 'number' ? 2 * rate : rate]),
  );
  expect(on({ ...chip, peak: peak as typeof chip.peak })).toBeLessThan(on(chip));
  expect(on({ ...chip, power: { ...chip.power, tdp: 2 * chip.power.tdp! } })).toBeLessThan(on(chip));
});

test('what does not fit says by how much, and what holds it', () => {
  const small = job({ model: modelSpec('llama-3.1-70b') });
  expect(() => trainStep(small, { ...parallelism({ tp: 1 }) })).toThrow(
    /^memory: expected at most 103\.08 GB on a rank, got [\d.]+ GB, [\d.]+ GB over, on stage 0: /,
  );
});

const SYSTEMS = [
  'trn1.32xlarge',
  'trn2.48xlarge',
  'trn2-ultraserver',
  'trn3-ultraserver-gen2',
  'dgx-a100',
  'dgx-h100',
  'gb200-nvl72',
];

test('FP32 that the compiler casts is measured against the rate it multiplies at', () => {
  const cluster = createCluster(findSystem('trn3pds98.48xlarge'), { nodes: 16 });
  const job = { model: modelSpec('llama-3.1-70b'), cluster, seq: 4096, globalBatch: 1024 };
  const step = (software: 'compiler' | 'library') =>
    trainStep({ ...job, formats: formatsOf('f32'), software }, { tp: 8, pp: 4, zero: 1, recompute: 'full' });
  expect(step('compiler').mfuReason).toContain('(bf16)');
  expect(step('library').mfuReason).toContain('(f32)');
  expect(step('compiler').mfu).toBeLessThan(0.4);
});

test('any model on any machine: a step of finite time, an MFU below 1, parts that add up, or an error that names what is wrong', () => {
  let done = 0;
  fc.assert(
    fc.property(
      fc.record({
        model: fc.constantFrom(...models().map(({ id }) => id)),
        system: fc.constantFrom(...SYSTEMS),
        powers: fc.tuple(fc.nat(5), fc.nat(3), fc.nat(1), fc.nat(5)),
        zero: fc.nat(3),
        recompute: fc.constantFrom('none' as const, 'selective' as const, 'full' as const),
        schedule: fc.constantFrom('gpipe' as const, '1f1b' as const, 'zb-h1' as const),
        dtype: fc.constantFrom('bf16' as const, 'bf16' as const, 'fp8' as const, 'f32' as const),
        seq: fc.constantFrom(512, 2048, 8192),
        software: fc.constantFrom('compiler' as const, 'library' as const),
        flash: fc.boolean(),
      }),
      ({ model, system, powers, dtype, seq, software, flash, ...plan }) => {
        const [tp, pp, cp, ep] = powers.map((power) => 2 ** power) as [number, number, number, number];
        const cluster = createCluster(findSystem(system), { nodes: 4 });
        const replicas = Math.max(1, cluster.ranks / (tp * pp * cp));
        const options = {
          model: modelSpec(model),
          cluster,
          seq,
          globalBatch: 16 * replicas,
          formats: formatsOf(dtype),
          software,
          flash,
        };
        try {
          const { stepTimeNs, mfu, breakdown, memory } = trainStep(options, {
            ...parallelism({ tp, cp, ep }),
            pp,
            ...plan,
          });
          done++;
          expect(stepTimeNs).toBeGreaterThan(0);
          expect(stepTimeNs).toBeLessThan(1e15);
          if (mfu !== null) expect(mfu > 0 && mfu < 1).toBe(true);
          const parts = Object.values(breakdown);
          expect(Math.min(...parts)).toBeGreaterThanOrEqual(0);
          expect(parts.reduce((sum, part) => sum + part, 0) / stepTimeNs).toBeCloseTo(1, 6);
          expect(Math.min(...Object.values(memory))).toBeGreaterThanOrEqual(0);
        } catch (error) {
          if (!(error instanceof ModelError) && !(error instanceof RangeError)) throw error;
          expect(error.message).toMatch(/expected/);
          expect(error.message).not.toMatch(/SBUF|PSUM|undefined|NaN/);
        }
      },
    ),
    { numRuns: 150, seed: 6 },
  );
  expect(done).toBeGreaterThan(15);
});
