/**
 * The main job: one decoder layer of a real model on a simulated machine. It computes with real tensors, sharded over the
 * ranks, checks the result against FP32 on one rank, and says what the layer takes in time, energy and money.
 */
import { expectInteger, expectKnownKeys, expectOneOf, ModelError } from '../base/errors.ts';
import { toNanoseconds, toPicoseconds } from '../base/units.ts';
import { roundingDepth } from '../collectives/error-bound.ts';
import type { Schedule } from '../collectives/schedule.ts';
import { trafficOf } from '../collectives/traffic.ts';
import { operatorClock } from '../core/operator-clock.ts';
import type { Cluster } from '../fabric/cluster.ts';
import type { Timeline } from '../formats/perfetto.ts';
import type { SystemSpec } from '../hardware/spec.ts';
import { Arena, DTYPES, type DType, MAX_ARENA_BYTES, type Tensor } from '../kernels/index.ts';
import { createCluster } from '../machine/cluster.ts';
import { placeInHbm } from '../machine/memory.ts';
import { type RankOptions, rankLayout } from '../machine/ranks.ts';
import type { DecoderConfig } from '../models/config.ts';
import { blockElements, type LayerShard, layerSteps, rankWeights, shardLayer, shardProblem } from '../models/layer.ts';
import { economics } from './economics.ts';
import { type Exchange, exchangesOn } from './exchange.ts';
import { type LayerTime, layerTimeline, timeLayer } from './layer-clock.ts';
import { referenceLayer } from './reference-layer.ts';
import { type LayerProblem, runShardedLayer } from './sharded-layer.ts';

export interface RunOptions extends RankOptions {
  readonly config: DecoderConfig;
  readonly system: SystemSpec;
  /** Ranks that share the layer; by default as many as the layer can be cut for. */
  readonly tp?: number;
  readonly tokens?: number;
  readonly dtype?: DType;
  readonly seed?: number;
  readonly rounding?: 'nearest' | 'stochastic';
  readonly onProgress?: (progress: { done: number; total: number }) => void;
}

/** One line of the time table: an operator, or a collective. */
export interface BreakdownRow {
  readonly name: string;
  readonly timeNs: number;
  /** The engine, or `links`, that the time waits for. */
  readonly bound: string;
  readonly flops: number;
  readonly hbmBytes: number;
  /** Busy time of each engine; empty for a collective. */
  readonly enginesNs: Readonly<Record<string, number>>;
}

/** JSON-safe: plain numbers, strings, arrays. A quantity nobody knows is null, with the reason beside it. */
export interface RunResult {
  readonly schemaVersion: 1;
  /** The sharded result is within `errorBound` of the reference, and all ranks hold the same bytes. */
  readonly ok: boolean;
  /** max |y - reference| / max |reference| */
  readonly maxRelError: number;
  readonly errorBound: number;
  readonly ranksAgree: boolean;
  /** FNV-1a of the output's bytes: equal on every host. */
  readonly outputFnv1a: string;
  readonly system: string;
  readonly chip: string;
  readonly rank: 'core' | 'chip';
  readonly coresPerRank: number;
  readonly tp: number;
  readonly tokens: number;
  readonly dtype: DType;
  readonly seed: number;
  readonly rounding: 'nearest' | 'stochastic';
  /** Operators instruction by instruction, collectives chunk by chunk. */
  readonly fidelity: 'event';
  readonly timeNs: number;
  readonly breakdown: readonly BreakdownRow[];
  readonly collective: {
    readonly algorithm: string;
    readonly bytes: number;
    readonly steps: number;
    readonly timeNs: number;
    readonly algbwGBps: number | null;
    readonly busbwGBps: number | null;
    /** Least and most bytes that a rank sends in one all-reduce. */
    readonly minBytesSent: number;
    readonly maxBytesSent: number;
  };
  readonly memory: {
    readonly weightBytesPerRank: number;
    readonly activationBytesPerRank: number;
    readonly chipBytes: number;
    readonly chipCapacityBytes: number;
  };
  readonly energyJ: number | null;
  readonly energyReason: string;
  readonly costUsd: number | null;
  readonly costReason: string;
}

export interface LayerRun {
  readonly result: RunResult;
  readonly timeline: Timeline;
}

/** Formats that every operator of the layer computes with, and that `core` knows the rate of; tensors have more. */
const LAYER_DTYPES = ['f32', 'bf16'] as const;
const OPTIONS = [
  'config',
  'system',
  'rank',
  'lnc',
  'ranks',
  'tp',
  'tokens',
  'dtype',
  'seed',
  'rounding',
  'onProgress',
] satisfies (keyof RunOptions)[];
const DEFAULTS = { tokens: 128, dtype: 'bf16', seed: 1, rounding: 'nearest' } as const;

/**
 * Runs one layer.
 * @throws RangeError or TypeError for a wrong option; ModelError where the machine or the kernels' memory cannot hold it.
 */
export function runLayer(options: RunOptions): LayerRun {
  expectKnownKeys('options', options, OPTIONS);
  const { config, system, rank, lnc } = options;
  const tokens = expectInteger('tokens', options.tokens ?? DEFAULTS.tokens, 1, config.maxPositions);
  const dtype = expectOneOf('dtype', options.dtype ?? DEFAULTS.dtype, LAYER_DTYPES);
  const seed = expectInteger('seed', options.seed ?? DEFAULTS.seed);
  const rounding = expectOneOf('rounding', options.rounding ?? DEFAULTS.rounding, ['nearest', 'stochastic']);
  const rankOptions = { ...(rank && { rank }), ...(lnc !== undefined && { lnc }) };
  const { chip, chips } = system;
  const { ranksPerChip, coresPerRank } = rankLayout(chip, rankOptions);
  const present = chips * ranksPerChip;
  const tp = chooseTp(config, options.tp, expectInteger('ranks', options.ranks ?? present, 1, present));
  const shard = shardLayer(config, tp);
  const cluster = createCluster(system, { ...rankOptions, ranks: tp });
  const clock = operatorClock(chip, coresPerRank);

  const memory = placeLayer(cluster, config, shard, tokens, dtype);
  checkKernelMemory(config, shard, tokens, dtype);
  const exchange = exchangesOn(cluster, 'event')({ elements: tokens * config.hidden, dtype, ranks: tp, stride: 1 });
  const time = timeLayer(layerSteps(config, shard, tokens, dtype), clock, exchange.timing);

  const problem: LayerProblem = {
    config,
    tokens,
    dtype,
    seed,
    rounding,
    ...(options.onProgress && { onProgress: options.onProgress }),
  };
  const check = computeAndCheck(problem, shard, exchange.schedule);
  const bound = errorBound(config, exchange.schedule, tokens, dtype, rounding);
  const result: RunResult = {
    schemaVersion: 1,
    ok: check.maxRelError <= bound && check.ranksAgree,
    maxRelError: check.maxRelError,
    errorBound: bound,
    ranksAgree: check.ranksAgree,
    outputFnv1a: check.outputFnv1a,
    system: system.id,
    chip: chip.id,
    rank: cluster.rank,
    coresPerRank,
    tp,
    tokens,
    dtype,
    seed,
    rounding,
    fidelity: 'event',
    timeNs: toNanoseconds(time.time),
    breakdown: breakdown(time),
    collective: describeCollective(exchange, DTYPES[dtype].bytes),
    memory,
    ...economics(system, 1, time.time / 1e12),
  };
  return { result, timeline: layerTimeline(cluster, time, exchange.timing) };
}

/** The number of ranks asked for, or the most that the layer can be cut over. */
function chooseTp(config: DecoderConfig, tp: number | undefined, ranks: number): number {
  if (tp !== undefined) return expectInteger('tp', tp, 1, ranks);
  let most = 1;
  for (let candidate = 2; candidate <= ranks; candidate++)
    if (shardProblem(config, candidate) === null) most = candidate;
  return most;
}

/** Activations that a rank holds at once at most, in elements: the residual, and the widest operator with its operands. */
function activationElements(config: DecoderConfig, shard: LayerShard, tokens: number): number {
  const qkv = (shard.heads + 2 * shard.kvHeads) * config.headDim;
  const attention = 2 * qkv + shard.heads * config.headDim;
  return tokens * (3 * config.hidden + Math.max(attention, 3 * shard.ffn));
}

function placeLayer(cluster: Cluster, config: DecoderConfig, shard: LayerShard, tokens: number, dtype: DType) {
  const { bytes } = DTYPES[dtype];
  const weightBytesPerRank = blockElements(rankWeights(config, shard, 0)) * bytes;
  const activationBytesPerRank = activationElements(config, shard, tokens) * bytes;
  const { chipBytes, capacity } = placeInHbm(cluster, weightBytesPerRank + activationBytesPerRank);
  return { weightBytesPerRank, activationBytesPerRank, chipBytes, chipCapacityBytes: capacity };
}

/**
 * The tensors that stand in the kernels' memory at once: input and partial sum of every rank, one rank's largest shard
 * and activations with their FP32 accumulators, or the reference in FP32; and the kernels' own working space.
 * @throws ModelError with code CAPACITY before any work is done.
 */
function checkKernelMemory(config: DecoderConfig, shard: LayerShard, tokens: number, dtype: DType): void {
  const { bytes } = DTYPES[dtype];
  const state = tokens * config.hidden * bytes;
  const largestShard = Math.max(...rankWeights(config, shard, 0).map(({ rows, columns }) => rows * columns)) * bytes;
  const sharded = 2 * shard.tp * state + largestShard + activationElements(config, shard, tokens) * (bytes + 4);
  const reference = shard.tp * state + 4 * activationElements(config, shardLayer(config, 1), tokens);
  // Scores and probabilities of a block of queries, of which there are at most 128.
  const scores = 128 * tokens * 8;
  const needed = Math.max(sharded, reference) + scores + 2 ** 26;
  if (needed > MAX_ARENA_BYTES) {
    throw new ModelError(
      'CAPACITY',
      'tokens',
      `expected a layer of at most ${MAX_ARENA_BYTES} bytes in the kernels' memory, got ${tokens} tokens over ${shard.tp} ranks, which need ${needed}`,
    );
  }
}

function computeAndCheck(problem: LayerProblem, shard: LayerShard, schedule: Schedule) {
  const arena = new Arena({ deterministic: true });
  const outputs = runShardedLayer(arena, problem, shard, schedule);
  const ranksAgree = outputs.every((output) => sameBytes(output, outputs[0]!));
  const outputFnv1a = fnv1a(outputs[0]!.bytesView());
  const values = outputs[0]!.toFloat32();
  for (const output of outputs) output.dispose();
  using reference = referenceLayer(arena, problem);
  return { ranksAgree, outputFnv1a, maxRelError: maxRelError(values, reference.toFloat32()) };
}

/** max |y - reference| / max |reference|; @throws Error if either holds a NaN or an infinity: there is no error to tell. */
function maxRelError(values: Float32Array, reference: Float32Array): number {
  let error = 0;
  let size = 0;
  for (let i = 0; i < values.length; i++) {
    const difference = Math.abs(values[i]! - reference[i]!);
    if (!(difference < Infinity)) throw new Error(`output ${i} is ${values[i]}, the reference is ${reference[i]}`);
    error = Math.max(error, difference);
    size = Math.max(size, Math.abs(reference[i]!));
  }
  return error / size;
}

/**
 * What rounding can do to the output, to first order and with independent roundings: 1.5 u sqrt(D), where D counts the
 * roundings on the longest way through the layer, each at most u = 2^-8 (bf16) or 2^-24 (f32) of a value that is no
 * larger than the output's largest. Stochastic rounding errs by up to 2 u. The factor is for the chance in it, and was chosen
 * after the fact: of 12,000 tiny bf16 layers 5 passed u sqrt(D), the worst by 1.18; 46 runs of qwen3-0.6b reached 0.65.
 *
 *     storage format   12 results, and the sums of partial results in two all-reduces, in each of which an addend meets
 *                      half of the roundings of the longest way through the schedule (p - 1 in a ring, 1 in a mesh)
 *     FP32             k / 2 for each matmul on the way with k terms (a partial sum of i terms has sqrt(i/k) of the
 *                      result's size), sharded and in the reference
 * see: Higham and Mary, A new approach to probabilistic rounding error analysis, SIAM J. Sci. Comput. 41 (2019).
 */
export function errorBound(
  config: DecoderConfig,
  schedule: Schedule,
  tokens: number,
  dtype: DType,
  rounding: 'nearest' | 'stochastic',
): number {
  const tp = schedule.ranks;
  const { hidden, heads, headDim, ffn } = config;
  const shared = 2 * hidden + headDim + tokens;
  const cut = heads * headDim + ffn;
  const accumulated = (2 * shared + cut / tp + cut) / 2;
  const stored = 12 + roundingDepth(schedule);
  const unit = DTYPES[dtype].unitRoundoff * (rounding === 'stochastic' && dtype !== 'f32' ? 2 : 1);
  const unit32 = DTYPES.f32.unitRoundoff;
  return 1.5 * Math.sqrt(stored * unit * unit + accumulated * unit32 * unit32);
}

function sameBytes(a: Tensor, b: Tensor): boolean {
  const left = a.bytesView();
  const right = b.bytesView();
  return left.every((byte, i) => byte === right[i]);
}

function fnv1a(bytes: Uint8Array): string {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, '0');
}

function breakdown(time: LayerTime): BreakdownRow[] {
  return time.steps.map((step) => {
    const timeNs = toNanoseconds(step.duration);
    if (step.type === 'all-reduce')
      return { name: step.name, timeNs, bound: 'links', flops: 0, hbmBytes: 0, enginesNs: {} };
    const { name, cost } = step;
    const enginesNs = Object.fromEntries(
      Object.entries(cost.busy).map(([engine, busy]) => [engine, Math.round(busy * 1e12) / 1000]),
    );
    return {
      name,
      timeNs,
      bound: cost.bound,
      flops: cost.flops,
      hbmBytes: cost.hbmBytes,
      enginesNs,
    };
  });
}

function describeCollective({ timing, schedule }: Exchange, elementBytes: number): RunResult['collective'] {
  const { sent } = trafficOf(schedule, elementBytes);
  const isIdle = timing.time === 0;
  return {
    algorithm: timing.algorithm,
    bytes: schedule.elements * elementBytes,
    steps: timing.steps,
    timeNs: toNanoseconds(toPicoseconds(timing.time)),
    algbwGBps: isIdle ? null : timing.algorithmBandwidth / 1e9,
    busbwGBps: isIdle ? null : timing.busBandwidth / 1e9,
    minBytesSent: Math.min(...sent),
    maxBytesSent: Math.max(...sent),
  };
}
