/**
 * An inference plan: which model runs how, on how many ranks, on what batch. Plain data, complete: `inferencePlan` fills in
 * and checks what a caller leaves out.
 *
 * Ranks: tp inner, then cp, then dp, then pp. `dp` replicas of the attention share the batch (data-parallel attention of
 * DeepSeek-V3 where experts are spread over tp x dp ranks; plain replicas where ep <= tp).
 *
 * Compiled programs (Neuron) have fixed shapes: a decode step computes `compiled.batch` sequences and attends over
 * `contextBucket` positions however many there are, a prompt is padded to `promptBucket`. Buckets that are not given are
 * powers of two from 128, the longest one `maxLen`.
 * see: transformers-neuronx, bucket.py; neuronx-distributed-inference, modules/autobucketing.py.
 */
import { expectInteger, expectKnownKeys, expectOneOf, ModelError } from '../../base/errors.ts';
import { formatsOf } from '../../models/formats.ts';
import type { Formats, Shard, Software } from '../../models/graph.ts';
import { parallelism } from '../../models/shard.ts';
import { layerCount, type ModelSpec } from '../../models/spec.ts';

/** Fixed shapes of compiled programs. */
export interface CompiledShapes {
  /** Sequences of a decode step. */
  readonly batch: number;
  /** The longest sequence. */
  readonly maxLen: number;
  readonly promptBucket?: number;
  readonly contextBucket?: number;
}

/** A draft model proposes `draftTokens` tokens, the model checks them and its own next one in one step. */
export interface Speculation {
  readonly draft: ModelSpec;
  readonly draftTokens: number;
  /** Probability that a proposed token is accepted, if all before it were. */
  readonly acceptance: number;
  /** Draft and check are one program: the host starts it once, not once per draft step. */
  readonly fused: boolean;
}

export interface InferencePlan {
  readonly model: ModelSpec;
  /** `shard.sp` is that of prefill; decode has no sequence to cut. */
  readonly shard: Shard;
  readonly pp: number;
  readonly dp: number;
  /** Sequences of all replicas, and tokens of each. */
  readonly batch: number;
  readonly input: number;
  readonly output: number;
  readonly formats: Formats;
  readonly software: Software;
  /** Latent attention in decode: see `Step.absorbed`. */
  readonly absorbed: boolean;
  readonly expertSkew: number;
  /** Positions of a page of the KV cache. */
  readonly page: number;
  /** Prompt tokens of a prefill step; null: the whole prompt. */
  readonly prefillChunk: number | null;
  readonly compiled: CompiledShapes | null;
  /**
   * `static`: the batch is prefilled together, then decoded together. `continuous`: requests come and go, each is prefilled
   * alone, and that interrupts the decoding of the others.
   */
  readonly serving: 'static' | 'continuous';
  readonly speculation: Speculation | null;
}

export interface InferenceOptions
  extends Partial<Omit<InferencePlan, 'model' | 'shard' | 'speculation' | 'batch' | 'input' | 'output'>>,
    Partial<Omit<Shard, 'sp'>> {
  readonly model: ModelSpec;
  readonly batch?: number;
  readonly input: number;
  readonly output: number;
  /** Prefill cuts the sequence between the matrices. Default: except on the compiler level, whose libraries all-reduce. */
  readonly sequenceParallel?: boolean;
  readonly speculation?: (Pick<Speculation, 'draft' | 'acceptance'> & Partial<Speculation>) | null;
}

const KEYS: readonly (keyof InferenceOptions)[] = [
  'model',
  'tp',
  'pp',
  'dp',
  'cp',
  'cpMode',
  'ep',
  'expertTp',
  'batch',
  'input',
  'output',
  'formats',
  'software',
  'absorbed',
  'expertSkew',
  'page',
  'prefillChunk',
  'compiled',
  'serving',
  'speculation',
  'sequenceParallel',
];
const MAX_LENGTH = 2 ** 27;
const SMALLEST_BUCKET = 128;

/**
 * A plan from what is given: one rank, batch 1, BF16, hand-written kernels, whole prompts, pages of 1 position, no fixed shapes.
 * @throws RangeError or TypeError that names the option; ModelError UNSUPPORTED for an encoder
 */
export function inferencePlan(options: InferenceOptions): InferencePlan {
  expectKnownKeys('options', options, KEYS);
  const { model, compiled = null, speculation = null, expertSkew = 1 } = options;
  const degree = (name: 'pp' | 'dp', most: number) => expectInteger(name, options[name] ?? 1, 1, most);
  const software = expectOneOf('software', options.software ?? 'library', ['compiler', 'library', 'megakernel']);
  const { tp, cp, cpMode, ep, expertTp } = options;
  const given = { tp, cp, cpMode, ep, expertTp };
  const shard = parallelism({
    ...(Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as Partial<Shard>),
    sp: options.sequenceParallel ?? software !== 'compiler',
  });
  const dp = degree('dp', 2 ** 20);
  const inTensorGroup = shard.tp / shard.expertTp;
  if (shard.ep > inTensorGroup * dp * shard.cp) {
    throw new RangeError(
      `"ep" expected at most ${inTensorGroup * dp * shard.cp}, the ranks of a pipeline stage that don't share an expert, got ${shard.ep}`,
    );
  }
  if (!(expertSkew >= 1 && expertSkew <= 2 ** 20)) {
    throw new RangeError(`"expertSkew" expected a number in 1..1048576, got ${expertSkew}`);
  }
  checkDecoder(model);
  const input = expectInteger('input', options.input, 1, MAX_LENGTH);
  const output = expectInteger('output', options.output, 1, MAX_LENGTH);
  const batch = expectInteger('batch', options.batch ?? 1, 1, 2 ** 24);
  if (model.positions === 'learned' && input + output > model.maxPositions) {
    throw new RangeError(
      `"input" expected input + output of at most ${model.maxPositions}, the positions of ${model.name}, got ${input + output}`,
    );
  }
  return {
    model,
    shard,
    pp: degree('pp', layerCount(model)),
    dp,
    batch,
    input,
    output,
    formats: options.formats ?? formatsOf('bf16'),
    software,
    absorbed: options.absorbed ?? true,
    expertSkew,
    page: expectInteger('page', options.page ?? 1, 1, MAX_LENGTH),
    prefillChunk:
      (options.prefillChunk ?? null) === null ? null : expectInteger('prefillChunk', options.prefillChunk, 1),
    compiled: compiled && checkedShapes(compiled, input + output),
    serving: expectOneOf('serving', options.serving ?? 'static', ['static', 'continuous']),
    speculation: speculation && checkedSpeculation(speculation),
  };
}

function checkDecoder({ name, head, kinds }: ModelSpec): void {
  if (head === 'lm' && kinds.every(({ attention }) => attention.causal)) return;
  throw new ModelError('UNSUPPORTED', name, 'expected a decoder, which generates tokens, got an encoder');
}

function checkedShapes(compiled: CompiledShapes, length: number): CompiledShapes {
  expectKnownKeys('compiled', compiled, ['batch', 'maxLen', 'promptBucket', 'contextBucket']);
  expectInteger('compiled.batch', compiled.batch, 1, 2 ** 24);
  expectInteger('compiled.maxLen', compiled.maxLen, length, MAX_LENGTH);
  for (const name of ['promptBucket', 'contextBucket'] as const) {
    if (compiled[name] !== undefined) expectInteger(`compiled.${name}`, compiled[name], 1, compiled.maxLen);
  }
  return compiled;
}

function checkedSpeculation(options: NonNullable<InferenceOptions['speculation']>): Speculation {
  expectKnownKeys('speculation', options, ['draft', 'draftTokens', 'acceptance', 'fused']);
  const { draft, acceptance, fused = true } = options;
  checkDecoder(draft);
  if (!(acceptance >= 0 && acceptance <= 1)) {
    throw new RangeError(`"acceptance" expected a number in 0..1, got ${acceptance}`);
  }
  return { draft, acceptance, fused, draftTokens: expectInteger('draftTokens', options.draftTokens ?? 4, 1, 64) };
}

/** Ranks that the plan works on. */
export function planRanks({ shard, pp, dp }: Pick<InferencePlan, 'shard' | 'pp' | 'dp'>): number {
  return shard.tp * shard.cp * dp * pp;
}

/** Sequences of the fullest replica. */
export function replicaBatch({ batch, dp }: Pick<InferencePlan, 'batch' | 'dp'>): number {
  return Math.ceil(batch / dp);
}

/** The least power of two from 128 that holds `length`, at most `maxLen`. */
function bucket(length: number, maxLen: number): number {
  let size = SMALLEST_BUCKET;
  while (size < length) size *= 2;
  return Math.min(size, maxLen);
}

/** Tokens that a prompt is computed as. */
export function paddedPrompt({ compiled }: Pick<InferencePlan, 'compiled'>, tokens: number): number {
  return compiled === null ? tokens : Math.max(tokens, compiled.promptBucket ?? bucket(tokens, compiled.maxLen));
}

/** Positions that a decode step attends over: those of the bucket, or whole pages. */
export function paddedContext({ compiled, page }: Pick<InferencePlan, 'compiled' | 'page'>, context: number): number {
  if (compiled === null) return page * Math.ceil(context / page);
  return Math.max(context, compiled.contextBucket ?? bucket(context, compiled.maxLen));
}
