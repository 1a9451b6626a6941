/**
 * Closed forms: what a schedule costs as a straight line in the bytes, found once from one step of each class.
 *
 *     round     `count` equal steps:  t = (count - 1) max(n g + h, l + n m) + L + n g + h
 *               g: seconds per byte of the slowest transfer of a step, m: mean over its transfers, from the bytes of all
 *               transfers on each resource; l, L: mean and largest latency; h: the longest hold, part of l as well
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
import { sendsBeside, transferLatency } from './drive.ts';
import type { CollectiveEngine, Protocol } from './engine.ts';
import { stepClasses } from './execute.ts';
import { loadOf } from './flow.ts';
import { hashReals } from './hash.ts';
import { compileSteps, type Program } from './program.ts';
import type { Schedule } from './schedule.ts';
import { kindFactors, RESOURCE_KINDS, type Wires } from './wires.ts';

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
  /** Longest time, and mean, that a message occupies its sender beside its bytes. */
  readonly hold: Seconds;
  readonly meanHold: Seconds;
}

/** Transfers of a step that are alike: the same part of every kind of resource, and the same latencies. */
interface TransferClass {
  readonly count: number;
  /** Of each kind of resource: bytes on the fullest of its path / its rate, for a collective of one byte. */
  readonly fill: Float64Array;
  readonly latency: Seconds;
  readonly isFar: boolean;
  readonly sends: number;
}

/** What is to be known of the steps of one class, whatever the engine: so constants can be fitted without new schedules. */
export interface StepProfile {
  readonly count: number;
  readonly transfers: readonly TransferClass[];
}

/**
 * Profiles of a schedule that all `groups` run side by side, one for each class of steps.
 * @param bytesPerElement with which the schedule's elements are the fraction 1 of the collective's size
 */
export function profileSteps(
  schedule: Schedule,
  groups: readonly ArrayLike<number>[],
  bytesPerElement: number,
  wires: Wires,
): StepProfile[] {
  return stepClasses(schedule).map(({ first, count }) => ({
    count,
    transfers: profile(compileSteps(schedule, [first], groups, bytesPerElement, wires), wires),
  }));
}

function profile(program: Program, wires: Wires): TransferClass[] {
  const { path } = program;
  const { paths, rate, kinds } = wires;
  const load = loadOf(program, wires);
  const sends = sendsBeside(program);
  const classes = new Map<number, { -readonly [K in keyof TransferClass]: TransferClass[K] }>();
  const kindCount = RESOURCE_KINDS.length;
  const features = new Float64Array(kindCount + 3);
  for (let t = 0; t < path.length; t++) {
    features.fill(0);
    for (let i = paths.entries[paths.ways[path[t]!]!]!; i < paths.entries[paths.ways[path[t]! + 1]!]!; i++) {
      const resource = paths.resource[i]!;
      const part = load[resource]! / rate[resource]!;
      features[kinds[resource]!] = Math.max(features[kinds[resource]!]!, part);
    }
    const fill = features.slice(0, kindCount);
    const latency = paths.latency[path[t]!]!;
    const isFar = wires.crossesNetwork(path[t]!);
    // In single precision, as sums in another order differ in their last digits.
    for (let kind = 0; kind < kindCount; kind++) features[kind] = Math.fround(features[kind]!);
    features[kindCount] = latency;
    features[kindCount + 1] = isFar ? 1 : 0;
    features[kindCount + 2] = sends[t]!;
    const key = hashReals(features);
    const known = classes.get(key);
    if (known) known.count++;
    else classes.set(key, { count: 1, fill, latency, isFar, sends: sends[t]! });
  }
  return Array.from(classes.values());
}

/** The round of a profile under an engine. */
export function roundOf({ count, transfers }: StepProfile, engine: CollectiveEngine): Round {
  const factors = kindFactors(engine);
  const gapOf = ({ fill }: TransferClass): number =>
    fill.reduce((slowest, part, kind) => Math.max(slowest, part / factors[kind]!), 0);
  const holdOf = ({ isFar }: TransferClass): Seconds => (isFar ? engine.networkHold : 0);
  const latencies = engine.protocols.map((protocol) => ({
    of: ({ latency, isFar, sends }: TransferClass) => transferLatency(latency, isFar, sends, engine, protocol),
  }));
  return {
    count,
    peers: largest(transfers, ({ sends }) => sends),
    gap: largest(transfers, gapOf),
    meanGap: mean(transfers, gapOf),
    latency: latencies.map(({ of }) => largest(transfers, of)),
    meanLatency: latencies.map(({ of }) => mean(transfers, of)),
    hold: largest(transfers, holdOf),
    meanHold: mean(transfers, holdOf),
  };
}

function largest(transfers: readonly TransferClass[], of: (transfer: TransferClass) => number): number {
  return transfers.reduce((most, transfer) => Math.max(most, of(transfer)), 0);
}

function mean(transfers: readonly TransferClass[], of: (transfer: TransferClass) => number): number {
  const total = transfers.reduce((sum, { count }) => sum + count, 0);
  return transfers.reduce((sum, transfer) => sum + transfer.count * of(transfer), 0) / total;
}

/**
 * Time of the rounds for a collective of `bytes`, without the start.
 * @param holds 1, or 0 where so few messages are on their way that none waits for the one before
 */
export function roundsTime(
  rounds: readonly Round[],
  bytes: Bytes,
  { efficiency }: Protocol,
  protocol: number,
  holds: 0 | 1,
): Seconds {
  const scaled = bytes / efficiency;
  let time = 0;
  for (let i = 0; i < rounds.length; i++) {
    const { count, gap, meanGap, latency, meanLatency, hold, meanHold } = rounds[i]!;
    const own = scaled * gap + holds * hold;
    const pace = Math.max(own, meanLatency[protocol]! + scaled * meanGap + holds * meanHold);
    time += (count - 1) * pace + latency[protocol]! + own;
  }
  return time;
}
