/**
 * How long a transfer takes beside its bytes: the latency of its path, the engine's step, and its place among the messages
 * that its sender starts in the same step.
 */
import type { Seconds } from '../base/units.ts';
import type { Protocol } from './engine.ts';
import type { Program } from './program.ts';
import type { Wires } from './wires.ts';

export interface Drive {
  /** Of a transfer: from the departure of its last byte to the receiver's next step. */
  readonly latency: Float64Array;
  /** Part of every capacity that carries data. */
  readonly efficiency: number;
}

/** The drive of a program under a protocol. */
export function driveOf(program: Program, wires: Wires, protocol: Protocol): Drive {
  const { source, step, path } = program;
  const { engine } = wires;
  const messages = new Map<number, number>();
  const key = (t: number): number => step[t]! * program.endpoints + source[t]!;
  for (let t = 0; t < path.length; t++) messages.set(key(t), (messages.get(key(t)) ?? 0) + 1);
  const latency = new Float64Array(path.length);
  for (let t = 0; t < path.length; t++) {
    const isFar = wires.crossesNetwork(path[t]!);
    const along: Seconds = Math.max(wires.paths.latency[path[t]!]!, isFar ? protocol.networkHop : protocol.hop);
    const queued = (messages.get(key(t))! - 1) * (isFar ? engine.networkMessage : engine.message);
    latency[t] = along + engine.step + queued;
  }
  return { latency, efficiency: protocol.efficiency };
}
