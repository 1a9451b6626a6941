/** Configurations of every family as ModelSpec: sizes of checkpoints, layers of each kind, and what is refused. */
import { describe, expect, test } from 'vitest';
import { ModelError } from '../src/base/errors.ts';
import { parseModelSpec, parseModelSpecText } from '../src/models/families.ts';
import { modelFromFields } from '../src/models/from-fields.ts';
import { parameterCounts } from '../src/models/parameters.ts';
import { modelSpec, models } from '../src/models/presets.ts';
import { type GqaAttention, kindCounts, layerCount, type ModelSpec, type MoeMlp } from '../src/models/spec.ts';

const parse = (json: Record<string, unknown>): ModelSpec => parseModelSpec(json, 'config.json');
const kindOf = (model: ModelSpec, layer: number) => {
  const counts = kindCounts(model, layer, layer + 1);
  return model.kinds[counts.indexOf(1)]!;
};
const gqa = (model: ModelSpec, layer: number) => kindOf(model, layer).attention as GqaAttention;

/** The least that most decoders must have. */
const small = {
  hidden_size: 64,
  num_hidden_layers: 8,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  intermediate_size: 128,
  vocab_size: 1000,
};

function errorOf(call: () => unknown): ModelError {
  try {
    call();
  } catch (error) {
    expect(error).toBeInstanceOf(ModelError);
    return error as ModelError;
  }
  throw new Error('expected an error');
}

describe('presets', () => {
  test('every shipped model has its number of parameters, total and active', () => {
    for (const { id, parameters, activeParameters } of models()) {
      expect(parameterCounts(modelSpec(id)), id).toMatchObject({ total: parameters, active: activeParameters });
    }
  });

  // Of checkpoints on the Hugging Face hub, and as published, in billions.
  test.each([
    ['llama-3.2-1b', 1_235_814_400, 1.24],
    ['gpt2', 124_439_808, 0.124],
    ['bert-large', 335_174_458, 0.335],
    ['deepseek-v3', 671_026_419_200, 671],
    ['gpt-oss-120b', 116_829_156_672, 116.8],
    ['qwen3-235b-a22b', 235_093_634_560, 235],
  ])('%s has %i parameters', (id, total, billions) => {
    expect(parameterCounts(modelSpec(id)).total).toBe(total);
    expect(Math.abs(total / 1e9 / billions - 1)).toBeLessThan(0.005);
  });

  test.each([
    ['deepseek-v2', 236, 21],
    ['deepseek-v3', 671, 37],
    ['kimi-k2', 1026, 32.9],
    ['llama-4-scout', 108, 17.2],
    ['llama-4-maverick', 400, 17.2],
    ['mixtral-8x7b', 46.7, 12.9],
    ['qwen3-30b-a3b', 30.5, 3.35],
  ])('%s: %i billion parameters, %i active', (id, total, active) => {
    const counts = parameterCounts(modelSpec(id));
    expect(Math.abs(counts.total / 1e9 / total - 1)).toBeLessThan(0.005);
    expect(Math.abs(counts.active / 1e9 / active - 1)).toBeLessThan(0.02);
  });
});

describe('families', () => {
  test('DeepSeek: dense layers first, then shared and routed experts', () => {
    const model = modelSpec('deepseek-v3');
    expect(model.runs).toEqual([
      { kind: 0, count: 3 },
      { kind: 1, count: 58 },
    ]);
    expect(kindOf(model, 2).mlp).toMatchObject({ kind: 'dense', ffn: 18432 });
    expect(kindOf(model, 3).mlp).toMatchObject({ kind: 'moe', experts: 256, topK: 8, ffn: 2048, sharedFfn: 2048 });
    expect(kindOf(model, 3).attention).toMatchObject({ kind: 'mla', queryRank: 1536, kvRank: 512, valueHeadDim: 128 });
    // V2-Lite projects its queries directly.
    const lite = {
      ...small,
      model_type: 'deepseek_v2',
      moe_intermediate_size: 32,
      first_k_dense_replace: 1,
      q_lora_rank: null,
    };
    expect(kindOf(parse(lite), 0).attention).toMatchObject({ kind: 'mla', queryRank: null });
  });

  test('gpt-oss: windows and full attention alternate, with sinks and biases', () => {
    const model = modelSpec('gpt-oss-120b');
    expect([gqa(model, 0).window, gqa(model, 1).window]).toEqual([128, null]);
    expect(kindCounts(model)).toEqual([18, 18]);
    expect(gqa(model, 0)).toMatchObject({ sinks: true, qkvBias: true, outputBias: true, headDim: 64 });
    expect(kindOf(model, 0).mlp).toMatchObject({ kind: 'moe', bias: true, routerBias: true, topK: 4 });
  });

  test('Llama 4: every fourth layer sees everything without rotary embedding, Maverick alternates experts', () => {
    const scout = modelSpec('llama-4-scout');
    expect([0, 1, 2, 3].map((layer) => gqa(scout, layer).chunk)).toEqual([8192, 8192, 8192, null]);
    expect([gqa(scout, 2).qkNorm, gqa(scout, 3).qkNorm, gqa(scout, 3).rope]).toEqual(['plain', 'none', false]);
    expect(kindOf(scout, 0).mlp).toMatchObject({ kind: 'moe', experts: 16, topK: 1, ffn: 8192, sharedFfn: 8192 });
    const maverick = modelSpec('llama-4-maverick');
    expect([0, 1].map((layer) => kindOf(maverick, layer).mlp.kind)).toEqual(['dense', 'moe']);
    expect(kindOf(maverick, 0).mlp.ffn).toBe(16384);
    const listed = {
      ...small,
      model_type: 'llama4_text',
      num_hidden_layers: 2,
      no_rope_layers: [0, 1],
      moe_layers: [0],
    };
    expect([0, 1].map((layer) => [gqa(parse(listed), layer).rope, kindOf(parse(listed), layer).mlp.kind])).toEqual([
      [false, 'moe'],
      [true, 'dense'],
    ]);
  });

  test('Qwen2-MoE has a gated shared expert, Qwen3-MoE none; sparse layers by step and list', () => {
    const two = parse({ ...small, model_type: 'qwen2_moe', decoder_sparse_step: 2, mlp_only_layers: [3] });
    expect(Array.from({ length: 8 }, (_, layer) => kindOf(two, layer).mlp.kind[0]).join('')).toBe('dmdddmdm');
    expect(kindOf(two, 1).mlp).toMatchObject({ experts: 60, topK: 4, sharedFfn: 5632, sharedGate: true });
    expect(gqa(two, 0)).toMatchObject({ qkvBias: true, outputBias: false });
    const three = kindOf(parse({ ...small, model_type: 'qwen3_moe' }), 0).mlp as MoeMlp;
    expect([three.sharedFfn, three.sharedGate]).toEqual([0, false]);
  });

  test('windows of Mistral, Mixtral and Qwen', () => {
    expect(gqa(parse({ ...small, model_type: 'mistral', sliding_window: 16 }), 0).window).toBe(16);
    expect(gqa(parse({ ...small, model_type: 'mixtral', sliding_window: null }), 0).window).toBeNull();
    const qwen = { ...small, model_type: 'qwen2', use_sliding_window: true, sliding_window: 32, max_window_layers: 6 };
    expect(parse(qwen).runs.map(({ count }) => count)).toEqual([6, 2]);
  });

  test('BERT, GPT-2 and OPT: biases, tables and heads', () => {
    const bert = modelSpec('bert-large');
    expect(bert).toMatchObject({
      norm: 'layernorm',
      head: 'mlm',
      tokenTypes: 2,
      embeddingNorm: true,
      finalNorm: false,
    });
    expect(gqa(bert, 0)).toMatchObject({ causal: false, rope: false, qkvBias: true });
    // BertModel ends in a pooler; published with 335141888 parameters.
    const bare = { ...bert, head: 'pooler' as const };
    expect(parameterCounts(bare).total).toBe(335_141_888);
    const opt = parse({ ...small, model_type: 'opt', ffn_dim: 256, max_position_embeddings: 100 });
    expect(opt).toMatchObject({ maxPositions: 102, tied: true });
    expect(kindOf(opt, 0).mlp).toMatchObject({ activation: 'relu', gated: false, bias: true });
  });

  test('Llama with biases has them in its parameters', () => {
    const plain = parameterCounts(parse({ ...small, model_type: 'llama' })).total;
    const biased = parameterCounts(
      parse({ ...small, model_type: 'llama', attention_bias: true, mlp_bias: true }),
    ).total;
    // 8 layers of q 64, k and v 32 each, o 64; gate and up 128 each, down 64.
    expect(biased - plain).toBe(8 * (64 + 32 + 32 + 64 + 128 + 128 + 64));
  });

  test.each<[Record<string, unknown>, string]>([
    [{ model_type: 'mamba' }, 'config.json: model_type: expected one of llama, '],
    [{ model_type: 'toString' }, 'got "toString"'],
    [
      { model_type: 'llama', architectures: ['LlamaForSequenceClassification'] },
      'architectures: expected one of LlamaForCausalLM',
    ],
    [{ model_type: 'llama', hidden_act: 'tanh' }, 'hidden_act: expected one of silu, '],
    [{ model_type: 'llama', partial_rotary_factor: 0.5 }, 'partial_rotary_factor: expected 1, got 0.5'],
    [{ model_type: 'deepseek_v3', attention_bias: true }, 'attention_bias: expected false, got true'],
    [{ model_type: 'gpt_oss', layer_types: ['linear_attention'] }, 'layer_types: expected 8 entries'],
    [{ model_type: 'bert', is_decoder: true }, 'is_decoder: expected false'],
    [{ model_type: 'opt', do_layer_norm_before: false }, 'do_layer_norm_before: expected true'],
    [{ model_type: 'gpt2-like', gated_mlp: true }, 'gated_mlp: expected false'],
  ])('%j is UNSUPPORTED', (change, message) => {
    const error = errorOf(() => parse({ ...small, ...change }));
    expect(error.message).toContain(message);
    expect(error.code).toBe('UNSUPPORTED');
  });

  test.each<[Record<string, unknown>, string]>([
    [{ model_type: 'llama', num_hidden_layers: -1 }, 'num_hidden_layers: expected integer in 1..4096, got -1'],
    [{ model_type: 'mixtral', num_experts_per_tok: 9 }, 'num_experts_per_tok: expected integer in 1..8, got 9'],
    [{ model_type: 'llama4_text', no_rope_layers: [1] }, 'no_rope_layers: expected 8 entries'],
    [{ model_type: 'llama4', text_config: 3 }, 'text_config: expected an object or null, got 3'],
    [
      { model_type: 'llama4', text_config: { ...small, vocab_size: 0 } },
      'config.json: text_config.vocab_size: expected integer',
    ],
    [
      { model_type: 'gpt2', n_embd: 65, n_layer: 1, n_head: 4 },
      'n_embd: expected a multiple of the 4 attention heads, got 65',
    ],
    [{ model_type: 'qwen3_moe', mlp_only_layers: 3 }, 'mlp_only_layers: expected a list'],
  ])('%j is a CONFIG error', (change, message) => {
    const error = errorOf(() => parse({ ...small, ...change }));
    expect(error.message).toContain(message);
    expect(error.code).toBe('CONFIG');
  });

  test('text that is no JSON is an error with its place', () => {
    expect(errorOf(() => parseModelSpecText('{"a": }', 'a.json')).message).toContain('a.json: expected JSON');
    expect(errorOf(() => parse([] as never)).message).toMatch(/^config.json: expected an object/);
  });
});

describe('modelFromFields', () => {
  const llama = {
    name: 'Llama-3.1-8B',
    layers: 32,
    hidden: 4096,
    heads: 32,
    kvHeads: 8,
    headDim: 128,
    gatedMlp: true,
    vocab: 128256,
    attention: 'causal',
    ffn: 14336,
  };

  test('Llama, DeepSeek-V3 and GPT come out with the parameters of their configurations', () => {
    expect(parameterCounts(modelFromFields(llama)).total).toBe(parameterCounts(modelSpec('llama-3.1-8b')).total);
    const deepseek = modelFromFields({
      name: 'DeepSeek-V3',
      layers: 61,
      hidden: 7168,
      heads: 128,
      kvHeads: 128,
      headDim: 128,
      gatedMlp: true,
      vocab: 129280,
      attention: 'causal',
      experts: 256,
      topK: 8,
      moeFfn: 2048,
      sharedExperts: 1,
      denseLayers: 3,
      ffn: 18432,
      mla: { qLoraRank: 1536, kvLoraRank: 512, qkNopeHeadDim: 128, qkRopeHeadDim: 64, vHeadDim: 128 },
    });
    // But for the balance biases, which are no field.
    expect(parameterCounts(deepseek).total).toBe(parameterCounts(modelSpec('deepseek-v3')).total - 58 * 256);
    const gpt = modelFromFields({ ...llama, kvHeads: 32, gatedMlp: false, ffn: 16384, vocab: 51200 });
    // 12 h^2 + 13 h a layer, the tied table and the last norm.
    expect(parameterCounts(gpt).total).toBe(32 * (12 * 4096 ** 2 + 13 * 4096) + 51200 * 4096 + 2 * 4096);
  });

  test('windows are spread evenly, encoders see everything', () => {
    const oss = modelFromFields({ ...llama, slidingWindow: 128, slidingWindowLayers: 16 });
    expect(kindCounts(oss)).toEqual([16, 16]);
    expect(oss.runs.every(({ count }) => count === 1)).toBe(true);
    expect(layerCount(oss)).toBe(32);
    const bert = modelFromFields({ ...llama, attention: 'bidirectional', gatedMlp: false });
    expect(gqa(bert, 0).causal).toBe(false);
    expect(bert.head).toBe('mlm');
  });

  test.each<[Record<string, unknown>, string]>([
    [{ layers: 0 }, 'model: layers: expected integer in 1..4096, got 0'],
    [{ ffn: undefined }, 'model: ffn: expected integer in 1..4194304, but it is missing'],
    [{ experts: 8, moeFfn: 64 }, 'model: topK: expected integer in 1..8, but it is missing'],
    [{ kvHeads: 5 }, 'model: kvHeads: expected a divisor of heads = 32, got 5'],
    [{ widht: 3 }, 'model: widht: expected no key but name, layers'],
    [{ mla: { kvRank: 3 } }, 'model: mla.kvRank: expected no key but qLoraRank'],
  ])('%j is an error', (change, message) => {
    expect(errorOf(() => modelFromFields({ ...llama, ...change })).message).toContain(message);
  });
});
