/**
 * Readers of the families with GPT-2's layer: LayerNorm, learned positions, biases everywhere, an MLP without gate. GPT-2,
 * OPT, BERT (whose norms come after the sums, which costs the same), and the shapes of the Megatron papers.
 * see: transformers models/{gpt2,opt,bert}/configuration_*.py and modeling_*.py.
 */
import { activationOf, type Family, sizes } from './family-fields.ts';
import { type Fields, fail, flag, integer, LIMITS, oneOf } from './fields.ts';
import type { DenseMlp, GqaAttention, LayerKind, ModelSpec } from './spec.ts';

/** GPT-2's layer: LayerNorm, learned positions, biases everywhere, an MLP without gate. */
function gptLike(
  config: Fields,
  name: string,
  shape: { hidden: number; layers: number; heads: number; headDim: number; ffn: number; maxPositions: number },
  activation: DenseMlp['activation'],
): ModelSpec {
  const { hidden, heads, headDim, ffn, maxPositions } = shape;
  const attention: GqaAttention = {
    kind: 'gqa',
    heads,
    kvHeads: heads,
    headDim,
    causal: true,
    window: null,
    chunk: null,
    rope: false,
    qkNorm: 'none',
    qkvBias: true,
    outputBias: true,
    sinks: false,
  };
  const layer: LayerKind = { attention, mlp: { kind: 'dense', ffn, gated: false, activation, bias: true } };
  return {
    name,
    hidden,
    vocab: sizes.vocab(config),
    norm: 'layernorm',
    positions: 'learned',
    maxPositions,
    tokenTypes: 0,
    embeddingNorm: false,
    finalNorm: true,
    head: 'lm',
    tied: flag(config, 'tie_word_embeddings', true),
    kinds: [layer],
    runs: [{ kind: 0, count: shape.layers }],
  };
}

function headDimOf(config: Fields, key: string, hidden: number, heads: number): number {
  if (hidden % heads !== 0) fail(config, key, `a multiple of the ${heads} attention heads`);
  return hidden / heads;
}

export const gpt2: Family = (config, name) => {
  oneOf(config, 'add_cross_attention', [false], false);
  const hidden = sizes.hidden(config, 'n_embd');
  const heads = sizes.heads(config, 'n_head');
  return gptLike(
    config,
    name,
    {
      hidden,
      heads,
      layers: sizes.layers(config, 'n_layer'),
      headDim: headDimOf(config, 'n_embd', hidden, heads),
      ffn: integer(config, 'n_inner', 1, LIMITS.ffn, 4 * hidden),
      maxPositions: sizes.positions(config, 1024, 'n_positions'),
    },
    activationOf(config, 'activation_function', 'gelu_new'),
  );
};

/** The catalogue's own type for GPT-3 and the shapes of the Megatron papers, which have no config.json. */
export const megatron: Family = (config, name) => {
  oneOf(config, 'gated_mlp', [false], false);
  const hidden = sizes.hidden(config);
  const heads = sizes.heads(config);
  return gptLike(
    config,
    name,
    {
      hidden,
      heads,
      layers: sizes.layers(config),
      headDim: integer(config, 'head_dim', 1, LIMITS.headDim, Math.floor(hidden / heads)),
      ffn: sizes.ffn(config),
      maxPositions: sizes.positions(config, 2048, 'seq'),
    },
    'gelu',
  );
};

export const opt: Family = (config, name) => {
  const hidden = sizes.hidden(config);
  const heads = sizes.heads(config);
  oneOf(config, 'word_embed_proj_dim', [hidden], hidden);
  oneOf(config, 'do_layer_norm_before', [true], true);
  oneOf(config, 'enable_bias', [true], true);
  return gptLike(
    config,
    name,
    {
      hidden,
      heads,
      layers: sizes.layers(config),
      headDim: headDimOf(config, 'hidden_size', hidden, heads),
      ffn: sizes.ffn(config, 'ffn_dim'),
      // The table begins with two rows that padding uses.
      maxPositions: sizes.positions(config, 2048) + 2,
    },
    activationOf(config, 'activation_function', 'relu'),
  );
};

export const bert: Family = (config, name) => {
  oneOf(config, 'position_embedding_type', ['absolute'], 'absolute');
  for (const key of ['is_decoder', 'add_cross_attention']) oneOf(config, key, [false], false);
  const hidden = sizes.hidden(config);
  const heads = sizes.heads(config);
  const shape = {
    hidden,
    heads,
    layers: sizes.layers(config),
    headDim: headDimOf(config, 'hidden_size', hidden, heads),
    ffn: sizes.ffn(config),
    maxPositions: sizes.positions(config, 512),
  };
  const spec = gptLike(config, name, shape, activationOf(config, 'hidden_act', 'gelu'));
  const isBare = Array.isArray(config.values.architectures) && config.values.architectures[0] === 'BertModel';
  return {
    ...spec,
    tokenTypes: integer(config, 'type_vocab_size', 0, 64, 2),
    embeddingNorm: true,
    finalNorm: false,
    head: isBare ? 'pooler' : 'mlm',
    kinds: spec.kinds.map(({ attention, mlp }) => ({ attention: { ...attention, causal: false }, mlp })),
  };
};
