/**
 * A loop in steady state: once everything that it can touch has moved by the same time over a whole number of rotations of its
 * buffers - or is so old that nothing waits for it - all further rounds move it by that time again. They are multiplied, not run.
 *
 * A loop is a function of max and plus from one state of the clock to the next, so that the result is that of running it.
 */
import type { Picoseconds } from '../base/units.ts';
import type { CompiledInstruction, CompiledLoop } from './clock-compile.ts';
import { PARTS } from './clock-state.ts';
import { COUNTERS, type InstructionClock } from './clock-step.ts';

/** Rotations of the buffers after which a pattern may come back to itself. */
const HISTORY = 6;
const MOMENTS = HISTORY + 1;
const LONGEST_PERIOD = 64;
/** Loops of fewer instructions are run: looking for their pattern would cost more. */
const LEAST_WORK = 24;
const WIDTH = PARTS.length;

/** Whether looking for the pattern of a loop can pay. */
export function mayFold({ work, count, period }: CompiledLoop): boolean {
  return work >= LEAST_WORK && count > Math.max(3, 2 * period) && period <= LONGEST_PERIOD;
}

/** What a loop can touch, at one moment. Filled again and again: loops inside loops look back often. */
class Snapshot {
  readonly times: Float64Array;
  readonly parts: Float64Array;
  readonly owner: Int16Array;
  readonly counters: Float64Array;
  loaded: CompiledInstruction | null = null;
  loadedReady: Picoseconds = 0;

  constructor({ touched }: CompiledLoop, counters: number) {
    this.times = new Float64Array(touched.length);
    this.parts = new Float64Array(touched.length * WIDTH);
    this.owner = new Int16Array(touched.length);
    this.counters = new Float64Array(counters);
  }

  take({ touched }: CompiledLoop, clock: InstructionClock): void {
    const { times, parts, owner } = clock.state;
    for (let k = 0; k < touched.length; k++) {
      const e = touched[k]!;
      this.times[k] = times[e]!;
      this.owner[k] = owner[e]!;
      for (let p = 0; p < WIDTH; p++) this.parts[k * WIDTH + p] = parts[e * WIDTH + p]!;
    }
    this.counters.set(clock.counters);
    this.loaded = clock.loaded.by;
    this.loadedReady = clock.loaded.ready;
  }
}

/** The last few moments of one loop, each at the end of a rotation of its buffers. */
export class LoopHistory {
  readonly #loop: CompiledLoop;
  readonly #clock: InstructionClock;
  readonly #moments: readonly Snapshot[];
  #taken = 0;

  constructor(loop: CompiledLoop, clock: InstructionClock) {
    this.#loop = loop;
    this.#clock = clock;
    this.#moments = Array.from({ length: MOMENTS }, () => new Snapshot(loop, clock.counters.length));
  }

  /** The loop begins anew. */
  forget(): void {
    this.#taken = 0;
  }

  /** Notes the moment; with `left` rounds to go, moves the clock over as many as repeat what was, and answers their number. */
  replay(left: number): number {
    const now = this.#moments[this.#taken % MOMENTS]!;
    now.take(this.#loop, this.#clock);
    for (let back = 1; back <= Math.min(this.#taken, HISTORY); back++) {
      const before = this.#moments[(this.#taken - back) % MOMENTS]!;
      if (!hasShifted(this.#loop, before, now, this.#clock.longestWait)) continue;
      const rounds = back * this.#loop.period;
      const times = Math.floor(left / rounds);
      this.#repeat(before, now, times);
      this.#taken++;
      return times * rounds;
    }
    this.#taken++;
    return 0;
  }

  /** Moves the clock over `count` more stretches like the one between the two moments. */
  #repeat(before: Snapshot, now: Snapshot, count: number): void {
    const { touched } = this.#loop;
    const clock = this.#clock;
    const { times, parts } = clock.state;
    for (let k = 0; k < touched.length; k++) {
      const e = touched[k]!;
      times[e]! += count * (now.times[k]! - before.times[k]!);
      for (let p = 0; p < WIDTH; p++) {
        parts[e * WIDTH + p]! += count * (now.parts[k * WIDTH + p]! - before.parts[k * WIDTH + p]!);
      }
    }
    clock.loaded.ready += count * (now.loadedReady - before.loadedReady);
    for (let c = 0; c < clock.counters.length; c++) {
      clock.counters[c]! += count * (now.counters[c]! - before.counters[c]!);
    }
    clock.folded += count * (now.counters[COUNTERS.instructions]! - before.counters[COUNTERS.instructions]!);
  }
}

/**
 * Whether everything that the loop can touch has moved by the same time between two moments, or has not moved and lies so far
 * back that nothing waits for it. The loaded stationary tile must be that of the same instruction: its position is linear in
 * the loop, so whether the next round finds it loaded is the same in every round.
 */
function hasShifted({ touched, pace }: CompiledLoop, before: Snapshot, now: Snapshot, longestWait: number): boolean {
  const shift = now.times[pace[0]!]! - before.times[pace[0]!]!;
  if (shift <= 0 || now.loaded !== before.loaded) return false;
  let earliest = Number.POSITIVE_INFINITY;
  for (const k of pace) earliest = Math.min(earliest, before.times[k]!);
  const isSteady = (was: Picoseconds, is: Picoseconds) =>
    is - was === shift || (is === was && is + longestWait <= earliest);
  for (let k = 0; k < touched.length; k++) {
    if (now.owner[k] !== before.owner[k] || !isSteady(before.times[k]!, now.times[k]!)) return false;
  }
  // Not waited for, only compared: what was loaded is still there, or was rewritten.
  return [0, shift].includes(now.loadedReady - before.loadedReady);
}
