/**
 * Going on with broken links instead of stopping: routes detour, the collectives get slower, and the repair waits for a pause.
 *
 *     links broken at a time    Poisson with mean repair x rate of the network's failures
 *     step with a broken link   1 + c (f - 1): c part of communication, f all-reduce over the detour / without
 *     goodput                   that of the failures which still stop the job / mean length of a step
 *
 * A synchronous job waits for the slowest system, so one broken link anywhere counts. Leaves out: several in one system, links
 * whose loss cuts a chip off, the pause for the repair.
 */
import { expectInteger } from '../base/errors.ts';
import { exp } from '../base/math.ts';
import type { Bytes, Seconds } from '../base/units.ts';
import { CollectiveModel } from '../collectives/collective-clock.ts';
import { applyFaults } from '../fabric/degrade.ts';
import { parseFault } from '../fabric/faults.ts';
import { linkName } from '../fabric/topology.ts';
import type { SystemSpec } from '../hardware/spec.ts';
import { createCluster } from '../machine/cluster.ts';
import { expectFinite } from './expect.ts';
import { type CheckpointedJob, goodput } from './goodput.ts';
import { jobMtbf, type ReliabilityProfile } from './reliability.ts';

/** The component of a failure profile that links belong to. */
const NETWORK = 'network switch or cable';

/** All-reduce over all chips of a system with its first link dead both ways / without: what the detour costs. */
export function detourSlowdown(system: SystemSpec, bytes: Bytes = 2 ** 26): number {
  const healthy = createCluster(system, { rank: 'chip' });
  const { scaleUp } = healthy;
  // A link from a chip to itself is its cores' path over the chip's own memory: no cable that could break.
  const link = scaleUp.from.findIndex((from, i) => from !== scaleUp.to[i]);
  if (link === -1) return 1;
  const [name] = linkName(scaleUp, link).split(' ') as [string];
  const broken = applyFaults(healthy, parseFault(name.replace('->', '<->')));
  const time = (cluster: typeof healthy) =>
    new CollectiveModel(cluster).cost({
      collective: 'all-reduce',
      bytes,
      group: { ranks: cluster.ranks, stride: 1 },
    }).time;
  return time(broken) / time(healthy);
}

export interface ReroutedJob extends Omit<CheckpointedJob, 'mtbf'> {
  readonly chips: number;
  readonly reliability: ReliabilityProfile;
  /** Until a broken link is replaced. */
  readonly repair: Seconds;
  /** `detourSlowdown`, and the part of a step that it slows. */
  readonly slowdown: number;
  readonly communication: number;
}

/** Goodput of a job that takes detours round broken links and stops for everything else. */
export function reroutedGoodput(job: ReroutedJob): number {
  const { reliability, write, restart } = job;
  const chips = expectInteger('chips', job.chips, 1);
  const repair = expectFinite('repair', job.repair, { min: 0 });
  const slowdown = expectFinite('slowdown', job.slowdown, { min: 1 });
  const communication = expectFinite('communication', job.communication, { min: 0, max: 1 });
  const { components } = reliability;
  const rest = components.filter(({ name }) => name !== NETWORK);
  if (rest.length === 0) throw new RangeError(`"reliability" expected failures that stop a job, got ${reliability.id}`);
  const linkRate = components.reduce((sum, { name, rate }) => (name === NETWORK ? sum + rate : sum), 0);
  // Poisson: the probability that at least one link is broken.
  const isSlow = 1 - exp(-chips * linkRate * repair);
  const mtbf = jobMtbf({ ...reliability, components: rest }, chips);
  return goodput({ mtbf, write, restart }) / (1 + isSlow * communication * (slowdown - 1));
}
