/**
 * Bytes that the backward pass of a layer needs kept, per token of the tensor-parallel group (2-byte activations of a dense
 * layer with dropout in brackets, h = hidden, f = feed-forward width):
 *
 *     on every rank, or 1/tp with sequence parallelism: inputs of both norms [4h], of QKV and MLP [4h], dropout masks [2h]
 *     1/tp: Q, K, V, the core's output [8h]; before and after the activation [4f], a gated one 6f
 *     scores, if attention is not flash: softmax, mask and dropped result, 5 bytes each; else 4 bytes a head
 *
 * which is sbh (10 + 24/t + 5as/(ht)), and sbh/t (34 + 5as/h) with sequence parallelism. Selective recomputation keeps no
 * scores; full recomputation keeps the layer's input [2h].
 * A mixture keeps each copy of a token before the experts, and the router's logits. Its weights multiply the copies inside the
 * activation (Megatron-LM's weighted SwiGLU), so that what the experts yield is not needed again.
 * see: Korthikanti et al., arXiv:2205.05198, section 4, table 2; the terms of gated, grouped and latent forms are derived.
 */
import type { Bytes } from '../base/units.ts';
import { FORMAT_BYTES } from '../core/operator-work.ts';
import type { Formats, Shard, Step } from './graph.ts';
import { rankHeads } from './parameters.ts';
import type { AttentionSpec, LayerKind, MlpSpec, ModelSpec } from './spec.ts';

export interface ActivationOptions {
  readonly formats: Formats;
  /** Masks of one byte are kept after attention, after the MLP and on the probabilities. */
  readonly dropout: boolean;
  readonly flash: boolean;
  /** Positions of a whole sequence: the length of a row of scores. */
  readonly seq: number;
  readonly expertSkew: number;
}

type Cut = Pick<Shard, 'tp' | 'sp' | 'ep' | 'expertTp'>;

/** Of one layer, per token of the tensor-parallel group, on one rank. */
export function activationBytesPerToken(
  { hidden }: Pick<ModelSpec, 'hidden'>,
  { attention, mlp }: LayerKind,
  cut: Cut,
  recompute: Step['recompute'],
  options: ActivationOptions,
): Bytes {
  const bytes = FORMAT_BYTES[options.formats.activations];
  const local = cut.sp ? cut.tp : 1;
  if (recompute === 'full') return (bytes * hidden) / local;
  const masks = options.dropout ? 2 * hidden : 0;
  const whole = bytes * 2 * hidden + masks;
  return (
    whole / local +
    attentionBytes(attention, hidden, cut, bytes) +
    scoreBytes(attention, cut.tp, recompute, options, bytes) +
    mlpBytes(mlp, hidden, cut, options.expertSkew, bytes)
  );
}

/** Elements of the second input of a saved product: what the projections and the core read. */
function attentionBytes(attention: AttentionSpec, hidden: number, cut: Cut, bytes: number): Bytes {
  const { heads, kvHeads } = rankHeads(attention, cut.tp);
  const local = cut.sp ? cut.tp : 1;
  if (attention.kind === 'gqa') {
    const { headDim, qkNorm } = attention;
    const rotated = qkNorm === 'none' ? 0 : heads + kvHeads;
    return bytes * (hidden / local + (2 * heads + 2 * kvHeads + rotated) * headDim);
  }
  const { queryRank, kvRank, nopeHeadDim, ropeHeadDim, valueHeadDim } = attention;
  // Latent vectors before and after their norms; then queries, keys, values and the core's output.
  const latent = 2 * ((queryRank ?? 0) + kvRank) + ropeHeadDim;
  return bytes * ((hidden + latent) / local + heads * (2 * (nopeHeadDim + ropeHeadDim) + 2 * valueHeadDim));
}

function scoreBytes(
  attention: AttentionSpec,
  tp: number,
  recompute: Step['recompute'],
  { dropout, flash, seq }: ActivationOptions,
  bytes: number,
): Bytes {
  if (recompute === 'selective') return 0;
  const { heads } = rankHeads(attention, tp);
  // Flash attention keeps the logarithm of each row's sum in FP32.
  if (flash) return 4 * heads;
  return heads * seq * (dropout ? 2 * bytes + 1 : bytes);
}

function mlpBytes(mlp: MlpSpec, hidden: number, cut: Cut, skew: number, bytes: number): Bytes {
  const local = cut.sp ? cut.tp : 1;
  // A gated activation is computed again from its two inputs, as in fused kernels.
  const widths = mlp.gated ? 3 : 2;
  const input = (bytes * hidden) / local;
  if (mlp.kind === 'dense') return input + bytes * widths * Math.ceil(mlp.ffn / cut.tp);
  const copies = (skew * mlp.topK * cut.expertTp) / cut.tp;
  const routed = copies * bytes * (hidden + widths * Math.ceil(mlp.ffn / cut.expertTp));
  const shared = bytes * widths * Math.ceil(mlp.sharedFfn / cut.tp);
  return input + (4 * mlp.experts) / local + routed + shared;
}
