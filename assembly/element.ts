/**
 * How an element of each storage format becomes FP32 lanes.
 *
 * A format is a class without fields that stands as a type argument: the branches below are decided when a kernel is
 * compiled and cost nothing. Kernels are written once over `T` and exported once for each format.
 */

/** The bits themselves. */
export class F32 {}
/** The upper half of an FP32: widening is a shift, exact. */
export class BF16 {}

/** Bytes of an element. */
export function bytesOf<T>(): usize {
  if (idof<T>() == idof<F32>()) return 4;
  return 2;
}

/** Four consecutive elements at `p` as FP32 lanes. */
export function load4<T>(p: usize): v128 {
  if (idof<T>() == idof<F32>()) return v128.load(p);
  return i32x4.shl(v128.load_ext<u16>(p), 16);
}

/** One element at `p` as FP32. */
export function load1<T>(p: usize): f32 {
  if (idof<T>() == idof<F32>()) return load<f32>(p);
  return reinterpret<f32>(u32(load<u16>(p)) << 16);
}

/** a b + c: one rounding in the relaxed build, two in the plain one. */
export function madd4(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(f32x4.mul(a, b), c);
}

/** The sum of the four lanes, as (0 + 1) + (2 + 3): a fixed order, so the same bits on every host. */
export function horizontalSum(v: v128): f32 {
  return f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3));
}
