/**
 * A tile program as the clock runs it: every instruction with its durations, every operand as an index into the clock's
 * state, every loop with what it can touch. A tile slot has two elements, when it was written and when it was last read;
 * so has a tensor that the program itself writes.
 */
import type { Bytes, Picoseconds } from '../base/units.ts';
import { type Index, TileView, type View } from './access.ts';
import {
  DMA_FREE,
  DMA_PART,
  ENGINE_FREE,
  FIRST_QUEUE,
  LOAD_FREE,
  RAMP_START,
  SBUF_PORT,
  SHARED_WIDTH,
  TENSOR_STOPPED,
} from './clock-state.ts';
import { ENGINES, type Instruction } from './instructions.ts';
import type { Program, ProgramNode } from './program.ts';
import { type DmaRates, type InstructionTiming, instructionTiming } from './timing.ts';

/** A linear function of the loops, ready to be evaluated. */
export interface Linear {
  readonly constant: number;
  readonly loops: Int32Array;
  readonly factors: Int32Array;
}

export interface Access {
  readonly name: string;
  /** Element of slot 0: written; the one after it: read. */
  readonly base: number;
  readonly slots: number;
  readonly slot: Linear;
  /** A tensor in HBM is one element: its writers do not wait for each other. */
  readonly isTensor: boolean;
}

export interface CompiledInstruction {
  readonly type: 'instruction';
  readonly instruction: Instruction;
  /** Index in ENGINES. */
  readonly engine: number;
  /** Who waits for nobody but itself: the engine, or 5 + queue. */
  readonly owner: number;
  /** Element that says when the engine or the queue is free. */
  readonly free: number;
  readonly occupancy: Picoseconds;
  readonly service: Picoseconds;
  readonly load: Picoseconds;
  readonly hbmRead: Bytes;
  readonly hbmWritten: Bytes;
  readonly macs: number;
  /** Whether it may have to wait for the port to SBUF that VectorE and GpSimdE share. */
  readonly takesPort: boolean;
  /** First element within its tile of the stationary operand. */
  readonly stationaryOffset: Linear | null;
  readonly reads: readonly Access[];
  readonly writes: readonly Access[];
}

export interface CompiledLoop {
  readonly type: 'loop';
  readonly id: number;
  readonly count: number;
  readonly body: readonly CompiledNode[];
  /** Instructions that all its rounds run. */
  readonly work: number;
  /** Iterations after which the same slots come round. */
  readonly period: number;
  /** Elements that the body can read or write. */
  readonly touched: Int32Array;
  /** Positions in `touched` of the engines and queues that the body uses. */
  readonly pace: Int32Array;
}

export type CompiledNode = CompiledInstruction | CompiledLoop;

export interface CompiledProgram {
  readonly body: readonly CompiledNode[];
  readonly elements: number;
  readonly queues: readonly string[];
  /** By owner engine: from the end of its work until dependent work may start. */
  readonly latencies: Float64Array;
}

/** @param resident names of tensors that are on chip already: their DMAs take no time, and move nothing to or from HBM */
export function compileProgram(
  program: Program,
  dma: DmaRates,
  resident: ReadonlySet<string> = new Set(),
): CompiledProgram {
  const instructions = instructionsOf(program.body);
  const queues = [
    ...new Set(
      instructions.flatMap((node) =>
        node.op === 'dma_copy' || node.op === 'dma_transpose' ? [node.attributes.queue] : [],
      ),
    ),
  ];
  const firstTile = FIRST_QUEUE + queues.length;
  const tileBase: number[] = [];
  let elements = firstTile;
  for (const tile of program.tiles) {
    tileBase.push(elements);
    elements += 2 * tile.slots;
  }
  const tensorBase = program.tensors.map(({ role }) => {
    if (role === 'input') return -1;
    elements += 2;
    return elements - 2;
  });
  const access = (view: View): Access | null => {
    if (view instanceof TileView) {
      const { name, id, slots } = view.tile;
      return { name, base: tileBase[id]!, slots, slot: linear(view.slotIndex), isTensor: false };
    }
    const base = tensorBase[view.tensor.id]!;
    return base < 0 ? null : { name: view.tensor.name, base, slots: 1, slot: NOTHING, isTensor: true };
  };
  const accesses = (views: readonly View[]) => views.map(access).filter((a) => a !== null);
  const latencies = new Float64Array(ENGINES.length);
  const timings = new Map<Instruction, InstructionTiming>();
  for (const node of instructions) {
    const isResident = [...node.in, ...node.out].some((view) => view.kind === 'hbm' && resident.has(view.tensor.name));
    timings.set(node, isResident ? NO_TIME : instructionTiming(program.core, node, dma));
  }
  // A port that one engine alone uses is free whenever that engine is.
  const portUsers = new Set(instructions.filter((node) => timings.get(node)!.takesPort).map((node) => node.engine));
  const compile = (node: ProgramNode): CompiledNode => {
    if (node.op === 'loop') return compileLoop(node.loop, node.body.map(compile));
    const timing = timings.get(node)!;
    const engine = ENGINES.indexOf(node.engine);
    latencies[engine] = Math.max(latencies[engine]!, timing.latency);
    const isDma = node.op === 'dma_copy' || node.op === 'dma_transpose';
    const queue = isDma ? queues.indexOf(node.attributes.queue) : 0;
    const stationary = timing.load > 0 ? node.in[0] : undefined;
    return {
      type: 'instruction',
      instruction: node,
      engine,
      owner: isDma ? DMA_PART + queue : engine,
      free: isDma ? FIRST_QUEUE + queue : ENGINE_FREE + engine,
      occupancy: timing.occupancy,
      service: timing.service,
      load: timing.load,
      hbmRead: timing.hbmRead,
      hbmWritten: timing.hbmWritten,
      macs: timing.macs,
      takesPort: timing.takesPort && portUsers.size > 1,
      stationaryOffset: stationary === undefined ? null : linear(stationary.offset),
      reads: accesses(node.in),
      writes: accesses(node.out),
    };
  };
  const body = program.body.map(compile);
  return { body, elements, queues, latencies };
}

const NO_TIME: InstructionTiming = {
  occupancy: 0,
  service: 0,
  latency: 0,
  load: 0,
  hbmRead: 0,
  hbmWritten: 0,
  macs: 0,
  takesPort: false,
};
const NOTHING: Linear = { constant: 0, loops: new Int32Array(), factors: new Int32Array() };

function linear({ constant, terms }: Index): Linear {
  if (terms.length === 0 && constant === 0) return NOTHING;
  return {
    constant,
    loops: Int32Array.from(terms, ({ loop }) => loop.id),
    factors: Int32Array.from(terms, ({ factor }) => factor),
  };
}

function instructionsOf(body: readonly ProgramNode[]): Instruction[] {
  return body.flatMap((node) => (node.op === 'loop' ? instructionsOf(node.body) : [node]));
}

function compileLoop({ id, count }: { id: number; count: number }, body: readonly CompiledNode[]): CompiledLoop {
  const touched = new Set<number>();
  const pace = new Set<number>();
  let period = 1;
  visit(body, (node) => {
    pace.add(node.free);
    const shared = node.engine === DMA_PART ? DMA_FREE : node.takesPort ? SBUF_PORT : null;
    if (shared !== null) for (let e = shared; e < shared + SHARED_WIDTH; e++) touched.add(e);
    if (node.engine === 0) for (const e of [LOAD_FREE, RAMP_START, TENSOR_STOPPED]) touched.add(e);
    for (const { base, slots, slot } of [...node.reads, ...node.writes]) {
      // A slot that depends on any loop may be any slot: more is compared than need be, never less.
      const first = slot.loops.length > 0 ? 0 : slot.constant % slots;
      const last = slot.loops.length > 0 ? slots - 1 : first;
      for (let s = first; s <= last; s++) touched.add(base + 2 * s).add(base + 2 * s + 1);
      const at = slot.loops.indexOf(id);
      if (at >= 0) period = leastCommonMultiple(period, slots / greatestCommonDivisor(slot.factors[at]!, slots));
    }
  });
  for (const e of pace) touched.add(e);
  const list = Int32Array.from(touched);
  return {
    type: 'loop',
    id,
    count,
    body,
    work: count * body.reduce((sum, node) => sum + (node.type === 'loop' ? node.work : 1), 0),
    period,
    touched: list,
    pace: Int32Array.from(pace, (e) => list.indexOf(e)),
  };
}

function visit(body: readonly CompiledNode[], see: (node: CompiledInstruction) => void): void {
  for (const node of body) {
    if (node.type === 'loop') visit(node.body, see);
    else see(node);
  }
}

function greatestCommonDivisor(a: number, b: number): number {
  return a === 0 ? b : greatestCommonDivisor(b % a, a);
}

function leastCommonMultiple(a: number, b: number): number {
  return (a / greatestCommonDivisor(a, b)) * b;
}
