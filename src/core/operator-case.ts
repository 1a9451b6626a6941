/**
 * An operator to be timed on a NeuronCore or on another maker's accelerator: by the names, dimensions and number formats
 * of published measurements, so that a measurement, a command line and a layer of a model ask the same question.
 *
 * | op                      | dims                                        | what it computes                                |
 * |-------------------------|---------------------------------------------|-------------------------------------------------|
 * | matmul                  | m k n                                       | C[m,n] = A[m,k] B[k,n]                          |
 * | batched-matmul          | batch m k n                                 | `batch` independent matmuls                     |
 * | batched-matmul-softmax  | batch m k n                                 | ... then softmax over n, fused                  |
 * | rmsnorm-matmul          | m k n                                       | RMSNorm of A over k, then matmul, fused         |
 * | add-rmsnorm-matmul      | m k n                                       | residual add to A, RMSNorm, matmul, fused       |
 * | matmul-add-rmsnorm      | m k n                                       | matmul, residual add of [m,n], RMSNorm, fused   |
 * | matmul-lora             | m k n rank                                  | A W + (A P) Q, P[k,rank], Q[rank,n], fused      |
 * | gated-mlp               | rows hidden ffn                             | down(silu(x gate) * (x up)), fused              |
 * | attention               | batch heads kvHeads headDim seqQ seqKv      | softmax(Q K^T) V, flash                         |
 * | softmax rmsnorm layernorm | rows cols                                 | along cols                                      |
 * | gelu silu               | rows cols                                   | element-wise, one read and one write            |
 * | swiglu add              | rows cols                                   | element-wise, two reads and one write           |
 * | rope                    | rows cols                                   | with cosine and sine tables of [rows, cols/2]   |
 * | transpose               | rows cols                                   | [rows, cols] to [cols, rows]                    |
 * | adamw                   | rows cols                                   | one update: weight, gradient, two moments       |
 * | selective-scan          | batch channels seq state                    | Mamba-1 scan                                    |
 * | depthwise-conv1d        | batch channels length taps                  | a `taps`-wide filter per channel                |
 * | embedding               | rows cols                                   | gather `rows` rows of a table                   |
 * | dma-copy                | bytes engines                               | HBM to SBUF by `engines` DMA engines            |
 *
 * see: data/validation/README.md for the definitions of the measured ones.
 */
import type { Bytes, Flops, Seconds } from '../base/units.ts';

export type OperatorName =
  | 'matmul'
  | 'batched-matmul'
  | 'batched-matmul-softmax'
  | 'rmsnorm-matmul'
  | 'add-rmsnorm-matmul'
  | 'matmul-add-rmsnorm'
  | 'matmul-lora'
  | 'gated-mlp'
  | 'attention'
  | 'softmax'
  | 'rmsnorm'
  | 'layernorm'
  | 'gelu'
  | 'silu'
  | 'swiglu'
  | 'add'
  | 'rope'
  | 'transpose'
  | 'adamw'
  | 'selective-scan'
  | 'depthwise-conv1d'
  | 'embedding'
  | 'dma-copy';

/** Storage formats of operands. `fp8` is the chip's 8-bit float, whichever it runs. */
export type OperandFormat =
  | 'f32'
  | 'tf32'
  | 'f16'
  | 'bf16'
  | 'fp8'
  | 'mxfp8'
  | 'mxfp4'
  | 'nvfp4'
  | 'int8'
  | 'uint8'
  | 'int32';

/** Which documented program runs: a hand-written kernel near its best, a tutorial's first step, generated code, a vendor's library. */
export type Implementation = 'optimised' | 'naive' | 'compiler' | 'library';

export interface OperatorCase {
  readonly op: OperatorName;
  /** Positive integers, by the names of the table above. */
  readonly dims: Readonly<Record<string, number>>;
  readonly dtype: OperandFormat;
  /** Storage of a matmul's second operand where it is narrower than `dtype` (quantised weights); `dtype` if left out. */
  readonly weightDtype?: OperandFormat;
  /** Of the result; `dtype` if left out. */
  readonly outDtype?: OperandFormat;
  /** attention: the lower triangle only. With seqQ < seqKv the queries are the last positions. */
  readonly causal?: boolean;
  /** attention: positions that a query sees, itself included; all if left out. */
  readonly window?: number;
  /** 'optimised' if left out; 'library' on other makers' chips. */
  readonly implementation?: Implementation;
  /** Identical independent problems at the same time, on cores / copies cores each. 1 if left out. */
  readonly copies?: number;
  /** 'host': launch and synchronisation of the host are inside the time. 'device' if left out. */
  readonly timing?: 'device' | 'host';
  /** Operands and results that stay in SBUF (or a cache), so that they do not pass HBM: `a`, `b`, `c`, ... by position. */
  readonly resident?: readonly ('a' | 'b' | 'c')[];
}

export interface OperatorCost {
  readonly time: Seconds;
  /** The engine or memory on the critical path: `TensorE`, `VectorE`, `ScalarE`, `GpSimdE`, `DMA`, `HBM`, or `overhead`. */
  readonly bound: string;
  /** How long each engine works; the rest of `time` it waits. */
  readonly busy: Readonly<Record<string, Seconds>>;
  /** Useful operations: 2 m k n for a matmul; a causal mask halves attention's. */
  readonly flops: Flops;
  /** Read from and written to device memory, all cores together. */
  readonly hbmBytes: Bytes;
}

/** Times operators on a given set of cores. Remembers what it has timed. */
export type OperatorClock = (operator: OperatorCase) => OperatorCost;
