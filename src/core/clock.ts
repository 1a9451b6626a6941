/**
 * The time of a tile program: each engine works through its instructions in order, DMA queues likewise, and an instruction
 * starts when its engine is free and its operands are there.
 *
 *     start = max(engine free, operand written + its latency, destination no longer read or written by others)
 *
 * DMA queues share the core's DMA engines, which share the HBM with other cores; a DMA starts `dmaStart` after the last of its
 * semaphores. TensorE loads the next stationary tile beside the running MultiplyMoving, and runs below its rate after
 * a pause (dI/dt ramp). Times are integer picoseconds.
 *
 * **Time once, replay everywhere.** A loop is a function from one state of the clock to the next, built of max and plus. Once
 * every time that the loop can touch has moved by the same amount over a whole number of rotations of its buffers - or is so
 * old that nothing waits for it - all further rounds move it by that amount again: they are multiplied, not run. The result
 * is that of running them (a test holds it); `folded` says how many instructions were.
 *
 * Leaves out: bank conflicts, the shared port of VectorE and GpSimdE, instruction fetch, table loads of ScalarE.
 */
import { ModelError } from '../base/errors.ts';
import type { Bytes, Picoseconds } from '../base/units.ts';
import { toPicoseconds } from '../base/units.ts';
import {
  type Access,
  type CompiledInstruction,
  type CompiledLoop,
  type CompiledNode,
  compileProgram,
  type Linear,
} from './clock-compile.ts';
import {
  ClockState,
  DMA_PART,
  FIRST_QUEUE,
  LOAD_FREE,
  NOBODY,
  PARTS,
  type Part,
  RAMP_START,
  TENSOR_STOPPED,
} from './clock-state.ts';
import { ENGINES, type Engine, type Instruction } from './instructions.ts';
import type { Program } from './program.ts';

export interface Interval {
  readonly instruction: Instruction;
  readonly engine: Engine;
  /** Name of the DMA queue, null on other engines. */
  readonly queue: string | null;
  /** From here the engine waited for operands. */
  readonly waitFrom: Picoseconds;
  readonly start: Picoseconds;
  readonly end: Picoseconds;
  readonly hbmBytes: Bytes;
}

export interface ProgramOptions {
  /** Share of the device memory's bandwidth that the core has; all that its DMA engines take if left out. */
  readonly hbmBandwidth?: number;
  /** Least time of a DMA descriptor, seconds; from the core's documented least DMA of 128 descriptors if left out. */
  readonly descriptorTime?: number;
  /** Share of LoadStationary that the MultiplyMoving before it does not hide; none if left out. */
  readonly exposedLoad?: number;
  /** Names of tensors that lie in SBUF before or after: their DMAs take no time. */
  readonly resident?: ReadonlySet<string>;
  /** Gets every instruction as it is timed, in program order. Nothing is folded then. */
  readonly observe?: (interval: Interval) => void;
  /** false runs every iteration. */
  readonly fold?: boolean;
}

export interface ProgramTime {
  readonly time: Picoseconds;
  /** How long each engine works; DMA is the time that all DMA engines together are taken. */
  readonly busy: Readonly<Record<Engine, Picoseconds>>;
  /** What the longest chain of dependent work is made of; adds up to `time`. */
  readonly criticalPath: Readonly<Record<Part, Picoseconds>>;
  /** The largest part of the critical path. */
  readonly bound: Part;
  readonly instructions: number;
  /** How many of them were replayed, not run. */
  readonly folded: number;
  readonly hbmRead: Bytes;
  readonly hbmWritten: Bytes;
  readonly macs: number;
  readonly fidelity: 'event';
}

/** Descriptors of the documented least DMA time: one for each partition. */
const LEAST_DMA_DESCRIPTORS = 128;
/** Rounds that a pattern may take to come back to itself, beyond the rotation of the buffers. */
const HISTORY = 6;
const MOMENTS = HISTORY + 1;
const LONGEST_PERIOD = 64;
/** Instructions that are run, not replayed, before a program is refused: about half a minute. */
const MOST_RUN = 3e7;
/** Loops of fewer instructions are run: looking for their pattern would cost more. */
const LEAST_WORK = 24;

/**
 * Times a program.
 * @throws ModelError (PROGRAM) if an instruction reads what nothing has written
 */
export function clockProgram(program: Program, options: ProgramOptions = {}): ProgramTime {
  return new ProgramClock(program, options).run();
}

/** Counters that grow by the same amount in each round of a steady loop. */
const COUNTERS = { instructions: 0, hbmRead: 1, hbmWritten: 2, macs: 3, busy: 4 } as const;

/** What a loop can touch, at one moment. Filled again and again: loops inside loops look back often. */
class Snapshot {
  readonly times: Float64Array;
  readonly parts: Float64Array;
  readonly owner: Int16Array;
  readonly counters: Float64Array;
  loaded: CompiledInstruction | null = null;
  loadedReady: Picoseconds = 0;

  constructor({ touched }: CompiledLoop, counters: number) {
    this.times = new Float64Array(touched.length);
    this.parts = new Float64Array(touched.length * PARTS.length);
    this.owner = new Int16Array(touched.length);
    this.counters = new Float64Array(counters);
  }
}

class ProgramClock {
  readonly #program: Program;
  readonly #body: readonly CompiledNode[];
  readonly #queues: readonly string[];
  readonly #latencies: Float64Array;
  readonly #state: ClockState;
  readonly #loops: Int32Array;
  readonly #counters = new Float64Array(COUNTERS.busy + ENGINES.length);
  readonly #observe: ((interval: Interval) => void) | undefined;
  readonly #fold: boolean;
  readonly #dmaStart: Picoseconds;
  readonly #exposedLoad: number;
  readonly #ramp: { readonly start: number; readonly time: Picoseconds } | null;
  /** Nothing waits longer than this for what is done. */
  readonly #longestWait: Picoseconds;
  /** What holds back the instruction at hand, and until when: the answer of `#holdBack`. */
  #holder = 0;
  #start: Picoseconds = 0;
  /** The stationary tile in TensorE: who loaded it, from where, and when that was written. */
  #loaded: CompiledInstruction | null = null;
  #loadedElement = 0;
  #loadedOffset = 0;
  #loadedReady: Picoseconds = 0;
  #folded = 0;
  /** Moments of each loop, the last few in turn. */
  readonly #moments: Snapshot[][] = [];

  constructor(program: Program, options: ProgramOptions) {
    const { hbmBandwidth, descriptorTime, exposedLoad = 0, resident, observe, fold = true } = options;
    const { core } = program;
    if (core.dma === null) throw new ModelError('UNSUPPORTED', core.id, 'expected a published DMA bandwidth, got none');
    const rates = {
      bandwidth: Math.min(core.dma.bandwidth, hbmBandwidth ?? Number.POSITIVE_INFINITY),
      descriptorTime: descriptorTime ?? ((core.dma.minimumTime ?? 0) * core.dma.engines) / LEAST_DMA_DESCRIPTORS,
    };
    const { body, queues, latencies, elements } = compileProgram(program, rates, resident);
    this.#program = program;
    this.#exposedLoad = exposedLoad;
    this.#body = body;
    this.#queues = queues;
    this.#latencies = latencies;
    this.#state = new ClockState(elements);
    this.#loops = new Int32Array(program.loops);
    this.#observe = observe;
    this.#fold = fold && observe === undefined;
    this.#dmaStart = toPicoseconds(core.dmaStart ?? 0);
    const ramp = core.tensor?.ramp ?? null;
    this.#ramp = ramp && { start: ramp.start, time: toPicoseconds(ramp.time) };
    this.#longestWait = this.#dmaStart + (this.#ramp?.time ?? 0) + Math.max(...latencies);
    this.#state.times[TENSOR_STOPPED] = -(this.#ramp?.time ?? 0);
  }

  run(): ProgramTime {
    for (const node of this.#body) this.#node(node);
    const { times } = this.#state;
    let last = 0;
    for (let e = 1; e < times.length; e++) {
      const isEngine = e < LOAD_FREE || (e >= FIRST_QUEUE && e < FIRST_QUEUE + this.#queues.length);
      if (isEngine && times[e]! > times[last]!) last = e;
    }
    const criticalPath = this.#state.partsOf(last);
    const counters = this.#counters;
    const busy = ENGINES.map((engine, e) => [engine, counters[COUNTERS.busy + e]!]);
    return {
      time: times[last]!,
      busy: Object.fromEntries(busy) as Record<Engine, Picoseconds>,
      criticalPath,
      bound: PARTS.reduce((most, part) => (criticalPath[part] > criticalPath[most] ? part : most)),
      instructions: counters[COUNTERS.instructions]!,
      folded: this.#folded,
      hbmRead: counters[COUNTERS.hbmRead]!,
      hbmWritten: counters[COUNTERS.hbmWritten]!,
      macs: counters[COUNTERS.macs]!,
      fidelity: 'event',
    };
  }

  #node(node: CompiledNode): void {
    if (node.type === 'loop') this.#loop(node);
    else this.#instruction(node);
  }

  #evaluate({ constant, loops, factors }: Linear): number {
    let value = constant;
    for (let t = 0; t < loops.length; t++) value += factors[t]! * this.#loops[loops[t]!]!;
    return value;
  }

  /** The element that says when the slot of an access was written; the next one, when it was last read. */
  #element({ base, slots, slot }: Access): number {
    return slots === 1 ? base : base + 2 * (this.#evaluate(slot) % slots);
  }

  #instruction(node: CompiledInstruction): void {
    const { times } = this.#state;
    const waitFrom = times[node.free]!;
    if (node.engine === DMA_PART) this.#dma(node);
    else this.#compute(node);
    this.#mark(node);
    this.#observe?.({
      instruction: node.instruction,
      engine: node.instruction.engine,
      queue: node.engine === DMA_PART ? this.#queues[node.owner - DMA_PART]! : null,
      waitFrom,
      start: this.#start,
      end: times[node.free]!,
      hbmBytes: node.hbmRead + node.hbmWritten,
    });
  }

  /** Finds what the instruction waits for longest. `delay` is what waiting for anything but its own engine costs on top. */
  #holdBack(node: CompiledInstruction, delay: Picoseconds): void {
    const { times, owner } = this.#state;
    this.#holder = node.free;
    this.#start = times[node.free]!;
    for (const access of node.reads) {
      const element = this.#element(access);
      const writer = owner[element]!;
      if (writer === NOBODY) this.#refuseUnwritten(node, access, element);
      this.#waitFor(element, times[element]! + this.#latencies[Math.min(writer, DMA_PART)]! + delay);
    }
    for (const access of node.writes) {
      if (access.isTensor) continue;
      const element = this.#element(access);
      // Queues are in order: nobody overtakes its own earlier work.
      if (owner[element] !== NOBODY && owner[element] !== node.owner) this.#waitFor(element, times[element]! + delay);
      const read = element + 1;
      if (owner[read] !== NOBODY && owner[read] !== node.owner) this.#waitFor(read, times[read]! + delay);
    }
  }

  #waitFor(element: number, until: Picoseconds): void {
    if (until <= this.#start) return;
    this.#holder = element;
    this.#start = until;
  }

  #compute(node: CompiledInstruction): void {
    const state = this.#state;
    const { times } = state;
    this.#holdBack(node, 0);
    const isTensorE = node.engine === 0;
    const exposed = isTensorE && this.#loadStationary(node) ? Math.round(this.#exposedLoad * node.load) : 0;
    const occupancy = isTensorE ? this.#throttled(node.occupancy + exposed) : node.occupancy;
    const wait = this.#start - times[this.#holder]!;
    if (isTensorE) {
      // The array is double-buffered: the next tile may be loaded as soon as this one has moved in.
      state.advance(LOAD_FREE, this.#holder, wait, 0, node.engine);
      state.advance(node.free, LOAD_FREE, 0, occupancy, node.engine);
      times[TENSOR_STOPPED] = times[node.free]!;
    } else {
      state.advance(node.free, this.#holder, wait, occupancy, node.engine);
    }
    this.#counters[COUNTERS.busy + node.engine]! += occupancy;
  }

  /** Loads the stationary tile beside the MultiplyMoving before, unless it is the one in the array: whether it had to. */
  #loadStationary(node: CompiledInstruction): boolean {
    if (node.stationaryOffset === null) {
      this.#loaded = null;
      return false;
    }
    const { times, owner } = this.#state;
    const element = this.#element(node.reads[0]!);
    const offset = this.#evaluate(node.stationaryOffset);
    const written = times[element]!;
    const isLoaded =
      this.#loaded !== null &&
      this.#loaded.instruction.in[0] === node.instruction.in[0] &&
      this.#loadedElement === element &&
      this.#loadedOffset === offset &&
      this.#loadedReady === written;
    if (isLoaded) return false;
    this.#loaded = node;
    this.#loadedElement = element;
    this.#loadedOffset = offset;
    this.#loadedReady = written;
    const latency = this.#latencies[Math.min(owner[element]!, DMA_PART)]!;
    if (written + latency > times[LOAD_FREE]!) this.#state.advance(LOAD_FREE, element, latency, node.load, node.engine);
    else this.#state.advance(LOAD_FREE, LOAD_FREE, 0, node.load, node.engine);
    this.#waitFor(LOAD_FREE, times[LOAD_FREE]!);
    return true;
  }

  /** How long TensorE takes for work of `occupancy` that begins now. */
  #throttled(occupancy: Picoseconds): Picoseconds {
    if (this.#ramp === null || occupancy === 0) return occupancy;
    const { times } = this.#state;
    // Idle for half of the window: the utilisation over it was below one half.
    if (this.#start - times[TENSOR_STOPPED]! > this.#ramp.time / 2) times[RAMP_START] = this.#start;
    const age = this.#start - times[RAMP_START]!;
    if (age >= this.#ramp.time) return occupancy;
    const rate = this.#ramp.start + ((1 - this.#ramp.start) * age) / this.#ramp.time;
    return Math.round(occupancy / rate);
  }

  #dma(node: CompiledInstruction): void {
    const state = this.#state;
    const { times, owner } = state;
    // Only what is on chip already takes the DMA engines no time.
    const delay = node.service === 0 ? 0 : this.#dmaStart;
    if (owner[node.free] === NOBODY) {
      // The first of a queue has its descriptors to fetch; later ones are fetched while the queue is busy.
      owner[node.free] = node.owner;
      state.advance(node.free, node.free, delay, 0, DMA_PART);
    }
    this.#holdBack(node, delay);
    const end = Math.max(this.#start + node.occupancy, state.serveDma(this.#start, node.service));
    state.advance(node.free, this.#holder, this.#start - times[this.#holder]!, end - this.#start, DMA_PART);
    this.#counters[COUNTERS.busy + node.engine]! += node.service;
  }

  /** Notes what the instruction has read and written, now that its end is known, and counts it. */
  #mark(node: CompiledInstruction): void {
    const state = this.#state;
    const { times, owner } = state;
    for (const access of node.reads) {
      const read = this.#element(access) + 1;
      if (owner[read] !== NOBODY && times[read]! >= times[node.free]!) continue;
      state.advance(read, node.free, 0, 0, node.engine);
      owner[read] = node.owner;
    }
    for (const access of node.writes) {
      const element = this.#element(access);
      if (access.isTensor && owner[element] !== NOBODY && times[element]! >= times[node.free]!) continue;
      state.advance(element, node.free, 0, 0, node.engine);
      owner[element] = node.owner;
    }
    const counters = this.#counters;
    counters[COUNTERS.instructions]! += 1;
    if (counters[COUNTERS.instructions]! - this.#folded > MOST_RUN) this.#refuseEndless();
    counters[COUNTERS.hbmRead]! += node.hbmRead;
    counters[COUNTERS.hbmWritten]! += node.hbmWritten;
    counters[COUNTERS.macs]! += node.macs;
  }

  /** Engines that never wait for each other drift apart, so that their loop has no steady state to replay. */
  #refuseEndless(): never {
    const expected = `at most ${MOST_RUN} instructions outside of loops with a steady state, got more`;
    throw new ModelError('PROGRAM', this.#program.name, `expected ${expected}`);
  }

  #refuseUnwritten({ instruction }: CompiledInstruction, { name, base }: Access, element: number): never {
    const where = `${this.#program.name}: instruction ${instruction.id} (${instruction.op})`;
    throw new ModelError('PROGRAM', where, `reads "${name}"[${(element - base) / 2}], which nothing has written`);
  }

  #loop(loop: CompiledLoop): void {
    const { id, count, body, period, work } = loop;
    const isLong = work >= LEAST_WORK && count > Math.max(3, 2 * period);
    const mayFold = this.#fold && period <= LONGEST_PERIOD && isLong;
    let taken = 0;
    for (let i = 0; i < count; ) {
      this.#loops[id] = i;
      for (const node of body) this.#node(node);
      i++;
      if (!mayFold || i % period !== 0 || count - i < period) continue;
      const now = this.#snapshot(loop, taken);
      for (let back = 1; back <= Math.min(taken, HISTORY); back++) {
        const before = this.#moments[id]![(taken - back) % MOMENTS]!;
        if (!hasShifted(loop, before, now, this.#longestWait)) continue;
        const round = back * period;
        const replays = Math.floor((count - i) / round);
        this.#replay(loop, before, now, replays);
        i += replays * round;
        break;
      }
      taken++;
    }
  }

  #snapshot(loop: CompiledLoop, number: number): Snapshot {
    const { times, parts, owner } = this.#state;
    const { touched, id } = loop;
    const width = PARTS.length;
    this.#moments[id] ??= Array.from({ length: MOMENTS }, () => new Snapshot(loop, this.#counters.length));
    const moment = this.#moments[id][number % MOMENTS]!;
    for (let k = 0; k < touched.length; k++) {
      const e = touched[k]!;
      moment.times[k] = times[e]!;
      moment.owner[k] = owner[e]!;
      for (let p = 0; p < width; p++) moment.parts[k * width + p] = parts[e * width + p]!;
    }
    moment.counters.set(this.#counters);
    moment.loaded = this.#loaded;
    moment.loadedReady = this.#loadedReady;
    return moment;
  }

  /** Moves the clock over `replays` more stretches like the one between the two moments. */
  #replay({ touched }: CompiledLoop, before: Snapshot, now: Snapshot, replays: number): void {
    const { times, parts } = this.#state;
    const counters = this.#counters;
    const width = PARTS.length;
    for (let k = 0; k < touched.length; k++) {
      const e = touched[k]!;
      times[e]! += replays * (now.times[k]! - before.times[k]!);
      for (let p = 0; p < width; p++) {
        parts[e * width + p]! += replays * (now.parts[k * width + p]! - before.parts[k * width + p]!);
      }
    }
    this.#loadedReady += replays * (now.loadedReady - before.loadedReady);
    for (let c = 0; c < counters.length; c++) counters[c]! += replays * (now.counters[c]! - before.counters[c]!);
    this.#folded += replays * (now.counters[COUNTERS.instructions]! - before.counters[COUNTERS.instructions]!);
  }
}

/**
 * Whether everything that the loop can touch has moved by the same time between two moments, or has not moved and lies so far
 * back that nothing waits for it. The loaded stationary tile must be that of the same instruction: its position is linear in
 * the loop, so whether the next round finds it loaded is the same in every round.
 */
function hasShifted({ touched, pace }: CompiledLoop, before: Snapshot, now: Snapshot, longestWait: number): boolean {
  const shift = now.times[pace[0]!]! - before.times[pace[0]!]!;
  if (shift <= 0 || now.loaded !== before.loaded) return false;
  let earliest = Number.POSITIVE_INFINITY;
  for (const k of pace) earliest = Math.min(earliest, before.times[k]!);
  const isSteady = (was: Picoseconds, is: Picoseconds) =>
    is - was === shift || (is === was && is + longestWait <= earliest);
  for (let k = 0; k < touched.length; k++) {
    if (now.owner[k] !== before.owner[k] || !isSteady(before.times[k]!, now.times[k]!)) return false;
  }
  // Not waited for, only compared: what was loaded is still there, or was rewritten.
  return [0, shift].includes(now.loadedReady - before.loadedReady);
}
