/**
 * A published measurement: what ran (`case`), on which machine (`system`), and the one quantity that was observed.
 * The layout of `case` depends on `kind`; data/validation/README.md defines the fields and the operators.
 *
 * What a prediction may know of a measurement is its `Question`: no id, group, source or observed value, so that no
 * model can answer by recognising a row.
 */
import type { Bytes } from '../base/units.ts';

export type MeasurementKind = 'kernel' | 'collective' | 'training' | 'inference';
export const MEASUREMENT_KINDS: readonly MeasurementKind[] = ['kernel', 'collective', 'training', 'inference'];

/** What was measured: seconds, or output tokens per second. */
export type Metric = 'timeS' | 'stepTimeS' | 'ttftS' | 'tpotS' | 'outputTokensPerS';

/** `nodes` systems of the id; `accelerators` chips or GPUs do the work, all nodes together. */
export interface MeasuredSystem {
  /** Of the catalogue, or any other: a row of a machine that is not in it is reported as not predicted. */
  readonly id: string;
  readonly nodes: number;
  readonly accelerators: number;
}

export interface KernelCase {
  /** Any name: one that no model knows is reported, not refused. */
  readonly op: string;
  /** Sizes by name; which ones an operator has is `DIMENSIONS` in `schema.ts`. */
  readonly dims: Readonly<Record<string, number>>;
  /** Of the operands, by the names of the README: `fp32 tf32 bf16 fp16 fp8 mxfp8 mxfp4 nvfp4 int8 uint8`. */
  readonly dtype: string;
  readonly outDtype?: string;
  /** Number format of the sums, as printed. No model reads it: an engine accumulates in the format that it has. */
  readonly accumulate?: string;
  /** Physical cores in total; `copies` identical problems run at the same time on cores / copies each. */
  readonly cores: number;
  /** Physical cores of a logical NeuronCore; null where the chip has no such setting, or the source does not say. */
  readonly lnc: number | null;
  readonly copies: number;
  /**
   * By hand and near its best, generated, the first step of a tutorial, or a vendor's library. It chooses a documented
   * program, never a factor.
   */
  readonly implementation: 'optimised' | 'compiler' | 'naive' | 'library';
  readonly timing: Timing;
  /** `sbuf`: the kernel was measured with both operands on chip already, so their loads are not part of the time. */
  readonly operandsIn?: 'hbm' | 'sbuf';
  /** Attention: scores of the lower triangle only, or of one new row. */
  readonly causal?: boolean;
  readonly phase?: 'prefill' | 'decode';
}

/** Whose clock: the device's own profile, or the host's, which has launch and synchronisation in it. */
type Timing = 'device' | 'host' | 'unknown';

export interface MeasuredCollectiveCase {
  readonly op: string;
  /** Ranks that take part. They fill one chip after another. */
  readonly ranks: number;
  readonly ranksPerNode: number;
  readonly ranksPerAccelerator: number;
  /** As in `KernelCase`: it decides how many ranks a chip has. */
  readonly lnc: number | null;
  /**
   * Per rank, as nccl-tests and nccom-test print it: the buffer of an all-reduce, the gathered output, the whole input of a
   * reduce-scatter or all-to-all, the message.
   */
  readonly bytes: Bytes;
  /** Null where the source does not state it. */
  readonly dtype: string | null;
  readonly timing: Timing;
  /** Launch path: a framework adds its dispatch to every call that the host times. */
  readonly software: string;
  readonly algorithm?: string;
}

/** A transformer by its dimensions. `ffn` is the width of dense MLP layers, `moeFfn` that of one expert. */
export interface MeasuredModel {
  readonly name: string;
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  /** Fewer than `heads` where several query heads share a key and a value (grouped queries). */
  readonly kvHeads: number;
  readonly headDim: number;
  readonly ffn?: number;
  readonly gatedMlp: boolean;
  readonly vocab: number;
  readonly attention: 'causal' | 'bidirectional';
  /**
   * With `experts` the layers are mixtures, all but the first `denseLayers`; `topK` routed experts compute a token, and
   * `sharedExperts` of the same width every token.
   */
  readonly experts?: number;
  readonly topK?: number;
  readonly moeFfn?: number;
  readonly sharedExperts?: number;
  readonly denseLayers?: number;
  /**
   * Latent attention in place of `kvHeads` and `headDim`: ranks of the two projections, and the widths of a head without and
   * with position.
   */
  readonly mla?: {
    readonly qLoraRank: number;
    readonly kvLoraRank: number;
    readonly qkNopeHeadDim: number;
    readonly qkRopeHeadDim: number;
    readonly vHeadDim: number;
  };
  /** Positions that a windowed layer sees, and how many of the layers are windowed. */
  readonly slidingWindow?: number;
  readonly slidingWindowLayers?: number;
}

/**
 * One optimizer step over `globalBatch` sequences. Micro-batches of a replica = globalBatch / (microBatch dp). Null and
 * `unknown`: the source does not print it; `training.ts` says what is taken then.
 */
export interface TrainingCase {
  readonly model: MeasuredModel;
  /** Ranks of tensor, pipeline, data and context parallelism; their product is the number of ranks. */
  readonly tp: number;
  readonly pp: number;
  readonly dp: number;
  readonly cp: number;
  /** Ranks that the experts are spread over. They lie inside `dp` and add none. */
  readonly ep: number;
  /** Virtual stages of a pipeline rank; 1 is a plain pipeline. */
  readonly interleave: number;
  readonly sequenceParallel: boolean | null;
  /** 1: sharded optimizer states; 2: gradients too; 3: weights too. */
  readonly zeroStage: number | null;
  /** `selective` computes the core of attention again in the backward pass, `full` every layer. */
  readonly recompute: 'none' | 'selective' | 'full' | 'unknown';
  /** Tokens of a sequence. */
  readonly seqLen: number;
  /** Sequences of one pass through the pipeline, and of a step over all replicas. */
  readonly microBatch: number;
  readonly globalBatch: number;
  readonly dtype: string;
  readonly optimizer: string;
  readonly optimizerDtype: string | null;
  /** `balanced`: the run forced tokens to spread evenly over the experts. */
  readonly expertLoad?: 'balanced' | 'unknown';
  readonly lnc: number | null;
  readonly software: string;
}

export interface InferenceCase {
  readonly model: MeasuredModel;
  readonly tp: number;
  readonly pp: number;
  readonly ep: number;
  readonly dp: number;
  /** Sequences that are worked on together. */
  readonly batch: number;
  /**
   * Neuron compiles fixed shapes: each step computes `batch` sequences, a prompt is padded to `promptBucket`, a decode step
   * attends over `contextBucket`, and `maxLen` is the longest sequence. Null on machines that compute what there is.
   */
  readonly compiled: {
    readonly batch: number;
    readonly promptBucket?: number;
    readonly contextBucket?: number;
    readonly maxLen: number;
  } | null;
  /** Tokens of the prompt, and tokens generated: a decode average runs from inputLen to inputLen + outputLen. */
  readonly inputLen: number;
  readonly outputLen: number;
  /** Tokens of the prompt in one step; null: the whole prompt. */
  readonly prefillChunk: number | null;
  /** Formats of the stored weights, of the cache, and of the products. */
  readonly weightDtype: string;
  readonly kvDtype: string | null;
  readonly computeDtype: string;
  readonly lnc: number | null;
  readonly phase: 'prefill' | 'decode' | 'end-to-end';
  /**
   * `static`: the batch is prefilled and decoded together; `continuous`: each prompt is prefilled alone and interrupts the
   * others, inside their time per token.
   */
  readonly serving: 'static' | 'continuous';
  /** A draft model proposes `draftTokens`, the model checks them in one step. */
  readonly speculation: {
    readonly method: string;
    readonly draftModel: MeasuredModel;
    readonly draftTokens: number;
  } | null;
  readonly software: string;
}

/** What is asked of a model: the fields of a row that describe the run, and the quantity wanted. */
interface Asked<K extends MeasurementKind, C> {
  readonly kind: K;
  readonly system: MeasuredSystem;
  readonly case: C;
  readonly metric: Metric;
}
export type KernelQuestion = Asked<'kernel', KernelCase>;
export type CollectiveQuestion = Asked<'collective', MeasuredCollectiveCase>;
export type TrainingQuestion = Asked<'training', TrainingCase>;
export type InferenceQuestion = Asked<'inference', InferenceCase>;

/** All that a model may know of a measurement. */
export type Question = KernelQuestion | CollectiveQuestion | TrainingQuestion | InferenceQuestion;

/** A row of the file: the question, the answer that was observed, and where it is printed. */
interface Recorded<K extends MeasurementKind, C> {
  readonly id: string;
  /** Rows of one experiment share it: they are correlated, and together weigh as one. */
  readonly group: string;
  readonly kind: K;
  /** Chip family, for the summary only. */
  readonly family: string;
  readonly system: MeasuredSystem;
  readonly case: C;
  /** In the metric's unit. `relativeUncertainty` is half of the last digit or of the range printed: a lower bound. */
  readonly observed: {
    readonly metric: Metric;
    readonly value: number;
    readonly statistic: string;
    readonly relativeUncertainty?: number;
  };
  /** A: official, or complete; B: third party, or something was assumed. */
  readonly trust: 'A' | 'B';
  /** Parameters that the source does not print, with the reason for the value taken. */
  readonly assumed?: readonly string[];
  /** Kernels: from the device's profile. */
  readonly counters?: Readonly<Record<string, number>>;
  /** Where the number is printed. */
  readonly source: string;
  readonly notes?: string;
  /** How the observed value follows from what is printed, where that is another quantity (TFLOP/s, tokens/s). */
  readonly derivation?: string;
}

export type Measurement =
  | Recorded<'kernel', KernelCase>
  | Recorded<'collective', MeasuredCollectiveCase>
  | Recorded<'training', TrainingCase>
  | Recorded<'inference', InferenceCase>;

/** The question that a measurement answers. */
export function questionOf({ kind, system, case: ran, observed }: Measurement): Question {
  // One object for the four kinds: the compiler cannot see that kind and case still belong together.
  return { kind, system, case: ran, metric: observed.metric } as Question;
}
