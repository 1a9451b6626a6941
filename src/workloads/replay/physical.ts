/**
 * Timing `trnsim`: the same graphs and algorithms on links that carry no more than their rate.
 *
 *     message   head: latency of each hop; tail: behind the head by bytes / rate of the slowest link; links in FIFO order
 *     compute   max(operations / peak, bytes / memory bandwidth)
 *
 * Where ASTRA-sim's unaware network lets any number of messages share a link and sends a message through the first
 * dimension only, here each crosses every dimension in which the ranks differ, one link after the other, cut through
 * rather than stored, and waits for what is on the link before it. Serialisation is rounded up to whole ns, so that no
 * link exceeds its rate. Left out: flow control, packets of several messages side by side (a link finishes one first).
 */
import { ModelError } from '../../base/errors.ts';
import type { AstraDimension } from '../../formats/astra-network.ts';
import type { AstraSystem } from '../../formats/astra-system.ts';
import type { EventQueue } from './events.ts';
import type { ReplayNode } from './graph.ts';
import { bytesPerNs, linksBetween, type ReplayNetwork } from './network.ts';

interface Hop {
  readonly link: string;
  readonly shape: AstraDimension;
}

/** Dimension-ordered route; `folded` as in `network.ts`. */
function routeBetween(
  dimensions: readonly AstraDimension[],
  source: number,
  destination: number,
  folded: boolean,
): Hop[] {
  const hops: Hop[] = [];
  let at = source;
  let stride = 1;
  for (const [dimension, shape] of dimensions.entries()) {
    const from = Math.floor(at / stride) % shape.npus;
    const to = Math.floor(destination / stride) % shape.npus;
    if (from !== to) {
      // Lines of a dimension are told apart by the rank at their coordinate 0.
      const line = folded ? '' : ` ${at - from * stride}`;
      for (const name of linksBetween(shape, from, to, folded))
        hops.push({ link: `${dimension}${line} ${name}`, shape });
      at += (to - from) * stride;
    }
    stride *= shape.npus;
  }
  return hops;
}

/** Bytes that each link has carried, and how long it was busy: to show that none exceeds its rate. */
export interface LinkLoad {
  bytes: number;
  busyNs: number;
}

export function physicalNetwork(
  dimensions: readonly AstraDimension[],
  queue: EventQueue,
  folded: boolean,
  loads?: Map<string, LinkLoad>,
): ReplayNetwork {
  const freeAt = new Map<string, number>();
  const cross = (hops: readonly Hop[], at: number, bytes: number, tailIn: number, arrive: () => void): void => {
    const { link, shape } = hops[at]!;
    const start = Math.max(queue.now, freeAt.get(link) ?? 0);
    // Done with a link once the tail has gone in, which a slower link before may hold back.
    const end = Math.max(start + Math.ceil(bytes / bytesPerNs(shape)), tailIn);
    freeAt.set(link, end);
    const load = loads?.get(link) ?? { bytes: 0, busyNs: 0 };
    load.bytes += bytes;
    load.busyNs += end - start;
    loads?.set(link, load);
    const latency = Math.ceil(shape.latencyNs);
    if (at + 1 === hops.length) queue.at(end + latency, arrive);
    else queue.at(start + latency, () => cross(hops, at + 1, bytes, end + latency, arrive));
  };
  return {
    send(source, destination, bytes, arrive) {
      cross(routeBetween(dimensions, source, destination, folded), 0, bytes, 0, arrive);
    },
  };
}

/** Ns of a computation: as measured where the trace says, unless the system file asks for the roofline. */
export function physicalComputeTime({ roofline, replayOnly, peakFlops, localMemoryBandwidth }: AstraSystem) {
  const seconds = (amount: number, rate: number, key: string, node: ReplayNode): number => {
    if (amount === 0) return 0;
    if (rate > 0) return amount / rate;
    throw new ModelError('CONFIG', node.path, `the roofline needs ${key} > 0 in the system file`);
  };
  return (node: ReplayNode): number => {
    const { operations = 0, tensorBytes = 0, durationNs, isCpu } = node;
    const isCounted = node.operations !== undefined || node.tensorBytes !== undefined;
    const isMeasured = replayOnly || isCpu || !isCounted || (!roofline && durationNs > 0);
    if (isMeasured) return durationNs;
    const compute = seconds(operations, peakFlops, 'peak-perf', node);
    return Math.ceil(1e9 * Math.max(compute, seconds(tensorBytes, localMemoryBandwidth, 'local-mem-bw', node)));
  };
}
