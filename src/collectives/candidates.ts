/**
 * The algorithms among which `auto` chooses: those that the library of the machine has, and that are defined for the
 * collective, the number of ranks and the fabric. Each is a name, and how its schedule is built for a placed group.
 *
 * Neuron's library has ring, KangaRing, mesh, single-step mesh, RDH and hierarchies of them, NVIDIA's has rings, double
 * binary trees of one rank a node (inside a node they are a chain, as a ring is) and, on one switch, NVLS; MSCCL++ has
 * exchanges with all peers at once. see: docs/collectives.md. What the libraries do not have (a broadcast on Trainium), any
 * algorithm may serve.
 */
import type { Cluster } from '../fabric/cluster.ts';
import { collectiveAlgorithms, findAlgorithm } from './algorithms/registry.ts';
import { buildSchedule, type ScheduleOptions, whyNot } from './build.ts';
import type { CollectiveEngine } from './engine.ts';
import { cubeOrder, ringOrders } from './placement.ts';
import type { Collective, Schedule } from './schedule.ts';

export interface Candidate {
  /** `ring`, or of a hierarchy `hierarchical(mesh, rdh)`: inside, then between. */
  readonly name: string;
  readonly algorithm: string;
  /** Elements of the collective's size in its schedules. */
  readonly elements: number;
  /** The schedule of one group, of `elements` elements unless told otherwise. */
  readonly schedule: (collective: Collective, elements?: number) => Schedule;
}

/** For each rank, in schedules that are measured: enough that halves, thirds and slices come out even. */
export const ELEMENTS_PER_RANK: number = 3 * 2 ** 10;

const REDUCTIONS: readonly Collective[] = ['all-reduce', 'all-gather', 'reduce-scatter'];
const NOT_IN_LIBRARY: Readonly<Record<CollectiveEngine['library'], readonly string[]>> = {
  neuron: ['double-binary-tree', 'binomial-tree', 'switch'],
  'neuron-rings': ['double-binary-tree', 'binomial-tree', 'switch', 'mesh', 'single-step-mesh', 'rdh', 'kangaring'],
  nccl: ['mesh', 'single-step-mesh', 'rdh', 'kangaring', 'bidirectional-ring', 'pairwise'],
  mscclpp: ['double-binary-tree', 'binomial-tree', 'rdh', 'kangaring', 'bidirectional-ring', 'pairwise'],
};
function isUnusual(collective: Collective, name: string, library: CollectiveEngine['library']): boolean {
  // A ring would carry every block through half the ranks.
  if (collective === 'all-to-all') return name.endsWith('ring');
  return REDUCTIONS.includes(collective) && NOT_IN_LIBRARY[library].includes(name);
}
/** A ring through all nodes is the ring of the whole group, so it is the same candidate. */
const OTHER_NAMES: readonly string[] = ['flat-ring', 'hierarchical'];

/** Transfers of all its steps that an algorithm has in the order of the square of the ranks; only up to this many. */
const MAX_PAIRS = 2 ** 17;
const ALL_PAIRS: readonly string[] = ['mesh', 'single-step-mesh', 'pairwise'];

/** Slices in flight: one for little data, many for much. */
const SLICES: Readonly<Record<string, readonly number[]>> = {
  'double-binary-tree': [1, 8, 64],
  switch: [1, 8, 64],
};

/**
 * The candidates for groups of `members` that lie in one node or in several.
 * @param wanted an algorithm by name; only it, whether the library has it or not
 */
export function candidatesFor(
  collective: Collective,
  members: Int32Array,
  perChip: number,
  cluster: Cluster,
  library: CollectiveEngine['library'],
  wanted?: string,
): Candidate[] {
  const p = members.length;
  const found: Candidate[] = [];
  const add = (name: string, options: Partial<ScheduleOptions>): void => {
    const algorithm = options.algorithm ?? name;
    found.push({
      name,
      algorithm,
      elements: p * ELEMENTS_PER_RANK,
      schedule: (part, elements = p * ELEMENTS_PER_RANK) =>
        buildSchedule({ ...request(part, p, elements), ...options, algorithm, collective: part, ranks: p }),
    });
  };
  for (const algorithm of collectiveAlgorithms()) {
    const { name } = algorithm;
    if (OTHER_NAMES.includes(name) || (wanted !== undefined && name !== wanted)) continue;
    if (whyNot(algorithm, collective, p, {}) !== null) continue;
    if (wanted === undefined && isUnusual(collective, name, library)) continue;
    if (wanted === undefined && !isPlacedWell(name, members, cluster, library)) continue;
    if (ALL_PAIRS.includes(name) && p * p > MAX_PAIRS) continue;
    if (name === 'switch' && !hangsOnOneSwitch(cluster, members)) continue;
    // Pairs are neighbours in the order of the ring: they share a chip if each chip has an even number of ranks.
    if (name === 'kangaring' && perChip % 2 !== 0) continue;
    const orders = ordersOf(name, members, perChip, cluster);
    for (const slices of SLICES[name] ?? [undefined])
      add(name, { ...(orders && { orders }), ...(slices !== undefined && { slices }) });
  }
  if (library === 'neuron-rings') return found;
  if (wanted === undefined || wanted === 'hierarchical') addChipHierarchies(collective, members, perChip, cluster, add);
  return found;
}

/** Whether the library uses the algorithm for ranks so placed. */
function isPlacedWell(
  name: string,
  members: Int32Array,
  { chipOf, chipsPerNode }: Cluster,
  library: CollectiveEngine['library'],
): boolean {
  const nodeOf = (rank: number): number => Math.floor(chipOf(rank) / chipsPerNode);
  const isInNodes = nodeOf(members[0]!) === nodeOf(members[1]!);
  if (name === 'double-binary-tree') return !isInNodes;
  // A ring through all nodes: Neuron's library has left it for hierarchies.
  const isFlat = isInNodes && nodeOf(members[0]!) !== nodeOf(members.at(-1)!);
  return !(isFlat && library === 'neuron' && name.endsWith('ring'));
}

/** Inside the chip in one step, and between the ranks at the same place on their chips. */
function addChipHierarchies(
  collective: Collective,
  members: Int32Array,
  perChip: number,
  cluster: Cluster,
  add: (name: string, options: Partial<ScheduleOptions>) => void,
): void {
  const p = members.length;
  if (perChip === 1 || p === perChip || p % perChip !== 0) return;
  const chips = p / perChip;
  const intra = 'mesh';
  // A ring would carry every block of an all-to-all through half the chips.
  for (const inter of collective === 'all-to-all' ? ['mesh'] : ['mesh', 'rdh', 'ring']) {
    const options = { groupSize: perChip, intra: findAlgorithm('intra', intra), inter: findAlgorithm('inter', inter) };
    if (whyNot(findAlgorithm('algorithm', 'hierarchical'), collective, p, options) !== null) continue;
    const firsts = members.filter((_, position) => position % perChip === 0);
    const interOrders = chips === 1 ? undefined : ordersOf(inter, firsts, 1, cluster);
    add(`hierarchical(${intra}, ${inter})`, {
      algorithm: 'hierarchical',
      groupSize: perChip,
      intra,
      inter,
      ...(interOrders && { interOrders }),
    });
  }
}

/** Orders that make neighbours of an algorithm neighbours in the fabric. */
function ordersOf(name: string, members: Int32Array, perChip: number, cluster: Cluster): Int32Array[] | undefined {
  if (name === 'kangaring') return ringOrders(cluster, members).flatMap((order) => [order, swapPairs(order)]);
  if (name.endsWith('ring')) return ringOrders(cluster, members);
  if (name !== 'rdh' || cluster.scaleUp.fabric.type !== 'torus') return undefined;
  const chips = cubeOrder(cluster, members);
  if (chips.length * perChip !== members.length) return undefined;
  // The ranks of a chip are the lowest bits.
  return [Int32Array.from(members, (_, corner) => chips[Math.floor(corner / perChip)]! * perChip + (corner % perChip))];
}

/** With primary and partner of each pair exchanged: over both orders each rank works for half of the data. */
function swapPairs(order: Int32Array): Int32Array {
  return order.map((_, i) => order[i ^ 1]!);
}

/** The data of a schedule; neighbours for point-to-point. */
function request(collective: Collective, p: number, elements: number): Partial<ScheduleOptions> {
  if (collective === 'barrier') return {};
  if (collective === 'send-recv') return { elements, pairs: p > 1 ? [[0, 1]] : [] };
  if (collective === 'permute') {
    return { elements, pairs: Array.from({ length: p > 1 ? p : 0 }, (_, i): [number, number] => [i, (i + 1) % p]) };
  }
  return { elements };
}

/** Whether the members are alone on their chips, in one node, and its fabric one switch that reduces. */
function hangsOnOneSwitch({ scaleUp, chipsPerNode, ranksPerChip, chipOf }: Cluster, members: Int32Array): boolean {
  const { fabric } = scaleUp;
  const nodeOf = (rank: number): number => Math.floor(chipOf(rank) / chipsPerNode);
  return (
    ranksPerChip === 1 &&
    nodeOf(members[0]!) === nodeOf(members.at(-1)!) &&
    fabric.type === 'switched' &&
    fabric.levels.length === 1 &&
    fabric.levels[0]!.reduces
  );
}
