/**
 * What stands before and after the layers as parts: embedding and head, both cut over the vocabulary, and the optimizer.
 *
 * Vocabulary-parallel embedding: each rank looks up its rows, and the sum over tp fills in the others. Cross-entropy over
 * cut logits: maximum, target logit and sum of exponentials are reduced, three numbers a token.
 * see: Megatron-LM, arXiv:1909.08053, section 3; ZeRO, arXiv:1910.02054.
 */

import { FORMAT_BYTES } from '../core/operator-work.ts';
import { type Exchange, exchange, GraphBuilder, type Part, pointwise } from './builder.ts';
import {
  activationBytes,
  type Context,
  elementwise,
  enter,
  leave,
  norm,
  onWire,
  regathered,
  share,
  weighted,
} from './context.ts';
import type { Formats, Graph } from './graph.ts';

export function embeddingParts(context: Context): Part[] {
  const { model, tokens, localTokens } = context;
  const tables = model.tokenTypes > 0 || model.positions === 'learned';
  return [
    elementwise(context, 'embedding', 'embedding', tokens, model.hidden),
    exchange(leave(context, 'embedding over tp')),
    ...(tables ? [elementwise(context, 'position embedding', 'add', localTokens, model.hidden)] : []),
    ...(model.embeddingNorm ? [norm(context, 'embedding norm')] : []),
  ];
}

/** Head and loss; in inference logits of the last position of each sequence, or of every new one in decode. */
export function headParts(context: Context): Part[] {
  const { model, shard, step, phase } = context;
  const { hidden, vocab } = model;
  const isTraining = phase === 'training';
  const positions = phase === 'prefill' ? 1 : context.seqQ;
  const rows = step.sequences * positions;
  // The last position lies on one rank of a cut sequence.
  const usefulTokens = phase === 'prefill' ? step.sequences / shard.cp : context.usefulTokens;
  const at: Context = isTraining
    ? context
    : { ...context, tokens: rows, usefulTokens, localTokens: shard.sp ? Math.ceil(rows / shard.tp) : rows };
  const finalNorm = model.finalNorm ? [norm(at, 'final norm')] : [];
  const dtype = step.formats.activations;
  const formats = { dtype, weightDtype: dtype };
  const dense = (name: string) =>
    weighted(at, {
      name,
      rows: at.localTokens,
      k: hidden,
      n: hidden,
      flops: share(at, hidden * hidden, shard.tp),
      ...formats,
    });
  if (model.head === 'pooler') return [...finalNorm, dense('pooler')];
  const entry = enter(at, 'head input over tp', hidden);
  const own = Math.ceil(vocab / shard.tp);
  const logits = weighted(at, {
    name: 'logits',
    rows,
    k: hidden,
    n: own,
    flops: share(at, hidden * vocab, shard.tp),
    ...formats,
    ...regathered(at, entry),
  });
  const whole: Exchange = {
    ...onWire(at, 'tp', shard.tp),
    name: 'logits over tp',
    bytes: activationBytes(at, rows * own * shard.tp),
    forward: 'all-gather',
    backward: null,
  };
  return [
    ...finalNorm,
    ...(model.head === 'mlm' ? [dense('prediction transform'), norm(at, 'prediction norm')] : []),
    exchange(entry),
    logits,
    ...(isTraining ? lossParts(at, own) : [exchange(whole)]),
  ];
}

/** Cross-entropy: frameworks make FP32 of the logits; fused kernels read and write them in the format they are in. */
function lossParts({ tokens, shard, step }: Context, columns: number): Part[] {
  const loss = pointwise({
    name: 'cross-entropy',
    op: 'softmax',
    rows: tokens,
    cols: columns,
    dtype: step.software === 'compiler' ? 'f32' : step.formats.activations,
    resident: [],
  });
  const sums: Part = {
    forward(graph) {
      if (shard.tp === 1) return;
      const wire = { dimension: 'tp' as const, ranks: shard.tp, dtype: 'f32' as const };
      const item = {
        ...wire,
        name: 'cross-entropy over tp',
        collective: 'all-reduce' as const,
        bytes: 4 * tokens,
        repeat: 3,
      };
      graph.after = [graph.collective(item)];
    },
    backward: () => {},
  };
  return [loss, sums];
}

export interface OptimizerShare {
  /** Parameters on the rank that this data-parallel group holds in common. */
  readonly parameters: number;
  /** Ranks of that group, context parallelism included. */
  readonly ranks: number;
  readonly dimension: 'dp' | 'edp';
  /** 0: all-reduce of gradients; 1, 2: gradients scattered, weights gathered; 3: weights are gathered in each pass instead. */
  readonly zero: 0 | 1 | 2 | 3;
  readonly formats: Formats;
  /** Bytes of master weight and both moments together, per parameter. */
  readonly stateBytes: number;
}

/**
 * The optimizer step of one data-parallel group. Its first item, the reduction of gradients, can start while the
 * backward pass still runs; that is for the schedule to arrange.
 *
 * An `adamw` operator reads four and writes one FP32 number; `repeat` scales that to what is really moved: gradient and
 * states read, states and the weight written.
 */
export function optimizerGraph({ parameters, ranks, dimension, zero, formats, stateBytes }: OptimizerShare): Graph {
  const graph = new GraphBuilder();
  if (parameters === 0) return graph.items;
  const wire = { dimension, ranks, repeat: 1 };
  const gradientBytes = parameters * FORMAT_BYTES[formats.gradients];
  const weightBytes = parameters * FORMAT_BYTES[formats.weights];
  const isCut = zero > 0 && ranks > 1;
  if (ranks > 1) {
    const collective = isCut ? ('reduce-scatter' as const) : ('all-reduce' as const);
    const item = {
      ...wire,
      name: `gradients over ${dimension}`,
      collective,
      bytes: gradientBytes,
      dtype: formats.gradients,
    };
    graph.after = [graph.collective(item)];
  }
  const own = Math.ceil(parameters / (isCut ? ranks : 1));
  const cols = Math.min(own, 4096);
  const moved = FORMAT_BYTES[formats.gradients] + 2 * stateBytes + FORMAT_BYTES[formats.weights];
  const operator = { op: 'adamw' as const, dims: { rows: Math.ceil(own / cols), cols }, dtype: 'f32' as const };
  graph.after = [graph.operator('AdamW', operator, 0, moved / (5 * FORMAT_BYTES.f32))];
  if (isCut && zero < 3) {
    const item = { ...wire, name: `weights over ${dimension}`, collective: 'all-gather' as const };
    graph.collective({ ...item, bytes: weightBytes, dtype: formats.weights });
  }
  return graph.items;
}
