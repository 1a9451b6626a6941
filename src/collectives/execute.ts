/**
 * The flow and event clocks on a collective: its phases one after another, each a schedule on groups of ranks.
 *
 * Folding. Inside nodes one node of each kind is run, and the slowest counts; steps of one class are run once where they
 * leave all ranks in step. Both are exact: equal nodes take equally long, and ranks that are in step start the next equal
 * step as they started the last. So a million chips cost one node, plus one for each pattern of faults.
 * Between nodes all places run at once; from MAX_TRANSFERS on, as classes of links by the closed form of `scale-out.ts`, in
 * which every transfer of a round has the same share of the same kind of links, as max-min fairness gives it.
 */
import { expectInteger } from '../base/errors.ts';
import type { Bytes, Seconds } from '../base/units.ts';
import { driveOf } from './drive.ts';
import type { Protocol } from './engine.ts';
import { DEFAULT_CHUNK, runEvents } from './event.ts';
import { type ExecutionResult, runFlow } from './flow.ts';
import { compileSteps, type Program } from './program.ts';
import type { Schedule } from './schedule.ts';
import type { Wires } from './wires.ts';

export type Fidelity = 'formula' | 'flow' | 'event';

/** What one resource did while a collective ran. */
export interface ResourceUse {
  readonly name: string;
  readonly kind: 'link' | 'memory' | 'channel';
  readonly bytes: Bytes;
  /** Time at its full rate that the bytes take. */
  readonly busy: Seconds;
  /** Busy time over the whole time, and the largest part of its capacity in use at once. */
  readonly utilization: number;
  readonly peak: number;
}

export interface PhaseRun {
  readonly time: Seconds;
  /** By the numbers of the wires. */
  readonly load: Float64Array;
  readonly peak: Float64Array;
}

type Runner = (program: Program, wires: Wires, protocol: Protocol, ready?: Float64Array) => ExecutionResult;

const RUNNERS: Readonly<Record<'flow' | 'event', Runner>> = {
  flow: (program, wires, protocol, ready) => runFlow(program, wires, driveOf(program, wires, protocol), ready),
  event: (program, wires, protocol, ready) =>
    runEvents(program, wires, driveOf(program, wires, protocol), DEFAULT_CHUNK, ready),
};

/** Ends that differ by less than this part of the time are one: rounding, or a range one element longer. */
const IN_STEP = 1e-6;

/**
 * Runs a schedule that all `groups` run side by side.
 * @throws RangeError if that is too much for one run: more than 2^21 transfers
 */
export function runPhase(
  schedule: Schedule,
  groups: readonly Int32Array[],
  bytesPerElement: Bytes,
  wires: Wires,
  protocol: Protocol,
  fidelity: 'flow' | 'event',
): PhaseRun {
  const run = RUNNERS[fidelity];
  const { lateRanks } = wires.cluster;
  if (lateRanks.size === 0) {
    const folded = runClasses(schedule, groups, bytesPerElement, wires, protocol, run);
    if (folded !== null) return folded;
  }
  const program = compileSteps(schedule, upTo(schedule.steps), groups, bytesPerElement, wires);
  const ready = new Float64Array(program.endpoints);
  groups.forEach((members, g) => {
    members.forEach((rank, i) => {
      ready[g * schedule.endpoints + i] = lateRanks.get(rank) ?? 0;
    });
  });
  return run(program, wires, protocol, ready);
}

/** One step of each class, if every one of them leaves all endpoints in step; null if not. */
function runClasses(
  schedule: Schedule,
  groups: readonly Int32Array[],
  bytesPerElement: Bytes,
  wires: Wires,
  protocol: Protocol,
  run: Runner,
): PhaseRun | null {
  let time = 0;
  const runs: { count: number; result: ExecutionResult }[] = [];
  for (const { first, count } of stepClasses(schedule)) {
    const result = run(compileSteps(schedule, [first], groups, bytesPerElement, wires), wires, protocol);
    const earliest = result.ends.reduce((least, end) => Math.min(least, end), result.time);
    if (schedule.steps > 1 && result.time - earliest > IN_STEP * result.time) return null;
    time += count * result.time;
    runs.push({ count, result });
  }
  const load = new Float64Array(wires.capacity.length);
  const peak = new Float64Array(wires.capacity.length);
  for (const { count, result } of runs) {
    result.load.forEach((bytes, r) => {
      load[r]! += count * bytes;
    });
    result.peak.forEach((part, r) => {
      peak[r] = Math.max(peak[r]!, part);
    });
  }
  return { time, load, peak };
}

/** The first step of each class, and how many there are. */
export function stepClasses({ stepClass }: Schedule): { first: number; count: number }[] {
  const classes = new Map<number, { first: number; count: number }>();
  stepClass.forEach((number, step) => {
    const known = classes.get(number);
    if (known) known.count++;
    else classes.set(number, { first: step, count: 1 });
  });
  return Array.from(classes.values());
}

function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

/** The resources that were used, longest busy first; equal ones in the order of their numbers. */
export function resourceUses(runs: readonly PhaseRun[], time: Seconds, wires: Wires): ResourceUse[] {
  const uses: ResourceUse[] = [];
  wires.capacity.forEach((capacity, resource) => {
    let bytes = 0;
    let peak = 0;
    for (const run of runs) {
      bytes += run.load[resource] ?? 0;
      peak = Math.max(peak, run.peak[resource] ?? 0);
    }
    if (bytes === 0) return;
    const busy = bytes / capacity;
    const name = wires.name(resource);
    const kind = wires.isLink(resource) ? 'link' : name.endsWith('memory') ? 'memory' : 'channel';
    uses.push({ name, kind, bytes, busy, utilization: time > 0 ? busy / time : 0, peak });
  });
  return uses.sort((a, b) => b.busy - a.busy);
}

/** Elements of a collective of `bytes`. */
export function elementsOf(bytes: Bytes, bytesPerElement: Bytes): number {
  return expectInteger('elements', Math.ceil(bytes / bytesPerElement));
}
