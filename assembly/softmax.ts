/**
 * Softmax over rows of FP32 scores, with scaling and the causal and sliding-window masks:
 *
 *     y[r, c] = e^(s x[r, c] - m_r) / sum_c' e^(s x[r, c'] - m_r),   m_r = max_c s x[r, c]
 *     over the columns  lowest(r) <= c < end(r),  end(r) = min(cols, r + visible),  lowest(r) = max(0, end'(r) - window)
 *
 * and 0 elsewhere. `visible` is how many columns row 0 may see: 1 for a causal prompt, `cols` for no mask.
 */
import { horizontalSum } from './element';
import { exp4 } from './exp';

const NEGATIVE_INFINITY: f32 = -Infinity;

function rowMax(n: i32, x: usize): f32 {
  let lanes = f32x4.splat(NEGATIVE_INFINITY);
  let i = 0;
  for (; i + 4 <= n; i += 4) lanes = f32x4.max(lanes, v128.load(x + (i << 2)));
  let best = max(
    max(f32x4.extract_lane(lanes, 0), f32x4.extract_lane(lanes, 1)),
    max(f32x4.extract_lane(lanes, 2), f32x4.extract_lane(lanes, 3)),
  );
  for (; i < n; i++) best = max(best, load<f32>(x + (i << 2)));
  return best;
}

/** y[i] = e^(scale (x[i] - top)); returns the sum, in 4 lanes, the lanes in a fixed order, the tail last. */
function exponentials(n: i32, x: usize, top: f32, scale: f32, y: usize): f32 {
  const top4 = f32x4.splat(top);
  const scale4 = f32x4.splat(scale);
  let sums = f32x4.splat(0);
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const e = exp4(f32x4.mul(f32x4.sub(v128.load(x + (i << 2)), top4), scale4));
    v128.store(y + (i << 2), e);
    sums = f32x4.add(sums, e);
  }
  let sum = horizontalSum(sums);
  for (; i < n; i++) {
    const e = f32x4.extract_lane(exp4(f32x4.splat((load<f32>(x + (i << 2)) - top) * scale)), 0);
    store<f32>(y + (i << 2), e);
    sum += e;
  }
  return sum;
}

function scaleRow(n: i32, factor: f32, y: usize): void {
  const factor4 = f32x4.splat(factor);
  let i = 0;
  for (; i + 4 <= n; i += 4) v128.store(y + (i << 2), f32x4.mul(v128.load(y + (i << 2)), factor4));
  for (; i < n; i++) store<f32>(y + (i << 2), load<f32>(y + (i << 2)) * factor);
}

/** `x`, `y`: [rows, cols] f32, `y` may be `x`. `scale` >= 0, so the largest score has the largest exponent. */
export function softmax_f32(rows: i32, cols: i32, x: usize, scale: f32, visible: i32, window: i32, y: usize): void {
  for (let row = 0; row < rows; row++) {
    const end = min(cols, row + visible);
    const begin = max(0, min(row + visible - window, end));
    const n = end - begin;
    const from = x + (begin << 2);
    const to = y + (begin << 2);
    if (n > 0) {
      const sum = exponentials(n, from, rowMax(n, from), scale, to);
      scaleRow(n, f32(1) / sum, to);
    }
    memory.fill(y, 0, begin << 2);
    memory.fill(y + (end << 2), 0, (cols - end) << 2);
    x += cols << 2;
    y += cols << 2;
  }
}
