/**
 * Inference by hand arithmetic: on a machine whose operators take their bytes over a bandwidth, and nothing else, every time is a
 * sum that fits in a comment. Then properties on real machines.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { operatorWork } from '../src/core/operator-work.ts';
import { findSystem } from '../src/hardware/catalog.ts';
import { createCluster } from '../src/machine/cluster.ts';
import { formatsOf } from '../src/models/formats.ts';
import { modelFromFields } from '../src/models/from-fields.ts';
import { modelSpec } from '../src/models/presets.ts';
import type { ModelSpec } from '../src/models/spec.ts';
import { evaluateInference, inferenceClocks, prefill } from '../src/workloads/inference/evaluate.ts';
import { infer } from '../src/workloads/inference/infer.ts';
import {
  type InferenceOptions,
  inferencePlan,
  paddedContext,
  paddedPrompt,
  planRanks,
} from '../src/workloads/inference/plan.ts';
import { InferenceSearch, inferenceCuts, inferenceFront, rankInference } from '../src/workloads/inference/search.ts';
import { tokensPerStep } from '../src/workloads/inference/speculation.ts';
import { StepTable } from '../src/workloads/inference/step-table.ts';
import { type InferenceTables, inferenceTables } from '../src/workloads/inference/tables.ts';

const llama = modelSpec('llama-2-7b');
const trn2 = findSystem('trn2.48xlarge');
const h100 = findSystem('dgx-h100');

interface Rates {
  /** Seconds of a byte of weights or cache, of a FLOP, of a collective, of a host step and sequence. */
  readonly perByte?: number;
  readonly perFlop?: number;
  readonly collective?: number;
  readonly hostStep?: number;
  readonly hostSequence?: number;
}

/** A machine of trn2's ranks where operators take what `rates` say. */
function simpleTables(rates: Rates): InferenceTables {
  const { perByte = 0, perFlop = 0, collective = 0, hostStep = 0, hostSequence = 0 } = rates;
  return {
    cluster: createCluster(trn2),
    collectives: () => ({ time: collective, algorithm: 'none', algorithmBandwidth: 0, busBandwidth: 0 }),
    programs: () => ({
      operator: (operator) => {
        const work = operatorWork(operator);
        const weights = operator.op.includes('matmul') || operator.op === 'attention' ? work.bBytes : 0;
        return perByte * weights + perFlop * work.flops;
      },
      synchronise: 0,
      hostStep,
      hostSequence,
    }),
  };
}

const evaluate = (rates: Rates, options: Partial<InferenceOptions>) =>
  evaluateInference(inferencePlan({ model: llama, input: 128, output: 1, ...options }), simpleTables(rates));

describe('decode reads weights and cache once', () => {
  test('Llama 2 7B on 8 ranks: layers, head and cache over the bandwidth', () => {
    // A layer: QKV 4096 x 12288, output 4096 x 4096, gate and up 4096 x 22016, down 11008 x 4096; the head 4096 x 32000.
    const layer = 4096 * 12288 + 4096 * 4096 + 4096 * 22016 + 11008 * 4096;
    const weights = (2 * (32 * layer + 4096 * 32000)) / 8;
    // 32 layers, K and V, 32 / 8 heads of 128, 2 bytes; 129 positions and 3 sequences.
    const cache = 32 * 2 * 4 * 128 * 2 * 129 * 3;
    const { tpot } = evaluate({ perByte: 1e-12 }, { tp: 8, batch: 3 });
    expect(tpot).toBeCloseTo((weights + cache) * 1e-12, 15);
  });

  test('pages are read whole, a narrow cache is read in its own width', () => {
    const tpot = (page: number, kv: 'bf16' | 'fp8') =>
      evaluate({ perByte: 1e-12 }, { tp: 8, page, formats: formatsOf('bf16', { kv }) }).tpot;
    const position = 32 * 2 * 4 * 128 * 1e-12;
    // 129 positions are 192 in pages of 64.
    expect(tpot(64, 'bf16') - tpot(1, 'bf16')).toBeCloseTo(63 * 2 * position, 15);
    expect(tpot(1, 'bf16') - tpot(1, 'fp8')).toBeCloseTo(129 * position, 15);
  });

  test('quantised weights are read in their width: MXFP4 with its scales is 17/64 of 16 bits', () => {
    const tpot = (weights: 'bf16' | 'fp8' | 'mxfp4') =>
      evaluate({ perByte: 1e-12 }, { formats: formatsOf('bf16', { weights }) }).tpot;
    const layer = 4096 * 12288 + 4096 * 4096 + 4096 * 22016 + 11008 * 4096;
    expect(tpot('bf16') - tpot('fp8')).toBeCloseTo(32 * layer * 1e-12, 13);
    expect(tpot('bf16') - tpot('mxfp4')).toBeCloseTo((47 / 64) * 2 * 32 * layer * 1e-12, 13);
  });

  test('the mean over the output is that of its middle where the cache grows in a straight line', () => {
    const rates = { perByte: 1e-12 };
    const mean = evaluate(rates, { input: 1000, output: 1001 }).tpot;
    expect(mean).toBeCloseTo(evaluate(rates, { input: 1500, output: 1 }).tpot, 12);
  });
});

describe('experts', () => {
  const mixture = modelSpec('mixtral-8x7b');
  const expert = 3 * 4096 * 14336 * 2;
  const tpot = (options: Partial<InferenceOptions>) =>
    evaluate({ perByte: 1e-12 }, { model: mixture, input: 1, ...options }).tpot;

  test('a token reads 2 of 8 experts in each of 32 layers, a large batch all', () => {
    const cache = 32 * 2 * 8 * 128 * 2 * 2;
    expect(tpot({ batch: 64 }) - tpot({ batch: 1 })).toBeCloseTo((32 * 6 * expert + 63 * cache) * 1e-12, 12);
  });

  test('4 tokens read 8 (1 - (3/4)^4) = 5.47, rounded 5', () => {
    const cache = 32 * 2 * 8 * 128 * 2 * 2;
    expect(tpot({ batch: 4 }) - tpot({ batch: 1 })).toBeCloseTo((32 * 3 * expert + 3 * cache) * 1e-12, 12);
  });

  test('compiled: the experts of each token below 8 routed copies, all experts from there on', () => {
    const cache = 32 * 2 * 8 * 128 * 2 * 2;
    const compiled = (batch: number) => tpot({ batch, software: 'compiler' });
    expect(compiled(3) - compiled(1)).toBeCloseTo((32 * 4 * expert + 2 * cache) * 1e-12, 12);
    expect(compiled(4) - compiled(1)).toBeCloseTo((32 * 6 * expert + 3 * cache) * 1e-12, 12);
  });

  test('compiled prompts go through all experts: 4 times the operations of 2 of 8', () => {
    const flops = (software: 'compiler' | 'library') =>
      evaluate({ perFlop: 1e-15 }, { model: mixture, input: 4096, software }).ttft;
    const routed = 32 * 2 * 3 * 2 * 4096 * 14336 * 4096 * 1e-15;
    // Attention's masked half is computed by both, as 4096 tokens use the flash kernel.
    expect(flops('compiler') - flops('library')).toBeCloseTo(3 * routed, 6);
  });

  test('spread over the replicas of the attention each rank reads its own', () => {
    const whole = tpot({ batch: 4096, dp: 4, ep: 1 });
    const spread = tpot({ batch: 4096, dp: 4, ep: 4 });
    expect(whole - spread).toBeCloseTo(32 * 6 * expert * 1e-12, 12);
  });
});

describe('prompts', () => {
  test('chunks read the weights once each and add up to the same operations', () => {
    const whole = evaluate({ perFlop: 1e-15 }, { input: 4096 }).ttft;
    const pieces = evaluate({ perFlop: 1e-15 }, { input: 4096, prefillChunk: 1024 }).ttft;
    // The head is computed after each piece.
    expect(pieces - whole).toBeCloseTo(3 * 2 * 4096 * 32000 * 1e-15, 12);
    const reading = (prefillChunk: number) => evaluate({ perByte: 1e-12 }, { input: 4096, prefillChunk }).ttft;
    const layer = 4096 * 12288 + 4096 * 4096 + 4096 * 22016 + 11008 * 4096;
    const cache = 32 * 2 * 32 * 128 * 2 * (1024 + 2048 + 3072);
    const again = 3 * 2 * (32 * layer + 4096 * 32000) + cache;
    expect(reading(1024) - reading(4096)).toBeCloseTo(again * 1e-12, 12);
  });

  test('many chunks are integrated: as exact as all of them, the last short one included', () => {
    const tables = simpleTables({ perFlop: 1e-15 });
    const plan = inferencePlan({ model: llama, input: 10_000, output: 1, prefillChunk: 300 });
    const { target } = inferenceClocks(plan, tables);
    let all = 0;
    for (let past = 0; past < 10_000; past += 300) all += target.prefill(1, Math.min(300, 10_000 - past), past).loop;
    expect(prefill(inferenceClocks(plan, tables), plan, 1, 10_000)).toBeCloseTo(all, 9);
  });

  test('the host adds its part to each step and each sequence', () => {
    const { ttft, tpot } = evaluate({ hostStep: 1e-3, hostSequence: 1e-4 }, { batch: 5, input: 96, prefillChunk: 32 });
    expect(ttft).toBeCloseTo(3e-3 + 5e-4, 12);
    expect(tpot).toBeCloseTo(1e-3 + 5e-4, 12);
  });
});

describe('compiled shapes', () => {
  const compiled = { batch: 4, maxLen: 3000 };
  const plan = (shapes: InferenceOptions['compiled']) =>
    inferencePlan({ model: llama, input: 1000, output: 100, ...(shapes && { compiled: shapes }) });

  test('buckets are powers of two from 128, the last one the longest length', () => {
    const lengths = [1, 128, 129, 1024, 1025, 2049, 2999];
    expect(lengths.map((n) => paddedPrompt(plan(compiled), n))).toEqual([128, 128, 256, 1024, 2048, 3000, 3000]);
    expect(paddedContext(plan(compiled), 1100)).toBe(2048);
    expect(paddedContext(plan({ ...compiled, contextBucket: 3000 }), 1100)).toBe(3000);
    expect(paddedPrompt(plan({ ...compiled, promptBucket: 1500 }), 1000)).toBe(1500);
    expect(paddedContext(plan(null), 1100)).toBe(1100);
  });

  test('a step costs the compiled batch, the host the sequences that are there', () => {
    const rates = { perByte: 1e-12, hostSequence: 1e-3 };
    const one = evaluate(rates, { compiled: { batch: 4, maxLen: 256 } }).tpot;
    const four = evaluate(rates, { compiled: { batch: 4, maxLen: 256 }, batch: 4 }).tpot;
    expect(four - one).toBeCloseTo(3e-3, 12);
  });
});

describe('speculation', () => {
  test('tokens a step: 1 + a + ... + a^k', () => {
    expect(tokensPerStep(4, 0)).toBe(1);
    expect(tokensPerStep(4, 1)).toBe(5);
    // 1 + 0.8 + 0.64 + 0.512 + 0.4096
    expect(tokensPerStep(4, 0.8)).toBeCloseTo(3.3616, 12);
  });

  test('a step is the check and k draft steps, one host start when fused', () => {
    const draft = modelSpec('llama-3.2-1b');
    const rates = { perByte: 1e-12, hostStep: 1e-3 };
    const speculation = { draft, draftTokens: 3, acceptance: 0.5 };
    const check = evaluate({ perByte: 1e-12 }, { input: 131 }).tpot;
    const step = evaluate({ perByte: 1e-12 }, { model: draft }).tpot;
    // 1 + 1/2 + 1/4 + 1/8 tokens. The check reads the cache up to its last new position.
    const fused = evaluate(rates, { speculation });
    expect(fused.tokensPerStep).toBe(1.875);
    expect(fused.tpot).toBeCloseTo((check + 3 * step + 1e-3) / 1.875, 12);
    const apart = evaluate(rates, { speculation: { ...speculation, fused: false } });
    expect(apart.tpot - fused.tpot).toBeCloseTo(3e-3 / 1.875, 12);
    expect(fused.ttft).toBeCloseTo(evaluate(rates, {}).ttft + evaluate(rates, { model: draft }).ttft, 12);
  });
});

describe('continuous serving', () => {
  test("a token waits for the other sequences' prefills, B - 1 of them an output", () => {
    const rates = { perByte: 1e-12, perFlop: 1e-15 };
    const options = { batch: 8, input: 1000, output: 100 };
    const alone = evaluate(rates, { ...options, batch: 1 });
    const fixed = evaluate(rates, options);
    const continuous = evaluate(rates, { ...options, serving: 'continuous' });
    expect(continuous.ttft).toBeCloseTo(alone.ttft, 12);
    expect(continuous.tpot).toBeCloseTo(fixed.tpot + (7 * alone.ttft) / 100, 12);
    expect(continuous.tokensPerSecond).toBeCloseTo(8 / (fixed.tpot + (8 * alone.ttft) / 100), 6);
  });
});

describe('pipelines', () => {
  const even: ModelSpec = modelFromFields({
    layers: 32,
    hidden: 1024,
    heads: 8,
    kvHeads: 8,
    ffn: 4096,
    gatedMlp: true,
    vocab: 128,
  });

  test('one sequence passes all stages; p of them take p times the slowest', () => {
    const rates = { perByte: 1e-12 };
    const options = { model: even, input: 1 };
    const one = evaluate(rates, options).tpot;
    expect(evaluate(rates, { ...options, pp: 4 }).tpot).toBeCloseTo(one, 12);
    // The last stage has the head as well.
    const layer = (4 * 1024 * 1024 + 3 * 1024 * 4096) * 2 + 2 * 1024 * 2 * 2;
    const last = (8 * layer + 1024 * 128 * 2) * 1e-12;
    expect(evaluate(rates, { ...options, pp: 4, batch: 4 }).tpot).toBeCloseTo(4 * last, 12);
  });

  test('a short last piece of a prompt does not hide that the long ones pass all stages', () => {
    const ttft = (input: number, prefillChunk: number | null) =>
      evaluate({ perFlop: 1e-15 }, { model: even, pp: 4, input, prefillChunk }).ttft;
    expect(ttft(1001, 1000)).toBeGreaterThan(ttft(1000, null));
    expect(ttft(1001, 1000)).toBeLessThan(1.01 * ttft(1000, null));
    // Four equal pieces on four stages of which the last has the head too: 4 + 3 of 16 parts, and what attention adds to the later ones.
    expect(ttft(1024, 256) / ttft(1024, null)).toBeGreaterThan(7 / 16);
    expect(ttft(1024, 256) / ttft(1024, null)).toBeLessThan(8 / 16);
  });

  test('hops between stages: one less than stages for a prompt, and back to the first for a token', () => {
    const { ttft, tpot, decode } = evaluate({ collective: 1e-3 }, { model: even, pp: 4 });
    expect(ttft).toBeCloseTo(3e-3, 12);
    expect(tpot).toBeCloseTo(4e-3, 12);
    expect(decode.communication).toBeCloseTo(tpot, 12);
  });
});

describe('plans and errors', () => {
  test('ranks are tp x cp x dp x pp', () => {
    const plan = inferencePlan({ model: llama, input: 1, output: 1, tp: 4, cp: 2, dp: 3, pp: 5 });
    expect(planRanks(plan)).toBe(120);
  });

  test.each([
    [{ input: 0 }, '"input" expected integer in 1..134217728, got 0'],
    [{ tp: 1.5 }, '"tp" expected integer in 1..16777216, got 1.5'],
    [{ pp: 33 }, '"pp" expected integer in 1..32, got 33'],
    [{ ep: 16, tp: 4 }, '"ep" expected at most 4'],
    [{ software: 'magic' as 'library' }, '"software" expected one of compiler, library, megakernel'],
    [{ compiled: { batch: 1, maxLen: 64 } }, '"compiled.maxLen" expected integer in 129..134217728, got 64'],
    [{ speculation: { draft: llama, acceptance: 1.5 } }, '"acceptance" expected a number in 0..1, got 1.5'],
    [{ model: modelSpec('bert-large') }, 'expected a decoder'],
    [{ model: modelSpec('gpt2'), input: 1024 }, '"input" expected input + output of at most 1024'],
    [{ tokens: 1 } as object, '"options" has no option "tokens"'],
  ])('case %# is refused', (options, message) => {
    expect(() => inferencePlan({ model: llama, input: 128, output: 1, ...options })).toThrow(message);
  });

  test('what does not fit says what holds it and how much is over', () => {
    const cluster = createCluster(findSystem('trn2.3xlarge'));
    const options = { model: modelSpec('llama-3.1-405b'), input: 100, output: 10, tp: 4 };
    expect(() => infer(cluster, options)).toThrow(
      /on a rank, got 20\d\.\d+ GB, 17\d\.\d+ GB over.*weights 20\d\.\d+ GB/,
    );
    expect(() => infer(cluster, { ...options, tp: 8 })).toThrow('"ranks" expected tp x cp x dp x pp of at most 4');
  });
});

describe('search', () => {
  const model = modelSpec('llama-3.1-8b');
  const cluster = createCluster(h100, { ranks: 8 });

  test('every cut of 8 ranks: tp x pp x dp = 8; experts whole and spread as far as they divide', () => {
    expect(inferenceCuts(model, cluster, {})).toHaveLength(10);
    for (const { tp, pp, cp, dp } of inferenceCuts(model, cluster, {})) expect(tp * pp * cp * dp).toBe(8);
    const mixture = inferenceCuts(modelSpec('mixtral-8x7b'), cluster, { tp: [2], pp: [1] });
    expect(mixture.map(({ ep }) => ep)).toEqual([1, 8]);
    expect(() => inferenceCuts(model, cluster, { tp: [0] })).toThrow('"tp" expected integer in 1..');
  });

  test('the best plan is that of all plans evaluated alone; limits and front hold', () => {
    const space = { batch: [8, 64] };
    const search = new InferenceSearch(cluster, { model, input: 1024, output: 128 }, space);
    for (const cut of search.cuts) search.evaluate(cut);
    const alone = search.cuts.flatMap((cut) =>
      space.batch.map((batch) => infer(cluster, { model, input: 1024, output: 128, ...cut, batch }).tokensPerS),
    );
    const ranked = rankInference(search.rows, 'throughput');
    expect(ranked[0]!.tokensPerS).toBeCloseTo(Math.max(...alone), 6);
    expect(ranked).toHaveLength(search.tried - search.refused);
    const fastest = rankInference(search.rows, 'tpot')[0]!;
    expect(rankInference(search.rows, 'throughput', { tpotNs: fastest.tpotNs })).toEqual([fastest]);
    const front = inferenceFront(search.rows);
    expect(front[0]).toEqual(ranked[0]);
    expect(front.at(-1)).toEqual(fastest);
  });

  test('what does not fit is counted, not listed', () => {
    const search = new InferenceSearch(cluster, { model, input: 100_000, output: 10 }, { tp: [1], pp: [1] });
    for (const cut of search.cuts) search.evaluate(cut);
    expect(search.refused).toBe(1);
    expect(search.rows).toHaveLength(search.tried - 1);
  });
});

describe('real machines', () => {
  test('a decode step is never faster than its weights through the memory', () => {
    const cluster = createCluster(trn2, { ranks: 64 });
    const model = modelSpec('llama-3.1-70b');
    const result = infer(cluster, { model, input: 2048, output: 256, tp: 64 });
    // 70.6e9 parameters less the input table, 2 bytes, 16 chips of 2.9 TB/s.
    const bound = ((70.55e9 - 128256 * 8192) * 2) / (16 * 2.9e12);
    expect(result.tpotNs / 1e9).toBeGreaterThan(bound);
    expect(result.tpotNs / 1e9).toBeLessThan(10 * bound);
    expect(result.memory.totalBytes).toBeLessThan(result.memory.capacityBytes);
    const sum = (parts: object) => Object.values(parts as Record<string, number>).reduce((a, b) => a + b, 0);
    expect(sum(result.breakdown.prefill)).toBeCloseTo(result.ttftNs, 0);
    expect(sum(result.breakdown.decode)).toBeCloseTo(result.tpotNs, 0);
    expect(result.tokensPerS).toBeCloseTo(256e9 / (result.ttftNs + 255 * result.tpotNs), 6);
    expect(result.costPerMTokUsd).toBeCloseTo(((result.costUsd ?? 0) / 256) * 1e6, 6);
  });

  test('longer prompts, longer contexts and larger batches take longer; batches raise the throughput', () => {
    const tables = inferenceTables(createCluster(h100, { ranks: 8 }));
    const model = modelSpec('llama-3.1-8b');
    const at = (batch: number, input: number) =>
      evaluateInference(inferencePlan({ model, batch, input, output: 16, tp: 8 }), tables);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 16, max: 8192 }), (batch, input) => {
        const base = at(batch, input);
        const longer = at(batch, 2 * input);
        const larger = at(2 * batch, input);
        expect(longer.ttft).toBeGreaterThan(base.ttft);
        expect(longer.tpot).toBeGreaterThanOrEqual(base.tpot);
        expect(larger.tpot).toBeGreaterThanOrEqual(base.tpot);
        expect(larger.tokensPerSecond).toBeGreaterThan(base.tokensPerSecond);
      }),
      { numRuns: 30 },
    );
  });

  test('the table of steps is within 3 % of the steps', () => {
    const tables = inferenceTables(createCluster(h100, { ranks: 8 }));
    const plan = inferencePlan({ model: modelSpec('llama-3.1-8b'), input: 1, output: 1, tp: 8 });
    const table = new StepTable(plan, tables);
    const clocks = inferenceClocks(plan, tables);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 30_000 }), (sequences, context) => {
        const step = clocks.target.decode(sequences, context).loop;
        expect(Math.abs(table.decode(sequences, context) / step - 1)).toBeLessThan(0.03);
        expect(table.prefill(context)).toBeGreaterThan(0);
      }),
      { numRuns: 30 },
    );
    expect(() => table.decode(0, 10)).toThrow('"sequences" expected integer >= 1');
    expect(() => table.decode(1, Number.NaN)).toThrow('"positions" expected a number');
  });

  test('windows, latent attention and every level of software run on NeuronCores', () => {
    const cluster = createCluster(findSystem('trn2.48xlarge'), { ranks: 64 });
    for (const software of ['compiler', 'library', 'megakernel'] as const) {
      for (const id of ['gpt-oss-20b', 'deepseek-v2', 'mistral-7b-v0.1', 'llama-4-scout']) {
        const result = infer(cluster, { model: modelSpec(id), input: 500, output: 20, tp: 64, batch: 2, software });
        expect(result.ttftNs).toBeGreaterThan(result.tpotNs);
      }
    }
  });

  test('scores of a long latent context that do not fit on chip are computed without fusion', () => {
    const options = { model: modelSpec('deepseek-v2'), input: 1, output: 1, tp: 64 };
    const tables = inferenceTables(createCluster(findSystem('trn2-ultraserver')));
    const { target } = inferenceClocks(inferencePlan(options), tables);
    const [fused, unfused] = [target.decode(1, 32_000).loop, target.decode(1, 64_000).loop];
    expect(unfused).toBeGreaterThan(fused);
    expect(unfused).toBeLessThan(2.2 * fused);
  });

  test('queries in the latent space spare the expansion of the cache', () => {
    const cluster = createCluster(h100, { ranks: 8 });
    const options = {
      model: modelSpec('deepseek-v2'),
      input: 4096,
      output: 2,
      tp: 8,
      formats: formatsOf('fp8', { weights: 'fp8' }),
    };
    expect(infer(cluster, options).tpotNs).toBeLessThan(infer(cluster, { ...options, absorbed: false }).tpotNs);
  });
});
