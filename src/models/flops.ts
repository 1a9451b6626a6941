/**
 * Operations of the matmuls of a whole model for a step, in closed form.
 *
 *     forward = 2·tokens·(matrices that a token meets) + 2·pairs·heads·(query + value width of a head)
 *
 * `pairs` is how many (query, key) positions a mask leaves, exactly: n(n+1)/2 for a causal sequence. The backward pass is
 * twice the forward pass. A multiply-add counts 2. Leaves out element-wise work, as every published MFU does.
 * see: Narayanan et al., arXiv:2104.04473, appendix; PaLM, arXiv:2204.02311, appendix B.
 */
import type { Flops } from '../base/units.ts';
import { queryWidth, valueWidth } from './parameters.ts';
import type { AttentionSpec, LayerKind, ModelSpec } from './spec.ts';

/** What limits the positions that a query sees. */
export interface Mask {
  readonly causal: boolean;
  readonly window: number | null;
  readonly chunk: number | null;
}

export function maskOf(attention: AttentionSpec): Mask {
  const { causal } = attention;
  return attention.kind === 'gqa'
    ? { causal, window: attention.window, chunk: attention.chunk }
    : { causal, window: null, chunk: null };
}

/** Keys seen by the queries at positions 0 .. n-1 together. */
function pairsUpTo(n: number, window: number | null, chunk: number | null): number {
  const triangle = (size: number): number => (size * (size + 1)) / 2;
  if (chunk !== null) return Math.floor(n / chunk) * triangle(chunk) + triangle(n % chunk);
  return window === null || window >= n ? triangle(n) : triangle(window) + (n - window) * window;
}

/** (query, key) pairs of one sequence, when the last `seqQ` of `seqKv` positions ask. */
export function attentionPairs({ causal, window, chunk }: Mask, seqQ: number, seqKv: number): number {
  if (!causal) return seqQ * seqKv;
  return pairsUpTo(seqKv, window, chunk) - pairsUpTo(seqKv - seqQ, window, chunk);
}

export interface ModelFlops {
  /** Matmuls with weights, in layers and head. */
  readonly weights: Flops;
  /** Scores and values of attention, masked pairs left out ... */
  readonly attention: Flops;
  /** ... and counted, as many published MFU figures do. */
  readonly unmaskedAttention: Flops;
  /** weights + attention. */
  readonly forward: Flops;
  /** Forward and backward, without recomputation: 3 x forward. */
  readonly training: Flops;
}

/** Multiply-adds per token with the matrices of a layer: the elements that a token meets. */
function layerMatrixElements({ hidden }: Pick<ModelSpec, 'hidden'>, { attention, mlp }: LayerKind): number {
  const output = valueWidth(attention) * hidden;
  let projections: number;
  if (attention.kind === 'gqa') {
    projections = hidden * (attention.heads + 2 * attention.kvHeads) * attention.headDim;
  } else {
    const { heads, queryRank, kvRank, nopeHeadDim, ropeHeadDim, valueHeadDim } = attention;
    const width = queryWidth(attention);
    const query = queryRank === null ? hidden * width : queryRank * (hidden + width);
    projections = query + hidden * (kvRank + ropeHeadDim) + kvRank * heads * (nopeHeadDim + valueHeadDim);
  }
  const perUnit = (mlp.gated ? 3 : 2) * hidden;
  const network =
    mlp.kind === 'dense'
      ? perUnit * mlp.ffn
      : perUnit * (mlp.topK * mlp.ffn + mlp.sharedFfn) + hidden * mlp.experts + (mlp.sharedGate ? hidden : 0);
  return projections + output + network;
}

/** Multiply-adds per token in the head. */
function headMatrixElements({ head, hidden, vocab }: ModelSpec): number {
  if (head === 'pooler') return hidden * hidden;
  return hidden * vocab + (head === 'mlm' ? hidden * hidden : 0);
}

/**
 * Of `sequences` sequences of which the last `seqQ` of `seqKv` positions are computed; `logits` is how many positions of
 * each get logits (all by default; 1 in prefill).
 */
export function modelFlops(
  model: ModelSpec,
  sequences: number,
  seqQ: number,
  seqKv: number = seqQ,
  logits: number = seqQ,
): ModelFlops {
  const tokens = sequences * seqQ;
  let weights = 2 * sequences * logits * headMatrixElements(model);
  let attention = 0;
  let unmaskedAttention = 0;
  for (const { kind, count } of model.runs) {
    const layer = model.kinds[kind]!;
    weights += 2 * tokens * count * layerMatrixElements(model, layer);
    const perPair = 2 * sequences * count * (queryWidth(layer.attention) + valueWidth(layer.attention));
    attention += perPair * attentionPairs(maskOf(layer.attention), seqQ, seqKv);
    unmaskedAttention += perPair * seqQ * seqKv;
  }
  const forward = weights + attention;
  return { weights, attention, unmaskedAttention, forward, training: 3 * forward };
}
