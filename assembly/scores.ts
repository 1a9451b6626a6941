/**
 * What happens to a matrix of scores beside its softmax: masks before, division by row after.
 *
 *     bias     y[r, c] = scale x[r, c] + mask[r mod maskRows, c]
 *     select   y[r, c] = scale x[r, c] where mask[r mod maskRows, c] is not 0, -infinity elsewhere
 *     divide   y[r, c] = x[r, c] / divisor[r]
 */
class Bias {}
class Select {}

function masked4<M>(x: v128, scale: v128, mask: v128): v128 {
  if (idof<M>() == idof<Bias>()) return f32x4.add(f32x4.mul(x, scale), mask);
  const hidden = f32x4.eq(mask, f32x4.splat(0));
  return v128.bitselect(f32x4.splat(-Infinity), f32x4.mul(x, scale), hidden);
}

function maskRows<M>(rows: i32, cols: i32, x: usize, scale: f32, mask: usize, maskRows: i32, y: usize): void {
  const scale4 = f32x4.splat(scale);
  for (let row = 0; row < rows; row++) {
    let m = mask + ((usize(row % maskRows) * usize(cols)) << 2);
    for (let i = cols >> 2; i > 0; i--) {
      v128.store(y, masked4<M>(v128.load(x), scale4, v128.load(m)));
      x += 16;
      m += 16;
      y += 16;
    }
    for (let i = cols & 3; i > 0; i--) {
      const value = masked4<M>(f32x4.splat(load<f32>(x)), scale4, f32x4.splat(load<f32>(m)));
      store<f32>(y, f32x4.extract_lane(value, 0));
      x += 4;
      m += 4;
      y += 4;
    }
  }
}

/** `x`, `y`: [rows, cols] f32, `mask`: [maskRows, cols] f32; `y` may be `x`. */
export function biasScores_f32(
  rows: i32,
  cols: i32,
  x: usize,
  scale: f32,
  mask: usize,
  rowsOfMask: i32,
  y: usize,
): void {
  maskRows<Bias>(rows, cols, x, scale, mask, rowsOfMask, y);
}

/** As `biasScores_f32`: a column is seen where the mask is not 0 (a NaN counts as seen). */
export function selectScores_f32(
  rows: i32,
  cols: i32,
  x: usize,
  scale: f32,
  mask: usize,
  rowsOfMask: i32,
  y: usize,
): void {
  maskRows<Select>(rows, cols, x, scale, mask, rowsOfMask, y);
}

/** y[i] *= factor, i < n. */
export function scaleRow(n: i32, factor: f32, y: usize): void {
  const factor4 = f32x4.splat(factor);
  let blocks = n >> 4;
  if (blocks > 0) {
    do {
      v128.store(y, f32x4.mul(v128.load(y), factor4));
      v128.store(y, f32x4.mul(v128.load(y, 16), factor4), 16);
      v128.store(y, f32x4.mul(v128.load(y, 32), factor4), 32);
      v128.store(y, f32x4.mul(v128.load(y, 48), factor4), 48);
      y += 64;
    } while (--blocks > 0);
  }
  for (let i = n & 15; i > 0; i--) {
    store<f32>(y, load<f32>(y) * factor);
    y += 4;
  }
}

/** y[r, c] /= divisor[r], as a product with 1 / divisor[r]; `y`: [rows, cols] f32, `divisor`: [rows] f32. */
export function divideRows_f32(rows: i32, cols: i32, divisor: usize, y: usize): void {
  for (let row = 0; row < rows; row++) {
    scaleRow(cols, f32(1) / load<f32>(divisor + (row << 2)), y);
    y += cols << 2;
  }
}
