/**
 * The rounds of a collective between nodes, in closed form, so that a million chips cost no more than two: every rank runs
 * it with the ranks at its place in the other N nodes, and all places at once.
 *
 *     ring        N - 1 rounds of 1/N to the next node       rdh    log2 N rounds of 1/2, 1/4 ... at distance 2^k
 *     mesh        1 round of (N - 1)/N, 1/N to each node     tree   log2 N rounds of all the data
 *
 * An all-reduce is a reduce-scatter and an all-gather. A chip's port into the network carries what its ranks send; of that
 * the part that leaves the chip's group of a tier goes through its uplinks: min(1, distance / nodes in the group) of it where
 * every node sends the same way round, the part of all nodes that is outside in a mesh.
 * Faults: all wait for the slowest chip. Leaves out: slow chips, and groups of chips that do not divide into whole nodes.
 */
import type { Seconds } from '../base/units.ts';
import { closStage } from '../fabric/clos.ts';
import type { Cluster } from '../fabric/cluster.ts';
import type { CollectiveEngine } from './engine.ts';
import { ADD_TOUCHES, COPY_TOUCHES } from './program.ts';
import type { Round } from './rounds.ts';
import type { Collective } from './schedule.ts';

export type InterAlgorithm = 'ring' | 'rdh' | 'mesh' | 'binomial-tree';

/** Steps of one kind: how often, how much of the data each rank sends, how far, to how many, and whether it is added. */
interface Exchange {
  readonly count: number;
  readonly share: number;
  readonly distance: number | 'all';
  readonly adds: boolean;
}

/** Why the algorithm is not defined between `nodes` nodes, or null. */
export function interRequirement(algorithm: InterAlgorithm, collective: Collective, nodes: number): string | null {
  const isTree = algorithm === 'binomial-tree';
  if (isTree !== (collective === 'broadcast' || collective === 'reduce')) return `another algorithm for ${collective}`;
  if (algorithm === 'rdh' && (nodes & (nodes - 1)) !== 0) return `a power of two of nodes, got ${nodes}`;
  if (collective === 'all-to-all' && algorithm !== 'mesh') return 'mesh';
  return null;
}

function exchanges(algorithm: InterAlgorithm, collective: Collective, nodes: number): Exchange[] {
  const half = (adds: boolean): Exchange[] => {
    switch (algorithm) {
      case 'ring':
        return [{ count: nodes - 1, share: 1 / nodes, distance: 1, adds }];
      case 'mesh':
        return [{ count: 1, share: (nodes - 1) / nodes, distance: 'all', adds }];
      case 'rdh':
        return doublings(nodes).map((distance) => ({ count: 1, share: distance / nodes, distance, adds }));
      case 'binomial-tree':
        return doublings(nodes).map((distance) => ({ count: 1, share: 1, distance, adds }));
    }
  };
  if (collective === 'all-reduce') return [...half(true), ...half(false)];
  return half(collective === 'reduce-scatter' || collective === 'reduce');
}

/** 1, 2, 4 ... below `nodes`. */
function doublings(nodes: number): number[] {
  const distances: number[] = [];
  for (let distance = 1; distance < nodes; distance *= 2) distances.push(distance);
  return distances;
}

/**
 * The rounds over `nodes` nodes.
 * @param part of the collective's size that each rank works on here
 * @param perChip ranks of a chip that take part, of all groups side by side
 */
export function interRounds(
  algorithm: InterAlgorithm,
  collective: Collective,
  nodes: number,
  part: number,
  perChip: number,
  cluster: Cluster,
  engine: CollectiveEngine,
): Round[] {
  const { tiers } = cluster.scaleOut!;
  const { chipsPerNode } = cluster;
  const { chip } = cluster.system;
  // On a GPU the rate of the copy kernels stands for its memory as well.
  const memory = chip.cores === null ? null : chip.memory.bandwidth;
  const worst = worstParts(cluster);
  return exchanges(algorithm, collective, nodes).map(({ count, share, distance, adds }) => {
    const bytes = part * share;
    const ofChip = bytes * perChip;
    // In and out together at the channel and in the memory, each way alone in the network.
    let gap = Math.max(
      (2 * bytes) / engine.channel,
      memory === null ? 0 : (ofChip * (1 + (adds ? ADD_TOUCHES : COPY_TOUCHES))) / memory,
    );
    let farthest = 0;
    tiers.forEach((tier, t) => {
      const nodesBelow = t === 0 ? 0 : tiers[t - 1]!.groupChips / chipsPerNode;
      const leaving = leavingPart(distance, nodes, nodesBelow);
      if (leaving > 0) farthest = t;
      gap = Math.max(gap, (ofChip * leaving) / (tier.bandwidth * engine.networkEfficiency * worst[t]!));
    });
    // The adapter of a chip starts the messages of all its ranks.
    const peers = distance === 'all' ? nodes - 1 : 1;
    const messages = peers * perChip;
    const latency = engine.protocols.map(
      ({ networkHop, networkPasses }): Seconds =>
        networkHop + networkPasses * tiers[farthest]!.latency + engine.step + (messages - 1) * engine.networkMessage,
    );
    const { networkHold: hold } = engine;
    return { count, peers, gap, meanGap: gap, latency, meanLatency: latency, hold, meanHold: hold };
  });
}

/**
 * Of each tier, what faults have left of the bandwidth of the group that lost most. A chip that lost its port sends through
 * another one, which then has half of it.
 */
function worstParts({ scaleOut, substitutes }: Cluster): number[] {
  const { tiers, remaining, stageStart } = scaleOut!;
  const worst = tiers.map(() => 1);
  const left = new Map<string, number>();
  for (const [link, part] of remaining) {
    const stage = closStage(scaleOut!, link);
    if (stage === 0 && part === 0) continue;
    const { ways } = tiers[stage]!;
    const group = `${stage} ${link % 2} ${Math.floor((Math.floor(link / 2) - stageStart[stage]!) / ways)}`;
    left.set(group, (left.get(group) ?? 1) - (1 - part) / ways);
    worst[stage] = Math.min(worst[stage]!, left.get(group)!);
  }
  const users = new Map<number, number>();
  for (const port of substitutes.values()) users.set(port, (users.get(port) ?? 1) + 1);
  for (const count of users.values()) worst[0] = Math.min(worst[0]!, 1 / count);
  return worst;
}

/** Part of the bytes between nodes that leaves groups of `nodesBelow` nodes; in groups smaller than a node, all of it. */
function leavingPart(distance: number | 'all', nodes: number, nodesBelow: number): number {
  if (nodesBelow <= 1) return 1;
  if (nodesBelow >= nodes) return 0;
  return distance === 'all' ? (nodes - nodesBelow) / (nodes - 1) : Math.min(1, distance / nodesBelow);
}
