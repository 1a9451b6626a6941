/**
 * Packing of matmul operands: what the register tiles read in order.
 *
 *     A block   m x k -> row panels, one after another:   panel of h rows: out[k][h], h by `panelHeight`
 *     B block   k x n -> column panels:                   panel of w columns: out[k][w], columns beyond n are 0
 *
 * Packing widens to FP32, which is exact for every format, so one tile serves all. Weights that stay are packed in their
 * own format (`packPanels`) and widened a panel at a time into a scratch that stays in L1.
 */
import { BF16, bytesOf, F32, load1, load4 } from './element';

/** Rows of the tallest tile: 15 vector registers hold 5 x 8 with separate products, 6 x 8 with fused ones. */
export const MR: i32 = ASC_FEATURE_RELAXED_SIMD ? 6 : 5;
export const NR = 8;

/** Panels of a block of m rows. Rows are dealt out evenly: 16 is 6 + 5 + 5, not 6 + 6 + 4. */
export function panelCount(m: i32): i32 {
  return (m + MR - 1) / MR;
}

/** Height of panel `index` of `count`: the first m mod count panels are one row taller. */
export function panelHeight(m: i32, count: i32, index: i32): i32 {
  return m / count + i32(index < m % count);
}

/** Four columns of four rows: lane j of output i is element i of row j. */
function transpose4(r0: v128, r1: v128, r2: v128, r3: v128, out: usize, step: usize): void {
  const a = v128.shuffle<i32>(r0, r1, 0, 4, 1, 5);
  const b = v128.shuffle<i32>(r2, r3, 0, 4, 1, 5);
  const c = v128.shuffle<i32>(r0, r1, 2, 6, 3, 7);
  const d = v128.shuffle<i32>(r2, r3, 2, 6, 3, 7);
  v128.store(out, v128.shuffle<i64>(a, b, 0, 2));
  v128.store(out + step, v128.shuffle<i64>(a, b, 1, 3));
  v128.store(out + 2 * step, v128.shuffle<i64>(c, d, 0, 2));
  v128.store(out + 3 * step, v128.shuffle<i64>(c, d, 1, 3));
}

/** A line of `k` elements, a multiple of 4, to every `outStep` bytes. */
function spread<T>(k: i32, row: usize, out: usize, outStep: usize): void {
  for (let p = 0; p < k; p += 4) {
    const x = load4<T>(row);
    v128.store_lane<i32>(out, x, 0);
    v128.store_lane<i32>(out + outStep, x, 1);
    v128.store_lane<i32>(out + 2 * outStep, x, 2);
    v128.store_lane<i32>(out + 3 * outStep, x, 3);
    row += 4 * bytesOf<T>();
    out += 4 * outStep;
  }
}

/** Two lines of `k` elements, a multiple of 4, side by side. */
function interleave2<T>(k: i32, r0: usize, r1: usize, out: usize, outStep: usize): void {
  for (let p = 0; p < k; p += 4) {
    const x = load4<T>(r0);
    const y = load4<T>(r1);
    const low = v128.shuffle<i32>(x, y, 0, 4, 1, 5);
    const high = v128.shuffle<i32>(x, y, 2, 6, 3, 7);
    v128.store_lane<i64>(out, low, 0);
    v128.store_lane<i64>(out + outStep, low, 1);
    v128.store_lane<i64>(out + 2 * outStep, high, 0);
    v128.store_lane<i64>(out + 3 * outStep, high, 1);
    r0 += 4 * bytesOf<T>();
    r1 += 4 * bytesOf<T>();
    out += 4 * outStep;
  }
}

/** Four lines likewise. */
function interleave4<T>(k: i32, r0: usize, lineStep: usize, out: usize, outStep: usize): void {
  let r1 = r0 + lineStep;
  let r2 = r1 + lineStep;
  let r3 = r2 + lineStep;
  for (let p = 0; p < k; p += 4) {
    transpose4(load4<T>(r0), load4<T>(r1), load4<T>(r2), load4<T>(r3), out, outStep);
    r0 += 4 * bytesOf<T>();
    r1 += 4 * bytesOf<T>();
    r2 += 4 * bytesOf<T>();
    r3 += 4 * bytesOf<T>();
    out += 4 * outStep;
  }
}

/** `lines` strided lines of `k` elements, interleaved: out[k][width], width >= lines. Lanes beyond are not written. */
export function interleave<T>(
  lines: i32,
  k: i32,
  from: usize,
  lineStep: usize,
  step: usize,
  out: usize,
  width: i32,
): void {
  const outStep = usize(width) << 2;
  const fours = step == bytesOf<T>() ? k & ~3 : 0;
  for (let line = 0; line < lines; ) {
    const row = from + usize(line) * lineStep;
    const to = out + (line << 2);
    const group = line + 4 <= lines ? 4 : line + 2 <= lines ? 2 : 1;
    if (group == 4) interleave4<T>(fours, row, lineStep, to, outStep);
    else if (group == 2) interleave2<T>(fours, row, row + lineStep, to, outStep);
    else spread<T>(fours, row, to, outStep);
    line += group;
  }
  // What the vectors leave: the last few elements, or everything if lines are not contiguous.
  for (let line = 0; line < lines; line++) {
    let element = from + usize(line) * lineStep + usize(fours) * step;
    let at = out + (line << 2) + usize(fours) * outStep;
    for (let p = fours; p < k; p++) {
      store<f32>(at, load1<T>(element));
      element += step;
      at += outStep;
    }
  }
}

/** Row panels of a block of A; strides in elements. */
export function packRows<T>(m: i32, k: i32, a: usize, rowStride: i32, colStride: i32, out: usize): void {
  const rowBytes = usize(rowStride) * bytesOf<T>();
  const colBytes = usize(colStride) * bytesOf<T>();
  const count = panelCount(m);
  for (let index = 0; index < count; index++) {
    const height = panelHeight(m, count, index);
    // A transposed matrix has the elements of a panel's column side by side.
    if (rowStride == 1) copyPanel<T>(k, height, a, colBytes, out, height);
    else interleave<T>(height, k, a, rowBytes, colBytes, out, height);
    a += usize(height) * rowBytes;
    out += (usize(height) * k) << 2;
  }
}

/** Column panels of a block of B, `width` = 8 or 16 columns each; strides in elements. */
export function packColumns<T>(k: i32, n: i32, b: usize, rowStride: i32, colStride: i32, out: usize, width: i32): void {
  const size = bytesOf<T>();
  const rowBytes = usize(rowStride) * size;
  const colBytes = usize(colStride) * size;
  const panelBytes = (usize(k) * width) << 2;
  let j = 0;
  if (colStride == 1) {
    for (; j + 32 <= n; j += 32) {
      copyStrip<T>(k, b, rowBytes, out, width);
      b += 32 * size;
      out += usize(k) << 7;
    }
  }
  for (; j < n; j += width) {
    const columns = min(width, n - j);
    if (columns < width) memory.fill(out, 0, panelBytes);
    if (colStride == 1) copyPanel<T>(k, columns, b, rowBytes, out, width);
    else interleave<T>(columns, k, b, colBytes, rowBytes, out, width);
    b += usize(columns) * colBytes;
    out += panelBytes;
  }
}

/** 32 adjacent columns to their panels at once: whole lines of the cache are read, and each only once. */
function copyStrip<T>(k: i32, b: usize, rowBytes: usize, out: usize, width: i32): void {
  const size = bytesOf<T>();
  const step = usize(width) << 2;
  const panelBytes = usize(k) * step;
  // Columns 8, 16 and 24 begin a panel of 8, or the right half of one of 16.
  const out1 = width == NR ? panelBytes : 32;
  const out2 = width == NR ? 2 * panelBytes : panelBytes;
  const out3 = out1 + out2;
  for (let p = 0; p < k; p++) {
    v128.store(out, load4<T>(b));
    v128.store(out, load4<T>(b + 4 * size), 16);
    v128.store(out + out1, load4<T>(b + 8 * size));
    v128.store(out + out1, load4<T>(b + 12 * size), 16);
    v128.store(out + out2, load4<T>(b + 16 * size));
    v128.store(out + out2, load4<T>(b + 20 * size), 16);
    v128.store(out + out3, load4<T>(b + 24 * size));
    v128.store(out + out3, load4<T>(b + 28 * size), 16);
    b += rowBytes;
    out += step;
  }
}

/** Rows of adjacent columns, row after row. */
function copyPanel<T>(k: i32, columns: i32, b: usize, rowBytes: usize, out: usize, width: i32): void {
  const size = bytesOf<T>();
  const whole = columns & ~3;
  for (let p = 0; p < k; p++) {
    let c = 0;
    for (; c < whole; c += 4) v128.store(out + (c << 2), load4<T>(b + usize(c) * size));
    for (; c < columns; c++) store<f32>(out + (c << 2), load1<T>(b + usize(c) * size));
    b += rowBytes;
    out += usize(width) << 2;
  }
}

/** Columns that are not adjacent, element by element, in a panel with rows of `step` bytes. `E`: an integer of their size. */
function gatherPanel<E>(
  k: i32,
  columns: i32,
  b: usize,
  rowBytes: usize,
  colBytes: usize,
  out: usize,
  step: usize,
): void {
  for (let p = 0; p < k; p++) {
    let from = b;
    for (let c = 0; c < columns; c++) {
      store<E>(out + usize(c) * sizeof<E>(), load<E>(from));
      from += colBytes;
    }
    b += rowBytes;
    out += step;
  }
}

/**
 * Column panels of B in its own format, for elements of `size` = 1, 2 or 4 bytes: out[panel][k][width], 0 beyond n. Strides
 * in elements.
 */
export function packPanels(
  size: i32,
  width: i32,
  k: i32,
  n: i32,
  b: usize,
  rowStride: i32,
  colStride: i32,
  out: usize,
): void {
  const rowBytes = usize(rowStride) * size;
  const colBytes = usize(colStride) * size;
  const step = usize(width) * size;
  for (let j = 0; j < n; j += width) {
    const columns = min(width, n - j);
    if (columns < width) memory.fill(out, 0, usize(k) * step);
    if (colStride == 1) {
      for (let p = 0; p < k; p++) memory.copy(out + usize(p) * step, b + usize(p) * rowBytes, usize(columns) * size);
    } else if (size == 4) {
      interleave<F32>(columns, k, b, colBytes, rowBytes, out, width);
    } else if (size == 2) {
      gatherPanel<u16>(k, columns, b, rowBytes, colBytes, out, step);
    } else {
      gatherPanel<u8>(k, columns, b, rowBytes, colBytes, out, step);
    }
    b += usize(columns) * colBytes;
    out += usize(k) * step;
  }
}

export function packRows_f32(m: i32, k: i32, a: usize, rowStride: i32, colStride: i32, out: usize): void {
  packRows<F32>(m, k, a, rowStride, colStride, out);
}

export function packRows_bf16(m: i32, k: i32, a: usize, rowStride: i32, colStride: i32, out: usize): void {
  packRows<BF16>(m, k, a, rowStride, colStride, out);
}

export function packColumns_f32(
  k: i32,
  n: i32,
  b: usize,
  rowStride: i32,
  colStride: i32,
  out: usize,
  width: i32,
): void {
  packColumns<F32>(k, n, b, rowStride, colStride, out, width);
}

export function packColumns_bf16(
  k: i32,
  n: i32,
  b: usize,
  rowStride: i32,
  colStride: i32,
  out: usize,
  width: i32,
): void {
  packColumns<BF16>(k, n, b, rowStride, colStride, out, width);
}
