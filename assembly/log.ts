/**
 * The natural logarithm of one FP32, computed in double precision and rounded once:
 *
 *     x = 2^n m, sqrt(1/2) <= m < sqrt(2)         ln x = n ln 2 + 2 (s + s^3/3 + s^5/5 + ...),  s = (m - 1) / (m + 1)
 *
 * |s| < 0.1716, so what follows the term of s^13 is below 2^-37 of the sum. For one value in a row, not for every element.
 */

const SQRT_HALF: f64 = 0.7071067811865476;

/** ln x for x >= 0; -infinity at 0, NaN for NaN. FP32 subnormals included: they are normal doubles. */
export function log(x: f32): f32 {
  if (!(x > 0 && x < Infinity)) return x == 0 ? f32(-Infinity) : x;
  const bits = reinterpret<u64>(f64(x));
  // Adding 1 - sqrt(1/2), as bits, moves the border between binades to where m changes.
  const raised = bits + (reinterpret<u64>(1.0) - reinterpret<u64>(SQRT_HALF));
  const n = i32(raised >> 52) - 1023;
  const m = reinterpret<f64>((raised & 0x000fffffffffffff) + reinterpret<u64>(SQRT_HALF));
  const s = (m - 1) / (m + 1);
  const t = s * s;
  const tail = t * (1.0 / 3 + t * (1.0 / 5 + t * (1.0 / 7 + t * (1.0 / 9 + t * (1.0 / 11 + t * (1.0 / 13))))));
  return f32(f64(n) * 0.6931471805599453 + 2 * s * (1 + tail));
}
