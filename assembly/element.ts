/**
 * How an element of each storage format becomes FP32 lanes and back.
 *
 *     f32    T = f32   the bits themselves
 *     bf16   T = u16   the upper half of an FP32: widening is a shift, exact
 *
 * `T` is known when a kernel is compiled, so the branch below costs nothing.
 */

/** Four consecutive elements at `p` as FP32 lanes. */
export function load4<T>(p: usize): v128 {
  if (sizeof<T>() == 4) return v128.load(p);
  return i32x4.shl(v128.load_ext<u16>(p), 16);
}

/** One element at `p` as FP32. */
export function load1<T>(p: usize): f32 {
  if (sizeof<T>() == 4) return load<f32>(p);
  return reinterpret<f32>(u32(load<u16>(p)) << 16);
}

/** The sum of the four lanes, as (0 + 1) + (2 + 3): a fixed order, so the same bits on every host. */
export function horizontalSum(v: v128): f32 {
  return f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3));
}
