/**
 * The form of an operator graph: what one rank does in one phase of a layer, the embedding or the head.
 *
 * The degree of parallelism changes the numbers in the items, never their count by more than the collectives that a degree of 1
 * makes needless: a layer over 10^6 ranks is as long a list as one over 8.
 *
 * A graph is executed by two queues, computation and communication. Each takes its items in the order of the list, and an
 * item starts when those named by `after` have ended. What overlaps follows from that: nothing is overlapped by a ratio.
 */

import type { Bytes, Flops } from '../base/units.ts';
import type { Collective } from '../collectives/schedule.ts';
import type { OperandFormat, OperatorCase } from '../core/operator-case.ts';

/**
 * Training: `backward` is `backward-input` and `backward-weight` together, with the communication of one overlapping the
 * other; a zero-bubble schedule asks for them apart. Inference: `prefill`, `decode`.
 */
export type Phase = 'forward' | 'backward-input' | 'backward-weight' | 'backward' | 'optimizer' | 'prefill' | 'decode';

/**
 * The group a collective runs over. `tp`, `cp`, `dp`, `pp`: the ranks of that dimension. `ep`: the ranks that experts are
 * spread over. `etp`: the ranks that share one expert's matrices. `edp`: the ranks that hold the same expert weights.
 */
export type Dimension = 'tp' | 'ep' | 'etp' | 'cp' | 'dp' | 'edp' | 'pp';

export interface OperatorItem {
  readonly type: 'operator';
  readonly name: string;
  readonly case: OperatorCase;
  /** The time is `repeat` times that of `case`; 2.5 for the backward pass of attention, whose five matmuls stand for two. */
  readonly repeat: number;
  /** Useful operations of matmuls on this rank, without padding and recomputation; masked positions don't count. */
  readonly flops: Flops;
  /** Indices of items of the list that end before this one starts. */
  readonly after: readonly number[];
}

export interface CollectiveItem {
  readonly type: 'collective';
  readonly name: string;
  readonly collective: Collective;
  /** As in `CollectiveCase`: the larger of a rank's input and output. */
  readonly bytes: Bytes;
  readonly dimension: Dimension;
  /** Ranks of the group. */
  readonly ranks: number;
  /** Element format of a reduction. */
  readonly dtype: OperandFormat;
  readonly repeat: number;
  readonly after: readonly number[];
}

export type GraphItem = OperatorItem | CollectiveItem;
export type Graph = readonly GraphItem[];

/** How a layer is cut. Every degree is a positive integer; `parallelism` fills in and checks the rest. */
export interface Shard {
  /** Tensor parallelism: heads, feed-forward width and vocabulary are cut. */
  readonly tp: number;
  /** Sequence parallelism: between the cut matrices each of the tp ranks holds tokens / tp. */
  readonly sp: boolean;
  /** Context parallelism: the sequence is cut, attention exchanges keys and values. */
  readonly cp: number;
  /** `ring` passes K and V round; `all-to-all` (Ulysses) trades positions for heads. */
  readonly cpMode: 'ring' | 'all-to-all';
  /** Ranks that the experts are spread over, and ranks that cut one expert's matrices (`tp` if every rank has all experts). */
  readonly ep: number;
  readonly expertTp: number;
}

/** Storage formats. */
export interface Formats {
  /** Operands of the matmuls of the layers, except attention. */
  readonly compute: OperandFormat;
  /** Weights as stored; experts can be narrower (gpt-oss: MXFP4). */
  readonly weights: OperandFormat;
  readonly expertWeights: OperandFormat;
  /** Activations between operators and on the wire, attention, router, embedding and logits' matmul. */
  readonly activations: OperandFormat;
  readonly kv: OperandFormat;
  readonly gradients: OperandFormat;
}

/**
 * What the program keeps on the chip between operators.
 *
 * - `compiler`: each operator reads its operands from HBM and writes its result; only biases are fused.
 * - `library`: hand-written kernels. Residual sum and RMSNorm go into the matmul that follows if no collective stands
 *   between, a gated MLP is one kernel, rotary embedding and activation work on what their neighbours hold on chip.
 * - `megakernel`: one kernel for the layer; activations never pass HBM, weights and the KV cache do. Inference only.
 */
export type Software = 'compiler' | 'library' | 'megakernel';

export interface Step {
  /** Sequences of the micro-batch or batch, on each model replica. */
  readonly sequences: number;
  /** New positions of each sequence: all in training and prefill, 1 in decode, 1 + drafts with speculation. */
  readonly seqQ: number;
  /** Positions attended to, the new ones included (the last seqQ of them). */
  readonly seqKv: number;
  readonly formats: Formats;
  readonly software: Software;
  /** False: scores and probabilities of attention pass through HBM (Megatron-LM before flash attention). */
  readonly flash: boolean;
  readonly dropout: boolean;
  /** False, without flash: scaling, mask and dropout of scores are operators of their own, not parts of the softmax. */
  readonly fusedSoftmax: boolean;
  /** `selective`: the attention core again in the backward pass; `full`: the whole layer. */
  readonly recompute: 'none' | 'selective' | 'full';
  /** Decode with latent attention: queries are moved into the latent space instead of keys out of it. */
  readonly absorbed: boolean;
  /** Load of the busiest expert rank over the mean, >= 1. */
  readonly expertSkew: number;
  /**
   * `routed`: an expert computes the tokens sent to it, and is read if there is one. `per-token`: the experts of each token
   * are read for it alone. `all`: all tokens go through all experts, weighted by 0 where they were not sent.
   */
  readonly experts: 'routed' | 'per-token' | 'all';
  /** Rows of an expert are computed in blocks of so many; 1: no padding. */
  readonly expertBlock: number;
}
