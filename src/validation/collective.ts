/** A measured collective as the case that the collective clock times, on the cluster that it ran on. */
import { expectInteger, expectOneOf } from '../base/errors.ts';
import { CollectiveModel } from '../collectives/collective-clock.ts';
import type { CollectiveCase } from '../collectives/cost.ts';
import { COLLECTIVES } from '../collectives/schedule.ts';
import { Wires } from '../collectives/wires.ts';
import type { Cluster } from '../fabric/cluster.ts';
import { findSystem } from '../hardware/catalog.ts';
import type { Constants } from '../hardware/fitted.ts';
import { createCluster } from '../machine/cluster.ts';
import type { CollectiveQuestion } from './measurement.ts';
import type { Predict } from './predict.ts';

/** Launch paths whose host time is that of a framework's dispatch, before every call. */
const FRAMEWORKS: readonly string[] = ['torch.distributed'];

/** Clusters by system, number of systems, and how it is cut into ranks: rows of one machine share what is prepared for it. */
const clusters = new Map<string, { readonly cluster: Cluster; readonly wires: Wires }>();
const models = new WeakMap<Constants, Map<Wires, CollectiveModel>>();

function modelOf(cluster: Cluster, wires: Wires, constants: Constants): CollectiveModel {
  const known = models.get(constants) ?? new Map<Wires, CollectiveModel>();
  models.set(constants, known);
  const model = known.get(wires) ?? new CollectiveModel(cluster, constants, wires);
  known.set(wires, model);
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
  let placed = clusters.get(key);
  if (placed === undefined) {
    const used = system.nodes === 1 ? { ranks } : { nodes: system.nodes };
    const cluster = createCluster(spec, { ...used, ...(lnc !== null && { lnc }) });
    placed = { cluster, wires: new Wires(cluster) };
    clusters.set(key, placed);
  }
  const { cluster, wires } = placed;
  expectInteger('ranks', ranks, 1, cluster.ranks);
  const isPartial = system.nodes > 1 && ranks < cluster.ranks;
  const request: CollectiveCase = {
    collective,
    bytes: ran.bytes,
    group: { ranks, stride: 1, ...(isPartial && { perNode: ran.ranksPerNode }) },
    timing: ran.timing !== 'host' ? 'device' : FRAMEWORKS.includes(ran.software) ? 'framework' : 'host',
  };
  return (constants) => modelOf(cluster, wires, constants).cost(request).time;
}
