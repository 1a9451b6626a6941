/**
 * Where the clock of a core stands: for each resource the time at which it is free again, or at which its content is ready.
 *
 * All times are elements of one array, so that two moments can be compared and a repeating pattern found (`clock.ts`).
 * Beside each time stands what it is made of: picoseconds that the critical path up to it spent in each engine, in transfers
 * and in waiting. Its parts add up to the time.
 *
 * DMA engines serve whatever is ready, so a transfer that waits for its operands does not hold up later ones: the idle
 * stretches before the last transfer are kept, a few of them, and filled by what is ready earlier.
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
export const DMA_FREE = 8;
const FIRST_GAP = 9;
const GAPS = 6;
export const FIRST_QUEUE: number = FIRST_GAP + 2 * GAPS;

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
   * Serves `service` of DMA time from `ready` on, in idle stretches first; answers when it is done.
   * Idle time before `ready` is kept for others.
   */
  serveDma(ready: Picoseconds, service: Picoseconds): Picoseconds {
    const { times } = this;
    let left = service;
    let end = ready;
    for (let g = 0; g < GAPS && left > 0; g++) {
      const at = FIRST_GAP + 2 * g;
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
      const begin = Math.max(times[DMA_FREE]!, ready);
      if (begin > times[DMA_FREE]!) this.#keepGap(times[DMA_FREE]!, begin);
      end = begin + left;
      times[DMA_FREE] = end;
    }
    return end;
  }

  /** Remembers an idle stretch; the earliest is forgotten. */
  #keepGap(from: Picoseconds, to: Picoseconds): void {
    this.times.copyWithin(FIRST_GAP, FIRST_GAP + 2, FIRST_GAP + 2 * GAPS);
    this.times[FIRST_GAP + 2 * GAPS - 2] = from;
    this.times[FIRST_GAP + 2 * GAPS - 1] = to;
  }
}
