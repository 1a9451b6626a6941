/**
 * What a reference returns. Each is readable double-precision code and gives the value of every element and its
 * `magnitude`: the size of the terms that were added up to get it, by which rounding errors scale. A kernel is right if
 * |y - value| <= roundings * 2^-24 * magnitude + (rounding of the output format) * |value|.
 */

export interface Reference {
  readonly value: Float64Array;
  readonly magnitude: Float64Array;
}

export type Numbers = ArrayLike<number>;

/** A reference of `length` elements, each computed on its own. */
export function reference(
  length: number,
  element: (i: number) => readonly [value: number, magnitude: number],
): Reference {
  const value = new Float64Array(length);
  const magnitude = new Float64Array(length);
  for (let i = 0; i < length; i++) [value[i], magnitude[i]] = element(i) as [number, number];
  return { value, magnitude };
}

/** A value whose own size is its magnitude. */
export function plain(value: number): readonly [number, number] {
  return [value, Math.abs(value)];
}
