/**
 * The ways to carry a collective out on a group, prepared: the schedule of each phase with the ranks that run it, and the
 * phase's rounds for the formula. All that does not depend on the bytes is done here, once.
 *
 * In one node a plan is one schedule. Over several nodes it is hierarchical: inside the nodes, and between the ranks at the
 * same place in them, all places at once; a small group is also tried as one flat group.
 */
import type { Cluster } from '../fabric/cluster.ts';
import { buildSchedule } from './build.ts';
import { type Candidate, candidatesFor, ELEMENTS_PER_RANK } from './candidates.ts';
import type { RankGroup } from './cost.ts';
import { PhaseClock } from './execute.ts';
import { nodeKinds, placeGroup, wholeGroups } from './placement.ts';
import { measureRounds, type Round } from './rounds.ts';
import { type InterAlgorithm, interRequirement, interRounds } from './scale-out.ts';
import type { Collective } from './schedule.ts';
import type { Wires } from './wires.ts';

export interface PlanPhase {
  readonly level: 'inside' | 'between';
  /** Its clocks, one for each kind of node; the kinds do not meet. Made when first asked for. */
  readonly clocks: () => readonly PhaseClock[];
}

/** One way to carry a collective out, ready to be timed. */
export interface Plan {
  /** `ring`; of hierarchies `hierarchical(mesh, ring)`: inside, then between. */
  readonly name: string;
  readonly algorithm: string;
  readonly steps: number;
  /** Whether a switch adds on the way. */
  readonly usesSwitch: boolean;
  readonly phases: readonly PlanPhase[];
  /**
   * What runs inside nodes: of the first kind of node, and of every kind, which is measured when first asked for. Empty where
   * a node has one rank of the group.
   */
  readonly inside: readonly Round[];
  readonly insides: () => readonly (readonly Round[])[];
  /** What runs between nodes; empty in one node. */
  readonly between: readonly Round[];
}

/** Between one rank and itself. */
const NOTHING: Plan = {
  name: 'none',
  algorithm: 'none',
  steps: 0,
  usesSwitch: false,
  phases: [],
  inside: [],
  insides: () => [],
  between: [],
};
const INTER: readonly InterAlgorithm[] = ['ring', 'rdh', 'mesh', 'binomial-tree'];
/** Groups over several nodes are also tried as one flat group, if the ranks of those nodes are not more than this. */
const MAX_FLAT_RANKS = 1024;

/**
 * The plans for a group, `auto`'s candidates or those of one algorithm; none if it is not defined there.
 */
export function preparePlans(collective: Collective, group: RankGroup, wires: Wires, wanted?: string): Plan[] {
  if (group.ranks === 1) return [NOTHING];
  const { cluster, engine } = wires;
  const { perNode, nodes, perChip, inNode } = placeGroup(cluster, group);
  if (nodes === 1) {
    const places = placesOf(cluster, inNode);
    return candidatesFor(collective, inNode[0]!, perChip, cluster, engine.library, wanted).map((candidate) =>
      insidePlan(candidate, [collective], places, wires),
    );
  }
  const isHierarchical = wanted === undefined || wanted === 'hierarchical';
  const hierarchies = isHierarchical ? hierarchicalPlans(collective, nodes, perNode, perChip, inNode, wires) : [];
  const isSmall = nodes * cluster.chipsPerNode * cluster.ranksPerChip <= MAX_FLAT_RANKS;
  const groups = wanted !== 'hierarchical' && isSmall ? wholeGroups(cluster, group) : [];
  if (groups.length === 0) return hierarchies;
  const flat = candidatesFor(collective, groups[0]!, perChip, cluster, engine.library, wanted)
    .filter(({ algorithm }) => algorithm !== 'hierarchical')
    .map((candidate) => insidePlan(candidate, [collective], [groups], wires));
  return [...flat, ...hierarchies];
}

/** The groups in one node of each kind, of the nodes in use. */
function placesOf(cluster: Cluster, inNode: readonly Int32Array[]): Int32Array[][] {
  const perNode = cluster.ranksPerChip * cluster.chipsPerNode;
  const used = Math.ceil(cluster.ranks / perNode);
  return nodeKinds(cluster)
    .filter((node) => node < used)
    .map((node) => inNode.map((members) => members.map((rank) => rank + node * perNode)));
}

function insidePlan(
  candidate: Candidate,
  parts: readonly Collective[],
  places: readonly (readonly Int32Array[])[],
  wires: Wires,
): Plan {
  const { name, algorithm, elements } = candidate;
  const measured = parts.map((part) => candidate.schedule(part));
  const measure = (groups: readonly Int32Array[]): Round[] =>
    measured.flatMap((schedule) => measureRounds(schedule, groups, 1 / elements, wires));
  const inside = measure(places[0]!);
  return {
    name,
    algorithm,
    steps: measured.reduce((sum, { steps }) => sum + steps, 0),
    usesSwitch: algorithm === 'switch',
    phases: measured.map((schedule) => ({
      level: 'inside',
      clocks: once(() => places.map((groups) => new PhaseClock(schedule, groups, 1 / elements, wires))),
    })),
    inside,
    insides: once(() => [inside, ...places.slice(1).map(measure)]),
    between: [],
  };
}

function hierarchicalPlans(
  collective: Collective,
  nodes: number,
  perNode: number,
  perChip: number,
  inNode: readonly Int32Array[],
  wires: Wires,
): Plan[] {
  const { cluster, engine } = wires;
  const isReduced = ['all-reduce', 'all-gather', 'reduce-scatter'].includes(collective);
  const inParts: readonly Collective[] = collective === 'all-reduce' ? ['reduce-scatter', 'all-gather'] : [collective];
  const part = isReduced ? 1 / perNode : 1;
  const places = placesOf(cluster, inNode);
  const insides =
    perNode === 1
      ? [NOTHING]
      : candidatesFor(inParts[0]!, inNode[0]!, perChip, cluster, engine.library).map((candidate) =>
          insidePlan(candidate, inParts, places, wires),
        );
  const nodeSize = cluster.ranksPerChip * cluster.chipsPerNode;
  const columns = (): Int32Array[] =>
    inNode.flatMap((members) =>
      Array.from(members, (rank) => Int32Array.from({ length: nodes }, (_, node) => rank + node * nodeSize)),
    );
  const elements = nodes * ELEMENTS_PER_RANK;
  return INTER.filter((inter) => interRequirement(inter, collective, nodes) === null).flatMap((inter) => {
    const between = interRounds(inter, collective, nodes, part, wires);
    const steps = between.reduce((sum, { count }) => sum + count, 0);
    const clocks = once(() => {
      const schedule = buildSchedule({ collective, algorithm: inter, ranks: nodes, elements });
      return [new PhaseClock(schedule, columns(), part / elements, wires)];
    });
    return insides.map((inside) => ({
      name: `hierarchical(${inside.name}, ${inter})`,
      algorithm: 'hierarchical',
      steps: inside.steps + steps,
      usesSwitch: inside.usesSwitch,
      phases: [...inside.phases, { level: 'between', clocks }],
      inside: inside.inside,
      insides: inside.insides,
      between,
    }));
  });
}

function once<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => {
    made ??= make();
    return made;
  };
}
