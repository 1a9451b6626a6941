/**
 * exp on four FP32 lanes, with multiplication and addition only (no fused operation, so the same bits on every host).
 *
 *     x = n ln 2 + r, |r| <= ln 2 / 2, n = nearest(x log2 e)      two-step reduction, ln 2 = LN2_HIGH + LN2_LOW
 *     e^r = 1 + r + r^2 P(r), P of degree 5                      see: Cephes expf.c
 *     e^x = 2^n e^r                                              2^n in two factors: one alone can overflow
 *
 * At most 1.0 ulp over [-87.33, 88.72]. Below it the result is 0 (FP32 subnormals are flushed), above it infinity.
 */

const LOG2E: f32 = 1.4426950408889634;
const LN2_HIGH: f32 = 0.693359375;
const LN2_LOW: f32 = -2.1219444e-4;
const HIGHEST: f32 = 88.72283905206835;
const LOWEST: f32 = -87.3365447505531;

export function exp4(x: v128): v128 {
  const clamped = f32x4.max(f32x4.min(x, f32x4.splat(HIGHEST)), f32x4.splat(LOWEST));
  const n = f32x4.nearest(f32x4.mul(clamped, f32x4.splat(LOG2E)));
  let r = f32x4.sub(clamped, f32x4.mul(n, f32x4.splat(LN2_HIGH)));
  r = f32x4.sub(r, f32x4.mul(n, f32x4.splat(LN2_LOW)));
  let p = f32x4.splat(1.98756915e-4);
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.3981999507e-3));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(8.3334519073e-3));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(4.1665795894e-2));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.6666665459e-1));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(5.0000001201e-1));
  const y = f32x4.add(f32x4.add(f32x4.mul(f32x4.mul(r, r), p), r), f32x4.splat(1));
  const exponent = i32x4.trunc_sat_f32x4_s(n);
  const half = i32x4.shr_s(exponent, 1);
  const scaled = f32x4.mul(f32x4.mul(y, power2(half)), power2(i32x4.sub(exponent, half)));
  const flushed = v128.andnot(scaled, f32x4.lt(x, f32x4.splat(LOWEST)));
  return v128.bitselect(f32x4.splat(f32.POSITIVE_INFINITY), flushed, f32x4.gt(x, f32x4.splat(HIGHEST)));
}

/** 2^n by its bits; -126 <= n <= 127. */
function power2(n: v128): v128 {
  return i32x4.shl(i32x4.add(n, i32x4.splat(127)), 23);
}
