/**
 * Goodput by Monte Carlo: the same jobs as in `goodput.ts`, failure by failure, which holds the formulas to account and goes
 * on where there is none (spares that run out).
 *
 * Every experiment has a random stream of its own; the result says how far it may be off: the standard error of the
 * ratio work / time over independent segments (delta method) or batches.
 */
import { expectInteger } from '../base/errors.ts';
import { exp } from '../base/math.ts';
import { exponentialStream, uniformStream } from '../base/random.ts';
import type { Seconds } from '../base/units.ts';
import { expectFinite } from './expect.ts';
import { bestInterval, type CheckpointedJob, checkElasticJob, checkJob, type ElasticJob } from './goodput.ts';

export interface SimulatedGoodput {
  readonly goodput: number;
  /** One standard deviation of `goodput`. */
  readonly standardError: number;
  readonly failures: number;
  /** Mean time spent waiting for a spare, per failure. */
  readonly spareWait: Seconds;
}

export interface SimulationOptions {
  readonly seed?: number;
  /** Segments (checkpointed) or failures (elastic) to run; 40,000 if left out. */
  readonly events?: number;
  /** Work between checkpoints; the best one if left out. */
  readonly interval?: Seconds;
  /** Spare units that replace what failed, and how long each is away afterwards. Without: always enough. */
  readonly spares?: { readonly units: number; readonly repair: Seconds };
}

/** Segments or failures: the standard error goes as 1 / sqrt of it. */
const EVENTS = 40_000;
/** A job that is expected to fail more often than this before its segments are done makes no progress worth the name. */
const MAX_FAILURES = 20_000_000;

/** A job under way. */
class Run {
  readonly #exponential: () => number;
  readonly #mtbf: Seconds;
  readonly #repair: Seconds;
  /** When the spare units return. Repairs take equal times, so they return in the order in which they left: a ring. */
  readonly #returns: Float64Array | null;
  clock: Seconds = 0;
  failures = 0;
  waited: Seconds = 0;

  constructor(mtbf: Seconds, seed: number, spares: SimulationOptions['spares']) {
    this.#exponential = exponentialStream(seed, 0);
    this.#mtbf = mtbf;
    this.#repair = spares === undefined ? 0 : expectFinite('repair', spares.repair, { min: 0 });
    this.#returns = spares === undefined ? null : new Float64Array(expectInteger('spares', spares.units, 1, 1e7));
  }

  /** Goes on for `duration`, or until a failure; says which. */
  survives(duration: Seconds): boolean {
    const failure = this.#mtbf * this.#exponential();
    this.clock += Math.min(failure, duration);
    if (failure >= duration) return true;
    this.failures++;
    return false;
  }

  /** Waits until a spare is free and takes it; the unit that it replaces joins the pool after its repair. */
  replace(): void {
    if (this.#returns === null) return;
    const slot = (this.failures - 1) % this.#returns.length;
    const wait = Math.max(0, this.#returns[slot]! - this.clock);
    this.clock += wait;
    this.waited += wait;
    this.#returns[slot] = this.clock + this.#repair;
  }
}

/**
 * Runs a checkpointed job segment by segment.
 * @throws RangeError for an argument out of range, or if the job can be expected to fail 20 million times on the way
 */
export function simulateGoodput(job: CheckpointedJob, options: SimulationOptions = {}): SimulatedGoodput {
  checkJob(job);
  const { mtbf, write, restart } = job;
  const interval = expectFinite('interval', options.interval ?? bestInterval(job), { above: 0 });
  const segments = expectInteger('events', options.events ?? EVENTS, 2, 1e8);
  // A stretch of work survives with probability e^-x, x its length over the MTBF; so does a restart.
  const failures = segments * exp(restart / mtbf) * (exp((interval + write) / mtbf) - 1);
  if (failures > MAX_FAILURES) {
    const stretch = `${interval} s of work and ${write} s of checkpoint`;
    throw new RangeError(
      `"mtbf" expected a job that makes progress, got a failure every ${Math.round(mtbf)} s beside ${stretch}`,
    );
  }
  const run = new Run(mtbf, options.seed ?? 1, options.spares);
  let squares = 0;
  for (let segment = 0; segment < segments; segment++) {
    const start = run.clock;
    while (!run.survives(interval + write)) {
      // A restart that fails begins again.
      do run.replace();
      while (!run.survives(restart));
    }
    squares += (run.clock - start) * (run.clock - start);
  }
  // Segments are independent and each holds `interval` of work, so goodput is interval / mean; its error follows from that of
  // the mean by the derivative.
  const mean = run.clock / segments;
  const deviation = Math.sqrt(Math.max(0, squares / segments - mean * mean) / segments);
  const result = interval / mean;
  return {
    goodput: result,
    standardError: (result * deviation) / mean,
    failures: run.failures,
    spareWait: run.failures === 0 ? 0 : run.waited / run.failures,
  };
}

/** Of an elastic job: its segments are not independent, but long batches nearly are. */
const BATCHES = 20;

/**
 * Runs an elastic job failure by failure: each of its replicas fails by itself and returns after its repair. With no
 * replica present, the job waits for the first to return.
 */
export function simulateElasticGoodput(
  job: ElasticJob,
  options: Pick<SimulationOptions, 'seed' | 'events'> = {},
): SimulatedGoodput {
  checkElasticJob(job);
  const { mtbf, replicas, repair, resize } = job;
  const events = expectInteger('events', options.events ?? EVENTS, BATCHES, 1e8);
  const exponential = exponentialStream(options.seed ?? 1, 1);
  const uniform = uniformStream(options.seed ?? 1, 2);
  const ownMtbf = mtbf * replicas;
  // Return times of absent replicas: a queue, as equal repairs end in the order of the failures. The job begins in the
  // state that it settles in: each replica is absent with its long-run probability.
  const returns = Array.from({ length: replicas }, () => repair * (uniform() * (1 + ownMtbf / repair)))
    .filter((left) => left < repair)
    .sort((a, b) => a - b);
  const absentAtStart = returns.length;
  let head = 0;
  let clock = 0;
  let work = 0;
  let failures = 0;
  const batches: { readonly work: number; readonly time: Seconds }[] = [];
  let start = { clock, work };
  while (failures < events) {
    const absent = returns.length - head;
    const present = replicas - absent;
    const failure = present === 0 ? Infinity : (ownMtbf / present) * exponential();
    const back = absent === 0 ? Infinity : Math.max(0, returns[head]! - clock);
    const wait = Math.min(failure, back);
    clock += wait;
    work += (wait * present) / replicas;
    if (back <= failure) head++;
    else failures = returns.push(clock + repair) - absentAtStart;
    // All stand still while the group forms anew.
    clock += resize;
    if (failures >= ((batches.length + 1) * events) / BATCHES) {
      batches.push({ work: work - start.work, time: clock - start.clock });
      start = { clock, work };
    }
  }
  const result = work / clock;
  const spread = batches.reduce((sum, batch) => {
    const deviation = batch.work / batch.time - result;
    return sum + deviation * deviation;
  }, 0);
  return {
    goodput: result,
    standardError: Math.sqrt(spread / (BATCHES * (BATCHES - 1))),
    failures,
    spareWait: 0,
  };
}
