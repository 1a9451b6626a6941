/**
 * One row against column panels:  y[n] (+)= x[k] B.  Bound by the memory that B streams from, so B is read strictly in
 * order, a panel at a time: four streams side by side reach 60 % of the bandwidth, one reaches 93 %.
 *
 * The latency of the sums is hidden along k instead: terms k mod 3 (of bytes k mod 2) go to chains of their own, which are
 * added in order. So a row alone may differ in the last bits from the same row among others.
 */
import { BF16, bytesOf, F32, I8, load4, madd4 } from './element';
import { copyTile, PANEL_BYTES } from './matmul';

/** `width`: columns of a panel, 8 or 16; `panelBytes`: from one to the next. `x`: k adjacent FP32, times 2^-24 for bytes. `scratch`: that of `multiplyPanels`. */
export function gemv<T>(
  width: i32,
  n: i32,
  k: i32,
  x: usize,
  b: usize,
  panelBytes: usize,
  y: usize,
  accumulate: i32,
  scratch: usize,
): void {
  const edge = scratch + PANEL_BYTES;
  for (let j = 0; j < n; j += width) {
    const valid = min(width, n - j);
    const to = valid == width ? y : edge;
    if (accumulate && valid < width) copyTile(1, valid, y, 0, edge, 0);
    for (let half: usize = 0; half < usize(width); half += 8) {
      gemv8<T>(k, x, b + half * bytesOf<T>(), usize(width) * bytesOf<T>(), to + (half << 2), accumulate);
    }
    if (valid < width) copyTile(1, valid, edge, 0, y, 0);
    b += panelBytes;
    y += usize(width) << 2;
  }
}

// What widening needs. In memory: see WIDENING in element.ts.
/** The upper halves of four lanes. */
const UPPER: usize = memory.data<u32>([0xffff0000, 0xffff0000, 0xffff0000, 0xffff0000], 16);
/** Bytes 0 .. 3 to the top of a lane each, zeros below. */
const TOP: usize = memory.data<u32>([0x00ffffff, 0x01ffffff, 0x02ffffff, 0x03ffffff], 16);

/**
 * Four bytes at `p` as FP32, times 2^24: one swizzle where an exact value takes two extensions, 26 instead of 18 GFLOP/s. The
 * caller gives x times 2^-24, so that products are as they would be, unless |x| is below 2^-102.
 */
function bytes4(p: usize, pattern: v128): v128 {
  const bytes = v128.load32_zero(p);
  const top = ASC_FEATURE_RELAXED_SIMD
    ? i8x16.relaxed_swizzle(bytes, pattern)
    : // With a constant V8 leaves out the saturation of the pattern.
      i8x16.swizzle(bytes, i8x16(-1, -1, -1, 0, -1, -1, -1, 1, -1, -1, -1, 2, -1, -1, -1, 3));
  return f32x4.convert_i32x4_s(top);
}

/** Elements 0 .. 3 of 8, or of BF16 the even ones: their lanes need no widening load. */
function first4<T>(p: usize, pattern: v128): v128 {
  if (idof<T>() == idof<BF16>()) return i32x4.shl(v128.load(p), 16);
  if (idof<T>() == idof<I8>()) return bytes4(p, pattern);
  return load4<T>(p);
}

/** Elements 4 .. 7 of 8, or of BF16 the odd ones. */
function second4<T>(p: usize, pattern: v128): v128 {
  if (idof<T>() == idof<BF16>()) return v128.and(v128.load(p), pattern);
  if (idof<T>() == idof<I8>()) return bytes4(p + 4, pattern);
  return load4<T>(p + 4 * bytesOf<T>());
}

/** Adds 8 columns, given as `first4` and `second4` left them, to y. */
function storeColumns<T>(first: v128, second: v128, y: usize, accumulate: i32): void {
  let low = first;
  let high = second;
  if (idof<T>() == idof<BF16>()) {
    low = v128.shuffle<i32>(first, second, 0, 4, 1, 5);
    high = v128.shuffle<i32>(first, second, 2, 6, 3, 7);
  }
  if (accumulate) {
    low = f32x4.add(v128.load(y), low);
    high = f32x4.add(v128.load(y, 16), high);
  }
  v128.store(y, low);
  v128.store(y, high, 16);
}

/**
 * Steps of k an iteration. Three hide the latency of the sums, and V8 11 and 12, which begin an iteration with all of its
 * loads, still find a register for each (four: 22.9 instead of 32.9 GFLOP/s); the widening of bytes leaves room for two.
 */
function stepsOf<T>(): i32 {
  return idof<T>() == idof<I8>() ? 2 : 3;
}

/** 8 columns of a panel with rows of `step` bytes. */
function gemv8<T>(k: i32, x: usize, b: usize, step: usize, y: usize, accumulate: i32): void {
  const pattern = v128.load(idof<T>() == idof<I8>() ? TOP : UPPER);
  let s0 = f32x4.splat(0);
  let s1 = f32x4.splat(0);
  let s2 = f32x4.splat(0);
  let s3 = f32x4.splat(0);
  let s4 = f32x4.splat(0);
  let s5 = f32x4.splat(0);
  let iterations = k / stepsOf<T>();
  if (iterations > 0) {
    do {
      let value = v128.load_splat<f32>(x);
      s0 = madd4(value, first4<T>(b, pattern), s0);
      s1 = madd4(value, second4<T>(b, pattern), s1);
      b += step;
      value = v128.load_splat<f32>(x, 4);
      s2 = madd4(value, first4<T>(b, pattern), s2);
      s3 = madd4(value, second4<T>(b, pattern), s3);
      b += step;
      if (stepsOf<T>() == 3) {
        value = v128.load_splat<f32>(x, 8);
        s4 = madd4(value, first4<T>(b, pattern), s4);
        s5 = madd4(value, second4<T>(b, pattern), s5);
        b += step;
      }
      x += usize(stepsOf<T>()) << 2;
    } while (--iterations);
  }
  for (let rest = k % stepsOf<T>(); rest > 0; rest--) {
    const value = v128.load_splat<f32>(x);
    s0 = madd4(value, first4<T>(b, pattern), s0);
    s1 = madd4(value, second4<T>(b, pattern), s1);
    x += 4;
    b += step;
  }
  storeColumns<T>(f32x4.add(f32x4.add(s0, s2), s4), f32x4.add(f32x4.add(s1, s3), s5), y, accumulate);
}

export function gemv_f32(
  width: i32,
  n: i32,
  k: i32,
  x: usize,
  b: usize,
  panelBytes: usize,
  y: usize,
  accumulate: i32,
  scratch: usize,
): void {
  gemv<F32>(width, n, k, x, b, panelBytes, y, accumulate, scratch);
}

export function gemv_bf16(
  width: i32,
  n: i32,
  k: i32,
  x: usize,
  b: usize,
  panelBytes: usize,
  y: usize,
  accumulate: i32,
  scratch: usize,
): void {
  gemv<BF16>(width, n, k, x, b, panelBytes, y, accumulate, scratch);
}

export function gemv_i8(
  width: i32,
  n: i32,
  k: i32,
  x: usize,
  b: usize,
  panelBytes: usize,
  y: usize,
  accumulate: i32,
  scratch: usize,
): void {
  gemv<I8>(width, n, k, x, b, panelBytes, y, accumulate, scratch);
}
