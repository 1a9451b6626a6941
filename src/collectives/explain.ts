/**
 * Why a collective takes as long as it does: the plans that were compared, the formula of each with its numbers, what made
 * one win, and the steps of the winner. Plain data; `report/collective.ts` prints it.
 */
import type { Bytes, BytesPerSecond, Seconds } from '../base/units.ts';
import { collectiveAlgorithms } from './algorithms/registry.ts';
import type { CollectiveModel, PlanCost } from './collective-clock.ts';
import type { CollectiveCase } from './cost.ts';
import type { Round } from './rounds.ts';

export interface ExplainedRound {
  readonly level: 'inside' | 'between';
  /** Equal steps, and transfers that a rank starts in each at most. */
  readonly steps: number;
  readonly peers: number;
  readonly latency: Seconds;
  /** The collective's size over the time that its bytes take in one step. */
  readonly rate: BytesPerSecond;
}

export interface ExplainedPlan {
  readonly name: string;
  readonly summary: string;
  readonly protocol: string;
  readonly steps: number;
  readonly time: Seconds;
  readonly start: Seconds;
  readonly rounds: readonly ExplainedRound[];
  /** Of the time at this size: start, latencies, bytes. */
  readonly latencyShare: number;
}

export interface Explanation {
  /** Fastest first. */
  readonly plans: readonly ExplainedPlan[];
  readonly reason: string;
}

export function explainCollective(model: CollectiveModel, request: CollectiveCase): Explanation {
  const costs = model.candidates(request);
  const plans = costs.map((cost) => explainPlan(model, cost));
  return { plans, reason: reasonOf(plans, request.bytes) };
}

function explainPlan(model: CollectiveModel, { plan, protocol, time }: PlanCost): ExplainedPlan {
  const index = model.engine.protocols.findIndex(({ name }) => name === protocol);
  const { start, efficiency } = model.engine.protocols[index]!;
  const describe =
    (level: 'inside' | 'between') =>
    ({ count, peers, latency, gap }: Round): ExplainedRound => ({
      level,
      steps: count,
      peers,
      latency: latency[index]!,
      rate: gap === 0 ? Number.POSITIVE_INFINITY : efficiency / gap,
    });
  const kinds = plan.insides();
  // Of the kinds of nodes the one that most bytes wait for.
  const slowest = kinds.reduce((worst, rounds) => (totalGap(rounds) > totalGap(worst) ? rounds : worst), plan.inside);
  const rounds = [...slowest.map(describe('inside')), ...plan.between.map(describe('between'))];
  const latency = start + rounds.reduce((sum, round) => sum + round.steps * round.latency, 0);
  return {
    name: plan.name,
    summary: summaryOf(plan.algorithm),
    protocol,
    steps: plan.steps,
    time,
    start,
    rounds,
    latencyShare: time === 0 ? 0 : Math.min(1, latency / time),
  };
}

function summaryOf(algorithm: string): string {
  if (algorithm === 'none') return 'one rank: nothing moves';
  return collectiveAlgorithms().find(({ name }) => name === algorithm)?.summary ?? 'a schedule from a file';
}

function totalGap(rounds: readonly Round[]): number {
  return rounds.reduce((sum, { count, gap }) => sum + count * gap, 0);
}

/** The winner against the second: fewer steps where latency rules, less for the fullest link where the bytes do. */
function reasonOf([best, second]: readonly ExplainedPlan[], bytes: Bytes): string {
  if (best === undefined || second === undefined) return 'there is no other';
  const ahead = second.time / best.time - 1;
  const percent = `${(100 * ahead).toFixed(1)} %`;
  if (ahead < 1e-3) return `${best.name} is as fast as ${second.name}, and listed first`;
  const bytesOf = (plan: ExplainedPlan): Seconds => plan.rounds.reduce((sum, r) => sum + (r.steps * bytes) / r.rate, 0);
  const fewerBytes = bytesOf(second) - bytesOf(best);
  const lessLatency = second.time - best.time - fewerBytes;
  const cause =
    fewerBytes >= lessLatency
      ? 'its bytes take less time on the fullest resource of a step'
      : `it has ${best.steps} steps where the other has ${second.steps}, and less latency`;
  return `${best.name} is ${percent} faster than ${second.name}: ${cause}`;
}
