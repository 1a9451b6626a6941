/**
 * What holds for any inference plan, on random ones: results are finite and add up, and a change that can only help or only harm does.
 *
 * What does not hold, and is kept out by the plans that a relation takes:
 * - Prompts of one position a rank use the kernel of decoding, of two launches where that of several has one.
 * - Libraries of the compiler level have a flash kernel for one long sequence at a time: without it twice the work takes more than twice
 *   the time.
 * - Small pieces of prompts fill a pipeline. Replicas lie between its stages: more of them make its hops longer.
 * - Continuous serving: a longer prompt interrupts the others longer, a longer output spreads that over more tokens.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ModelError } from '../src/base/errors.ts';
import type { OperandFormat } from '../src/core/operator-case.ts';
import { findSystem } from '../src/hardware/catalog.ts';
import { createCluster } from '../src/machine/cluster.ts';
import { formatsOf } from '../src/models/formats.ts';
import type { MemoryUse } from '../src/models/memory.ts';
import { modelSpec, models } from '../src/models/presets.ts';
import { economics } from '../src/workloads/economics.ts';
import { evaluateInference, type InferenceTime } from '../src/workloads/inference/evaluate.ts';
import { infer, inferencePlanMemory } from '../src/workloads/inference/infer.ts';
import { type InferencePlan, inferencePlan, planRanks, replicaBatch } from '../src/workloads/inference/plan.ts';
import { inferenceTables } from '../src/workloads/inference/tables.ts';

/** Most of them machines whose operators are formulas: milliseconds a plan. */
const SYSTEMS = ['dgx-a100', 'dgx-h100', 'dgx-h100', 'gb200-nvl72', 'gb200-nvl72', 'trn2.48xlarge'];
const MACHINES = new Map(
  [...new Set(SYSTEMS)].map((id) => {
    const cluster = createCluster(findSystem(id));
    return [id, { cluster, tables: inferenceTables(cluster) }];
  }),
);
const oneOf = <T>(...values: readonly T[]) => fc.constantFrom(...values);
const NARROW: readonly OperandFormat[] = ['fp8', 'mxfp4', 'int8', 'mxfp8'];

const jobs = fc.record({
  model: oneOf(...models().map(({ id }) => id)),
  system: oneOf(...SYSTEMS),
  tp: oneOf(1, 2, 4, 8, 16),
  pp: oneOf(1, 1, 1, 2, 4),
  cp: oneOf(1, 1, 1, 2),
  dp: oneOf(1, 1, 2, 4),
  ep: oneOf(1, 1, 1, 4),
  cpMode: oneOf('ring' as const, 'all-to-all' as const),
  batch: oneOf(1, 2, 3, 8, 64, 100),
  input: oneOf(16, 128, 1000, 2048, 9000),
  output: oneOf(1, 2, 100, 512),
  weights: oneOf<OperandFormat>('bf16', 'bf16', ...NARROW),
  kv: oneOf<OperandFormat>('bf16', 'bf16', 'fp8'),
  software: oneOf('compiler' as const, 'library' as const, 'megakernel' as const),
  page: oneOf(1, 16, 128),
  prefillChunk: oneOf(null, null, 512, 2000),
  serving: oneOf('static' as const, 'continuous' as const),
  /** Longest sequence of compiled programs beyond the job's own; none: no fixed shapes. */
  room: oneOf(null, null, null, 0, 1000),
  /** Of a draft's tokens; null: no speculation. */
  acceptance: oneOf(null, null, null, 0.5),
});
type Job = typeof jobs extends fc.Arbitrary<infer T> ? T : never;

function optionsOf({ system, model, weights, kv, room, acceptance, ...rest }: Job) {
  return {
    ...rest,
    model: modelSpec(model),
    formats: formatsOf('bf16', { weights, kv }),
    compiled: room === null ? null : { batch: 4, maxLen: rest.input + rest.output + room },
    speculation: acceptance === null ? null : { draft: modelSpec('llama-3.2-1b'), draftTokens: 3, acceptance },
  };
}

/** What `compute` gives; null if it refuses the job with an error that says what it expects. */
function unlessRefused<T>(compute: () => T): T | null {
  try {
    return compute();
  } catch (error) {
    if (!(error instanceof ModelError) && !(error instanceof RangeError)) throw error;
    expect(error.message).toMatch(/expected/);
    expect(error.message).not.toMatch(/SBUF|PSUM|undefined|NaN/);
    return null;
  }
}

interface Outcome {
  readonly plan: InferencePlan;
  readonly time: InferenceTime;
  readonly memory: MemoryUse;
}

/** Without regard to the memory's capacity. */
function outcomeOf(job: Job): Outcome | null {
  const { cluster, tables } = MACHINES.get(job.system)!;
  return unlessRefused(() => {
    const plan = inferencePlan(optionsOf(job));
    if (planRanks(plan) > cluster.ranks) throw new RangeError('expected fewer ranks');
    return { plan, time: evaluateInference(plan, tables), memory: inferencePlanMemory(plan) };
  });
}

const sum = (parts: object) => Object.values(parts as Record<string, number>).reduce((a, b) => a + b, 0);

test('any model on any machine: finite times and bytes, parts that add up, the bill of the time; or an error that says what it expects', () => {
  let done = 0;
  fc.assert(
    fc.property(jobs, (job) => {
      const { cluster } = MACHINES.get(job.system)!;
      const result = unlessRefused(() => infer(cluster, optionsOf(job)));
      if (result === null) return;
      done++;
      const { ttftNs, tpotNs, totalNs, tokensPerS, breakdown, memory, energyJ, costUsd } = result;
      expect(Math.min(ttftNs, tpotNs, totalNs - ttftNs * (1 - 1e-12), tokensPerS)).toBeGreaterThanOrEqual(0);
      expect(Math.max(ttftNs, tpotNs, totalNs)).toBeLessThan(1e15);
      for (const parts of [breakdown.prefill, breakdown.decode, memory])
        expect(Math.min(...Object.values(parts))).toBeGreaterThanOrEqual(0);
      expect(sum(breakdown.prefill) / ttftNs).toBeCloseTo(1, 9);
      expect(sum(breakdown.decode) / tpotNs).toBeCloseTo(1, 9);
      const { totalBytes, capacityBytes, stage, ...classes } = memory;
      expect(sum(classes) / totalBytes).toBeCloseTo(1, 9);
      expect(totalBytes).toBeLessThanOrEqual(capacityBytes);
      expect((tokensPerS * totalNs) / 1e9 / (job.batch * job.output)).toBeCloseTo(1, 9);
      if (job.serving === 'static') expect((ttftNs + (job.output - 1) * tpotNs) / totalNs).toBeCloseTo(1, 9);
      const bill = economics(cluster.system, 1, totalNs / 1e9);
      for (const [value, expected] of [
        [energyJ, bill.energyJ],
        [costUsd, bill.costUsd],
      ] as const) {
        if (expected === null) expect(value).toBeNull();
        else expect(value! / expected).toBeCloseTo(1, 9);
      }
    }),
    { numRuns: 150, seed: 7 },
  );
  expect(done).toBeGreaterThan(25);
});

interface Relation {
  readonly change: (job: Job) => Partial<Job>;
  readonly takes?: (job: Job) => boolean;
  readonly holds: (base: Outcome, changed: Outcome, job: Job) => void;
}

/** Up to rounding. */
const atMost = (smaller: number, larger: number) => expect(smaller).toBeLessThanOrEqual(larger * (1 + 1e-9));
const hasWindow = ({ model }: Job) =>
  modelSpec(model).kinds.some(
    ({ attention }) => attention.kind === 'gqa' && (attention.window ?? attention.chunk) !== null,
  );

const RELATIONS: Readonly<Record<string, Relation>> = {
  'twice the ranks of tensor parallelism hold no more each': {
    change: ({ tp }) => ({ tp: 2 * tp }),
    holds({ memory }, { memory: cut }) {
      atMost(cut.weights, memory.weights);
      atMost(cut.kvCache, memory.kvCache);
      atMost(cut.total, memory.total);
    },
  },
  'twice the prompt takes longer, as does a token after it': {
    takes: ({ software }) => software !== 'compiler',
    change: ({ input }) => ({ input: 2 * input }),
    holds({ time, memory }, longer) {
      atMost(time.ttft, longer.time.ttft);
      atMost(time.tpot, longer.time.tpot);
      atMost(memory.total, longer.memory.total);
    },
  },
  'twice the output takes longer a token, and the same to the first': {
    takes: ({ serving, room }) => serving === 'static' && room === null,
    change: ({ output }) => ({ output: 2 * output }),
    holds({ time }, { time: longer }) {
      expect(longer.ttft).toBe(time.ttft);
      atMost(time.tpot, longer.tpot);
    },
  },
  'twice the batch takes longer and yields more tokens a second': {
    takes: ({ software }) => software !== 'compiler',
    change: ({ batch }) => ({ batch: 2 * batch }),
    holds({ time }, { time: larger }) {
      atMost(time.ttft, larger.ttft);
      atMost(time.tpot, larger.tpot);
      atMost(time.tokensPerSecond, larger.tokensPerSecond);
    },
  },
  'the cache is proportional to sequences, and without windows to whole pages of positions': {
    takes: ({ pp, room, acceptance }) => pp === 1 && room === null && acceptance === null,
    change: ({ batch, input, output }) => ({ batch: 3 * batch, input: 2 * input, output: 2 * output }),
    holds(base, { plan, memory }, job) {
      const { page, shard } = plan;
      const held = ({ input, output }: InferencePlan) =>
        Math.ceil((page * Math.ceil((input + output) / page)) / shard.cp);
      const sequences = replicaBatch(plan) / replicaBatch(base.plan);
      const positions = held(plan) / held(base.plan);
      const growth = memory.kvCache / base.memory.kvCache;
      if (hasWindow(job)) atMost(growth, sequences * positions);
      else expect(growth).toBeCloseTo(sequences * positions, 9);
    },
  },
  'narrower weights and caches are no slower to decode and no larger': {
    takes: ({ weights, serving }) => weights === 'bf16' && serving === 'static',
    change: () => ({ weights: 'fp8', kv: 'fp8' }),
    holds({ time, memory }, narrow) {
      atMost(narrow.time.tpot, time.tpot);
      atMost(narrow.memory.weights, memory.weights);
      atMost(narrow.memory.kvCache, memory.kvCache);
    },
  },
  'larger pages are no faster and no smaller': {
    change: ({ page }) => ({ page: 4 * page }),
    holds({ time, memory }, paged) {
      // A context that fills its tiles can be a little faster than one that leaves a part of the last one empty.
      atMost(time.tpot, 1.01 * paged.time.tpot);
      atMost(memory.kvCache, paged.memory.kvCache);
    },
  },
  'twice the replicas with twice the sequences take the same': {
    takes: ({ pp, ep }) => pp === 1 && ep === 1,
    change: ({ dp, batch }) => ({ dp: 2 * dp, batch: 2 * batch }),
    holds({ time, memory }, twice) {
      expect(twice.time.ttft).toBe(time.ttft);
      expect(twice.time.tpot).toBe(time.tpot);
      expect(twice.time.tokensPerSecond / time.tokensPerSecond).toBeCloseTo(2, 9);
      expect(twice.memory).toEqual(memory);
    },
  },
  'a draft that is right more often is no slower': {
    takes: ({ acceptance }) => acceptance !== null,
    change: () => ({ acceptance: 0.8 }),
    holds: ({ time }, { time: better }) => atMost(better.tpot, time.tpot),
  },
  'pieces of prompts of twice the size take no longer on one stage': {
    takes: ({ prefillChunk, pp, software }) => prefillChunk !== null && pp === 1 && software !== 'compiler',
    change: ({ prefillChunk }) => ({ prefillChunk: 2 * prefillChunk! }),
    // A piece that fills its tiles and waves can be a little faster than one that leaves a part of the last one empty.
    holds: ({ time }, { time: larger }) => atMost(larger.ttft, 1.03 * time.ttft),
  },
};

test.each(Object.entries(RELATIONS))('%s', (_, { takes = () => true, change, holds }) => {
  let done = 0;
  fc.assert(
    fc.property(jobs.filter(takes), (job) => {
      const base = outcomeOf(job);
      const changed = base && outcomeOf({ ...job, ...change(job) });
      if (base === null || changed === null) return;
      done++;
      holds(base, changed, job);
    }),
    { numRuns: 40, seed: 8 },
  );
  expect(done).toBeGreaterThan(5);
});
