/**
 * One number from each row of `x` [rows, cols]:
 *
 *     sum        sum_c x[r, c] / divisor          divisor = cols for the mean
 *     squares    sum_c x[r, c]^2 / divisor
 *     max, min   NaN if the row has one, -0 below +0; -+infinity for an empty row
 *
 * Sums in 16 lanes, added as ((0 + 1) + (2 + 3)) over vectors and then over lanes, the tail last: the same bits on every host.
 */
import { horizontalSum, madd4 } from './element';

class Sum {}
class Squares {}

/** `total` with the elements of `x` taken in. */
function take4<R>(total: v128, x: v128): v128 {
  return idof<R>() == idof<Squares>() ? madd4(x, x, total) : f32x4.add(total, x);
}

function take1<R>(total: f32, x: f32): f32 {
  return idof<R>() == idof<Squares>() ? total + x * x : total + x;
}

function reduceRows<R>(rows: i32, cols: i32, x: usize, divisor: f32, y: usize): void {
  for (let row = 0; row < rows; row++) {
    let a = f32x4.splat(0);
    let b = a;
    let c = a;
    let d = a;
    let blocks = cols >> 4;
    if (blocks > 0) {
      do {
        a = take4<R>(a, v128.load(x));
        b = take4<R>(b, v128.load(x, 16));
        c = take4<R>(c, v128.load(x, 32));
        d = take4<R>(d, v128.load(x, 48));
        x += 64;
      } while (--blocks > 0);
    }
    let total = horizontalSum(f32x4.add(f32x4.add(a, b), f32x4.add(c, d)));
    for (let i = cols & 15; i > 0; i--) {
      total = take1<R>(total, load<f32>(x));
      x += 4;
    }
    store<f32>(y + (row << 2), total / divisor);
  }
}

/** `x`: [rows, cols] f32, `y`: [rows] f32, not overlapping `x`. */
export function sumRows_f32(rows: i32, cols: i32, x: usize, divisor: f32, y: usize): void {
  reduceRows<Sum>(rows, cols, x, divisor, y);
}

/** Arguments as of `sumRows_f32`. */
export function squareRows_f32(rows: i32, cols: i32, x: usize, divisor: f32, y: usize): void {
  reduceRows<Squares>(rows, cols, x, divisor, y);
}

function maxOfLanes(v: v128): f32 {
  return max(
    max(f32x4.extract_lane(v, 0), f32x4.extract_lane(v, 1)),
    max(f32x4.extract_lane(v, 2), f32x4.extract_lane(v, 3)),
  );
}

/** The maximum of `n` numbers from `x` on, or where their signs are flipped by `sign`, of those, by exact comparisons. */
function exactMax(n: i32, x: usize, sign: i32): f32 {
  const flip = i32x4.splat(sign);
  let top = f32x4.splat(-Infinity);
  for (; n >= 4; n -= 4) {
    top = f32x4.max(top, v128.xor(v128.load(x), flip));
    x += 16;
  }
  let total = maxOfLanes(top);
  for (; n > 0; n--) {
    total = max(total, reinterpret<f32>(load<i32>(x) ^ sign));
    x += 4;
  }
  return total;
}

/**
 * y[r] = max_c x[r, c]; the minimum if `sign` is the sign bit: the maximum of the negated numbers, negated. `x`: [rows, cols]
 * f32, `y`: [rows] f32, not overlapping `x`.
 *
 * An f32x4.max takes V8 eight instructions, a pmax one, but that passes over NaNs and does not tell zeros apart. So the sum of a
 * row goes along: it is NaN if a number is. Then, and where the maximum is a zero, the row is looked at again.
 */
export function maxRows_f32(rows: i32, cols: i32, x: usize, sign: i32, y: usize): void {
  const flip = i32x4.splat(sign);
  for (let row = 0; row < rows; row++) {
    const begin = x;
    let a = f32x4.splat(-Infinity);
    let b = a;
    let c = a;
    let d = a;
    let sa = f32x4.splat(0);
    let sb = sa;
    let sc = sa;
    let sd = sa;
    for (let blocks = cols >> 4; blocks > 0; blocks--) {
      const xa = v128.xor(v128.load(x), flip);
      const xb = v128.xor(v128.load(x, 16), flip);
      const xc = v128.xor(v128.load(x, 32), flip);
      const xd = v128.xor(v128.load(x, 48), flip);
      a = f32x4.pmax(a, xa);
      b = f32x4.pmax(b, xb);
      c = f32x4.pmax(c, xc);
      d = f32x4.pmax(d, xd);
      sa = f32x4.add(sa, xa);
      sb = f32x4.add(sb, xb);
      sc = f32x4.add(sc, xc);
      sd = f32x4.add(sd, xd);
      x += 64;
    }
    const sum = horizontalSum(f32x4.add(f32x4.add(sa, sb), f32x4.add(sc, sd)));
    let total = maxOfLanes(f32x4.pmax(f32x4.pmax(a, b), f32x4.pmax(c, d)));
    for (let i = cols & 15; i > 0; i--) {
      total = max(total, reinterpret<f32>(load<i32>(x) ^ sign));
      x += 4;
    }
    if (total == 0 || isNaN(sum)) total = exactMax(cols, begin, sign);
    store<i32>(y + (row << 2), reinterpret<i32>(total) ^ sign);
  }
}
