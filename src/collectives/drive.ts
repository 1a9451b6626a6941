/**
 * How long a transfer takes beside its bytes: the latency of its path, the engine's step, and its place among the messages
 * that its sender starts in the same step.
 */
import type { Seconds } from '../base/units.ts';
import type { CollectiveEngine, Protocol } from './engine.ts';
import type { Program } from './program.ts';
import type { Wires } from './wires.ts';

export interface Drive {
  /** Of a transfer: from the departure of its last byte to the receiver's next step. */
  readonly latency: Float64Array;
  /** Of a transfer: time that it occupies its path beside its bytes; left out where none does. */
  readonly hold?: Float64Array;
  /** Part of every capacity that carries data. */
  readonly efficiency: number;
}

/** Transfers that the sender of each transfer starts in the same step. */
export function sendsBeside({ source, step, endpoints }: Program): Float64Array {
  const counts = new Map<number, number>();
  const keys = Float64Array.from(source, (from, t) => step[t]! * endpoints + from);
  for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
  return keys.map((key) => counts.get(key)!);
}

/** Latency of one transfer: along its path, at the receiver, and behind the messages started before it. */
export function transferLatency(
  along: Seconds,
  isFar: boolean,
  sends: number,
  engine: CollectiveEngine,
  protocol: Protocol,
): Seconds {
  const { step, message, networkMessage } = engine;
  if (!isFar) return Math.max(along, protocol.hop) + step + (sends - 1) * message;
  return protocol.networkHop + protocol.networkPasses * along + step + (sends - 1) * networkMessage;
}

/** The drive of a program under a protocol. */
export function driveOf(program: Program, wires: Wires, engine: CollectiveEngine, protocol: Protocol): Drive {
  const sends = sendsBeside(program);
  const latency = Float64Array.from(program.path, (path, t) =>
    transferLatency(wires.paths.latency[path]!, wires.crossesNetwork(path), sends[t]!, engine, protocol),
  );
  const { efficiency } = protocol;
  if (engine.networkHold === 0) return { latency, efficiency };
  const hold = Float64Array.from(program.path, (path) => (wires.crossesNetwork(path) ? engine.networkHold : 0));
  return { latency, hold, efficiency };
}
