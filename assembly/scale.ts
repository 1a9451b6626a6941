/**
 * What quantisation needs beside the conversions: the largest magnitude of a block, its scale, and products with scales.
 *
 * An MX scale is an E8M0 code c, 0 .. 254, of value 2^(c - 127); 255 is NaN. With the largest magnitude a of a block and an
 * element format that is to hold 2^k (see quantize.ts for the rules),
 *
 *     c = max(0, floor(log2 a) + 127 - k)      so a = 0 gets 2^-127;  c = 255 if a is infinite or NaN
 *
 * Magnitudes are compared as integers, where a NaN is above infinity and infinity above the rest, so neither is lost.
 */

const MAGNITUDE: i32 = 0x7fffffff;
const INFINITY_BITS: i32 = 0x7f800000;

/** y[r] = max_c |x[r, c]|; a NaN in a row wins. `x`: [rows, cols] f32, `y`: [rows] f32. */
export function absMaxRows_f32(rows: i32, cols: i32, x: usize, y: usize): void {
  const mask = i32x4.splat(MAGNITUDE);
  for (let row = 0; row < rows; row++) {
    let lanes = i32x4.splat(0);
    let c = 0;
    for (; c + 4 <= cols; c += 4) {
      lanes = i32x4.max_s(lanes, v128.and(v128.load(x), mask));
      x += 16;
    }
    let top = max(
      max(i32x4.extract_lane(lanes, 0), i32x4.extract_lane(lanes, 1)),
      max(i32x4.extract_lane(lanes, 2), i32x4.extract_lane(lanes, 3)),
    );
    for (; c < cols; c++) {
      top = max(top, load<i32>(x) & MAGNITUDE);
      x += 4;
    }
    store<i32>(y, top);
    y += 4;
  }
}

/** y[c] = max_r |x[r, c]|; a NaN in a column wins. `x`: [rows, cols] f32, `y`: [cols] f32. */
export function absMaxColumns_f32(rows: i32, cols: i32, x: usize, y: usize): void {
  memory.fill(y, 0, cols << 2);
  const mask = i32x4.splat(MAGNITUDE);
  for (let row = 0; row < rows; row++) {
    let to = y;
    let c = 0;
    for (; c + 4 <= cols; c += 4) {
      v128.store(to, i32x4.max_s(v128.load(to), v128.and(v128.load(x), mask)));
      x += 16;
      to += 16;
    }
    for (; c < cols; c++) {
      store<i32>(to, max(load<i32>(to), load<i32>(x) & MAGNITUDE));
      x += 4;
      to += 4;
    }
  }
}

/** The E8M0 codes of n largest magnitudes, and 1 / scale as f32 in their place. `k` >= 1, so 1 / scale is normal. */
export function mxScales(n: i32, k: i32, magnitudes: usize, codes: usize): void {
  for (let i = 0; i < n; i++) {
    const bits = load<i32>(magnitudes);
    const isNumber = bits < INFINITY_BITS;
    const code = max(0, (bits >> 23) - k);
    store<u8>(codes, isNumber ? u8(code) : 0xff);
    store<i32>(magnitudes, isNumber ? (254 - code) << 23 : 0x7fc00000);
    magnitudes += 4;
    codes++;
  }
}

/** y[i] = 2^(x[i] - 127), 255 is NaN. `x`: e8m0, `y`: [n] f32. */
export function widen_e8m0(n: i32, x: usize, y: usize): void {
  for (let i = 0; i < n; i++) {
    const code = i32(load<u8>(x));
    // 2^-127 is subnormal in FP32: its exponent field is 0 too, and the leading bit is written out.
    store<i32>(y, code == 0 ? 0x00400000 : code == 0xff ? 0x7fc00000 : code << 23);
    x++;
    y += 4;
  }
}

/** y[r, c] *= factors[r]. `y`: [rows, cols] f32, `factors`: [rows] f32. */
export function scaleRows_f32(rows: i32, cols: i32, factors: usize, y: usize): void {
  for (let row = 0; row < rows; row++) {
    const factor = v128.load32_splat(factors);
    let c = 0;
    for (; c + 4 <= cols; c += 4) {
      v128.store(y, f32x4.mul(v128.load(y), factor));
      y += 16;
    }
    for (; c < cols; c++) {
      store<f32>(y, load<f32>(y) * load<f32>(factors));
      y += 4;
    }
    factors += 4;
  }
}

/** y[r, c] *= factors[c]. `y`: [rows, cols] f32, `factors`: [cols] f32. */
export function scaleColumns_f32(rows: i32, cols: i32, factors: usize, y: usize): void {
  for (let row = 0; row < rows; row++) {
    let f = factors;
    let c = 0;
    for (; c + 4 <= cols; c += 4) {
      v128.store(y, f32x4.mul(v128.load(y), v128.load(f)));
      y += 16;
      f += 16;
    }
    for (; c < cols; c++) {
      store<f32>(y, load<f32>(y) * load<f32>(f));
      y += 4;
      f += 4;
    }
  }
}
