/**
 * Softmax of rows: whole, logarithmic, and piece by piece. Scores of any float format, FP32 inside, one rounding into `out`.
 *
 * A row that sees nothing, or only scores of -infinity, becomes 0 (its logarithm -infinity); a row with a NaN or
 * +infinity becomes NaN.
 */
import { expectInteger } from '../base/errors.ts';
import { type Rounding, storeRounded } from './cast.ts';
import { expectApart, expectBeside, expectFloat32, expectOperands, withFloat32 } from './layer-operands.ts';
import { storeRows } from './row-blocks.ts';
import { expectMatrix, expectShape, type Tensor } from './tensor.ts';

export interface ScoreOptions {
  /** Factor on the scores, > 0; 1 / sqrt(headDim) in attention. */
  readonly scale?: number;
  /** Columns that row 0 may see; every further row sees one more. Left out: no causal mask. */
  readonly visible?: number;
  /** Columns at most that a row sees: the last ones of those visible. Left out: no window. */
  readonly window?: number;
  /** [cols] or [n, cols], n a divisor of rows: row r uses row r mod n. A column is seen where it is not 0. */
  readonly mask?: Tensor;
  /** As `mask`, but added to the scaled scores. */
  readonly bias?: Tensor;
  readonly rounding?: Rounding;
}

export interface SoftmaxOptions extends ScoreOptions {
  /** [n], n a divisor of rows, f32: a logit for each run of rows / n rows, which enters the denominator only. */
  readonly sinks?: Tensor;
}

const NO_LIMIT = 2 ** 30;
const SCRATCH_BYTES = 192;

/** What every softmax kernel takes beside its tensors, checked. */
interface Scores {
  readonly rows: number;
  readonly cols: number;
  readonly visible: number;
  readonly window: number;
  readonly scratch: number;
}

function expectScores(x: Tensor, out: Tensor, options: ScoreOptions, fewestVisible: number): Scores {
  expectOperands({ x }, out);
  const [rows, cols] = expectMatrix('x', x);
  expectShape('out', out, x.shape);
  const { scale = 1, visible = cols, window = NO_LIMIT, mask, bias } = options;
  if (!(scale > 0 && scale < Infinity)) throw new RangeError(`"scale" expected a finite number > 0, got ${scale}`);
  expectInteger('visible', visible, Math.min(fewestVisible, cols), NO_LIMIT);
  expectInteger('window', window, 1, NO_LIMIT);
  if (mask && bias) throw new TypeError('"bias" expected none beside "mask", got both; write -Infinity into "bias"');
  if (mask) expectMask('mask', mask, x);
  if (bias) expectMask('bias', bias, x);
  return { rows, cols, visible, window, scratch: x.arena.scratch('softmax', SCRATCH_BYTES) };
}

function expectMask(name: string, mask: Tensor, x: Tensor): void {
  expectBeside(name, mask, 'x', x);
  const [rows, cols] = x.shape as [number, number];
  const maskRows = mask.shape.length === 1 ? 1 : mask.shape[0]!;
  if (mask.shape.length > 2 || mask.shape.at(-1) !== cols || (rows > 0 && !(rows % maskRows === 0))) {
    throw new RangeError(`"${name}" expected shape [${cols}] or [divisor of ${rows}, ${cols}], got [${mask.shape}]`);
  }
}

/** A kernel of `rows` rows whose scores in FP32 are at `from` and still need `scale`; `visible`: columns that the first sees. */
type ScoreKernel = (rows: number, from: number, scale: number, visible: number, y: number) => void;

/**
 * Runs `kernel` on all rows, in blocks unless it must see them `whole`. A mask is applied first, with the scale, into the FP32
 * buffer of the result.
 */
function storeScores(
  x: Tensor,
  out: Tensor,
  { rows, cols, visible }: Scores,
  { scale = 1, mask, bias, rounding = 'nearest' }: ScoreOptions,
  whole: boolean,
  kernel: ScoreKernel,
): void {
  const applied = mask ?? bias;
  if (!applied && !whole) {
    storeRows(rows, [x], out, rounding, (n, [from], y, first) => kernel(n, from!, scale, visible + first, y));
    return;
  }
  storeRounded(out, rounding, (y) => {
    if (!applied) {
      withFloat32([x], (from) => kernel(rows, from!, scale, visible, y));
      return;
    }
    const { kernels } = x.arena;
    const maskKernel = mask ? kernels.selectScores_f32 : kernels.biasScores_f32;
    const maskRows = applied.shape.length === 1 ? 1 : applied.shape[0]!;
    withFloat32([x, applied], (from, m) => maskKernel(rows, cols, from!, scale, m!, maskRows, y));
    kernel(rows, y, 1, visible, y);
  });
}

/** Softmax over the columns of `x` [rows, cols], masked columns 0. `out` may be `x`. */
export function softmax(x: Tensor, out: Tensor, options: SoftmaxOptions = {}): void {
  const scores = expectScores(x, out, options, 1);
  const { rows, cols, window, scratch } = scores;
  const { sinks } = options;
  if (sinks) expectSinks(sinks, x);
  const [sink, rowsPerSink] = sinks ? [sinks.offset, rows / sinks.length] : [0, 0];
  storeScores(x, out, scores, options, sinks !== undefined, (n, from, scale, visible, y) => {
    x.arena.kernels.softmax_f32(n, cols, from, scale, visible, window, sink, rowsPerSink, y, scratch);
  });
}

function expectSinks(sinks: Tensor, x: Tensor): void {
  expectBeside('sinks', sinks, 'x', x);
  expectFloat32('sinks', sinks);
  const rows = x.shape[0]!;
  if (sinks.shape.length !== 1 || sinks.length === 0 || rows % sinks.length !== 0) {
    throw new RangeError(`"sinks" expected shape [divisor of ${rows}], got [${sinks.shape}]`);
  }
}

/**
 * out = log softmax(x) over the columns of `x` [rows, cols], masked columns -infinity: scale x - m - log sum e^(scale x - m),
 * m the row's maximum. `out` may be `x`.
 */
export function logSoftmax(x: Tensor, out: Tensor, options: ScoreOptions = {}): void {
  const scores = expectScores(x, out, options, 1);
  const { cols, window, scratch } = scores;
  storeScores(x, out, scores, options, false, (n, from, scale, visible, y) => {
    x.arena.kernels.logSoftmax_f32(n, cols, from, scale, visible, window, y, scratch);
  });
}

/** What a softmax knows of each row after some of its columns; all [rows] f32. Starts as max -Infinity, sum 0. */
export interface RunningSoftmax {
  /** The largest scaled score so far. */
  readonly max: Tensor;
  /** The sum of e^(score - max). */
  readonly sum: Tensor;
  /** What the last block changed: multiply what was accumulated before it by this. */
  readonly factor: Tensor;
}

/**
 * One block of columns of a softmax that is never whole in memory: out[r, c] = e^(scale x[r, c] - max[r]), where `running`
 * first takes the block in. After it, bring the rows accumulated so far to the new maximum with
 * `scaleRows(running.factor, accumulated)`; after the last, `divideRows(running.sum, accumulated)`.
 * `visible` may be 0 or negative for a block right of what row 0 sees. `out` may be `x`.
 * see: Dao et al.: FlashAttention (2022), algorithm 1.
 */
export function softmaxBlock(x: Tensor, running: RunningSoftmax, out: Tensor, options: ScoreOptions = {}): void {
  const scores = expectScores(x, out, options, -NO_LIMIT);
  const { rows, cols, window, scratch } = scores;
  const { max, sum, factor } = running;
  for (const [name, tensor] of Object.entries({ max, sum, factor })) {
    expectBeside(name, tensor, 'x', x);
    expectFloat32(name, tensor);
    expectShape(name, tensor, [rows]);
    expectApart(name, tensor, out);
  }
  const state = [max.offset, sum.offset, factor.offset] as const;
  storeScores(x, out, scores, options, true, (n, from, scale, visible, y) => {
    x.arena.kernels.softmaxBlock_f32(n, cols, from, scale, visible, window, ...state, y, scratch);
  });
}

/** Multiplies row r of `out` [rows, cols] f32 by factor[r], in place. */
export function scaleRows(factor: Tensor, out: Tensor): void {
  const [rows, cols] = expectRowFactor('factor', factor, out);
  out.arena.kernels.scaleRows_f32(rows, cols, factor.offset, out.offset);
}

/** Divides row r of `out` [rows, cols] f32 by divisor[r], in place, as a product with its reciprocal. */
export function divideRows(divisor: Tensor, out: Tensor): void {
  const [rows, cols] = expectRowFactor('divisor', divisor, out);
  out.arena.kernels.divideRows_f32(rows, cols, divisor.offset, out.offset);
}

function expectRowFactor(name: string, factor: Tensor, out: Tensor): [number, number] {
  const [rows, cols] = expectMatrix('out', out);
  expectOperands({ [name]: factor }, out);
  expectShape(name, factor, [rows]);
  expectFloat32(name, factor);
  expectFloat32('out', out);
  return [rows, cols];
}
