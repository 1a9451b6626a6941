/**
 * The attention half of a layer as parts: norm, projections, core, output projection, and what tensor parallelism exchanges.
 *
 * Latent attention expands keys and values from the latent vectors, cached ones again with the new ones; `absorbed`, in
 * decode, moves the queries into the latent space instead, where all heads share one key and value.
 * see: Megatron-LM, arXiv:1909.08053, section 3; arXiv:2205.05198, section 4.2; DeepSeek-V2, arXiv:2405.04434, section 2.1.
 */
import type { OperatorCase } from '../core/operator-case.ts';
import { combine, core } from './attention-core.ts';
import { exchange, type GraphBuilder, type Part } from './builder.ts';
import {
  type Context,
  elementwise,
  enter,
  fusesNorm,
  leave,
  narrower,
  norm,
  regathered,
  residentOf,
  share,
  weighted,
} from './context.ts';
import { queryWidth, rankHeads, valueWidth } from './parameters.ts';
import type { AttentionSpec, GqaAttention, MlaAttention } from './spec.ts';

/** Norm, projections, core, output projection and its sum; the residual is added by what follows. */
export function attentionParts(context: Context, attention: AttentionSpec): Part[] {
  const projections = attention.kind === 'gqa' ? gqaParts(context, attention) : mlaParts(context, attention);
  const { heads } = rankHeads(attention, context.shard.tp);
  const width = (heads / attention.heads) * valueWidth(attention);
  const { hidden } = context.model;
  return [
    ...projections,
    weighted(context, {
      name: 'attention output',
      rows: context.tokens,
      k: width,
      n: hidden,
      flops: share(context, valueWidth(attention) * hidden, context.shard.tp),
    }),
    exchange(leave(context, 'attention output over tp')),
  ];
}

function gqaParts(context: Context, attention: GqaAttention): Part[] {
  const { tokens, shard, model } = context;
  const { headDim } = attention;
  const { heads, kvHeads } = rankHeads(attention, shard.tp);
  const entry = enter(context, 'attention input over tp', model.hidden);
  const isFused = fusesNorm(context);
  const width = (heads + 2 * kvHeads) * headDim;
  const rotated = tokens * (heads + kvHeads);
  return [
    ...(isFused ? [] : [norm(context, 'attention norm')]),
    exchange(entry),
    weighted(context, {
      name: 'QKV',
      rows: tokens,
      k: model.hidden,
      n: width,
      flops: share(context, model.hidden * (attention.heads + 2 * attention.kvHeads) * headDim, shard.tp),
      ...regathered(context, entry),
      ...(isFused ? { fused: 'add-rmsnorm-matmul' as const } : {}),
    }),
    ...(attention.qkNorm === 'none' ? [] : [elementwise(context, 'QK norm', 'rmsnorm', rotated, headDim, 'epilogue')]),
    ...(attention.rope ? [elementwise(context, 'rotary embedding', 'rope', rotated, headDim, 'epilogue')] : []),
    core(context, attention, { heads, kvHeads, headDim }),
  ];
}

/** Projections into the latent vectors are on every rank, those out of them are cut by heads. */
function mlaParts(context: Context, attention: MlaAttention): Part[] {
  const { tokens, localTokens, shard, step, model } = context;
  const { queryRank, kvRank, nopeHeadDim, ropeHeadDim, valueHeadDim } = attention;
  const { heads } = rankHeads(attention, shard.tp);
  const { hidden } = model;
  const latent = kvRank + ropeHeadDim;
  const queryInput = queryRank ?? hidden;
  const entry = enter(context, 'latent vectors over tp', queryInput + latent);
  const gather = regathered(context, entry);
  const absorbed = context.phase === 'decode' && step.absorbed;
  // Cached positions are expanded again with the new ones, unless queries go to them.
  const expanded = step.sequences * (context.phase === 'training' ? context.seqQ : Math.ceil(step.seqKv / shard.cp));
  const down = hidden * ((queryRank ?? 0) + latent);
  return [
    norm(context, 'attention norm'),
    weighted(context, {
      name: 'latent projections',
      rows: localTokens,
      k: hidden,
      n: (queryRank ?? 0) + latent,
      flops: share(context, down, shard.tp),
    }),
    ...(queryRank === null ? [] : [elementwise(context, 'query norm', 'rmsnorm', localTokens, queryRank)]),
    elementwise(context, 'latent norm', 'rmsnorm', localTokens, kvRank),
    exchange(entry),
    weighted(context, {
      name: 'queries',
      rows: tokens,
      k: queryInput,
      n: heads * (nopeHeadDim + ropeHeadDim),
      flops: share(context, queryInput * queryWidth(attention), shard.tp),
      ...gather,
    }),
    elementwise(context, 'rotary embedding', 'rope', tokens * (heads + 1), ropeHeadDim, 'epilogue'),
    ...(absorbed
      ? absorbedCore(context, attention, heads)
      : [
          weighted(context, {
            name: 'keys and values',
            rows: expanded,
            k: kvRank,
            n: heads * (nopeHeadDim + valueHeadDim),
            flops: (2 * expanded * kvRank * attention.heads * (nopeHeadDim + valueHeadDim)) / shard.tp,
            ...gather,
          }),
          // One width for queries and values: their mean leaves operations and bytes as they are.
          core(context, attention, {
            heads,
            kvHeads: heads,
            headDim: Math.ceil((nopeHeadDim + ropeHeadDim + valueHeadDim) / 2),
          }),
        ]),
  ];
}

/** All heads of a sequence share one latent key and value, so they are the rows of one product. */
function absorbedCore(context: Context, attention: MlaAttention, heads: number): Part[] {
  const { tokens, seqQ, step, shard } = context;
  const { kvRank, nopeHeadDim, ropeHeadDim, valueHeadDim } = attention;
  const seqKv = Math.ceil(step.seqKv / shard.cp);
  const dtype = step.formats.activations;
  const useful = (step.sequences * seqQ * attention.heads) / shard.tp;
  const rows = { batch: step.sequences, m: heads * seqQ };
  const move = (name: string, k: number, n: number): Part =>
    weighted(context, { name, batch: heads, rows: tokens, k, n, flops: 2 * useful * k * n });
  const scores: OperatorCase = {
    op: 'batched-matmul-softmax',
    dims: { ...rows, k: kvRank + ropeHeadDim, n: seqKv },
    dtype,
    ...narrower(step.formats.kv, dtype),
    resident: [...new Set([...residentOf(context, 'matmul'), 'c' as const])],
  };
  // The latent vectors are on chip from the scores.
  const values: OperatorCase = {
    op: 'batched-matmul',
    dims: { ...rows, k: seqKv, n: kvRank },
    dtype,
    resident: ['a', 'b'],
  };
  return [
    move('queries into latent space', nopeHeadDim, kvRank),
    inferenceOnly((graph) => {
      const pair = useful * seqKv * 2;
      graph.after = [graph.operator('latent scores', scores, pair * (kvRank + ropeHeadDim))];
      graph.after = [graph.operator('latent values', values, pair * kvRank)];
      combine(graph, context, tokens * heads * (kvRank + 2));
    }),
    move('values out of latent space', kvRank, valueHeadDim),
  ];
}

const inferenceOnly = (forward: (graph: GraphBuilder) => void): Part => ({ forward, backward: () => {} });
