/**
 * Ring all-reduce: reduce-scatter, then all-gather, p - 1 steps each, every rank always sending to its successor.
 *
 * The buffer is cut into p chunks. In step s the rank at position i sends chunk (i - s) mod p, and its successor adds it
 * (s < p - 1) or overwrites with it. After p - 1 steps position i holds chunk i + 1 with all addends in it, which is the
 * chunk that it sends next: the second half carries the finished chunks round by the same rule.
 * Sends 2(p - 1)/p of the buffer per rank: the least that an all-reduce can (see: Patarasuk and Yuan, "Bandwidth optimal
 * all-reduce algorithms for clusters of workstations", 2009). Leaves out: pipelining of chunks, two rings in opposite directions.
 */
import { expectInteger } from '../base/errors.ts';
import { chunkStart, type Schedule, ScheduleBuilder } from './schedule.ts';

/**
 * The schedule over the ranks in ring order: `order[i]` sends to `order[i + 1]`, the last to the first.
 * One rank, or no elements: an empty schedule.
 * @throws RangeError if `order` is not a permutation of 0 .. order.length - 1
 */
export function ringAllReduce(order: ArrayLike<number>, elements: number): Schedule {
  const ranks = order.length;
  expectInteger('order.length', ranks, 1);
  expectInteger('elements', elements);
  const seen = new Uint8Array(ranks);
  for (let i = 0; i < ranks; i++) {
    const rank = expectInteger(`order[${i}]`, order[i], 0, ranks - 1);
    if (seen[rank]) throw new RangeError(`"order[${i}]" expected a rank not listed before, got ${rank}`);
    seen[rank] = 1;
  }

  const builder = new ScheduleBuilder();
  for (let step = 0; step < 2 * (ranks - 1); step++) {
    // In one step position i reads chunk i - s and is written chunk i - 1 - s: never the same one, as p >= 2.
    for (let i = 0; i < ranks; i++) {
      const chunk = (i - step + 2 * ranks) % ranks;
      const begin = chunkStart(elements, ranks, chunk);
      builder.add({
        source: order[i]!,
        destination: order[(i + 1) % ranks]!,
        sourceOffset: begin,
        destinationOffset: begin,
        length: chunkStart(elements, ranks, chunk + 1) - begin,
        reduce: step < ranks - 1,
      });
    }
    builder.endStep();
  }
  return builder.build({ collective: 'all-reduce', algorithm: 'ring', ranks, elements });
}
