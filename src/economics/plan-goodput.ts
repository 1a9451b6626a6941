/**
 * `trnsim plan --goodput`: what failures leave of one synchronous job on so many chips, by formula and by Monte Carlo, with
 * its best checkpoint interval, its spares, and the elastic job beside it.
 *
 *     checkpoint = bytes of the model's state / bandwidth of the storage, for a model; otherwise as given
 *
 * State of mixed-precision training with Adam: 2 bytes of weights, 4 of master weights, 8 of moments a parameter.
 */
import { expectInteger } from '../base/errors.ts';
import type { Bytes, BytesPerSecond, Seconds } from '../base/units.ts';
import type { SystemSpec } from '../hardware/spec.ts';
import { parameterCounts } from '../models/parameters.ts';
import type { ModelSpec } from '../models/spec.ts';
import { expectFinite } from './expect.ts';
import { bestInterval, elasticGoodput, goodput, sparesFor, stragglerFactor } from './goodput.ts';
import { simulateGoodput } from './goodput-simulation.ts';
import { componentMtbf, jobMtbf, type ReliabilityProfile, reliabilityProfiles } from './reliability.ts';
import { detourSlowdown, reroutedGoodput } from './reroute.ts';

/** Of the header: 2 + 4 + 8. Gradients are not stored, a step makes them anew. */
const STATE_BYTES_PER_PARAMETER = 14;

export interface GoodputPlanOptions {
  /** Sizes of the job, a row each. */
  readonly chips: readonly number[];
  /** Observed failures; those of the first shipped profile if left out. */
  readonly reliability?: ReliabilityProfile;
  /** Time that a checkpoint stops the job, 60 s if left out; or from a model and a storage. */
  readonly write?: Seconds;
  readonly model?: ModelSpec;
  readonly storage?: BytesPerSecond;
  /** From a failure until work goes on, 600 s if left out; work between checkpoints, the best interval if left out. */
  readonly restart?: Seconds;
  readonly interval?: Seconds;
  /** How long a failed unit is away, for the spares; replicas of the elastic job, and what their leaving costs. */
  readonly repair?: Seconds;
  readonly replicas?: number;
  readonly resize?: Seconds;
  /** Chips that are slow: their part, and how much slower they are. */
  readonly slowShare?: number;
  readonly slowdown?: number;
  /** Detours round broken links on these systems, instead of a stop; the part of a step that communication takes. */
  readonly reroute?: SystemSpec;
  readonly communication?: number;
  /** Of the Monte Carlo. */
  readonly seed?: number;
}

/** One size of the job. Goodput is work done / time, between 0 and 1. */
export interface GoodputRow {
  readonly chips: number;
  /** Mean time between the failures that stop the job, in minutes. */
  readonly mtbfMin: number;
  /** Time that a checkpoint stops the job, time that a restart takes, work between two checkpoints. */
  readonly checkpointS: number;
  readonly restartS: number;
  readonly intervalS: number;
  /** Checkpoint and restart: by the closed form, and failure by failure with one standard deviation of that. */
  readonly goodput: number;
  readonly goodputMonteCarlo: number;
  readonly standardError: number;
  /** Expected length of a step with stragglers / without. */
  readonly stragglerFactor: number;
  /** Spare units that are all out at most once in a hundred failures. */
  readonly spareUnits: number;
  /** Of a job that loses a replica in place of its work. */
  readonly goodputElastic: number;
  /** Null where no system to take detours on was named. */
  readonly goodputRerouted: number | null;
  readonly mtbfByComponent: readonly { readonly name: string; readonly mtbfMin: number; readonly sharePct: number }[];
}

export interface GoodputPlan {
  readonly schemaVersion: 1;
  readonly reliability: string;
  /** Whether the rates are the user's or were observed on other machines. */
  readonly note: string;
  /** Null without a model. */
  readonly checkpointBytes: Bytes | null;
  /** All-reduce of 64 MiB with a dead link / without. */
  readonly detourSlowdown: number | null;
  readonly plans: readonly GoodputRow[];
}

/** @throws RangeError for an option out of range, or a job that fails too often to be simulated */
export function planGoodput(options: GoodputPlanOptions): GoodputPlan {
  const profile = options.reliability ?? reliabilityProfiles()[0]!;
  const bytes = options.model === undefined ? null : STATE_BYTES_PER_PARAMETER * parameterCounts(options.model).total;
  const storage = options.storage === undefined ? null : expectFinite('storage', options.storage, { above: 0 });
  const write = options.write ?? (bytes === null || storage === null ? 60 : bytes / storage);
  expectFinite('checkpoint', write, { above: 0 });
  const { restart = 600, repair = 86_400, replicas = 100, resize = 1, slowShare = 0, slowdown = 1 } = options;
  const { reroute, communication = 0.25 } = options;
  const detour = reroute === undefined ? null : detourSlowdown(reroute);
  const plans = options.chips.map((chips): GoodputRow => {
    const mtbf = jobMtbf(profile, expectInteger('goodput', chips, 1, 1e9));
    const job = { mtbf, write, restart };
    const interval = options.interval ?? bestInterval(job);
    const simulated = simulateGoodput(job, { interval, seed: options.seed ?? 1 });
    return {
      chips,
      mtbfMin: mtbf / 60,
      checkpointS: write,
      restartS: restart,
      intervalS: interval,
      goodput: goodput(job, interval),
      goodputMonteCarlo: simulated.goodput,
      standardError: simulated.standardError,
      stragglerFactor: stragglerFactor(chips, slowShare, slowdown),
      spareUnits: sparesFor(mtbf, repair, 0.01),
      // A spare takes the place of what failed: the replica is away for a restart, not for the repair.
      goodputElastic: elasticGoodput({ mtbf, replicas, repair: restart, resize }),
      goodputRerouted:
        detour === null
          ? null
          : reroutedGoodput({ chips, reliability: profile, write, restart, repair, slowdown: detour, communication }),
      mtbfByComponent: componentMtbf(profile, chips).map(({ name, mtbf: own, share }) => ({
        name,
        mtbfMin: own / 60,
        sharePct: 100 * share,
      })),
    };
  });
  return {
    schemaVersion: 1,
    reliability: profile.name,
    note:
      options.reliability === undefined || reliabilityProfiles().includes(options.reliability)
        ? 'No failure rate of Trainium is public: the rates were observed on GPUs.'
        : 'Failure rates as given.',
    checkpointBytes: bytes,
    detourSlowdown: detour,
    plans,
  };
}
