/**
 * The ways to carry a collective out on a group, prepared: the schedule of each phase with the ranks that run it, and the
 * phase's rounds for the formula. What depends neither on the bytes nor on the engine's constants, the shape, is found once
 * for the wires and kept with them.
 *
 * In one node a plan is one schedule. Over several nodes it is hierarchical: inside the nodes, and between the ranks at the
 * same place in them, all places at once; a small group is also tried as one flat group.
 */
import type { Bytes } from '../base/units.ts';
import type { Cluster } from '../fabric/cluster.ts';
import { buildSchedule } from './build.ts';
import { type Candidate, candidatesFor, ELEMENTS_PER_RANK } from './candidates.ts';
import type { RankGroup } from './cost.ts';
import type { CollectiveEngine } from './engine.ts';
import { PhaseClock, type PhaseRun } from './execute.ts';
import { nodeKinds, placeGroup, wholeGroups } from './placement.ts';
import { profileSteps, type Round, roundOf, type StepProfile } from './rounds.ts';
import { type InterAlgorithm, interRequirement, interRounds } from './scale-out.ts';
import type { Collective, Schedule } from './schedule.ts';
import { type ScheduleTemplate, templateSchedule } from './template.ts';
import { Wires } from './wires.ts';

interface ShapePhase {
  readonly level: 'inside' | 'between';
  readonly schedule: () => Schedule;
  /** Groups that run it side by side, for each kind of node; the kinds do not meet. */
  readonly places: () => readonly (readonly Int32Array[])[];
  readonly bytesPerElement: number;
}

/** A plan without numbers of the engine. */
export interface PlanShape {
  /** `ring`; of hierarchies `hierarchical(mesh, ring)`: inside, then between. */
  readonly name: string;
  readonly algorithm: string;
  /** Whether a switch adds on the way. */
  readonly usesSwitch: boolean;
  readonly crossesNetwork: boolean;
  readonly phases: readonly ShapePhase[];
  /** Profiles of the phases inside nodes, for each kind of node: the first kind, and all of them. */
  readonly inside: () => readonly StepProfile[];
  readonly insides: () => readonly (readonly StepProfile[])[];
  /** What runs between nodes, in closed form. */
  readonly between: {
    readonly algorithm: InterAlgorithm;
    readonly nodes: number;
    /** Of the collective's size, that a rank works on; and ranks of a chip that do. */
    readonly part: number;
    readonly perChip: number;
  } | null;
}

interface PlanPhase {
  readonly level: 'inside' | 'between';
  /** Runs it on one node of each kind: the run of the slowest. */
  readonly run: (bytes: Bytes, protocol: number, fidelity: 'flow' | 'event', holds: 0 | 1) => PhaseRun;
}

/** One way to carry a collective out, ready to be timed. */
export interface Plan {
  readonly name: string;
  readonly algorithm: string;
  readonly steps: number;
  /** Numbers of the engine's protocols that can carry it. */
  readonly protocols: readonly number[];
  readonly phases: readonly PlanPhase[];
  /** Rounds inside nodes, of the first kind of node; of every kind; and between nodes. */
  readonly inside: readonly Round[];
  readonly insides: () => readonly (readonly Round[])[];
  readonly between: readonly Round[];
}

/** Between one rank and itself. */
const NOTHING: PlanShape = {
  name: 'none',
  algorithm: 'none',
  usesSwitch: false,
  crossesNetwork: false,
  phases: [],
  inside: () => [],
  insides: () => [],
  between: null,
};
const INTER: readonly InterAlgorithm[] = ['ring', 'rdh', 'mesh', 'binomial-tree'];
/** Groups over several nodes are also tried as one flat group, if the ranks of those nodes are not more than this. */
const MAX_FLAT_RANKS = 256;

/** The plan of a shape with the numbers of an engine. */
export function tunePlan(shape: PlanShape, collective: Collective, wires: Wires, engine: CollectiveEngine): Plan {
  const { name, algorithm, phases, between } = shape;
  const rounds = (profiles: readonly StepProfile[]): Round[] => profiles.map((profile) => roundOf(profile, engine));
  const inside = rounds(shape.inside());
  const far = between
    ? interRounds(between.algorithm, collective, between.nodes, between.part, between.perChip, wires.cluster, engine)
    : [];
  return {
    name,
    algorithm,
    protocols: usableProtocols(shape, wires, engine),
    steps: [...inside, ...far].reduce((sum, { count }) => sum + count, 0),
    phases: phases.map((phase) => planPhase(phase, wires, engine)),
    inside,
    insides: once(() => shape.insides().map(rounds)),
    between: far,
  };
}

/** A plan with a switch that adds has the protocols of switches, any other those that its network carries. */
function usableProtocols(
  { usesSwitch, crossesNetwork }: PlanShape,
  { cluster }: Wires,
  { protocols }: CollectiveEngine,
): number[] {
  const isOrdered = !crossesNetwork || cluster.system.network?.ordered !== false;
  return protocols.flatMap(({ isSwitched, needsOrder }, i) =>
    isSwitched === usesSwitch && (isOrdered || !needsOrder) ? [i] : [],
  );
}

/** The clock of the first kind of node is kept; those of many other kinds would fill the memory. */
function planPhase(
  { level, schedule, places, bytesPerElement }: ShapePhase,
  wires: Wires,
  engine: CollectiveEngine,
): PlanPhase {
  const clockOf = (groups: readonly Int32Array[], on: Wires): PhaseClock =>
    new PhaseClock(schedule(), groups, bytesPerElement, on, engine);
  const first = once(() => clockOf(places()[0]!, wires));
  return {
    level,
    run(bytes, protocol, fidelity, holds) {
      let slowest = first().run(bytes, protocol, fidelity, holds);
      for (const groups of places().slice(1)) {
        const run = clockOf(groups, new Wires(wires.cluster)).run(bytes, protocol, fidelity, holds);
        if (run.time > slowest.time) slowest = run;
      }
      return slowest;
    },
  };
}

/**
 * The shapes for a group: `auto`'s candidates, or those of one algorithm; none if it is not defined there.
 */
export function shapePlans(
  collective: Collective,
  group: RankGroup,
  wires: Wires,
  library: CollectiveEngine['library'],
  wanted?: string,
): PlanShape[] {
  if (group.ranks === 1) return [NOTHING];
  const { cluster } = wires;
  const { nodes, perNode, perChip, inNode } = placeGroup(cluster, group);
  if (nodes === 1) {
    const places = placesOf(cluster, inNode);
    return candidatesFor(collective, inNode[0]!, perChip, cluster, library, wanted).map((candidate) =>
      insideShape(candidate, [collective], places, wires, false),
    );
  }
  const isHierarchical = wanted === undefined || wanted === 'hierarchical';
  const hierarchies = isHierarchical ? hierarchicalShapes(collective, group, wires, library) : [];
  const isSmall = nodes * cluster.chipsPerNode * cluster.ranksPerChip <= MAX_FLAT_RANKS;
  const groups = wanted !== 'hierarchical' && isSmall ? wholeGroups(cluster, group) : [];
  if (groups.length === 0) return hierarchies;
  const flat = candidatesFor(collective, groups[0]!, perChip, cluster, library, wanted)
    .filter(({ algorithm }) => algorithm !== 'hierarchical')
    .map((candidate) => insideShape(candidate, [collective], [groups], wires, true));
  // Nodes of different sizes are not defined: only a group too large to be flat is taken as if its last node were full.
  const isFlatOnly = group.ranks % perNode !== 0 || library === 'neuron-rings';
  return isFlatOnly && flat.length > 0 ? flat : [...flat, ...hierarchies];
}

/**
 * The shape of a user's schedule.
 * @throws RangeError if it is of another collective or number of ranks, or spans more nodes than are timed transfer by transfer
 */
export function templateShape(
  collective: Collective,
  group: RankGroup,
  template: ScheduleTemplate,
  wires: Wires,
): PlanShape {
  const { cluster } = wires;
  if (template.collective !== collective || template.ranks !== group.ranks) {
    const got = `${template.collective} of ${template.ranks}`;
    throw new RangeError(`"schedule" expected one of ${collective} of ${group.ranks} ranks, got ${got}`);
  }
  const { name, chunks } = template;
  const candidate = { name, algorithm: name, elements: chunks, schedule: () => templateSchedule(template, chunks) };
  const { nodes, inNode } = placeGroup(cluster, group);
  if (nodes === 1) return insideShape(candidate, [collective], placesOf(cluster, inNode), wires, false);
  const groups = wholeGroups(cluster, group);
  if (groups.length * group.ranks > MAX_FLAT_RANKS) {
    throw new RangeError(`"schedule" expected groups of at most ${MAX_FLAT_RANKS} ranks together over several nodes`);
  }
  return insideShape(candidate, [collective], [groups], wires, true);
}

/** The groups in one node of each kind, of the nodes in use. */
function placesOf(cluster: Cluster, inNode: readonly Int32Array[]): Int32Array[][] {
  const perNode = cluster.ranksPerChip * cluster.chipsPerNode;
  const used = Math.ceil(cluster.ranks / perNode);
  return nodeKinds(cluster)
    .filter((node) => node < used)
    .map((node) => inNode.map((members) => members.map((rank) => rank + node * perNode)));
}

function insideShape(
  candidate: Candidate,
  parts: readonly Collective[],
  places: readonly (readonly Int32Array[])[],
  wires: Wires,
  crossesNetwork: boolean,
): PlanShape {
  const { name, algorithm, elements } = candidate;
  const schedules = parts.map((part) => once(() => candidate.schedule(part)));
  const profile = (groups: readonly Int32Array[], on: Wires): StepProfile[] =>
    schedules.flatMap((schedule) => profileSteps(schedule(), groups, 1 / elements, on));
  const inside = once(() => profile(places[0]!, wires));
  return {
    name,
    algorithm,
    usesSwitch: algorithm === 'switch',
    crossesNetwork,
    phases: schedules.map((schedule) => ({
      level: 'inside',
      schedule,
      places: () => places,
      bytesPerElement: 1 / elements,
    })),
    inside,
    // Wires of their own, which are dropped: the paths of many kinds would fill the memory.
    insides: once(() => [inside(), ...places.slice(1).map((groups) => profile(groups, new Wires(wires.cluster)))]),
    between: null,
  };
}

function hierarchicalShapes(
  collective: Collective,
  group: RankGroup,
  wires: Wires,
  library: CollectiveEngine['library'],
): PlanShape[] {
  const { cluster } = wires;
  const { perNode, nodes, perChip, inNode } = placeGroup(cluster, group);
  const isReduced = ['all-reduce', 'all-gather', 'reduce-scatter'].includes(collective);
  // A switch that adds does both at once, one on the links up and the other on the links down.
  const partsOf = ({ algorithm }: Candidate): readonly Collective[] =>
    collective === 'all-reduce' && algorithm !== 'switch' ? ['reduce-scatter', 'all-gather'] : [collective];
  const first = collective === 'all-reduce' ? 'reduce-scatter' : collective;
  const part = isReduced ? 1 / perNode : 1;
  const { ranksPerChip, ranks } = cluster;
  const active = Math.min(ranksPerChip, ranks, (group.perNode ?? ranks) * group.stride);
  const places = placesOf(cluster, inNode);
  const insides =
    perNode === 1
      ? [NOTHING]
      : candidatesFor(first, inNode[0]!, perChip, cluster, library).map((candidate) =>
          insideShape(candidate, partsOf(candidate), places, wires, true),
        );
  const nodeSize = cluster.ranksPerChip * cluster.chipsPerNode;
  const columns = once(() => [
    inNode.flatMap((members) =>
      Array.from(members, (rank) => Int32Array.from({ length: nodes }, (_, node) => rank + node * nodeSize)),
    ),
  ]);
  const elements = nodes * ELEMENTS_PER_RANK;
  return INTER.filter((inter) => interRequirement(inter, collective, nodes) === null).flatMap((inter) => {
    const between: ShapePhase = {
      level: 'between',
      schedule: once(() => buildSchedule({ collective, algorithm: inter, ranks: nodes, elements })),
      places: columns,
      bytesPerElement: part / elements,
    };
    return insides.map((shape) => ({
      ...shape,
      name: `hierarchical(${shape.name}, ${inter})`,
      algorithm: 'hierarchical',
      crossesNetwork: true,
      phases: [...shape.phases, between],
      between: { algorithm: inter, nodes, part, perChip: active },
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
