/**
 * The collective behind each sum over ranks of a program: the algorithm that the collective model chooses for the group and
 * the bytes, as a time for the clock and as a schedule for the executor.
 *
 * Groups are equal and regular, so one schedule over positions serves them all. Where the model's choice goes through
 * nodes level by level, a ring over the whole group runs, and is timed, instead.
 */
import { candidatesFor } from '../../collectives/candidates.ts';
import { CollectiveModel } from '../../collectives/collective-clock.ts';
import type { CollectiveCost } from '../../collectives/cost.ts';
import type { Schedule } from '../../collectives/schedule.ts';
import type { Cluster } from '../../fabric/cluster.ts';
import { DTYPES } from '../../kernels/index.ts';
import { type AllReduceInstruction, elementsOf } from './program.ts';

interface Exchange {
  readonly cost: CollectiveCost;
  readonly schedule: Schedule;
}

export type Exchanges = (instruction: AllReduceInstruction) => Exchange;

/** Remembers what it has chosen. */
export function exchangesOn(cluster: Cluster): Exchanges {
  const model = new CollectiveModel(cluster);
  const known = new Map<string, Exchange>();
  return ({ value, ranks, stride }) => {
    const elements = elementsOf(value);
    const { bytes } = DTYPES[value.dtype];
    const key = `${elements} ${bytes} ${ranks} ${stride}`;
    let exchange = known.get(key);
    if (exchange === undefined) {
      const group = { ranks, stride };
      const cases = { collective: 'all-reduce' as const, bytes: elements * bytes, group, dtype: value.dtype };
      const members = Int32Array.from({ length: ranks }, (_, i) => i * stride);
      const perChip = Math.max(1, Math.min(ranks, Math.floor(cluster.ranksPerChip / stride)));
      const choices = candidatesFor('all-reduce', members, perChip, cluster, model.engine.library);
      const best = model.cost(cases);
      const chosen = choices.find(({ name }) => name === best.algorithm);
      const cost = chosen ? best : model.cost({ ...cases, algorithm: 'ring' });
      const candidate = chosen ?? choices.find(({ name }) => name === 'ring')!;
      exchange = { cost, schedule: candidate.schedule('all-reduce', elements) };
      known.set(key, exchange);
    }
    return exchange;
  };
}
