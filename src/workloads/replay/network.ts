/**
 * ASTRA-sim's analytical networks: when a message of so many bytes arrives.
 *
 *     congestion-unaware          t = floor(hops * latency + bytes / B)
 *     congestion-aware, each hop  t = floor(latency + bytes / B), the link free again after floor(bytes / B), in FIFO order
 *
 * Hops: a ring the shorter way, a switch 2, fully connected 1. A message goes through one dimension only, the first in
 * which the two ranks differ; congestion is known in one dimension only, as in ASTRA-sim. The unaware network lets any
 * number of messages share a link, which is not physical: `direct` there moves data faster than the links together.
 * `folded`: one rank stands for all of them, so every link of one kind is the same link.
 * see: astra-sim/astra-network-analytical congestion_unaware/, congestion_aware/network/Link.cpp
 */
import { ModelError } from '../../base/errors.ts';
import type { AstraDimension } from '../../formats/astra-network.ts';
import type { EventQueue } from './events.ts';

export interface ReplayNetwork {
  /** Calls `arrive` when a message of `bytes` from rank `source`, sent now, is at `destination`. */
  send(source: number, destination: number, bytes: number, arrive: () => void): void;
}

/** Bytes per ns, computed as ASTRA-sim does: 2^30 scales exactly, then one division. */
export function bytesPerNs(dimension: AstraDimension): number {
  return dimension.bandwidth / 1_000_000_000;
}

/** Coordinates of the first dimension in which two ranks differ. */
export function firstDifference(
  dimensions: readonly AstraDimension[],
  source: number,
  destination: number,
): { dimension: number; from: number; to: number } {
  let a = source;
  let b = destination;
  for (const [dimension, { npus }] of dimensions.entries()) {
    const from = a % npus;
    const to = b % npus;
    if (from !== to) return { dimension, from, to };
    a = (a - from) / npus;
    b = (b - to) / npus;
  }
  throw new ModelError('WORKLOAD', `rank ${source}`, 'a message to itself');
}

/** Hops within one dimension. */
export function hopsWithin({ topology, npus }: AstraDimension, from: number, to: number): number {
  if (topology === 'Switch') return 2;
  if (topology === 'FullyConnected') return 1;
  const clockwise = (to - from + npus) % npus;
  return Math.min(clockwise, npus - clockwise);
}

/** Ns of a message on the congestion-unaware network. */
function unawareDelay(
  dimensions: readonly AstraDimension[],
  source: number,
  destination: number,
  bytes: number,
): number {
  const { dimension, from, to } = firstDifference(dimensions, source, destination);
  const shape = dimensions[dimension]!;
  return Math.floor(hopsWithin(shape, from, to) * shape.latencyNs + bytes / bytesPerNs(shape));
}

export function unawareNetwork(dimensions: readonly AstraDimension[], queue: EventQueue): ReplayNetwork {
  return {
    send(source, destination, bytes, arrive) {
      queue.at(queue.now + unawareDelay(dimensions, source, destination, bytes), arrive);
    },
  };
}

/**
 * The one-dimensional network with a FIFO on each link.
 * @throws ModelError UNSUPPORTED if there are several dimensions
 */
export function awareNetwork(dimensions: readonly AstraDimension[], queue: EventQueue, folded: boolean): ReplayNetwork {
  const [shape] = dimensions as readonly [AstraDimension];
  if (dimensions.length > 1) {
    throw new ModelError('UNSUPPORTED', 'network', 'congestion is modelled in one dimension only, as in ASTRA-sim');
  }
  const rate = bytesPerNs(shape);
  /** Messages that wait for a busy link. A link that is not there is free. */
  const waiting = new Map<string, Message[]>();
  const serve = (link: string, { bytes, arrive }: Message): void => {
    // In this order, and a message's arrival set only when its turn comes: equal times are told apart as in ASTRA-sim.
    queue.at(queue.now + Math.floor(shape.latencyNs + bytes / rate), arrive);
    queue.at(queue.now + Math.floor(bytes / rate), () => {
      const next = waiting.get(link)!.shift();
      if (next === undefined) waiting.delete(link);
      else serve(link, next);
    });
  };
  const cross = (route: readonly string[], hop: number, bytes: number, arrive: () => void): void => {
    const link = route[hop]!;
    const message = { bytes, arrive: hop + 1 === route.length ? arrive : () => cross(route, hop + 1, bytes, arrive) };
    const before = waiting.get(link);
    if (before !== undefined) before.push(message);
    else {
      waiting.set(link, []);
      serve(link, message);
    }
  };
  return {
    send(source, destination, bytes, arrive) {
      cross(linksBetween(shape, source, destination, folded), 0, bytes, arrive);
    },
  };
}

interface Message {
  readonly bytes: number;
  readonly arrive: () => void;
}

/** Names of the links from one coordinate to another of a dimension, in order. */
export function linksBetween({ topology, npus }: AstraDimension, from: number, to: number, folded: boolean): string[] {
  const name = (kind: string, device: number) => (folded ? kind : `${kind}${device}`);
  if (topology === 'Switch') return [name('up', from), name('down', to)];
  const clockwise = (to - from + npus) % npus;
  if (topology === 'FullyConnected') return [`${name('from', from)}by${clockwise}`];
  // Both ways equally long: clockwise.
  const isClockwise = clockwise <= npus - clockwise;
  const hops = isClockwise ? clockwise : npus - clockwise;
  const step = isClockwise ? 1 : npus - 1;
  return Array.from({ length: hops }, (_, hop) =>
    name(isClockwise ? 'clockwise' : 'anticlockwise', (from + hop * step) % npus),
  );
}
