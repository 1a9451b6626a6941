/** A measured collective as the case that the collective clock times, on the cluster that it ran on. */
import { expectInteger, expectOneOf } from '../base/errors.ts';
import { CollectiveModel } from '../collectives/collective-clock.ts';
import type { CollectiveCase } from '../collectives/cost.ts';
import { COLLECTIVES } from '../collectives/schedule.ts';
import type { Cluster } from '../fabric/cluster.ts';
import { findSystem } from '../hardware/catalog.ts';
import type { Constants } from '../hardware/fitted.ts';
import { createCluster } from '../machine/cluster.ts';
import type { CollectiveQuestion } from './measurement.ts';
import type { Predict } from './predict.ts';

/** Launch paths whose host time is that of a framework's dispatch, before every call. */
const FRAMEWORKS: readonly string[] = ['torch.distributed'];

/** Clusters by system, number of systems, and how it is cut into ranks: rows of one machine share what is prepared for it. */
const clusters = new Map<string, Cluster>();
const models = new WeakMap<Constants, Map<Cluster, CollectiveModel>>();

function modelOf(cluster: Cluster, constants: Constants): CollectiveModel {
  const known = models.get(constants) ?? new Map<Cluster, CollectiveModel>();
  models.set(constants, known);
  const model = known.get(cluster) ?? new CollectiveModel(cluster, constants);
  known.set(cluster, model);
  return model;
}

/**
 * Ranks fill one chip after another; ranks of a node that did not take part are idle.
 * @throws RangeError for a system that is not in the catalogue, an operation that is none, or ranks that do not fit
 */
export function collectivePredictor({ system, case: ran }: CollectiveQuestion): Predict {
  const { ranks, lnc } = ran;
  const spec = findSystem(system.id);
  const collective = expectOneOf('op', ran.op, COLLECTIVES);
  const key = `${system.id} ${system.nodes} ${lnc} ${system.nodes === 1 ? ranks : ''}`;
  let cluster = clusters.get(key);
  if (cluster === undefined) {
    const used = system.nodes === 1 ? { ranks } : { nodes: system.nodes };
    cluster = createCluster(spec, { ...used, ...(lnc !== null && { lnc }) });
    clusters.set(key, cluster);
  }
  expectInteger('ranks', ranks, 1, cluster.ranks);
  const isPartial = system.nodes > 1 && ranks < cluster.ranks;
  const request: CollectiveCase = {
    collective,
    bytes: ran.bytes,
    group: { ranks, stride: 1, ...(isPartial && { perNode: ran.ranksPerNode }) },
    timing: ran.timing !== 'host' ? 'device' : FRAMEWORKS.includes(ran.software) ? 'framework' : 'host',
  };
  const placed = cluster;
  return (constants) => modelOf(placed, constants).cost(request).time;
}
