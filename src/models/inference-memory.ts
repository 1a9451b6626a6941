/**
 * The KV cache, and memory of a rank in inference.
 *
 *     cache of a layer and sequence = positions x (2 kvHeads headDim | kvRank + ropeHeadDim) x bytes
 *
 * positions: the length in whole pages; with a window no more pages than can hold one, with chunks one chunk. Tensor
 * parallelism cuts KV heads down to one a rank; the latent vector of MLA is on every rank. Context parallelism cuts positions.
 * Activations: residual, and the widest operator's operands, of the tokens that are computed together.
 * see: PagedAttention, arXiv:2309.06180; DeepSeek-V2, arXiv:2405.04434, table 1.
 */
import { expectInteger } from '../base/errors.ts';
import type { Bytes } from '../base/units.ts';
import { FORMAT_BYTES } from '../core/operator-work.ts';
import { formatsOf } from './formats.ts';
import type { Formats, Shard } from './graph.ts';
import { emptyMemory, type MemoryUse } from './memory.ts';
import { layerParameters, queryWidth, rankHeads } from './parameters.ts';
import { rankEdgeParameters } from './shard.ts';
import { type AttentionSpec, kindCounts, type LayerKind, layerCount, type ModelSpec } from './spec.ts';

/** Cached per token by one layer, on one of `tp` ranks. */
export function kvElements(attention: AttentionSpec, tp: number = 1): number {
  if (attention.kind === 'mla') return attention.kvRank + attention.ropeHeadDim;
  return 2 * rankHeads(attention, tp).kvHeads * attention.headDim;
}

/** Cached per token by the whole model, windows not considered. */
export function kvElementsPerToken(model: ModelSpec): number {
  return model.runs.reduce((sum, { kind, count }) => sum + count * kvElements(model.kinds[kind]!.attention), 0);
}

/** Positions that a layer holds of a sequence of `length`, in pages of `page`. */
export function kvPositions(attention: AttentionSpec, length: number, page: number = 1): number {
  const reach = attention.kind === 'gqa' ? (attention.window ?? attention.chunk) : null;
  const pages = Math.ceil(length / page);
  // A window that begins inside a page touches one page more.
  return page * (reach === null ? pages : Math.min(pages, Math.ceil((reach - 1) / page) + 1));
}

/** Cache of one sequence of `length` positions, all layers and ranks' worth once. */
export function kvCacheBytes(model: ModelSpec, length: number, format: Formats['kv'], page: number = 1): Bytes {
  const elements = model.runs.reduce((sum, { kind, count }) => {
    const { attention } = model.kinds[kind]!;
    return sum + count * kvElements(attention) * kvPositions(attention, length, page);
  }, 0);
  return elements * FORMAT_BYTES[format];
}

export interface InferenceMemoryOptions {
  readonly shard: Shard;
  readonly pp?: number;
  readonly formats?: Formats;
  /** Sequences of a model replica, and the longest length that the cache has room for. */
  readonly sequences: number;
  readonly length: number;
  /** Tokens computed together: a prefill piece, or the batch of a decode step. */
  readonly tokens: number;
  readonly page?: number;
}

/** Elements of the widest pair of operands of a layer, per token. */
function widest({ hidden }: ModelSpec, { attention, mlp }: LayerKind, { tp, expertTp }: Shard): number {
  const heads = rankHeads(attention, tp).heads / attention.heads;
  const qkv = heads * queryWidth(attention) + kvElements(attention, tp);
  const into = mlp.gated ? 2 : 1;
  if (mlp.kind === 'dense') return hidden + Math.max(qkv, (into * mlp.ffn) / tp);
  const copies = (mlp.topK * expertTp) / tp;
  return hidden + Math.max(qkv, (into * mlp.sharedFfn) / tp, copies * (hidden + (into * mlp.ffn) / expertTp));
}

/** The fullest rank in inference. */
export function inferenceMemory(model: ModelSpec, options: InferenceMemoryOptions): MemoryUse {
  const { shard, formats = formatsOf('bf16'), page = 1 } = options;
  const pp = expectInteger('pp', options.pp ?? 1, 1, layerCount(model));
  const sequences = expectInteger('sequences', options.sequences, 1);
  const length = expectInteger('length', options.length, 1);
  const tokens = expectInteger('tokens', options.tokens, 1);
  expectInteger('page', page, 1);
  const layers = layerCount(model);
  const edges = rankEdgeParameters(model, shard.tp);
  const width = Math.max(...model.kinds.map((kind) => widest(model, kind, shard)));
  const activations = FORMAT_BYTES[formats.activations] * Math.ceil(tokens / shard.cp) * (model.hidden + width);
  const fullest = emptyMemory();
  for (let stage = 0; stage < pp; stage++) {
    const counts = kindCounts(model, Math.floor((stage * layers) / pp), Math.floor(((stage + 1) * layers) / pp));
    let weights = 0;
    let kvCache = 0;
    for (const [index, count] of counts.entries()) {
      const kind = model.kinds[index]!;
      const { total, experts } = layerParameters(model, kind, shard);
      weights +=
        count * ((total - experts) * FORMAT_BYTES[formats.weights] + experts * FORMAT_BYTES[formats.expertWeights]);
      const positions = Math.ceil(kvPositions(kind.attention, length, page) / shard.cp);
      kvCache += count * kvElements(kind.attention, shard.tp) * positions * sequences * FORMAT_BYTES[formats.kv];
    }
    const isLast = stage === pp - 1;
    const tied = model.tied && pp === 1 ? Math.ceil(model.vocab / shard.tp) * model.hidden : 0;
    // Tables and logits' matrix stay in the format of the activations.
    const tables = (stage === 0 ? edges.embedding : 0) + (isLast ? edges.head - tied : 0);
    weights += tables * FORMAT_BYTES[formats.activations];
    const buffers = isLast ? 4 * sequences * model.vocab : 0;
    const total = weights + kvCache + activations + buffers;
    if (total > fullest.total) Object.assign(fullest, { weights, kvCache, activations, buffers, total, stage });
  }
  return fullest;
}
