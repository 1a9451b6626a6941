/**
 * Arithmetic of torus addresses. Dimensions are listed innermost first, so in a 4 x 4 x 4 torus chip i sits at
 *
 *     i = z * 16 + y * 4 + x
 *
 * A wrapped dimension of one or two chips has no second link to close it: it is a chain here.
 */
import type { TorusDimension } from '../hardware/spec.ts';

/** True if a link joins the last position of the dimension to the first. */
export function isClosed(dimension: TorusDimension): boolean {
  return dimension.wrap && dimension.size > 2;
}

/** Distance in chip numbers between neighbours, one per dimension: [1, sizeX, sizeX * sizeY, ...]. */
export function torusStrides(dimensions: readonly TorusDimension[]): number[] {
  let stride = 1;
  return dimensions.map(({ size }) => {
    const current = stride;
    stride *= size;
    return current;
  });
}

/** Position of `chip` along a dimension of `size` chips that are `stride` chip numbers apart. */
export function coordinate(chip: number, stride: number, size: number): number {
  return Math.floor(chip / stride) % size;
}

/**
 * Links from position `from` to position `to` by the shorter way, negative if it runs against the numbering.
 * Half way round a ring both ways are equally long; the positive one is taken.
 */
export function shortestOffset(dimension: TorusDimension, from: number, to: number): number {
  if (!isClosed(dimension)) return to - from;
  const forward = (to - from + dimension.size) % dimension.size;
  return 2 * forward <= dimension.size ? forward : forward - dimension.size;
}

/** Links on a shortest way between two chips: the Manhattan distance with wrap. */
export function torusDistance(dimensions: readonly TorusDimension[], from: number, to: number): number {
  const strides = torusStrides(dimensions);
  return dimensions.reduce((links, dimension, d) => {
    const stride = strides[d]!;
    const a = coordinate(from, stride, dimension.size);
    const b = coordinate(to, stride, dimension.size);
    return links + Math.abs(shortestOffset(dimension, a, b));
  }, 0);
}
