/**
 * Softmax over rows of FP32 scores, with scaling, the causal and sliding-window masks, and attention sinks:
 *
 *     y[r, c] = e^(s x[r, c] - m_r) / (e^(sink_r - m_r) + sum_c' e^(s x[r, c'] - m_r)),   m_r = max(sink_r, max_c s x[r, c])
 *     over the columns  lowest(r) <= c < end(r),  end(r) = min(cols, r + visible),  lowest(r) = max(0, r + visible - window)
 *
 * and 0 elsewhere. `visible` is how many columns row 0 may see: 1 for a causal prompt, `cols` for no mask. Three passes
 * over a row that stays in L1: the maximum (in the relaxed build together with the second pass of the row before), the
 * exponentials with their sum, the product with 1 / sum. A row that sees nothing, or only -infinity, is 0; a row with a NaN
 * or +infinity is NaN.
 */
import { exponentials, FARTHEST_TOP } from './exp';
import { WeightSum, Weights } from './exp-operators';
import { log } from './log';
import { scaleRow } from './scores';

const NEGATIVE_INFINITY: f32 = -Infinity;

function laneMax(v: v128): f32 {
  return max(
    max(f32x4.extract_lane(v, 0), f32x4.extract_lane(v, 1)),
    max(f32x4.extract_lane(v, 2), f32x4.extract_lane(v, 3)),
  );
}

/** max_i x[i], -infinity if n = 0. A NaN may be left out: it shows in the sum. */
function rowMax(n: i32, x: usize): f32 {
  let a = f32x4.splat(NEGATIVE_INFINITY);
  let b = a;
  let c = a;
  let d = a;
  let blocks = n >> 4;
  if (blocks > 0) {
    do {
      a = f32x4.pmax(a, v128.load(x));
      b = f32x4.pmax(b, v128.load(x, 16));
      c = f32x4.pmax(c, v128.load(x, 32));
      d = f32x4.pmax(d, v128.load(x, 48));
      x += 64;
    } while (--blocks > 0);
  }
  let best = laneMax(f32x4.pmax(f32x4.pmax(a, b), f32x4.pmax(c, d)));
  for (let i = n & 15; i > 0; i--) {
    best = max(best, load<f32>(x));
    x += 4;
  }
  return best;
}

/** e^(scale (value - top)), by the kernel of the row, so that the two agree. */
function weight(value: f32, top: f32, scale: f32, scratch: usize): f32 {
  store<f32>(scratch, value, 144);
  return exponentials<WeightSum>(1, scratch + 144, 0, top, scale, scratch, scratch);
}

/** First column that `row` sees. */
function beginOf(row: i32, end: i32, visible: i32, window: i32): i32 {
  return max(0, min(row + visible - window, end));
}

/** One past the last column that `row` sees. */
function endOf(row: i32, cols: i32, visible: i32): i32 {
  return max(0, min(cols, row + visible));
}

/** What exponents are taken relative to: 0 for a row without a finite score, whose weights are then all 0. */
function finite(top: f32): f32 {
  return top == NEGATIVE_INFINITY ? f32(0) : top;
}

/**
 * `x`, `y`: [rows, cols] f32, `y` may be `x`. `scale` > 0. `sinks`: a logit for every `rowsPerSink` rows, already scaled;
 * none if `rowsPerSink` is 0. `scratch`: 192 bytes.
 */
export function softmax_f32(
  rows: i32,
  cols: i32,
  x: usize,
  scale: f32,
  visible: i32,
  window: i32,
  sinks: usize,
  rowsPerSink: i32,
  y: usize,
  scratch: usize,
): void {
  let end = endOf(0, cols, visible);
  let begin = beginOf(0, end, visible, window);
  let largest = rowMax(end - begin, x + (begin << 2));
  for (let row = 0; row < rows; row++) {
    const n = end - begin;
    let from = x + (begin << 2);
    const to = y + (begin << 2);
    const sink = rowsPerSink > 0 ? load<f32>(sinks + ((row / rowsPerSink) << 2)) / scale : NEGATIVE_INFINITY;
    let top = finite(max(largest, sink));
    let base: f32 = 0;
    if (!(abs(top * scale) <= FARTHEST_TOP)) {
      shiftRow(n, from, top, 1, 0, to);
      from = to;
      base = top;
      top = 0;
    }
    let sum = rowsPerSink > 0 ? weight(sink - base, top, scale, scratch) : 0;
    const nextEnd = endOf(row + 1, cols, visible);
    const nextBegin = beginOf(row + 1, nextEnd, visible, window);
    const next = x + ((cols + nextBegin) << 2);
    const more = nextEnd - nextBegin - n;
    // Whether the exponentials find the maximum of the next row: it has as many columns as this one, or more.
    const isAhead = ASC_FEATURE_RELAXED_SIMD && row + 1 < rows && more >= 0;
    sum += exponentials<Weights>(n, from, isAhead ? next : from, top, scale, to, scratch);
    if (isAhead) largest = max(laneMax(v128.load(scratch, 128)), rowMax(more, next + (n << 2)));
    else if (row + 1 < rows) largest = rowMax(n + more, next);
    scaleRow(n, sum == 0 ? f32(0) : f32(1) / sum, to);
    memory.fill(y, 0, begin << 2);
    memory.fill(y + (end << 2), 0, (cols - end) << 2);
    x += cols << 2;
    y += cols << 2;
    begin = nextBegin;
    end = nextEnd;
  }
}

/**
 * y[r, c] = s x[r, c] - m_r - log sum_c' e^(s x[r, c'] - m_r), and -infinity in the columns that a row does not see.
 * Arguments as of `softmax_f32`.
 */
export function logSoftmax_f32(
  rows: i32,
  cols: i32,
  x: usize,
  scale: f32,
  visible: i32,
  window: i32,
  y: usize,
  scratch: usize,
): void {
  for (let row = 0; row < rows; row++) {
    const end = endOf(row, cols, visible);
    const begin = beginOf(row, end, visible, window);
    const n = end - begin;
    const from = x + (begin << 2);
    const to = y + (begin << 2);
    shiftRow(n, from, finite(rowMax(n, from)), 1, 0, to);
    const sum = exponentials<WeightSum>(n, to, 0, 0, scale, to, scratch);
    // Weights that are all 0 leave -infinity in every column, where -infinity less log 0 would be NaN.
    shiftRow(n, to, 0, scale, sum == 0 ? f32(0) : log(sum), to);
    fillRow(begin, NEGATIVE_INFINITY, y);
    fillRow(cols - end, NEGATIVE_INFINITY, y + (end << 2));
    x += cols << 2;
    y += cols << 2;
  }
}

/** y[i] = scale (x[i] - top) - shift */
function shiftRow(n: i32, x: usize, top: f32, scale: f32, shift: f32, y: usize): void {
  const top4 = f32x4.splat(top);
  const scale4 = f32x4.splat(scale);
  const shift4 = f32x4.splat(shift);
  let vectors = n >> 2;
  if (vectors > 0) {
    do {
      v128.store(y, f32x4.sub(f32x4.mul(f32x4.sub(v128.load(x), top4), scale4), shift4));
      x += 16;
      y += 16;
    } while (--vectors > 0);
  }
  for (let i = n & 3; i > 0; i--) {
    store<f32>(y, (load<f32>(x) - top) * scale - shift);
    x += 4;
    y += 4;
  }
}

function fillRow(n: i32, value: f32, y: usize): void {
  for (let i = 0; i < n; i++) store<f32>(y + (i << 2), value);
}

/**
 * One block of columns of a softmax that sees its row in pieces. With m the larger of `top[r]` and the block's maximum,
 *
 *     y[r, c] = e^(s x[r, c] - m),  factor[r] = e^(top[r] - m),  sum[r] = factor[r] sum[r] + sum_c y[r, c],  top[r] = m
 *
 * `top` starts as -infinity, `sum` as 0. What was made of earlier blocks has to be multiplied by `factor`, and the end
 * result divided by `sum`. see: Milakov, Gimelshein: Online normalizer calculation for softmax (2018).
 */
export function softmaxBlock_f32(
  rows: i32,
  cols: i32,
  x: usize,
  scale: f32,
  visible: i32,
  window: i32,
  top: usize,
  sum: usize,
  factor: usize,
  y: usize,
  scratch: usize,
): void {
  for (let row = 0; row < rows; row++) {
    const end = endOf(row, cols, visible);
    const begin = beginOf(row, end, visible, window);
    const n = end - begin;
    const from = x + (begin << 2);
    const to = y + (begin << 2);
    const before = load<f32>(top) / scale;
    const now = max(before, rowMax(n, from));
    const correction = weight(before - finite(now), 0, scale, scratch);
    // The weights themselves are the result, so they have to be relative to the maximum in both builds.
    shiftRow(n, from, finite(now), 1, 0, to);
    const total = exponentials<Weights>(n, to, to, 0, scale, to, scratch);
    store<f32>(sum, load<f32>(sum) * correction + total);
    store<f32>(factor, correction);
    store<f32>(top, now * scale);
    memory.fill(y, 0, begin << 2);
    memory.fill(y + (end << 2), 0, (cols - end) << 2);
    x += cols << 2;
    y += cols << 2;
    top += 4;
    sum += 4;
    factor += 4;
  }
}
