/**
 * Where the ranks of a group sit: how many in a node, which groups share the node with it, and in which orders rings and
 * hypercubes go through it so that neighbours are near.
 */
import type { Cluster } from '../fabric/cluster.ts';
import { edgeDisjointRings } from '../fabric/hamiltonian.ts';
import { hypercubeOrder } from '../fabric/hypercube.ts';
import { isClosed } from '../fabric/torus.ts';
import type { RankGroup } from './cost.ts';

export interface Placement {
  /** Ranks of the group in one node, and nodes that it spans. */
  readonly perNode: number;
  readonly nodes: number;
  /** Ranks of the group on one chip. */
  readonly perChip: number;
  /** The parts in node 0 of all groups that lie there side by side, this one first: ranks by position. */
  readonly inNode: readonly Int32Array[];
}

/** Ranks of a full node, of those in use. */
function nodeRanks({ ranks, ranksPerChip, chipsPerNode }: Cluster): number {
  return Math.min(ranks, ranksPerChip * chipsPerNode);
}

/**
 * Places a group. With `perNode` it has that many ranks, the first ones, of each node. Positions of the group fill one node after another; where the stride does not divide a node, the first
 * node stands for all.
 */
export function placeGroup(cluster: Cluster, { ranks, stride, perNode: wanted }: RankGroup): Placement {
  const capacity = wanted === undefined ? nodeRanks(cluster) : wanted * stride;
  const isInside = (ranks - 1) * stride < capacity;
  const perNode = isInside ? ranks : Math.min(ranks, Math.max(1, Math.floor(capacity / stride)));
  const perChip = Math.min(perNode, Math.max(1, Math.floor(cluster.ranksPerChip / stride)));
  const block = perNode * stride;
  const inNode: Int32Array[] = [];
  for (let start = 0; start < capacity; start += block) {
    for (let offset = 0; offset < Math.min(stride, capacity); offset++) {
      const last = start + offset + (perNode - 1) * stride;
      if (last < capacity) inNode.push(Int32Array.from({ length: perNode }, (_, i) => start + offset + i * stride));
    }
  }
  return { perNode, nodes: Math.ceil(ranks / perNode), perChip, inNode };
}

/** The ranks of the group and of every group beside it in the nodes that it spans, this one first. */
export function wholeGroups(cluster: Cluster, group: RankGroup): Int32Array[] {
  const { ranks, stride } = group;
  const { perNode, inNode } = placeGroup(cluster, group);
  const nodeSize = cluster.ranksPerChip * cluster.chipsPerNode;
  return inNode
    .map((first) =>
      Int32Array.from(
        { length: ranks },
        (_, i) => first[i % perNode]! + Math.floor(i / perNode) * Math.max(nodeSize, stride),
      ),
    )
    .filter((members) => members.at(-1)! < cluster.ranks);
}

/**
 * One node of each kind: the first one without faults, and of those with dead or slow links or slow chips one for each
 * pattern. What is the same everywhere is then timed once, whatever the number of nodes.
 */
export function nodeKinds({ nodes, faultyNodes, slowChips, chipsPerNode }: Cluster): number[] {
  const odd = new Map<number, string>();
  const topologies = new Map<unknown, number>();
  for (const [node, topology] of faultyNodes) {
    const number = topologies.get(topology) ?? topologies.size;
    topologies.set(topology, number);
    odd.set(node, `fabric ${number}`);
  }
  for (const [chip, speed] of slowChips) {
    const node = Math.floor(chip / chipsPerNode);
    odd.set(node, `${odd.get(node) ?? ''}, chip ${chip % chipsPerNode} at ${speed}`);
  }
  const kinds = new Map<string, number>();
  for (const [node, kind] of odd) kinds.set(kind, Math.min(node, kinds.get(kind) ?? node));
  let ordinary = 0;
  while (odd.has(ordinary)) ordinary++;
  return [...(ordinary < nodes ? [ordinary] : []), ...kinds.values()];
}

/** Positions of the members on each chip, chips by number. */
function positionsByChip(cluster: Cluster, members: Int32Array): Map<number, number[]> {
  const byChip = new Map<number, number[]>();
  members.forEach((rank, position) => {
    const chip = cluster.chipOf(rank);
    const known = byChip.get(chip);
    if (known) known.push(position);
    else byChip.set(chip, [position]);
  });
  return byChip;
}

/** Rings through several nodes at most: channels of a collective library. */
const MAX_RINGS = 16;

/**
 * The rings through the members, as orders of their positions: node by node, in a node along its edge-disjoint rings, the
 * members of a chip together. As many as every node has; over several nodes one for each chip, up to MAX_RINGS, that leaves
 * the node from there, so that all adapters are used.
 */
export function ringOrders(cluster: Cluster, members: Int32Array): Int32Array[] {
  const byChip = positionsByChip(cluster, members);
  const { chipsPerNode, scaleUp } = cluster;
  const nodes = new Map<number, number[]>();
  for (const chip of byChip.keys()) {
    const node = Math.floor(chip / chipsPerNode);
    nodes.set(node, [...(nodes.get(node) ?? []), chip % chipsPerNode]);
  }
  const places = Array.from(nodes, ([node, chips]) => ({
    node,
    chips,
    rings: edgeDisjointRings(scaleUp.fabric, chips),
  }));
  const least = (count: (place: (typeof places)[number]) => number): number =>
    places.reduce((fewest, place) => Math.min(fewest, count(place)), Number.POSITIVE_INFINITY);
  const count = least(({ rings }) => rings.length);
  const exits =
    places.length === 1
      ? count
      : Math.max(
          count,
          least(({ chips }) => Math.min(chips.length, MAX_RINGS)),
        );
  return Array.from({ length: exits }, (_, i) =>
    Int32Array.from(
      places.flatMap(({ node, chips, rings }) => {
        const ring = Array.from(rings[i % count]!);
        const exit = places.length === 1 ? ring.at(-1)! : chips[Math.floor((i * chips.length) / exits)]!;
        const start = ring.indexOf(exit) + 1;
        return [...ring.slice(start), ...ring.slice(0, start)].flatMap(
          (chip) => byChip.get(node * chipsPerNode + chip)!,
        );
      }),
    ),
  );
}

/**
 * The chips of a node that the members lie on, in the order of the corners of a hypercube; by number where the fabric holds
 * none.
 */
export function cubeOrder(cluster: Cluster, members: Int32Array): Int32Array {
  const chips = Array.from(positionsByChip(cluster, members).keys()).sort((a, b) => a - b);
  const { fabric } = cluster.scaleUp;
  const isCube =
    fabric.type === 'torus' &&
    fabric.dimensions.every((dimension) => dimension.size === 2 || (dimension.size === 4 && isClosed(dimension)));
  if (!isCube) return Int32Array.from(chips, (_, i) => i);
  return hypercubeOrder(fabric)
    .filter((chip) => chips.includes(chip))
    .map((chip) => chips.indexOf(chip));
}
