/** Operator graphs: operations against closed forms, bytes on the wire, overlap by dependencies, and what software fuses. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { operatorWork } from '../src/core/operator-work.ts';
import { optimizerGraph } from '../src/models/edge-graph.ts';
import { parseModelSpec } from '../src/models/families.ts';
import { attentionPairs, modelFlops } from '../src/models/flops.ts';
import { formatsOf } from '../src/models/formats.ts';
import type { CollectiveItem, Graph, OperatorItem, Shard } from '../src/models/graph.ts';
import {
  embeddingGraph,
  headGraph,
  type LayerPhase,
  layerGraph,
  modelGraph,
  partsFlops,
  stepOf,
} from '../src/models/model-graph.ts';
import { findModel, models } from '../src/models/presets.ts';
import { parallelism } from '../src/models/shard.ts';
import type { ModelSpec } from '../src/models/spec.ts';

const spec = (id: string): ModelSpec => parseModelSpec(findModel(id).config, id);
const operators = (graph: Graph) => graph.filter((item): item is OperatorItem => item.type === 'operator');
const collectives = (graph: Graph) => graph.filter((item): item is CollectiveItem => item.type === 'collective');
const near = (actual: number, expected: number) => expect(Math.abs(actual / expected - 1)).toBeLessThan(1e-12);

const all = models().map(({ id }) => spec(id));
const shards = fc
  .record({
    tp: fc.constantFrom(1, 2, 4, 8, 16, 64),
    sp: fc.boolean(),
    cp: fc.constantFrom(1, 2, 4),
    ep: fc.constantFrom(1, 2, 8, 64),
    cpMode: fc.constantFrom('ring' as const, 'all-to-all' as const),
  })
  .map((shard): Shard => parallelism(shard.ep % shard.tp === 0 ? shard : { ...shard, ep: 1, expertTp: shard.tp }));

describe('operations', () => {
  test('pairs of every mask equal a count, position by position', () => {
    const lengths = fc.integer({ min: 1, max: 40 });
    fc.assert(
      fc.property(lengths, lengths, fc.constantFrom(null, 1, 3, 16, 64), fc.boolean(), (a, b, reach, isChunk) => {
        const [seqQ, seqKv] = [Math.min(a, b), Math.max(a, b)];
        const window = isChunk ? null : reach;
        const chunk = isChunk ? reach : null;
        let count = 0;
        for (let q = seqKv - seqQ; q < seqKv; q++) {
          for (let k = 0; k <= q; k++) {
            if (window !== null && q - k >= window) continue;
            if (chunk !== null && Math.floor(q / chunk) !== Math.floor(k / chunk)) continue;
            count++;
          }
        }
        expect(attentionPairs({ causal: true, window, chunk }, seqQ, seqKv)).toBe(count);
      }),
    );
    expect(attentionPairs({ causal: false, window: null, chunk: null }, 3, 7)).toBe(21);
  });

  test('Llama 3.1 8B: 2 x 7.5e9 a token and the exact attention term', () => {
    const flops = modelFlops(spec('llama-3.1-8b'), 2, 8192);
    // 8030261248 parameters less the embedding table (525336576) and the norms (65 x 4096) are matrices.
    expect(flops.weights).toBe(2 * 2 * 8192 * (8_030_261_248 - 525_336_576 - 65 * 4096));
    // 4 x heads x headDim x 8192 x 8193 / 2 pairs, 32 layers, 2 sequences.
    expect(flops.attention).toBe(4 * 4096 * ((8192 * 8193) / 2) * 32 * 2);
    expect(flops.training).toBe(3 * (flops.weights + flops.attention));
  });

  test('the useful operations of a graph, over all ranks, are those of the closed form: every model, shard and phase', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...all),
        shards,
        fc.constantFrom<LayerPhase>('forward', 'backward', 'backward-input', 'backward-weight', 'prefill', 'decode'),
        fc.integer({ min: 1, max: 5 }),
        fc.constantFrom('compiler' as const, 'library' as const),
        (model, shard, phase, sequences, software) => {
          const isDecode = phase === 'decode';
          const [seqQ, seqKv] = isDecode ? [2, 4096 + sequences] : [16384 * 4, 16384 * 4];
          const step = stepOf({ sequences, seqQ, seqKv, software, absorbed: false });
          // Latent attention expands the whole cache in each step: not what the closed form counts.
          if (isDecode && model.kinds.some(({ attention }) => attention.kind === 'mla')) return;
          const { useful } = partsFlops(modelGraph(model, phase, shard, step));
          const closed = modelFlops(model, sequences, seqQ, seqKv, phase === 'prefill' ? 1 : seqQ);
          // In decode context parallelism repeats everything but the head's and layers' cache work on all its ranks.
          const ranks = shard.tp * (isDecode ? 1 : shard.cp);
          const expected = {
            forward: closed.forward,
            prefill: closed.forward,
            decode: closed.weights + closed.attention / shard.cp,
            backward: 2 * closed.forward,
            'backward-input': closed.forward + closed.attention,
            'backward-weight': closed.weights,
          }[phase];
          near(useful * ranks, expected);
        },
      ),
      { numRuns: 300 },
    );
  });

  test('dimensions are positive integers, bytes positive, and items wait for earlier ones only', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...all),
        shards,
        fc.constantFrom<LayerPhase>('forward', 'backward', 'prefill', 'decode'),
        fc.integer({ min: 1, max: 3 }),
        fc.double({ min: 1, max: 3, noNaN: true }),
        fc.boolean(),
        (model, shard, phase, sequences, expertSkew, flash) => {
          const [seqQ, seqKv] = phase === 'decode' ? [1, 3001] : [4 * 8192 + 4, 4 * 8192 + 4];
          const step = stepOf({ sequences, seqQ, seqKv, expertSkew, flash, recompute: 'selective' });
          let parts: ReturnType<typeof modelGraph>;
          try {
            parts = modelGraph(model, phase, shard, step);
          } catch (error) {
            // Pieces that are no multiple of Llama 4's chunks.
            expect(String(error)).toContain('cp: expected pieces of a multiple of the chunk');
            return;
          }
          for (const { graph } of parts) {
            for (const [index, item] of graph.entries()) {
              for (const earlier of item.after) expect(earlier >= 0 && earlier < index).toBe(true);
              expect(item.repeat).toBeGreaterThan(0);
              if (item.type === 'operator') {
                for (const size of Object.values(item.case.dims))
                  expect(Number.isInteger(size) && size >= 1).toBe(true);
                expect(item.flops).toBeGreaterThanOrEqual(0);
              } else {
                expect(item.bytes).toBeGreaterThan(0);
                expect(item.ranks).toBeGreaterThan(1);
              }
            }
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  test('the operators themselves compute that, where nothing is padded and no expert waits', () => {
    for (const id of ['llama-3.1-70b', 'qwen3-30b-a3b', 'gpt-oss-120b', 'gpt3-175b', 'deepseek-v3']) {
      const model = spec(id);
      for (const phase of ['forward', 'backward'] as const) {
        for (const shard of [{ tp: 1 }, { tp: 4 }, { tp: 4, sp: false }]) {
          const step = stepOf({ sequences: 4, seqQ: 4096 });
          const parts = modelGraph(model, phase, parallelism(shard), step).filter(({ name }) => name !== 'head');
          const { useful, hardware } = partsFlops(parts);
          const attention = operators(parts.flatMap(({ graph }) => graph)).some(
            ({ name }) => name === 'attention, gradient',
          );
          // Without sequence parallelism each rank routes all tokens and projects them into latent vectors.
          if (phase === 'forward' && shard.sp !== false) near(hardware, useful);
          else expect(hardware).toBeGreaterThanOrEqual(useful * (1 - 1e-12));
          expect(attention).toBe(phase === 'backward');
        }
      }
    }
  });

  test('recomputation adds a forward pass to the executed operations and none to the useful ones', () => {
    const model = spec('llama-3.1-8b');
    const kind = model.kinds[0]!;
    const shard = parallelism({ tp: 8 });
    const graphs = (recompute: 'none' | 'selective' | 'full') =>
      layerGraph(model, kind, 'backward', shard, stepOf({ sequences: 1, seqQ: 4096, recompute }));
    const sum = (graph: Graph) =>
      operators(graph).reduce((total, item) => total + item.repeat * operatorWork(item.case).flops, 0);
    const useful = (graph: Graph) => operators(graph).reduce((total, item) => total + item.flops, 0);
    const forward = layerGraph(model, kind, 'forward', shard, stepOf({ sequences: 1, seqQ: 4096 }));
    near(sum(graphs('full')) - sum(graphs('none')), sum(forward));
    near(sum(graphs('selective')) - sum(graphs('none')), sum(forward.filter(({ name }) => name === 'attention')));
    for (const recompute of ['selective', 'full'] as const) near(useful(graphs(recompute)), useful(graphs('none')));
  });

  test('the size of a graph depends on the model and the phase, not on the degrees', () => {
    const model = spec('deepseek-v3');
    const step = stepOf({ sequences: 64, seqQ: 4096 });
    const sizes = [2, 64, 1024].map((degree) => {
      const shard = parallelism({ tp: 2, ep: degree, cp: degree, expertTp: 1 });
      return modelGraph(model, 'backward', shard, step).map(({ graph }) => graph.length);
    });
    expect(new Set(sizes.map((size) => size.join())).size).toBe(1);
  });
});

describe('communication', () => {
  const model = spec('llama-3.1-8b');
  const kind = model.kinds[0]!;
  const graph = (phase: LayerPhase, shard: Partial<Shard>, step = stepOf({ sequences: 2, seqQ: 4096 })) =>
    layerGraph(model, kind, phase, parallelism(shard), step);
  const named = (items: Graph) =>
    collectives(items).map(({ collective, bytes, repeat }) => [collective, bytes * repeat]);
  const tokens = 2 * 4096 * 4096 * 2; // tokens x hidden x 2 bytes

  test('tensor parallelism sums twice a pass; sequence parallelism gathers and scatters the same bytes', () => {
    expect(named(graph('forward', { tp: 8, sp: false }))).toEqual([
      ['all-reduce', tokens],
      ['all-reduce', tokens],
    ]);
    expect(named(graph('backward', { tp: 8, sp: false }))).toEqual([
      ['all-reduce', tokens],
      ['all-reduce', tokens],
    ]);
    const halves = ['all-gather', 'reduce-scatter', 'all-gather', 'reduce-scatter'];
    expect(named(graph('forward', { tp: 8 }))).toEqual(halves.map((name) => [name, tokens]));
    // Backward: the transposes in reverse, and inputs of the two column-cut matrices gathered again for their gradients.
    const backward = ['all-gather', 'all-gather', 'reduce-scatter', 'all-gather', 'all-gather', 'reduce-scatter'];
    expect(named(graph('backward', { tp: 8 }))).toEqual(backward.map((name) => [name, tokens]));
    expect(named(graph('forward', { tp: 1 }))).toEqual([]);
  });

  test('bytes of tensor parallelism do not depend on tp; those of the weights on a rank fall with it', () => {
    const bytes = [2, 4, 8, 16].map((tp) => JSON.stringify(named(graph('backward', { tp }))));
    expect(new Set(bytes).size).toBe(1);
  });

  test('weight gradients wait for nothing in their pass but their own inputs, and nothing waits for them', () => {
    const items = graph('backward', { tp: 8 });
    const gradients = items.flatMap(({ name }, index) => (name.endsWith('weight gradient') ? [index] : []));
    expect(gradients.length).toBe(4);
    for (const { after } of items) expect(after.some((index) => gradients.includes(index))).toBe(false);
    for (const [index, { after }] of items.entries()) for (const earlier of after) expect(earlier).toBeLessThan(index);
    // So the scatter of the QKV input's gradient overlaps the QKV weight gradient.
    const scatter = items.findIndex(({ name }) => name === 'attention input over tp, gradient');
    const weight = items.findIndex(({ name }) => name === 'QKV, weight gradient');
    expect(items[weight]!.after).not.toContain(scatter);
  });

  test('a ring passes K and V cp - 1 times beside the blocks; its pairs are those of the whole sequence', () => {
    const items = graph('forward', { cp: 4 });
    const [travel] = collectives(items);
    // 2 sequences x 1024 positions x (8 + 8) heads x 128 x 2 bytes, three times.
    expect(travel).toMatchObject({
      collective: 'send-recv',
      dimension: 'cp',
      repeat: 3,
      bytes: 2 * 1024 * 16 * 128 * 2,
    });
    const blocks = operators(items).filter(({ case: { op } }) => op === 'attention');
    expect(blocks.map((item) => [item.case.dims.seqQ, item.case.dims.seqKv, item.repeat])).toEqual([
      [1024, 512, 3],
      [1024, 1024, 1],
    ]);
    // The passed blocks start with the journey, the own one ends both.
    expect(blocks[0]!.after).toEqual(travel!.after);
    expect(blocks[1]!.after).toEqual([items.indexOf(travel!), items.indexOf(blocks[0]!)]);
    const pairs = blocks.reduce((sum, item) => sum + item.repeat * operatorWork(item.case).flops, 0);
    near(4 * pairs, 4 * 2 * 32 * 128 * ((4096 * 4097) / 2));
  });

  test('all-to-all context parallelism trades q, k, v in and results out, and computes whole sequences', () => {
    const items = graph('forward', { cp: 4, cpMode: 'all-to-all' });
    const positions = 2 * 1024 * 128 * 2;
    expect(named(items)).toEqual([
      ['all-to-all', positions * (32 + 16)],
      ['all-to-all', positions * 32],
    ]);
    expect(operators(items).find(({ name }) => name === 'attention')!.case.dims).toMatchObject({
      heads: 8,
      kvHeads: 2,
      seqQ: 4096,
    });
  });

  test('experts: each rank sends its tokens x topK, and the experts of a rank compute its share', () => {
    const mixture = spec('qwen3-30b-a3b');
    const step = stepOf({ sequences: 1, seqQ: 4096, expertSkew: 1.5 });
    const items = layerGraph(mixture, mixture.kinds[0]!, 'forward', parallelism({ ep: 8 }), step);
    const sent = 4096 * 8 * 2048 * 2 * 1.5;
    expect(named(items)).toEqual([
      ['all-to-all', sent],
      ['all-to-all', sent],
    ]);
    // 16 experts on a rank, 4096 x 8 / 16 rows each, times the skew; gate and up are 2 x 768 wide.
    const up = operators(items).find(({ name }) => name === 'experts up')!;
    expect(up.case.dims).toEqual({ batch: 16, m: 3072, k: 2048, n: 1536 });
  });

  test('experts inside the tensor-parallel group of a decode step need no all-to-all, and few of them are read', () => {
    const oss = spec('gpt-oss-120b');
    const step = stepOf({ sequences: 1, seqQ: 1, seqKv: 1000 });
    const items = layerGraph(oss, oss.kinds[0]!, 'decode', parallelism({ tp: 16, sp: false }), step);
    expect(named(items).map(([name]) => name)).toEqual(['all-reduce', 'all-reduce']);
    expect(operators(items).find(({ name }) => name === 'experts up')!.case.dims).toEqual({
      batch: 4,
      m: 1,
      k: 2880,
      n: 360,
    });
    // The window of 128 is all that the step reads.
    expect(operators(items).find(({ name }) => name === 'attention')!.case.dims).toMatchObject({ seqKv: 128 });
  });

  test('embedding and logits are cut over the vocabulary', () => {
    const shard = parallelism({ tp: 8 });
    const step = stepOf({ sequences: 2, seqQ: 4096 });
    expect(named(embeddingGraph(model, 'forward', shard, step))).toEqual([['reduce-scatter', tokens]]);
    const head = headGraph(model, 'forward', shard, step);
    expect(named(head)).toEqual([
      ['all-gather', tokens],
      ['all-reduce', 3 * 4 * 8192],
    ]);
    expect(operators(head).find(({ name }) => name === 'logits')!.case.dims).toEqual({ m: 8192, k: 4096, n: 16032 });
  });

  test('ZeRO: gradients are scattered and weights gathered, and the update is cut', () => {
    const share = {
      parameters: 2 ** 20,
      ranks: 8,
      dimension: 'dp' as const,
      formats: formatsOf('bf16'),
      stateBytes: 12,
    };
    expect(named(optimizerGraph({ ...share, zero: 0 }))).toEqual([['all-reduce', 4 * 2 ** 20]]);
    const cut = optimizerGraph({ ...share, zero: 1 });
    expect(named(cut)).toEqual([
      ['reduce-scatter', 4 * 2 ** 20],
      ['all-gather', 2 * 2 ** 20],
    ]);
    expect(operators(cut)[0]!.case.dims).toEqual({ rows: 32, cols: 4096 });
    // Read 4 + 12, write 12 + 2, over the 20 bytes of the measured operator.
    expect(operators(cut)[0]!.repeat).toBe(1.5);
  });
});

describe('operators', () => {
  test('Llama 3.1 8B in decode over 8 ranks, by hand, as compilers and as libraries run it', () => {
    const model = spec('llama-3.1-8b');
    const names = (software: 'compiler' | 'library' | 'megakernel') => {
      const step = stepOf({ sequences: 4, seqQ: 1, seqKv: 2048, software });
      const graph = layerGraph(model, model.kinds[0]!, 'decode', parallelism({ tp: 8, sp: false }), step);
      return operators(graph).map(({ case: { op, dims, resident = [] } }) =>
        [op, ...Object.values(dims), resident.join('')].join(' '),
      );
    };
    expect(names('compiler')).toEqual([
      'rmsnorm 4 4096 ',
      'matmul 4 4096 768 ',
      'rope 20 128 ',
      'attention 4 4 1 128 1 2048 ',
      'matmul 4 512 4096 ',
      'add 4 4096 ',
      'rmsnorm 4 4096 ',
      'matmul 4 4096 3584 ',
      'swiglu 4 1792 ',
      'matmul 4 1792 4096 ',
      'add 4 4096 ',
    ]);
    expect(names('library')).toEqual([
      'add-rmsnorm-matmul 4 4096 768 ',
      'rope 20 128 abc',
      'attention 4 4 1 128 1 2048 ',
      'matmul 4 512 4096 ',
      'add-rmsnorm-matmul 4 4096 3584 c',
      'swiglu 4 1792 abc',
      'matmul 4 1792 4096 a',
    ]);
    expect(names('megakernel').every((text) => / (ac|abc)$/.test(text))).toBe(true);
  });

  test('heads that tp does not divide are padded, KV heads fewer than ranks are copied', () => {
    const model = spec('llama-2-13b');
    const step = stepOf({ sequences: 1, seqQ: 1, seqKv: 100 });
    const dims = (id: ModelSpec, tp: number) =>
      operators(layerGraph(id, id.kinds[0]!, 'decode', parallelism({ tp, sp: false }), step)).find(
        ({ name }) => name === 'attention',
      )!.case.dims;
    expect(dims(model, 24)).toMatchObject({ heads: 2, kvHeads: 2 }); // 40 heads
    expect(dims(spec('llama-3.1-70b'), 32)).toMatchObject({ heads: 2, kvHeads: 1 });
    expect(dims(spec('llama-3.1-70b'), 6)).toMatchObject({ heads: 12, kvHeads: 2 }); // 11, padded to a multiple of 2
  });

  test('absorbed latent attention reads the latent cache once, whatever the heads', () => {
    const model = spec('deepseek-v3');
    const step = stepOf({ sequences: 8, seqQ: 1, seqKv: 5000 });
    const graph = layerGraph(model, model.kinds[0]!, 'decode', parallelism({ tp: 8, sp: false }), step);
    const find = (name: string) => operators(graph).find((item) => item.name === name)!;
    expect(find('latent scores').case).toMatchObject({ dims: { batch: 8, m: 16, k: 576, n: 5000 }, resident: ['c'] });
    expect(find('latent values').case).toMatchObject({
      dims: { batch: 8, m: 16, k: 5000, n: 512 },
      resident: ['a', 'b'],
    });
    expect(find('queries into latent space').case.dims).toEqual({ batch: 16, m: 8, k: 128, n: 512 });
  });

  test('chunked attention becomes independent triangles', () => {
    const llama4 = parseModelSpec(
      {
        model_type: 'llama4_text',
        hidden_size: 512,
        num_hidden_layers: 4,
        num_attention_heads: 8,
        num_key_value_heads: 2,
        head_dim: 64,
        intermediate_size: 512,
        vocab_size: 1000,
        attention_chunk_size: 1024,
      },
      'scout',
    );
    const blocks = (seqQ: number, seqKv: number) =>
      operators(layerGraph(llama4, llama4.kinds[0]!, 'prefill', parallelism(), stepOf({ sequences: 2, seqQ, seqKv })))
        .filter(({ name }) => name === 'attention')
        .map(({ case: { dims } }) => [dims.batch, dims.seqQ, dims.seqKv]);
    expect(blocks(4096, 4096)).toEqual([[8, 1024, 1024]]);
    // Positions 1500..3999: the rest of chunk 1, chunk 2, the beginning of chunk 3.
    expect(blocks(2500, 4000)).toEqual([
      [2, 548, 1024],
      [2, 1024, 1024],
      [2, 928, 928],
    ]);
  });

  test('without flash attention the scores pass memory', () => {
    const model = spec('megatron-22b');
    const step = stepOf({ sequences: 4, seqQ: 2048, flash: false, software: 'compiler' });
    const graph = layerGraph(model, model.kinds[0]!, 'forward', parallelism({ tp: 8 }), step);
    const scores = operators(graph).find(({ name }) => name === 'scores')!;
    expect(scores.case.dims).toEqual({ batch: 4 * 8, m: 2048, k: 96, n: 2048 });
    expect(operators(graph).find(({ name }) => name === 'softmax')!.case.dims).toEqual({
      rows: 4 * 8 * 2048,
      cols: 2048,
    });
  });

  test('where softmax is not fused, scaling, mask and dropout pass the scores through memory too', () => {
    const model = spec('bert-large');
    const names = (phase: 'forward' | 'backward-input', dropout: boolean, fusedSoftmax: boolean) => {
      const step = stepOf({ sequences: 2, seqQ: 512, flash: false, software: 'compiler', dropout, fusedSoftmax });
      return operators(layerGraph(model, model.kinds[0]!, phase, parallelism({ tp: 1 }), step))
        .filter(({ case: { dims } }) => dims.rows === 2 * 16 * 512 && dims.cols === 512)
        .map(({ name, repeat }) => `${repeat} x ${name}`);
    };
    expect(names('forward', true, true)).toEqual(['1 x softmax']);
    expect(names('forward', true, false)).toEqual(['2 x scaling and mask', '1 x softmax', '1 x dropout']);
    expect(names('forward', false, false)).toEqual(['2 x scaling and mask', '1 x softmax']);
    expect(names('backward-input', true, false)).toEqual([
      '1 x dropout',
      '1.5 x softmax, gradient',
      '1 x scaling and mask',
    ]);
  });

  test('narrow weights and caches are named on the operators that read them', () => {
    const model = spec('gpt-oss-20b');
    const formats = formatsOf('bf16', { expertWeights: 'mxfp4', kv: 'fp8' });
    const step = stepOf({ sequences: 1, seqQ: 1, seqKv: 64, formats });
    const graph = layerGraph(model, model.kinds[0]!, 'decode', parallelism({ tp: 8, sp: false }), step);
    const of = (name: string) => operators(graph).find((item) => item.name === name)!.case.weightDtype;
    expect([of('experts up'), of('attention'), of('QKV'), of('router')]).toEqual([
      'mxfp4',
      'fp8',
      undefined,
      undefined,
    ]);
  });

  test('wrong calls name the option', () => {
    const model = spec('llama-3.1-8b');
    const kind = model.kinds[0]!;
    expect(() => parallelism({ tp: 0 })).toThrow('"tp" expected integer in 1..16777216, got 0');
    expect(() => parallelism({ tp: 8, expertTp: 3 })).toThrow('"expertTp" expected a divisor of tp = 8, got 3');
    expect(() => parallelism({ tp: 8, expertTp: 1, ep: 4 })).toThrow(
      '"ep" expected a multiple of tp / expertTp = 8, got 4',
    );
    expect(() => stepOf({ sequences: 1, seqQ: 8, seqKv: 4 })).toThrow('"seqKv" expected integer in 8..');
    const mega = stepOf({ sequences: 1, seqQ: 8, software: 'megakernel' });
    expect(() => layerGraph(model, kind, 'forward', parallelism(), mega)).toThrow(
      '"software" expected compiler or library',
    );
    const cached = stepOf({ sequences: 1, seqQ: 8, seqKv: 16 });
    expect(() => layerGraph(model, kind, 'prefill', parallelism({ cp: 2 }), cached)).toThrow(
      'cpMode: expected all-to-all',
    );
  });
});
