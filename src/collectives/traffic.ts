/**
 * What a schedule moves between endpoints, counted over every transfer of every step. Transfers inside an endpoint's own
 * memory and DUPLICATE writes cross nothing and are not counted, but as `local`.
 */
import type { Bytes } from '../base/units.ts';
import { DUPLICATE, type Schedule } from './schedule.ts';

export interface Traffic {
  /** Bytes that leave, and that arrive at, each endpoint. */
  readonly sent: Float64Array;
  readonly received: Float64Array;
  /** Bytes that each endpoint writes to its own memory without receiving them. */
  readonly local: Float64Array;
  /** Bytes from source to destination, at source * endpoints + destination; pairs without traffic are left out. */
  readonly pairs: ReadonlyMap<number, Bytes>;
  readonly total: Bytes;
}

/** All traffic of a schedule. `bytesPerElement` may be a fraction, for formats below a byte. */
export function trafficOf(schedule: Schedule, bytesPerElement: number): Traffic {
  const { endpoints } = schedule;
  const sent = new Float64Array(endpoints);
  const received = new Float64Array(endpoints);
  const local = new Float64Array(endpoints);
  const pairs = new Map<number, number>();
  let total = 0;
  for (let step = 0; step < schedule.steps; step++) {
    const { source, destination, length, action } = schedule.transfers(step);
    for (let t = 0; t < length.length; t++) {
      const [from, to] = [source[t]!, destination[t]!];
      const bytes = length[t]! * bytesPerElement;
      if (from === to || action[t] === DUPLICATE) {
        local[to]! += bytes;
        continue;
      }
      sent[from]! += bytes;
      received[to]! += bytes;
      pairs.set(from * endpoints + to, (pairs.get(from * endpoints + to) ?? 0) + bytes);
      total += bytes;
    }
  }
  return { sent, received, local, pairs, total };
}
