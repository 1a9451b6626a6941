/**
 * Exact numbers of parameters, as a checkpoint holds them: those of the published models come out to the last one. A tied
 * output projection is the embedding table, counted once. Leaves out what is no parameter (rotary frequencies), and what
 * families.ts lists as not counted.
 */
import { ModelError } from '../base/errors.ts';
import type { Shard } from './graph.ts';
import type { AttentionSpec, LayerKind, MlpSpec, ModelSpec } from './spec.ts';

/** Of one layer. */
export interface LayerParameters {
  /** Projections, biases, norms inside attention, sinks. */
  readonly attention: number;
  /** Dense MLP; in a mixture the shared experts, their gate and the router. */
  readonly mlp: number;
  /** All routed experts together; 0 in a dense layer. */
  readonly experts: number;
  /** The two norms of the layer. */
  readonly norms: number;
  readonly total: number;
  /** What one token meets: `total` with topK of the experts, wherever they are. */
  readonly active: number;
}

export interface ParameterCounts {
  /** Token, position and segment tables, and the norm after them. */
  readonly embedding: number;
  /** By index of `kinds`. */
  readonly layers: readonly LayerParameters[];
  readonly finalNorm: number;
  /** What follows the last layer and its norm; a tied matrix counts 0. */
  readonly output: number;
  readonly total: number;
  /** What one token meets, both vocabulary matrices included. */
  readonly active: number;
}

/** Width of the queries of all heads, and of the values of all heads: the input of the output projection. */
export function queryWidth(attention: AttentionSpec): number {
  const { heads } = attention;
  return heads * (attention.kind === 'gqa' ? attention.headDim : attention.nopeHeadDim + attention.ropeHeadDim);
}
export function valueWidth(attention: AttentionSpec): number {
  return attention.heads * (attention.kind === 'gqa' ? attention.headDim : attention.valueHeadDim);
}

export function normParameters({ norm }: Pick<ModelSpec, 'norm'>, width: number): number {
  return norm === 'rmsnorm' ? width : 2 * width;
}

export interface RankHeads {
  readonly heads: number;
  /** 1 for latent attention, whose latent vector every rank has. */
  readonly kvHeads: number;
}

/**
 * Heads of the fullest of `tp` ranks; a multiple of its KV heads. Heads that tp doesn't divide are padded, and KV heads
 * fewer than ranks are copied to every rank whose query heads need them.
 */
export function rankHeads(attention: AttentionSpec, tp: number): RankHeads {
  const heads = Math.ceil(attention.heads / tp);
  if (attention.kind === 'mla') return { heads, kvHeads: 1 };
  const kvHeads = Math.ceil(attention.kvHeads / tp);
  return { heads: Math.ceil(heads / kvHeads) * kvHeads, kvHeads };
}

function attentionParameters(attention: AttentionSpec, hidden: number, tp: number): number {
  const { heads, kvHeads } = rankHeads(attention, tp);
  if (attention.kind === 'gqa') {
    const { headDim, qkvBias, outputBias, qkNorm, sinks } = attention;
    const qkv = (heads + 2 * kvHeads) * headDim;
    const biases = (qkvBias ? qkv : 0) + (outputBias ? hidden : 0);
    const output = heads * headDim * hidden;
    return hidden * qkv + output + biases + (qkNorm === 'weighted' ? 2 * headDim : 0) + (sinks ? heads : 0);
  }
  const { queryRank, kvRank, nopeHeadDim, ropeHeadDim, valueHeadDim } = attention;
  const width = heads * (nopeHeadDim + ropeHeadDim);
  // The latent vectors have an RMSNorm each.
  const query = queryRank === null ? hidden * width : hidden * queryRank + queryRank + queryRank * width;
  const kv = hidden * (kvRank + ropeHeadDim) + kvRank + kvRank * heads * (nopeHeadDim + valueHeadDim);
  return query + kv + heads * valueHeadDim * hidden;
}

/** Of an MLP of width `ffn`: one expert, all shared ones together, or a dense layer; cut `ways` ways. */
function ffnParameters({ gated, bias }: MlpSpec, hidden: number, ffn: number, ways: number): number {
  const own = Math.ceil(ffn / ways);
  const into = gated ? 2 * own : own;
  return hidden * (into + own) + (bias ? into + hidden : 0);
}

/** How weights are cut: tp for attention, dense and shared MLPs; experts over ep ranks, each of them over expertTp. */
type Cut = Pick<Shard, 'tp' | 'ep' | 'expertTp'>;
const WHOLE: Cut = { tp: 1, ep: 1, expertTp: 1 };

/**
 * Of a layer; with a `cut`, of its share on the fullest rank. What no matrix product cuts is on every rank: norms, biases
 * of row-cut matrices, the router, the projections into latent vectors.
 */
export function layerParameters(
  model: Pick<ModelSpec, 'hidden' | 'norm'>,
  { attention, mlp }: LayerKind,
  cut: Cut = WHOLE,
): LayerParameters {
  const { hidden } = model;
  const attentionCount = attentionParameters(attention, hidden, cut.tp);
  const norms = 2 * normParameters(model, hidden);
  if (mlp.kind === 'dense') {
    const dense = ffnParameters(mlp, hidden, mlp.ffn, cut.tp);
    const total = attentionCount + norms + dense;
    return { attention: attentionCount, mlp: dense, experts: 0, norms, total, active: total };
  }
  const router = hidden * mlp.experts + (mlp.routerBias ? mlp.experts : 0) + (mlp.sharedGate ? hidden : 0);
  const always = router + (mlp.sharedFfn === 0 ? 0 : ffnParameters(mlp, hidden, mlp.sharedFfn, cut.tp));
  const expert = ffnParameters(mlp, hidden, mlp.ffn, cut.expertTp);
  const experts = Math.ceil(mlp.experts / cut.ep) * expert;
  const rest = attentionCount + norms + always;
  return {
    attention: attentionCount,
    mlp: always,
    experts,
    norms,
    total: rest + experts,
    active: rest + mlp.topK * expert,
  };
}

/** Of what follows the last layer, without its norm; the logits' matrix apart, as it can be tied. */
export function headParameters(model: ModelSpec): number {
  const { head, hidden, vocab, tied } = model;
  if (head === 'pooler') return hidden * hidden + hidden;
  const logits = tied ? 0 : vocab * hidden;
  return head === 'lm' ? logits : logits + vocab + hidden * hidden + hidden + normParameters(model, hidden);
}

export function embeddingParameters(model: ModelSpec): number {
  const { hidden, vocab, positions, maxPositions, tokenTypes, embeddingNorm } = model;
  const rows = vocab + tokenTypes + (positions === 'learned' ? maxPositions : 0);
  return rows * hidden + (embeddingNorm ? normParameters(model, hidden) : 0);
}

/**
 * Parameters of the whole model and of each kind of layer.
 * @throws ModelError CAPACITY if the total is beyond 2^53, where it would no longer be exact
 */
export function parameterCounts(model: ModelSpec): ParameterCounts {
  const embedding = embeddingParameters(model);
  const layers = model.kinds.map((kind) => layerParameters(model, kind));
  const finalNorm = model.finalNorm ? normParameters(model, model.hidden) : 0;
  const output = headParameters(model);
  const over = (field: 'total' | 'active') =>
    model.runs.reduce((sum, { kind, count }) => sum + count * layers[kind]![field], embedding + finalNorm + output);
  const total = over('total');
  if (!Number.isSafeInteger(total)) {
    throw new ModelError('CAPACITY', 'parameters', `expected at most 2^53 in total, got ${total.toExponential(2)}`);
  }
  return { embedding, layers, finalNorm, output, total, active: over('active') };
}
