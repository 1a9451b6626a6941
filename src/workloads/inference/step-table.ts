/**
 * Step times for a simulator of request streams, which asks for millions of them: a decode step by sequences and context, and
 * a piece of a prompt by its length and what came before.
 *
 * Times are computed on a grid (all whole numbers to 16, then 8 to an octave), kept, and interpolated between its points:
 * some microseconds a question once the grid is known. Steps of compiled programs have few shapes, so theirs are exact.
 * Within an octave a step is nearly a straight line of each argument; the grid follows it within 1 % (test).
 */
import { expectInteger } from '../../base/errors.ts';
import type { Seconds } from '../../base/units.ts';
import { decodeStep, type InferenceClocks, inferenceClocks, prefill } from './evaluate.ts';
import type { InferencePlan } from './plan.ts';
import type { InferenceTables } from './tables.ts';

/** Points to an octave, and half of the number up to which all are. */
const POINTS = 8;

/** The point of the grid at or below `x`, and the distance to the next one. */
function cellOf(x: number): { readonly low: number; readonly width: number } {
  let width = 1;
  while (x >= 2 * POINTS * width) width *= 2;
  return { low: width * Math.floor(x / width), width };
}

export class StepTable {
  readonly plan: InferencePlan;
  readonly #clocks: InferenceClocks;
  readonly #decode = new Map<number, Map<number, Seconds>>();
  readonly #prefill = new Map<number, Map<number, Seconds>>();

  constructor(plan: InferencePlan, tables: InferenceTables) {
    this.plan = plan;
    this.#clocks = inferenceClocks(plan, tables);
  }

  /** A step of `sequences` sequences of a replica with `context` positions on average; it yields `tokensPerStep` tokens of each. */
  decode(sequences: number, context: number): Seconds {
    return this.#interpolate(this.#decode, sequences, context, (n, at) => decodeStep(this.#clocks, this.plan, n, at));
  }

  /** The prompt of one request, draft model included. */
  prefill(tokens: number): Seconds {
    return this.#interpolate(this.#prefill, 1, tokens, (n, length) => prefill(this.#clocks, this.plan, n, length));
  }

  #interpolate(
    known: Map<number, Map<number, Seconds>>,
    n: number,
    x: number,
    compute: (n: number, x: number) => Seconds,
  ): Seconds {
    expectInteger('sequences', n, 1);
    if (!(x >= 1 && x < 2 ** 30)) throw new RangeError(`"positions" expected a number in 1..2^30, got ${x}`);
    const at = (m: number, y: number): Seconds => {
      let row = known.get(m);
      if (row === undefined) {
        row = new Map();
        known.set(m, row);
      }
      let time = row.get(y);
      if (time === undefined) {
        time = compute(m, y);
        row.set(y, time);
      }
      return time;
    };
    if (this.plan.compiled !== null) return at(n, Math.ceil(x));
    const across = cellOf(n);
    const along = cellOf(x);
    const line = (m: number): Seconds => {
      const low = at(m, along.low);
      return x === along.low ? low : low + ((x - along.low) / along.width) * (at(m, along.low + along.width) - low);
    };
    const low = line(across.low);
    return n === across.low ? low : low + ((n - across.low) / across.width) * (line(across.low + across.width) - low);
  }
}
