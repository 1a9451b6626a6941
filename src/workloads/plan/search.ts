/**
 * The search of a space of training plans: the `keep` plans of least step time that fit into memory, exactly those that an
 * evaluation of all finds.
 *
 * Units (plans that share tables) are searched one by one, by any number of searchers. In a unit, plans that do not fit are
 * dropped first, as memory needs no tables; the others are taken in the order of their lower bounds (`bound.ts`), until
 * the next bound is above the worst plan kept. Ties are broken by the order of the space, so that the outcome does not depend on
 * which unit came first.
 */
import type { Bytes, Seconds } from '../../base/units.ts';
import { rankCapacity, type TrainingJobOptions, trainingSetup } from '../training/options.ts';
import { emptyCost, type StepCost, type StepPlan, type TrainingSetup } from '../training/setup.ts';
import { StepModel } from '../training/step-model.ts';
import { StepBound } from './bound.ts';
import { planSpace, planUnits, type Space, type SpaceOptions, type Unit } from './space.ts';

/** A plan and where its time goes, in seconds. */
export interface RankedPlan {
  readonly plan: StepPlan;
  readonly step: Seconds;
  readonly work: Seconds;
  readonly bubble: Seconds;
  readonly gradients: Seconds;
  readonly weights: Seconds;
  readonly optimizer: Seconds;
  readonly host: Seconds;
  /** Of the fullest rank. */
  readonly memory: Bytes;
  /** Place in the space: unit, then plan. */
  readonly place: readonly [unit: number, plan: number];
}

export interface UnitResult {
  /** Plans of the unit that fit into memory. */
  readonly fitting: number;
  readonly evaluated: number;
  /** At most `keep`, best first; none that is worse than the limit given. */
  readonly best: readonly RankedPlan[];
}

/** Less time first, then the earlier place. */
function compareRanked(a: RankedPlan, b: RankedPlan): number {
  return a.step - b.step || a.place[0] - b.place[0] || a.place[1] - b.place[1];
}

/** The best `keep` of two lists that are in order. */
function mergeRanked(a: readonly RankedPlan[], b: readonly RankedPlan[], keep: number): RankedPlan[] {
  return [...a, ...b].sort(compareRanked).slice(0, keep);
}

/** Searches units of one job. Keeps the tables of the step model from unit to unit. */
export class UnitSearcher {
  readonly model: StepModel;
  readonly #bound: StepBound;
  readonly #capacity: Bytes;
  readonly #cost: StepCost = emptyCost();

  constructor(setup: TrainingSetup) {
    this.model = new StepModel(setup);
    this.#bound = new StepBound(this.model);
    this.#capacity = rankCapacity(setup.cluster);
  }

  #fits(plan: StepPlan): boolean {
    this.model.memory(plan, this.#cost.memory);
    return this.#cost.memory.total <= this.#capacity;
  }

  /**
   * The best plans of a unit, as far as they can be among the best `keep` of all.
   * @param limit step time of the worst plan kept so far; Infinity while there are fewer than `keep`
   */
  search({ plans }: Unit, unit: number, keep: number, limit: Seconds): UnitResult {
    const fitting = plans
      .map((plan, index) => ({ plan, index, bound: this.#fits(plan) ? this.#bound.of(plan) : Infinity }))
      .filter(({ bound }) => bound < Infinity)
      .sort((a, b) => a.bound - b.bound || a.index - b.index);
    let best: RankedPlan[] = [];
    let evaluated = 0;
    for (const { plan, index, bound } of fitting) {
      const worst = best.length < keep ? limit : Math.min(limit, best.at(-1)!.step);
      if (bound > worst) break;
      this.model.evaluate(plan, this.#cost);
      evaluated++;
      if (this.#cost.step <= worst) best = mergeRanked(best, [this.#ranked(plan, unit, index)], keep);
    }
    return { fitting: fitting.length, evaluated, best };
  }

  #ranked(plan: StepPlan, unit: number, index: number): RankedPlan {
    const { step, work, bubble, gradients, weights, optimizer, host, memory } = this.#cost;
    return {
      plan,
      step,
      work,
      bubble,
      gradients,
      weights,
      optimizer,
      host,
      memory: memory.total,
      place: [unit, index],
    };
  }
}

/** A space to search, and how many plans it has. */
export interface TrainingSearch {
  readonly setup: TrainingSetup;
  readonly space: Space;
  readonly units: readonly Unit[];
  readonly size: number;
}

/** @throws RangeError or TypeError for a wrong option */
export function trainingSearch(job: TrainingJobOptions, options: SpaceOptions = {}): TrainingSearch {
  const setup = trainingSetup(job);
  const space = planSpace(setup, options);
  const units = planUnits(setup, space);
  return { setup, space, units, size: units.reduce((sum, { plans }) => sum + plans.length, 0) };
}

/** What is known after some units. */
export interface SearchState {
  readonly units: number;
  readonly fitting: number;
  readonly evaluated: number;
  readonly best: readonly RankedPlan[];
}

export const NOTHING_FOUND: SearchState = { units: 0, fitting: 0, evaluated: 0, best: [] };

/** Adds the result of a unit. */
export function addUnit(state: SearchState, result: UnitResult, keep: number): SearchState {
  return {
    units: state.units + 1,
    fitting: state.fitting + result.fitting,
    evaluated: state.evaluated + result.evaluated,
    best: mergeRanked(state.best, result.best, keep),
  };
}

/** The step time that a plan has to reach to be kept. */
export function searchLimit({ best }: SearchState, keep: number): Seconds {
  return best.length < keep ? Infinity : best[keep - 1]!.step;
}

/** Searches unit after unit; yields what is known after each, so that the caller can stop. */
export function* searchTraining(
  { setup, units }: TrainingSearch,
  keep: number = 10,
): Generator<SearchState, SearchState> {
  const searcher = new UnitSearcher(setup);
  let state = NOTHING_FOUND;
  for (const [index, unit] of units.entries()) {
    state = addUnit(state, searcher.search(unit, index, keep, searchLimit(state, keep)), keep);
    yield state;
  }
  return state;
}
