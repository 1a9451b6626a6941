/**
 * The rules of a single instruction: what holds it back, how long it takes, and what is ready when it has ended.
 *
 *     start = max(engine free, operand written + its latency, destination no longer read or written by others)
 *
 * What two engines share (the DMA engines of the core, the port to SBUF: `ports.ts`) serves them in the order in which
 * they are ready, not in that of the program.
 */
import { ModelError } from '../base/errors.ts';
import type { Picoseconds } from '../base/units.ts';
import { toPicoseconds } from '../base/units.ts';
import type { Access, CompiledInstruction, CompiledProgram, Linear } from './clock-compile.ts';
import {
  ClockState,
  DMA_FREE,
  DMA_PART,
  LOAD_FREE,
  NOBODY,
  RAMP_START,
  SBUF_PORT,
  TENSOR_STOPPED,
} from './clock-state.ts';
import { ENGINES } from './instructions.ts';
import type { Program } from './program.ts';

/** Instructions that are run, not replayed, before a program is refused: about half a minute. */
const MOST_RUN = 3e7;

/** Sums over the instructions that ran: in a steady loop each grows by the same amount in every round. */
export const COUNTERS = { instructions: 0, hbmRead: 1, hbmWritten: 2, macs: 3, busy: 4 } as const;

/** The stationary tile in TensorE: who loaded it, from where, and when that was written. */
interface LoadedTile {
  by: CompiledInstruction | null;
  element: number;
  offset: number;
  ready: Picoseconds;
}

export class InstructionClock {
  readonly state: ClockState;
  /** Where each loop of the program stands. */
  readonly loops: Int32Array;
  readonly counters: Float64Array = new Float64Array(COUNTERS.busy + ENGINES.length);
  readonly loaded: LoadedTile = { by: null, element: 0, offset: 0, ready: 0 };
  /** Nothing waits longer than this for what is done. */
  readonly longestWait: Picoseconds;
  /** When the instruction that ran last began. */
  start: Picoseconds = 0;
  /** How many instructions were not run but counted: `clock-fold.ts`. */
  folded = 0;
  /** The element that holds the instruction at hand back longest. */
  #holder = 0;
  readonly #program: Program;
  readonly #latencies: Float64Array;
  readonly #exposedLoad: number;
  readonly #dmaStart: Picoseconds;
  readonly #ramp: { readonly start: number; readonly time: Picoseconds } | null;

  constructor(program: Program, { elements, latencies }: CompiledProgram, exposedLoad: number) {
    const { dmaStart, tensor } = program.core;
    const ramp = tensor?.ramp ?? null;
    this.#program = program;
    this.#latencies = latencies;
    this.#exposedLoad = exposedLoad;
    this.#dmaStart = toPicoseconds(dmaStart ?? 0);
    this.#ramp = ramp && { start: ramp.start, time: toPicoseconds(ramp.time) };
    this.state = new ClockState(elements);
    this.state.times[TENSOR_STOPPED] = -(this.#ramp?.time ?? 0);
    this.loops = new Int32Array(program.loops);
    this.longestWait = this.#dmaStart + (this.#ramp?.time ?? 0) + Math.max(...latencies);
  }

  /** @throws ModelError (PROGRAM) if the instruction reads what nothing has written, or is one too many */
  run(node: CompiledInstruction): void {
    if (node.engine === DMA_PART) this.#dma(node);
    else this.#compute(node);
    this.#mark(node);
  }

  #evaluate({ constant, loops, factors }: Linear): number {
    let value = constant;
    for (let t = 0; t < loops.length; t++) value += factors[t]! * this.loops[loops[t]!]!;
    return value;
  }

  /** The element that says when the slot of an access was written; the next one, when it was last read. */
  #element({ base, slots, slot }: Access): number {
    return slots === 1 ? base : base + 2 * (this.#evaluate(slot) % slots);
  }

  /** Finds what the instruction waits for longest. `delay` is what waiting for anything but its own engine costs on top. */
  #holdBack(node: CompiledInstruction, delay: Picoseconds): void {
    const { times, owner } = this.state;
    this.#holder = node.free;
    this.start = times[node.free]!;
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
    if (until <= this.start) return;
    this.#holder = element;
    this.start = until;
  }

  #compute(node: CompiledInstruction): void {
    const state = this.state;
    const { times } = state;
    this.#holdBack(node, 0);
    const isTensorE = node.engine === 0;
    const exposed = isTensorE && this.#loadStationary(node) ? Math.round(this.#exposedLoad * node.load) : 0;
    const occupancy = isTensorE ? this.#throttled(node.occupancy + exposed) : node.occupancy;
    // Served with interruptions by the other engine: as if it had begun that much later.
    if (node.takesPort) this.start = state.serve(SBUF_PORT, this.start, occupancy) - occupancy;
    const wait = this.start - times[this.#holder]!;
    if (isTensorE) {
      // The array is double-buffered: the next tile may be loaded as soon as this one has moved in.
      state.advance(LOAD_FREE, this.#holder, wait, 0, node.engine);
      state.advance(node.free, LOAD_FREE, 0, occupancy, node.engine);
      times[TENSOR_STOPPED] = times[node.free]!;
    } else {
      state.advance(node.free, this.#holder, wait, occupancy, node.engine);
    }
    this.counters[COUNTERS.busy + node.engine]! += occupancy;
  }

  /** Loads the stationary tile beside the MultiplyMoving before, unless it is the one in the array: whether it had to. */
  #loadStationary(node: CompiledInstruction): boolean {
    if (node.stationaryOffset === null) {
      this.loaded.by = null;
      return false;
    }
    const { times, owner } = this.state;
    const element = this.#element(node.reads[0]!);
    const offset = this.#evaluate(node.stationaryOffset);
    const written = times[element]!;
    const { loaded } = this;
    const isLoaded =
      loaded.by?.instruction.in[0] === node.instruction.in[0] &&
      loaded.element === element &&
      loaded.offset === offset &&
      loaded.ready === written;
    if (isLoaded) return false;
    Object.assign(loaded, { by: node, element, offset, ready: written });
    const latency = this.#latencies[Math.min(owner[element]!, DMA_PART)]!;
    if (written + latency > times[LOAD_FREE]!) this.state.advance(LOAD_FREE, element, latency, node.load, node.engine);
    else this.state.advance(LOAD_FREE, LOAD_FREE, 0, node.load, node.engine);
    this.#waitFor(LOAD_FREE, times[LOAD_FREE]!);
    return true;
  }

  /** How long TensorE takes for work of `occupancy` that begins now. */
  #throttled(occupancy: Picoseconds): Picoseconds {
    if (this.#ramp === null || occupancy === 0) return occupancy;
    const { times } = this.state;
    // Idle for half of the window: the utilisation over it was below one half.
    if (this.start - times[TENSOR_STOPPED]! > this.#ramp.time / 2) times[RAMP_START] = this.start;
    const age = this.start - times[RAMP_START]!;
    if (age >= this.#ramp.time) return occupancy;
    const rate = this.#ramp.start + ((1 - this.#ramp.start) * age) / this.#ramp.time;
    return Math.round(occupancy / rate);
  }

  #dma(node: CompiledInstruction): void {
    const state = this.state;
    const { times, owner } = state;
    // Only what is on chip already takes the DMA engines no time.
    const delay = node.service === 0 ? 0 : this.#dmaStart;
    if (owner[node.free] === NOBODY) {
      // The first of a queue has its descriptors to fetch; later ones are fetched while the queue is busy.
      owner[node.free] = node.owner;
      state.advance(node.free, node.free, delay, 0, DMA_PART);
    }
    this.#holdBack(node, delay);
    const end = Math.max(this.start + node.occupancy, state.serve(DMA_FREE, this.start, node.service));
    state.advance(node.free, this.#holder, this.start - times[this.#holder]!, end - this.start, DMA_PART);
    this.counters[COUNTERS.busy + node.engine]! += node.service;
  }

  /** Notes what the instruction has read and written, now that its end is known, and counts it. */
  #mark(node: CompiledInstruction): void {
    const state = this.state;
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
    const counters = this.counters;
    counters[COUNTERS.instructions]! += 1;
    if (counters[COUNTERS.instructions]! - this.folded > MOST_RUN) this.#refuseEndless();
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
}
