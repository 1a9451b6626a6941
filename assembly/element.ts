/**
 * How an element of each storage format becomes FP32 lanes. Every widening is exact.
 *
 * A format is a class without fields that stands as a type argument: the branches below are decided when a kernel is
 * compiled and cost nothing. Kernels are written once over `T` and exported once for each format.
 *
 * F16 and E5M2, of 5 exponent bits, bias 15 and f fraction bits, are moved to where an FP32 has its fields, f fraction bits at
 * the top of 23, and multiplied by 2^(127 - 15). That is right for normals, for subnormals (which the product makes normal)
 * and for zeros. Codes of infinity and NaN get the FP32's full exponent instead, so a NaN keeps its sign and payload
 * here; the casts that narrow make every NaN the format's canonical one.
 *
 * Leaves out: the other formats of 8 bits and fewer, which widen by tables (widen.ts), and E8M0, which is a scale and no
 * operand (scale.ts).
 */

/** The bits themselves. */
export class F32 {}
/** The upper half of an FP32: widening is a shift, exact. */
export class BF16 {}
/** IEEE half precision: 5 exponent bits, bias 15, largest 65504. */
export class F16 {}
/** FP8 of Trn1 and Trn2, `float8_e4m3`: as IEEE, so exponent 15 is infinity or NaN and the largest is 240. */
export class E4M3 {}
/** FP8 of Trn3, OCP `float8_e4m3fn`: no infinity, NaN is 0x7f and 0xff only, the largest is 448. */
export class E4M3FN {}
/** `float8_e5m2`, as IEEE: the upper half of an F16, largest 57344. */
export class E5M2 {}
/** `float8_e3m4`, as IEEE: bias 3, largest 15.5. */
export class E3M4 {}
/** FP4, OCP `float4_e2m1fn`: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives. Two codes in a byte, the first in the low half. */
export class E2M1 {}
/** Two's complement. */
export class I8 {}

/** Bytes of an element. An E2M1 has no address of its own. */
export function bytesOf<T>(): usize {
  if (idof<T>() == idof<F32>()) return 4;
  if (idof<T>() == idof<BF16>() || idof<T>() == idof<F16>()) return 2;
  return 1;
}

/** Fraction bits of a float format. */
export function fractionBits<T>(): i32 {
  if (idof<T>() == idof<F32>()) return 23;
  if (idof<T>() == idof<F16>()) return 10;
  if (idof<T>() == idof<BF16>()) return 7;
  if (idof<T>() == idof<E3M4>()) return 4;
  if (idof<T>() == idof<E5M2>()) return 2;
  if (idof<T>() == idof<E2M1>()) return 1;
  return 3;
}

// What widening needs: the fields that a code has after the shift (sign, exponent, fraction), 2^(127 - bias), the bits that
// are all set in an infinity or NaN, an FP32's exponent. Constants come from memory, by one broadcasting load, because V8
// builds a vector constant anew, in several instructions, each time it is met.
const WIDENING: usize = memory.data<u32>([0x8fffe000, 0x77800000, 0x0f800000, 0x7f800000], 16);

/** Four codes of F16 or E5M2, sign-extended to 32 bits, as FP32. */
function widen4<T>(codes: v128): v128 {
  // An E5M2 has no more fields than an F16, whose upper half it is.
  const fields = v128.and(i32x4.shl(codes, 23 - fractionBits<T>()), v128.load32_splat(WIDENING));
  const special = v128.load32_splat(WIDENING, 8);
  const isSpecial = i32x4.eq(v128.and(fields, special), special);
  const exponent = v128.and(isSpecial, v128.load32_splat(WIDENING, 12));
  return v128.or(f32x4.mul(fields, v128.load32_splat(WIDENING, 4)), exponent);
}

/** One code of F16 or E5M2, sign-extended to 32 bits, as FP32. */
function widen1<T>(code: i32): f32 {
  const fields = (code << (23 - fractionBits<T>())) & load<i32>(WIDENING);
  const special = load<i32>(WIDENING, 8);
  const value = reinterpret<f32>(fields) * load<f32>(WIDENING, 4);
  return (fields & special) == special ? reinterpret<f32>(reinterpret<i32>(value) | 0x7f800000) : value;
}

/** Four consecutive bytes at `p`, sign-extended to 32 bits. */
function loadBytes4(p: usize): v128 {
  return i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(v128.load32_zero(p)));
}

/** Four consecutive elements of F32, BF16, F16, E5M2 or I8 at `p` as FP32 lanes. Reads these four and nothing else. */
export function load4<T>(p: usize): v128 {
  if (idof<T>() == idof<F32>()) return v128.load(p);
  if (idof<T>() == idof<BF16>()) return i32x4.shl(v128.load_ext<u16>(p), 16);
  if (idof<T>() == idof<F16>()) return widen4<T>(v128.load_ext<i16>(p));
  if (idof<T>() == idof<I8>()) return f32x4.convert_i32x4_s(loadBytes4(p));
  return widen4<T>(loadBytes4(p));
}

/** One element at `p` as FP32, of the same formats. */
export function load1<T>(p: usize): f32 {
  if (idof<T>() == idof<F32>()) return load<f32>(p);
  if (idof<T>() == idof<BF16>()) return reinterpret<f32>(u32(load<u16>(p)) << 16);
  if (idof<T>() == idof<F16>()) return widen1<T>(i32(load<i16>(p)));
  if (idof<T>() == idof<I8>()) return f32(load<i8>(p));
  return widen1<T>(i32(load<i8>(p)));
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
