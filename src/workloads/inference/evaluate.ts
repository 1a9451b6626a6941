/**
 * One inference plan evaluated: time to the first token, time per output token, tokens per second.
 *
 *     static       ttft = prefill of the batch;  tpot = mean of decode(batch, context) over the output / tokens a step
 *     continuous   ttft = prefill of one prompt; tpot = that mean + (B - 1) prefills / output: while a sequence makes its
 *                  `output` tokens, each of the other B - 1 of its replica is replaced once, and its prefill interrupts
 *
 * Leaves out: the queue before the prefill, and lengths that differ (see the simulator of request streams).
 */
import type { Seconds } from '../../base/units.ts';
import { addBreakdown, emptyBreakdown, type StepBreakdown, scaledTo } from './breakdown.ts';
import { type InferencePlan, replicaBatch } from './plan.ts';
import { tokensPerStep } from './speculation.ts';
import { decodeTime, prefillTime, StepClock } from './steps.ts';
import type { InferenceTables } from './tables.ts';

export interface InferenceTime {
  readonly ttft: Seconds;
  readonly tpot: Seconds;
  /** From the first prompt's arrival to the last token of the batch. */
  readonly total: Seconds;
  /** Generated tokens of all replicas per second, prefills included. */
  readonly tokensPerSecond: number;
  /** What `ttft`, and `tpot` without `interruption`, consist of. */
  readonly prefill: Readonly<StepBreakdown>;
  readonly decode: Readonly<StepBreakdown>;
  /** Seconds of each token in which prefills of other sequences run. */
  readonly interruption: Seconds;
  /** Tokens of a sequence that a decode step yields. */
  readonly tokensPerStep: number;
}

/** Points of Simpson's rule over the output: decode time is close to a straight line in the context. */
const SIMPSON = [
  [0, 1 / 6],
  [1 / 2, 4 / 6],
  [1, 1 / 6],
] as const;

/** The model of the plan and its draft, ready to be timed. */
export interface InferenceClocks {
  readonly target: StepClock;
  readonly draft: StepClock | null;
}

export function inferenceClocks(plan: InferencePlan, tables: InferenceTables): InferenceClocks {
  const { speculation } = plan;
  return {
    target: new StepClock(tables, plan),
    draft: speculation && new StepClock(tables, { ...plan, pp: 1, speculation: null }, speculation.draft),
  };
}

/** Prompts of `tokens` tokens of `sequences` sequences, draft model included. */
export function prefill(
  { target, draft }: InferenceClocks,
  plan: InferencePlan,
  sequences: number,
  tokens: number,
  breakdown: StepBreakdown = emptyBreakdown(),
): Seconds {
  const time = prefillTime(target, plan, sequences, tokens, breakdown);
  if (draft === null) return time;
  return time + prefillTime(draft, { ...plan, pp: 1 }, sequences, tokens, breakdown);
}

/** One decode step of `sequences` sequences at `context` positions; with speculation the draft's steps and the check. */
export function decodeStep(
  { target, draft }: InferenceClocks,
  plan: InferencePlan,
  sequences: number,
  context: number,
  breakdown?: StepBreakdown,
  weight: number = 1,
): Seconds {
  const { speculation } = plan;
  if (speculation === null || draft === null) {
    return decodeTime(target, plan, sequences, context, 1, breakdown, weight);
  }
  const { draftTokens, fused } = speculation;
  const check = decodeTime(target, plan, sequences, context + draftTokens, draftTokens + 1, breakdown, weight);
  const step = draft.decode(Math.max(sequences, plan.compiled?.batch ?? 1), context);
  const host = fused ? 0 : draft.host(sequences);
  if (breakdown !== undefined) {
    addBreakdown(breakdown, step.breakdown, weight * draftTokens);
    breakdown.host += weight * draftTokens * host;
  }
  return check + draftTokens * (step.loop + host);
}

/**
 * Times of a plan.
 * @throws ModelError UNSUPPORTED for what the clocks or the graphs do not model
 */
export function evaluateInference(
  plan: InferencePlan,
  tables: InferenceTables,
  clocks: InferenceClocks = inferenceClocks(plan, tables),
): InferenceTime {
  const { input, output, serving, speculation, batch } = plan;
  const sequences = replicaBatch(plan);
  const isContinuous = serving === 'continuous';
  const prefillParts = emptyBreakdown();
  const ttft = prefill(clocks, plan, isContinuous ? 1 : sequences, input, prefillParts);

  const yielded = speculation === null ? 1 : tokensPerStep(speculation.draftTokens, speculation.acceptance);
  const decode = emptyBreakdown();
  let step = 0;
  for (const [at, weight] of SIMPSON) {
    const context = input + 1 + Math.round(at * (output - 1));
    step += weight * decodeStep(clocks, plan, sequences, context, decode, weight / yielded);
  }
  const interruption = isContinuous ? ((sequences - 1) * ttft) / output : 0;
  const tpot = step / yielded + interruption;
  const total = ttft + (output - 1) * tpot;
  // In the steady state of continuous serving every sequence is prefilled once an output, its own included.
  const tokensPerSecond = isContinuous
    ? batch / (step / yielded + (sequences * ttft) / output)
    : (batch * output) / total;
  return {
    ttft,
    tpot,
    total: isContinuous ? (batch * output) / tokensPerSecond : total,
    tokensPerSecond,
    prefill: scaledTo(prefillParts, ttft),
    decode: scaledTo(decode, step / yielded),
    interruption,
    tokensPerStep: yielded,
  };
}
