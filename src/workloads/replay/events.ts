/**
 * Event queue of a replay: callbacks in order of time (integer ns), and of insertion where times are equal.
 *
 * `Timers` are the events that a rank sets for itself. Those of one rank and one time run together, in the place of the
 * first: ASTRA-sim's `Sys::call_events` does so, and which of two equal times comes first can decide what is issued next.
 */
import { ModelError } from '../../base/errors.ts';

type Callback = () => void;

/** More than this many events is a runaway, not a workload: half an hour of work, refused instead of waited for. */
const MAX_EVENTS = 2 ** 31;

/** A binary heap. Sequence numbers make the order total, so that equal inputs give equal runs. */
export class EventQueue {
  now = 0;
  #sequence = 0;
  readonly #times: number[] = [];
  readonly #sequences: number[] = [];
  readonly #callbacks: Callback[] = [];

  at(time: number, callback: Callback): void {
    const times = this.#times;
    const sequences = this.#sequences;
    const callbacks = this.#callbacks;
    const sequence = this.#sequence++;
    let hole = times.length;
    while (hole > 0) {
      const parent = (hole - 1) >> 1;
      // The newcomer has the largest sequence number: an equal time stays above it.
      if (times[parent]! <= time) break;
      times[hole] = times[parent]!;
      sequences[hole] = sequences[parent]!;
      callbacks[hole] = callbacks[parent]!;
      hole = parent;
    }
    times[hole] = time;
    sequences[hole] = sequence;
    callbacks[hole] = callback;
  }

  /**
   * Runs until nothing is left.
   * @throws ModelError CAPACITY after 2^31 events
   */
  run(): void {
    while (this.#times.length > 0) {
      if (this.#sequence > MAX_EVENTS) throw new ModelError('CAPACITY', 'replay', `more than ${MAX_EVENTS} events`);
      this.now = this.#times[0]!;
      this.#pop()();
    }
  }

  #pop(): Callback {
    const times = this.#times;
    const sequences = this.#sequences;
    const callbacks = this.#callbacks;
    const top = callbacks[0]!;
    const time = times.pop()!;
    const sequence = sequences.pop()!;
    const callback = callbacks.pop()!;
    const length = times.length;
    if (length === 0) return top;
    let hole = 0;
    for (;;) {
      let child = 2 * hole + 1;
      if (child >= length) break;
      const right = child + 1;
      if (right < length && isBefore(times, sequences, right, child)) child = right;
      if (times[child]! > time || (times[child] === time && sequences[child]! > sequence)) break;
      times[hole] = times[child]!;
      sequences[hole] = sequences[child]!;
      callbacks[hole] = callbacks[child]!;
      hole = child;
    }
    times[hole] = time;
    sequences[hole] = sequence;
    callbacks[hole] = callback;
    return top;
  }
}

function isBefore(times: number[], sequences: number[], a: number, b: number): boolean {
  return times[a]! < times[b]! || (times[a] === times[b] && sequences[a]! < sequences[b]!);
}

/** Events that one rank sets for itself. */
export class Timers {
  readonly #queue: EventQueue;
  readonly #batches = new Map<number, Callback[]>();

  constructor(queue: EventQueue) {
    this.#queue = queue;
  }

  after(delay: number, callback: Callback): void {
    const time = this.#queue.now + delay;
    const batch = this.#batches.get(time);
    if (batch !== undefined) batch.push(callback);
    else {
      this.#batches.set(time, [callback]);
      this.#queue.at(time, () => this.#run(time));
    }
  }

  #run(time: number): void {
    const batch = this.#batches.get(time)!;
    // A callback may add to the batch that is running: a delay of 0.
    for (let i = 0; i < batch.length; i++) batch[i]!();
    this.#batches.delete(time);
  }
}
