/**
 * One decoder layer cut over tensor-parallel ranks, Megatron-style: the weights of each rank and its operators.
 *
 *     x1 = x  + allreduce(attention(rope(norm(x) Wq), rope(norm(x) Wk), norm(x) Wv) Wo)
 *     y  = x1 + allreduce(silu(norm(x1) Wgate) * (norm(x1) Wup) Wdown)
 *
 * Wq, Wk, Wv, Wgate, Wup are cut by columns, Wo and Wdown by rows, so that only the two sums need communication. A KV
 * head is copied to every rank whose query heads need it when there are fewer KV heads than ranks.
 * see: Shoeybi et al., Megatron-LM, arXiv:1909.08053, section 3.
 */
import { expectInteger } from '../base/errors.ts';
import type { OperandFormat, OperatorCase, OperatorName } from '../core/operator-case.ts';
import type { DecoderConfig } from './config.ts';

/** Matrices of a layer, in [in, out] orientation, and its vectors. The order numbers their random streams. */
export const LAYER_WEIGHTS = [
  'q',
  'k',
  'v',
  'o',
  'gate',
  'up',
  'down',
  'qBias',
  'kBias',
  'vBias',
  'norm1',
  'norm2',
  'qNorm',
  'kNorm',
] as const;
export type LayerWeight = (typeof LAYER_WEIGHTS)[number];

/** A block of a matrix: where it lies in the whole, and how large it is. Vectors are matrices of one row. */
export interface WeightBlock {
  readonly weight: LayerWeight;
  /** Of the whole matrix. */
  readonly totalRows: number;
  readonly totalColumns: number;
  readonly row: number;
  readonly column: number;
  readonly rows: number;
  readonly columns: number;
}

/** How the heads and the feed-forward width of a layer fall to `tp` equal ranks. */
export interface LayerShard {
  readonly tp: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly ffn: number;
}

/** Whether a layer can be cut over `tp` ranks; a sentence that says why not otherwise. */
export function shardProblem({ heads, kvHeads, ffn }: DecoderConfig, tp: number): string | null {
  if (heads % tp !== 0) return `a divisor of the model's ${heads} attention heads`;
  if (kvHeads % tp !== 0 && tp % kvHeads !== 0) return `a divisor or a multiple of the model's ${kvHeads} KV heads`;
  if (ffn % tp !== 0) return `a divisor of the model's feed-forward width ${ffn}`;
  return null;
}

/** @throws RangeError that names `tp` if the layer cannot be cut evenly. */
export function shardLayer(config: DecoderConfig, tp: number): LayerShard {
  expectInteger('tp', tp, 1);
  const problem = shardProblem(config, tp);
  if (problem !== null) throw new RangeError(`"tp" expected ${problem}, got ${tp}`);
  const { heads, kvHeads, ffn } = config;
  return { tp, heads: heads / tp, kvHeads: Math.max(1, kvHeads / tp), ffn: ffn / tp };
}

/** The weights of rank `rank`, every block that the layer has. */
export function rankWeights(config: DecoderConfig, shard: LayerShard, rank: number): WeightBlock[] {
  const { hidden, headDim, heads, kvHeads, ffn, qkvBias, qkNorm } = config;
  const q = { column: rank * shard.heads * headDim, columns: shard.heads * headDim, totalColumns: heads * headDim };
  // The KV head of the rank's first query head; the shard's query heads all belong to the KV heads from there.
  const firstKv = Math.floor((rank * shard.heads * kvHeads) / heads);
  const kv = { column: firstKv * headDim, columns: shard.kvHeads * headDim, totalColumns: kvHeads * headDim };
  const f = { column: rank * shard.ffn, columns: shard.ffn, totalColumns: ffn };
  const byColumns = (weight: LayerWeight, cut: typeof q, totalRows: number): WeightBlock => ({
    weight,
    totalRows,
    row: 0,
    rows: totalRows,
    ...cut,
  });
  const byRows = (weight: LayerWeight, cut: typeof q): WeightBlock => ({
    weight,
    totalRows: cut.totalColumns,
    row: cut.column,
    rows: cut.columns,
    totalColumns: hidden,
    column: 0,
    columns: hidden,
  });
  const whole = (length: number) => ({ column: 0, columns: length, totalColumns: length });
  return [
    byColumns('norm1', whole(hidden), 1),
    byColumns('q', q, hidden),
    byColumns('k', kv, hidden),
    byColumns('v', kv, hidden),
    ...(qkvBias ? [byColumns('qBias', q, 1), byColumns('kBias', kv, 1), byColumns('vBias', kv, 1)] : []),
    ...(qkNorm ? [byColumns('qNorm', whole(headDim), 1), byColumns('kNorm', whole(headDim), 1)] : []),
    byRows('o', q),
    byColumns('norm2', whole(hidden), 1),
    byColumns('gate', f, hidden),
    byColumns('up', f, hidden),
    byRows('down', f),
  ];
}

/** Elements of a list of blocks. */
export function blockElements(blocks: readonly WeightBlock[]): number {
  return blocks.reduce((sum, { rows, columns }) => sum + rows * columns, 0);
}

/** A step of the layer on a rank: an operator, or the sum over the ranks. */
export type LayerStep =
  | { readonly type: 'operator'; readonly name: string; readonly operator: OperatorCase }
  | { readonly type: 'all-reduce'; readonly name: string; readonly elements: number };

/** The steps of a rank for `tokens` tokens, none cached. Each operator reads its operands from HBM and writes its result there. */
export function layerSteps(
  config: DecoderConfig,
  shard: LayerShard,
  tokens: number,
  dtype: OperandFormat,
): LayerStep[] {
  const { hidden, headDim, qkNorm } = config;
  const { heads, kvHeads, ffn } = shard;
  const step = (name: string, op: OperatorName, dims: OperatorCase['dims']): LayerStep => ({
    type: 'operator',
    name,
    operator: { op, dims, dtype, ...(op === 'attention' && { causal: true }) },
  });
  const matmul = (name: string, k: number, n: number) => step(name, 'matmul', { m: tokens, k, n });
  const norm = (name: string) => step(name, 'rmsnorm', { rows: tokens, cols: hidden });
  const residual = step('residual', 'add', { rows: tokens, cols: hidden });
  const allReduce = (name: string): LayerStep => ({ type: 'all-reduce', name, elements: tokens * hidden });
  const headRows = { rows: tokens * (heads + kvHeads), cols: headDim };
  return [
    norm('input norm'),
    matmul('QKV', hidden, (heads + 2 * kvHeads) * headDim),
    ...(qkNorm ? [step('QK norm', 'rmsnorm', headRows)] : []),
    step('rotary embedding', 'rope', headRows),
    step('attention', 'attention', { batch: 1, heads, kvHeads, headDim, seqQ: tokens, seqKv: tokens }),
    matmul('output', heads * headDim, hidden),
    allReduce('all-reduce of attention'),
    residual,
    norm('post-attention norm'),
    matmul('gate and up', hidden, 2 * ffn),
    step('SiLU product', 'swiglu', { rows: tokens, cols: ffn }),
    matmul('down', ffn, hidden),
    allReduce('all-reduce of MLP'),
    residual,
  ];
}
