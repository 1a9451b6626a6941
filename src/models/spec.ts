/**
 * A transformer as plain data: what every family of models is normalised to, and what parameters, FLOPs, operator graphs
 * and memory are computed from.
 *
 * Layers that are equal share one `LayerKind`; `runs` lists them in order, so that a model of 128 layers is one kind and
 * one run, and gpt-oss, whose layers alternate, is two kinds and 36 runs. Only what changes shapes, parameters or bytes
 * is here: epsilon, rotary base and token ids are not.
 */

interface AttentionBase {
  readonly heads: number;
  /** False in encoders: every token sees every other one. */
  readonly causal: boolean;
}

/** Multi-head, grouped-query and multi-query attention: heads / kvHeads query heads share a key and a value head. */
export interface GqaAttention extends AttentionBase {
  readonly kind: 'gqa';
  readonly kvHeads: number;
  readonly headDim: number;
  /** Tokens that a token sees at most, itself included; null: all before it. */
  readonly window: number | null;
  /** Llama 4: a token sees the tokens before it in its own chunk of this length; null: no chunks. */
  readonly chunk: number | null;
  /** Rotary embedding on q and k (Llama 4 leaves it out on some layers). */
  readonly rope: boolean;
  /** Normalisation of each head of q and k: with a weight of headDim (Qwen3), without (Llama 4), or none. */
  readonly qkNorm: 'weighted' | 'plain' | 'none';
  readonly qkvBias: boolean;
  readonly outputBias: boolean;
  /** A learned logit per head that takes part in the softmax (gpt-oss). */
  readonly sinks: boolean;
}

/** Multi-head latent attention (DeepSeek-V2): keys and values are expanded from a latent vector, which is what is cached. */
export interface MlaAttention extends AttentionBase {
  readonly kind: 'mla';
  /** Width of the query's latent vector; null: queries are projected directly. */
  readonly queryRank: number | null;
  readonly kvRank: number;
  /** Of each query and key head: the part without and the part with rotary embedding; the latter's key is shared. */
  readonly nopeHeadDim: number;
  readonly ropeHeadDim: number;
  readonly valueHeadDim: number;
}

export type AttentionSpec = GqaAttention | MlaAttention;

/** `gated`: down(act(x gate) * (x up)), three matrices; otherwise down(act(x up)). */
interface MlpBase {
  readonly gated: boolean;
  readonly activation: 'silu' | 'gelu' | 'relu' | 'relu2';
  readonly bias: boolean;
}

export interface DenseMlp extends MlpBase {
  readonly kind: 'dense';
  readonly ffn: number;
}

export interface MoeMlp extends MlpBase {
  readonly kind: 'moe';
  readonly experts: number;
  /** Experts that each token is sent to. */
  readonly topK: number;
  /** Width of one routed expert. */
  readonly ffn: number;
  /** Width of all shared experts together, which see every token; 0 if there are none. */
  readonly sharedFfn: number;
  /** A bias on the router's logits, as a parameter of the checkpoint. */
  readonly routerBias: boolean;
  /** A gate of `hidden` weights on the shared expert (Qwen2-MoE). */
  readonly sharedGate: boolean;
}

export type MlpSpec = DenseMlp | MoeMlp;

export interface LayerKind {
  readonly attention: AttentionSpec;
  readonly mlp: MlpSpec;
}

/** `count` equal layers one after another; `kind` is an index of `kinds`. */
export interface LayerRun {
  readonly kind: number;
  readonly count: number;
}

export interface ModelSpec {
  readonly name: string;
  readonly hidden: number;
  readonly vocab: number;
  /** RMSNorm has a weight, LayerNorm a weight and a bias. Each layer has two. */
  readonly norm: 'rmsnorm' | 'layernorm';
  /** Where positions enter: on q and k of each layer, as a table of `maxPositions` rows, or not by parameters (ALiBi). */
  readonly positions: 'rope' | 'learned' | 'none';
  readonly maxPositions: number;
  /** Rows of the segment embedding (BERT); 0: none. */
  readonly tokenTypes: number;
  /** A norm after the embedding (BERT), after the last layer (decoders). */
  readonly embeddingNorm: boolean;
  readonly finalNorm: boolean;
  /** `lm`: logits of the vocabulary. `mlm`: a dense layer, a norm and logits with a bias (BERT). `pooler`: [hidden, hidden]. */
  readonly head: 'lm' | 'mlm' | 'pooler';
  /** The logits' matrix is the transposed embedding table. */
  readonly tied: boolean;
  readonly kinds: readonly LayerKind[];
  readonly runs: readonly LayerRun[];
}

/** Number of layers. */
export function layerCount({ runs }: Pick<ModelSpec, 'runs'>): number {
  return runs.reduce((sum, { count }) => sum + count, 0);
}

/** How many layers of each kind lie in [first, end). */
export function kindCounts({ kinds, runs }: ModelSpec, first: number = 0, end: number = Infinity): number[] {
  const counts = kinds.map(() => 0);
  let start = 0;
  for (const { kind, count } of runs) {
    counts[kind]! += Math.max(0, Math.min(end, start + count) - Math.max(first, start));
    start += count;
  }
  return counts;
}

/** Kinds and runs of a list of layers, equal ones merged. */
export function groupLayers(layers: readonly LayerKind[]): Pick<ModelSpec, 'kinds' | 'runs'> {
  const index = new Map<string, number>();
  const kinds: LayerKind[] = [];
  const runs: { kind: number; count: number }[] = [];
  for (const layer of layers) {
    const key = JSON.stringify(layer);
    const kind = index.get(key) ?? kinds.push(layer) - 1;
    index.set(key, kind);
    const last = runs.at(-1);
    if (last?.kind === kind) last.count++;
    else runs.push({ kind, count: 1 });
  }
  return { kinds, runs };
}
