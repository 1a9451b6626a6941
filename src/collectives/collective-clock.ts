/**
 * The formula clock: what a collective costs a group of ranks on a cluster, by straight lines in its bytes.
 *
 *     time = start + the rounds of the algorithm                       (`rounds.ts`: inside a node, from the schedule itself;
 *            with host timing: max(launch, time)                        `scale-out.ts`: between nodes, in closed form)
 *            called by a framework: dispatch + time
 *
 * Several nodes: hierarchical, inside the nodes and between the ranks at the same place in them, all places at once. Where
 * the library cuts the data into chunks that follow each other through the levels, the slower level's bandwidth counts.
 * Everything that does not depend on the bytes is found once for a group and an algorithm, and kept.
 */
import { expectInteger, expectOneOf, ModelError } from '../base/errors.ts';
import type { Bytes, Seconds } from '../base/units.ts';
import type { Cluster } from '../fabric/cluster.ts';
import { type Constants, fittedConstants } from '../hardware/fitted.ts';
import { collectiveAlgorithms } from './algorithms/registry.ts';
import { candidatesFor } from './candidates.ts';
import type { CollectiveCase, CollectiveClock, CollectiveCost, RankGroup } from './cost.ts';
import { type CollectiveEngine, collectiveEngine } from './engine.ts';
import { busFactor } from './formula.ts';
import { placeGroup, wholeGroups } from './placement.ts';
import { measureRounds, type Round, roundsTime } from './rounds.ts';
import { type InterAlgorithm, interRequirement, interRounds } from './scale-out.ts';
import { COLLECTIVES, type Collective } from './schedule.ts';
import { Wires } from './wires.ts';

/** One way to carry a collective out, ready to be timed. */
export interface Plan {
  readonly name: string;
  readonly algorithm: string;
  readonly steps: number;
  /** Whether a switch adds on the way. */
  readonly usesSwitch: boolean;
  /** What runs inside nodes, and between them; one of the two may be empty. */
  readonly inside: readonly Round[];
  readonly between: readonly Round[];
}

export interface PlanCost {
  readonly plan: Plan;
  readonly protocol: string;
  readonly time: Seconds;
}

/** Between one rank and itself. */
const NOTHING: Plan = { name: 'none', algorithm: 'none', steps: 0, usesSwitch: false, inside: [], between: [] };
const INTER: readonly InterAlgorithm[] = ['ring', 'rdh', 'mesh', 'binomial-tree'];
/** Groups over several nodes are also tried as one flat group, if the ranks of those nodes are not more than this. */
const MAX_FLAT_RANKS = 1024;

export class CollectiveModel {
  readonly cluster: Cluster;
  readonly engine: CollectiveEngine;
  readonly wires: Wires;
  readonly #plans = new Map<string, readonly Plan[]>();

  constructor(cluster: Cluster, constants: Constants = fittedConstants()) {
    this.cluster = cluster;
    this.engine = collectiveEngine(cluster, constants);
    this.wires = new Wires(cluster, this.engine);
  }

  /** Reduction on a switch has no flags in its data: it synchronises by chunks, with the last protocol. */
  #firstProtocol({ usesSwitch }: Plan): number {
    return usesSwitch ? this.engine.protocols.length - 1 : 0;
  }

  /** Every plan for the case, with the protocol that suits its size best. */
  candidates(request: CollectiveCase): PlanCost[] {
    const { bytes } = request;
    return this.plans(request).map((plan) => {
      let best: PlanCost | undefined;
      this.engine.protocols.forEach((protocol, index) => {
        if (index < this.#firstProtocol(plan)) return;
        const time = this.#time(plan, bytes, index);
        if (best === undefined || time < best.time) best = { plan, protocol: protocol.name, time };
      });
      return best!;
    });
  }

  cost(request: CollectiveCase): CollectiveCost {
    const { collective, bytes, group, timing = 'device' } = request;
    if (!(bytes >= 0 && bytes < Number.POSITIVE_INFINITY))
      throw new RangeError(`"bytes" expected a number >= 0, got ${bytes}`);
    const plans = this.plans(request);
    let least = Number.POSITIVE_INFINITY;
    let winner: Plan | undefined;
    for (let i = 0; i < plans.length; i++) {
      for (let protocol = this.#firstProtocol(plans[i]!); protocol < this.engine.protocols.length; protocol++) {
        const time = this.#time(plans[i]!, bytes, protocol);
        if (time < least) {
          least = time;
          winner = plans[i];
        }
      }
    }
    if (winner === undefined) throw new ModelError('UNSUPPORTED', collective, 'expected an algorithm for it, got none');
    const { launch, dispatch } = this.engine;
    const time = timing === 'device' ? least : timing === 'host' ? Math.max(launch, least) : dispatch + least;
    const algorithmBandwidth = time === 0 ? 0 : bytes / time;
    return {
      time,
      algorithm: winner.name,
      algorithmBandwidth,
      busBandwidth: algorithmBandwidth * busFactor(collective, group.ranks),
    };
  }

  plans({ collective, group, algorithm = 'auto' }: CollectiveCase): readonly Plan[] {
    const key = `${collective} ${group.ranks} ${group.stride} ${group.perNode ?? ''} ${algorithm}`;
    const known = this.#plans.get(key);
    if (known !== undefined) return known;
    this.#check(collective, group, algorithm);
    const plans = this.#prepare(collective, group, algorithm === 'auto' ? undefined : algorithm);
    if (plans.length === 0) {
      const wanted = algorithm === 'auto' ? 'an algorithm' : algorithm;
      const what = `${collective} over ${group.ranks} ranks of ${this.cluster.system.id}`;
      throw new RangeError(`"algorithm" expected one that is defined for ${what}, got ${wanted}`);
    }
    this.#plans.set(key, plans);
    return plans;
  }

  #check(collective: Collective, { ranks, stride, perNode }: RankGroup, algorithm: string): void {
    expectOneOf('collective', collective, COLLECTIVES);
    expectInteger('ranks', ranks, 1, this.cluster.ranks);
    expectInteger('stride', stride, 1);
    const { ranksPerChip, chipsPerNode } = this.cluster;
    if (perNode !== undefined) expectInteger('perNode', perNode, 1, Math.floor((ranksPerChip * chipsPerNode) / stride));
    if ((ranks - 1) * stride >= this.cluster.ranks) {
      throw new RangeError(
        `"stride" expected a group within ${this.cluster.ranks} ranks, got ${ranks} at stride ${stride}`,
      );
    }
    expectOneOf('algorithm', algorithm, ['auto', ...collectiveAlgorithms().map(({ name }) => name)]);
  }

  #prepare(collective: Collective, group: RankGroup, wanted: string | undefined): Plan[] {
    if (group.ranks === 1) return [NOTHING];
    const { perNode, nodes, perChip, inNode } = placeGroup(this.cluster, group);
    const { library } = this.engine;
    if (nodes === 1) {
      const candidates = candidatesFor(collective, inNode[0]!, perChip, this.cluster, library, wanted);
      return candidates.map((candidate) => this.#inside(candidate, [collective], inNode, 1));
    }
    const isSmall = nodes * this.cluster.chipsPerNode * this.cluster.ranksPerChip <= MAX_FLAT_RANKS;
    const flat = wanted !== 'hierarchical' && isSmall ? this.#flat(collective, group, perChip, wanted) : [];
    if (wanted !== undefined && wanted !== 'hierarchical') return flat;
    return [...flat, ...this.#hierarchies(collective, nodes, perNode, perChip, inNode)];
  }

  /** One schedule over all ranks of the group, with every group beside it. */
  #flat(collective: Collective, group: RankGroup, perChip: number, wanted?: string): Plan[] {
    const groups = wholeGroups(this.cluster, group);
    if (groups.length === 0) return [];
    return candidatesFor(collective, groups[0]!, perChip, this.cluster, this.engine.library, wanted)
      .filter(({ algorithm }) => algorithm !== 'hierarchical')
      .map((candidate) => this.#inside(candidate, [collective], groups, 1));
  }

  #inside(
    candidate: ReturnType<typeof candidatesFor>[number],
    parts: readonly Collective[],
    groups: readonly Int32Array[],
    share: number,
  ): Plan {
    let steps = 0;
    const inside = parts.flatMap((part) => {
      const schedule = candidate.schedule(part);
      steps += schedule.steps;
      return measureRounds(schedule, groups, share / candidate.elements, this.wires);
    });
    const { name, algorithm } = candidate;
    return { name, algorithm, steps, usesSwitch: algorithm === 'switch', inside, between: [] };
  }

  #hierarchies(
    collective: Collective,
    nodes: number,
    perNode: number,
    perChip: number,
    inNode: readonly Int32Array[],
  ): Plan[] {
    const inParts: readonly Collective[] =
      collective === 'all-reduce' ? ['reduce-scatter', 'all-gather'] : [collective];
    const pieces = ['all-reduce', 'all-gather', 'reduce-scatter'].includes(collective) ? 1 / perNode : 1;
    const { library } = this.engine;
    const insides =
      perNode === 1
        ? [NOTHING]
        : candidatesFor(inParts[0]!, inNode[0]!, perChip, this.cluster, library).map((candidate) =>
            this.#inside(candidate, inParts, inNode, 1),
          );
    return INTER.filter((inter) => interRequirement(inter, collective, nodes) === null).flatMap((inter) => {
      const between = interRounds(inter, collective, nodes, pieces, this.wires);
      const steps = between.reduce((sum, { count }) => sum + count, 0);
      return insides.map((plan) => ({
        name: `hierarchical(${plan.name}, ${inter})`,
        algorithm: 'hierarchical',
        steps: plan.steps + steps,
        usesSwitch: plan.usesSwitch,
        inside: plan.inside,
        between,
      }));
    });
  }

  #time({ inside, between }: Plan, bytes: Bytes, index: number): Seconds {
    const { protocols, overlapsPhases } = this.engine;
    const protocol = protocols[index]!;
    if (inside.length + between.length === 0) return 0;
    const near = roundsTime(inside, bytes, protocol, index);
    const far = roundsTime(between, bytes, protocol, index);
    if (!overlapsPhases || inside.length === 0 || between.length === 0) return protocol.start + near + far;
    // Both levels' latencies, and the bandwidth of the slower one.
    const nearLatency = roundsTime(inside, 0, protocol, index);
    const farLatency = roundsTime(between, 0, protocol, index);
    return protocol.start + nearLatency + farLatency + Math.max(near - nearLatency, far - farLatency);
  }
}

/** Times collectives on a cluster by closed forms. Remembers what it has prepared. */
export function collectiveClock(cluster: Cluster, constants?: Constants): CollectiveClock {
  const model = new CollectiveModel(cluster, constants);
  return (request) => model.cost(request);
}
