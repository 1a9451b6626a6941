/**
 * Attention:  out = softmax(scale q k^T) v  for each head, a block of query rows at a time, so that the scores of a long
 * prompt never stand in memory whole. Causal or not, grouped queries, sliding window, sinks, and a cache: with more keys
 * than queries, the queries are the last ones.
 *
 * Keys and values are packed once for each KV head, in blocks, and serve every query block and query head of the group.
 * Blocks that a query block cannot see, after it or before its window, are not computed.
 * see: Dao et al.: FlashAttention (2022), for the blocking; here a block's row of scores is kept, not rescaled.
 */
import { expectInteger } from '../base/errors.ts';
import { cast, type Rounding } from './cast.ts';
import type { DType } from './dtype.ts';
import { matmul } from './matmul.ts';
import { expectOperandDType } from './operands.ts';
import { type PackedWeights, packWeights } from './packed.ts';
import { softmax } from './softmax.ts';
import { expectContiguous, expectShape, type Tensor } from './tensor.ts';

/**
 * Queries of a block: whole tiles of either build. More compute more that the causal mask then drops, fewer pay more for each
 * product. 48, 60, 72, 96 reach 80, 79.5, 77, 75 % of the matmul's rate (1024 tokens, Node 24); on Node 20 60 to 96 are equal.
 */
const QUERY_BLOCK = 60;
/** Keys that are packed together where a window leaves some out on the left. */
const KEY_BLOCK = 384;

export interface AttentionOptions {
  /** Factor on the scores; 1 / sqrt(headDim) by default. */
  readonly scale?: number;
  /** Whether a query sees the keys up to its own position only; true by default. */
  readonly causal?: boolean;
  /** Keys at most that a query sees: the last ones of those visible. */
  readonly window?: number;
  /** [heads] f32: a logit of each head that enters the denominator only. */
  readonly sinks?: Tensor;
  /** Format that the probabilities are rounded to between the two products; that of `q` by default. */
  readonly probabilities?: DType;
  /** How `out` is rounded. */
  readonly rounding?: Rounding;
  /** How the probabilities of a query block of a head are rounded. */
  readonly probabilityRounding?: (head: number, block: number) => Rounding;
}

/**
 * `q`, `out`: [queries, heads, headDim], `k`, `v`: [keys, kvHeads, headDim], keys >= queries if causal, contiguous, any
 * operand formats.
 * @throws TypeError or RangeError that names the operand.
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, out: Tensor, options: AttentionOptions = {}): void {
  const { heads, headDim, keys, kvHeads } = checkOperands(q, k, v, out, options);
  const matrix = (tensor: Tensor, count: number): Tensor => tensor.reshape([tensor.shape[0]!, count * headDim]);
  const ofHead = (tensor: Tensor, head: number): Tensor => tensor.columns(head * headDim, (head + 1) * headDim);
  const group = heads / kvHeads;
  // The heads write their columns of a matrix in FP32, which is rounded once it is whole.
  const wide = out.dtype === 'f32' ? out : out.arena.tensor('f32', out.shape);
  for (let kv = 0; kv < kvHeads; kv++) {
    const blockKeys = options.window === undefined ? Math.max(1, keys) : KEY_BLOCK;
    const blocks = packBlocks(ofHead(matrix(k, kvHeads), kv), ofHead(matrix(v, kvHeads), kv), blockKeys);
    for (let head = kv * group; head < (kv + 1) * group; head++) {
      attendHead(ofHead(matrix(q, heads), head), blocks, keys, ofHead(matrix(wide, heads), head), head, options);
    }
    for (const block of blocks) {
      block.k.dispose();
      block.v.dispose();
    }
  }
  if (wide === out) return;
  cast(wide, out, options.rounding ?? 'nearest');
  wide.dispose();
}

/** Some keys, transposed, and their values. */
interface KeyBlock {
  readonly k: PackedWeights;
  readonly v: PackedWeights;
}

function packBlocks(k: Tensor, v: Tensor, blockKeys: number): KeyBlock[] {
  const keys = k.shape[0]!;
  return Array.from({ length: Math.ceil(keys / blockKeys) }, (_, i) => {
    const [begin, end] = [i * blockKeys, Math.min(keys, (i + 1) * blockKeys)];
    return { k: packWeights(k.rows(begin, end).transpose()), v: packWeights(v.rows(begin, end)) };
  });
}

/** One head: `q`: [queries, headDim], `out`: [queries, headDim] f32. */
function attendHead(
  q: Tensor,
  blocks: readonly KeyBlock[],
  keys: number,
  out: Tensor,
  head: number,
  options: AttentionOptions,
): void {
  const { arena } = q;
  const [queries, headDim] = q.shape as [number, number];
  const { causal = true, window, sinks, scale = 1 / Math.sqrt(headDim), probabilities = q.dtype } = options;
  for (let begin = 0; begin < queries; begin += QUERY_BLOCK) {
    const end = Math.min(queries, begin + QUERY_BLOCK);
    // Keys that the first and the last query of the block see, counted from key 0.
    const visibleFirst = causal ? keys - queries + begin + 1 : keys;
    const visibleLast = causal ? keys - queries + end : keys;
    const firstBlock = window === undefined ? 0 : Math.floor(Math.max(0, visibleFirst - window) / KEY_BLOCK);
    const firstKey = firstBlock * KEY_BLOCK;
    const scores = arena.tensor('f32', [end - begin, visibleLast - firstKey]);
    const weights = probabilities === 'f32' ? scores : arena.tensor(probabilities, scores.shape);
    const used = blocks.slice(firstBlock).flatMap((block, i) => {
      const [from, visible] = [i * KEY_BLOCK, visibleLast - firstKey];
      return from < visible ? [{ ...block, from, to: Math.min(from + block.v.shape[0], visible) }] : [];
    });
    const queriesHere = q.rows(begin, end);
    for (const { k, from, to } of used) matmul(queriesHere, k.prefix(headDim, to - from), scores.columns(from, to));
    softmax(scores, weights, {
      scale,
      ...(causal && { visible: visibleFirst - firstKey }),
      ...(window !== undefined && { window }),
      ...(sinks !== undefined && { sinks: sinks.slice(head, head + 1) }),
      rounding: options.probabilityRounding?.(head, begin / QUERY_BLOCK) ?? 'nearest',
    });
    for (const { v, from, to } of used) {
      matmul(weights.columns(from, to), v.prefix(to - from, headDim), out.rows(begin, end), { accumulate: from > 0 });
    }
    scores.dispose();
    weights.dispose(); // the same tensor in FP32: then this does nothing
  }
}

function checkOperands(q: Tensor, k: Tensor, v: Tensor, out: Tensor, options: AttentionOptions) {
  for (const [name, tensor] of Object.entries({ q, k, v, out })) {
    if (tensor.shape.length !== 3) {
      throw new TypeError(`"${name}" expected shape [tokens, heads, headDim], got [${tensor.shape}]`);
    }
    expectContiguous(name, tensor);
    if (tensor.arena !== q.arena) throw new TypeError(`"${name}" expected the arena of "q", got another one`);
  }
  for (const [name, tensor] of Object.entries({ q, k, v })) expectOperandDType(name, tensor);
  const [queries, heads, headDim] = q.shape as [number, number, number];
  const [keys, kvHeads] = k.shape as [number, number, number];
  expectShape('k', k, [keys, kvHeads, headDim]);
  expectShape('v', v, k.shape);
  expectShape('out', out, q.shape);
  if (kvHeads === 0 || heads % kvHeads !== 0) {
    throw new RangeError(`"k" expected a number of heads that divides the ${heads} of "q", got ${kvHeads}`);
  }
  if ((options.causal ?? true) && keys < queries) {
    throw new RangeError(`"k" expected at least as many tokens as the ${queries} queries, got ${keys}`);
  }
  if (options.window !== undefined) expectInteger('window', options.window, 1);
  if (options.sinks !== undefined) expectShape('sinks', options.sinks, [heads]);
  const scale = options.scale ?? 1 / Math.sqrt(headDim);
  if (!(scale > 0 && scale < Infinity)) throw new RangeError(`"scale" expected a finite number > 0, got ${scale}`);
  return { heads, headDim, keys, kvHeads };
}
