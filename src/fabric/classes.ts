/**
 * A cluster in classes: what its symmetry makes equal is one class with a number, so that a million chips are described
 * by as many rows as one node has kinds of links.
 *
 *     nodes      without faults; one class for each pattern of faults; a last node that is used in part
 *     links      in a node without faults: a torus dimension and direction (of a chain: also the place along it), a port
 *                of a switch level; every link by itself in a node with faults, whose detours make each of them different,
 *                and in a graph. In the network: a tier and direction; links with faults by themselves
 *     ranks      by the speed of their chip and their delay
 *
 * Classes hold for traffic that is regular itself: the same from every rank, relative to its place.
 * Leaves out: groups of switches that the last chips fill only in part; they are counted with the full ones.
 */
import type { BytesPerSecond, Seconds } from '../base/units.ts';
import { fabricSize } from '../hardware/fabric.ts';
import type { FabricSpec } from '../hardware/spec.ts';
import { closStage } from './clos.ts';
import { type Cluster, networkStart } from './cluster.ts';
import { clusterLinkName } from './names.ts';
import { innerGroupSize, linkName, type Topology } from './topology.ts';
import { isClosed } from './torus.ts';

/** Links that carry the same in regular traffic. */
export interface LinkClass {
  readonly name: string;
  readonly links: number;
  /** Of each, one direction, after faults. */
  readonly bandwidth: BytesPerSecond;
  readonly latency: Seconds;
}

/** Nodes with the same faults and as many chips in use. */
export interface NodeClass {
  readonly nodes: number;
  /** One of them. */
  readonly example: number;
  /** Chips in use in each. */
  readonly chips: number;
  /** The fabric with its faults; null for the cluster's `scaleUp`. */
  readonly faulty: Topology | null;
}

/** Ranks that are equally slow and equally late. */
export interface RankClass {
  readonly ranks: number;
  /** One of them. */
  readonly example: number;
  /** What is left of their chip's speed. */
  readonly speed: number;
  readonly late: Seconds;
}

export interface ClusterClasses {
  readonly nodes: readonly NodeClass[];
  /** Of all nodes, then of the network; dead links are left out. */
  readonly links: readonly LinkClass[];
  readonly ranks: readonly RankClass[];
}

export function clusterClasses(cluster: Cluster): ClusterClasses {
  return { nodes: nodeClasses(cluster), links: linkClasses(cluster), ranks: rankClasses(cluster) };
}

export function nodeClasses(cluster: Cluster): NodeClass[] {
  const { nodes, chips, chipsPerNode, faultyNodes } = cluster;
  const used = Math.ceil(chips / chipsPerNode);
  const isPartial = chips % chipsPerNode !== 0;
  const classes: NodeClass[] = [];
  const add = (example: number, count: number, inUse: number, faulty: Topology | null): void => {
    if (count > 0) classes.push({ nodes: count, example, chips: inUse, faulty });
  };
  const last = used - 1;
  const full = isPartial ? last : used;
  const patterns = new Map<Topology, { example: number; count: number }>();
  let faultyAndFull = 0;
  for (const [node, topology] of faultyNodes) {
    if (node >= full) continue;
    faultyAndFull++;
    const { example, count } = patterns.get(topology) ?? { example: node, count: 0 };
    patterns.set(topology, { example: Math.min(example, node), count: count + 1 });
  }
  add(firstNotIn(faultyNodes), full - faultyAndFull, chipsPerNode, null);
  for (const [topology, { example, count }] of patterns) add(example, count, chipsPerNode, topology);
  if (isPartial) add(last, 1, chips % chipsPerNode, faultyNodes.get(last) ?? null);
  // Nodes beyond the last chip in use still have links.
  add(used, nodes - used, 0, null);
  return classes;
}

/** The lowest node without faults: the example of the healthy ones. */
function firstNotIn(keys: ReadonlyMap<number, unknown>): number {
  let first = 0;
  while (keys.has(first)) first++;
  return first;
}

/** The links of one fabric without faults, without those on the chips. Needs no topology: any size. */
export function fabricClasses(fabric: FabricSpec): LinkClass[] {
  const chips = fabricSize(fabric);
  switch (fabric.type) {
    case 'single':
      return [];
    case 'torus':
      return fabric.dimensions.flatMap((dimension) => {
        const { name, size, bandwidth, latency } = dimension;
        const rate = { bandwidth, latency };
        const each = (suffix: string, links: number): LinkClass[] => [
          { name: `${name}+${suffix}`, links, ...rate },
          { name: `${name}-${suffix}`, links, ...rate },
        ];
        if (isClosed(dimension)) return each('', chips);
        return Array.from({ length: size - 1 }, (_, place) => each(` at ${place}`, chips / size)).flat();
      });
    case 'switched':
      return fabric.levels.flatMap(({ name, kind, groupSize, bandwidth, latency }, i): LinkClass[] => {
        const peers = groupSize / innerGroupSize(fabric.levels, i);
        if (kind === 'direct') {
          return [{ name, links: chips * (peers - 1), bandwidth: bandwidth / (peers - 1), latency }];
        }
        const rate = { links: chips, bandwidth, latency: latency / 2 };
        return [
          { name: `${name} up`, ...rate },
          { name: `${name} down`, ...rate },
        ];
      });
    case 'graph':
      return fabric.links.map(({ from, to, bandwidth, latency }) => ({
        name: `${from}->${to}`,
        links: 1,
        bandwidth,
        latency,
      }));
  }
}

/** The links of the whole cluster, without those on the chips and the dead ones. */
export function linkClasses(cluster: Cluster): LinkClass[] {
  return [...insideClasses(cluster), ...networkClasses(cluster)];
}

/** Links inside nodes: by class in those without faults, one by one in the others. */
function insideClasses(cluster: Cluster): LinkClass[] {
  const byNode = nodeClasses(cluster);
  const healthy = byNode.filter(({ faulty }) => faulty === null).reduce((n, { nodes }) => n + nodes, 0);
  const classes = fabricClasses(cluster.system.fabric!).map((one) => ({ ...one, links: one.links * healthy }));
  for (const { nodes, example, faulty } of byNode) {
    faulty?.from.forEach((from, link) => {
      if (from === faulty.to[link] || faulty.dead?.[link] === 1) return;
      const name = linkName(faulty, link, example);
      classes.push({ name, links: nodes, bandwidth: faulty.bandwidth[link]!, latency: faulty.latency[link]! });
    });
  }
  return healthy > 0 ? classes : classes.filter(({ links }) => links > 0);
}

/** Links of the network: a class for each tier and direction, and each link with a fault by itself. */
function networkClasses(cluster: Cluster): LinkClass[] {
  const { scaleOut } = cluster;
  if (scaleOut === null) return [];
  const { tiers, stageStart, remaining } = scaleOut;
  const own: LinkClass[] = [];
  const healthy = tiers.map((_, t) => [stageStart[t + 1]! - stageStart[t]!, stageStart[t + 1]! - stageStart[t]!]);
  for (const [link, part] of remaining) {
    const stage = closStage(scaleOut, link);
    const { linkBandwidth, linkLatency } = tiers[stage]!;
    healthy[stage]![link % 2]!--;
    if (part === 0) continue;
    const name = clusterLinkName(cluster, networkStart(cluster) + link);
    own.push({ name, links: 1, bandwidth: part * linkBandwidth, latency: linkLatency });
  }
  const classes = tiers.flatMap(({ name, linkBandwidth, linkLatency }, t) =>
    ['up', 'down'].map((direction, i) => {
      const below = t === 0 ? 'chip' : tiers[t - 1]!.name;
      const ends = direction === 'up' ? `${below}->${name}` : `${name}->${below}`;
      return { name: ends, links: healthy[t]![i]!, bandwidth: linkBandwidth, latency: linkLatency };
    }),
  );
  return [...classes, ...own];
}

/** The ordinary ranks first, then the odd ones; only the odd ones are gone through, not the million of others. */
export function rankClasses(cluster: Cluster): RankClass[] {
  const { ranks, ranksPerChip, slowChips, lateRanks, chipOf } = cluster;
  const odd = new Set<number>(lateRanks.keys());
  for (const chip of slowChips.keys()) {
    for (let i = 0; i < ranksPerChip; i++) if (chip * ranksPerChip + i < ranks) odd.add(chip * ranksPerChip + i);
  }
  const classes = new Map<string, RankClass>();
  for (const rank of odd) {
    const speed = slowChips.get(chipOf(rank)) ?? 1;
    const late = lateRanks.get(rank) ?? 0;
    const key = `${speed} ${late}`;
    const { ranks: count, example } = classes.get(key) ?? { ranks: 0, example: rank };
    classes.set(key, { ranks: count + 1, example: Math.min(example, rank), speed, late });
  }
  let example = 0;
  while (odd.has(example)) example++;
  const ordinary = { ranks: ranks - odd.size, example, speed: 1, late: 0 };
  return [ordinary, ...classes.values()].filter(({ ranks: count }) => count > 0);
}
