/** What all parts of a layer's graph share: sizes on one rank, number formats, and what the software keeps on chip. */
import type { Bytes, Flops } from '../base/units.ts';
import type { OperandFormat, OperatorCase, OperatorName } from '../core/operator-case.ts';
import { FORMAT_BYTES } from '../core/operator-work.ts';
import {
  type Exchange,
  type LinearOptions,
  linear,
  type Part,
  type PointwiseOptions,
  pointwise,
  type Resident,
} from './builder.ts';
import type { Dimension, Phase, Shard, Step } from './graph.ts';
import type { ModelSpec } from './spec.ts';

export interface Context {
  readonly model: ModelSpec;
  readonly shard: Shard;
  readonly step: Step;
  readonly phase: 'training' | 'prefill' | 'decode';
  /** Positions of a sequence on this rank's part of it (context parallelism), padded. */
  readonly seqQ: number;
  /** Rows of the tensor-parallel group: sequences x seqQ; and what a rank holds between the cut matrices. */
  readonly tokens: number;
  readonly localTokens: number;
  /** Rows of the group without padding. */
  readonly usefulTokens: number;
}

export function contextOf(model: ModelSpec, shard: Shard, step: Step, phase: Phase): Context {
  const isTraining = phase !== 'prefill' && phase !== 'decode';
  // In decode context parallelism cuts the cache, not the new tokens.
  const ways = phase === 'decode' ? 1 : shard.cp;
  const seqQ = Math.ceil(step.seqQ / ways);
  const tokens = step.sequences * seqQ;
  return {
    model,
    shard,
    step,
    phase: isTraining ? 'training' : phase,
    seqQ,
    tokens,
    localTokens: shard.sp ? Math.ceil(tokens / shard.tp) : tokens,
    usefulTokens: (step.sequences * step.seqQ) / ways,
  };
}

/**
 * Whether a residual sum and a norm can join the matmul after them: no collective between, no backward pass, RMSNorm, and
 * operands of 16 bits at least, as narrower ones are quantised between norm and matmul.
 */
export function fusesNorm({ model, shard, step, phase }: Context): boolean {
  const isWide = FORMAT_BYTES[step.formats.compute] >= 2;
  return step.software !== 'compiler' && phase !== 'training' && model.norm === 'rmsnorm' && !shard.sp && isWide;
}

/**
 * Operands of an operator that stay on chip. `role`: what stands beside it. An `epilogue` works on the result of the
 * matmul before it, whose input gradient then reads what was written; `neighbour`s are those matmuls.
 */
export function residentOf(
  { step: { software }, phase }: Context,
  role: 'matmul' | 'before-epilogue' | 'after-epilogue' | 'epilogue' | 'pointwise',
): Resident {
  if (software === 'compiler') return [];
  const isPointwise = role === 'epilogue' || role === 'pointwise';
  if (software === 'megakernel') return isPointwise ? ['a', 'b', 'c'] : ['a', 'c'];
  if (phase === 'training') return role === 'epilogue' ? ['a', 'b'] : [];
  if (role === 'epilogue') return ['a', 'b', 'c'];
  if (role === 'before-epilogue') return ['c'];
  return role === 'after-epilogue' ? ['a'] : [];
}

type WeightOptions = Pick<LinearOptions, 'name' | 'rows' | 'k' | 'n' | 'flops'> &
  Partial<Pick<LinearOptions, 'batch' | 'resident' | 'fused' | 'gather' | 'weightDtype' | 'dtype'>>;

/** A product with weights, in the formats of the step. */
export function weighted(context: Context, options: WeightOptions): Part {
  const { formats } = context.step;
  return linear({
    dtype: formats.compute,
    weightDtype: formats.weights,
    outDtype: formats.activations,
    gradientDtype: formats.gradients,
    resident: residentOf(context, 'matmul'),
    ...options,
  });
}

export function elementwise(
  context: Context,
  name: string,
  op: PointwiseOptions['op'],
  rows: number,
  cols: number,
  role: 'epilogue' | 'pointwise' = 'pointwise',
): Part {
  return pointwise({
    name,
    op,
    rows,
    cols,
    dtype: context.step.formats.activations,
    resident: residentOf(context, role),
  });
}

export function norm(context: Context, name: string): Part {
  return elementwise(context, name, context.model.norm, context.localTokens, context.model.hidden);
}

export function activationBytes({ step }: Context, elements: number): Bytes {
  return elements * FORMAT_BYTES[step.formats.activations];
}

/**
 * The conjugate exchanges around matrices cut over tp (Megatron's f and g). Into them: with sequence parallelism the
 * tokens are gathered, and the gradients reduced and scattered; without, the gradients are summed. Out of them the reverse.
 */
export function enter(context: Context, name: string, width: number): Exchange {
  const { sp } = context.shard;
  return tensorExchange(context, name, width, sp ? 'all-gather' : null, sp ? 'reduce-scatter' : 'all-reduce');
}

export function leave(context: Context, name: string): Exchange {
  const { sp } = context.shard;
  const { hidden } = context.model;
  return tensorExchange(context, name, hidden, sp ? 'reduce-scatter' : 'all-reduce', sp ? 'all-gather' : null);
}

function tensorExchange(
  context: Context,
  name: string,
  width: number,
  forward: Exchange['forward'],
  backward: Exchange['backward'],
): Exchange {
  return {
    ...onWire(context, 'tp', context.shard.tp),
    name,
    bytes: activationBytes(context, context.tokens * width),
    forward,
    backward,
  };
}

export function onWire(
  context: Context,
  dimension: Dimension,
  ranks: number,
): Pick<Exchange, 'dimension' | 'ranks' | 'dtype'> {
  return { dimension, ranks, dtype: context.step.formats.activations };
}

/** The gather that weight gradients repeat: only sequence parallelism keeps the input cut. */
export function regathered(context: Context, entry: Exchange): { gather?: Exchange } {
  return context.shard.sp ? { gather: entry } : {};
}

/** 2 x tokens x matrix, this rank's share of the useful operations of a matrix cut `ways` ways. */
export function share(context: Context, elements: number, ways: number): Flops {
  return (2 * context.usefulTokens * elements) / ways;
}

/** The element-wise operator of an activation; those that the engines have no own operator for cost as GELU does. */
export function activationOperator(
  gated: boolean,
  activation: string,
): Extract<OperatorName, 'swiglu' | 'silu' | 'gelu'> {
  if (gated) return 'swiglu';
  return activation === 'silu' ? 'silu' : 'gelu';
}

/** The storage of a second operand, where it is narrower than the first. */
export function narrower(stored: OperandFormat, dtype: OperandFormat): Pick<OperatorCase, 'weightDtype'> {
  return FORMAT_BYTES[stored] < FORMAT_BYTES[dtype] ? { weightDtype: stored } : {};
}
