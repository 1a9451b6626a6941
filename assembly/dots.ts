/**
 * int8 matrix product, exact:  C[m, n] (+)= sum_k A[m, k] B[k, n]  in int32.
 *
 * Both operands are packed so that a lane of 32 bits holds consecutive terms of a row or column, in panels as those of
 * pack.ts; a step of the tile multiplies the terms of a lane of A with those of 8 columns of B and adds the products up.
 *
 *     Pairs   two int16: i32x4.dot_i16x8_s, on every host
 *     Quads   four bytes, by one instruction of hosts that have it: see quads.ts
 *
 * What k leaves of the last lane is 0. Sums wrap beyond 2^31: that takes more than 131,072 terms of -128 times -128.
 */
import { copyTile } from './matmul';
import { NR, panelHeight } from './pack';
import { dots, quads } from './tiles.gen';

export class Pairs {}
export class Quads {}

/** Panels of a block of m rows: of 5 at most where products and sums are apart, in every build, or 6 rows would spill. */
export function lanePanelCount<T>(m: i32): i32 {
  return idof<T>() == idof<Pairs>() ? (m + 4) / 5 : (m + 5) / 6;
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
  const count = lanePanelCount<Pairs>(m);
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

/** `count` tiles of `height` rows, one below the other. */
function lanes<T>(height: i32, count: i32, k: i32, a: usize, b: usize, c: usize, cStep: usize, accumulate: i32): void {
  if (idof<T>() == idof<Pairs>()) dots(height, count, k, a, b, NR * 4, c, cStep, accumulate);
  else quads(height, count, k, a, b, NR * 4, c, cStep, accumulate);
}

/**
 * C[m, n] i32 (+)= A B for packed panels of `steps` lanes; `cStride` in elements; `edge`: room for m x 8. A panel of Quads has
 * 8 i32 before its first lanes.
 */
export function multiplyLanes<T>(
  m: i32,
  n: i32,
  steps: i32,
  a: usize,
  b: usize,
  c: usize,
  cStride: i32,
  accumulate: i32,
  edge: usize,
): void {
  const cStep = usize(cStride) << 2;
  const count = lanePanelCount<T>(m);
  const height = m / count;
  const taller = m % count;
  const tallerRows = usize(taller * (height + 1));
  const shorter = a + ((tallerRows * steps) << 2);
  for (let j = 0; j < n; j += NR) {
    const valid = min(NR, n - j);
    const isWhole = valid == NR;
    const to = isWhole ? c : edge;
    const toStep = isWhole ? cStep : NR * 4;
    if (!isWhole && accumulate) copyTile(m, valid, c, cStep, to, toStep);
    lanes<T>(height + 1, taller, steps, a, b, to, toStep, accumulate);
    lanes<T>(height, count - taller, steps, shorter, b, to + tallerRows * toStep, toStep, accumulate);
    if (!isWhole) copyTile(m, valid, to, toStep, c, cStep);
    b += (usize(steps) * NR) << 2;
    if (idof<T>() == idof<Quads>()) b += NR * 4;
    c += NR * 4;
  }
}

/** As `multiplyLanes`. */
export function multiplyPairs_i8(
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
  multiplyLanes<Pairs>(m, n, pairs, a, b, c, cStride, accumulate, edge);
}
