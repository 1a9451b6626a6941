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
  readonly id: string;
  readonly nodes: number;
  readonly accelerators: number;
}

export interface KernelCase {
  /** Any name: one that no model knows is reported, not refused. */
  readonly op: string;
  readonly dims: Readonly<Record<string, number>>;
  readonly dtype: string;
  readonly outDtype?: string;
  readonly accumulate?: string;
  /** Physical cores in total; `copies` identical problems run at the same time on cores / copies each. */
  readonly cores: number;
  readonly lnc: number | null;
  readonly copies: number;
  readonly implementation: 'optimised' | 'compiler' | 'naive' | 'library';
  readonly timing: Timing;
  readonly operandsIn?: 'hbm' | 'sbuf';
  readonly causal?: boolean;
  readonly phase?: 'prefill' | 'decode';
}

type Timing = 'device' | 'host' | 'unknown';

export interface MeasuredCollectiveCase {
  readonly op: string;
  readonly ranks: number;
  readonly ranksPerNode: number;
  readonly ranksPerAccelerator: number;
  readonly lnc: number | null;
  readonly bytes: Bytes;
  readonly dtype: string | null;
  readonly timing: Timing;
  readonly software: string;
  readonly algorithm?: string;
}

/** A transformer by its dimensions. `ffn` is the width of dense MLP layers, `moeFfn` that of one expert. */
export interface MeasuredModel {
  readonly name: string;
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly ffn?: number;
  readonly gatedMlp: boolean;
  readonly vocab: number;
  readonly attention: 'causal' | 'bidirectional';
  readonly experts?: number;
  readonly topK?: number;
  readonly moeFfn?: number;
  readonly sharedExperts?: number;
  readonly denseLayers?: number;
  readonly mla?: {
    readonly qLoraRank: number;
    readonly kvLoraRank: number;
    readonly qkNopeHeadDim: number;
    readonly qkRopeHeadDim: number;
    readonly vHeadDim: number;
  };
  readonly slidingWindow?: number;
  readonly slidingWindowLayers?: number;
}

export interface TrainingCase {
  readonly model: MeasuredModel;
  readonly tp: number;
  readonly pp: number;
  readonly dp: number;
  readonly cp: number;
  readonly ep: number;
  readonly interleave: number;
  readonly sequenceParallel: boolean | null;
  readonly zeroStage: number | null;
  readonly recompute: 'none' | 'selective' | 'full' | 'unknown';
  readonly seqLen: number;
  readonly microBatch: number;
  readonly globalBatch: number;
  readonly dtype: string;
  readonly optimizer: string;
  readonly optimizerDtype: string | null;
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
  readonly batch: number;
  readonly compiled: {
    readonly batch: number;
    readonly promptBucket?: number;
    readonly contextBucket?: number;
    readonly maxLen: number;
  } | null;
  readonly inputLen: number;
  readonly outputLen: number;
  readonly prefillChunk: number | null;
  readonly weightDtype: string;
  readonly kvDtype: string | null;
  readonly computeDtype: string;
  readonly lnc: number | null;
  readonly phase: 'prefill' | 'decode' | 'end-to-end';
  readonly serving: 'static' | 'continuous';
  readonly speculation: {
    readonly method: string;
    readonly draftModel: MeasuredModel;
    readonly draftTokens: number;
  } | null;
  readonly software: string;
}

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

interface Recorded<K extends MeasurementKind, C> {
  readonly id: string;
  /** Rows of one experiment share it: they are correlated, and together weigh as one. */
  readonly group: string;
  readonly kind: K;
  readonly family: string;
  readonly system: MeasuredSystem;
  readonly case: C;
  readonly observed: {
    readonly metric: Metric;
    readonly value: number;
    readonly statistic: string;
    readonly relativeUncertainty?: number;
  };
  /** A: official, or complete; B: third party, or something was assumed. */
  readonly trust: 'A' | 'B';
  readonly assumed?: readonly string[];
  /** Kernels: from the device's profile. */
  readonly counters?: Readonly<Record<string, number>>;
  readonly source: string;
  readonly notes?: string;
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
