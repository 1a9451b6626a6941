/**
 * Arithmetic of VectorE, elementwise on FP32:
 *
 *     aluTensor    y = a (operator) b
 *     aluScalar    y[r, c] = x[r, c] (operator) s[r], or s[r] (operator) x[r, c]
 *     scan         y[r, c] = (y[r, c - 1] (first) a[r, c]) (second) b[r, c],  y[r, -1] = s[r]
 *     log          y = ln x; NaN below 0
 *
 * Operators by number, as in ALU_OPERATORS of src/core/instructions.ts: add, subtract, multiply, divide, max, min, is_gt,
 * is_ge, is_equal. NaN goes through max and min; comparisons give 1 or 0. Each result is rounded once, in both builds.
 */
import { log } from './log';

class Add {}
class Subtract {}
class Multiply {}
class Divide {}
class Max {}
class Min {}
class Greater {}
class GreaterEqual {}
class Equal {}

function apply4<O>(a: v128, b: v128): v128 {
  if (idof<O>() == idof<Add>()) return f32x4.add(a, b);
  if (idof<O>() == idof<Subtract>()) return f32x4.sub(a, b);
  if (idof<O>() == idof<Multiply>()) return f32x4.mul(a, b);
  if (idof<O>() == idof<Divide>()) return f32x4.div(a, b);
  if (idof<O>() == idof<Max>()) return f32x4.max(a, b);
  if (idof<O>() == idof<Min>()) return f32x4.min(a, b);
  const one = f32x4.splat(1);
  if (idof<O>() == idof<Greater>()) return v128.and(f32x4.gt(a, b), one);
  if (idof<O>() == idof<GreaterEqual>()) return v128.and(f32x4.ge(a, b), one);
  return v128.and(f32x4.eq(a, b), one);
}

function apply1<O>(a: f32, b: f32): f32 {
  return f32x4.extract_lane(apply4<O>(f32x4.splat(a), f32x4.splat(b)), 0);
}

/** Whether the operands may change places: then a reversed scalar needs no loop of its own. */
function isCommutative<O>(): bool {
  if (idof<O>() == idof<Subtract>() || idof<O>() == idof<Divide>()) return false;
  return idof<O>() != idof<Greater>() && idof<O>() != idof<GreaterEqual>();
}

function tensor<O>(n: i32, a: usize, b: usize, y: usize): void {
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    v128.store(y, apply4<O>(v128.load(a), v128.load(b)));
    a += 16;
    b += 16;
    y += 16;
  }
  for (; i < n; i++) {
    store<f32>(y, apply1<O>(load<f32>(a), load<f32>(b)));
    a += 4;
    b += 4;
    y += 4;
  }
}

function scalar<O>(rows: i32, cols: i32, x: usize, s: usize, step: usize, isReversed: i32, y: usize): void {
  for (let row = 0; row < rows; row++) {
    const operand = v128.load32_splat(s);
    let c = 0;
    if (!isCommutative<O>() && isReversed) {
      for (; c + 4 <= cols; c += 4) {
        v128.store(y, apply4<O>(operand, v128.load(x)));
        x += 16;
        y += 16;
      }
    } else {
      for (; c + 4 <= cols; c += 4) {
        v128.store(y, apply4<O>(v128.load(x), operand));
        x += 16;
        y += 16;
      }
    }
    for (; c < cols; c++) {
      const swap = !isCommutative<O>() && isReversed;
      const left = swap ? s : x;
      const right = swap ? x : s;
      store<f32>(y, apply1<O>(load<f32>(left), load<f32>(right)));
      x += 4;
      y += 4;
    }
    s += step;
  }
}

function applyAny(operator: i32, a: f32, b: f32): f32 {
  switch (operator) {
    case 0:
      return a + b;
    case 1:
      return a - b;
    case 2:
      return a * b;
    case 3:
      return a / b;
    case 4:
      return max(a, b);
    case 5:
      return min(a, b);
    case 6:
      return f32(a > b);
    case 7:
      return f32(a >= b);
    default:
      return f32(a == b);
  }
}

/** `a`, `b`, `y`: [n] f32, `y` may be one of them. */
export function aluTensor_f32(operator: i32, n: i32, a: usize, b: usize, y: usize): void {
  if (operator == 0) tensor<Add>(n, a, b, y);
  else if (operator == 1) tensor<Subtract>(n, a, b, y);
  else if (operator == 2) tensor<Multiply>(n, a, b, y);
  else if (operator == 3) tensor<Divide>(n, a, b, y);
  else if (operator == 4) tensor<Max>(n, a, b, y);
  else if (operator == 5) tensor<Min>(n, a, b, y);
  else if (operator == 6) tensor<Greater>(n, a, b, y);
  else if (operator == 7) tensor<GreaterEqual>(n, a, b, y);
  else tensor<Equal>(n, a, b, y);
}

/** `x`, `y`: [rows, cols] f32, `y` may be `x`; `s`: [rows] f32, `step` 4, or one number, `step` 0. */
export function aluScalar_f32(
  operator: i32,
  rows: i32,
  cols: i32,
  x: usize,
  s: usize,
  step: usize,
  isReversed: i32,
  y: usize,
): void {
  if (operator == 0) scalar<Add>(rows, cols, x, s, step, isReversed, y);
  else if (operator == 1) scalar<Subtract>(rows, cols, x, s, step, isReversed, y);
  else if (operator == 2) scalar<Multiply>(rows, cols, x, s, step, isReversed, y);
  else if (operator == 3) scalar<Divide>(rows, cols, x, s, step, isReversed, y);
  else if (operator == 4) scalar<Max>(rows, cols, x, s, step, isReversed, y);
  else if (operator == 5) scalar<Min>(rows, cols, x, s, step, isReversed, y);
  else if (operator == 6) scalar<Greater>(rows, cols, x, s, step, isReversed, y);
  else if (operator == 7) scalar<GreaterEqual>(rows, cols, x, s, step, isReversed, y);
  else scalar<Equal>(rows, cols, x, s, step, isReversed, y);
}

/** `a`, `b`, `y`: [rows, cols] f32, `y` may be one of them; `s` as of `aluScalar_f32`. */
export function scan_f32(
  first: i32,
  second: i32,
  rows: i32,
  cols: i32,
  a: usize,
  b: usize,
  s: usize,
  step: usize,
  y: usize,
): void {
  // The recurrence of state-space models has a loop of its own.
  const isLinear = first == 2 && second == 0;
  for (let row = 0; row < rows; row++) {
    let state = load<f32>(s);
    for (let c = 0; c < cols; c++) {
      if (isLinear) state = state * load<f32>(a) + load<f32>(b);
      else state = applyAny(second, applyAny(first, state, load<f32>(a)), load<f32>(b));
      store<f32>(y, state);
      a += 4;
      b += 4;
      y += 4;
    }
    s += step;
  }
}

/** `x`, `y`: [n] f32, `y` may be `x`. */
export function log_f32(n: i32, x: usize, y: usize): void {
  for (let i = 0; i < n; i++) {
    const value = load<f32>(x + (i << 2));
    store<f32>(y + (i << 2), value < 0 ? f32(NaN) : log(value));
  }
}
