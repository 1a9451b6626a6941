/**
 * The exponentials of the relaxed build, which has a fused multiply-add:
 *
 *     e^(s x) = 2^n 2^f,  s x log2 e = n + f,  |f| <= 1/2        n + 127 - c are the low bits of fma(x, high, ROUND - c)
 *     f = fma(x, low, fma(x, high, -n))                          s log2 e = high + low; the inner one is exact but for 2^-24
 *     2^n 2^f = fma(2^n f, c1 + f (c2 + f (c3 + f (c4 + f c5))), 2^n)
 *
 * Weights are relative to 2^c, the power of two above their maximum, because a power of two costs nothing: c is a part of
 * the constant that rounds. Nine constants then and five values are what the registers hold, so that one vector an iteration
 * is the fastest form, in Horner's order: 2.4 G/s, and with what a softmax does around it 2.0 (four vectors side by side with
 * constants from memory, as in the plain build: 1.4).
 *
 * At most 2.4 ulp. The coefficients are a minimax fit of degree 5 with 1 as its constant.
 */
import { horizontalSum } from './element';
import { exponent4, isWeight, ROUND, result4, Swiglu, scaled4, WeightSum, Weights } from './exp-operators';

const LOG2E: f64 = 1.4426950408889634;
const LOG2E_HIGH: f32 = 1.4426950216293335;
const LOG2E_LOW: f32 = 1.925963033500011e-8;

// Constants come from memory, once, before the loop: V8 would build a vector constant anew each time it is met.
// biome-ignore format: one row for each constant
const TABLE: usize = memory.data<f32>([
  ROUND, ROUND, ROUND, ROUND,
  LOG2E_HIGH, LOG2E_HIGH, LOG2E_HIGH, LOG2E_HIGH,
  LOG2E_LOW, LOG2E_LOW, LOG2E_LOW, LOG2E_LOW,
  1, 1, 1, 1,
  0.6931470036506653, 0.6931470036506653, 0.6931470036506653, 0.6931470036506653,
  0.24022240936756134, 0.24022240936756134, 0.24022240936756134, 0.24022240936756134,
  0.055507343262434006, 0.055507343262434006, 0.055507343262434006, 0.055507343262434006,
  0.00967156607657671, 0.00967156607657671, 0.00967156607657671, 0.00967156607657671,
  0.0013264658628031611, 0.0013264658628031611, 0.0013264658628031611, 0.0013264658628031611,
], 16);

/**
 * y[i] = Op(x[i]) for `vectors` x 4 elements; returns the sum of the weights (0 for other operators). Arguments as of
 * `exponentials`; the maximum of four columns ahead is kept at `best`.
 */
export function fusedVectors<Op>(vectors: i32, x: usize, up: usize, top: f32, scale: f32, y: usize, best: usize): f32 {
  const rate = f64(scale) * LOG2E;
  const rateHigh = f32(rate);
  const c = ceil(top * rateHigh);
  const round = isWeight<Op>() ? f32x4.splat(ROUND - c) : v128.load(TABLE);
  const high = isWeight<Op>() ? f32x4.splat(rateHigh) : v128.load(TABLE, 16);
  const low = isWeight<Op>() ? f32x4.splat(f32(rate - f64(rateHigh))) : v128.load(TABLE, 32);
  // Where n - c is -127, which makes 2^n 0.
  const lowest = f32x4.splat((c - 127) / rateHigh);
  const one = v128.load(TABLE, 48);
  const c1 = v128.load(TABLE, 64);
  const c2 = v128.load(TABLE, 80);
  const c3 = v128.load(TABLE, 96);
  const c4 = v128.load(TABLE, 112);
  const c5 = v128.load(TABLE, 128);
  let sum = f32x4.splat(0);
  let ahead = v128.load(best);
  if (vectors > 0) {
    do {
      if (idof<Op>() == idof<Weights>()) ahead = f32x4.pmax(ahead, v128.load(up));
      const v = v128.load(x);
      const z = isWeight<Op>() ? f32x4.pmax(v, lowest) : exponent4<Op>(v);
      const t = f32x4.relaxed_madd(z, high, round);
      const f = f32x4.relaxed_madd(z, low, f32x4.relaxed_madd(z, high, f32x4.sub(round, t)));
      let q = f32x4.relaxed_madd(f, c5, c4);
      q = f32x4.relaxed_madd(f, q, c3);
      q = f32x4.relaxed_madd(f, q, c2);
      q = f32x4.relaxed_madd(f, q, c1);
      let e: v128;
      if (isWeight<Op>()) {
        const power = i32x4.shl(t, 23);
        e = f32x4.relaxed_madd(f32x4.mul(power, f), q, power);
        sum = f32x4.add(sum, e);
      } else {
        e = scaled4<Op>(f32x4.relaxed_madd(f, q, one), t);
      }
      if (idof<Op>() != idof<WeightSum>()) v128.store(y, result4<Op>(e, x, up));
      x += 16;
      y += 16;
      if (idof<Op>() == idof<Swiglu>() || idof<Op>() == idof<Weights>()) up += 16;
    } while (--vectors > 0);
  }
  if (idof<Op>() == idof<Weights>()) v128.store(best, ahead);
  return horizontalSum(sum);
}
