/**
 * The time of a tile program: each engine works through its instructions in order, DMA queues likewise, and an instruction
 * starts when its engine is free and its operands are there.
 *
 *     clock-step.ts     what an instruction waits for, and how long it takes
 *     clock-fold.ts     loops in a steady state: timed once, then multiplied, with the result of running them (a test holds it)
 *     clock-compile.ts  the program as the clock runs it
 *     clock-state.ts    where the clock stands
 *     timing.ts         what an instruction costs its engine; `ports.ts`: what engines share
 *
 * DMA queues share the core's DMA engines, which share the HBM with other cores; a DMA starts `dmaStart` after the last of its
 * semaphores. TensorE loads the next stationary tile beside the running MultiplyMoving, and runs below its rate after
 * a pause (dI/dt ramp). Times are integer picoseconds.
 *
 * Leaves out: bank conflicts, instruction fetch, table loads of ScalarE, whose cost nobody publishes.
 */
import { ModelError } from '../base/errors.ts';
import type { Bytes, Picoseconds } from '../base/units.ts';
import {
  type CompiledInstruction,
  type CompiledLoop,
  type CompiledNode,
  type CompiledProgram,
  compileProgram,
} from './clock-compile.ts';
import { LoopHistory, mayFold } from './clock-fold.ts';
import { DMA_PART, FIRST_QUEUE, LOAD_FREE, PARTS, type Part } from './clock-state.ts';
import { COUNTERS, InstructionClock } from './clock-step.ts';
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

/**
 * Times a program.
 * @throws ModelError (PROGRAM) if an instruction reads what nothing has written
 */
export function clockProgram(program: Program, options: ProgramOptions = {}): ProgramTime {
  const { hbmBandwidth = Number.POSITIVE_INFINITY, descriptorTime, exposedLoad = 0, resident, fold = true } = options;
  const { dma, id } = program.core;
  if (dma === null) throw new ModelError('UNSUPPORTED', id, 'expected a published DMA bandwidth, got none');
  const rates = {
    bandwidth: Math.min(dma.bandwidth, hbmBandwidth),
    descriptorTime: descriptorTime ?? ((dma.minimumTime ?? 0) * dma.engines) / LEAST_DMA_DESCRIPTORS,
  };
  const compiled = compileProgram(program, rates, resident);
  const clock = new InstructionClock(program, compiled, exposedLoad);
  const { observe } = options;
  const run =
    observe === undefined
      ? (node: CompiledInstruction) => clock.run(node)
      : (node: CompiledInstruction) => observe(runObserved(clock, node, compiled.queues));
  runNodes(compiled.body, clock, run, fold && observe === undefined ? new Map() : null);
  return result(clock, compiled);
}

/** Runs nodes in order; loops whose pattern may be found have their history in `histories`, null: everything is run. */
function runNodes(
  nodes: readonly CompiledNode[],
  clock: InstructionClock,
  run: (node: CompiledInstruction) => void,
  histories: Map<CompiledLoop, LoopHistory> | null,
): void {
  for (const node of nodes) {
    if (node.type === 'instruction') {
      run(node);
      continue;
    }
    const { id, count, body, period } = node;
    const history = histories !== null && mayFold(node) ? historyOf(node, clock, histories) : null;
    history?.forget();
    for (let i = 0; i < count; ) {
      clock.loops[id] = i;
      runNodes(body, clock, run, histories);
      i++;
      if (history !== null && i % period === 0 && count - i >= period) i += history.replay(count - i);
    }
  }
}

function historyOf(
  loop: CompiledLoop,
  clock: InstructionClock,
  histories: Map<CompiledLoop, LoopHistory>,
): LoopHistory {
  const history = histories.get(loop) ?? new LoopHistory(loop, clock);
  histories.set(loop, history);
  return history;
}

function runObserved(clock: InstructionClock, node: CompiledInstruction, queues: readonly string[]): Interval {
  const { times } = clock.state;
  const waitFrom = times[node.free]!;
  clock.run(node);
  return {
    instruction: node.instruction,
    engine: node.instruction.engine,
    queue: node.engine === DMA_PART ? queues[node.owner - DMA_PART]! : null,
    waitFrom,
    start: clock.start,
    end: times[node.free]!,
    hbmBytes: node.hbmRead + node.hbmWritten,
  };
}

function result({ state, counters, folded }: InstructionClock, { queues }: CompiledProgram): ProgramTime {
  const { times } = state;
  let last = 0;
  for (let e = 1; e < FIRST_QUEUE + queues.length; e++) {
    const isEngine = e < LOAD_FREE || e >= FIRST_QUEUE;
    if (isEngine && times[e]! > times[last]!) last = e;
  }
  const criticalPath = state.partsOf(last);
  const busy = ENGINES.map((engine, e) => [engine, counters[COUNTERS.busy + e]!]);
  return {
    time: times[last]!,
    busy: Object.fromEntries(busy) as Record<Engine, Picoseconds>,
    criticalPath,
    bound: PARTS.reduce((most, part) => (criticalPath[part] > criticalPath[most] ? part : most)),
    instructions: counters[COUNTERS.instructions]!,
    folded,
    hbmRead: counters[COUNTERS.hbmRead]!,
    hbmWritten: counters[COUNTERS.hbmWritten]!,
    macs: counters[COUNTERS.macs]!,
    fidelity: 'event',
  };
}
