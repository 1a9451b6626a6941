/**
 * Normalization of rows, `x` [rows, cols]:
 *
 *     rmsnorm      y[r, c] = x[r, c] gamma[c] / sqrt(mean_c(x[r, c]^2) + epsilon)
 *     layernorm    y[r, c] = (x[r, c] - m_r) gamma[c] / sqrt(mean_c((x[r, c] - m_r)^2) + epsilon) + beta[c]
 *
 * The variance is taken about the mean, in a pass of its own over a row that lies in L1: the mean of squares less the
 * square of the mean cancels where the mean is large. Sums run in 16 lanes, added in a fixed order, the tail last.
 */
import { BF16, bytesOf, F32, horizontalSum, load1, load4, madd4 } from './element';

/** sum_i x[i] */
function rowSum<T>(n: i32, x: usize): f32 {
  const size = bytesOf<T>();
  let a = f32x4.splat(0);
  let b = a;
  let c = a;
  let d = a;
  let blocks = n >> 4;
  if (blocks > 0) {
    do {
      a = f32x4.add(a, load4<T>(x));
      b = f32x4.add(b, load4<T>(x + 4 * size));
      c = f32x4.add(c, load4<T>(x + 8 * size));
      d = f32x4.add(d, load4<T>(x + 12 * size));
      x += 16 * size;
    } while (--blocks > 0);
  }
  let sum = horizontalSum(f32x4.add(f32x4.add(a, b), f32x4.add(c, d)));
  for (let i = n & 15; i > 0; i--) {
    sum += load1<T>(x);
    x += size;
  }
  return sum;
}

/** sum_i (x[i] - center)^2 */
function rowSquares<T>(n: i32, x: usize, center: f32): f32 {
  const size = bytesOf<T>();
  const center4 = f32x4.splat(center);
  let a = f32x4.splat(0);
  let b = a;
  let c = a;
  let d = a;
  let blocks = n >> 4;
  if (blocks > 0) {
    do {
      const xa = f32x4.sub(load4<T>(x), center4);
      const xb = f32x4.sub(load4<T>(x + 4 * size), center4);
      const xc = f32x4.sub(load4<T>(x + 8 * size), center4);
      const xd = f32x4.sub(load4<T>(x + 12 * size), center4);
      a = madd4(xa, xa, a);
      b = madd4(xb, xb, b);
      c = madd4(xc, xc, c);
      d = madd4(xd, xd, d);
      x += 16 * size;
    } while (--blocks > 0);
  }
  let sum = horizontalSum(f32x4.add(f32x4.add(a, b), f32x4.add(c, d)));
  for (let i = n & 15; i > 0; i--) {
    const value = load1<T>(x) - center;
    sum += value * value;
    x += size;
  }
  return sum;
}

function rmsnorm<T>(rows: i32, cols: i32, x: usize, gamma: usize, epsilon: f32, y: usize): void {
  const size = bytesOf<T>();
  for (let row = 0; row < rows; row++) {
    const factor: f32 = f32(1) / sqrt<f32>(rowSquares<T>(cols, x, 0) / f32(cols) + epsilon);
    const factor4 = f32x4.splat(factor);
    let g = gamma;
    let blocks = cols >> 3;
    if (blocks > 0) {
      do {
        v128.store(y, f32x4.mul(f32x4.mul(load4<T>(x), factor4), load4<T>(g)));
        v128.store(y, f32x4.mul(f32x4.mul(load4<T>(x + 4 * size), factor4), load4<T>(g + 4 * size)), 16);
        x += 8 * size;
        g += 8 * size;
        y += 32;
      } while (--blocks > 0);
    }
    for (let i = cols & 7; i > 0; i--) {
      store<f32>(y, load1<T>(x) * factor * load1<T>(g));
      x += size;
      g += size;
      y += 4;
    }
  }
}

function layernorm<T>(rows: i32, cols: i32, x: usize, gamma: usize, beta: usize, epsilon: f32, y: usize): void {
  const size = bytesOf<T>();
  for (let row = 0; row < rows; row++) {
    const mean = rowSum<T>(cols, x) / f32(cols);
    const factor: f32 = f32(1) / sqrt<f32>(rowSquares<T>(cols, x, mean) / f32(cols) + epsilon);
    const mean4 = f32x4.splat(mean);
    const factor4 = f32x4.splat(factor);
    let g = gamma;
    let b = beta;
    // 16 elements a turn: with less, stepping the four pointers costs as much as the arithmetic.
    let blocks = cols >> 4;
    if (blocks > 0) {
      do {
        const xa = f32x4.mul(f32x4.sub(load4<T>(x), mean4), factor4);
        const xb = f32x4.mul(f32x4.sub(load4<T>(x + 4 * size), mean4), factor4);
        const xc = f32x4.mul(f32x4.sub(load4<T>(x + 8 * size), mean4), factor4);
        const xd = f32x4.mul(f32x4.sub(load4<T>(x + 12 * size), mean4), factor4);
        v128.store(y, madd4(xa, load4<T>(g), load4<T>(b)));
        v128.store(y, madd4(xb, load4<T>(g + 4 * size), load4<T>(b + 4 * size)), 16);
        v128.store(y, madd4(xc, load4<T>(g + 8 * size), load4<T>(b + 8 * size)), 32);
        v128.store(y, madd4(xd, load4<T>(g + 12 * size), load4<T>(b + 12 * size)), 48);
        x += 16 * size;
        g += 16 * size;
        b += 16 * size;
        y += 64;
      } while (--blocks > 0);
    }
    for (let i = cols & 15; i > 0; i--) {
      store<f32>(y, (load1<T>(x) - mean) * factor * load1<T>(g) + load1<T>(b));
      x += size;
      g += size;
      b += size;
      y += 4;
    }
  }
}

/** `x`: [rows, cols], `gamma`: [cols], both f32; `y`: [rows, cols] f32, may be `x`. */
export function rmsnorm_f32(rows: i32, cols: i32, x: usize, gamma: usize, epsilon: f32, y: usize): void {
  rmsnorm<F32>(rows, cols, x, gamma, epsilon, y);
}

/** As `rmsnorm_f32` with `x` and `gamma` in BF16; `y` may not overlap them. */
export function rmsnorm_bf16(rows: i32, cols: i32, x: usize, gamma: usize, epsilon: f32, y: usize): void {
  rmsnorm<BF16>(rows, cols, x, gamma, epsilon, y);
}

/** `x`: [rows, cols], `gamma`, `beta`: [cols], all f32; `y`: [rows, cols] f32, may be `x`. */
export function layernorm_f32(rows: i32, cols: i32, x: usize, gamma: usize, beta: usize, epsilon: f32, y: usize): void {
  layernorm<F32>(rows, cols, x, gamma, beta, epsilon, y);
}

/** As `layernorm_f32` with `x`, `gamma` and `beta` in BF16; `y` may not overlap them. */
export function layernorm_bf16(
  rows: i32,
  cols: i32,
  x: usize,
  gamma: usize,
  beta: usize,
  epsilon: f32,
  y: usize,
): void {
  layernorm<BF16>(rows, cols, x, gamma, beta, epsilon, y);
}
