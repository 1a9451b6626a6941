/**
 * A cluster: equal systems (nodes), each with its own scale-up fabric, joined by a scale-out network.
 *
 * Chips, ranks and links are numbered through the cluster, node by node, and every number is computed, not stored, so
 * that a million chips cost no more than one node:
 *
 *     chip c     is chip c mod chipsPerNode of node floor(c / chipsPerNode)
 *     link l     below nodes x linksPerNode: link l mod linksPerNode of node floor(l / linksPerNode)
 *                above: a link of the network (`clos.ts`)
 *
 * Leaves out: traffic between a chip and its NIC inside the node (PCIe), and NICs shared unevenly.
 */
import type { BytesPerSecond, Seconds } from '../base/units.ts';
import type { SystemSpec } from '../hardware/spec.ts';
import { appendClosRoute, type Clos, closLinks, closStage } from './clos.ts';
import { appendRoute, longestRoute, pathCount } from './routes.ts';
import type { Topology } from './topology.ts';

export interface Cluster {
  readonly system: SystemSpec;
  readonly nodes: number;
  readonly chipsPerNode: number;
  /** Chips in use, from chip 0 on: the last node may have idle ones. */
  readonly chips: number;
  /** What a rank is: a logical NeuronCore, or a whole chip (always so on other makers' chips). */
  readonly rank: 'core' | 'chip';
  /** Physical cores of a logical core; 1 on other makers' chips. */
  readonly lnc: number;
  readonly ranksPerChip: number;
  readonly ranks: number;
  /** Chip of a rank: floor(rank / ranksPerChip). */
  readonly chipOf: (rank: number) => number;
  /** The fabric of a node without faults. Made when first read. */
  readonly scaleUp: Topology;
  /** The fabrics of the nodes that have faults inside. */
  readonly faultyNodes: ReadonlyMap<number, Topology>;
  /** The network between nodes; null in a cluster of one. */
  readonly scaleOut: Clos | null;
  /** Chips whose own way into the network is dead: the chip of the same node that sends and receives for them. */
  readonly substitutes: ReadonlyMap<number, number>;
  /** Part of its speed that a slow chip has left, 0 to 1. */
  readonly slowChips: ReadonlyMap<number, number>;
  /** How much later than the others a rank begins. */
  readonly lateRanks: ReadonlyMap<number, Seconds>;
}

/** The fabric of one node, faults included. */
export function nodeTopology(cluster: Cluster, node: number): Topology {
  return cluster.faultyNodes.get(node) ?? cluster.scaleUp;
}

/** Directed links of the whole cluster; their ids are 0 .. count - 1. */
export function clusterLinks(cluster: Cluster): number {
  return networkStart(cluster) + (cluster.scaleOut === null ? 0 : closLinks(cluster.scaleOut));
}

/** Id of the network's first link. */
export function networkStart({ nodes, scaleUp }: Cluster): number {
  return nodes * scaleUp.from.length;
}

/** Bandwidth of a link after its faults, one direction. */
export function linkBandwidth(cluster: Cluster, link: number): BytesPerSecond {
  const { scaleUp, scaleOut } = cluster;
  const inNetwork = link - networkStart(cluster);
  if (inNetwork < 0) {
    const perNode = scaleUp.from.length;
    return nodeTopology(cluster, Math.floor(link / perNode)).bandwidth[link % perNode]!;
  }
  return scaleOut!.tiers[closStage(scaleOut!, inNetwork)]!.linkBandwidth * (scaleOut!.remaining.get(inNetwork) ?? 1);
}

export function linkLatency(cluster: Cluster, link: number): Seconds {
  const { scaleUp, scaleOut } = cluster;
  const inNetwork = link - networkStart(cluster);
  return inNetwork < 0
    ? scaleUp.latency[link % scaleUp.from.length]!
    : scaleOut!.tiers[closStage(scaleOut!, inNetwork)]!.linkLatency;
}

/** A bound on the links of any path through the cluster. */
export function longestClusterRoute(cluster: Cluster): number {
  const { scaleUp, scaleOut, faultyNodes, substitutes } = cluster;
  const inside = faultyNodes.size > 0 ? scaleUp.vertices : longestRoute(scaleUp);
  return (substitutes.size > 0 ? 2 : 1) * inside + 2 * (scaleOut?.tiers.length ?? 0);
}

/** Paths that the bytes of two chips are spread over in equal parts. */
export function clusterPathCount(cluster: Cluster, from: number, to: number): number {
  const { chipsPerNode, scaleOut } = cluster;
  const node = Math.floor(from / chipsPerNode);
  if (node !== Math.floor(to / chipsPerNode)) return scaleOut!.paths;
  return pathCount(nodeTopology(cluster, node), from % chipsPerNode, to % chipsPerNode);
}

/**
 * Writes the links of path `way` between two chips into `out` from index `at` on, and returns the index after the last.
 * For inner loops: allocates nothing and checks no argument; `longestClusterRoute` is how much room it may take.
 * @throws ModelError (TOPOLOGY) if faults have cut the pair apart
 */
export function appendClusterRoute(
  cluster: Cluster,
  from: number,
  to: number,
  out: Int32Array,
  at: number,
  way = 0,
): number {
  const { chipsPerNode, scaleOut, substitutes } = cluster;
  if (Math.floor(from / chipsPerNode) === Math.floor(to / chipsPerNode)) {
    return appendInside(cluster, from, to, out, at, way);
  }
  const exit = substitutes.get(from) ?? from;
  const entry = substitutes.get(to) ?? to;
  const start = exit === from ? at : appendInside(cluster, from, exit, out, at, way);
  const end = appendClosRoute(scaleOut!, exit, entry, out, start, way);
  const offset = networkStart(cluster);
  for (let i = start; i < end; i++) out[i]! += offset;
  return entry === to ? end : appendInside(cluster, entry, to, out, end, way);
}

function appendInside(cluster: Cluster, from: number, to: number, out: Int32Array, at: number, way: number): number {
  const { chipsPerNode, scaleUp } = cluster;
  const node = Math.floor(from / chipsPerNode);
  const end = appendRoute(nodeTopology(cluster, node), from % chipsPerNode, to % chipsPerNode, out, at, way);
  const offset = node * scaleUp.from.length;
  for (let i = at; i < end; i++) out[i]! += offset;
  return end;
}
