/** Hashes of numbers, by which equal things find each other. */

/** A well-mixed 32-bit number: the finaliser of MurmurHash3. */
export function mix(x: number): number {
  let h = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

const real = new Float64Array(1);
const halves = new Uint32Array(real.buffer);

/** 32 bits of a double. */
export function hashReal(value: number): number {
  real[0] = value;
  return mix(halves[0]! ^ mix(halves[1]!));
}

/** 53 bits of several doubles in order. */
export function hashReals(values: ArrayLike<number>): number {
  let low = 0;
  let high = 0x9e3779b9;
  for (let i = 0; i < values.length; i++) {
    const hash = hashReal(values[i]!);
    low = mix(low ^ hash);
    high = mix(high + hash);
  }
  return low + 2 ** 32 * (high & 0x1fffff);
}
