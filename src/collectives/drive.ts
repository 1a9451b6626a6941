/**
 * How an engine drives a program over its paths: the latency of every path under a protocol, and the part of each
 * capacity that carries data.
 */
import type { Seconds } from '../base/units.ts';
import type { Protocol } from './engine.ts';
import type { Wires } from './wires.ts';

export interface Drive {
  /** Of a path in the table of the wires. */
  readonly latency: Float64Array;
  readonly efficiency: number;
}

/** From the first byte's departure to its arrival, plus what the receiver takes until its next step starts. */
export function pathLatency(wires: Wires, protocol: Protocol, path: number): Seconds {
  const hop = wires.crossesNetwork(path) ? protocol.networkHop : protocol.hop;
  return Math.max(wires.paths.latency[path]!, hop) + wires.engine.step;
}

export function driveOf(wires: Wires, protocol: Protocol): Drive {
  const latency = Float64Array.from(wires.paths.latency, (_, path) => pathLatency(wires, protocol, path));
  return { latency, efficiency: protocol.efficiency };
}
