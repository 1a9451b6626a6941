/**
 * A Hugging Face `config.json` as the dimensions and switches of a dense decoder:
 *
 *     x += Wo·attention(rope(q), rope(k), v),  q k v = Wq Wk Wv·rmsNorm(x)
 *     x += Wdown·(silu(Wgate·h) · Wup·h),      h = rmsNorm(x)
 *
 * Families: Llama, Mistral (sliding window on every layer), Qwen2 (biases on q, k, v), Qwen3 (RMSNorm on each head of
 * q and k). A missing key has the default of the family's class in the transformers library; null counts as missing.
 * Whatever would change the arithmetic and isn't modelled is an error, never ignored. The other keys of such files
 * (token ids, dropout, dtype, quantization ...) are not read: the number format is a choice of the run.
 * see: transformers models/{llama,mistral,qwen2,qwen3}/configuration_*.py, modeling_rope_utils.py
 */
import { parseJson } from '../base/json.ts';
import { type Fields, fail, fieldsOf, flag, integer, LIMITS, number, objectAt } from './fields.ts';

export type ModelFamily = 'llama' | 'mistral' | 'qwen2' | 'qwen3';

/** How the frequencies of the rotary embedding are stretched for long contexts; null where they are not. */
export type RopeScaling =
  | { readonly type: 'linear'; readonly factor: number }
  | {
      readonly type: 'llama3';
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalMaxPositions: number;
    };

export interface DecoderConfig {
  readonly family: ModelFamily;
  readonly layers: number;
  readonly hidden: number;
  /** Query heads; each group of heads / kvHeads shares one key and value head. */
  readonly heads: number;
  readonly kvHeads: number;
  /** Even. heads x headDim need not be `hidden`. */
  readonly headDim: number;
  /** Width of the gated feed-forward network. */
  readonly ffn: number;
  readonly vocab: number;
  readonly ropeTheta: number;
  readonly ropeScaling: RopeScaling | null;
  readonly normEpsilon: number;
  readonly activation: 'silu';
  /** Tokens that a token of a sliding layer sees, itself included; null if no layer slides. */
  readonly slidingWindow: number | null;
  /** Per layer, whether `slidingWindow` applies. */
  readonly slidingLayers: readonly boolean[];
  /** Biases on the q, k and v projections. No other projection of these families has one. */
  readonly qkvBias: boolean;
  /** RMSNorm over headDim on each head of q and k, before the rotary embedding. */
  readonly qkNorm: boolean;
  /** The output projection is the transposed embedding table. */
  readonly tieEmbeddings: boolean;
  readonly maxPositions: number;
}

interface FamilyDefaults {
  readonly architecture: string;
  readonly maxPositions: number;
  readonly headDim: number | null;
}

const FAMILIES: Readonly<Record<ModelFamily, FamilyDefaults>> = {
  llama: { architecture: 'LlamaForCausalLM', maxPositions: 2048, headDim: null },
  mistral: { architecture: 'MistralForCausalLM', maxPositions: 131072, headDim: null },
  qwen2: { architecture: 'Qwen2ForCausalLM', maxPositions: 32768, headDim: null },
  qwen3: { architecture: 'Qwen3ForCausalLM', maxPositions: 32768, headDim: 128 },
};
const FAMILY_NAMES = Object.keys(FAMILIES) as readonly ModelFamily[];

/** In all four families. */
const DEFAULT_ROPE_THETA = 10000;
const DEFAULT_NORM_EPSILON = 1e-6;
const DEFAULT_SLIDING_WINDOW = 4096;
/** Qwen: layers from this one on slide, unless `layer_types` says otherwise. */
const DEFAULT_FIRST_SLIDING_LAYER = 28;

/** The family by `model_type`, or by the one architecture where an old file has no `model_type`. */
function familyOf(fields: Fields): ModelFamily {
  const { model_type: modelType, architectures } = fields.values;
  const family =
    modelType === undefined && Array.isArray(architectures)
      ? FAMILY_NAMES.find((name) => FAMILIES[name].architecture === architectures[0])
      : FAMILY_NAMES.find((name) => name === modelType);
  if (family === undefined) {
    const key = modelType === undefined && architectures !== undefined ? 'architectures' : 'model_type';
    const names = key === 'model_type' ? FAMILY_NAMES : FAMILY_NAMES.map((name) => FAMILIES[name].architecture);
    fail(fields, key, `one of ${names.join(', ')}`, 'UNSUPPORTED');
  }
  const { architecture } = FAMILIES[family];
  if (architectures !== undefined && !(Array.isArray(architectures) && architectures[0] === architecture)) {
    fail(fields, 'architectures', `["${architecture}"] for model_type ${family}`, 'UNSUPPORTED');
  }
  return family;
}

/**
 * The rotary base and its scaling. Until transformers 5 these were `rope_theta` and `rope_scaling`, since then both are
 * in `rope_parameters`; a file written for either version, or for both, is read.
 */
function ropeOf(config: Fields): { ropeTheta: number; ropeScaling: RopeScaling | null } {
  const parameters = objectAt(config, 'rope_parameters');
  const key = (config.values.rope_scaling ?? null) === null ? 'rope_parameters' : 'rope_scaling';
  const scaling = objectAt(config, key);
  const thetaAt = [scaling, parameters, config].find((fields) => (fields.values.rope_theta ?? null) !== null) ?? config;
  const ropeTheta = number(thetaAt, 'rope_theta', 1, 1e12, DEFAULT_ROPE_THETA);
  // A rotation of only a part of each head is another model.
  for (const fields of [config, parameters]) {
    if ((fields.values.partial_rotary_factor ?? 1) !== 1) fail(fields, 'partial_rotary_factor', '1', 'UNSUPPORTED');
  }
  // Before transformers 4.45 the key was `type`.
  const typeKey = scaling.values.rope_type === undefined ? 'type' : 'rope_type';
  const type = scaling.values[typeKey] ?? (key === 'rope_parameters' ? 'default' : undefined);
  if (type === 'default') return { ropeTheta, ropeScaling: null };
  if (type !== 'linear' && type !== 'llama3') {
    fail(scaling, type === undefined ? 'rope_type' : typeKey, 'one of default, linear, llama3', 'UNSUPPORTED');
  }
  const factor = number(scaling, 'factor', 1, 1e6);
  if (type === 'linear') return { ropeTheta, ropeScaling: { type, factor } };
  const lowFrequencyFactor = number(scaling, 'low_freq_factor', 1e-6, 1e6);
  const highFrequencyFactor = number(scaling, 'high_freq_factor', 1e-6, 1e6);
  if (!(highFrequencyFactor > lowFrequencyFactor)) {
    fail(scaling, 'high_freq_factor', `number > low_freq_factor = ${lowFrequencyFactor}`);
  }
  const originalMaxPositions = integer(scaling, 'original_max_position_embeddings', 1, 2 ** 30);
  return { ropeTheta, ropeScaling: { type, factor, lowFrequencyFactor, highFrequencyFactor, originalMaxPositions } };
}

/** The window of the family, before it is known whether any layer uses it. */
function windowOf(config: Fields, family: ModelFamily): number | null {
  const usesWindow = family === 'mistral' || (family !== 'llama' && flag(config, 'use_sliding_window'));
  // Here null does not mean missing: it turns the window off.
  if (!usesWindow || config.values.sliding_window === null) return null;
  return integer(config, 'sliding_window', 1, LIMITS.positions, DEFAULT_SLIDING_WINDOW);
}

/** The window, and which layers it applies to; used for the dense families and their kin. */
export function slidingOf(
  config: Fields,
  family: ModelFamily,
  layers: number,
): Pick<DecoderConfig, 'slidingWindow' | 'slidingLayers'> {
  const window = windowOf(config, family);
  const types = family === 'llama' ? null : (config.values.layer_types ?? null);
  const full = { slidingWindow: null, slidingLayers: Array.from({ length: layers }, () => false) };
  if (types !== null) {
    const isList = Array.isArray(types) && types.length === layers;
    if (!isList || !types.every((type) => type === 'full_attention' || type === 'sliding_attention')) {
      fail(config, 'layer_types', `${layers} entries, each full_attention or sliding_attention`, 'UNSUPPORTED');
    }
    if (!types.includes('sliding_attention')) return full;
    if (window === null) fail(config, 'layer_types', 'no sliding_attention without a sliding_window');
    return { slidingWindow: window, slidingLayers: types.map((type) => type === 'sliding_attention') };
  }
  if (window === null) return full;
  const first =
    family === 'mistral' ? 0 : integer(config, 'max_window_layers', 0, LIMITS.positions, DEFAULT_FIRST_SLIDING_LAYER);
  if (first >= layers) return full;
  return { slidingWindow: window, slidingLayers: full.slidingLayers.map((_, layer) => layer >= first) };
}

/** Width of one head, by itself or as hidden / heads. */
function headDimOf(config: Fields, family: ModelFamily, hidden: number, heads: number): number {
  const hasKey = (config.values.head_dim ?? FAMILIES[family].headDim) !== null;
  const key = hasKey ? 'head_dim' : 'hidden_size';
  if (!hasKey && hidden % heads !== 0) fail(config, key, `a multiple of num_attention_heads = ${heads}`);
  const headDim = hasKey
    ? integer(config, key, 1, LIMITS.headDim, FAMILIES[family].headDim ?? undefined)
    : hidden / heads;
  // The rotary embedding turns pairs.
  if (headDim % 2 !== 0) fail(config, key, hasKey ? 'an even integer' : `${heads} heads of even width`);
  return headDim;
}

/** What these families can switch on but the decoder layer here does not compute. */
function refuseUnmodelled(config: Fields, family: ModelFamily): void {
  if ((config.values.hidden_act ?? 'silu') !== 'silu') fail(config, 'hidden_act', 'silu', 'UNSUPPORTED');
  // Llama and Qwen3 would also put a bias on the output projection. Mistral and Qwen2 don't read the key.
  const readsAttentionBias = family === 'llama' || family === 'qwen3';
  if (readsAttentionBias && flag(config, 'attention_bias')) fail(config, 'attention_bias', 'false', 'UNSUPPORTED');
  if (family === 'llama' && flag(config, 'mlp_bias')) fail(config, 'mlp_bias', 'false', 'UNSUPPORTED');
}

/**
 * The decoder that a Hugging Face `config.json` describes. `path` names the file in errors.
 *
 * Required: `model_type`, `hidden_size`, `num_hidden_layers`, `num_attention_heads`, `intermediate_size`, `vocab_size`.
 * Without `num_key_value_heads` every query head has its own; `rms_norm_eps` is 1e-6 and `rope_theta` 10000 by default.
 * Sizes are bounded (hidden to 2^20) so that a typing error cannot exhaust the memory.
 * @throws ModelError UNSUPPORTED for another family or an option that is not modelled, CONFIG for a bad value; it names
 * file, key, value and what was expected.
 */
export function parseModelConfig(json: unknown, path: string): DecoderConfig {
  const config = fieldsOf(json, path);
  const family = familyOf(config);
  refuseUnmodelled(config, family);
  const hidden = integer(config, 'hidden_size', 1, LIMITS.hidden);
  const layers = integer(config, 'num_hidden_layers', 1, LIMITS.layers);
  const heads = integer(config, 'num_attention_heads', 1, LIMITS.heads);
  const kvHeads = integer(config, 'num_key_value_heads', 1, LIMITS.heads, heads);
  if (heads % kvHeads !== 0) fail(config, 'num_key_value_heads', `a divisor of num_attention_heads = ${heads}`);
  return {
    family,
    layers,
    hidden,
    heads,
    kvHeads,
    headDim: headDimOf(config, family, hidden, heads),
    ffn: integer(config, 'intermediate_size', 1, LIMITS.ffn),
    vocab: integer(config, 'vocab_size', 1, LIMITS.vocab),
    ...ropeOf(config),
    normEpsilon: number(config, 'rms_norm_eps', 1e-15, 1, DEFAULT_NORM_EPSILON),
    activation: 'silu',
    ...slidingOf(config, family, layers),
    qkvBias: family === 'qwen2',
    qkNorm: family === 'qwen3',
    tieEmbeddings: flag(config, 'tie_word_embeddings'),
    maxPositions: integer(config, 'max_position_embeddings', 1, LIMITS.positions, FAMILIES[family].maxPositions),
  };
}

/**
 * As `parseModelConfig`, from the text of the file.
 * @throws ModelError also if `text` is not JSON, with line and column
 */
export function parseModelText(text: string, path: string): DecoderConfig {
  return parseModelConfig(parseJson(text, path), path);
}
