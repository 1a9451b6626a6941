/**
 * Instruction streams with explicit semaphores: what runs on a NeuronCore is one queue of instructions for each engine and DMA
 * ring, in order, and queues wait for each other through counters. `interleave` finds an order in which all of it can run, as a
 * program that the executors take.
 *
 *     signal    adds to a semaphore when its instruction has finished
 *     wait      holds an instruction back until a semaphore has reached a value
 *
 * Of the streams that can go on, the one whose next instruction stands first in the program does, so a program's own order
 * comes back where the semaphores allow it.
 * Leaves out: races. Two streams that touch the same memory without a semaphore between them are put into the
 * order above, and no error says that another one was possible.
 * see: Neuron SDK, nki/guides/architecture (engines synchronise through semaphores); Neuron driver, v2 and v3
 * address_map.h (256 semaphores for each core).
 */
import { expectInteger, ModelError, show } from '../base/errors.ts';
import type { Program, ProgramNode } from './program.ts';

export interface SemaphoreWait {
  readonly semaphore: string;
  readonly atLeast: number;
}

export interface SemaphoreSignal {
  readonly semaphore: string;
  /** 1 by default. */
  readonly by?: number;
}

export interface StreamStep {
  /** Position in the program's body: an instruction, or a loop with all its iterations. */
  readonly node: number;
  readonly waits?: readonly SemaphoreWait[];
  readonly signals?: readonly SemaphoreSignal[];
}

export interface EngineStream {
  /** For errors, such as the engine or DMA ring. A step runs when the one before it in its stream has run. */
  readonly name: string;
  readonly steps: readonly StreamStep[];
}

const MAX_SEMAPHORES = 256;

/**
 * `program` with the nodes of its body in an order that streams and semaphores allow. Each node stands in one stream.
 * @throws RangeError if a node is in no stream or in two; ModelError (PROGRAM) that names the instructions of a cycle, or the one
 * that waits for a value which no signals reach
 */
export function interleave(program: Program, streams: readonly EngineStream[]): Program {
  checkStreams(program, streams);
  const values = new Map<string, number>();
  const next = streams.map(() => 0);
  const order: ProgramNode[] = [];
  const headOf = (stream: number): StreamStep | undefined => streams[stream]!.steps[next[stream]!];
  const isMet = ({ semaphore, atLeast }: SemaphoreWait) => (values.get(semaphore) ?? 0) >= atLeast;
  while (order.length < program.body.length) {
    let chosen = -1;
    for (const stream of streams.keys()) {
      const step = headOf(stream);
      if (step === undefined || !(step.waits ?? []).every(isMet)) continue;
      if (chosen < 0 || step.node < headOf(chosen)!.node) chosen = stream;
    }
    if (chosen < 0) throw deadlock(program, streams, next, values);
    const step = headOf(chosen)!;
    for (const { semaphore, by = 1 } of step.signals ?? []) values.set(semaphore, (values.get(semaphore) ?? 0) + by);
    order.push(program.body[step.node]!);
    next[chosen]!++;
  }
  return { ...program, body: order };
}

function checkStreams({ body }: Program, streams: readonly EngineStream[]): void {
  const seen = new Set<number>();
  const semaphores = new Set<string>();
  for (const { name, steps } of streams) {
    for (const [i, { node, waits = [], signals = [] }] of steps.entries()) {
      const where = `${name}[${i}]`;
      expectInteger(`${where}.node`, node, 0, body.length - 1);
      if (seen.has(node)) throw new RangeError(`"${where}.node" expected a node of no other step, got ${node} again`);
      seen.add(node);
      for (const { atLeast } of waits) expectInteger(`${where}.waits.atLeast`, atLeast);
      for (const { by = 1 } of signals) expectInteger(`${where}.signals.by`, by, 1);
      for (const { semaphore } of [...waits, ...signals]) semaphores.add(semaphore);
    }
  }
  if (seen.size !== body.length) {
    const missing = body.findIndex((_, node) => !seen.has(node));
    throw new RangeError(`"streams" expected every node of the program, got none with node ${missing}`);
  }
  if (semaphores.size > MAX_SEMAPHORES) {
    throw new RangeError(`"streams" expected at most ${MAX_SEMAPHORES} semaphores, got ${semaphores.size}`);
  }
}

/** Why no stream can go on: every unfinished one has a first step that waits in vain. */
function deadlock(
  program: Program,
  streams: readonly EngineStream[],
  next: readonly number[],
  values: ReadonlyMap<string, number>,
): ModelError {
  const remaining = (stream: number) => streams[stream]!.steps.slice(next[stream]);
  const unmet = (stream: number) =>
    remaining(stream)[0]!.waits!.find(({ semaphore, atLeast }) => (values.get(semaphore) ?? 0) < atLeast)!;
  const signalled = (stream: number, semaphore: string): number =>
    remaining(stream)
      .flatMap(({ signals = [] }) => signals)
      .reduce((sum, signal) => sum + (signal.semaphore === semaphore ? (signal.by ?? 1) : 0), 0);
  const describe = (stream: number): string => {
    const { semaphore, atLeast } = unmet(stream);
    const node = program.body[remaining(stream)[0]!.node]!;
    const what = node.op === 'loop' ? `loop ${node.loop.id}` : `instruction ${node.id} (${node.op})`;
    return `${what} of ${streams[stream]!.name} waits for ${show(semaphore)} >= ${atLeast}`;
  };
  const unfinished = [...streams.keys()].filter((stream) => remaining(stream).length > 0);
  for (const stream of unfinished) {
    const { semaphore, atLeast } = unmet(stream);
    const reached = unfinished.reduce((sum, other) => sum + signalled(other, semaphore), values.get(semaphore) ?? 0);
    if (reached >= atLeast) continue;
    return new ModelError('PROGRAM', program.name, `${describe(stream)}, which all signals take to ${reached} only`);
  }
  // A signal that the first step of a stream waits for stands behind the first step of another stream: go there until one comes again.
  const path: number[] = [];
  let stream = unfinished[0]!;
  while (!path.includes(stream)) {
    path.push(stream);
    const { semaphore } = unmet(stream);
    stream = unfinished.find((other) => signalled(other, semaphore) > 0)!;
  }
  const cycle = path.slice(path.indexOf(stream)).map(describe);
  return new ModelError('PROGRAM', program.name, `a cycle of waits: ${cycle.join('; ')}`);
}
