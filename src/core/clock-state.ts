/**
 * Where the clock of a core stands: for each resource the time at which it is free again, or at which its content is ready.
 *
 * All times are elements of one array, so that two moments can be compared and a repeating pattern found (`clock.ts`).
 * Beside each time stands what it is made of: picoseconds that the critical path up to it spent in each engine, in transfers
 * and in waiting. Its parts add up to the time.
 *
 * What several engines or queues share - the DMA engines, a port to on-chip memory - serves whatever is ready, so that work
 * which waits for its operands does not hold up what stands later in the program: the idle stretches before the last work
 * are kept, a few of them, and filled by what is ready earlier.
 */
import type { Picoseconds } from '../base/units.ts';

/** Parts of a critical path, by the index in an attribution. */
export const PARTS = ['TensorE', 'VectorE', 'ScalarE', 'GpSimdE', 'SyncE', 'DMA', 'latency'] as const;
export type Part = (typeof PARTS)[number];
export const DMA_PART = 5;
const LATENCY_PART = 6;
const WIDTH = PARTS.length;

/** In `owner`: not yet. */
export const NOBODY = -1;

/** Fixed elements, before those of queues, tiles and tensors. */
export const ENGINE_FREE = 0;
/** When TensorE may begin to load the next stationary tile. */
export const LOAD_FREE = 5;
/** When the dI/dt ramp of TensorE began. */
export const RAMP_START = 6;
/** When TensorE stopped last. */
export const TENSOR_STOPPED = 7;
const GAPS = 6;
/** Elements of something shared: when it is free, and from when to when it stood idle before. */
export const SHARED_WIDTH: number = 1 + 2 * GAPS;
export const DMA_FREE = 8;
export const SBUF_PORT: number = DMA_FREE + SHARED_WIDTH;
export const FIRST_QUEUE: number = SBUF_PORT + SHARED_WIDTH;

export class ClockState {
  readonly times: Float64Array;
  /** WIDTH entries for each time. */
  readonly parts: Float64Array;
  /** Who wrote or read last: an engine, or 5 + the number of a DMA queue. */
  readonly owner: Int16Array;

  constructor(elements: number) {
    this.times = new Float64Array(elements);
    this.parts = new Float64Array(elements * WIDTH);
    this.owner = new Int16Array(elements).fill(NOBODY);
  }

  /**
   * Sets element `to` to what element `from` is, `wait` later spent waiting and `work` later spent in `part`. Reading and
   * writing the same element is allowed.
   */
  advance(to: number, from: number, wait: Picoseconds, work: Picoseconds, part: number): void {
    const { times, parts } = this;
    times[to] = times[from]! + wait + work;
    const [target, source] = [to * WIDTH, from * WIDTH];
    for (let p = 0; p < WIDTH; p++) parts[target + p] = parts[source + p]!;
    parts[target + LATENCY_PART]! += wait;
    parts[target + part]! += work;
  }

  partsOf(element: number): Record<Part, Picoseconds> {
    return Object.fromEntries(PARTS.map((part, p) => [part, this.parts[element * WIDTH + p]!])) as Record<
      Part,
      Picoseconds
    >;
  }

  /**
   * Serves `service` of the time of what is shared from `ready` on, in idle stretches first; answers when it is done.
   * Idle time before `ready` is kept for others.
   */
  serve(shared: number, ready: Picoseconds, service: Picoseconds): Picoseconds {
    const { times } = this;
    let left = service;
    let end = ready;
    for (let at = shared + 1; at < shared + SHARED_WIDTH && left > 0; at += 2) {
      const [from, to] = [times[at]!, times[at + 1]!];
      const begin = Math.max(from, ready);
      if (begin >= to) continue;
      const taken = Math.min(left, to - begin);
      left -= taken;
      end = begin + taken;
      // Of the idle stretch the part before or the part after remains; where both do, the later one is worth more.
      if (end < to) times[at] = end;
      else times[at + 1] = begin;
    }
    if (left > 0) {
      const free = times[shared]!;
      const begin = Math.max(free, ready);
      if (begin > free) this.#keepGap(shared, free, begin);
      end = begin + left;
      times[shared] = end;
    }
    return end;
  }

  /** Remembers an idle stretch; the earliest is forgotten. */
  #keepGap(shared: number, from: Picoseconds, to: Picoseconds): void {
    const end = shared + SHARED_WIDTH;
    this.times.copyWithin(shared + 1, shared + 3, end);
    this.times[end - 2] = from;
    this.times[end - 1] = to;
  }
}
