/** A measured collective as the case that the collective clock times, on the cluster that it ran on. */
import { expectInteger, expectOneOf } from '../base/errors.ts';
import { CollectiveModel } from '../collectives/collective-clock.ts';
import type { CollectiveCase } from '../collectives/cost.ts';
import type { CollectiveLibrary } from '../collectives/engine.ts';
import { COLLECTIVES } from '../collectives/schedule.ts';
import { Wires } from '../collectives/wires.ts';
import type { Cluster } from '../fabric/cluster.ts';
import { findSystem } from '../hardware/catalog.ts';
import type { Constants } from '../hardware/fitted.ts';
import { createCluster } from '../machine/cluster.ts';
import { ELEMENT_BYTES } from '../workloads/collective.ts';
import type { CollectiveQuestion } from './measurement.ts';
import type { Predict } from './predict.ts';

/** Launch paths whose host time is that of a framework's dispatch, before every call. */
const FRAMEWORKS: readonly string[] = ['torch.distributed'];

/** The library that ran, where it is not the machine's own of today. */
function libraryOf(software: string, chip: string): CollectiveLibrary | undefined {
  if (software === 'MSCCL++') return 'mscclpp';
  // What nccom-test prints for Trn1 grows with the ranks, one node or two: 3 us for each step of a ring, all sizes alike.
  if (software === 'nccom-test' && chip === 'trn1') return 'neuron-rings';
  return undefined;
}

/** Clusters by system, number of systems, and how it is cut into ranks: rows of one machine share what is prepared for it. */
interface Placed {
  readonly cluster: Cluster;
  readonly wires: Wires;
  readonly library: CollectiveLibrary | undefined;
}
const clusters = new Map<string, Placed>();
const models = new WeakMap<Constants, Map<Wires, CollectiveModel>>();

function modelOf({ cluster, wires, library }: Placed, constants: Constants): CollectiveModel {
  const known = models.get(constants) ?? new Map<Wires, CollectiveModel>();
  models.set(constants, known);
  const model = known.get(wires) ?? new CollectiveModel(cluster, constants, wires, library);
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
  const library = libraryOf(ran.software, spec.chip.id);
  const key = `${system.id} ${system.nodes} ${lnc} ${system.nodes === 1 ? ranks : ''} ${library}`;
  let placed = clusters.get(key);
  if (placed === undefined) {
    const used = system.nodes === 1 ? { ranks } : { nodes: system.nodes };
    const cluster = createCluster(spec, { ...used, ...(lnc !== null && { lnc }) });
    placed = { cluster, wires: new Wires(cluster), library };
    clusters.set(key, placed);
  }
  const { cluster } = placed;
  expectInteger('ranks', ranks, 1, cluster.ranks);
  const isPartial = system.nodes > 1 && ranks < cluster.ranks;
  const bytes = ran.dtype === null ? undefined : ELEMENT_BYTES[ran.dtype];
  const request: CollectiveCase = {
    collective,
    bytes: ran.bytes,
    group: { ranks, stride: 1, ...(isPartial && { perNode: ran.ranksPerNode }) },
    ...(bytes !== undefined && { elementBytes: bytes }),
    timing: ran.timing !== 'host' ? 'device' : FRAMEWORKS.includes(ran.software) ? 'framework' : 'host',
  };
  return (constants) => modelOf(placed, constants).cost(request).time;
}
