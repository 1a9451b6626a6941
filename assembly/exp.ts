/**
 * The exponential, and the operators that are one exponential per element, 16 elements at a time.
 *
 *     x = n ln 2 + r, |r| <= ln 2 / 2, n = nearest(x log2 e)       ln 2 = LN2_HIGH + LN2_LOW, n LN2_HIGH is exact
 *     e^r = (1 + c1 r) + r^2 ((c2 + c3 r) + r^2 (c4 + c5 r))       Estrin's order: half the latency of Horner's
 *     e^x = 2^n e^r
 *
 * n comes from adding 1.5 * 2^23 + 127, whose unit in the last place is 1: the sum's low bits are n + 127, an exponent
 * ready to be shifted into place. At most 2.3 ulp. Where 2^n is one factor, what is below 2^-127 is 0.
 *
 * Four vectors advance together, step by step: one vector alone waits for its own results, and constants that are loaded
 * once for four vectors need no registers of their own.
 * see: Cody, Waite: Software Manual for the Elementary Functions; the coefficients are a fit of degree 5 that minimizes
 * the error with its roundings.
 */
import { horizontalSum, madd4 } from './element';

/** e^(scale (x - top)) for x <= top, and their sum. */
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

const ROUND: f32 = 12583039; // 1.5 * 2^23 + 127
const LOG2E: f32 = 1.4426950408889634;
const LN2_HIGH: f32 = 0.693359375;
const LN2_LOW: f32 = -2.1219444005e-4;
/** Below it n is -127 and 2^n is 0. */
const LOWEST: f32 = -88;
const GELU_1: f32 = -1.5957691216057308; // -2 sqrt(2 / pi)
const GELU_3: f32 = -0.0713548162726009; // 0.044715 of it

// biome-ignore format: one row for each constant
const TABLE: usize = memory.data<f32>([
  ROUND, ROUND, ROUND, ROUND,
  LOG2E, LOG2E, LOG2E, LOG2E,
  LN2_HIGH, LN2_HIGH, LN2_HIGH, LN2_HIGH,
  LN2_LOW, LN2_LOW, LN2_LOW, LN2_LOW,
  1, 1, 1, 1,
  0.99999942, 0.99999942, 0.99999942, 0.99999942,
  0.4999913977, 0.4999913977, 0.4999913977, 0.4999913977,
  0.1666840867, 0.1666840867, 0.1666840867, 0.1666840867,
  0.04189903266, 0.04189903266, 0.04189903266, 0.04189903266,
  0.008245864636, 0.008245864636, 0.008245864636, 0.008245864636,
  LOWEST, LOWEST, LOWEST, LOWEST,
  88.7, 88.7, 88.7, 88.7,             // n = 128 from here, 2^n is infinite
  GELU_1, GELU_1, GELU_1, GELU_1,
  GELU_3, GELU_3, GELU_3, GELU_3,
  -104, -104, -104, -104,             // e^-104 rounds to 0
  89, 89, 89, 89,                     // e^89 rounds to infinity
], 16);

/** c - a b: one rounding in the relaxed build, two in the plain one. */
function nmadd4(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_nmadd(a, b, c);
  return f32x4.sub(c, f32x4.mul(a, b));
}

function isWeight<Op>(): bool {
  return idof<Op>() == idof<Weights>() || idof<Op>() == idof<WeightSum>();
}

/** Whether the exponential is a part of the result: x / (1 + e^z). */
function isGate<Op>(): bool {
  return idof<Op>() == idof<Silu>() || idof<Op>() == idof<Swiglu>() || idof<Op>() == idof<GeluTanh>();
}

/** The exponent of e, clamped to where n is in range. pmin and pmax in this order of operands pass a NaN on. */
function exponent4<Op>(x: v128, top: v128, lowest: v128): v128 {
  if (isWeight<Op>()) return f32x4.pmax(f32x4.sub(x, top), lowest);
  if (idof<Op>() == idof<Exp>()) return f32x4.pmin(f32x4.pmax(x, v128.load(TABLE, 224)), v128.load(TABLE, 240));
  let z = f32x4.neg(x);
  if (idof<Op>() == idof<GeluTanh>()) {
    z = f32x4.mul(x, madd4(f32x4.mul(x, x), v128.load(TABLE, 208), v128.load(TABLE, 192)));
  }
  return f32x4.pmin(f32x4.pmax(z, v128.load(TABLE, 160)), v128.load(TABLE, 176));
}

/** p 2^n, where the low bits of `t` are n + 127. */
function scaled4<Op>(p: v128, t: v128): v128 {
  if (idof<Op>() != idof<Exp>()) return f32x4.mul(p, i32x4.shl(t, 23));
  // In two factors: 2^n alone has no FP32 from 2^128 on and no full-precision one below 2^-126.
  const half = i32x4.shr_s(i32x4.sub(t, v128.load(TABLE)), 1);
  const one = v128.load(TABLE, 64);
  const low = i32x4.add(one, i32x4.shl(half, 23));
  return f32x4.mul(f32x4.mul(p, low), i32x4.shl(i32x4.sub(t, half), 23));
}

/** The operator's result from the exponential `e` and the element at `x`. */
function result4<Op>(e: v128, x: usize, up: usize): v128 {
  if (!isGate<Op>()) return e;
  const gate = f32x4.div(v128.load(x), f32x4.add(e, v128.load(TABLE, 64)));
  if (idof<Op>() == idof<Swiglu>()) return f32x4.mul(gate, v128.load(up));
  return gate;
}

/**
 * y[i] = Op(x[i]) for `blocks` x 16 elements; returns the sum of the weights (0 for other operators). A function of its
 * own, called for each row, so that V8 replaces its first, slow code early. `y` may be `x`.
 */
function blocks16<Op>(blocks: i32, x: usize, up: usize, top: f32, scale: f32, y: usize): f32 {
  const top4 = f32x4.splat(top);
  const scale4 = f32x4.splat(scale);
  const lowest = f32x4.splat(LOWEST / scale);
  const rate = f32x4.splat(scale * LOG2E);
  let sum = f32x4.splat(0);
  if (blocks > 0) {
    do {
      let xa = exponent4<Op>(v128.load(x), top4, lowest);
      let xb = exponent4<Op>(v128.load(x, 16), top4, lowest);
      let xc = exponent4<Op>(v128.load(x, 32), top4, lowest);
      let xd = exponent4<Op>(v128.load(x, 48), top4, lowest);
      const round = v128.load(TABLE);
      const log2e = isWeight<Op>() ? rate : v128.load(TABLE, 16);
      const ta = madd4(xa, log2e, round);
      const tb = madd4(xb, log2e, round);
      const tc = madd4(xc, log2e, round);
      const td = madd4(xd, log2e, round);
      const na = f32x4.sub(ta, round);
      const nb = f32x4.sub(tb, round);
      const nc = f32x4.sub(tc, round);
      const nd = f32x4.sub(td, round);
      const high = v128.load(TABLE, 32);
      const low = v128.load(TABLE, 48);
      if (isWeight<Op>()) {
        xa = f32x4.mul(xa, scale4);
        xb = f32x4.mul(xb, scale4);
        xc = f32x4.mul(xc, scale4);
        xd = f32x4.mul(xd, scale4);
      }
      xa = nmadd4(na, low, nmadd4(na, high, xa));
      xb = nmadd4(nb, low, nmadd4(nb, high, xb));
      xc = nmadd4(nc, low, nmadd4(nc, high, xc));
      xd = nmadd4(nd, low, nmadd4(nd, high, xd));
      const c5 = v128.load(TABLE, 144);
      const c4 = v128.load(TABLE, 128);
      const c3 = v128.load(TABLE, 112);
      const c2 = v128.load(TABLE, 96);
      const c1 = v128.load(TABLE, 80);
      const c0 = v128.load(TABLE, 64);
      const pa = madd4(xa, c1, c0);
      const pb = madd4(xb, c1, c0);
      const pc = madd4(xc, c1, c0);
      const pd = madd4(xd, c1, c0);
      const qa = madd4(xa, c3, c2);
      const qb = madd4(xb, c3, c2);
      const qc = madd4(xc, c3, c2);
      const qd = madd4(xd, c3, c2);
      const ra = madd4(xa, c5, c4);
      const rb = madd4(xb, c5, c4);
      const rc = madd4(xc, c5, c4);
      const rd = madd4(xd, c5, c4);
      xa = f32x4.mul(xa, xa);
      xb = f32x4.mul(xb, xb);
      xc = f32x4.mul(xc, xc);
      xd = f32x4.mul(xd, xd);
      const ea = scaled4<Op>(madd4(madd4(ra, xa, qa), xa, pa), ta);
      const eb = scaled4<Op>(madd4(madd4(rb, xb, qb), xb, pb), tb);
      const ec = scaled4<Op>(madd4(madd4(rc, xc, qc), xc, pc), tc);
      const ed = scaled4<Op>(madd4(madd4(rd, xd, qd), xd, pd), td);
      if (isWeight<Op>()) sum = f32x4.add(sum, f32x4.add(f32x4.add(ea, eb), f32x4.add(ec, ed)));
      if (idof<Op>() != idof<WeightSum>()) {
        v128.store(y, result4<Op>(ea, x, up));
        v128.store(y, result4<Op>(eb, x + 16, up + 16), 16);
        v128.store(y, result4<Op>(ec, x + 32, up + 32), 32);
        v128.store(y, result4<Op>(ed, x + 48, up + 48), 48);
      }
      x += 64;
      y += 64;
      if (idof<Op>() == idof<Swiglu>()) up += 64;
    } while (--blocks > 0);
  }
  return horizontalSum(sum);
}

/**
 * y[i] = Op(x[i]), i < n, and the sum of the weights. The last n mod 16 elements are computed in a padded block at
 * `scratch` (128 bytes), by the same code: an element has the same bits wherever it stands.
 */
export function exponentials<Op>(n: i32, x: usize, up: usize, top: f32, scale: f32, y: usize, scratch: usize): f32 {
  let sum = blocks16<Op>(n >> 4, x, up, top, scale, y);
  const rest = usize(n & 15) << 2;
  if (rest > 0) {
    const whole = usize(n & ~15) << 2;
    // Minus infinity, whose weight is 0, where a block is not full.
    const padding = f32x4.splat(-Infinity);
    for (let i: usize = 0; i < 64; i += 16) v128.store(scratch + i, padding);
    memory.copy(scratch, x + whole, rest);
    if (idof<Op>() == idof<Swiglu>()) memory.copy(scratch + 64, up + whole, rest);
    sum += blocks16<Op>(1, scratch, scratch + 64, top, scale, scratch);
    if (idof<Op>() != idof<WeightSum>()) memory.copy(y + whole, scratch, rest);
  }
  return sum;
}
