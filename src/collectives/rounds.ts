/**
 * Closed forms: what a schedule costs as a straight line in the bytes, found once from one step of each class.
 *
 *     round     `count` equal steps:  t = (count - 1) max(n g, l + n m) + L + n g
 *               g: seconds per byte of the slowest transfer of a step, m: mean over its transfers, from the bytes of all
 *               transfers on each resource; l, L: mean and largest latency
 *     schedule  t = start + sum of the rounds
 *
 * In equal steps ranks pass data on in a cycle, as in a ring: a rank sends its next when its last is out (a loop of weight
 * g) and when its predecessor's has come (a cycle with the mean of latency and sending time as weight). The pace of such a
 * system is its largest mean weight round a cycle, so one slow hop costs its latency once, and its bandwidth every step.
 * see: Baccelli, Cohen, Olsder and Quadrat, "Synchronization and Linearity", 1992, for cycle means.
 * Exact where all transfers of a step take equally long. Leaves out: max-min sharing (a transfer has the share of its
 * bottleneck only), and the ranges that are one element longer where a buffer does not divide evenly.
 */
import type { Bytes, Seconds } from '../base/units.ts';
import { driveOf } from './drive.ts';
import type { Protocol } from './engine.ts';
import { stepClasses } from './execute.ts';
import { loadOf } from './flow.ts';
import { compileSteps, type Program } from './program.ts';
import type { Schedule } from './schedule.ts';
import type { Wires } from './wires.ts';

export interface Round {
  readonly count: number;
  /** Most transfers that a rank starts in a step. */
  readonly peers: number;
  /** Seconds for each byte of the collective's size. */
  readonly gap: number;
  readonly meanGap: number;
  /** One for each protocol of the engine. */
  readonly latency: readonly Seconds[];
  readonly meanLatency: readonly Seconds[];
}

/**
 * The rounds of a schedule that all `groups` run side by side.
 * @param bytesPerElement with which the schedule's elements are the fraction 1 of the collective's size
 */
export function measureRounds(
  schedule: Schedule,
  groups: readonly ArrayLike<number>[],
  bytesPerElement: number,
  wires: Wires,
): Round[] {
  return stepClasses(schedule).map(({ first, count }) =>
    measureStep(compileSteps(schedule, [first], groups, bytesPerElement, wires), count, wires),
  );
}

function measureStep(program: Program, count: number, wires: Wires): Round {
  const { path } = program;
  const load = loadOf(program, wires);
  const gaps = Float64Array.from(path, (p) => slowestResource(p, load, wires));
  const drives = wires.engine.protocols.map((protocol) => driveOf(program, wires, protocol).latency);
  return {
    count,
    peers: largest(sendsPerEndpoint(program)),
    gap: largest(gaps),
    meanGap: mean(gaps),
    latency: drives.map(largest),
    meanLatency: drives.map(mean),
  };
}

function sendsPerEndpoint({ endpoints, source }: Program): Float64Array {
  const sends = new Float64Array(endpoints);
  for (const endpoint of source) sends[endpoint]!++;
  return sends;
}

function largest(values: Float64Array): number {
  return values.reduce((most, value) => Math.max(most, value), 0);
}

function mean(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Seconds that the fullest resource on a path takes for all its bytes. */
function slowestResource(path: number, load: Float64Array, { paths, capacity }: Wires): Seconds {
  const { ways, entries, resource } = paths;
  let slowest = 0;
  for (let i = entries[ways[path]!]!; i < entries[ways[path + 1]!]!; i++) {
    slowest = Math.max(slowest, load[resource[i]!]! / capacity[resource[i]!]!);
  }
  return slowest;
}

/** Time of the rounds for a collective of `bytes`, without the start. */
export function roundsTime(
  rounds: readonly Round[],
  bytes: Bytes,
  { efficiency }: Protocol,
  protocol: number,
): Seconds {
  const scaled = bytes / efficiency;
  let time = 0;
  for (let i = 0; i < rounds.length; i++) {
    const { count, gap, meanGap, latency, meanLatency } = rounds[i]!;
    const pace = Math.max(scaled * gap, meanLatency[protocol]! + scaled * meanGap);
    time += (count - 1) * pace + latency[protocol]! + scaled * gap;
  }
  return time;
}
