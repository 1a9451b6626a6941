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
import { linkName, type Topology } from './topology.ts';

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
function networkStart({ nodes, scaleUp }: Cluster): number {
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

/** `chip35->chip36 (x+)` inside a node, `chip35->tor`, `tor0->leaf 17` in the network. */
export function clusterLinkName(cluster: Cluster, link: number): string {
  const { scaleUp, scaleOut, nodes } = cluster;
  const inNetwork = link - networkStart(cluster);
  if (inNetwork < 0) {
    const name = linkName(scaleUp, link % scaleUp.from.length);
    return nodes === 1 ? name : `node${Math.floor(link / scaleUp.from.length)}: ${name}`;
  }
  const stage = closStage(scaleOut!, inNetwork);
  const { ways, name } = scaleOut!.tiers[stage]!;
  const place = Math.floor(inNetwork / 2) - scaleOut!.stageStart[stage]!;
  const low = `${stage === 0 ? 'chip' : scaleOut!.tiers[stage - 1]!.name}${Math.floor(place / ways)}`;
  const high = ways === 1 ? name : `${name}(${place % ways})`;
  return inNetwork % 2 === 0 ? `${low}->${high}` : `${high}->${low}`;
}

/** A bound on the links of any path through the cluster. */
export function longestClusterRoute(cluster: Cluster): number {
  const tiers = cluster.scaleOut?.tiers.length ?? 0;
  return longestRoute(cluster.scaleUp) + 2 * tiers;
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
  const { chipsPerNode, scaleOut } = cluster;
  const node = Math.floor(from / chipsPerNode);
  const isInside = node === Math.floor(to / chipsPerNode);
  const end = isInside
    ? appendRoute(nodeTopology(cluster, node), from % chipsPerNode, to % chipsPerNode, out, at, way)
    : appendClosRoute(scaleOut!, from, to, out, at, way);
  const offset = isInside ? node * cluster.scaleUp.from.length : networkStart(cluster);
  for (let i = at; i < end; i++) out[i]! += offset;
  return end;
}
