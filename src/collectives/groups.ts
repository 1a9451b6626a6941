/** Groups of ranks, orders and pairs: how they are written down, and the checks that they make sense. */
import { expectInteger } from '../base/errors.ts';

/**
 * Groups of `size` ranks, `stride` apart, that together cover all ranks. Stride 1: consecutive ranks, as in tensor
 * parallelism; stride 8: every eighth, as in data parallelism over tensor parallelism 8.
 * @throws RangeError if size x stride does not divide the ranks
 */
export function stridedGroups(ranks: number, size: number, stride: number = 1): number[][] {
  expectInteger('ranks', ranks, 1);
  expectInteger('size', size, 1, ranks);
  expectInteger('stride', stride, 1, ranks);
  if (ranks % (size * stride) !== 0) {
    throw new RangeError(`"ranks" expected a multiple of ${size} x ${stride}, got ${ranks}`);
  }
  const groups: number[][] = [];
  for (let block = 0; block < ranks; block += size * stride) {
    for (let first = block; first < block + stride; first++) {
      groups.push(Array.from({ length: size }, (_, i) => first + i * stride));
    }
  }
  return groups;
}

/** The pairs of a circular permute: every rank sends to the one `shift` further on. */
export function circularPairs(ranks: number, shift: number = 1): [number, number][] {
  expectInteger('ranks', ranks, 1);
  expectInteger('shift', shift, -ranks, ranks);
  return Array.from({ length: ranks }, (_, i) => [i, (i + shift + ranks) % ranks]);
}

/** The groups, each rank in at most one of them; one group of all ranks if none are given. */
export function checkGroups(groups: readonly ArrayLike<number>[] | undefined, ranks: number): Int32Array[] {
  if (groups === undefined) return [Int32Array.from({ length: ranks }, (_, rank) => rank)];
  const groupOf = new Int32Array(ranks).fill(-1);
  return groups.map((group, g) => {
    if (group.length === 0) throw new RangeError(`"groups[${g}]" expected at least one rank, got none`);
    for (let i = 0; i < group.length; i++) {
      const rank = expectInteger(`groups[${g}][${i}]`, group[i], 0, ranks - 1);
      if (groupOf[rank]! >= 0)
        throw new RangeError(`"groups[${g}]" expected ranks in no other group, got ${rank} again`);
      groupOf[rank] = g;
    }
    return Int32Array.from(group);
  });
}

/** @throws RangeError if `order` is not a permutation of 0 .. count - 1 */
export function checkOrder(name: string, order: ArrayLike<number>, count: number): void {
  if (order.length !== count) throw new RangeError(`"${name}" expected ${count} positions, got ${order.length}`);
  const seen = new Uint8Array(count);
  for (let i = 0; i < count; i++) {
    const position = expectInteger(`${name}[${i}]`, order[i], 0, count - 1);
    if (seen[position]) throw new RangeError(`"${name}[${i}]" expected a position not listed before, got ${position}`);
    seen[position] = 1;
  }
}

/** @throws RangeError if a position is the source or the destination of two pairs */
export function checkPairs(pairs: readonly (readonly [number, number])[], positions: number): void {
  const seen = [new Uint8Array(positions), new Uint8Array(positions)];
  pairs.forEach((pair, i) => {
    if (pair.length !== 2)
      throw new RangeError(`"pairs[${i}]" expected a source and a destination, got ${pair.length}`);
    pair.forEach((position, end) => {
      expectInteger(`pairs[${i}][${end}]`, position, 0, positions - 1);
      if (seen[end]![position]) {
        throw new RangeError(
          `"pairs[${i}]" expected each ${end === 0 ? 'source' : 'destination'} once, got ${position} again`,
        );
      }
      seen[end]![position] = 1;
    });
  });
}
