/**
 * The plans that a search goes through: every combination of the axes that is possible for the job.
 *
 * | axis        | values unless given                                                                   |
 * |-------------|---------------------------------------------------------------------------------------|
 * | tp          | divisors of the ranks, at most the attention heads                                     |
 * | pp          | divisors of the rest, at most the layers                                               |
 * | cp          | divisors of the rest, at most 16, that leave 1024 positions                            |
 * | ep          | of a mixture: divisors of the experts                                                  |
 * | dp          | what is left                                                                           |
 * | micro-batch | 1, 2, 4, 8                                                                             |
 * | schedule    | all five; interleave: 2 to 10 chunks of equally many layers with `interleaved`         |
 * | recompute   | none, full; selective too where attention is not flash                                 |
 * | zero        | 0 to 3                                                                                 |
 * | placement   | tp-cp-dp-pp                                                                            |
 */
import { expectInteger, expectKnownKeys, expectOneOf } from '../../base/errors.ts';
import type { Shard, Step } from '../../models/graph.ts';
import { type PipelineSchedule, SCHEDULES } from '../../models/in-flight.ts';
import { parallelism } from '../../models/shard.ts';
import { layerCount } from '../../models/spec.ts';
import { whyNotPossible } from '../training/options.ts';
import { PLACEMENTS, type Placement } from '../training/placement.ts';
import { compactPlan, type StepPlan, type TrainingSetup } from '../training/setup.ts';

/** Values of the axes; those left out have the defaults of the table. */
export interface SpaceOptions {
  readonly tp?: readonly number[];
  readonly pp?: readonly number[];
  readonly cp?: readonly number[];
  readonly ep?: readonly number[];
  readonly microBatch?: readonly number[];
  readonly interleave?: readonly number[];
  readonly recompute?: readonly Step['recompute'][];
  readonly zero?: readonly number[];
  readonly schedule?: readonly PipelineSchedule[];
  readonly placement?: readonly Placement[];
  readonly cpMode?: readonly Shard['cpMode'][];
}

export type Space = Required<SpaceOptions>;

export const SPACE_AXES: readonly (keyof SpaceOptions)[] = [
  'tp',
  'pp',
  'cp',
  'ep',
  'microBatch',
  'interleave',
  'recompute',
  'zero',
  'schedule',
  'placement',
  'cpMode',
];
const MOST_CP = 16;
const LEAST_POSITIONS = 1024;
const MOST_CHUNKS = 10;
const USUAL_TP = 8;
/** More plans than this are not listed. */
const MOST_PLANS: number = 2 ** 22;

/** Divisors of n up to `most`, ascending. */
function divisors(n: number, most: number): number[] {
  const found: number[] = [];
  for (let d = 1; d <= Math.min(n, most); d++) if (n % d === 0) found.push(d);
  return found;
}

/** The axes of a job's space. @throws RangeError or TypeError for values that make no sense */
export function planSpace(setup: TrainingSetup, options: SpaceOptions = {}): Space {
  expectKnownKeys('space', options, SPACE_AXES);
  const { model, cluster, seq, flash } = setup;
  const { kinds } = model;
  const most = (of: (kind: (typeof kinds)[number]) => number) =>
    kinds.reduce((max, kind) => Math.max(max, of(kind)), 1);
  const heads = most(({ attention }) => attention.heads);
  const experts = most(({ mlp }) => (mlp.kind === 'moe' ? mlp.experts : 1));
  const integers = (name: keyof SpaceOptions, given: readonly number[] | undefined, fallback: readonly number[]) =>
    (given ?? fallback).map((value) =>
      expectInteger(name, value, name === 'zero' ? 0 : 1, name === 'zero' ? 3 : 2 ** 24),
    );
  const names = <T extends string>(
    name: keyof SpaceOptions,
    given: readonly T[] | undefined,
    all: readonly T[],
    fallback: readonly T[],
  ) => (given ?? fallback).map((value) => expectOneOf(name, value, all));
  const recompute = ['none', 'selective', 'full'] as const;
  return {
    tp: integers('tp', options.tp, divisors(cluster.ranks, Math.min(heads, 4095))),
    pp: integers('pp', options.pp, divisors(cluster.ranks, layerCount(model))),
    cp: integers(
      'cp',
      options.cp,
      divisors(cluster.ranks, Math.min(MOST_CP, Math.max(1, Math.floor(seq / LEAST_POSITIONS)))),
    ),
    ep: integers('ep', options.ep, divisors(experts, cluster.ranks)),
    microBatch: integers('microBatch', options.microBatch, [1, 2, 4, 8]),
    interleave: integers(
      'interleave',
      options.interleave,
      Array.from({ length: MOST_CHUNKS }, (_, i) => i + 1),
    ),
    recompute: names('recompute', options.recompute, recompute, flash ? ['none', 'full'] : recompute),
    zero: integers('zero', options.zero, [0, 1, 2, 3]),
    schedule: names('schedule', options.schedule, SCHEDULES, SCHEDULES),
    placement: names('placement', options.placement, PLACEMENTS, ['tp-cp-dp-pp']),
    cpMode: names('cpMode', options.cpMode, ['ring', 'all-to-all'], ['ring']),
  };
}

/** Ways to cut the work, with the plans of each: what shares the tables of the step model. */
export interface Unit {
  /** Names the unit, the same in every run of the job. */
  readonly key: string;
  readonly plans: readonly StepPlan[];
}

/**
 * Every possible plan of the space, by unit: a combination of tp, cp, ep and micro-batch. Those that are often good come first:
 * a search that knows a good plan early skips more.
 * @throws RangeError if they are more than 2^22
 */
export function planUnits(setup: TrainingSetup, space: Space): Unit[] {
  const { ranks } = setup.cluster;
  const units: Unit[] = [];
  let total = 0;
  for (const tp of space.tp) {
    for (const cp of space.cp) {
      if (ranks % (tp * cp) !== 0) continue;
      for (const ep of space.ep) {
        if (ep % tp !== 0 && tp % ep !== 0) continue;
        for (const microBatch of space.microBatch) {
          const plans = unitPlans(setup, space, { tp, cp, ep, microBatch });
          total += plans.length;
          if (total > MOST_PLANS) throw new RangeError(`"space" expected at most ${MOST_PLANS} plans, got more`);
          if (plans.length > 0) units.push({ key: `tp${tp}-cp${cp}-ep${ep}-mb${microBatch}`, plans });
        }
      }
    }
  }
  const far = (tp: number): number => Math.max(tp / USUAL_TP, USUAL_TP / tp);
  return units.sort((a, b) => far(a.plans[0]!.tp) - far(b.plans[0]!.tp) || order(a) - order(b));
}

/** Small micro-batches leave most room for everything else. */
function order({ plans }: Unit): number {
  const { microBatch, cp } = plans[0]!;
  return microBatch * cp;
}

interface Cut {
  readonly tp: number;
  readonly cp: number;
  readonly ep: number;
  readonly microBatch: number;
}

function unitPlans(setup: TrainingSetup, space: Space, { tp, cp, ep, microBatch }: Cut): StepPlan[] {
  const { cluster, globalBatch, model } = setup;
  const layers = layerCount(model);
  const plans: StepPlan[] = [];
  for (const cpMode of cp === 1 ? space.cpMode.slice(0, 1) : space.cpMode) {
    const shard = parallelism({ tp, cp, ep, cpMode });
    for (const pp of space.pp) {
      const dp = cluster.ranks / (tp * cp * pp);
      const microBatches = globalBatch / (microBatch * dp);
      if (!Number.isInteger(dp) || !Number.isInteger(microBatches)) continue;
      // Without a pipeline all schedules are one, and so are all placements without replicas.
      const schedules = pp === 1 ? space.schedule.slice(0, 1) : space.schedule;
      for (const schedule of schedules) {
        for (const interleave of space.interleave) {
          const isCut = schedule === 'interleaved' && pp > 1;
          if (isCut ? interleave === 1 || layers % (pp * interleave) !== 0 : interleave !== 1) continue;
          for (const zero of dp * cp === 1 ? [0] : space.zero) {
            for (const recompute of space.recompute) {
              for (const placement of space.placement) {
                const plan = compactPlan({
                  ...shard,
                  pp,
                  dp,
                  zero: zero as StepPlan['zero'],
                  schedule: pp === 1 ? '1f1b' : schedule,
                  interleave,
                  microBatch,
                  microBatches,
                  recompute,
                  placement,
                });
                if (whyNotPossible(setup, plan) === null) plans.push(plan);
              }
            }
          }
        }
      }
    }
  }
  return plans;
}
