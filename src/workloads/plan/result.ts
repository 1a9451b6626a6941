/** The outcome of a search of training plans, as JSON-safe data: ranked plans, and why the second best lost. */
import { modelFlops } from '../../models/flops.ts';
import { economics } from '../economics.ts';
import { multipliedFormat } from '../training/part-clock.ts';
import { emptyCost, type StepPlan, type TrainingSetup } from '../training/setup.ts';
import { StepModel } from '../training/step-model.ts';
import { breakdownOf, peakRate, type TrainingBreakdown } from '../training/train.ts';
import type { RankedPlan, SearchState, TrainingSearch } from './search.ts';
import type { Space } from './space.ts';

export interface PlanRow {
  readonly rank: number;
  readonly nodes: number;
  readonly plan: StepPlan;
  readonly stepTimeNs: number;
  readonly tokensPerS: number;
  readonly mfu: number | null;
  readonly memoryBytes: number;
  readonly bubbleNs: number;
  readonly costPerMTokUsd: number | null;
  readonly energyPerMTokJ: number | null;
}

export interface SearchResult {
  readonly system: string;
  readonly nodes: number;
  readonly ranks: number;
  readonly space: Space;
  /** Possible plans, those of them that fit into memory, and whether all were gone through. */
  readonly spaceSize: number;
  readonly fitting: number;
  readonly complete: boolean;
  readonly plans: readonly PlanRow[];
  /** In words; null with fewer than two plans. */
  readonly whySecondLost: string | null;
}

function rowOf(setup: TrainingSetup, ranked: RankedPlan, rank: number): PlanRow {
  const { cluster, seq, globalBatch, model } = setup;
  const tokens = seq * globalBatch;
  const peak = peakRate(cluster.system.chip, multipliedFormat(setup));
  const { energyJ, costUsd } = economics(cluster.system, cluster.nodes, ranked.step);
  const perMTok = (value: number | null) => (value === null ? null : (value / tokens) * 1e6);
  return {
    rank,
    nodes: cluster.nodes,
    plan: ranked.plan,
    stepTimeNs: ranked.step * 1e9,
    tokensPerS: tokens / ranked.step,
    mfu: peak === null ? null : modelFlops(model, globalBatch, seq).training / (ranked.step * cluster.chips * peak),
    memoryBytes: ranked.memory,
    bubbleNs: ranked.bubble * 1e9,
    costPerMTokUsd: perMTok(costUsd),
    energyPerMTokJ: perMTok(energyJ),
  };
}

const NAMES: Readonly<Record<keyof TrainingBreakdown, string>> = {
  computeNs: 'computing',
  tensorParallelNs: 'tensor parallelism',
  contextParallelNs: 'context parallelism',
  expertParallelNs: 'expert parallelism',
  stallNs: 'passes that wait for exchanges',
  bubbleNs: 'bubble and hops',
  gradientsNs: 'gradients',
  weightsNs: 'weights',
  optimizerNs: 'optimizer',
  hostNs: 'host',
};

/** Where the second plan spends more, largest first, and what it saves for it. */
function whyLost(setup: TrainingSetup, best: RankedPlan, second: RankedPlan): string {
  const model = new StepModel(setup);
  const cost = emptyCost();
  const times = [best, second].map(({ plan }) => {
    model.evaluate(plan, cost);
    return breakdownOf(model, plan, cost);
  });
  const keys = Object.keys(NAMES) as (keyof TrainingBreakdown)[];
  const differences = keys.map((key) => ({ key, ms: (times[1]![key] - times[0]![key]) / 1e6 }));
  const shown = (sign: number) =>
    differences
      .filter(({ ms }) => sign * ms > 0.005)
      .sort((a, b) => sign * (b.ms - a.ms))
      .slice(0, 3)
      .map(({ key, ms }) => `${NAMES[key]} ${Math.abs(ms).toFixed(2)} ms`)
      .join(', ');
  const total = ((second.step - best.step) * 1e3).toFixed(2);
  const [more, less] = [shown(1), shown(-1)];
  return `the second takes ${total} ms longer: more ${more || 'of nothing'}${less ? `; less ${less}` : ''}`;
}

export function searchResult(search: TrainingSearch, state: SearchState): SearchResult {
  const { setup, space, size, units } = search;
  const { system, nodes, ranks } = setup.cluster;
  const [best, second] = state.best;
  return {
    system: system.id,
    nodes,
    ranks,
    space,
    spaceSize: size,
    fitting: state.fitting,
    complete: state.units === units.length,
    plans: state.best.map((ranked, index) => rowOf(setup, ranked, index + 1)),
    whySecondLost: second === undefined ? null : whyLost(setup, best!, second),
  };
}

/** Rows that no other row beats in both throughput and cost per token; those without a price only by throughput. */
export function paretoFront(rows: readonly PlanRow[]): PlanRow[] {
  const price = ({ costPerMTokUsd }: PlanRow) => costPerMTokUsd ?? Infinity;
  const beats = (a: PlanRow, b: PlanRow) =>
    a.tokensPerS >= b.tokensPerS && price(a) <= price(b) && (a.tokensPerS > b.tokensPerS || price(a) < price(b));
  return rows.filter((row) => !rows.some((other) => beats(other, row))).sort((a, b) => b.tokensPerS - a.tokensPerS);
}
