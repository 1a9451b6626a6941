/**
 * One row against column panels:  y[n] (+)= x[k] B.  Bound by the memory that B streams from, so B is read strictly in
 * order, a panel at a time: four streams side by side reach 60 % of the bandwidth, one reaches 93 %.
 *
 * The latency of the sums is hidden along k instead: terms k mod 4 go to chains of their own, which are added as
 * (0 + 1) + (2 + 3). So a row alone may differ in the last bits from the same row among others.
 */
import { BF16, bytesOf, load4, madd4 } from './element';
import { copyTile, PANEL_BYTES } from './matmul';

/** `width`: columns of a panel, 8 or 16; `panelBytes`: from one to the next. `x`: k adjacent FP32. `scratch`: that of `multiplyPanels`. */
export function gemv<T>(
  width: i32,
  n: i32,
  k: i32,
  x: usize,
  b: usize,
  panelBytes: usize,
  y: usize,
  accumulate: i32,
  scratch: usize,
): void {
  const edge = scratch + PANEL_BYTES;
  for (let j = 0; j < n; j += width) {
    const valid = min(width, n - j);
    const to = valid == width ? y : edge;
    if (accumulate && valid < width) copyTile(1, valid, y, 0, edge, 0);
    for (let half: usize = 0; half < usize(width); half += 8) {
      gemv8<T>(k, x, b + half * bytesOf<T>(), usize(width) * bytesOf<T>(), to + (half << 2), accumulate);
    }
    if (valid < width) copyTile(1, valid, edge, 0, y, 0);
    b += panelBytes;
    y += usize(width) << 2;
  }
}

/** Elements 0 .. 3 of 8, or of BF16 the even ones: their lanes need no widening load. */
function first4<T>(p: usize): v128 {
  if (idof<T>() == idof<BF16>()) return i32x4.shl(v128.load(p), 16);
  return load4<T>(p);
}

/** Elements 4 .. 7 of 8, or of BF16 the odd ones. */
function second4<T>(p: usize): v128 {
  if (idof<T>() == idof<BF16>()) return v128.and(v128.load(p), i32x4.splat(0xffff0000));
  return load4<T>(p + 4 * bytesOf<T>());
}

/** Adds 8 columns, given as `first4` and `second4` left them, to y. */
function storeColumns<T>(first: v128, second: v128, y: usize, accumulate: i32): void {
  let low = first;
  let high = second;
  if (idof<T>() == idof<BF16>()) {
    low = v128.shuffle<i32>(first, second, 0, 4, 1, 5);
    high = v128.shuffle<i32>(first, second, 2, 6, 3, 7);
  }
  if (accumulate) {
    low = f32x4.add(v128.load(y), low);
    high = f32x4.add(v128.load(y, 16), high);
  }
  v128.store(y, low);
  v128.store(y, high, 16);
}

/** 8 columns of a panel with rows of `step` bytes, four steps of k at a time. */
function gemv8<T>(k: i32, x: usize, b: usize, step: usize, y: usize, accumulate: i32): void {
  let s0 = f32x4.splat(0);
  let s1 = f32x4.splat(0);
  let s2 = f32x4.splat(0);
  let s3 = f32x4.splat(0);
  let s4 = f32x4.splat(0);
  let s5 = f32x4.splat(0);
  let s6 = f32x4.splat(0);
  let s7 = f32x4.splat(0);
  let fours = k >> 2;
  if (fours > 0) {
    do {
      let value = v128.load_splat<f32>(x);
      s0 = madd4(value, first4<T>(b), s0);
      s1 = madd4(value, second4<T>(b), s1);
      value = v128.load_splat<f32>(x, 4);
      s2 = madd4(value, first4<T>(b + step), s2);
      s3 = madd4(value, second4<T>(b + step), s3);
      value = v128.load_splat<f32>(x, 8);
      s4 = madd4(value, first4<T>(b + 2 * step), s4);
      s5 = madd4(value, second4<T>(b + 2 * step), s5);
      value = v128.load_splat<f32>(x, 12);
      s6 = madd4(value, first4<T>(b + 3 * step), s6);
      s7 = madd4(value, second4<T>(b + 3 * step), s7);
      x += 16;
      b += 4 * step;
    } while (--fours);
  }
  for (let rest = k & 3; rest > 0; rest--) {
    const value = v128.load_splat<f32>(x);
    s0 = madd4(value, first4<T>(b), s0);
    s1 = madd4(value, second4<T>(b), s1);
    x += 4;
    b += step;
  }
  const first = f32x4.add(f32x4.add(s0, s2), f32x4.add(s4, s6));
  const second = f32x4.add(f32x4.add(s1, s3), f32x4.add(s5, s7));
  storeColumns<T>(first, second, y, accumulate);
}
