/**
 * Matrix product  C[m, n] (+)= sum_k A[m, k] B[k, n],  FP32 accumulation: the blocks that `src/kernels/matmul.ts` drives.
 *
 * Goto's scheme. The driver packs a block of B (KC x NC) and of A (MC x KC); `multiplyPanels` runs the tiles over them:
 *
 *     for each panel of B (8 or 16 columns; in L1)     for each panel of A (5 or 6 rows; in L2)     one tile of C
 *
 * Panels of 16 columns are for V8's revectoriser, which makes 256-bit operations of their tiles. The panel of C at the right
 * edge is computed whole in scratch, and its valid columns go to C.
 * Every element of C is a chain of sums in the order of k, whatever the tile: the same bits for every blocking of m and n.
 */
import { F32 } from './element';
import { NR, packColumns, packRows, panelCount } from './pack';
import { rows, tile, wide } from './tiles.gen';
import { widenAny } from './widen';

/** Bytes at the head of `scratch` for a panel of B in FP32, 512 x 16 at most; a panel of C, 180 x 16, lies behind it. */
// Kept in step with PANEL_SCRATCH in src/kernels/blocking.ts.
export const PANEL_BYTES: usize = 512 * 16 * 4;

/** Copies a block of `height` x `width` numbers of 32 bits; steps in bytes. */
export function copyTile(height: i32, width: i32, from: usize, fromStep: usize, to: usize, toStep: usize): void {
  for (let i = 0; i < height; i++) {
    for (let j = 0; j < width; j++) store<i32>(to + (j << 2), load<i32>(from + (j << 2)));
    from += fromStep;
    to += toStep;
  }
}

/** `count` tiles of `height` rows and `width` = 8 or 16 columns, one below the other. */
function anyTile(
  width: i32,
  height: i32,
  count: i32,
  k: i32,
  a: usize,
  panel: usize,
  c: usize,
  cStep: usize,
  accumulate: i32,
): void {
  if (ASC_FEATURE_RELAXED_SIMD) {
    if (width != NR) {
      wide(height, count, k, a, panel, 64, c, cStep, accumulate);
      return;
    }
  }
  tile(height, count, k, a, panel, NR * 4, c, cStep, accumulate);
}

/**
 * One panel of B against all panels of A: the taller tiles, then the rest. Of the `width` columns, `valid` go to C; if that
 * is not all of them, by way of `edge`.
 */
function multiplyPanel(
  width: i32,
  m: i32,
  valid: i32,
  k: i32,
  a: usize,
  panel: usize,
  c: usize,
  cStep: usize,
  accumulate: i32,
  edge: usize,
): void {
  const count = panelCount(m);
  const height = m / count;
  const taller = m % count;
  const tallerRows = usize(taller * (height + 1));
  const shorter = a + ((tallerRows * k) << 2);
  let to = c;
  let step = cStep;
  if (valid < width) {
    to = edge;
    step = usize(width) << 2;
    if (accumulate) copyTile(m, valid, c, cStep, to, step);
  }
  anyTile(width, height + 1, taller, k, a, panel, to, step, accumulate);
  anyTile(width, height, count - taller, k, shorter, panel, to + tallerRows * step, step, accumulate);
  if (valid < width) copyTile(m, valid, edge, step, c, cStep);
}

/**
 * C[m, n] (+)= A B for packed row panels `a` in FP32 and column panels `b` of `width` columns; m <= 180, k <= 512. `format`:
 * that of the panels, 0 for FP32. `panelBytes`: from one panel to the next. `cStride` in elements.
 */
export function multiplyPanels(
  format: i32,
  width: i32,
  m: i32,
  n: i32,
  k: i32,
  a: usize,
  b: usize,
  panelBytes: usize,
  c: usize,
  cStride: i32,
  accumulate: i32,
  scratch: usize,
): void {
  const cStep = usize(cStride) << 2;
  for (let j = 0; j < n; j += width) {
    let panel = b;
    if (format != 0) {
      widenAny(format, k * width, b, scratch);
      panel = scratch;
    }
    multiplyPanel(width, m, min(width, n - j), k, a, panel, c, cStep, accumulate, scratch + PANEL_BYTES);
    b += panelBytes;
    c += usize(width) << 2;
  }
}

/**
 * C[m, n] (+)= A B with both in place, FP32: for problems so small that packing would show. B has adjacent columns; the
 * up to 7 columns at its right edge are copied to `scratch`, so that no load passes its end. m <= 180, k <= 512.
 */
export function multiplyInPlace_f32(
  m: i32,
  n: i32,
  k: i32,
  a: usize,
  aRowStride: i32,
  aColStride: i32,
  b: usize,
  bRowStride: i32,
  c: usize,
  cStride: i32,
  accumulate: i32,
  scratch: usize,
): void {
  const aRow = usize(aRowStride) << 2;
  const aStep = usize(aColStride) << 2;
  const bStep = usize(bRowStride) << 2;
  const cStep = usize(cStride) << 2;
  const edge = scratch + PANEL_BYTES;
  const count = panelCount(m);
  const height = m / count;
  const taller = m % count;
  const tallerRows = usize(taller * (height + 1));
  const shorter = a + tallerRows * aRow;
  for (let j = 0; j < n; j += NR) {
    const valid = min(NR, n - j);
    let panel = b + (j << 2);
    let panelStep = bStep;
    let to = c + (j << 2);
    let toStep = cStep;
    if (valid < NR) {
      memory.fill(scratch, 0, usize(k) * NR * 4);
      copyTile(k, valid, panel, bStep, scratch, NR * 4);
      if (accumulate) copyTile(m, valid, to, cStep, edge, NR * 4);
      panel = scratch;
      panelStep = NR * 4;
      to = edge;
      toStep = NR * 4;
    }
    rows(height + 1, taller, k, a, aRow, aStep, panel, panelStep, to, toStep, accumulate);
    rows(
      height,
      count - taller,
      k,
      shorter,
      aRow,
      aStep,
      panel,
      panelStep,
      to + tallerRows * toStep,
      toStep,
      accumulate,
    );
    if (valid < NR) copyTile(m, valid, edge, NR * 4, c + (j << 2), cStep);
  }
}

/**
 * C[m, n] (+)= A B, FP32, any strides, packing on the way: A whole, B 32 columns at a time, which are used while they are in
 * the nearest caches. For products with one block of A. m <= 180, k <= 512. `packedB`: room for k x 32.
 */
export function multiplyPacking_f32(
  width: i32,
  m: i32,
  n: i32,
  k: i32,
  a: usize,
  aRowStride: i32,
  aColStride: i32,
  b: usize,
  bRowStride: i32,
  bColStride: i32,
  c: usize,
  cStride: i32,
  accumulate: i32,
  packedA: usize,
  packedB: usize,
  scratch: usize,
): void {
  packRows<F32>(m, k, a, aRowStride, aColStride, packedA);
  for (let j = 0; j < n; j += 32) {
    const columns = min(32, n - j);
    packColumns<F32>(k, columns, b + ((usize(j) * bColStride) << 2), bRowStride, bColStride, packedB, width);
    const panelBytes = (usize(k) * width) << 2;
    multiplyPanels(0, width, m, columns, k, packedA, packedB, panelBytes, c + (j << 2), cStride, accumulate, scratch);
  }
}

/** x[i] *= factor, i < n: a packed block of A times alpha. */
export function scale_f32(n: i32, factor: f32, x: usize): void {
  const factor4 = f32x4.splat(factor);
  let i = 0;
  for (; i + 4 <= n; i += 4) v128.store(x + (i << 2), f32x4.mul(v128.load(x + (i << 2)), factor4));
  for (; i < n; i++) store<f32>(x + (i << 2), load<f32>(x + (i << 2)) * factor);
}
