/**
 * The flow and event clocks on a phase of a collective: a schedule on groups of ranks.
 *
 * What does not depend on the bytes, the programs of one step of each class, is compiled once and kept. Steps of one class
 * are run once where they leave all ranks in step: exact, as ranks that are in step start the next equal step as they started
 * the last. Otherwise all steps are run, with ranks as far ahead of each other as the data lets them.
 * Ranges that are one element longer than others, where a buffer does not divide evenly, count as equal.
 */
import type { Bytes, Seconds } from '../base/units.ts';
import { type Drive, driveOf } from './drive.ts';
import type { Protocol } from './engine.ts';
import { DEFAULT_CHUNK, runEvents } from './event.ts';
import { type ExecutionResult, loadOf, runFlow } from './flow.ts';
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

/** A program with what the clocks need beside it. */
interface Prepared {
  readonly program: Program;
  readonly load: Float64Array;
  readonly drives: Drive[];
}

/** Ends that differ by less than this part of the time are one: rounding. */
const IN_STEP = 1e-6;

/** A schedule on groups side by side, ready to be run with any number of bytes. */
export class PhaseClock {
  readonly #schedule: Schedule;
  readonly #groups: readonly Int32Array[];
  readonly #bytesPerElement: number;
  readonly #wires: Wires;
  readonly #classes: (Prepared & { readonly count: number })[];
  #whole: Prepared | undefined;

  /** @param bytesPerElement for a collective of one byte */
  constructor(schedule: Schedule, groups: readonly Int32Array[], bytesPerElement: number, wires: Wires) {
    this.#schedule = schedule;
    this.#groups = groups;
    this.#bytesPerElement = bytesPerElement;
    this.#wires = wires;
    this.#classes = stepClasses(schedule).map(({ first, count }) => ({ ...this.#prepare([first]), count }));
  }

  /**
   * Runs the phase of a collective of `bytes`.
   * @throws RangeError if that is too much for one run: more than 2^21 transfers
   */
  run(bytes: Bytes, protocol: Protocol, index: number, fidelity: 'flow' | 'event'): PhaseRun {
    const { lateRanks } = this.#wires.cluster;
    const folded = lateRanks.size === 0 ? this.#runClasses(bytes, protocol, index, fidelity) : null;
    if (folded !== null) return folded;
    this.#whole ??= this.#prepare(Array.from({ length: this.#schedule.steps }, (_, step) => step));
    const ready = new Float64Array(this.#whole.program.endpoints);
    this.#groups.forEach((members, g) => {
      members.forEach((rank, i) => {
        ready[g * this.#schedule.endpoints + i] = lateRanks.get(rank) ?? 0;
      });
    });
    const { time, peak } = this.#execute(this.#whole, bytes, protocol, index, fidelity, ready);
    return { time, load: this.#whole.load.map((load) => load * bytes), peak };
  }

  /** One step of each class, if every one of them leaves all endpoints in step; null if not. */
  #runClasses(bytes: Bytes, protocol: Protocol, index: number, fidelity: 'flow' | 'event'): PhaseRun | null {
    const resources = this.#wires.capacity.length;
    const total = { time: 0, load: new Float64Array(resources), peak: new Float64Array(resources) };
    for (const prepared of this.#classes) {
      const { count } = prepared;
      const { time, ends, peak } = this.#execute(prepared, bytes, protocol, index, fidelity);
      const earliest = ends.reduce((least, end) => Math.min(least, end), time);
      if (this.#schedule.steps > 1 && time - earliest > IN_STEP * time) return null;
      total.time += count * time;
      for (let r = 0; r < prepared.load.length; r++) {
        total.load[r]! += count * bytes * prepared.load[r]!;
        total.peak[r] = Math.max(total.peak[r]!, peak[r]!);
      }
    }
    return total;
  }

  #prepare(steps: readonly number[]): Prepared {
    const program = compileSteps(this.#schedule, steps, this.#groups, this.#bytesPerElement, this.#wires);
    return { program, load: loadOf(program, this.#wires), drives: [] };
  }

  #execute(
    { program, drives }: Prepared,
    bytes: Bytes,
    protocol: Protocol,
    index: number,
    fidelity: 'flow' | 'event',
    ready?: Float64Array,
  ): ExecutionResult {
    const drive = drives[index] ?? driveOf(program, this.#wires, protocol);
    drives[index] = drive;
    return fidelity === 'flow'
      ? runFlow(program, this.#wires, drive, bytes, ready)
      : runEvents(program, this.#wires, drive, bytes, DEFAULT_CHUNK, ready);
  }
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
    const kind = wires.kind(resource);
    uses.push({ name: wires.name(resource), kind, bytes, busy, utilization: time > 0 ? busy / time : 0, peak });
  });
  return uses.sort((a, b) => b.busy - a.busy);
}
