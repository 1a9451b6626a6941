/**
 * The exponentials of the plain build:
 *
 *     x = n ln 2 + r, |r| <= ln 2 / 2, n = nearest(x log2 e)       ln 2 = LN2_HIGH + LN2_LOW, n LN2_HIGH is exact
 *     e^r = (1 + c1 r) + r^2 ((c2 + c3 r) + r^2 (c4 + c5 r))       Estrin's order: half the latency of Horner's
 *     e^x = 2^n e^r
 *
 * Four vectors advance together, step by step: one vector alone waits for its own results, and constants that are loaded
 * once for four vectors need no registers of their own. (Node 20: 1.2 G/s, one vector an iteration 0.9.)
 * see: Cody, Waite: Software Manual for the Elementary Functions; the coefficients are a fit of degree 5 that minimizes
 * the error with its roundings.
 */
import { horizontalSum, madd4 } from './element';
import { exponent4, isWeight, ROUND, result4, Swiglu, scaled4, WeightSum } from './exp-operators';

const LOG2E: f32 = 1.4426950408889634;
const LN2_HIGH: f32 = 0.693359375;
const LN2_LOW: f32 = -2.1219444005e-4;
/** Below it n is -127 and 2^n is 0. */
const LOWEST: f32 = -88;

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
], 16);

/** The exponent of e; of weights, from what they are relative to. pmax in this order of operands passes a NaN on. */
function clamped4<Op>(x: v128, top: v128, lowest: v128): v128 {
  return isWeight<Op>() ? f32x4.pmax(f32x4.sub(x, top), lowest) : exponent4<Op>(x);
}

/** c - a b */
function nmadd4(a: v128, b: v128, c: v128): v128 {
  return f32x4.sub(c, f32x4.mul(a, b));
}

/**
 * y[i] = Op(x[i]) for `blocks` x 16 elements; returns the sum of the weights (0 for other operators). A function of its
 * own, called for each row, so that V8 replaces its first, slow code early. Arguments as of `exponentials`.
 */
export function plainBlocks<Op>(blocks: i32, x: usize, up: usize, top: f32, scale: f32, y: usize): f32 {
  const top4 = f32x4.splat(top);
  const scale4 = f32x4.splat(scale);
  const lowest = f32x4.splat(LOWEST / scale);
  const rate = f32x4.splat(scale * LOG2E);
  let sum = f32x4.splat(0);
  if (blocks > 0) {
    do {
      let xa = clamped4<Op>(v128.load(x), top4, lowest);
      let xb = clamped4<Op>(v128.load(x, 16), top4, lowest);
      let xc = clamped4<Op>(v128.load(x, 32), top4, lowest);
      let xd = clamped4<Op>(v128.load(x, 48), top4, lowest);
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
