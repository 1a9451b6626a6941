/**
 * The exponential and the operators that are one exponential per element (exp-operators.ts), over any number of elements.
 * The plain build takes 16 at a time (exp-plain.ts), the relaxed one 4 (exp-fused.ts); both are within 2.5 ulp.
 */

import { fusedVectors } from './exp-fused';
import { Swiglu, WeightSum, Weights } from './exp-operators';
import { plainBlocks } from './exp-plain';

/** Elements that a loop takes at a time. */
const STEP = ASC_FEATURE_RELAXED_SIMD ? 4 : 16;

/**
 * Largest magnitude of scale top for which weights may be relative to `top`: farther, the relaxed build could not tell the
 * weight 0 from its neighbours. Subtract the maximum first, and pass 0.
 */
export const FARTHEST_TOP: f32 = 32768;

function steps<Op>(count: i32, x: usize, up: usize, top: f32, scale: f32, y: usize, best: usize): f32 {
  if (ASC_FEATURE_RELAXED_SIMD) return fusedVectors<Op>(count, x, up, top, scale, y, best);
  return plainBlocks<Op>(count, x, up, top, scale, y);
}

/**
 * y[i] = Op(x[i]), i < n, and the sum of the weights (0 for other operators). `y` may be `x`. `up`: n elements more: of Swiglu;
 * and those of which Weights leaves the maximum at `scratch` + 128, as four lanes, in the relaxed build.
 *
 * The relaxed build's weights are e^(scale x) / 2^c, where 2^c is the power of two above e^(scale top): all, and their sum,
 * are smaller by the same factor than they should be, which a quotient of two does not show. There is none if `top` is 0.
 *
 * The last elements are computed in a padded block at `scratch` (144 bytes), by the same code: an element has the same bits
 * wherever it stands.
 */
export function exponentials<Op>(n: i32, x: usize, up: usize, top: f32, scale: f32, y: usize, scratch: usize): f32 {
  const best = scratch + 128;
  // Minus infinity, whose weight is 0, where a block is not full.
  const padding = f32x4.splat(-Infinity);
  if (idof<Op>() == idof<Weights>()) v128.store(best, padding);
  const whole = n & -STEP;
  let sum = steps<Op>(n / STEP, x, up, top, scale, y, best);
  const rest = usize(n - whole) << 2;
  if (rest > 0) {
    const done = usize(whole) << 2;
    for (let i: usize = 0; i < 128; i += 16) v128.store(scratch + i, padding);
    memory.copy(scratch, x + done, rest);
    if (idof<Op>() == idof<Swiglu>() || idof<Op>() == idof<Weights>()) memory.copy(scratch + 64, up + done, rest);
    sum += steps<Op>(1, scratch, scratch + 64, top, scale, scratch, best);
    if (idof<Op>() != idof<WeightSum>()) memory.copy(y + done, scratch, rest);
  }
  return sum;
}
