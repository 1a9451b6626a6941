/** Model configurations, parameter counts, rotary tables, and the shipped presets. */
import { describe, expect, test } from 'vitest';
import { ModelError } from '../src/base/errors.ts';
import { type DecoderConfig, parseModelConfig, parseModelText } from '../src/models/config.ts';
import { parseModelSpec } from '../src/models/families.ts';
import { parameterCounts } from '../src/models/parameters.ts';
import { findModel, modelEntry, models } from '../src/models/presets.ts';
import { inverseFrequencies, ropeTables } from '../src/models/rope.ts';

const llama3Scaling = {
  rope_type: 'llama3',
  factor: 8,
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: 8192,
};

/** Llama 3.1 8B, as published. */
const llama = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_size: 4096,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  intermediate_size: 14336,
  vocab_size: 128256,
  max_position_embeddings: 131072,
  rope_theta: 500000,
  rope_scaling: llama3Scaling,
  rms_norm_eps: 1e-5,
  hidden_act: 'silu',
  attention_bias: false,
  tie_word_embeddings: false,
  torch_dtype: 'bfloat16',
  eos_token_id: [128001, 128008],
};

/** The least that a file must have. */
const minimal = {
  model_type: 'llama',
  hidden_size: 64,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  intermediate_size: 128,
  vocab_size: 1000,
};

const parse = (json: unknown): DecoderConfig => parseModelConfig(json, 'config.json');

function errorOf(call: () => unknown): ModelError {
  try {
    call();
  } catch (error) {
    expect(error).toBeInstanceOf(ModelError);
    return error as ModelError;
  }
  throw new Error('expected an error');
}

describe('parseModelConfig', () => {
  test('Llama 3.1 8B has every field of its config', () => {
    expect(parse(llama)).toEqual({
      family: 'llama',
      layers: 32,
      hidden: 4096,
      heads: 32,
      kvHeads: 8,
      headDim: 128,
      ffn: 14336,
      vocab: 128256,
      ropeTheta: 500000,
      ropeScaling: {
        type: 'llama3',
        factor: 8,
        lowFrequencyFactor: 1,
        highFrequencyFactor: 4,
        originalMaxPositions: 8192,
      },
      normEpsilon: 1e-5,
      activation: 'silu',
      slidingWindow: null,
      slidingLayers: Array(32).fill(false),
      qkvBias: false,
      qkNorm: false,
      tieEmbeddings: false,
      maxPositions: 131072,
    });
  });

  test('missing and null keys have the defaults of transformers', () => {
    const defaults = parse(minimal);
    expect(defaults).toMatchObject({ kvHeads: 4, headDim: 16, ropeTheta: 10000, ropeScaling: null });
    expect(defaults).toMatchObject({ normEpsilon: 1e-6, tieEmbeddings: false, maxPositions: 2048 });
    const nulls = { num_key_value_heads: null, head_dim: null, rope_theta: null, rope_scaling: null, hidden_act: null };
    expect(parse({ ...minimal, ...nulls })).toEqual(defaults);
    // Qwen3Config has head_dim = 128, whatever the hidden size.
    expect(parse({ ...minimal, model_type: 'qwen3' })).toMatchObject({ headDim: 128, qkNorm: true, qkvBias: false });
    expect(parse({ ...minimal, model_type: 'qwen2' })).toMatchObject({ headDim: 16, qkNorm: false, qkvBias: true });
  });

  test('the family can come from architectures alone', () => {
    const { model_type: _, ...rest } = minimal;
    expect(parse({ ...rest, architectures: ['MistralForCausalLM'] }).family).toBe('mistral');
  });

  test('rope parameters of transformers 5 mean the same as those of version 4', () => {
    const { rope_theta, rope_scaling, ...rest } = llama;
    expect(parse({ ...rest, rope_parameters: { rope_theta, ...rope_scaling } })).toEqual(parse(llama));
    expect(parse({ ...llama, rope_parameters: { rope_theta, ...rope_scaling } })).toEqual(parse(llama));
    expect(parse({ ...minimal, rope_parameters: { rope_theta: 5e5, rope_type: 'default' } }).ropeTheta).toBe(5e5);
    expect(parse({ ...minimal, rope_scaling: { type: 'linear', factor: 2 } }).ropeScaling).toEqual({
      type: 'linear',
      factor: 2,
    });
    expect(parse({ ...minimal, rope_scaling: { rope_type: 'default' } }).ropeScaling).toBeNull();
  });

  test('Mistral slides on all layers, by default over 4096 tokens, and not at all with null', () => {
    const mistral = { ...minimal, model_type: 'mistral' };
    expect(parse(mistral)).toMatchObject({ slidingWindow: 4096, slidingLayers: [true, true, true, true] });
    expect(parse({ ...mistral, sliding_window: 8 }).slidingWindow).toBe(8);
    const off = parse({ ...mistral, sliding_window: null });
    expect(off).toMatchObject({ slidingWindow: null, slidingLayers: [false, false, false, false] });
  });

  test('Qwen slides from max_window_layers on or by layer_types, and only if it is switched on', () => {
    const qwen = { ...minimal, model_type: 'qwen2', sliding_window: 16, max_window_layers: 3 };
    expect(parse(qwen).slidingWindow).toBeNull();
    const on = { ...qwen, use_sliding_window: true };
    expect(parse(on)).toMatchObject({ slidingWindow: 16, slidingLayers: [false, false, false, true] });
    expect(parse({ ...on, max_window_layers: 4 })).toMatchObject({ slidingWindow: null });
    const layer_types = ['sliding_attention', 'full_attention', 'sliding_attention', 'full_attention'];
    expect(parse({ ...on, layer_types })).toMatchObject({ slidingLayers: [true, false, true, false] });
    expect(errorOf(() => parse({ ...qwen, layer_types })).path).toBe('config.json: layer_types');
  });

  test.each<[Record<string, unknown>, string]>([
    [{ hidden_size: 'big' }, 'config.json: hidden_size: expected integer in 1..1048576, got "big"'],
    [{ hidden_size: undefined }, 'config.json: hidden_size: expected integer in 1..1048576, but it is missing'],
    [{ hidden_size: 2 ** 40 }, 'config.json: hidden_size: expected integer in 1..1048576, got 1099511627776'],
    [{ hidden_size: 66 }, 'config.json: hidden_size: expected a multiple of num_attention_heads = 4, got 66'],
    [{ hidden_size: 12 }, 'config.json: hidden_size: expected 4 heads of even width, got 12'],
    [{ head_dim: 33 }, 'config.json: head_dim: expected an even integer, got 33'],
    [{ num_hidden_layers: 0 }, 'config.json: num_hidden_layers: expected integer in 1..4096, got 0'],
    [{ num_attention_heads: 2.5 }, 'config.json: num_attention_heads: expected integer in 1..16384, got 2.5'],
    [{ num_key_value_heads: 3 }, 'num_key_value_heads: expected a divisor of num_attention_heads = 4, got 3'],
    [{ vocab_size: null }, 'config.json: vocab_size: expected integer in 1..16777216, got null'],
    [{ rms_norm_eps: 0 }, 'config.json: rms_norm_eps: expected number in 1e-15..1, got 0'],
    [{ rope_theta: '10000' }, 'config.json: rope_theta: expected number in 1..1000000000000, got "10000"'],
    [{ tie_word_embeddings: 'no' }, 'config.json: tie_word_embeddings: expected true or false, got "no"'],
    [{ rope_scaling: 4 }, 'config.json: rope_scaling: expected an object or null, got 4'],
    [{ rope_scaling: { rope_type: 'linear' } }, 'config.json: rope_scaling.factor: expected number in 1..1000000, but'],
    [
      { rope_scaling: { ...llama3Scaling, high_freq_factor: 1 } },
      'config.json: rope_scaling.high_freq_factor: expected number > low_freq_factor = 1, got 1',
    ],
  ])('%j is a CONFIG error', (change, message) => {
    const error = errorOf(() => parse({ ...minimal, ...change }));
    expect(error.message).toContain(message);
    expect(error.code).toBe('CONFIG');
  });

  test.each<[Record<string, unknown>, string]>([
    [{ model_type: 'mixtral' }, 'config.json: model_type: expected one of llama, mistral, qwen2, qwen3, got "mixtral"'],
    [{ model_type: undefined }, 'model_type: expected one of llama, mistral, qwen2, qwen3, but it is missing'],
    [{ model_type: 'toString' }, 'got "toString"'],
    [{ architectures: ['LlamaForTokenClassification'] }, 'architectures: expected ["LlamaForCausalLM"] for model_type'],
    [
      { model_type: undefined, architectures: ['GPT2LMHeadModel'] },
      'architectures: expected one of LlamaForCausalLM, ',
    ],
    [{ hidden_act: 'gelu' }, 'config.json: hidden_act: expected silu, got "gelu"'],
    [{ attention_bias: true }, 'config.json: attention_bias: expected false, got true'],
    [{ mlp_bias: true }, 'config.json: mlp_bias: expected false, got true'],
    [{ partial_rotary_factor: 0.5 }, 'config.json: partial_rotary_factor: expected 1, got 0.5'],
    [
      { rope_scaling: { rope_type: 'yarn', factor: 4 } },
      'rope_scaling.rope_type: expected one of default, linear, llama3',
    ],
    [
      { rope_scaling: { factor: 4 } },
      'rope_scaling.rope_type: expected one of default, linear, llama3, but it is missing',
    ],
  ])('%j is UNSUPPORTED', (change, message) => {
    const error = errorOf(() => parse({ ...minimal, ...change }));
    expect(error.message).toContain(message);
    expect(error.code).toBe('UNSUPPORTED');
  });

  test('a file that is no object or no JSON is an error with its name', () => {
    expect(errorOf(() => parse([minimal])).message).toMatch(/^config.json: expected an object, got \[/);
    expect(errorOf(() => parseModelText('{"model_type": }', 'a.json')).message).toBe(
      'a.json: expected JSON, but unexpected "}" at line 1, column 16',
    );
    expect(parseModelText(JSON.stringify(llama), 'a.json')).toEqual(parse(llama));
  });
});

describe('parameterCounts', () => {
  test('Llama 3.1 8B adds up by hand', () => {
    expect(parameterCounts(parseModelSpec(llama, 'config.json'))).toEqual({
      embedding: 525_336_576, // 128256 x 4096
      layers: [
        {
          attention: 41_943_040, // 4096 x (32 + 8 + 8) x 128 + 32 x 128 x 4096
          mlp: 176_160_768, // 3 x 4096 x 14336
          experts: 0,
          norms: 8192,
          total: 218_112_000,
          active: 218_112_000,
        },
      ],
      finalNorm: 4096,
      output: 525_336_576,
      total: 8_030_261_248, // 2 x 525336576 + 32 x 218112000 + 4096
      active: 8_030_261_248,
    });
  });

  // hidden, layers, heads, kvHeads, ffn, vocab; further keys; parameters of the published checkpoint.
  test.each<[string, string, number[], Record<string, unknown>, number]>([
    ['Llama 3.1 70B', 'llama', [8192, 80, 64, 8, 28672, 128256], {}, 70_553_706_496],
    ['Llama 3.1 405B', 'llama', [16384, 126, 128, 8, 53248, 128256], {}, 405_853_388_800],
    ['Llama 2 7B', 'llama', [4096, 32, 32, 32, 11008, 32000], {}, 6_738_415_616],
    ['Mistral 7B v0.1', 'mistral', [4096, 32, 32, 8, 14336, 32000], {}, 7_241_732_096],
    ['Qwen2.5 7B', 'qwen2', [3584, 28, 28, 4, 18944, 152064], {}, 7_615_616_512],
    ['Qwen2.5 72B', 'qwen2', [8192, 80, 64, 8, 29568, 152064], {}, 72_706_203_648],
    ['Qwen3 0.6B', 'qwen3', [1024, 28, 16, 8, 3072, 151936], { tie_word_embeddings: true }, 596_049_920],
    ['Qwen3 32B', 'qwen3', [5120, 64, 64, 8, 25600, 151936], {}, 32_762_123_264],
  ])('%s has the total of its checkpoint', (_, model_type, [hidden, layers, heads, kv, ffn, vocab], keys, total) => {
    const config = {
      model_type,
      hidden_size: hidden,
      num_hidden_layers: layers,
      num_attention_heads: heads,
      num_key_value_heads: kv,
      intermediate_size: ffn,
      vocab_size: vocab,
      ...keys,
    };
    expect(parameterCounts(parseModelSpec(config, 'config.json')).total).toBe(total);
  });

  test('a total beyond 2^53 is an error, not a rounded number', () => {
    const huge = {
      ...minimal,
      hidden_size: 2 ** 20,
      num_hidden_layers: 4096,
      intermediate_size: 2 ** 22,
      head_dim: 64,
    };
    expect(errorOf(() => parameterCounts(parseModelSpec(huge, 'config.json'))).code).toBe('CAPACITY');
  });
});

describe('rotary embedding', () => {
  const plain = { headDim: 8, ropeTheta: 10000, ropeScaling: null };

  test('the frequencies of theta = 10000 and headDim = 8 are the powers of 1/10', () => {
    // 10000^(-2i/8) = 10^-i
    const expected = [1, 0.1, 0.01, 0.001];
    for (const [i, f] of inverseFrequencies(plain).entries())
      expect(Math.abs(f / expected[i]! - 1)).toBeLessThan(1e-15);
  });

  test('linear scaling divides every frequency', () => {
    const scaled = inverseFrequencies({ ...plain, ropeScaling: { type: 'linear', factor: 4 } });
    expect([...scaled]).toEqual([...inverseFrequencies(plain)].map((f) => f / 4));
  });

  test('llama3 scaling keeps fast pairs, divides slow ones by the factor and blends between', () => {
    const frequencies = inverseFrequencies(parse(llama));
    const unscaled = inverseFrequencies({ ...parse(llama), ropeScaling: null });
    expect(frequencies.length).toBe(64);
    // The formula of transformers, in wavelengths: long above 8192 / 1, short below 8192 / 4.
    const kinds = [...unscaled].map((f, i) => {
      const wavelength = (2 * Math.PI) / f;
      const smooth = (8192 / wavelength - 1) / (4 - 1);
      const reference = wavelength < 2048 ? f : wavelength > 8192 ? f / 8 : ((1 - smooth) * f) / 8 + smooth * f;
      expect(Math.abs(frequencies[i]! / reference - 1)).toBeLessThan(1e-14);
      return wavelength < 2048 ? 'short' : wavelength > 8192 ? 'long' : 'blend';
    });
    // 2π·500000^(i/64) passes 2048 at i = 64·ln(2048/2π)/ln 500000 = 28.2 and 8192 at 35.0 (34.98).
    expect([kinds.lastIndexOf('short'), kinds.indexOf('long')]).toEqual([28, 35]);
    expect(frequencies[0]).toBe(1);
  });

  test('tables hold cos and sin of position times frequency, a row per position', () => {
    const config = parse(llama);
    const positions = 300;
    const { cos, sin } = ropeTables(config, positions);
    const frequencies = inverseFrequencies(config);
    expect([cos.length, sin.length]).toEqual([300 * 64, 300 * 64]);
    expect([...cos.subarray(0, 64)]).toEqual(Array(64).fill(1));
    let worst = 0;
    for (let p = 0; p < positions; p++) {
      for (let i = 0; i < 64; i++) {
        const angle = p * frequencies[i]!;
        worst = Math.max(
          worst,
          Math.abs(cos[p * 64 + i]! - Math.cos(angle)),
          Math.abs(sin[p * 64 + i]! - Math.sin(angle)),
        );
      }
    }
    // Half an ulp of an f32 just below 1 is 2^-25 = 3e-8.
    expect(worst).toBeLessThan(3.1e-8);
  });

  test('the number of positions is bounded', () => {
    for (const positions of [0, 1.5, 2 ** 20 + 1]) expect(() => ropeTables(plain, positions)).toThrow('"positions"');
    expect(() => ropeTables({ ...plain, headDim: 2 ** 14 }, 2 ** 15)).toThrow(
      '"positions" expected integer in 1..16384',
    );
  });
});

describe('presets', () => {
  test('a model is found by id or alias in any case, and an unknown one gets the nearest ids', () => {
    expect(findModel('Llama-3.1-8B').id).toBe('llama-3.1-8b');
    for (const model of models()) for (const alias of model.aliases) expect(findModel(alias)).toBe(model);
    expect(() => findModel('lama-3.1-8b')).toThrow(
      /^"model" expected an id that "trnsim models" lists, .*llama-3.1-8b/,
    );
  });

  test('the file of a model cites where its numbers come from', () => {
    const entry = modelEntry('LLAMA-3.1-8b');
    expect(entry?.spec.parameters).toMatchObject({ value: 8_030_261_248, unit: 'count' });
    expect(Object.keys(entry!.sources).length).toBeGreaterThan(0);
    expect(modelEntry('no-such-model')).toBeUndefined();
  });

  const dense = ['llama', 'mistral', 'qwen2', 'qwen3'];

  test('every shipped model of a dense family parses and has its published number of parameters', () => {
    const parsed = models().filter((model) => dense.includes(String(model.config.model_type)));
    expect(parsed.length).toBeGreaterThan(10);
    for (const { id, config, parameters } of parsed) {
      expect(parseModelConfig(config, id).layers, id).toBeGreaterThan(0);
      expect(parameterCounts(parseModelSpec(config, id)).total, id).toBe(parameters);
    }
  });

  test('every other shipped model is refused by the name of its family', () => {
    for (const { id, config } of models()) {
      if (dense.includes(String(config.model_type))) continue;
      expect(errorOf(() => parseModelConfig(config, id))).toMatchObject({
        code: 'UNSUPPORTED',
        path: `${id}: model_type`,
      });
    }
  });
});
