/**
 * The MLP half of a layer as parts: a dense network, or a mixture of experts.
 *
 * A mixture, on each rank: router, gather of the copies that tokens send to experts, all-to-all over the expert ranks (and
 * an all-gather among those that share an expert), the experts as one batched product each way, and the way back. An
 * expert that no token was sent to is not read: with n tokens, E experts and uniform routing to K of them
 * E (1 - (1 - K/E)^n) are. `expertSkew` is the load of the busiest rank over the mean.
 *
 * Without sequence parallelism the tokens of a group are on all its ranks: each takes those of its own experts, and one sum
 * over tp adds routed and shared experts.
 * see: GShard, arXiv:2006.16668; DeepSeek-V3, arXiv:2412.19437; shard.ts for the placement of experts.
 */
import { pow } from '../base/math.ts';
import { exchange, type Part } from './builder.ts';
import {
  activationBytes,
  activationOperator,
  type Context,
  elementwise,
  enter,
  fusesNorm,
  leave,
  norm,
  onWire,
  regathered,
  residentOf,
  share,
  weighted,
} from './context.ts';
import type { DenseMlp, MlpSpec, MoeMlp } from './spec.ts';

/** Norm to the sum over tp; the residual is added by what follows. */
export function mlpParts(context: Context, mlp: MlpSpec): Part[] {
  if (mlp.kind === 'moe') return [norm(context, 'MLP norm'), ...mixtureParts(context, mlp)];
  const isFused = fusesNorm(context);
  const entry = enter(context, 'MLP input over tp', context.model.hidden);
  return [
    ...(isFused ? [] : [norm(context, 'MLP norm')]),
    exchange(entry),
    ...networkParts(context, mlp, mlp.ffn, 'MLP', { ...regathered(context, entry), isFused }),
    exchange(leave(context, 'MLP output over tp')),
  ];
}

/** up, activation and down of a network of width `ffn` cut over tp, on all tokens of the group. */
function networkParts(
  context: Context,
  { gated, activation }: DenseMlp | MoeMlp,
  ffn: number,
  name: string,
  { isFused, ...gather }: ReturnType<typeof regathered> & { isFused: boolean },
): Part[] {
  const { tokens, model, shard } = context;
  const own = Math.ceil(ffn / shard.tp);
  const ways = gated ? 2 : 1;
  return [
    weighted(context, {
      name: gated ? `${name} gate and up` : `${name} up`,
      rows: tokens,
      k: model.hidden,
      n: ways * own,
      flops: share(context, ways * model.hidden * ffn, shard.tp),
      resident: residentOf(context, 'before-epilogue'),
      ...gather,
      ...(isFused ? { fused: 'add-rmsnorm-matmul' as const } : {}),
    }),
    elementwise(context, `${name} activation`, activationOperator(gated, activation), tokens, own, 'epilogue'),
    weighted(context, {
      name: `${name} down`,
      rows: tokens,
      k: own,
      n: model.hidden,
      flops: share(context, model.hidden * ffn, shard.tp),
      resident: residentOf(context, 'after-epilogue'),
    }),
  ];
}

function mixtureParts(context: Context, mlp: MoeMlp): Part[] {
  const { shard, model } = context;
  const entry = enter(context, 'MLP input over tp', model.hidden);
  const routed = routedParts(context, mlp);
  const shared = (gather: ReturnType<typeof regathered>): Part[] =>
    mlp.sharedFfn === 0
      ? []
      : networkParts(context, mlp, mlp.sharedFfn, 'shared expert', { ...gather, isFused: false });
  const exit = exchange(leave(context, 'MLP output over tp'));
  if (!shard.sp) return [exchange(entry), ...routed, ...shared({}), exit];
  // With cut tokens only the shared experts need all of the group's.
  const around = mlp.sharedFfn === 0 ? [] : [exchange(entry), ...shared(regathered(context, entry)), exit];
  return [...around, ...routed];
}

/** How the copies of tokens fall to the experts of a rank. */
interface ExpertLoad {
  /** How many experts of a rank are computed. */
  readonly active: number;
  /** Copies that a rank sends, those that its experts compute on average, and how many of these were routed to them. */
  readonly sent: number;
  readonly computed: number;
  readonly routed: number;
  /** Rows of each active expert on the busiest rank. */
  readonly rows: number;
}

function expertLoad({ shard, step, usefulTokens }: Context, mlp: MoeMlp): ExpertLoad {
  const { tp, sp, ep, expertTp } = shard;
  const { experts, topK } = mlp;
  const copies = step.experts === 'all' ? experts : topK;
  const inner = tp / expertTp;
  const computed = (usefulTokens * copies) / inner;
  const local = Math.ceil(experts / ep);
  const tokensOfGroup = (usefulTokens * ep) / inner;
  const hit = (experts / ep) * (1 - pow(1 - copies / experts, tokensOfGroup));
  const busiest = computed * step.expertSkew;
  const active = step.experts === 'per-token' ? Math.ceil(busiest) : Math.min(local, Math.max(1, Math.round(hit)));
  const rows = step.expertBlock * Math.max(1, Math.ceil(busiest / active / step.expertBlock));
  const sent = sp ? (usefulTokens * copies) / tp : computed;
  return { active, sent, computed, routed: (usefulTokens * topK) / inner, rows };
}

function routedParts(context: Context, mlp: MoeMlp): Part[] {
  const { shard, step, model, localTokens } = context;
  const { tp, sp, ep, expertTp } = shard;
  const { hidden } = model;
  const { active, sent, computed, routed, rows } = expertLoad(context, mlp);
  const ways = mlp.gated ? 2 : 1;
  const own = Math.ceil(mlp.ffn / expertTp);
  const copies = Math.ceil(sent * step.expertSkew);

  // Ranks of one group hold the same tokens unless the sequence is cut: then only other groups are asked.
  const ranks = sp ? ep : (ep * expertTp) / tp;
  const send = {
    ...onWire(context, 'ep', ranks),
    bytes: activationBytes(context, sent * step.expertSkew * hidden),
    forward: 'all-to-all' as const,
    backward: 'all-to-all' as const,
  };
  const spread = {
    ...onWire(context, 'etp', sp ? expertTp : 1),
    bytes: activationBytes(context, computed * step.expertSkew * hidden),
  };
  const expert = (name: string, k: number, n: number, elements: number, role: 'before-epilogue' | 'after-epilogue') =>
    weighted(context, {
      name,
      batch: active,
      rows,
      k,
      n,
      flops: (2 * routed * elements) / expertTp,
      weightDtype: step.formats.expertWeights,
      resident: residentOf(context, role),
    });
  return [
    weighted(context, {
      name: 'router',
      rows: localTokens,
      k: hidden,
      n: mlp.experts,
      flops: share(context, hidden * mlp.experts, tp),
      // Routing is sensitive: it stays in the format of the activations.
      dtype: step.formats.activations,
      weightDtype: step.formats.activations,
    }),
    elementwise(context, 'routing', 'softmax', localTokens, mlp.experts),
    // All tokens are where they are: nothing to gather.
    ...(step.experts === 'all' ? [] : [elementwise(context, 'gather of copies', 'embedding', copies, hidden)]),
    exchange({ ...send, name: 'dispatch' }),
    exchange({ ...spread, name: 'copies over etp', forward: 'all-gather', backward: 'reduce-scatter' }),
    expert('experts up', hidden, ways * own, ways * hidden * mlp.ffn, 'before-epilogue'),
    elementwise(
      context,
      'experts activation',
      activationOperator(mlp.gated, mlp.activation),
      active * rows,
      own,
      'epilogue',
    ),
    expert('experts down', own, hidden, hidden * mlp.ffn, 'after-epilogue'),
    exchange({ ...spread, name: 'results over etp', forward: 'reduce-scatter', backward: 'all-gather' }),
    exchange({ ...send, name: 'combine' }),
    elementwise(context, 'sum of copies', 'add', copies, hidden),
  ];
}
