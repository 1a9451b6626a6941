/** Memory by class against the published formulas of the Megatron papers, hand counts, and properties of cutting. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ModelError } from '../src/base/errors.ts';
import { type ActivationOptions, activationBytesPerToken } from '../src/models/activations.ts';
import { parseModelSpec } from '../src/models/families.ts';
import { formatsOf } from '../src/models/formats.ts';
import { microBatchesInFlight, SCHEDULES } from '../src/models/in-flight.ts';
import { inferenceMemory, kvCacheBytes, kvElementsPerToken, kvPositions } from '../src/models/inference-memory.ts';
import {
  checkMemory,
  emptyMemory,
  prepareTrainingMemory,
  type TrainingPlan,
  trainingMemory,
} from '../src/models/memory.ts';
import { layerParameters, parameterCounts } from '../src/models/parameters.ts';
import { findModel, models } from '../src/models/presets.ts';
import { parallelism, rankEdgeParameters } from '../src/models/shard.ts';
import { kindCounts, layerCount, type ModelSpec } from '../src/models/spec.ts';

interface Published {
  readonly configurations: {
    readonly rows: readonly (Shape & Record<'tp' | 'pp' | 'interleave' | 'microBatch', number> & { name: string })[];
  };
  readonly activationsOfALayer: {
    readonly rows: readonly ({ sp: boolean; recompute: 'none' | 'selective' | 'full' } & Record<
      'tp' | 'whole' | 'cut' | 'scores',
      number
    >)[];
  };
  readonly shares: { readonly rows: readonly { model: string; scoresCoefficient: number; savedBySelective: number }[] };
  readonly parameters: { readonly rows: readonly (Shape & { billions: number })[] };
}
const published: Published = JSON.parse(
  readFileSync(new URL('../data/validation/memory/megatron.json', import.meta.url), 'utf8'),
);
const spec = (id: string): ModelSpec => parseModelSpec(findModel(id).config, id);

interface Shape {
  layers: number;
  hidden: number;
  heads: number;
}
const megatron = ({ layers, hidden, heads }: Shape): ModelSpec =>
  parseModelSpec(
    {
      model_type: 'gpt2-like',
      hidden_size: hidden,
      num_hidden_layers: layers,
      num_attention_heads: heads,
      intermediate_size: 4 * hidden,
      seq: 2048,
      vocab_size: 51200,
    },
    'megatron',
  );

const plan = (changes: Partial<TrainingPlan> = {}): TrainingPlan => {
  const {
    pp = 1,
    dp = 1,
    zero = 0,
    schedule = '1f1b',
    interleave = 1,
    microBatch = 1,
    microBatches = 1,
    recompute = 'none',
  } = changes;
  const { cpMode: _, ...shard } = parallelism({
    ...(changes.tp ? { tp: changes.tp } : {}),
    ...(changes.cp ? { cp: changes.cp } : {}),
    ...(changes.ep ? { ep: changes.ep } : {}),
    ...(changes.sp === undefined ? {} : { sp: changes.sp }),
  });
  return { ...shard, pp, dp, zero, schedule, interleave, microBatch, microBatches, recompute };
};

const use = (model: ModelSpec, changes: Partial<TrainingPlan>, options: Partial<ActivationOptions> = {}) => {
  const out = emptyMemory();
  trainingMemory(prepareTrainingMemory(model, { seq: 2048, ...options }), plan(changes), out);
  return out;
};

describe('the tables of the Megatron papers', () => {
  // Dropout masks and scores in memory, as in the papers; 16-bit gradients do not matter here.
  const options: ActivationOptions = {
    formats: formatsOf('f16'),
    dropout: true,
    flash: false,
    seq: 2048,
    expertSkew: 1,
  };

  test.each(published.configurations.rows)(
    'activations of a layer of $name, all techniques',
    ({ layers, hidden, heads }) => {
      const model = megatron({ layers, hidden, heads });
      for (const { tp, sp, recompute, whole, cut, scores } of published.activationsOfALayer.rows) {
        const formula = hidden * (whole + cut / tp + (scores * heads * 2048) / hidden / tp);
        const bytes = activationBytesPerToken(model, model.kinds[0]!, parallelism({ tp, sp }), recompute, options);
        expect(Math.abs(bytes / formula - 1)).toBeLessThan(1e-12);
      }
    },
  );

  test.each(published.configurations.rows)('activations of the first pipeline stage of $name', (row) => {
    const { layers, hidden, heads, tp, pp, interleave, microBatch } = row;
    const model = megatron(row);
    const schedule = interleave > 1 ? ('interleaved' as const) : ('1f1b' as const);
    for (const recompute of ['none', 'selective'] as const) {
      const changes = { tp, sp: true, pp, interleave, schedule, microBatch, microBatches: 10 * pp, recompute };
      const { activations, stage } = use(model, changes, options);
      // Equations 5 and 6: s b h L / t (34 + 5 a s / h), and (1 + (p - 1) / (p m)) times that with m chunks.
      const scores = recompute === 'none' ? (5 * heads * 2048) / hidden : 0;
      const factor = interleave > 1 ? 1 + (pp - 1) / (pp * interleave) : 1;
      // Section 4.2.3: dropout of the embedding of p micro-batches; on one stage norm and input of the output layer.
      const edges = pp + (pp === 1 ? 4 : 0);
      const formula = ((2048 * microBatch * hidden) / tp) * (layers * (34 + scores) * factor + edges);
      expect(stage).toBe(0);
      expect(Math.abs(activations / formula - 1)).toBeLessThan(0.005);
    }
  });

  test.each(published.shares.rows)('selective recomputation of $model saves the published share', (row) => {
    const { layers, hidden, heads } = published.configurations.rows.find(
      ({ name }: { name: string }) => name === row.model,
    )!;
    expect((5 * heads * 2048) / hidden).toBe(row.scoresCoefficient);
    const model = megatron({ layers, hidden, heads });
    const shard = parallelism({ tp: 8 });
    const [all, kept] = (['none', 'selective'] as const).map((recompute) =>
      activationBytesPerToken(model, model.kinds[0]!, shard, recompute, options),
    );
    expect(1 - kept! / all!).toBeCloseTo(row.savedBySelective, 2);
  });

  test.each(published.parameters.rows)('$billions billion parameters', ({ billions, layers, hidden, heads }) => {
    const { total } = parameterCounts(megatron({ layers, hidden, heads }));
    expect(Math.round(total / 1e8) / 10).toBe(billions);
    // Equation 2, but for the last LayerNorm's 2 h.
    const formula = 12 * layers * hidden ** 2 * (1 + 13 / (12 * hidden) + (51200 + 2048) / (12 * layers * hidden));
    expect(Math.abs(total - 2 * hidden - formula)).toBeLessThan(1e-9 * formula);
  });
});

describe('training', () => {
  test('Llama 3.1 8B on 8 x 4 ranks by hand: 2 + 4 + 12 bytes a parameter, the optimizer cut by ZeRO 1', () => {
    const model = spec('llama-3.1-8b');
    const memory = use(model, { tp: 8, dp: 4, zero: 1, microBatch: 1 }, { seq: 8192 });
    // Of a rank: 32 layers of (41943040 + 176160768) / 8 + 8192, two tables of 16032 x 4096, a norm of 4096.
    const parameters = 32 * (218_103_808 / 8 + 8192) + 2 * 16032 * 4096 + 4096;
    expect(memory).toMatchObject({
      weights: 2 * parameters,
      gradients: 4 * parameters,
      optimizer: 3 * parameters,
      stage: 0,
    });
    // A token of a layer: norms, QKV and MLP inputs 4 x 8192 / 8; Q, K, V, result 2 (4 + 1 + 1 + 4) x 128; 4 x 4 for the
    // sums of flash attention; gate, up and product 3 x 2 x 1792. And 2 x 8192 / 8 for the head.
    const layer = 4096 + 2560 + 16 + 10752;
    expect(memory.activations).toBe(8192 * (32 * layer + 2048));
    // FP32 logits of 16032 columns, and one gathered activation.
    expect(memory.buffers).toBe(8192 * (4 * 16032 + 2 * 4096));
    expect(memory.total).toBe(
      memory.weights + memory.gradients + memory.optimizer + memory.activations + memory.buffers,
    );
  });

  test('ZeRO cuts one class more with each stage', () => {
    const model = spec('llama-3.1-8b');
    const [none, one, two, three] = ([0, 1, 2, 3] as const).map((zero) => use(model, { dp: 8, zero }));
    expect(one!.optimizer).toBe(none!.optimizer / 8);
    expect(one!.gradients).toBe(none!.gradients);
    expect(two!.gradients).toBe(none!.gradients / 8);
    expect(two!.weights).toBe(none!.weights);
    expect(three!.weights).toBe(none!.weights / 8);
    // Two whole layers are gathered.
    expect(three!.buffers - none!.buffers).toBe(2 * 2 * 218_112_000);
  });

  test('experts are cut over their own data-parallel group', () => {
    const model = spec('qwen3-30b-a3b');
    const [some, all] = [8, 64].map((ep) => use(model, { dp: 64, ep, zero: 1 }));
    const { experts } = layerParameters(model, model.kinds[0]!);
    expect(some!.weights - all!.weights).toBe(48 * experts * 2 * (1 / 8 - 1 / 64));
    // Optimizer state: 8 expert ranks share a copy with ep = 8, none with 64; a rank's part is the same.
    expect(some!.optimizer).toBe(all!.optimizer);
  });

  test('all stages together hold every layer once, a tied table on both ends', () => {
    for (const { id } of models()) {
      const model = spec(id);
      const layers = layerCount(model);
      const pp = 4;
      let sum = 0;
      for (let stage = 0; stage < pp; stage++) {
        const counts = kindCounts(model, Math.floor((stage * layers) / pp), Math.floor(((stage + 1) * layers) / pp));
        sum += counts.reduce(
          (total, count, kind) => total + count * layerParameters(model, model.kinds[kind]!).total,
          0,
        );
      }
      const { embedding, head } = rankEdgeParameters(model, 1);
      const copied = model.tied ? model.vocab * model.hidden : 0;
      expect(sum + embedding + head - copied).toBe(parameterCounts(model).total);
    }
  });

  test('parameters of tp ranks are those of the layer and what is on every rank', () => {
    const model = spec('llama-3.1-70b');
    const kind = model.kinds[0]!;
    const whole = layerParameters(model, kind);
    for (const tp of [2, 4, 8]) {
      const rank = layerParameters(model, kind, { tp, ep: 1, expertTp: tp });
      expect(tp * (rank.total - rank.norms)).toBe(whole.total - whole.norms);
    }
    // 16 ranks hold the 8 KV heads twice.
    const copied = layerParameters(model, kind, { tp: 16, ep: 1, expertTp: 16 });
    expect(16 * copied.attention - whole.attention).toBe(8192 * 2 * 8 * 128);
  });

  test('micro-batches in flight: the first stage of 1F1B holds p, of interleaved more, of GPipe all', () => {
    expect(microBatchesInFlight('1f1b', 0, 8, 1, 64)).toBe(8);
    expect(microBatchesInFlight('1f1b', 7, 8, 1, 64)).toBe(1);
    expect(microBatchesInFlight('1f1b', 0, 8, 1, 3)).toBe(3);
    expect(microBatchesInFlight('interleaved', 0, 8, 3, 64)).toBe(8 * (1 + 7 / 24));
    expect(microBatchesInFlight('interleaved', 0, 1, 1, 64)).toBe(1);
    expect(microBatchesInFlight('gpipe', 0, 8, 1, 64)).toBe(64);
    expect(microBatchesInFlight('zb-h1', 7, 8, 1, 64)).toBe(8);
    expect(microBatchesInFlight('dualpipe', 3, 8, 1, 64)).toBe(9);
  });

  test('more ranks, more recomputation and smaller micro-batches never need more memory', () => {
    const model = spec('llama-3.1-70b');
    const prepared = prepareTrainingMemory(model, { seq: 4096 });
    const total = (changes: Partial<TrainingPlan>) => {
      const out = emptyMemory();
      trainingMemory(prepared, plan(changes), out);
      return out.total - out.buffers;
    };
    fc.assert(
      fc.property(
        fc.constantFrom(1, 2, 4),
        fc.constantFrom(1, 2, 4, 8),
        fc.constantFrom(...SCHEDULES.filter((name) => name !== 'interleaved')),
        fc.integer({ min: 1, max: 4 }),
        (tp, pp, schedule, microBatch) => {
          const base = { tp, pp, schedule, microBatch, microBatches: 16, dp: 4 };
          const reference = total(base);
          expect(total({ ...base, tp: 2 * tp })).toBeLessThanOrEqual(reference);
          expect(total({ ...base, cp: 2 })).toBeLessThanOrEqual(reference);
          expect(total({ ...base, zero: 1 })).toBeLessThanOrEqual(reference);
          expect(total({ ...base, recompute: 'selective' })).toBeLessThanOrEqual(reference);
          expect(total({ ...base, recompute: 'full' })).toBeLessThanOrEqual(reference);
          expect(total({ ...base, microBatch: microBatch + 1 })).toBeGreaterThan(reference);
        },
      ),
    );
  });

  test('too much memory is an error that names what holds it, largest first', () => {
    const memory = use(spec('llama-3.1-8b'), {});
    expect(() => checkMemory(memory, memory.total)).not.toThrow();
    expect(() => checkMemory(memory, 96e9)).toThrow(ModelError);
    expect(() => checkMemory(memory, 96e9)).toThrow(
      /^memory: expected at most 96.00 GB on a rank, got 15\d.\d\d GB, 5\d.\d\d GB over, on stage 0: optimizer 96.36 GB, gradients 32.12 GB, weights 16.06 GB, activations /,
    );
  });
});

describe('inference', () => {
  test('the KV cache of every preset is the published number of elements a token', () => {
    for (const { id, kvElementsPerToken: elements } of models())
      expect(kvElementsPerToken(spec(id)), id).toBe(elements);
  });

  test('windows and chunks cap the cache, pages round it up', () => {
    const oss = spec('gpt-oss-120b');
    // 18 layers of 128 positions and 18 of all, 2 x 8 x 64 elements, 2 bytes.
    expect(kvCacheBytes(oss, 4096, 'bf16')).toBe(18 * (128 + 4096) * 1024 * 2);
    expect(kvCacheBytes(oss, 100, 'bf16')).toBe(36 * 100 * 1024 * 2);
    // A window of 128 can begin inside a page of 16: 8 pages and one more.
    expect(kvPositions(oss.kinds[0]!.attention, 4096, 16)).toBe(144);
    expect(kvPositions(oss.kinds[1]!.attention, 4097, 16)).toBe(4112);
    expect(kvCacheBytes(spec('deepseek-v3'), 1, 'bf16')).toBe(70272);
    expect(kvCacheBytes(spec('deepseek-v3'), 1, 'fp8')).toBe(35136);
  });

  test('Llama 3.1 70B over 32 ranks by hand', () => {
    const model = spec('llama-3.1-70b');
    const shard = parallelism({ tp: 32, sp: false });
    const memory = inferenceMemory(model, { shard, sequences: 16, length: 8192, tokens: 16 });
    // Each rank has one of 8 KV heads: 4 times the cache that an even cut would give.
    expect(memory.kvCache).toBe(80 * 2 * 128 * 8192 * 16 * 2);
    const layer = 8192 * (2 + 2) * 128 + 2 * 128 * 8192 + (3 * 8192 * 28672) / 32 + 2 * 8192;
    expect(memory.weights).toBe(2 * (80 * layer + 2 * 4008 * 8192 + 8192));
    expect(memory.buffers).toBe(4 * 16 * 128256);
  });

  test('narrow experts count in their own format', () => {
    const model = spec('gpt-oss-20b');
    const of = (formats: ReturnType<typeof formatsOf>) =>
      inferenceMemory(model, { shard: parallelism(), formats, sequences: 1, length: 1, tokens: 1 }).weights;
    const { experts } = layerParameters(model, model.kinds[0]!);
    expect(of(formatsOf('bf16')) - of(formatsOf('bf16', { expertWeights: 'mxfp4' }))).toBe(
      24 * experts * (2 - 0.53125),
    );
  });
});
