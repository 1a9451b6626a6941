/**
 * The generators in hardware: many small ones side by side, each with a state of its own. Word i of a tensor comes from
 * generator i mod G, so a call makes whole rows of G words. Four generators share a vector, and each vector runs through
 * all rows before the next, with its state in registers.
 *
 *     XORWOW   t = x ^ (x >> 2);  (x, y, z, w) <- (y, z, w, v);  v <- (v ^ (v << 4)) ^ (t ^ (t << 1));
 *              d += 362437;  word = v + d                       see: Marsaglia: Xorshift RNGs (2003), section 3.1
 *     LFSR     word = state after 32 steps of s <- x s mod P,  P = x^32 + x^7 + x^6 + x^2 + 1, primitive
 *
 * AWS names XORWOW and LFSR but publishes neither their seeding nor the LFSR's polynomial; P is a choice of ours.
 * State: `words` arrays of G words, one after another (XORWOW x, y, z, w, v, d; LFSR s), updated in place.
 */

/** One XORWOW word of each of `generators` (a multiple of 4) for every row. `out`: [rows, generators] u32. */
export function xorwow_u32(rows: i32, generators: i32, state: usize, out: usize): void {
  const stride = usize(generators) << 2;
  const end = state + stride;
  for (; state < end; state += 16) {
    let x = v128.load(state);
    let y = v128.load(state + stride);
    let z = v128.load(state + 2 * stride);
    let w = v128.load(state + 3 * stride);
    let v = v128.load(state + 4 * stride);
    let d = v128.load(state + 5 * stride);
    const weyl = i32x4.splat(362437);
    let to = out;
    for (let row = 0; row < rows; row++) {
      const t = v128.xor(x, i32x4.shr_u(x, 2));
      x = y;
      y = z;
      z = w;
      w = v;
      v = v128.xor(v128.xor(v, i32x4.shl(v, 4)), v128.xor(t, i32x4.shl(t, 1)));
      d = i32x4.add(d, weyl);
      v128.store(to, i32x4.add(v, d));
      to += stride;
    }
    v128.store(state, x);
    v128.store(state + stride, y);
    v128.store(state + 2 * stride, z);
    v128.store(state + 3 * stride, w);
    v128.store(state + 4 * stride, v);
    v128.store(state + 5 * stride, d);
    out += 16;
  }
}

/** s (1 + x^2 + x^6 + x^7), what stays below x^32. */
function lowTaps(s: v128): v128 {
  return v128.xor(v128.xor(s, i32x4.shl(s, 2)), v128.xor(i32x4.shl(s, 6), i32x4.shl(s, 7)));
}

/** One LFSR word of each of `generators` (a multiple of 4) for every row. `out`: [rows, generators] u32. */
export function lfsr_u32(rows: i32, generators: i32, state: usize, out: usize): void {
  const stride = usize(generators) << 2;
  const end = state + stride;
  for (; state < end; state += 16) {
    let s = v128.load(state);
    let to = out;
    for (let row = 0; row < rows; row++) {
      // 32 steps at once: x^32 s = (1 + x^2 + x^6 + x^7) s mod P. The up to 7 bits beyond x^31 are folded the same way.
      const beyond = v128.xor(v128.xor(i32x4.shr_u(s, 30), i32x4.shr_u(s, 26)), i32x4.shr_u(s, 25));
      s = v128.xor(lowTaps(s), lowTaps(beyond));
      v128.store(to, s);
      to += stride;
    }
    v128.store(state, s);
    out += 16;
  }
}
