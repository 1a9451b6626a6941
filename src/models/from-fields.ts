/**
 * A model from the few dimensions that published measurements print. What they leave out is what its kind of model has: a
 * gated MLP comes with RMSNorm, rotary positions, SiLU, no biases and an own output matrix (Llama); one without with
 * LayerNorm, GELU, biases and a tied one (GPT); bidirectional attention is an encoder with BERT's embeddings and head.
 * Layers with a window are spread evenly, dense layers of a mixture come first.
 */
import { type Fields, fail, fieldsOf, flag, has, integer, LIMITS, objectAt, oneOf } from './fields.ts';
import { type AttentionSpec, groupLayers, type MlpSpec, type ModelSpec } from './spec.ts';

const KEYS = [
  'name',
  'layers',
  'hidden',
  'heads',
  'kvHeads',
  'headDim',
  'ffn',
  'gatedMlp',
  'vocab',
  'attention',
  'experts',
  'topK',
  'moeFfn',
  'sharedExperts',
  'denseLayers',
  'mla',
  'slidingWindow',
  'slidingWindowLayers',
];
const MLA_KEYS = ['qLoraRank', 'kvLoraRank', 'qkNopeHeadDim', 'qkRopeHeadDim', 'vHeadDim'];

function refuseUnknown(fields: Fields, known: readonly string[]): void {
  const unknown = Object.keys(fields.values).find((key) => !known.includes(key));
  if (unknown !== undefined) fail(fields, unknown, `no key but ${known.join(', ')}`);
}

/**
 * The model that `fields` describe, as the `model` of a measurement. `path` names it in errors.
 * Required: `layers`, `hidden`, `heads`, `vocab`, `gatedMlp`, and `ffn` or the fields of experts.
 * @throws ModelError CONFIG that names the field, its value and what was expected
 */
export function modelFromFields(json: unknown, path: string = 'model'): ModelSpec {
  const fields = fieldsOf(json, path);
  refuseUnknown(fields, KEYS);
  const layers = integer(fields, 'layers', 1, LIMITS.layers);
  const hidden = integer(fields, 'hidden', 1, LIMITS.hidden);
  const gated = flag(fields, 'gatedMlp');
  const causal = oneOf(fields, 'attention', ['causal', 'bidirectional'], 'causal') === 'causal';
  const base = { gated, activation: gated ? ('silu' as const) : ('gelu' as const), bias: !gated };

  const attention = attentionOf(fields, hidden, gated, causal);
  const window = has(fields, 'slidingWindow') ? integer(fields, 'slidingWindow', 1, LIMITS.positions) : null;
  const windowed = integer(fields, 'slidingWindowLayers', 0, layers, window === null ? 0 : layers);
  const isWindowed = (layer: number) =>
    Math.floor(((layer + 1) * windowed) / layers) > Math.floor((layer * windowed) / layers);

  const isMixture = has(fields, 'experts');
  const experts = isMixture ? integer(fields, 'experts', 1, LIMITS.experts) : 0;
  const moeFfn = isMixture ? integer(fields, 'moeFfn', 1, LIMITS.ffn) : 0;
  const mixture: MlpSpec = {
    ...base,
    kind: 'moe',
    experts,
    topK: isMixture ? integer(fields, 'topK', 1, experts) : 0,
    ffn: moeFfn,
    sharedFfn: moeFfn * integer(fields, 'sharedExperts', 0, LIMITS.experts, 0),
    routerBias: false,
    sharedGate: false,
  };
  const denseLayers = isMixture ? integer(fields, 'denseLayers', 0, layers, 0) : layers;
  const dense: MlpSpec = { ...base, kind: 'dense', ffn: denseLayers > 0 ? integer(fields, 'ffn', 1, LIMITS.ffn) : 0 };

  return {
    name: typeof fields.values.name === 'string' ? fields.values.name : path,
    hidden,
    vocab: integer(fields, 'vocab', 1, LIMITS.vocab),
    norm: gated ? 'rmsnorm' : 'layernorm',
    positions: gated ? 'rope' : causal ? 'none' : 'learned',
    maxPositions: causal ? LIMITS.positions : 512,
    tokenTypes: causal ? 0 : 2,
    embeddingNorm: !causal,
    finalNorm: causal,
    head: causal ? 'lm' : 'mlm',
    tied: !gated,
    ...groupLayers(
      Array.from({ length: layers }, (_, layer) => ({
        attention: attention.kind === 'gqa' && isWindowed(layer) ? { ...attention, window } : attention,
        mlp: layer < denseLayers ? dense : mixture,
      })),
    ),
  };
}

function attentionOf(fields: Fields, hidden: number, gated: boolean, causal: boolean): AttentionSpec {
  const heads = integer(fields, 'heads', 1, LIMITS.heads);
  if (has(fields, 'mla')) {
    const mla = objectAt(fields, 'mla');
    refuseUnknown(mla, MLA_KEYS);
    const dim = (key: string) => integer(mla, key, 1, LIMITS.headDim);
    return {
      kind: 'mla',
      heads,
      causal,
      queryRank: has(mla, 'qLoraRank') ? dim('qLoraRank') : null,
      kvRank: dim('kvLoraRank'),
      nopeHeadDim: dim('qkNopeHeadDim'),
      ropeHeadDim: dim('qkRopeHeadDim'),
      valueHeadDim: dim('vHeadDim'),
    };
  }
  const kvHeads = integer(fields, 'kvHeads', 1, LIMITS.heads, heads);
  if (heads % kvHeads !== 0) fail(fields, 'kvHeads', `a divisor of heads = ${heads}`);
  return {
    kind: 'gqa',
    heads,
    kvHeads,
    headDim: integer(fields, 'headDim', 1, LIMITS.headDim, hidden / heads),
    causal,
    window: null,
    chunk: null,
    rope: gated,
    qkNorm: 'none',
    qkvBias: !gated,
    outputBias: !gated,
    sinks: false,
  };
}
