/**
 * The collective behind a sum over ranks: the algorithm that the collective model chooses for the group and the bytes, as a
 * time for the clock and as a schedule for the numeric executor, so that the two cannot differ.
 *
 * Groups are equal and regular, so one schedule over positions serves them all. Where the model's choice goes through
 * nodes level by level, a ring over the whole group runs, and is timed, instead.
 */
import { candidatesFor } from '../collectives/candidates.ts';
import { CollectiveModel, type CollectiveTiming } from '../collectives/collective-clock.ts';
import type { Fidelity } from '../collectives/execute.ts';
import type { Schedule } from '../collectives/schedule.ts';
import type { Cluster } from '../fabric/cluster.ts';
import { DTYPES, type DType } from '../kernels/index.ts';

/** An all-reduce over groups of `ranks` ranks, `stride` apart. */
export interface AllReduce {
  readonly elements: number;
  readonly dtype: DType;
  readonly ranks: number;
  readonly stride: number;
}

export interface Exchange {
  readonly timing: CollectiveTiming;
  /** Over the positions of one group. */
  readonly schedule: Schedule;
}

export type Exchanges = (request: AllReduce) => Exchange;

/** Remembers what it has chosen. */
export function exchangesOn(cluster: Cluster, fidelity: Fidelity = 'formula'): Exchanges {
  const model = new CollectiveModel(cluster);
  const known = new Map<string, Exchange>();
  return (request) => {
    const { elements, dtype, ranks, stride } = request;
    const key = `${elements} ${dtype} ${ranks} ${stride}`;
    let exchange = known.get(key);
    if (exchange === undefined) {
      exchange = choose(model, request, fidelity);
      known.set(key, exchange);
    }
    return exchange;
  };
}

function choose(model: CollectiveModel, { elements, dtype, ranks, stride }: AllReduce, fidelity: Fidelity): Exchange {
  const { cluster, engine } = model;
  const collective = 'all-reduce';
  const request = { collective, bytes: elements * DTYPES[dtype].bytes, group: { ranks, stride }, dtype } as const;
  const members = Int32Array.from({ length: ranks }, (_, i) => i * stride);
  const perChip = Math.max(1, Math.min(ranks, Math.floor(cluster.ranksPerChip / stride)));
  const choices = candidatesFor(collective, members, perChip, cluster, engine.library);
  const best = model.cost(request).algorithm;
  const candidate = choices.find(({ name }) => name === best) ?? choices.find(({ name }) => name === 'ring')!;
  return {
    timing: model.time({ ...request, algorithm: candidate.name === best ? 'auto' : 'ring' }, fidelity),
    schedule: candidate.schedule(collective, elements),
  };
}
