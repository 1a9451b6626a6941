/**
 * RMSNorm over rows:  y[r, c] = x[r, c] gamma[c] / sqrt(mean_c(x[r, c]^2) + epsilon).
 * The squares are summed in 8 lanes, the lanes in a fixed order, the tail last.
 */
import { BF16, bytesOf, F32, horizontalSum, load1, load4 } from './element';

function rmsnorm<T>(rows: i32, cols: i32, x: usize, gamma: usize, epsilon: f32, y: usize): void {
  const size = bytesOf<T>();
  for (let row = 0; row < rows; row++) {
    let even = f32x4.splat(0);
    let odd = f32x4.splat(0);
    let p = x;
    let c = 0;
    for (; c + 8 <= cols; c += 8) {
      const low = load4<T>(p);
      const high = load4<T>(p + 4 * size);
      even = f32x4.add(even, f32x4.mul(low, low));
      odd = f32x4.add(odd, f32x4.mul(high, high));
      p += 8 * size;
    }
    let squares = horizontalSum(f32x4.add(even, odd));
    for (; c < cols; c++) {
      const value = load1<T>(p);
      squares += value * value;
      p += size;
    }
    const scale: f32 = f32(1) / sqrt<f32>(squares / f32(cols) + epsilon);
    const scale4 = f32x4.splat(scale);
    let g = gamma;
    p = x;
    c = 0;
    for (; c + 4 <= cols; c += 4) {
      v128.store(y, f32x4.mul(f32x4.mul(load4<T>(p), scale4), load4<T>(g)));
      p += 4 * size;
      g += 4 * size;
      y += 16;
    }
    for (; c < cols; c++) {
      store<f32>(y, load1<T>(p) * scale * load1<T>(g));
      p += size;
      g += size;
      y += 4;
    }
    x += cols * size;
  }
}

/** `x`: [rows, cols], `gamma`: [cols], both f32; `y`: [rows, cols] f32, may be `x`. */
export function rmsnorm_f32(rows: i32, cols: i32, x: usize, gamma: usize, epsilon: f32, y: usize): void {
  rmsnorm<F32>(rows, cols, x, gamma, epsilon, y);
}

/** As `rmsnorm_f32` with `x` and `gamma` in BF16. */
export function rmsnorm_bf16(rows: i32, cols: i32, x: usize, gamma: usize, epsilon: f32, y: usize): void {
  rmsnorm<BF16>(rows, cols, x, gamma, epsilon, y);
}
