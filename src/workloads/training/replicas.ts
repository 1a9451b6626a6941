/**
 * The exchanges of ranks that hold the same weights: reduction of gradients and gathering of weights, of everything but the experts
 * over data x context parallelism, of the experts over the ranks that hold the same of them.
 */
import type { Bytes, Seconds } from '../../base/units.ts';
import type { CollectiveClock, RankGroup } from '../../collectives/cost.ts';
import type { Collective } from '../../collectives/schedule.ts';
import type { Cluster } from '../../fabric/cluster.ts';
import { CostCurve } from './curve.ts';
import { expertReplicas } from './overlap.ts';
import { replicaGroups } from './placement.ts';
import type { StepPlan } from './setup.ts';

interface Replicas {
  readonly allReduce: CostCurve;
  readonly reduceScatter: CostCurve;
  readonly allGather: CostCurve;
}

export interface PartExchanges {
  readonly dense: Replicas;
  readonly experts: Replicas;
  /** Seconds for each part of the model: gradients without ZeRO, gradients with it, weights. NaN until a plan needs them. */
  readonly reduced: Float64Array;
  readonly scattered: Float64Array;
  readonly gathered: Float64Array;
}

export function partExchanges(
  cluster: Cluster,
  collectives: CollectiveClock,
  plan: StepPlan,
  parts: number,
): PartExchanges {
  const ranks = expertReplicas(plan);
  const unknown = () => new Float64Array(parts).fill(Number.NaN);
  return {
    dense: replicasOver(cluster, collectives, replicaGroups(plan.placement, plan)),
    experts: replicasOver(cluster, collectives, ranks > 1 ? [{ ranks, stride: plan.ep * plan.expertTp }] : []),
    reduced: unknown(),
    scattered: unknown(),
    gathered: unknown(),
  };
}

/** Over no group, one, or the inner of two with all bytes and the outer with a rank's share of them. */
function replicasOver(
  { ranksPerChip, chipsPerNode }: Cluster,
  collectives: CollectiveClock,
  [inner, outer]: readonly RankGroup[],
): Replicas {
  // Libraries carry large collectives out hierarchically over nodes; looking for a flat one takes long.
  const nodeRanks = ranksPerChip * chipsPerNode;
  const one = (collective: Collective, group: RankGroup | undefined, bytes: Bytes): Seconds => {
    if (group === undefined) return 0;
    const spansNodes = group.ranks * group.stride > nodeRanks;
    return collectives({ collective, bytes, group, ...(spansNodes && { algorithm: 'hierarchical' }) }).time;
  };
  if (outer === undefined) {
    const curve = (collective: Collective) => new CostCurve((bytes) => one(collective, inner, bytes));
    return {
      allReduce: curve('all-reduce'),
      reduceScatter: curve('reduce-scatter'),
      allGather: curve('all-gather'),
    };
  }
  const ways = inner!.ranks;
  const both = (far: Collective, ...near: readonly Collective[]) =>
    new CostCurve(
      (bytes) => one(far, outer, bytes / ways) + near.reduce((sum, part) => sum + one(part, inner, bytes), 0),
    );
  return {
    allReduce: both('all-reduce', 'reduce-scatter', 'all-gather'),
    reduceScatter: both('reduce-scatter', 'reduce-scatter'),
    allGather: both('all-gather', 'all-gather'),
  };
}

/** Of gradients, in bytes: every replica gets the sums without ZeRO, its share of them with it. */
export function reductionTime({ dense, experts }: PartExchanges, zero: number, own: Bytes, ofExperts: Bytes): Seconds {
  if (zero === 0) return dense.allReduce.time(own) + experts.allReduce.time(ofExperts);
  return dense.reduceScatter.time(own) + experts.reduceScatter.time(ofExperts);
}

/** Of weights, in bytes once gathered. */
export function gatheringTime({ dense, experts }: PartExchanges, own: Bytes, ofExperts: Bytes): Seconds {
  return dense.allGather.time(own) + experts.allGather.time(ofExperts);
}
