/**
 * The job behind `run --layers N --backward`: a training step of N decoder layers with real tensors, cut over tensor- and
 * data-parallel ranks of a simulated machine, checked against one rank in FP32 and by finite differences, with the time,
 * the energy and the money of the same program.
 */
import { expectInteger, expectKnownKeys, expectOneOf, show } from '../base/errors.ts';
import type { Timeline } from '../formats/perfetto.ts';
import type { SystemSpec } from '../hardware/spec.ts';
import { DTYPES, type DType } from '../kernels/index.ts';
import { type RankOptions, rankLayout } from '../machine/ranks.ts';
import type { DecoderConfig } from '../models/config.ts';
import { shardProblem } from '../models/layer.ts';
import { type Economics, economics } from './economics.ts';
import { type Batch, makeBatch, setBatch } from './execution/batch.ts';
import { replicasAgree } from './execution/blocks.ts';
import { type FiniteDifference, finiteDifference, gradientError } from './execution/check.ts';
import { type BitFlip, Executor } from './execution/executor.ts';
import { ADAMW_DEFAULTS } from './execution/optimizer.ts';
import { checkKernelMemory, openSession } from './execution/session.ts';
import { type TrainingRow, trainingBreakdown, trainingTimeline } from './execution/timeline.ts';
import { buildStep, type StepOptions, type StepProgram } from './execution/transformer.ts';

type OptimizerName = 'adamw' | 'sgd' | 'none';

export interface TrainingRunOptions extends RankOptions {
  readonly config: DecoderConfig;
  readonly system: SystemSpec;
  /** The first so many of the model's; 1 if left out. */
  readonly layers?: number;
  /** With gradients; true if left out. */
  readonly backward?: boolean;
  /** Ranks that share each layer; by default as many as it can be cut for beside `dp`. */
  readonly tp?: number;
  /** Replicas; 1 if left out. */
  readonly dp?: number;
  /** Of each replica; 1 if left out. */
  readonly sequences?: number;
  /** Of each sequence; 128 if left out. */
  readonly tokens?: number;
  /** 'squared-error' if left out: the layers alone, between a random input and a random target. */
  readonly loss?: StepOptions['loss'];
  /** Steps on the same batch; 1 if left out. */
  readonly steps?: number;
  /** Between the steps; 'adamw' if left out, 'none' leaves the weights as they are. */
  readonly optimizer?: OptimizerName;
  readonly rate?: number;
  /** Keep the weights in FP32 as well; true if left out. */
  readonly master?: boolean;
  readonly dtype?: DType;
  readonly seed?: number;
  readonly rounding?: 'nearest' | 'stochastic';
  readonly flip?: BitFlip;
  readonly onProgress?: (progress: { done: number; total: number }) => void;
}

/** What a flipped bit did, against the same run without it. */
export interface FlipReport extends BitFlip {
  readonly lossWithout: number;
  /** max |w - w without| / max |w without| over the weights after the last step; null if one is not finite. */
  readonly weightError: number | null;
  /** The first check that a machine could make without a second run, and that fails: replicas differ, a loss is not finite. */
  readonly detectedBy: 'replicas' | 'non-finite' | null;
}

/** JSON-safe. Times, energy and money are those of one step. */
export interface TrainingRunResult extends Economics {
  readonly schemaVersion: 1;
  /** The gradient is within `errorBound` of one rank's, its finite difference agrees, and copies hold the same bytes. */
  readonly ok: boolean;
  /** Of the gradient, worst matrix: max |g - reference| / max |reference|; of the loss without a backward pass. */
  readonly maxRelError: number | null;
  readonly errorBound: number;
  readonly worstMatrix: string;
  readonly ranksAgree: boolean;
  readonly finiteDifference: FiniteDifference | null;
  /** FNV-1a of all ranks' weights after the last step: equal on every host. */
  readonly weightsFnv1a: string;
  readonly losses: readonly (number | null)[];
  readonly referenceLoss: number;
  readonly flip: FlipReport | null;
  readonly system: string;
  readonly chip: string;
  readonly rank: 'core' | 'chip';
  readonly coresPerRank: number;
  readonly layers: number;
  readonly tp: number;
  readonly dp: number;
  readonly sequences: number;
  readonly tokens: number;
  readonly steps: number;
  readonly loss: StepOptions['loss'];
  readonly optimizer: OptimizerName;
  readonly dtype: DType;
  readonly seed: number;
  readonly rounding: 'nearest' | 'stochastic';
  /** Operators instruction by instruction, collectives by closed forms. */
  readonly fidelity: 'event';
  readonly timeNs: number;
  /** Part of it in which the engines wait for a collective. */
  readonly exposedNs: number;
  readonly breakdown: readonly TrainingRow[];
  readonly memory: {
    readonly persistentBytesPerRank: number;
    readonly activationBytesPerRank: number;
    readonly chipBytes: number;
    readonly chipCapacityBytes: number;
  };
}

export interface TrainingRun {
  readonly result: TrainingRunResult;
  readonly timeline: Timeline;
}

const OPTIONS = [
  'config',
  'system',
  'rank',
  'lnc',
  'ranks',
  'layers',
  'backward',
  'tp',
  'dp',
  'sequences',
  'tokens',
  'loss',
  'steps',
  'optimizer',
  'rate',
  'master',
  'dtype',
  'seed',
  'rounding',
  'flip',
  'onProgress',
] satisfies (keyof TrainingRunOptions)[];
const RATES: Readonly<Record<OptimizerName, number>> = { adamw: 1e-3, sgd: 1, none: 0 };
/** What the finite difference may differ by: see `check.ts`. */
const DIFFERENCE_BOUND = 1e-2;
const MAX_STEPS = 10_000;

/**
 * Runs the steps.
 * @throws RangeError or TypeError for a wrong option; ModelError where the machine or the kernels' memory cannot hold it
 */
export function runTraining(options: TrainingRunOptions): TrainingRun {
  expectKnownKeys('options', options, OPTIONS);
  const { system, rank, lnc, flip, onProgress } = options;
  const step = stepOf(options);
  const steps = expectInteger('steps', options.steps ?? 1, 1, MAX_STEPS);
  const seed = expectInteger('seed', options.seed ?? 1);
  const rounding = expectOneOf('rounding', options.rounding ?? 'nearest', ['nearest', 'stochastic']);
  if (flip) expectInteger('flip.step', flip.step, 0, steps - 1);
  const session = openSession({
    ...step,
    system,
    seed,
    rounding,
    ...(rank && { rank }),
    ...(lnc !== undefined && { lnc }),
    ...(flip && { flip }),
  });
  const single = singleRank(step);
  checkKernelMemory(single);

  const total = (flip ? 2 : 1) * steps + 1;
  let done = 0;
  const onStep = (): void => onProgress?.({ done: ++done, total });
  const batch = makeBatch(step, seed);
  const run = session.start(flip);
  setBatch(run, batch);
  const losses = [run.run()];
  onStep();
  const initialDType = step.dtype === 'f32' ? 'f32' : 'bf16';
  const reference = new Executor(single, session.exchanges, { seed, rounding: 'nearest', initialDType });
  const check = checkStep(run, losses[0]!, reference, batch);
  onStep();
  while (losses.length < steps) {
    losses.push(run.run());
    onStep();
  }
  const ranksAgree = replicasAgree(run, 'weights');
  const bound = gradientBound(step, rounding);
  const { timing, memory, cluster, coresPerRank } = session;
  const result: TrainingRunResult = {
    schemaVersion: 1,
    ok: check.maxRelError !== null && check.maxRelError <= bound && check.isSlopeRight && ranksAgree,
    maxRelError: check.maxRelError,
    errorBound: bound,
    worstMatrix: check.matrix,
    ranksAgree,
    finiteDifference: check.difference,
    weightsFnv1a: weightsHash(run),
    losses: losses.map(finite),
    referenceLoss: check.referenceLoss,
    flip: flip ? flipReport(flip, run, losses, ranksAgree, replay(session.start(), batch, steps, onStep)) : null,
    system: system.id,
    chip: system.chip.id,
    rank: cluster.rank,
    coresPerRank,
    layers: step.layers,
    tp: step.tp,
    dp: step.dp,
    sequences: step.sequences,
    tokens: step.tokens,
    steps,
    loss: step.loss,
    optimizer: step.optimizer?.kind ?? 'none',
    dtype: step.dtype,
    seed,
    rounding,
    fidelity: 'event',
    timeNs: timing.time * 1e9,
    exposedNs: timing.exposed * 1e9,
    breakdown: trainingBreakdown(timing),
    memory: {
      persistentBytesPerRank: memory.persistentBytes,
      activationBytesPerRank: memory.activationBytes,
      chipBytes: memory.chipBytes,
      chipCapacityBytes: memory.chipCapacityBytes,
    },
    ...economics(system, cluster.nodes, timing.time),
  };
  return { result, timeline: trainingTimeline(timing) };
}

/** The step that the options ask for, with their defaults. */
function stepOf(options: TrainingRunOptions): StepOptions {
  const { config, system, backward = true, master = true } = options;
  const present = system.chips * rankLayout(system.chip, options).ranksPerChip;
  const available = expectInteger('ranks', options.ranks ?? present, 1, present);
  const dp = expectInteger('dp', options.dp ?? 1, 1, available);
  const most = Math.floor(available / dp);
  const tp = options.tp === undefined ? largestCut(config, most) : expectInteger('tp', options.tp, 1, most);
  if (!backward) refuseUpdate(options);
  const kind = expectOneOf('optimizer', options.optimizer ?? 'adamw', ['adamw', 'sgd', 'none']);
  const rate = options.rate ?? RATES[kind];
  if (!(rate >= 0 && rate < Infinity)) throw new RangeError(`"rate" expected a finite number >= 0, got ${rate}`);
  return {
    config,
    layers: expectInteger('layers', options.layers ?? 1, 1, config.layers),
    tp,
    dp,
    sequences: expectInteger('sequences', options.sequences ?? 1, 1, 2 ** 20),
    tokens: expectInteger('tokens', options.tokens ?? 128, 1, config.maxPositions),
    dtype: expectOneOf('dtype', options.dtype ?? 'bf16', ['f32', 'bf16']),
    loss: expectOneOf('loss', options.loss ?? 'squared-error', ['squared-error', 'cross-entropy']),
    backward,
    optimizer: kind === 'none' ? null : { ...ADAMW_DEFAULTS, kind, rate, master },
  };
}

/** A pass forwards has no gradients, so nothing is updated and every step is the first. */
function refuseUpdate(options: TrainingRunOptions): void {
  for (const name of ['optimizer', 'rate', 'steps'] as const) {
    const value = options[name];
    if (value === undefined || value === 'none' || (name === 'steps' && value === 1)) continue;
    throw new RangeError(`"${name}" expected with a backward pass, got ${show(value)} without`);
  }
}

/** The same step on one rank in FP32. */
function singleRank(step: StepOptions): StepProgram {
  return buildStep({ ...step, tp: 1, dp: 1, sequences: step.sequences * step.dp, dtype: 'f32', optimizer: null });
}

/** The most ranks, up to `most`, that a layer can be cut over. */
function largestCut(config: DecoderConfig, most: number): number {
  let tp = Math.min(most, config.heads);
  while (shardProblem(config, tp) !== null) tp--;
  return tp;
}

interface StepCheck {
  readonly maxRelError: number | null;
  readonly matrix: string;
  readonly referenceLoss: number;
  readonly difference: FiniteDifference | null;
  readonly isSlopeRight: boolean;
}

/** Compares the first step with the reference, which is run here. */
function checkStep(run: Executor, loss: number, reference: Executor, batch: Batch): StepCheck {
  setBatch(reference, batch);
  if (!run.step.options.backward) {
    const referenceLoss = reference.forward();
    const maxRelError = finite(Math.abs(loss - referenceLoss) / referenceLoss);
    return { maxRelError, matrix: 'loss', referenceLoss, difference: null, isSlopeRight: true };
  }
  const referenceLoss = reference.run();
  const difference = finiteDifference(reference, referenceLoss);
  const isSlopeRight = difference.relError <= DIFFERENCE_BOUND;
  return { ...gradientError(run, reference), referenceLoss, difference, isSlopeRight };
}

/**
 * What rounding can do to a gradient: 1.5 u sqrt(D) as for one layer (`errorBound`), with D over the way forward and back
 * through all layers: 12 results and p - 1 sums of partial results each way in a layer, and the sum over dp. In FP32 the
 * lengths of the sums count, of which a weight's gradient has one over all tokens.
 */
export function gradientBound(step: StepOptions, rounding: 'nearest' | 'stochastic'): number {
  const { config, layers, tp, dp, dtype, tokens, sequences } = step;
  const { hidden, heads, headDim, ffn } = config;
  const ways = 2 * layers;
  const stored = ways * (12 + (tp - 1)) + (dp - 1);
  const accumulated = ways * (2 * hidden + headDim + tokens + heads * headDim + ffn) + sequences * dp * tokens;
  const unit = DTYPES[dtype].unitRoundoff * (rounding === 'stochastic' && dtype !== 'f32' ? 2 : 1);
  const unit32 = DTYPES.f32.unitRoundoff;
  return 1.5 * Math.sqrt(stored * unit * unit + accumulated * unit32 * unit32);
}

function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

function weightsHash(executor: Executor): string {
  const { tp, dp } = executor.step.program;
  let hash = 0x811c9dc5;
  for (let rank = 0; rank < tp * dp; rank++) {
    for (const { weights } of executor.buckets()) {
      for (const byte of executor.tensor(weights, rank).bytesView()) hash = Math.imul(hash ^ byte, 0x01000193);
    }
  }
  return (hash >>> 0).toString(16).padStart(8, '0');
}

/** All steps again on another executor. */
function replay(executor: Executor, batch: Batch, steps: number, onStep: () => void) {
  setBatch(executor, batch);
  let loss = 0;
  for (let i = 0; i < steps; i++) {
    loss = executor.run();
    onStep();
  }
  return { executor, loss };
}

function flipReport(
  flip: BitFlip,
  run: Executor,
  losses: readonly number[],
  ranksAgree: boolean,
  without: ReturnType<typeof replay>,
): FlipReport {
  let error = 0;
  let size = 0;
  for (const [i, { weights }] of run.buckets().entries()) {
    for (let rank = 0; rank < run.step.program.tp * run.step.program.dp; rank++) {
      const clean = without.executor.tensor(without.executor.buckets()[i]!.weights, rank).toFloat32();
      run
        .tensor(weights, rank)
        .toFloat32()
        .forEach((value, j) => {
          // NaN stays: Math.max keeps it.
          error = Math.max(error, Math.abs(value - clean[j]!));
          size = Math.max(size, Math.abs(clean[j]!));
        });
    }
  }
  const isSound = losses.every(Number.isFinite) && Number.isFinite(error);
  const detectedBy = isSound ? (ranksAgree ? null : 'replicas') : 'non-finite';
  return { ...flip, lossWithout: without.loss, weightError: isSound ? error / size : null, detectedBy };
}
