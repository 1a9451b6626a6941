/**
 * One row against column panels:  y[n] (+)= x[k] B.  Bound by the memory that B streams from.
 *
 * Four groups of 8 columns at a time: 8 accumulators hide the latency of the sums, and the four streams lie one behind
 * the other. Formats are widened in registers. The sums are those of the tiles, in the order of k: the same bits.
 */
import { bytesOf, load4, madd4 } from './element';
import { copyTile, PANEL_BYTES } from './matmul';
import { NR } from './pack';

/** `width`: columns of a panel, 8 or 16. `x`: k adjacent FP32. `scratch`: that of `multiply`. */
export function gemv<T>(
  width: i32,
  n: i32,
  k: i32,
  x: usize,
  b: usize,
  y: usize,
  accumulate: i32,
  scratch: usize,
): void {
  const size = bytesOf<T>();
  const groupBytes = usize(NR) * size;
  const step = usize(width) * size;
  const panelBytes = usize(k) * step;
  const groups = width / NR;
  const count = (n + NR - 1) / NR;
  const edge = scratch + PANEL_BYTES;
  let group = 0;
  for (; group + 4 <= n / NR; group += 4) {
    const b0 = groupOf(b, group, groups, panelBytes, groupBytes);
    const b1 = groupOf(b, group + 1, groups, panelBytes, groupBytes);
    const b2 = groupOf(b, group + 2, groups, panelBytes, groupBytes);
    const b3 = groupOf(b, group + 3, groups, panelBytes, groupBytes);
    gemv32<T>(k, x, b0, b1, b2, b3, step, y + ((group * NR) << 2), accumulate);
  }
  for (; group < count; group++) {
    const valid = min(NR, n - group * NR);
    const to = y + ((group * NR) << 2);
    if (accumulate) copyTile(1, valid, to, 0, edge, 0);
    gemv8<T>(k, x, groupOf(b, group, groups, panelBytes, groupBytes), step, edge, accumulate);
    copyTile(1, valid, edge, 0, to, 0);
  }
}

/** Address of 8 adjacent columns: group `group` of the matrix, `groups` of them in a panel. */
function groupOf(b: usize, group: i32, groups: i32, panelBytes: usize, groupBytes: usize): usize {
  return b + usize(group / groups) * panelBytes + usize(group % groups) * groupBytes;
}

function gemv32<T>(
  k: i32,
  x: usize,
  b0: usize,
  b1: usize,
  b2: usize,
  b3: usize,
  step: usize,
  y: usize,
  accumulate: i32,
): void {
  const half = 4 * bytesOf<T>();
  let s0 = f32x4.splat(0);
  let s1 = f32x4.splat(0);
  let s2 = f32x4.splat(0);
  let s3 = f32x4.splat(0);
  let s4 = f32x4.splat(0);
  let s5 = f32x4.splat(0);
  let s6 = f32x4.splat(0);
  let s7 = f32x4.splat(0);
  if (accumulate) {
    s0 = v128.load(y);
    s1 = v128.load(y, 16);
    s2 = v128.load(y, 32);
    s3 = v128.load(y, 48);
    s4 = v128.load(y, 64);
    s5 = v128.load(y, 80);
    s6 = v128.load(y, 96);
    s7 = v128.load(y, 112);
  }
  if (k > 0) {
    do {
      const value = v128.load_splat<f32>(x);
      s0 = madd4(value, load4<T>(b0), s0);
      s1 = madd4(value, load4<T>(b0 + half), s1);
      s2 = madd4(value, load4<T>(b1), s2);
      s3 = madd4(value, load4<T>(b1 + half), s3);
      s4 = madd4(value, load4<T>(b2), s4);
      s5 = madd4(value, load4<T>(b2 + half), s5);
      s6 = madd4(value, load4<T>(b3), s6);
      s7 = madd4(value, load4<T>(b3 + half), s7);
      x += 4;
      b0 += step;
      b1 += step;
      b2 += step;
      b3 += step;
    } while (--k);
  }
  v128.store(y, s0);
  v128.store(y, s1, 16);
  v128.store(y, s2, 32);
  v128.store(y, s3, 48);
  v128.store(y, s4, 64);
  v128.store(y, s5, 80);
  v128.store(y, s6, 96);
  v128.store(y, s7, 112);
}

function gemv8<T>(k: i32, x: usize, b: usize, step: usize, y: usize, accumulate: i32): void {
  let s0 = f32x4.splat(0);
  let s1 = f32x4.splat(0);
  if (accumulate) {
    s0 = v128.load(y);
    s1 = v128.load(y, 16);
  }
  if (k > 0) {
    do {
      const value = v128.load_splat<f32>(x);
      s0 = madd4(value, load4<T>(b), s0);
      s1 = madd4(value, load4<T>(b + 4 * bytesOf<T>()), s1);
      x += 4;
      b += step;
    } while (--k);
  }
  v128.store(y, s0);
  v128.store(y, s1, 16);
}
