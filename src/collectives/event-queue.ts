/**
 * Events in order of time, those of one instant in the order in which they were pushed: a binary heap in typed arrays.
 * An event is a kind, two integers and a second time; `pop` leaves them in the fields, as an object each would cost more
 * than the heap does.
 */
import type { Picoseconds } from '../base/units.ts';

export class EventQueue {
  size = 0;
  /** The event that was popped last. */
  time: Picoseconds = 0;
  kind = 0;
  subject = 0;
  detail = 0;
  tail: Picoseconds = 0;
  #pushed = 0;
  /** Slots in heap order, and the columns of the slots. */
  #heap: Int32Array;
  #times: Float64Array;
  #order: Float64Array;
  #tails: Float64Array;
  #kinds: Uint8Array;
  #subjects: Int32Array;
  #details: Int32Array;

  constructor(capacity: number) {
    const room = Math.max(16, capacity);
    this.#heap = Int32Array.from({ length: room }, (_, slot) => slot);
    this.#times = new Float64Array(room);
    this.#order = new Float64Array(room);
    this.#tails = new Float64Array(room);
    this.#kinds = new Uint8Array(room);
    this.#subjects = new Int32Array(room);
    this.#details = new Int32Array(room);
  }

  /** @param detail, tail whatever the kind of event means by them; the queue orders by `time` alone */
  push(time: Picoseconds, kind: number, subject: number, detail: number, tail: Picoseconds): void {
    if (this.size === this.#heap.length) this.#grow();
    // Slots behind the heap's end are free: `#heap` is a permutation of all slots.
    const slot = this.#heap[this.size]!;
    this.#times[slot] = time;
    this.#order[slot] = this.#pushed++;
    this.#kinds[slot] = kind;
    this.#subjects[slot] = subject;
    this.#details[slot] = detail;
    this.#tails[slot] = tail;
    let place = this.size++;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (!this.#isBefore(slot, this.#heap[parent]!)) break;
      this.#heap[place] = this.#heap[parent]!;
      place = parent;
    }
    this.#heap[place] = slot;
  }

  /** Takes the first event into the fields. There must be one. */
  pop(): void {
    const heap = this.#heap;
    const slot = heap[0]!;
    this.time = this.#times[slot]!;
    this.kind = this.#kinds[slot]!;
    this.subject = this.#subjects[slot]!;
    this.detail = this.#details[slot]!;
    this.tail = this.#tails[slot]!;
    const last = heap[--this.size]!;
    heap[this.size] = slot;
    let place = 0;
    for (let child = 1; child < this.size; child = 2 * place + 1) {
      if (child + 1 < this.size && this.#isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!this.#isBefore(heap[child]!, last)) break;
      heap[place] = heap[child]!;
      place = child;
    }
    if (this.size > 0) heap[place] = last;
  }

  /** Ties by order of pushing: without it the result would depend on the shape of the heap. */
  #isBefore(a: number, b: number): boolean {
    const difference = this.#times[a]! - this.#times[b]!;
    return difference < 0 || (difference === 0 && this.#order[a]! < this.#order[b]!);
  }

  #grow(): void {
    const room = 2 * this.#heap.length;
    const heap = Int32Array.from({ length: room }, (_, slot) => slot);
    heap.set(this.#heap);
    this.#heap = heap;
    const longer = <T extends Float64Array | Int32Array | Uint8Array>(column: T, grown: T): T => {
      grown.set(column);
      return grown;
    };
    this.#times = longer(this.#times, new Float64Array(room));
    this.#order = longer(this.#order, new Float64Array(room));
    this.#tails = longer(this.#tails, new Float64Array(room));
    this.#kinds = longer(this.#kinds, new Uint8Array(room));
    this.#subjects = longer(this.#subjects, new Int32Array(room));
    this.#details = longer(this.#details, new Int32Array(room));
  }
}
