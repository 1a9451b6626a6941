/**
 * The algorithms among which `auto` chooses: those that the library of the machine has, and that are defined for the
 * collective, the number of ranks and the fabric. Each is a name, and how its schedule is built for a placed group.
 *
 * Neuron's library has ring, KangaRing, mesh, single-step mesh, RDH and hierarchies of them, NVIDIA's has rings, double
 * binary trees and, on one switch, NVLS. see: docs/collectives.md. What the libraries do not have (a broadcast on
 * Trainium), any algorithm may serve.
 */
import type { Cluster } from '../fabric/cluster.ts';
import { findAlgorithm, collectiveAlgorithms } from './algorithms/registry.ts';
import { buildSchedule, type ScheduleOptions, whyNot } from './build.ts';
import type { CollectiveEngine } from './engine.ts';
import { type Placement, ringPositions } from './placement.ts';
import type { Collective, Schedule } from './schedule.ts';

export interface Candidate {
  /** `ring`, or of a hierarchy `hierarchical(mesh, rdh)`: inside, then between. */
  readonly name: string;
  readonly algorithm: string;
  /** Elements of the collective's size in `schedule`. */
  readonly elements: number;
  /** The schedule of one group. */
  readonly schedule: (collective: Collective) => Schedule;
}

/** Elements for each rank in schedules that are only measured: enough that halves, thirds and slices come out even. */
const ELEMENTS_PER_RANK = 3 * 2 ** 10;

const REDUCTIONS: readonly Collective[] = ['all-reduce', 'all-gather', 'reduce-scatter'];
const NOT_IN_LIBRARY: Readonly<Record<CollectiveEngine['library'], readonly string[]>> = {
  neuron: ['double-binary-tree', 'binomial-tree', 'switch', 'bidirectional-ring'],
  nccl: ['mesh', 'single-step-mesh', 'rdh', 'kangaring', 'bidirectional-ring', 'pairwise'],
};
/** A ring through all nodes is the ring of the whole group, so it is the same candidate. */
const OTHER_NAMES: readonly string[] = ['flat-ring', 'hierarchical'];

/** Transfers of all its steps that an algorithm has in the order of the square of the ranks; only up to this many. */
const MAX_PAIRS = 2 ** 18;
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
      schedule: (part) => buildSchedule({ ...request(part, p), ...options, algorithm, collective: part, ranks: p }),
    });
  };
  for (const algorithm of collectiveAlgorithms()) {
    const { name } = algorithm;
    if (OTHER_NAMES.includes(name) || (wanted !== undefined && name !== wanted)) continue;
    if (whyNot(algorithm, collective, p, {}) !== null) continue;
    const isUnusual = REDUCTIONS.includes(collective) && NOT_IN_LIBRARY[library].includes(name);
    if (wanted === undefined && isUnusual) continue;
    if (ALL_PAIRS.includes(name) && p * p > MAX_PAIRS) continue;
    if (name === 'switch' && !hangsOnOneSwitch(cluster, perChip)) continue;
    // Pairs are neighbours in the order of the ring: they share a chip if each chip has an even number of ranks.
    if (name === 'kangaring' && perChip % 2 !== 0) continue;
    const orders = name.endsWith('ring') ? { orders: [ringPositions(cluster, members)] } : {};
    for (const slices of SLICES[name] ?? [undefined]) add(name, { ...orders, ...(slices !== undefined && { slices }) });
  }
  if (wanted === undefined || wanted === 'hierarchical') addChipHierarchies(collective, p, perChip, add);
  return found;
}

/** Inside the chip in one step, and between the ranks at the same place on their chips. */
function addChipHierarchies(
  collective: Collective,
  p: number,
  perChip: number,
  add: (name: string, options: Partial<ScheduleOptions>) => void,
): void {
  if (perChip === 1 || p === perChip || p % perChip !== 0) return;
  const intra = 'mesh';
  for (const inter of ['mesh', 'rdh', 'ring']) {
    const options = { groupSize: perChip, intra: findAlgorithm('intra', intra), inter: findAlgorithm('inter', inter) };
    if (whyNot(findAlgorithm('algorithm', 'hierarchical'), collective, p, options) !== null) continue;
    add(`hierarchical(${intra}, ${inter})`, { algorithm: 'hierarchical', groupSize: perChip, intra, inter });
  }
}

/** The data of a schedule that is measured: even parts; neighbours for point-to-point. */
function request(collective: Collective, p: number): Partial<ScheduleOptions> {
  if (collective === 'barrier') return {};
  const elements = p * ELEMENTS_PER_RANK;
  if (collective === 'send-recv') return { elements, pairs: p > 1 ? [[0, 1]] : [] };
  if (collective === 'permute') {
    return { elements, pairs: Array.from({ length: p > 1 ? p : 0 }, (_, i): [number, number] => [i, (i + 1) % p]) };
  }
  return { elements };
}

function hangsOnOneSwitch({ scaleUp, nodes }: Cluster, perChip: number): boolean {
  const { fabric } = scaleUp;
  return nodes === 1 && perChip === 1 && fabric.type === 'switched' && fabric.levels.length === 1;
}

/** The ranks of a group whose first rank is `start`. */
export function membersFrom(start: number, ranks: number, stride: number): Int32Array {
  return Int32Array.from({ length: ranks }, (_, i) => start + i * stride);
}

export type { Placement };
