/**
 * The operators that are one exponential per element: what goes into it, what comes of it, and how 2^n is made. Loops over
 * them: exp-plain.ts and exp-fused.ts.
 */
import { madd4 } from './element';

/**
 * e^(scale (x - top)) for x <= top, and their sum. In the relaxed build times a factor, see `exponentials`; and on the way,
 * the maximum of as many elements at `up`: of the next row, which so comes from memory while there is work to do. (The plain
 * loop has no registers for it: 3 % slower with it.)
 */
export class Weights {}
/** The sum of the weights, which are not stored. */
export class WeightSum {}
/** e^x over the whole range of FP32, subnormal results included. */
export class Exp {}
/** x / (1 + e^-x) */
export class Silu {}
/** x up / (1 + e^-x) */
export class Swiglu {}
/** x / (1 + e^-2u), u = sqrt(2 / pi) (x + 0.044715 x^3): equal to x (1 + tanh u) / 2 */
export class GeluTanh {}

/** 1.5 * 2^23 + 127: its unit in the last place is 1, so that the low bits of x + ROUND are an exponent as FP32 holds it. */
export const ROUND: f32 = 12583039;
/** Below it n is -127 and 2^n is 0. */
const LOWEST: f32 = -88;
const GELU_1: f32 = -1.5957691216057308; // -2 sqrt(2 / pi)
const GELU_3: f32 = -0.0713548162726009; // 0.044715 of it

// biome-ignore format: one row for each constant
const TABLE: usize = memory.data<f32>([
  ROUND, ROUND, ROUND, ROUND,
  1, 1, 1, 1,
  LOWEST, LOWEST, LOWEST, LOWEST,
  88.7, 88.7, 88.7, 88.7,             // n = 128 from here, 2^n is infinite
  GELU_1, GELU_1, GELU_1, GELU_1,
  GELU_3, GELU_3, GELU_3, GELU_3,
  -104, -104, -104, -104,             // e^-104 rounds to 0
  89, 89, 89, 89,                     // e^89 rounds to infinity
], 16);

export function isWeight<Op>(): bool {
  return idof<Op>() == idof<Weights>() || idof<Op>() == idof<WeightSum>();
}

/** Whether the exponential is a part of the result: x / (1 + e^z). */
function isGate<Op>(): bool {
  return idof<Op>() == idof<Silu>() || idof<Op>() == idof<Swiglu>() || idof<Op>() == idof<GeluTanh>();
}

/** The exponent of operators that are no weights, clamped to where n is in range. pmin and pmax pass a NaN on. */
export function exponent4<Op>(x: v128): v128 {
  if (idof<Op>() == idof<Exp>()) return f32x4.pmin(f32x4.pmax(x, v128.load(TABLE, 96)), v128.load(TABLE, 112));
  let z = f32x4.neg(x);
  if (idof<Op>() == idof<GeluTanh>()) {
    z = f32x4.mul(x, madd4(f32x4.mul(x, x), v128.load(TABLE, 80), v128.load(TABLE, 64)));
  }
  return f32x4.pmin(f32x4.pmax(z, v128.load(TABLE, 32)), v128.load(TABLE, 48));
}

/** p 2^n, where the low bits of `t` are n + 127. */
export function scaled4<Op>(p: v128, t: v128): v128 {
  if (idof<Op>() != idof<Exp>()) return f32x4.mul(p, i32x4.shl(t, 23));
  // In two factors: 2^n alone has no FP32 from 2^128 on and no full-precision one below 2^-126.
  const half = i32x4.shr_s(i32x4.sub(t, v128.load(TABLE)), 1);
  const low = i32x4.add(v128.load(TABLE, 16), i32x4.shl(half, 23));
  return f32x4.mul(f32x4.mul(p, low), i32x4.shl(i32x4.sub(t, half), 23));
}

/** The operator's result from the exponential `e` and the element at `x`. */
export function result4<Op>(e: v128, x: usize, up: usize): v128 {
  if (!isGate<Op>()) return e;
  const gate = f32x4.div(v128.load(x), f32x4.add(e, v128.load(TABLE, 16)));
  if (idof<Op>() == idof<Swiglu>()) return f32x4.mul(gate, v128.load(up));
  return gate;
}
