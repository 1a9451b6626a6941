/**
 * The core of attention, softmax(Q Kᵀ) V, as operators of one rank.
 *
 * Flash: scores never leave the chip, and the backward pass is 5 matmuls for 2 (scores again, gradients of values,
 * probabilities, queries, keys). Materialised: scores and probabilities pass HBM (Megatron-LM before flash attention).
 *
 * Context parallelism in training and prefill. `ring`: K and V go round while blocks are computed; causal sequences are cut
 * in 2 cp pieces of which rank i holds i and 2 cp - 1 - i, so that a block with another rank's keys is half a square; a
 * window needs its neighbours only. `all-to-all`: positions are traded for heads and back. In decode the cache is cut, and
 * partial results are combined.
 * see: FlashAttention-2, arXiv:2307.08691; ring attention, arXiv:2310.01889; DeepSpeed-Ulysses, arXiv:2309.14509;
 * Llama 3, arXiv:2407.21783, section 3.3.2 for the order of the pieces.
 */
import { ModelError } from '../base/errors.ts';
import type { OperatorCase } from '../core/operator-case.ts';
import type { GraphBuilder, Part } from './builder.ts';
import { activationBytes, type Context, narrower, onWire, residentOf } from './context.ts';
import { attentionPairs, type Mask, maskOf } from './flops.ts';
import { queryWidth, valueWidth } from './parameters.ts';
import type { AttentionSpec } from './spec.ts';

/** Heads of a rank; one width stands for queries and values. */
export interface CoreShape {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

/** A block of the score matrix of each sequence: `batch` at the same time, `repeat` one after another. */
interface Block {
  readonly batch: number;
  readonly repeat: number;
  readonly seqQ: number;
  readonly seqKv: number;
  readonly causal: boolean;
  readonly window: number | null;
}

interface Blocks {
  readonly own: readonly Block[];
  /** Those for which keys come from other ranks, in `passes` rounds. */
  readonly passed: readonly Block[];
  readonly passes: number;
}

const pairsOf = ({ batch, repeat, seqQ, seqKv, causal, window }: Block): number =>
  batch * repeat * attentionPairs({ causal, window, chunk: null }, seqQ, seqKv);

/** Blocks of the last `seqQ` of `seqKv` positions, without context parallelism. */
function localBlocks({ causal, window, chunk }: Mask, seqQ: number, seqKv: number): Block[] {
  const block: Block = { batch: 1, repeat: 1, seqQ, seqKv, causal, window: null };
  if (window !== null && causal) {
    const seen = Math.min(seqKv, seqQ + window - 1);
    return [{ ...block, seqKv: seen, window: window < seen ? window : null }];
  }
  if (chunk === null || chunk >= seqKv || !causal) return [block];
  // The rest of a begun chunk, whole chunks, and the beginning of the last one.
  const blocks: Block[] = [];
  for (let at = seqKv - seqQ; at < seqKv; ) {
    const behind = at % chunk;
    const whole = behind === 0 ? Math.floor((seqKv - at) / chunk) : 0;
    const length = Math.min(chunk - behind, seqKv - at);
    const batch = Math.max(1, whole);
    blocks.push({ ...block, batch, seqQ: length, seqKv: behind + length });
    at += batch * length;
  }
  return blocks;
}

function blocksOf({ seqQ, step, shard, phase }: Context, mask: Mask): Blocks {
  const { causal, window, chunk } = mask;
  if (phase === 'decode' && shard.cp > 1) {
    // Each rank sees its part of what a query reaches.
    const reached = localBlocks(mask, step.seqQ, step.seqKv);
    return {
      own: reached.map((block) => ({
        ...block,
        seqKv: Math.ceil(block.seqKv / shard.cp),
        causal: false,
        window: null,
      })),
      passed: [],
      passes: 0,
    };
  }
  if (shard.cp === 1 || shard.cpMode === 'all-to-all') {
    return { own: localBlocks(mask, step.seqQ, step.seqKv), passed: [], passes: 0 };
  }
  if (step.seqKv !== step.seqQ) {
    const message = 'expected all-to-all for a prompt with positions before it, got ring';
    throw new ModelError('UNSUPPORTED', 'cpMode', message);
  }
  if (chunk !== null && chunk < step.seqKv && seqQ % chunk !== 0) {
    const message = `expected pieces of a multiple of the chunk of ${chunk} positions, got ${seqQ}`;
    throw new ModelError('UNSUPPORTED', 'cp', message);
  }
  if (chunk !== null && seqQ % chunk === 0) return { own: localBlocks(mask, seqQ, seqQ), passed: [], passes: 0 };
  const block: Block = { batch: 1, repeat: 1, seqQ, seqKv: seqQ, causal, window: null };
  if (window !== null && window < step.seqKv) {
    const seqKv = Math.min(step.seqKv, seqQ + window - 1);
    const passes = Math.min(shard.cp - 1, Math.ceil((window - 1) / seqQ));
    return { own: [{ ...block, seqKv, window: window < seqKv ? window : null }], passed: [], passes };
  }
  const passes = shard.cp - 1;
  const other = { ...block, repeat: passes, causal: false, seqKv: causal ? Math.ceil(seqQ / 2) : seqQ };
  return { own: [block], passed: [other], passes };
}

interface CoreOperator {
  readonly name: string;
  readonly case: OperatorCase;
  readonly repeat: number;
  /** Of the useful operations of the block and pass. */
  readonly share: number;
}

function flash(context: Context, shape: CoreShape, block: Block, isBackward: boolean): CoreOperator[] {
  const { step, phase } = context;
  const { batch, seqQ, seqKv, causal, window, repeat } = block;
  const dtype = step.formats.activations;
  const resident = residentOf(context, 'matmul');
  const operator: OperatorCase = {
    op: 'attention',
    dims: { batch: step.sequences * batch, ...shape, seqQ, seqKv },
    dtype,
    causal,
    ...(phase === 'training' ? {} : narrower(step.formats.kv, dtype)),
    ...(window === null ? {} : { window }),
    ...(resident.length > 0 ? { resident } : {}),
  };
  if (!isBackward) return [{ name: 'attention', case: operator, repeat, share: 1 }];
  return [{ name: 'attention, gradient', case: operator, repeat: 2.5 * repeat, share: 1 }];
}

function materialised({ step, phase }: Context, shape: CoreShape, block: Block, isBackward: boolean): CoreOperator[] {
  const { seqKv, repeat } = block;
  const { headDim, heads, kvHeads } = shape;
  // Heads that share a key are rows of one product.
  const batch = step.sequences * block.batch * kvHeads;
  const seqQ = (block.seqQ * heads) / kvHeads;
  const dtype = step.formats.activations;
  const cache = phase === 'training' ? {} : narrower(step.formats.kv, dtype);
  const product = (name: string, m: number, k: number, n: number): CoreOperator => ({
    name,
    case: { op: 'batched-matmul', dims: { batch, m, k, n }, dtype, ...cache },
    repeat,
    share: isBackward ? 1 / 4 : 1 / 2,
  });
  const scores = { rows: batch * seqQ, cols: seqKv };
  const softmax: CoreOperator = {
    name: isBackward ? 'softmax, gradient' : 'softmax',
    case: { op: 'softmax', dims: scores, dtype },
    repeat: repeat * (isBackward ? 1.5 : 1),
    share: 0,
  };
  const apart = (name: string, op: 'gelu' | 'add', times: number): CoreOperator[] => [
    { name, case: { op, dims: scores, dtype }, repeat: repeat * times, share: 0 },
  ];
  // Scaling and mask read and write scores once each, and the gradient is scaled. Dropout has its mask as a third stream.
  const scaled = step.fusedSoftmax ? [] : apart('scaling and mask', 'gelu', isBackward ? 1 : 2);
  const dropped = step.fusedSoftmax || !step.dropout ? [] : apart('dropout', 'add', 1);
  if (!isBackward) {
    const weights = [product('scores', seqQ, headDim, seqKv), ...scaled, softmax, ...dropped];
    return [...weights, product('attention values', seqQ, seqKv, headDim)];
  }
  return [
    product('gradient of probabilities', seqQ, headDim, seqKv),
    product('gradient of values', seqKv, seqQ, headDim),
    ...dropped,
    softmax,
    ...scaled,
    product('gradient of queries', seqQ, seqKv, headDim),
    product('gradient of keys', seqKv, seqQ, headDim),
  ];
}

/** Partial results of a cut cache, rescaled by their maxima and added, in FP32. */
export function combine(graph: GraphBuilder, { shard, phase }: Context, elements: number): void {
  if (shard.cp === 1 || phase !== 'decode') return;
  const wire = { dimension: 'cp' as const, ranks: shard.cp, dtype: 'f32' as const };
  const name = 'partial attention over cp';
  graph.after = [graph.collective({ ...wire, name, collective: 'all-reduce', bytes: 4 * elements, repeat: 1 })];
}

/** The core with the exchanges of context parallelism. */
export function core(context: Context, attention: AttentionSpec, shape: CoreShape): Part {
  const { step, shard, tokens, phase } = context;
  const tradesHeads = shard.cp > 1 && shard.cpMode === 'all-to-all' && phase !== 'decode';
  const kvHeads = Math.ceil(shape.kvHeads / (tradesHeads ? shard.cp : 1));
  const heads = Math.ceil(shape.heads / (tradesHeads ? shard.cp : 1) / kvHeads) * kvHeads;
  const rankShape = { ...shape, heads, kvHeads };

  const blocks = blocksOf(context, maskOf(attention));
  const pairs = attentionPairs(maskOf(attention), step.seqQ, step.seqKv) / shard.cp / shard.tp;
  const useful = 2 * step.sequences * pairs * (queryWidth(attention) + valueWidth(attention));
  const executed = [...blocks.own, ...blocks.passed].reduce((sum, block) => sum + pairsOf(block), 0);
  const form = step.flash ? flash : materialised;

  const compute = (
    graph: GraphBuilder,
    list: readonly Block[],
    isBackward: boolean,
    after: readonly number[] = graph.after,
  ): readonly number[] => {
    let last = after;
    for (const block of list) {
      const flops = ((isBackward ? 2 : 1) * useful * pairsOf(block)) / executed;
      for (const { name, case: operator, repeat, share } of form(context, rankShape, block, isBackward)) {
        last = [graph.operator(name, operator, flops * share, repeat, last)];
      }
    }
    return last;
  };
  const wire = onWire(context, 'cp', shard.cp);
  const pass = (graph: GraphBuilder, isBackward: boolean): void => {
    const start = graph.after;
    if (blocks.passes === 0) {
      graph.after = compute(graph, blocks.own, isBackward);
      return;
    }
    // Keys and values travel while blocks are computed; backwards their gradients travel with them.
    const bytes = activationBytes(context, tokens * 2 * shape.kvHeads * shape.headDim) * (isBackward ? 2 : 1);
    const name = isBackward ? 'K, V and gradients round cp' : 'K and V round cp';
    const travel = graph.collective({ ...wire, name, collective: 'send-recv', bytes, repeat: blocks.passes }, start);
    const others = compute(graph, blocks.passed, isBackward, start);
    graph.after = compute(graph, blocks.own, isBackward, [...new Set([travel, ...others])]);
  };
  const trade = (graph: GraphBuilder, name: string, width: number): void => {
    if (!tradesHeads) return;
    const bytes = activationBytes(context, tokens * width);
    graph.after = [graph.collective({ ...wire, name, collective: 'all-to-all', bytes, repeat: 1 })];
  };
  const inputs = (shape.heads + 2 * shape.kvHeads) * shape.headDim;
  const outputs = shape.heads * shape.headDim;
  return {
    forward(graph) {
      trade(graph, 'positions for heads over cp', inputs);
      pass(graph, false);
      trade(graph, 'heads for positions over cp', outputs);
      combine(graph, context, tokens * shape.heads * (shape.headDim + 2));
    },
    backward(graph, { input }) {
      if (!input) return;
      if (step.recompute === 'selective') {
        graph.recomputing = true;
        graph.after = compute(graph, [...blocks.passed, ...blocks.own], false);
        graph.recomputing = false;
      }
      trade(graph, 'positions for heads over cp, gradient', outputs);
      pass(graph, true);
      trade(graph, 'heads for positions over cp, gradient', inputs);
    },
  };
}
