/**
 * Dead links drawn at random, for asking what a cluster of so many parts loses when some of them fail.
 *
 * Every cable, inside nodes and in the network, is equally likely; the same seed draws the same cables.
 * Leaves out: that optical cables fail more often than copper ones, and that failures come in groups.
 */
import { expectInteger } from '../base/errors.ts';
import { type Cluster, networkStart } from './cluster.ts';
import type { Fault } from './faults.ts';
import { mix } from './hash.ts';
import { clusterLinkName } from './names.ts';

/**
 * `count` different dead cables, each in both directions.
 * @throws RangeError if the cluster does not have that many
 */
export function randomDeadLinks(cluster: Cluster, count: number, seed: number): Fault[] {
  const { scaleUp, scaleOut, nodes } = cluster;
  expectInteger('seed', seed, 0, 2 ** 32 - 1);
  // One direction of each cable inside a node stands for both: the one from the lower vertex.
  const inNode = Array.from(scaleUp.from.keys()).filter((link) => scaleUp.from[link]! < scaleUp.to[link]!);
  const stages = (scaleOut?.tiers ?? []).map(({ cables }, t) => ({
    first: scaleOut!.stageStart[t]!,
    cables,
    count: (scaleOut!.stageStart[t + 1]! - scaleOut!.stageStart[t]!) * cables,
  }));
  const total = stages.reduce((sum, stage) => sum + stage.count, nodes * inNode.length);
  expectInteger('count', count, 0, total);
  const nameOf = (cable: number): string => {
    let rest = cable - nodes * inNode.length;
    if (rest < 0) {
      const node = Math.floor(cable / inNode.length);
      return clusterLinkName(cluster, node * scaleUp.from.length + inNode[cable % inNode.length]!).split(' ')[0]!;
    }
    const stage = stages.find((candidate) => {
      if (rest < candidate.count) return true;
      rest -= candidate.count;
      return false;
    })!;
    const name = clusterLinkName(cluster, networkStart(cluster) + 2 * (stage.first + Math.floor(rest / stage.cables)));
    return stage.cables === 1 ? name : `${name}(${rest % stage.cables})`;
  };
  const drawn = new Set<number>();
  // 2^32 draws over at most 2^25 cables: the bias is below 1 %.
  for (let i = 0; drawn.size < count; i++) drawn.add(mix(seed, i, i >>> 16) % total);
  return Array.from(drawn, nameOf).flatMap((name) => {
    const [from, to] = name.split('->') as [string, string];
    return [
      { type: 'link', from, to, remaining: 0 },
      { type: 'link', from: to, to: from, remaining: 0 },
    ] as const;
  });
}
