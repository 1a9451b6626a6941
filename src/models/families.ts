/**
 * Hugging Face `config.json` files as `ModelSpec`s: one reader per `model_type`. A missing key has the default of the
 * family's class in the transformers library. What would change shapes, parameters or bytes and isn't modelled is an
 * error that names it.
 *
 * Not read, because a cost does not depend on it: rotary scaling, epsilons, routing groups and scores, dropout, token ids, the
 * number format (a choice of the run). Not counted: the vision tower of Llama 4, the multi-token-prediction layer of
 * DeepSeek-V3. Its router's balance biases are counted, as in the checkpoint.
 * see: transformers models/{llama,mistral,mixtral,qwen2,qwen3,qwen2_moe,qwen3_moe,deepseek_v2,deepseek_v3,gpt_oss,
 * llama4}/configuration_*.py and modeling_*.py; Kimi-K2's configuration_deepseek.py.
 */
import { parseJson } from '../base/json.ts';
import { slidingOf } from './config.ts';
import { activationOf, type Family, sizes } from './family-fields.ts';
import { type Fields, fail, fieldsOf, flag, has, integer, LIMITS, objectAt, oneOf } from './fields.ts';
import { bert, gpt2, megatron, opt } from './gpt-families.ts';
import { type DenseMlp, type GqaAttention, groupLayers, type LayerKind, type MlpSpec, type ModelSpec } from './spec.ts';

/** Grouped-query attention with the keys that most families share; `headDim` is the class's default, if it has one. */
function gqa(config: Fields, headDim?: number): GqaAttention {
  oneOf(config, 'partial_rotary_factor', [1], 1);
  const heads = sizes.heads(config);
  const kvHeads = integer(config, 'num_key_value_heads', 1, LIMITS.heads, heads);
  if (heads % kvHeads !== 0) fail(config, 'num_key_value_heads', `a divisor of num_attention_heads = ${heads}`);
  const hidden = sizes.hidden(config);
  if (!has(config, 'head_dim') && headDim === undefined && hidden % heads !== 0) {
    fail(config, 'hidden_size', `a multiple of num_attention_heads = ${heads}`);
  }
  return {
    kind: 'gqa',
    heads,
    kvHeads,
    headDim: integer(config, 'head_dim', 1, LIMITS.headDim, headDim ?? hidden / heads),
    causal: true,
    window: null,
    chunk: null,
    rope: true,
    qkNorm: 'none',
    qkvBias: false,
    outputBias: false,
    sinks: false,
  };
}

/** A decoder with RMSNorm and rotary positions from its layers. */
function decoder(config: Fields, name: string, layer: (index: number) => LayerKind, maxPositions: number): ModelSpec {
  return {
    name,
    hidden: sizes.hidden(config),
    vocab: sizes.vocab(config),
    norm: 'rmsnorm',
    positions: 'rope',
    maxPositions: sizes.positions(config, maxPositions),
    tokenTypes: 0,
    embeddingNorm: false,
    finalNorm: true,
    head: 'lm',
    tied: flag(config, 'tie_word_embeddings'),
    ...groupLayers(Array.from({ length: sizes.layers(config) }, (_, index) => layer(index))),
  };
}

const gated = (config: Fields, ffn: number, bias: boolean = false): DenseMlp => ({
  kind: 'dense',
  ffn,
  gated: true,
  activation: activationOf(config, 'hidden_act', 'silu'),
  bias,
});

const llama: Family = (config, name) => {
  const bias = flag(config, 'attention_bias');
  const attention = { ...gqa(config), qkvBias: bias, outputBias: bias };
  const mlp = gated(config, sizes.ffn(config), flag(config, 'mlp_bias'));
  return decoder(config, name, () => ({ attention, mlp }), 2048);
};

/** Windows by layer, for the families that can switch them on. */
function windows(config: Fields, family: 'mistral' | 'qwen2' | 'qwen3'): (layer: number) => number | null {
  const { slidingWindow, slidingLayers } = slidingOf(config, family, sizes.layers(config));
  return (layer) => (slidingLayers[layer] ? slidingWindow : null);
}

const mistral: Family = (config, name) => {
  const attention = gqa(config);
  const mlp = gated(config, sizes.ffn(config));
  const window = windows(config, 'mistral');
  return decoder(config, name, (layer) => ({ attention: { ...attention, window: window(layer) }, mlp }), 131072);
};

const mixtral: Family = (config, name) => {
  const attention = { ...gqa(config), window: has(config, 'sliding_window') ? windowSize(config) : null };
  const mlp = experts(config, 'num_local_experts', 8, 2, sizes.ffn(config));
  return decoder(config, name, () => ({ attention, mlp }), 131072);
};

const windowSize = (config: Fields): number => integer(config, 'sliding_window', 1, LIMITS.positions, 128);

/** Routed experts, without shared ones. */
function experts(config: Fields, key: string, count: number, topK: number, ffn: number) {
  const number = integer(config, key, 1, LIMITS.experts, count);
  return {
    ...gated(config, ffn),
    kind: 'moe' as const,
    experts: number,
    topK: integer(config, 'num_experts_per_tok', 1, number, topK),
    sharedFfn: 0,
    routerBias: false,
    sharedGate: false,
  };
}

/** Which layers of a Qwen mixture have experts. */
function sparseLayers(config: Fields): (layer: number) => boolean {
  const step = integer(config, 'decoder_sparse_step', 1, LIMITS.layers, 1);
  const dense = config.values.mlp_only_layers ?? [];
  if (!Array.isArray(dense)) fail(config, 'mlp_only_layers', 'a list of layers');
  return (layer) => !dense.includes(layer) && (layer + 1) % step === 0;
}

const qwen =
  (generation: 2 | 3, mixture: boolean): Family =>
  (config, name) => {
    // Qwen2 always has biases on q, k and v, and doesn't read `attention_bias`; in Qwen3 it is about o, too.
    const bias = generation === 3 && flag(config, 'attention_bias');
    const attention: GqaAttention = {
      ...gqa(config, generation === 3 && !mixture ? 128 : undefined),
      qkvBias: generation === 2 || bias,
      outputBias: bias,
      qkNorm: generation === 3 ? 'weighted' : 'none',
    };
    const window = windows(config, generation === 3 ? 'qwen3' : 'qwen2');
    const dense = gated(config, sizes.ffn(config));
    let mlp: (layer: number) => MlpSpec = () => dense;
    if (mixture) {
      const isV2 = generation === 2;
      const moeFfn = integer(config, 'moe_intermediate_size', 1, LIMITS.ffn, isV2 ? 1408 : 768);
      const moe = {
        ...experts(config, 'num_experts', isV2 ? 60 : 128, isV2 ? 4 : 8, moeFfn),
        sharedFfn: isV2 ? integer(config, 'shared_expert_intermediate_size', 1, LIMITS.ffn, 5632) : 0,
        sharedGate: isV2,
      };
      const isSparse = sparseLayers(config);
      mlp = (layer) => (isSparse(layer) ? moe : dense);
    }
    const layer = (index: number): LayerKind => ({
      attention: { ...attention, window: window(index) },
      mlp: mlp(index),
    });
    return decoder(config, name, layer, 32768);
  };

const deepseek =
  (routerBias: boolean): Family =>
  (config, name) => {
    oneOf(config, 'attention_bias', [false], false);
    const layers = sizes.layers(config);
    const dim = (key: string, fallback: number) => integer(config, key, 1, LIMITS.headDim, fallback);
    const attention = {
      kind: 'mla' as const,
      heads: sizes.heads(config),
      causal: true,
      queryRank: config.values.q_lora_rank === null ? null : integer(config, 'q_lora_rank', 1, LIMITS.hidden, 1536),
      kvRank: integer(config, 'kv_lora_rank', 1, LIMITS.hidden, 512),
      nopeHeadDim: dim('qk_nope_head_dim', 128),
      ropeHeadDim: dim('qk_rope_head_dim', 64),
      valueHeadDim: dim('v_head_dim', 128),
    };
    const dense = gated(config, sizes.ffn(config));
    const firstSparse = integer(config, 'first_k_dense_replace', 0, layers);
    const step = integer(config, 'moe_layer_freq', 1, LIMITS.layers, 1);
    const moeFfn = sizes.ffn(config, 'moe_intermediate_size');
    const shared = integer(config, 'n_shared_experts', 0, LIMITS.experts, 0);
    const moe = {
      ...experts(config, 'n_routed_experts', 256, 8, moeFfn),
      sharedFfn: shared * moeFfn,
      routerBias,
    };
    const isSparse = (layer: number) => layer >= firstSparse && layer % step === 0;
    return decoder(config, name, (layer) => ({ attention, mlp: isSparse(layer) ? moe : dense }), 4096);
  };

const gptOss: Family = (config, name) => {
  const layers = sizes.layers(config);
  const bias = flag(config, 'attention_bias', true);
  const attention = { ...gqa(config, 64), qkvBias: bias, outputBias: bias, sinks: true };
  const mlp = {
    ...experts(config, 'num_local_experts', 128, 4, sizes.ffn(config)),
    bias: true,
    routerBias: true,
  };
  const types = config.values.layer_types ?? Array.from({ length: layers }, (_, i) => SLIDING[i % 2]);
  if (!Array.isArray(types) || types.length !== layers || !types.every((type) => SLIDING.includes(type))) {
    fail(config, 'layer_types', `${layers} entries, each ${SLIDING.join(' or ')}`, 'UNSUPPORTED');
  }
  const window = windowSize(config);
  const layer = (index: number): LayerKind => ({
    attention: { ...attention, window: types[index] === SLIDING[0] ? window : null },
    mlp,
  });
  return decoder(config, name, layer, 131072);
};
const SLIDING = ['sliding_attention', 'full_attention'];

const llama4: Family = (file, name) => {
  const config = has(file, 'text_config') ? objectAt(file, 'text_config') : file;
  const layers = sizes.layers(config);
  const bias = flag(config, 'attention_bias');
  const attention: GqaAttention = { ...gqa(config, 128), qkvBias: bias, outputBias: bias };
  const chunk = integer(config, 'attention_chunk_size', 1, LIMITS.positions, 8192);
  const normalised = flag(config, 'use_qk_norm', true) ? 'plain' : 'none';
  const interval = integer(config, 'no_rope_layer_interval', 1, LIMITS.layers, 4);
  const listed = config.values.no_rope_layers ?? [];
  if (!Array.isArray(listed) || (listed.length > 0 && listed.length !== layers)) {
    fail(config, 'no_rope_layers', `${layers} entries, 1 for a layer with rotary embedding`);
  }
  const step = integer(config, 'interleave_moe_layer_step', 0, LIMITS.layers, 1);
  const sparse = config.values.moe_layers ?? null;
  if (sparse !== null && !Array.isArray(sparse)) fail(config, 'moe_layers', 'a list of layers');
  const ffn = sizes.ffn(config);
  const moe = { ...experts(config, 'num_local_experts', 16, 1, ffn), sharedFfn: ffn };
  const dense = gated(config, integer(config, 'intermediate_size_mlp', 1, LIMITS.ffn, 16384));
  const layer = (index: number): LayerKind => {
    // A list that is there counts 1 for layers with rotary embedding; its name says the opposite.
    const rope = listed.length > 0 ? listed[index] === 1 : (index + 1) % interval !== 0;
    const isSparse = sparse ? sparse.includes(index) : step > 0 && (index + 1) % step === 0;
    return {
      attention: { ...attention, rope, chunk: rope ? chunk : null, qkNorm: rope ? normalised : 'none' },
      mlp: isSparse ? moe : dense,
    };
  };
  return decoder(config, name, layer, 131072);
};

/** Readers by `model_type`, with the architectures whose arithmetic they describe. */
const FAMILIES: Readonly<Record<string, { readonly read: Family; readonly architectures: readonly string[] }>> = {
  llama: { read: llama, architectures: ['LlamaForCausalLM'] },
  mistral: { read: mistral, architectures: ['MistralForCausalLM'] },
  mixtral: { read: mixtral, architectures: ['MixtralForCausalLM'] },
  qwen2: { read: qwen(2, false), architectures: ['Qwen2ForCausalLM'] },
  qwen3: { read: qwen(3, false), architectures: ['Qwen3ForCausalLM'] },
  qwen2_moe: { read: qwen(2, true), architectures: ['Qwen2MoeForCausalLM'] },
  qwen3_moe: { read: qwen(3, true), architectures: ['Qwen3MoeForCausalLM'] },
  deepseek_v2: { read: deepseek(false), architectures: ['DeepseekV2ForCausalLM'] },
  deepseek_v3: { read: deepseek(true), architectures: ['DeepseekV3ForCausalLM'] },
  kimi_k2: { read: deepseek(true), architectures: ['DeepseekV3ForCausalLM'] },
  gpt_oss: { read: gptOss, architectures: ['GptOssForCausalLM'] },
  llama4: { read: llama4, architectures: ['Llama4ForConditionalGeneration', 'Llama4ForCausalLM'] },
  llama4_text: { read: llama4, architectures: ['Llama4ForCausalLM'] },
  gpt2: { read: gpt2, architectures: ['GPT2LMHeadModel'] },
  'gpt2-like': { read: megatron, architectures: [] },
  opt: { read: opt, architectures: ['OPTForCausalLM'] },
  bert: { read: bert, architectures: ['BertForMaskedLM', 'BertModel'] },
};

/**
 * The model that a Hugging Face `config.json` describes; `path` names the file in errors, `name` the model.
 * @throws ModelError UNSUPPORTED for another family or an option that is not modelled, CONFIG for a bad value; it names
 * file, key, value and what was expected.
 */
export function parseModelSpec(json: unknown, path: string, name: string = path): ModelSpec {
  const config = fieldsOf(json, path);
  const { model_type: type, architectures } = config.values;
  const family = Object.hasOwn(FAMILIES, String(type)) ? FAMILIES[String(type)] : undefined;
  if (family === undefined) {
    fail(config, 'model_type', `one of ${Object.keys(FAMILIES).join(', ')}`, 'UNSUPPORTED');
  }
  const known = family.architectures;
  if (architectures !== undefined && !(Array.isArray(architectures) && known.includes(architectures[0]))) {
    fail(config, 'architectures', `one of ${known.join(', ')} for model_type ${type}`, 'UNSUPPORTED');
  }
  return family.read(config, name);
}

/**
 * As `parseModelSpec`, from the text of the file.
 * @throws ModelError also if `text` is not JSON, with line and column
 */
export function parseModelSpecText(text: string, path: string, name: string = path): ModelSpec {
  return parseModelSpec(parseJson(text, path), path, name);
}
