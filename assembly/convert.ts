/**
 * FP32 to every storage format; widen.ts has the way back.
 *
 * Narrowing works on the magnitude |x| <= limit, whose bits an FP32 shares with an integer. With f fraction bits kept,
 * d = 23 - f dropped and the exponent's bias moved from 127 to b:
 *
 *     nearest even, normal       (bits + half - 1 + lowest kept bit) >> d       a carry runs into the exponent: right
 *     nearest even, subnormal    |x| + 2^(24 - f - b): the FP32 adder rounds to the grid of the format's subnormals
 *     stochastic                 (bits + d random bits) >> d                    up with probability (dropped bits) / 2^d
 *
 * `limit` decides what becomes of large numbers: the largest finite one (they saturate) or the first beyond it, whose code
 * is infinity (in E4M3FN: NaN). Every NaN becomes the format's canonical one, positive and quiet, so that results have the
 * same bits on every host: BF16 0x7fc0, F16 0x7e00, E4M3 0x7c, E4M3FN 0x7f, E5M2 0x7e, E3M4 0x78. E2M1 has none: a NaN
 * becomes its largest, 6, as in NVIDIA's conversions. I8 and I32 round to nearest even or stochastically and saturate; a
 * NaN becomes 0.
 *
 * Leaves out: rounding into E8M0; its codes come from scale.ts.
 */
import { BF16, bytesOf, E2M1, E3M4, E4M3, E4M3FN, E5M2, F16, fractionBits, I8 } from './element';

// What narrowing needs of each format: half - 1 and the change of bias, 2^(24 - f - b), the smallest normal 2^(1 - b),
// the factor 2^(22 + b) that makes integers of subnormals, the change of bias alone, the dropped bits, sign, NaN.
// biome-ignore format: one row for each format
const NARROWING: usize = memory.data<u32>([
  0x7fffffff, 1,
  0x00007fff, 0x08800000, 0x00800000, 0x00000000, 0x00000000, 0x0000ffff, 0x00008000, 0x00007fc0, // BF16: FP32's own exponent
  0xc8000fff, 0x3f000000, 0x38800000, 0x52000000, 0x38000000, 0x00001fff, 0x00008000, 0x00007e00, // F16
  0xc407ffff, 0x46800000, 0x3c800000, 0x4e000000, 0x3c000000, 0x000fffff, 0x00000080, 0x0000007c, // E4M3
  0xc407ffff, 0x46800000, 0x3c800000, 0x4e000000, 0x3c000000, 0x000fffff, 0x00000080, 0x0000007f, // E4M3FN
  0xc80fffff, 0x43000000, 0x38800000, 0x52000000, 0x38000000, 0x001fffff, 0x00000080, 0x0000007e, // E5M2
  0xc203ffff, 0x48000000, 0x3e800000, 0x4c000000, 0x3e000000, 0x0007ffff, 0x00000080, 0x00000078, // E3M4
  0xc11fffff, 0x4a800000, 0x3f800000, 0x4b000000, 0x3f000000, 0x003fffff, 0x00000008, 0x00000007, // E2M1
], 16);

/** The format's row of NARROWING. */
export function narrowingOf<T>(): usize {
  if (idof<T>() == idof<BF16>()) return NARROWING + 8;
  if (idof<T>() == idof<F16>()) return NARROWING + 40;
  if (idof<T>() == idof<E4M3>()) return NARROWING + 72;
  if (idof<T>() == idof<E4M3FN>()) return NARROWING + 104;
  if (idof<T>() == idof<E5M2>()) return NARROWING + 136;
  if (idof<T>() == idof<E3M4>()) return NARROWING + 168;
  return NARROWING + 200;
}

/** Bits of an element. */
function bitsOf<T>(): i32 {
  if (idof<T>() == idof<E2M1>()) return 4;
  return i32(bytesOf<T>() << 3);
}

/** Bytes of `count` elements. */
function bytesOfRun<T>(count: i32): i32 {
  return idof<T>() == idof<E2M1>() ? count >> 1 : count * i32(bytesOf<T>());
}

/** |x|, at most `limit`. A NaN stays what it is: `pmin` returns its first operand when the comparison fails. */
function magnitude4(x: v128, limit: v128): v128 {
  return f32x4.pmin(v128.and(x, v128.load32_splat(NARROWING)), limit);
}

/** The codes of four magnitudes with the signs of `x`; the canonical NaN where `x` is one. */
function signed4<T>(table: usize, x: v128, codes: v128): v128 {
  const sign = v128.and(i32x4.shr_u(x, 32 - bitsOf<T>()), v128.load32_splat(table, 24));
  return v128.bitselect(v128.load32_splat(table, 28), v128.or(codes, sign), f32x4.ne(x, x));
}

/** As `nearest4`: an FP32 holds a BF16's sign and exponent where they belong, so only the fraction is cut. */
function nearestBf16(x: v128, limit: v128): v128 {
  const table = narrowingOf<BF16>();
  const clamped = f32x4.pmax(f32x4.pmin(x, limit), f32x4.neg(limit));
  const odd = v128.and(i32x4.shr_u(clamped, 16), v128.load32_splat(NARROWING, 4));
  const code = i32x4.shr_u(i32x4.add(i32x4.add(clamped, v128.load32_splat(table)), odd), 16);
  return v128.bitselect(v128.load32_splat(table, 28), code, f32x4.ne(x, x));
}

/** As `nearest4`, by a row of NARROWING: a format that differs from `T` in its NaN only has another one. */
function nearestBy<T>(table: usize, x: v128, limit: v128): v128 {
  if (idof<T>() == idof<I8>()) return i32x4.trunc_sat_f32x4_s(f32x4.nearest(x));
  if (idof<T>() == idof<BF16>()) return nearestBf16(x, limit);
  const dropped = 23 - fractionBits<T>();
  const magnitude = magnitude4(x, limit);
  const odd = v128.and(i32x4.shr_u(magnitude, dropped), v128.load32_splat(NARROWING, 4));
  const normal = i32x4.shr_u(i32x4.add(i32x4.add(magnitude, v128.load32_splat(table)), odd), dropped);
  const grid = v128.load32_splat(table, 4);
  const subnormal = i32x4.sub(f32x4.add(magnitude, grid), grid);
  const isSubnormal = i32x4.lt_s(magnitude, v128.load32_splat(table, 8));
  return signed4<T>(table, x, v128.bitselect(subnormal, normal, isSubnormal));
}

/** Four FP32 lanes to nearest even, as codes in the low bits of each lane. I8 codes are not yet saturated. */
export function nearest4<T>(x: v128, limit: v128): v128 {
  return nearestBy<T>(narrowingOf<T>(), x, limit);
}

/**
 * Four FP32 lanes, rounded away from zero with probability in proportion to the distance, as codes. Floats take the low d
 * bits of a random word, integers the top 24. Below the smallest normal, what is finer than 2^-d of the grid is cut.
 */
function stochasticBy<T>(table: usize, x: v128, random: v128, limit: v128): v128 {
  if (idof<T>() == idof<I8>()) {
    const whole = f32x4.trunc(x);
    const rest = f32x4.abs(f32x4.sub(x, whole));
    const uniform = f32x4.mul(f32x4.convert_i32x4_u(i32x4.shr_u(random, 8)), f32x4.splat(5.9604644775390625e-8)); // 2^-24
    const step = v128.and(f32x4.splat(1), f32x4.lt(uniform, rest));
    return i32x4.trunc_sat_f32x4_s(f32x4.add(whole, v128.or(step, v128.and(x, f32x4.splat(-0.0)))));
  }
  let bits = magnitude4(x, limit);
  if (idof<T>() != idof<BF16>()) {
    const subnormal = i32x4.trunc_sat_f32x4_s(f32x4.mul(bits, v128.load32_splat(table, 12)));
    const normal = i32x4.sub(bits, v128.load32_splat(table, 16));
    bits = v128.bitselect(subnormal, normal, i32x4.lt_s(bits, v128.load32_splat(table, 8)));
  }
  const noise = v128.and(random, v128.load32_splat(table, 20));
  return signed4<T>(table, x, i32x4.shr_u(i32x4.add(bits, noise), 23 - fractionBits<T>()));
}

/** Four codes side by side in the low bytes. */
function pack4<T>(codes: v128): v128 {
  if (idof<T>() == idof<I8>()) {
    const halves = i16x8.narrow_i32x4_s(codes, codes);
    return i8x16.narrow_i16x8_s(halves, halves);
  }
  const halves = i16x8.narrow_i32x4_u(codes, codes);
  if (bitsOf<T>() == 16) return halves;
  // Codes of 4 bits: the byte at 0 takes the second code into its upper half, the byte at 8 that of the fourth.
  if (bitsOf<T>() == 4) {
    const pairs = v128.or(codes, i64x2.shr_u(codes, 28));
    return v128.shuffle<u8>(pairs, pairs, 0, 8, 0, 8, 0, 8, 0, 8, 0, 8, 0, 8, 0, 8, 0, 8);
  }
  return i8x16.narrow_i16x8_u(halves, halves);
}

/** Stores four codes from `p` on; if `skipped` is 1 .. 3, not the first ones, and the others where they would be. */
export function store4<T>(p: usize, codes: v128, skipped: i32): void {
  const packed = pack4<T>(codes);
  if (skipped <= 0) {
    if (bitsOf<T>() == 16) v128.store64_lane(p, packed, 0);
    else if (bitsOf<T>() == 8) v128.store32_lane(p, packed, 0);
    else v128.store16_lane(p, packed, 0);
    return;
  }
  let rest = i64x2.extract_lane(packed, 0);
  const end = p + (bitsOf<T>() >> 1);
  p += (bitsOf<T>() * skipped) >> 3;
  rest >>= bitsOf<T>() * skipped;
  for (; p < end; p++) {
    store<u8>(p, u8(rest));
    rest >>= 8;
  }
}

// The loops below run from the end to the begin, so that what does not fill a vector comes last and there is one place
// where the code is inlined. Its vector is loaded from up to 12 bytes before the first element: never outside the
// memory, whose first bytes are the kernels' own.

/** As `narrow`, by the row of NARROWING at `table`. */
export function narrowBy<T>(table: usize, n: i32, x: usize, y: usize, limit: f32): void {
  if (n <= 0) return;
  const limit4 = f32x4.splat(limit);
  let i = n;
  do {
    i -= 4;
    const codes = nearestBy<T>(table, v128.load(x + (i << 2)), limit4);
    store4<T>(y + bytesOfRun<T>(i), codes, -i);
  } while (i > 0);
}

/** As `narrowStochastic`, by the row of NARROWING at `table`. */
export function narrowStochasticBy<T>(table: usize, n: i32, x: usize, words: usize, y: usize, limit: f32): void {
  if (n <= 0) return;
  const limit4 = f32x4.splat(limit);
  let i = n;
  do {
    i -= 4;
    const codes = stochasticBy<T>(table, v128.load(x + (i << 2)), v128.load(words + (i << 2)), limit4);
    store4<T>(y + bytesOfRun<T>(i), codes, -i);
  } while (i > 0);
}

/** y[i] = x[i] to nearest even, i < n. `x`: f32, `y`: T; may not overlap. An even n for E2M1. */
export function narrow<T>(n: i32, x: usize, y: usize, limit: f32): void {
  narrowBy<T>(narrowingOf<T>(), n, x, y, limit);
}

/** As `narrow`, rounded stochastically: element i meets the random word `words`[i]. */
export function narrowStochastic<T>(n: i32, x: usize, words: usize, y: usize, limit: f32): void {
  narrowStochasticBy<T>(narrowingOf<T>(), n, x, words, y, limit);
}
