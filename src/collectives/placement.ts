/**
 * Where the ranks of a group sit: how many in a node, which groups share the node with it, and in which orders rings and
 * hypercubes go through it so that neighbours are near.
 */
import type { Cluster } from '../fabric/cluster.ts';
import { ringOrder } from '../fabric/rings.ts';
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
export function nodeRanks({ ranks, ranksPerChip, chipsPerNode }: Cluster): number {
  return Math.min(ranks, ranksPerChip * chipsPerNode);
}

/**
 * Places a group. Positions of the group fill one node after another; where the stride does not divide a node, the first
 * node stands for all.
 */
export function placeGroup(cluster: Cluster, { ranks, stride }: RankGroup): Placement {
  const capacity = nodeRanks(cluster);
  const perNode = Math.min(ranks, Math.max(1, Math.floor(capacity / stride)));
  const perChip = Math.min(perNode, Math.max(1, Math.floor(cluster.ranksPerChip / stride)));
  const block = perNode * stride;
  const inNode: Int32Array[] = [];
  for (let start = 0; start + block <= Math.max(capacity, block); start += block) {
    for (let offset = 0; offset < Math.min(stride, capacity); offset++) {
      inNode.push(Int32Array.from({ length: perNode }, (_, i) => start + offset + i * stride));
    }
  }
  return { perNode, nodes: Math.ceil(ranks / perNode), perChip, inNode };
}

/** Positions of `members` in the order in which a ring through their chips meets them. */
export function ringPositions(cluster: Cluster, members: Int32Array): Int32Array {
  const positions = new Map<number, number[]>();
  members.forEach((rank, position) => {
    const chip = cluster.chipOf(rank);
    const known = positions.get(chip);
    if (known) known.push(position);
    else positions.set(chip, [position]);
  });
  const chips = ringOrder(cluster.scaleUp.fabric, Array.from(positions.keys()));
  return Int32Array.from(Array.from(chips).flatMap((chip) => positions.get(chip)!));
}
