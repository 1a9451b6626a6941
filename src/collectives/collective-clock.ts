/**
 * What a collective costs a group of ranks on a cluster: the plan with the least predicted time, timed by closed forms, by
 * flows or by events.
 *
 *     time = start + the phases of the plan; with host timing: max(launch, time); called by a framework: dispatch + time
 *
 * Where the library cuts the data into chunks that follow each other through the levels, the latencies of both levels count,
 * the slower one's bandwidth, and the other's for one chunk. The closed forms cost a microsecond once a group and algorithm are prepared: `rounds.ts` inside
 * a node, from the schedule itself, `scale-out.ts` between nodes. Flow and event run the schedules (`execute.ts`).
 */
import { expectInteger, expectOneOf, ModelError } from '../base/errors.ts';
import type { Bytes, Seconds } from '../base/units.ts';
import type { Cluster } from '../fabric/cluster.ts';
import { type Constants, fittedConstants } from '../hardware/fitted.ts';
import { collectiveAlgorithms } from './algorithms/registry.ts';
import type { CollectiveCase, CollectiveClock, CollectiveCost, RankGroup } from './cost.ts';
import { type CollectiveEngine, type CollectiveLibrary, collectiveEngine } from './engine.ts';
import { type Fidelity, type PhaseRun, type ResourceUse, resourceUses } from './execute.ts';
import { busFactor } from './formula.ts';
import { type Plan, type PlanShape, shapePlans, templateShape, tunePlan } from './plans.ts';
import { roundsTime } from './rounds.ts';
import { COLLECTIVES, type Collective } from './schedule.ts';
import type { ScheduleTemplate } from './template.ts';
import { Wires } from './wires.ts';

/** A plan, and how long it takes with the protocol that suits its size best. */
export interface PlanCost {
  readonly plan: Plan;
  readonly protocol: string;
  readonly time: Seconds;
}

export interface CollectiveTiming extends CollectiveCost {
  readonly fidelity: Fidelity;
  readonly protocol: string;
  readonly steps: number;
  /** Links, memories and channels, longest busy first; empty for the formula. */
  readonly resources: readonly ResourceUse[];
}

/** What models of the same wires share. */
const shapes = new WeakMap<Wires, Map<string, readonly PlanShape[]>>();

/** Above this many transfers the phase between nodes is timed as classes of links. */
const MAX_EXPLICIT = 2 ** 19;

export class CollectiveModel {
  readonly cluster: Cluster;
  readonly engine: CollectiveEngine;
  readonly wires: Wires;
  /** All wait for the rank that begins last. */
  readonly #late: Seconds;
  /** Whether nodes differ: some have faults. */
  readonly #hasKinds: boolean;
  readonly #plans = new Map<string, readonly Plan[]>();
  readonly #templates = new WeakMap<ScheduleTemplate, Map<string, readonly Plan[]>>();

  /**
   * @param wires of the same cluster, where another model has prepared what does not depend on the constants
   * @param library the machine's own if left out
   */
  constructor(
    cluster: Cluster,
    constants: Constants = fittedConstants(),
    wires: Wires = new Wires(cluster),
    library?: CollectiveLibrary,
  ) {
    this.cluster = cluster;
    this.engine = collectiveEngine(cluster, constants, library);
    this.wires = wires;
    this.#hasKinds = cluster.faultyNodes.size + cluster.slowChips.size > 0;
    this.#late = Array.from(cluster.lateRanks.values()).reduce((most, late) => Math.max(most, late), 0);
  }

  /** By the closed forms. */
  cost(request: CollectiveCase): CollectiveCost {
    expectBytes(request.bytes);
    const plans = this.plans(request);
    if (this.#hasKinds) {
      const [{ plan, time }] = this.candidates(request) as [PlanCost];
      return this.#answer(request, plan, time);
    }
    let least = Number.POSITIVE_INFINITY;
    let winner = plans[0]!;
    for (let i = 0; i < plans.length; i++) {
      const { protocols } = plans[i]!;
      for (let p = 0; p < protocols.length; p++) {
        const time = this.#atLeast(plans[i]!, request, protocols[p]!);
        if (time < least) {
          least = time;
          winner = plans[i]!;
        }
      }
    }
    return this.#answer(request, winner, least);
  }

  /** By the fidelity asked for, with what every link did. The plan is the one of the closed forms. */
  time(request: CollectiveCase, fidelity: Fidelity): CollectiveTiming {
    expectBytes(request.bytes);
    const [best] = this.candidates(request);
    const { plan, protocol } = best!;
    const index = this.engine.protocols.findIndex(({ name }) => name === protocol);
    const runs: PhaseRun[] = [];
    let { time } = best!;
    if (fidelity !== 'formula' && request.bytes > 0 && plan.phases.length > 0) {
      time = this.#run(plan, request, index, fidelity, runs);
    }
    return {
      ...this.#answer(request, plan, time),
      fidelity,
      protocol,
      steps: plan.steps,
      resources: resourceUses(runs, time, this.engine),
    };
  }

  /**
   * Every plan for the case, fastest first. Where nodes differ, a plan takes at least as long as on the first kind of node: all
   * kinds are measured only for the plans that could be the fastest.
   */
  candidates(request: CollectiveCase): PlanCost[] {
    const { protocols } = this.engine;
    const costs = this.plans(request).map((plan) => {
      const times = plan.protocols.map((protocol) => this.#atLeast(plan, request, protocol));
      const time = times.reduce((least, each) => Math.min(least, each));
      const index = plan.protocols[times.indexOf(time)]!;
      return { plan, protocol: protocols[index]!.name, time, index };
    });
    const byTime = (a: PlanCost, b: PlanCost): number => a.time - b.time;
    costs.sort(byTime);
    if (this.#hasKinds) {
      let least = Number.POSITIVE_INFINITY;
      for (const cost of costs) {
        if (cost.time >= least) break;
        cost.time = this.#formula(cost.plan, request, cost.index);
        least = Math.min(least, cost.time);
      }
      costs.sort(byTime);
    }
    return costs;
  }

  /**
   * The plans for the case, prepared on the first call.
   * @throws RangeError if the group is not in the cluster, or no algorithm, or not the one asked for, is defined for it
   */
  plans({ collective, group, algorithm = 'auto', template }: CollectiveCase): readonly Plan[] {
    if (template !== undefined) return this.#templatePlans(collective, group, template);
    const key = `${collective} ${group.ranks} ${group.stride} ${group.perNode ?? ''} ${algorithm}`;
    const known = this.#plans.get(key);
    if (known !== undefined) return known;
    this.#check(collective, group, algorithm);
    const plans = this.#shapes(key, collective, group, algorithm).map((shape) =>
      tunePlan(shape, collective, this.wires, this.engine),
    );
    if (plans.length === 0) {
      const wanted = algorithm === 'auto' ? 'none' : algorithm;
      const what = `${collective} over ${group.ranks} ranks of ${this.cluster.system.id}`;
      throw new RangeError(`"algorithm" expected one that is defined for ${what}, got ${wanted}`);
    }
    this.#plans.set(key, plans);
    return plans;
  }

  #templatePlans(collective: Collective, group: RankGroup, template: ScheduleTemplate): readonly Plan[] {
    const key = `${collective} ${group.ranks} ${group.stride} ${group.perNode ?? ''}`;
    const ofTemplate = this.#templates.get(template) ?? new Map<string, readonly Plan[]>();
    this.#templates.set(template, ofTemplate);
    let plans = ofTemplate.get(key);
    if (plans === undefined) {
      this.#check(collective, group, 'auto');
      const shape = templateShape(collective, group, template, this.wires);
      plans = [tunePlan(shape, collective, this.wires, this.engine)];
      ofTemplate.set(key, plans);
    }
    return plans;
  }

  #shapes(key: string, collective: Collective, group: RankGroup, algorithm: string): readonly PlanShape[] {
    const ofWires = shapes.get(this.wires) ?? new Map<string, readonly PlanShape[]>();
    shapes.set(this.wires, ofWires);
    const wanted = algorithm === 'auto' ? undefined : algorithm;
    const found = ofWires.get(key) ?? shapePlans(collective, group, this.wires, this.engine.library, wanted);
    ofWires.set(key, found);
    return found;
  }

  #check(collective: Collective, { ranks, stride, perNode }: RankGroup, algorithm: string): void {
    const { cluster } = this;
    expectOneOf('collective', collective, COLLECTIVES);
    expectOneOf('algorithm', algorithm, ['auto', ...collectiveAlgorithms().map(({ name }) => name)]);
    expectInteger('ranks', ranks, 1, cluster.ranks);
    expectInteger('stride', stride, 1);
    const nodeSize = cluster.ranksPerChip * cluster.chipsPerNode;
    if (ranks > 1 && this.engine.channel === 0) {
      const { id } = cluster.system.chip;
      throw new ModelError('UNSUPPORTED', id, 'expected a chip whose DMA bandwidth is published, got none');
    }
    if (perNode !== undefined) expectInteger('perNode', perNode, 1, Math.floor(nodeSize / stride));
    if ((ranks - 1) * stride >= cluster.ranks) {
      throw new RangeError(`"stride" expected a group within ${cluster.ranks} ranks, got ${ranks} at stride ${stride}`);
    }
  }

  #answer(
    { collective, bytes, group, timing = 'device' }: CollectiveCase,
    plan: Plan,
    device: Seconds,
  ): CollectiveCost {
    const { launch, dispatch } = this.engine;
    const time = timing === 'device' ? device : timing === 'host' ? Math.max(launch, device) : dispatch + device;
    // A barrier moves flags, whatever the size.
    const algorithmBandwidth = time === 0 || collective === 'barrier' ? 0 : bytes / time;
    const busBandwidth = algorithmBandwidth * busFactor(collective, group.ranks);
    return { time, algorithm: plan.name, algorithmBandwidth, busBandwidth };
  }

  /** On the first kind of node. */
  #atLeast({ inside, between }: Plan, request: CollectiveCase, index: number): Seconds {
    if (inside.length + between.length === 0) return 0;
    const protocol = this.engine.protocols[index]!;
    const holds = areFull(request);
    const near = roundsTime(inside, request.bytes, protocol, index, holds);
    const far = roundsTime(between, request.bytes, protocol, index, holds);
    return this.#combine(near, far, inside, between, index, request.bytes);
  }

  /** On the slowest kind of node. */
  #formula({ insides, between }: Plan, request: CollectiveCase, index: number): Seconds {
    const protocol = this.engine.protocols[index]!;
    const holds = areFull(request);
    const far = roundsTime(between, request.bytes, protocol, index, holds);
    return insides().reduce((slowest, inside) => {
      const near = roundsTime(inside, request.bytes, protocol, index, holds);
      return Math.max(slowest, this.#combine(near, far, inside, between, index, request.bytes));
    }, 0);
  }

  /** Start and both levels, one after the other or overlapping. */
  #combine(
    near: Seconds,
    far: Seconds,
    inside: Plan['inside'],
    between: Plan['between'],
    index: number,
    bytes: Bytes,
  ): Seconds {
    const { pipelineChunk } = this.engine;
    const protocol = this.engine.protocols[index]!;
    const start = protocol.start + this.#late;
    if (pipelineChunk === null || bytes <= pipelineChunk || near === 0 || far === 0) return start + near + far;
    const nearLatency = roundsTime(inside, 0, protocol, index, 1);
    const farLatency = roundsTime(between, 0, protocol, index, 1);
    const nearBytes = near - nearLatency;
    const farBytes = far - farLatency;
    const hidden = Math.min(nearBytes, farBytes) * (1 - pipelineChunk / bytes);
    return start + near + far - hidden;
  }

  #run(
    { phases, inside, between }: Plan,
    request: CollectiveCase,
    index: number,
    fidelity: 'flow' | 'event',
    runs: PhaseRun[],
  ): Seconds {
    const protocol = this.engine.protocols[index]!;
    const { bytes } = request;
    const holds = areFull(request);
    const times = { inside: 0, between: 0 };
    for (const { level, run } of phases) {
      if (level === 'between' && this.#isTooLarge(between)) {
        times.between += roundsTime(between, bytes, protocol, index, holds);
        continue;
      }
      const result = run(bytes, index, fidelity, holds);
      runs.push(result);
      times[level] += result.time;
    }
    // Ranks that are late are inside the times already.
    return this.#combine(times.inside, times.between, inside, between, index, bytes) - this.#late;
  }

  /** Whether the rounds between nodes, of all ranks, are too many transfers to be run one by one. */
  #isTooLarge(between: Plan['between']): boolean {
    const { ranks } = this.cluster;
    const messages = between.reduce((sum, { count, peers }) => sum + count * peers, 0);
    return messages * ranks > MAX_EXPLICIT;
  }
}

/** 1 if there are elements for a chunk of each rank: else a ring is so empty that no message waits for the one before. */
function areFull({ bytes, elementBytes = 2, group }: CollectiveCase): 0 | 1 {
  return bytes >= elementBytes * group.ranks ? 1 : 0;
}

function expectBytes(bytes: Bytes): void {
  if (!(bytes >= 0 && bytes < Number.POSITIVE_INFINITY)) {
    throw new RangeError(`"bytes" expected a number >= 0, got ${bytes}`);
  }
}

/** Times collectives on a cluster by closed forms. Remembers what it has prepared. */
export function collectiveClock(cluster: Cluster, constants?: Constants): CollectiveClock {
  const model = new CollectiveModel(cluster, constants);
  return (request) => model.cost(request);
}
