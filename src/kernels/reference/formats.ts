/** Conversions between number formats, by comparing distances. */

const words = new Uint32Array(1);
const floats = new Float32Array(words.buffer);

/** The BF16 code nearest to `x`, ties to even; the canonical NaN 0x7fc0 for NaN. By comparing distances, not by bits. */
export function bf16Code(x: number): number {
  if (Number.isNaN(x)) return 0x7fc0;
  floats[0] = x;
  const below = words[0]! >>> 16;
  const exact = bf16Value(below);
  if (exact === x || !Number.isFinite(exact)) return below;
  const above = below + 1;
  // The code after the largest finite one is infinity; for rounding it stands where the next binade would begin.
  const aboveValue = Number.isFinite(bf16Value(above)) ? bf16Value(above) : Math.sign(exact) * 2 ** 128;
  const distance = Math.abs(x - exact) - Math.abs(aboveValue - x);
  if (distance === 0) return below % 2 === 0 ? below : above;
  return distance < 0 ? below : above;
}

/** The value of a BF16 code. */
export function bf16Value(code: number): number {
  words[0] = code << 16;
  return floats[0]!;
}
