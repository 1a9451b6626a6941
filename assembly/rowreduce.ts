/**
 * One number from each row of `x` [rows, cols]:
 *
 *     sum        sum_c x[r, c] / divisor          divisor = cols for the mean
 *     squares    sum_c x[r, c]^2 / divisor
 *     max, min   NaN if the row has one; -+infinity for an empty row
 *
 * In 16 lanes, added as ((0 + 1) + (2 + 3)) over vectors and then over lanes, the tail last: the same bits on every host.
 */
import { horizontalSum, madd4 } from './element';

class Sum {}
class Squares {}
class Max {}
class Min {}

function identity<R>(): f32 {
  if (idof<R>() == idof<Max>()) return -Infinity;
  if (idof<R>() == idof<Min>()) return Infinity;
  return 0;
}

/** `total` with the elements of `x` taken in. */
function take4<R>(total: v128, x: v128): v128 {
  if (idof<R>() == idof<Max>()) return f32x4.max(total, x);
  if (idof<R>() == idof<Min>()) return f32x4.min(total, x);
  if (idof<R>() == idof<Squares>()) return madd4(x, x, total);
  return f32x4.add(total, x);
}

/** Two partial results in one. */
function join4<R>(a: v128, b: v128): v128 {
  if (idof<R>() == idof<Squares>()) return f32x4.add(a, b);
  return take4<R>(a, b);
}

function reduceLanes<R>(v: v128): f32 {
  if (idof<R>() == idof<Sum>() || idof<R>() == idof<Squares>()) return horizontalSum(v);
  const pairs = join4<R>(v, v128.shuffle<i32>(v, v, 1, 0, 3, 2));
  return f32x4.extract_lane(join4<R>(pairs, v128.shuffle<i32>(pairs, pairs, 2, 3, 0, 1)), 0);
}

function take1<R>(total: f32, x: f32): f32 {
  if (idof<R>() == idof<Max>()) return max(total, x);
  if (idof<R>() == idof<Min>()) return min(total, x);
  if (idof<R>() == idof<Squares>()) return total + x * x;
  return total + x;
}

function reduceRows<R>(rows: i32, cols: i32, x: usize, divisor: f32, y: usize): void {
  for (let row = 0; row < rows; row++) {
    let a = f32x4.splat(identity<R>());
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
    let total = reduceLanes<R>(join4<R>(join4<R>(a, b), join4<R>(c, d)));
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

/** Arguments as of `sumRows_f32`. */
export function maxRows_f32(rows: i32, cols: i32, x: usize, divisor: f32, y: usize): void {
  reduceRows<Max>(rows, cols, x, divisor, y);
}

/** Arguments as of `sumRows_f32`. */
export function minRows_f32(rows: i32, cols: i32, x: usize, divisor: f32, y: usize): void {
  reduceRows<Min>(rows, cols, x, divisor, y);
}
