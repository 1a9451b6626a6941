/**
 * Goodput: the part of its time in which a job makes progress that it keeps.
 *
 * A synchronous job writes a checkpoint (w) after every interval D of work, fails at rate 1 / M, and after a failure spends
 * R on a restart, which can fail as well, and repeats what it did since the checkpoint. The expected time of a segment is
 *
 *     T(D) = M e^(R/M) (e^((D+w)/M) - 1)        goodput = D / T(D)
 *
 * Its maximum is where (1 - x) e^x = e^(-w/M), x = D / M; to first order D = sqrt(2 w M).
 * see: J. T. Daly, A higher order estimate of the optimum checkpoint interval for restart dumps, FGCS 22 (2006), eq. 13, 20.
 *
 * Elastic data parallelism loses no work: of `replicas` each is away for `repair` after its failure, and every
 * departure and return stops all for `resize`, which stretches time by s = 1 + c P, c = 2 resize / M, when the part P of the
 * replicas is present. A replica works for its MTBF r M, which takes r M s, out of r M s + repair, so
 *
 *     goodput = P / s,   c P^2 + (1 + repair / (r M) - c) P - 1 = 0
 *
 * Leaves out: failures during the write of a checkpoint that damage it, storage that slows down when all write.
 */
import { expectInteger } from '../base/errors.ts';
import { exp } from '../base/math.ts';
import type { Seconds } from '../base/units.ts';
import { expectFinite } from './expect.ts';

export interface CheckpointedJob {
  /** Mean time between failures of the whole job. */
  readonly mtbf: Seconds;
  /** Time in which the job stands still to write a checkpoint. */
  readonly write: Seconds;
  /** From the failure until work goes on: detection, replacement, start, reading the checkpoint. */
  readonly restart: Seconds;
}

export interface ElasticJob {
  readonly mtbf: Seconds;
  readonly replicas: number;
  /** Until a failed replica is back. */
  readonly repair: Seconds;
  /** All replicas wait for this long when one leaves or comes. */
  readonly resize: Seconds;
}

export function checkJob({ mtbf, write, restart }: CheckpointedJob): void {
  expectFinite('mtbf', mtbf, { above: 0 });
  expectFinite('write', write, { above: 0 });
  expectFinite('restart', restart, { min: 0 });
}

/** Expected time from one checkpoint to the next. May be Infinity: such a job never gets there. */
export function segmentTime({ mtbf, write, restart }: CheckpointedJob, interval: Seconds): Seconds {
  return mtbf * exp(restart / mtbf) * (exp((interval + write) / mtbf) - 1);
}

/** The interval of work between checkpoints with the highest goodput. */
export function bestInterval({ mtbf, write }: Pick<CheckpointedJob, 'mtbf' | 'write'>): Seconds {
  const target = exp(-write / mtbf);
  // Newton from the right of the root, where (1 - x) e^x - target is negative and concave: falls to it without passing.
  let x = Math.min(1, Math.sqrt((2 * write) / mtbf));
  for (let i = 0; i < 60; i++) {
    const step = ((1 - x) * exp(x) - target) / (x * exp(x));
    x += step;
    if (Math.abs(step) < 1e-13) break;
  }
  return x * mtbf;
}

/**
 * Goodput of a job that checkpoints every `interval` of work; at the best interval if left out.
 * @throws RangeError if a time is negative, or the MTBF or the write 0
 */
export function goodput(job: CheckpointedJob, interval?: Seconds): number {
  checkJob(job);
  const work = interval ?? bestInterval(job);
  expectFinite('interval', work, { above: 0 });
  return work / segmentTime(job, work);
}

export function checkElasticJob({ mtbf, replicas, repair, resize }: ElasticJob): void {
  expectFinite('mtbf', mtbf, { above: 0 });
  expectInteger('replicas', replicas, 2);
  expectFinite('repair', repair, { min: 0 });
  expectFinite('resize', resize, { min: 0 });
}

/** Goodput of a job whose replicas leave and return while the others go on. */
export function elasticGoodput(job: ElasticJob): number {
  checkElasticJob(job);
  const { mtbf, replicas, repair, resize } = job;
  const c = (2 * resize) / mtbf;
  const b = 1 + repair / (replicas * mtbf) - c;
  const present = 2 / (b + Math.sqrt(b * b + 4 * c));
  return present / (1 + c * present);
}

/**
 * The fewest spare units that are all in use at the moment of a failure with at most probability `risk`. Units under
 * repair are Poisson with mean repair / mtbf (each failure takes one away for `repair`).
 */
export function sparesFor(mtbf: Seconds, repair: Seconds, risk: number): number {
  expectFinite('mtbf', mtbf, { above: 0 });
  expectFinite('repair', repair, { min: 0 });
  expectFinite('risk', risk, { above: 0, max: 1 });
  const mean = expectFinite('repair', repair / mtbf, { max: 1e7 });
  // Terms relative to the one at the mean, which no mean makes too small to hold, summed down from the far tail.
  const end = Math.ceil(mean + 12 * Math.sqrt(mean) + 40);
  const terms = new Float64Array(end + 1);
  const mode = Math.floor(mean);
  terms[mode] = 1;
  for (let k = mode; k > 0; k--) terms[k - 1] = (terms[k]! * k) / mean;
  for (let k = mode; k < end; k++) terms[k + 1] = (terms[k]! * mean) / (k + 1);
  const total = terms.reduce((sum, term) => sum + term, 0);
  let tail = 0;
  let spares = end;
  while (spares > 0 && tail + terms[spares]! <= risk * total) tail += terms[spares--]!;
  return mean === 0 ? 0 : spares + 1;
}

/**
 * How much longer a synchronous step takes when each of `chips` is slow with probability `share`: it waits for the slowest.
 * @param slowdown time of a slow chip / time of the others, >= 1
 */
export function stragglerFactor(chips: number, share: number, slowdown: number): number {
  expectInteger('chips', chips, 1);
  expectFinite('share', share, { min: 0, max: 1 });
  expectFinite('slowdown', slowdown, { min: 1 });
  return 1 + (slowdown - 1) * (1 - power(1 - share, chips));
}

/** x^n for a whole n, by squaring: exact to rounding and the same everywhere. */
function power(x: number, n: number): number {
  let result = 1;
  for (let base = x, rest = n; rest > 0; rest = Math.floor(rest / 2), base *= base) if (rest % 2 === 1) result *= base;
  return result;
}
