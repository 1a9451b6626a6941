/**
 * int8 matrix product, exact:  C[m, n] (+)= sum_k A[m, k] B[k, n]  in int32.
 *
 * Both operands are packed as pairs of int16 along k; i32x4.dot_i16x8_s multiplies pairs and adds the two products, so a
 * step of the tile does two terms of 8 columns. An odd last term is paired with 0. Sums wrap beyond 2^31: that takes more
 * than 131,072 terms of -128 times -128.
 */
import { NR, panelHeight } from './pack';
import { dots } from './tiles.gen';

/** Panels of a block of m rows, 5 rows at most: products and sums are apart in every build, so 6 rows would spill. */
function panelCount(m: i32): i32 {
  return (m + 4) / 5;
}

/** Pairs of `lines` strided lines of k int8: out[pair][width] of i16 pairs. */
function interleavePairs(lines: i32, k: i32, from: usize, lineStep: usize, step: usize, out: usize, width: i32): void {
  const outStep = usize(width) << 2;
  for (let line = 0; line < lines; line++) {
    let p = from;
    let to = out + (line << 2);
    let i = 0;
    for (; i + 2 <= k; i += 2) {
      store<i16>(to, load<i8>(p));
      store<i16>(to, load<i8>(p + step), 2);
      p += 2 * step;
      to += outStep;
    }
    if (i < k) {
      store<i16>(to, load<i8>(p));
      store<i16>(to, 0, 2);
    }
    from += lineStep;
  }
}

/** 8 adjacent columns of two adjacent rows as pairs: two loads, one shuffle. */
function pairRows(k: i32, b: usize, rowStep: usize, out: usize): void {
  let p = 0;
  for (; p + 2 <= k; p += 2) {
    const even = v128.load_ext<i8>(b);
    const odd = v128.load_ext<i8>(b + rowStep);
    v128.store(out, v128.shuffle<i16>(even, odd, 0, 8, 1, 9, 2, 10, 3, 11));
    v128.store(out, v128.shuffle<i16>(even, odd, 4, 12, 5, 13, 6, 14, 7, 15), 16);
    b += 2 * rowStep;
    out += 32;
  }
  if (p < k) {
    const even = v128.load_ext<i8>(b);
    const zero = i16x8.splat(0);
    v128.store(out, v128.shuffle<i16>(even, zero, 0, 8, 1, 9, 2, 10, 3, 11));
    v128.store(out, v128.shuffle<i16>(even, zero, 4, 12, 5, 13, 6, 14, 7, 15), 16);
  }
}

/** Row panels of pairs; strides in elements. */
export function packRowPairs_i8(m: i32, k: i32, a: usize, rowStride: i32, colStride: i32, out: usize): void {
  const pairs = (k + 1) >> 1;
  const count = panelCount(m);
  for (let index = 0; index < count; index++) {
    const height = panelHeight(m, count, index);
    interleavePairs(height, k, a, rowStride, colStride, out, height);
    a += usize(height) * rowStride;
    out += (usize(height) * pairs) << 2;
  }
}

/** Column panels of pairs: out[panel][pair][8], 0 beyond n; strides in elements. */
export function packColumnPairs_i8(k: i32, n: i32, b: usize, rowStride: i32, colStride: i32, out: usize): void {
  const panelBytes = (usize((k + 1) >> 1) * NR) << 2;
  for (let j = 0; j < n; j += NR) {
    const columns = min(NR, n - j);
    if (columns < NR) memory.fill(out, 0, panelBytes);
    if (columns == NR && colStride == 1) pairRows(k, b, rowStride, out);
    else interleavePairs(columns, k, b, colStride, rowStride, out, NR);
    b += usize(columns) * colStride;
    out += panelBytes;
  }
}

/** C[m, n] i32 (+)= A B for packed panels of `pairs` pairs; `cStride` in elements; `edge`: 192 bytes. */
export function multiplyDots_i8(
  m: i32,
  n: i32,
  pairs: i32,
  a: usize,
  b: usize,
  c: usize,
  cStride: i32,
  accumulate: i32,
  edge: usize,
): void {
  const cStep = usize(cStride) << 2;
  const count = panelCount(m);
  for (let j = 0; j < n; j += NR) {
    const valid = min(NR, n - j);
    let panel = a;
    let to = c;
    for (let index = 0; index < count; index++) {
      const height = panelHeight(m, count, index);
      if (valid == NR) {
        dots(height, 1, pairs, panel, b, NR * 4, to, cStep, accumulate);
      } else {
        dots(height, 1, pairs, panel, b, NR * 4, edge, NR * 4, 0);
        for (let i = 0; i < height; i++) {
          for (let col = 0; col < valid; col++) {
            const at = to + usize(i) * cStep + (col << 2);
            const value = load<i32>(edge + ((i * NR + col) << 2));
            store<i32>(at, accumulate ? load<i32>(at) + value : value);
          }
        }
      }
      panel += (usize(height) * pairs) << 2;
      to += usize(height) * cStep;
    }
    b += (usize(pairs) * NR) << 2;
    c += NR * 4;
  }
}
