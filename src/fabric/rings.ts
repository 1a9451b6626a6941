/**
 * The order in which a ring visits chips, so that neighbours in the ring are neighbours in the fabric.
 *
 * Torus: reflected mixed-radix Gray order, a snake through the dimensions: each step changes one coordinate by one.
 * It closes by one link when the outermost dimension is used all round (or is two wide) and its used part is even;
 * any dimension may be the outermost, the one with the fewest links in the whole ring is taken.
 * Hops longer than one link remain: the closing hop if every used extent is odd or no dimension closes (a chain of n
 * chips ends with a hop of n - 1 links), and wherever the chips given are no box.
 * Switched: in chip order, which keeps a ring inside each group as long as it can.
 */
import { expectInteger } from '../base/errors.ts';
import { fabricSize } from '../hardware/fabric.ts';
import type { FabricSpec, TorusDimension } from '../hardware/spec.ts';

import { coordinate, torusDistance, torusStrides } from './torus.ts';

/**
 * The given chips in ring order; the last is followed by the first.
 * @throws RangeError if a chip is not in the fabric or is given twice
 */
export function ringOrder(fabric: FabricSpec, chips: ArrayLike<number>): Int32Array {
  const size = fabricSize(fabric);
  const used = Array.from(chips);
  used.forEach((chip, i) => {
    expectInteger(`chips[${i}]`, chip, 0, size - 1);
  });
  if (new Set(used).size !== used.length) throw new RangeError(`"chips" expected each chip once, got ${used}`);
  used.sort((a, b) => a - b);
  return Int32Array.from(fabric.type === 'torus' ? torusRing(fabric.dimensions, used) : used);
}

function torusRing(dimensions: readonly TorusDimension[], chips: readonly number[]): readonly number[] {
  let best = chips;
  let fewest = Number.POSITIVE_INFINITY;
  // From the outermost dimension inwards, so that among equals the order closest to the chip numbers is kept.
  for (let outermost = dimensions.length - 1; outermost >= 0; outermost--) {
    const ring = grayOrder(dimensions, outermost, chips);
    const links = ring.reduce((sum, chip, i) => sum + torusDistance(dimensions, chip, ring[(i + 1) % ring.length]!), 0);
    if (links < fewest) {
      best = ring;
      fewest = links;
    }
  }
  return best;
}

/** The chips sorted by their rank in the reflected Gray order whose slowest digit is dimension `outermost`. */
function grayOrder(
  dimensions: readonly TorusDimension[],
  outermost: number,
  chips: readonly number[],
): readonly number[] {
  const strides = torusStrides(dimensions);
  const inner = dimensions.map((_, d) => d).filter((d) => d !== outermost);
  const slowestFirst = [outermost, ...inner.reverse()];
  const rankOf = (chip: number): number => {
    let rank = 0;
    for (const d of slowestFirst) {
      const { size } = dimensions[d]!;
      const at = coordinate(chip, strides[d]!, size);
      // Every second pass over a dimension runs backwards: it starts where the one before ended.
      rank = rank * size + (rank % 2 === 0 ? at : size - 1 - at);
    }
    return rank;
  };
  return chips
    .map((chip) => ({ chip, rank: rankOf(chip) }))
    .sort((a, b) => a.rank - b.rank)
    .map(({ chip }) => chip);
}
