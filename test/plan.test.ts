/** The search of training plans: what an evaluation of all finds, whichever way it is run. */
import { describe, expect, test } from 'vitest';
import { findSystem } from '../src/hardware/catalog.ts';
import { createCluster } from '../src/machine/cluster.ts';
import { modelSpec } from '../src/models/presets.ts';
import { StepBound } from '../src/workloads/plan/bound.ts';
import { searchResult } from '../src/workloads/plan/result.ts';
import { addUnit, NOTHING_FOUND, searchTraining, trainingSearch, UnitSearcher } from '../src/workloads/plan/search.ts';
import { emptyCost } from '../src/workloads/training/setup.ts';
import { StepModel } from '../src/workloads/training/step-model.ts';

const search = (system: string, model: string) =>
  trainingSearch(
    { model: modelSpec(model), cluster: createCluster(findSystem(system)), seq: 2048, globalBatch: 64 },
    {
      microBatch: [1, 2],
      interleave: [1, 2],
      cpMode: ['ring', 'all-to-all'],
      placement: ['tp-cp-dp-pp', 'tp-pp-cp-dp'],
      zero: [1, 3],
    },
  );

describe.each([
  ['dgx-h100', 'llama-3.1-8b'],
  ['dgx-b200', 'qwen3-30b-a3b'],
  ['trn1.32xlarge', 'llama-3.2-1b'],
])('on %s, of %s', (system, model) => {
  const found = search(system, model);
  const { setup, units, size } = found;
  const steps = searchTraining(found, 3);
  let state = NOTHING_FOUND;
  for (let next = steps.next(); !next.done; next = steps.next()) state = next.value;

  test('the best plans of the search are those of all plans, and no bound is above its plan', () => {
    const step = new StepModel(setup);
    const bound = new StepBound(step);
    const cost = emptyCost();
    const capacity = setup.cluster.system.chip.memory.capacity! / setup.cluster.ranksPerChip;
    const all: number[] = [];
    for (const plan of units.flatMap(({ plans }) => plans)) {
      step.evaluate(plan, cost);
      expect(bound.of(plan)).toBeLessThanOrEqual(cost.step * (1 + 1e-9));
      if (cost.memory.total <= capacity) all.push(cost.step);
    }
    expect(state.fitting).toBe(all.length);
    expect(state.best.map((ranked) => ranked.step)).toEqual(all.sort((a, b) => a - b).slice(0, 3));
    expect(size).toBeGreaterThan(100);
  });

  test('units in any order, by several searchers that know no limit, give the same plans; the second says why it lost', () => {
    const searchers = [new UnitSearcher(setup), new UnitSearcher(setup)];
    let other = NOTHING_FOUND;
    for (let unit = units.length - 1; unit >= 0; unit--) {
      other = addUnit(other, searchers[unit % 2]!.search(units[unit]!, unit, 3, Number.POSITIVE_INFINITY), 3);
    }
    expect(other.best).toEqual(state.best);
    const { plans, whySecondLost, complete } = searchResult(found, state);
    expect(complete).toBe(true);
    expect(plans[0]!.stepTimeNs).toBeLessThanOrEqual(plans[1]!.stepTimeNs);
    expect(whySecondLost).toMatch(/^the second takes [\d.]+ ms longer: more /);
  });
});
