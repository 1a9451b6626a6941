/**
 * Activations, elementwise on FP32:
 *
 *     exp, silu, gelu in its tanh form, swiglu       one exponential an element: see exp.ts
 *     tanh    x P(x^2) / Q(x^2), |x| <= 9.03         beyond, the result is +-1
 *     erf     x P(x^2) / Q(x^2), |x| <= 4.05
 *     gelu    x (1/2 + x P(x^2) / Q(x^2))            the fraction is erf(x / sqrt 2) / 2, |x| <= 5.37: 1/2 beyond
 *
 * P and Q have degree 5 and positive coefficients, so no sum cancels. The coefficients are a minimax fit in relative
 * error (absolute for gelu), moved by last places until both builds give exactly 1 (1/2) at the limit; rounding inside
 * it could give a little more, so the quotient is clamped.
 */
import { madd4 } from './element';
import { exponentials } from './exp';
import { Exp, GeluTanh, Silu, Swiglu } from './exp-operators';

// Each table: the limit of |x|; P from x^10 down; Q from x^8 down, as its first coefficient is 1; the largest result.
// biome-ignore format: a line for each polynomial
const TANH: usize = memory.data<f32>([
  9.02930736541748,
  0.0124589242041111, 37.65196990966797, 14306.62890625, 1497301.25, 47689652, 338225984,
  881.4874267578125, 169458.796875, 9877724, 160431600, 338226016,
  1,
], 16);

// biome-ignore format: a line for each polynomial
const ERF: usize = memory.data<f32>([
  4.046867370605469,
  0.05309363827109337, 7.604659557342529, 103.77865600585938, 1419.0748291015625, 5172.26025390625, 30154.341796875,
  31.683141708374023, 406.3958740234375, 3082.583251953125, 13491.638671875, 26723.591796875,
  1,
], 16);

// biome-ignore format: a line for each polynomial
const GELU: usize = memory.data<f32>([
  5.36761999130249,
  0.01922314614057541, 5.227746486663818, 135.0679931640625, 3822.860107421875, 27431.001953125, 327918.21875,
  59.510921478271484, 1528.029052734375, 23326.4375, 205753.734375, 821969.0625,
  0.5,
], 16);

/**
 * y[i] = the function of `table` at x[i], for `blocks` x 16 elements; `y` may be `x`. Four vectors share the loads of the
 * constants. One function for all tables: a copy for gelu, with fixed addresses, spills on Node 20 and is half as fast.
 */
function blocks16(blocks: i32, x: usize, y: usize, table: usize): void {
  if (blocks > 0) {
    do {
      // A NaN stays one, by the order of operands of pmin and pmax.
      const limit = v128.load32_splat(table);
      const low = f32x4.neg(limit);
      const za = f32x4.pmin(f32x4.pmax(v128.load(x), low), limit);
      const zb = f32x4.pmin(f32x4.pmax(v128.load(x, 16), low), limit);
      const zc = f32x4.pmin(f32x4.pmax(v128.load(x, 32), low), limit);
      const zd = f32x4.pmin(f32x4.pmax(v128.load(x, 48), low), limit);
      const ta = f32x4.mul(za, za);
      const tb = f32x4.mul(zb, zb);
      const tc = f32x4.mul(zc, zc);
      const td = f32x4.mul(zd, zd);
      let c = v128.load32_splat(table, 4);
      const d = v128.load32_splat(table, 8);
      let pa = madd4(c, ta, d);
      let pb = madd4(c, tb, d);
      let pc = madd4(c, tc, d);
      let pd = madd4(c, td, d);
      c = v128.load32_splat(table, 28);
      let qa = f32x4.add(ta, c);
      let qb = f32x4.add(tb, c);
      let qc = f32x4.add(tc, c);
      let qd = f32x4.add(td, c);
      c = v128.load32_splat(table, 12);
      pa = madd4(pa, ta, c);
      pb = madd4(pb, tb, c);
      pc = madd4(pc, tc, c);
      pd = madd4(pd, td, c);
      c = v128.load32_splat(table, 32);
      qa = madd4(qa, ta, c);
      qb = madd4(qb, tb, c);
      qc = madd4(qc, tc, c);
      qd = madd4(qd, td, c);
      c = v128.load32_splat(table, 16);
      pa = madd4(pa, ta, c);
      pb = madd4(pb, tb, c);
      pc = madd4(pc, tc, c);
      pd = madd4(pd, td, c);
      c = v128.load32_splat(table, 36);
      qa = madd4(qa, ta, c);
      qb = madd4(qb, tb, c);
      qc = madd4(qc, tc, c);
      qd = madd4(qd, td, c);
      c = v128.load32_splat(table, 20);
      pa = madd4(pa, ta, c);
      pb = madd4(pb, tb, c);
      pc = madd4(pc, tc, c);
      pd = madd4(pd, td, c);
      c = v128.load32_splat(table, 40);
      qa = madd4(qa, ta, c);
      qb = madd4(qb, tb, c);
      qc = madd4(qc, tc, c);
      qd = madd4(qd, td, c);
      c = v128.load32_splat(table, 24);
      pa = madd4(pa, ta, c);
      pb = madd4(pb, tb, c);
      pc = madd4(pc, tc, c);
      pd = madd4(pd, td, c);
      c = v128.load32_splat(table, 44);
      qa = madd4(qa, ta, c);
      qb = madd4(qb, tb, c);
      qc = madd4(qc, tc, c);
      qd = madd4(qd, td, c);
      // The quotient first: the product of a subnormal and P would lose digits.
      pa = f32x4.mul(za, f32x4.div(pa, qa));
      pb = f32x4.mul(zb, f32x4.div(pb, qb));
      pc = f32x4.mul(zc, f32x4.div(pc, qc));
      pd = f32x4.mul(zd, f32x4.div(pd, qd));
      c = v128.load32_splat(table, 48);
      const least = f32x4.neg(c);
      pa = f32x4.pmin(f32x4.pmax(pa, least), c);
      pb = f32x4.pmin(f32x4.pmax(pb, least), c);
      pc = f32x4.pmin(f32x4.pmax(pc, least), c);
      pd = f32x4.pmin(f32x4.pmax(pd, least), c);
      if (table == GELU) {
        pa = f32x4.mul(v128.load(x), f32x4.add(pa, c));
        pb = f32x4.mul(v128.load(x, 16), f32x4.add(pb, c));
        pc = f32x4.mul(v128.load(x, 32), f32x4.add(pc, c));
        pd = f32x4.mul(v128.load(x, 48), f32x4.add(pd, c));
      }
      v128.store(y, pa);
      v128.store(y, pb, 16);
      v128.store(y, pc, 32);
      v128.store(y, pd, 48);
      x += 64;
      y += 64;
    } while (--blocks > 0);
  }
}

/** y[i] = the function of `table` at x[i], i < n, the last n mod 16 through a padded block at `scratch`, by the same code. */
function rational(n: i32, x: usize, y: usize, table: usize, scratch: usize): void {
  blocks16(n >> 4, x, y, table);
  const whole = usize(n & ~15) << 2;
  const rest = usize(n & 15) << 2;
  memory.copy(scratch, x + whole, rest);
  blocks16(1, scratch, scratch, table);
  memory.copy(y + whole, scratch, rest);
}

/** `x`, `y`: [n] f32, `y` may be `x`. `scratch`: 144 bytes. */
export function exp_f32(n: i32, x: usize, y: usize, scratch: usize): void {
  exponentials<Exp>(n, x, 0, 0, 1, y, scratch);
}

/** Arguments as of `exp_f32`. */
export function silu_f32(n: i32, x: usize, y: usize, scratch: usize): void {
  exponentials<Silu>(n, x, 0, 0, 1, y, scratch);
}

/** Arguments as of `exp_f32`. */
export function geluTanh_f32(n: i32, x: usize, y: usize, scratch: usize): void {
  exponentials<GeluTanh>(n, x, 0, 0, 1, y, scratch);
}

/** y = silu(gate) up; `gate`, `up`, `y`: [n] f32, `y` may be one of them. `scratch`: 144 bytes. */
export function swiglu_f32(n: i32, gate: usize, up: usize, y: usize, scratch: usize): void {
  exponentials<Swiglu>(n, gate, up, 0, 1, y, scratch);
}

/** Arguments as of `exp_f32`. */
export function tanh_f32(n: i32, x: usize, y: usize, scratch: usize): void {
  rational(n, x, y, TANH, scratch);
}

/** Arguments as of `exp_f32`. */
export function erf_f32(n: i32, x: usize, y: usize, scratch: usize): void {
  rational(n, x, y, ERF, scratch);
}

/** Arguments as of `exp_f32`. */
export function gelu_f32(n: i32, x: usize, y: usize, scratch: usize): void {
  rational(n, x, y, GELU, scratch);
}
