/**
 * The time of a collective over one group as a function of its bytes, without allocating: points at powers of two, found when
 * first asked for, and straight lines between them. A collective's time is straight pieces itself, one for each algorithm.
 */
import type { Bytes, Seconds } from '../../base/units.ts';

const POINTS = 52;

export class CostCurve {
  readonly #times: Float64Array = new Float64Array(POINTS).fill(Number.NaN);
  readonly #cost: (bytes: Bytes) => Seconds;

  constructor(cost: (bytes: Bytes) => Seconds) {
    this.#cost = cost;
  }

  /** For 0 to 2^51 bytes. */
  time(bytes: Bytes): Seconds {
    if (bytes <= 0) return 0;
    let power = 0;
    let size = 1;
    while (size * 2 <= bytes) {
      size *= 2;
      power++;
    }
    const low = this.#point(power, size);
    const high = this.#point(power + 1, 2 * size);
    return low + (high - low) * (bytes / size - 1);
  }

  #point(power: number, size: Bytes): Seconds {
    const known = this.#times[power]!;
    if (!Number.isNaN(known)) return known;
    const time = this.#cost(size);
    this.#times[power] = time;
    return time;
  }
}
