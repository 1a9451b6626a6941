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
import type { CollectiveEngine } from './engine.ts';
import { DEFAULT_CHUNK, runEvents } from './event.ts';
import { type ExecutionResult, flowProblem, HOLD, loadOf, runFlow } from './flow.ts';
import { type Folded, fold } from './fold.ts';
import { compileSteps, type Program } from './program.ts';
import type { Schedule } from './schedule.ts';
import type { ResourceKind, Wires } from './wires.ts';

export type Fidelity = 'formula' | 'flow' | 'event';

/** What one resource did while a collective ran. */
export interface ResourceUse {
  readonly name: string;
  readonly kind: ResourceKind;
  readonly bytes: Bytes;
  /** Time at its full rate that the bytes take. */
  readonly busy: Seconds;
  /** Busy time over the whole time, and the largest part of its capacity in use at once. */
  readonly utilization: number;
  readonly peak: number;
}

export interface PhaseRun {
  readonly time: Seconds;
  /** By the numbers of these wires. */
  readonly wires: Wires;
  readonly load: Float64Array;
  readonly peak: Float64Array;
}

/** A program with what the clocks need beside it. */
interface Prepared {
  readonly program: Program;
  readonly load: Float64Array;
  /** For each protocol of the engine. */
  readonly drives: readonly Drive[];
  /** For the flow clock: classes where there is symmetry, and the class of each resource. */
  readonly flow: () => Folded & { readonly resources: Int32Array };
}

/** Number of the protocol, the clock, and whether messages hold their senders. */
interface How {
  readonly protocol: number;
  readonly fidelity: 'flow' | 'event';
  readonly holds: 0 | 1;
}

/** Ends that differ by less than this part of the time are one: rounding. */
const IN_STEP = 1e-6;

/** A schedule on groups side by side, ready to be run with any number of bytes. */
export class PhaseClock {
  readonly #schedule: Schedule;
  readonly #groups: readonly Int32Array[];
  readonly #bytesPerElement: number;
  readonly #wires: Wires;
  readonly #engine: CollectiveEngine;
  readonly #classes: (Prepared & { readonly count: number })[];
  #whole: Prepared | undefined;

  /** @param bytesPerElement for a collective of one byte */
  constructor(
    schedule: Schedule,
    groups: readonly Int32Array[],
    bytesPerElement: number,
    wires: Wires,
    engine: CollectiveEngine,
  ) {
    this.#schedule = schedule;
    this.#groups = groups;
    this.#bytesPerElement = bytesPerElement;
    this.#wires = wires;
    this.#engine = engine;
    this.#classes = stepClasses(schedule).map(({ first, count }) => ({ ...this.#prepare([first]), count }));
  }

  /**
   * Runs the phase of a collective of `bytes`.
   * @throws RangeError if that is too much for one run: more than 2^21 transfers
   */
  run(bytes: Bytes, protocol: number, fidelity: 'flow' | 'event', holds: 0 | 1): PhaseRun {
    const { lateRanks } = this.#wires.cluster;
    const how = { protocol, fidelity, holds };
    const folded = lateRanks.size === 0 ? this.#runClasses(bytes, how) : null;
    if (folded !== null) return folded;
    this.#whole ??= this.#prepare(Array.from({ length: this.#schedule.steps }, (_, step) => step));
    const { time, peak } = this.#execute(this.#whole, bytes, how, this.#readyTimes());
    return { time, wires: this.#wires, load: this.#whole.load.map((load) => load * bytes), peak };
  }

  /** When each endpoint begins; undefined if all at once. */
  #readyTimes(): Float64Array | undefined {
    const { lateRanks } = this.#wires.cluster;
    if (lateRanks.size === 0) return undefined;
    const { endpoints } = this.#schedule;
    const ready = new Float64Array(this.#groups.length * endpoints);
    this.#groups.forEach((members, g) => {
      members.forEach((rank, i) => {
        ready[g * endpoints + i] = lateRanks.get(rank) ?? 0;
      });
    });
    return ready;
  }

  /** One step of each class, if every one of them leaves all endpoints in step; null if not. */
  #runClasses(bytes: Bytes, how: How): PhaseRun | null {
    const resources = this.#wires.rate.length;
    const total = { time: 0, wires: this.#wires, load: new Float64Array(resources), peak: new Float64Array(resources) };
    for (const prepared of this.#classes) {
      const { count } = prepared;
      const { time, earliest, peak } = this.#execute(prepared, bytes, how);
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
    const wires = this.#wires;
    const program = compileSteps(this.#schedule, steps, this.#groups, this.#bytesPerElement, wires);
    const engine = this.#engine;
    const drives = engine.protocols.map((protocol) => driveOf(program, wires, engine, protocol));
    let folded: (Folded & { readonly resources: Int32Array }) | undefined;
    const flow = (): Folded & { readonly resources: Int32Array } => {
      if (folded === undefined) {
        const problem = flowProblem(program, wires, engine);
        const each = { problem, drives, resourceClass: Uint32Array.from(problem.capacity, (_, r) => r) };
        const classes = fold(problem, drives);
        folded = { ...(classes ?? each), resources: problem.resources };
      }
      return folded;
    };
    return { program, load: loadOf(program, wires), drives, flow };
  }

  /** Runs a program; `peak` is by the numbers of the wires. */
  #execute(
    { program, drives, flow }: Prepared,
    bytes: Bytes,
    { protocol, fidelity, holds }: How,
    ready?: Float64Array,
  ): ExecutionResult {
    const driven = ({ hold, ...drive }: Drive): Drive => (hold && holds ? { ...drive, hold } : drive);
    const drive = driven(drives[protocol]!);
    const wires = this.#wires;
    if (fidelity === 'event') {
      return runEvents(program, wires, wires.capacities(this.#engine), drive, bytes, DEFAULT_CHUNK, ready);
    }
    const peak = new Float64Array(wires.rate.length);
    if (ready !== undefined) {
      const problem = flowProblem(program, wires, this.#engine);
      const result = runFlow(problem, drive, bytes, ready);
      problem.resources.forEach((resource, r) => {
        if (resource !== HOLD) peak[resource] = result.peak[r]!;
      });
      return { ...result, peak };
    }
    const { problem, drives: folded, resourceClass, resources } = flow();
    const result = runFlow(problem, driven(folded[protocol]!), bytes);
    resources.forEach((resource, r) => {
      if (resource !== HOLD) peak[resource] = result.peak[resourceClass[r]!]!;
    });
    return { ...result, peak };
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

/** The resources that were used, longest busy first; equal ones in the order in which they were met. */
export function resourceUses(runs: readonly PhaseRun[], time: Seconds, engine: CollectiveEngine): ResourceUse[] {
  const uses = new Map<string, { -readonly [K in keyof ResourceUse]: ResourceUse[K] }>();
  for (const { wires, load, peak } of runs) {
    const capacity = wires.capacities(engine);
    load.forEach((bytes, resource) => {
      if (bytes === 0) return;
      const name = wires.name(resource);
      const use = uses.get(name) ?? { name, kind: wires.kind(resource), bytes: 0, busy: 0, utilization: 0, peak: 0 };
      use.bytes += bytes;
      use.busy += bytes / capacity[resource]!;
      use.peak = Math.max(use.peak, peak[resource]!);
      use.utilization = time > 0 ? use.busy / time : 0;
      uses.set(name, use);
    });
  }
  return Array.from(uses.values()).sort((a, b) => b.busy - a.busy);
}
