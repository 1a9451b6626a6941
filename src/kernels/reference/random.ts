/** The counter-based generator, word by word. */

/** Words 4 c .. 4 c + 3 of the Philox4x32-10 stream. see: Salmon et al., SC 2011, section 3.3. */
export function philox(counter: readonly [number, number, number, number], key: readonly [number, number]): number[] {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const p0 = BigInt(c0) * 0xd2511f53n;
    const p1 = BigInt(c2) * 0xcd9e8d57n;
    [c0, c1, c2, c3] = [
      (Number(p1 >> 32n) ^ c1 ^ k0) >>> 0,
      Number(p1 & 0xffffffffn),
      (Number(p0 >> 32n) ^ c3 ^ k1) >>> 0,
      Number(p0 & 0xffffffffn),
    ];
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** One word of Marsaglia's XORWOW from the state [x, y, z, w, v, d], which moves on. see: Xorshift RNGs (2003), 3.1. */
export function xorwow(state: Uint32Array): number {
  const t = state[0]! ^ (state[0]! >>> 2);
  const last = state[4]!;
  state.copyWithin(0, 1, 5);
  state[4] = last ^ (last << 4) ^ (t ^ (t << 1));
  state[5] = state[5]! + 362437;
  return (state[4]! + state[5]!) >>> 0;
}

/** The next word of the LFSR of P = x^32 + x^7 + x^6 + x^2 + 1: 32 steps of one bit. */
export function lfsr(state: number): number {
  let s = state;
  for (let step = 0; step < 32; step++) s = (s << 1) ^ (s >>> 31 === 1 ? 0b1100_0101 : 0);
  return s >>> 0;
}
