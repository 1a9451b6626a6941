/**
 * Activations, elementwise on FP32:
 *
 *     exp, silu, gelu in its tanh form, swiglu       one exponential an element: see exp.ts
 *     tanh    x P(x^2) / Q(x^2), |x| <= 7.9          beyond, the result rounds to +-1
 *     erf     x P(x^2) / Q(x^2), |x| <= 4
 *     gelu    x (1 + erf(x / sqrt 2)) / 2            absolute precision where erf is near -1, as in other libraries
 *
 * see: Eigen, GenericPacketMathFunctions.h (generic_fast_tanh_float, generic_fast_erf_float) for the fractions.
 */
import { madd4 } from './element';
import { Exp, exponentials, GeluTanh, Silu, Swiglu } from './exp';

class Tanh {}
class Erf {}
class Gelu {}

// biome-ignore format: one row for each constant
const TANH: usize = memory.data<f32>([
  7.905311107635498, 7.905311107635498, 7.905311107635498, 7.905311107635498,
  -2.76076847742355e-16, -2.76076847742355e-16, -2.76076847742355e-16, -2.76076847742355e-16,
  2.00018790482477e-13, 2.00018790482477e-13, 2.00018790482477e-13, 2.00018790482477e-13,
  -8.60467152213735e-11, -8.60467152213735e-11, -8.60467152213735e-11, -8.60467152213735e-11,
  5.12229709037114e-8, 5.12229709037114e-8, 5.12229709037114e-8, 5.12229709037114e-8,
  1.48572235717979e-5, 1.48572235717979e-5, 1.48572235717979e-5, 1.48572235717979e-5,
  6.37261928875436e-4, 6.37261928875436e-4, 6.37261928875436e-4, 6.37261928875436e-4,
  4.89352455891786e-3, 4.89352455891786e-3, 4.89352455891786e-3, 4.89352455891786e-3,
  0, 0, 0, 0,
  1.19825839466702e-6, 1.19825839466702e-6, 1.19825839466702e-6, 1.19825839466702e-6,
  1.18534705686654e-4, 1.18534705686654e-4, 1.18534705686654e-4, 1.18534705686654e-4,
  2.26843463243900e-3, 2.26843463243900e-3, 2.26843463243900e-3, 2.26843463243900e-3,
  4.89352518554385e-3, 4.89352518554385e-3, 4.89352518554385e-3, 4.89352518554385e-3,
], 16);

// biome-ignore format: one row for each constant
const ERF: usize = memory.data<f32>([
  4, 4, 4, 4,
  -2.72614225801306e-10, -2.72614225801306e-10, -2.72614225801306e-10, -2.72614225801306e-10,
  2.77068142495902e-8, 2.77068142495902e-8, 2.77068142495902e-8, 2.77068142495902e-8,
  -2.10102402082508e-6, -2.10102402082508e-6, -2.10102402082508e-6, -2.10102402082508e-6,
  -5.69250639462346e-5, -5.69250639462346e-5, -5.69250639462346e-5, -5.69250639462346e-5,
  -7.34990630326855e-4, -7.34990630326855e-4, -7.34990630326855e-4, -7.34990630326855e-4,
  -2.95459980854025e-3, -2.95459980854025e-3, -2.95459980854025e-3, -2.95459980854025e-3,
  -1.60960333262415e-2, -1.60960333262415e-2, -1.60960333262415e-2, -1.60960333262415e-2,
  -1.45660718464996e-5, -1.45660718464996e-5, -1.45660718464996e-5, -1.45660718464996e-5,
  -2.13374055278905e-4, -2.13374055278905e-4, -2.13374055278905e-4, -2.13374055278905e-4,
  -1.68282697438203e-3, -1.68282697438203e-3, -1.68282697438203e-3, -1.68282697438203e-3,
  -7.37332916720468e-3, -7.37332916720468e-3, -7.37332916720468e-3, -7.37332916720468e-3,
  -1.42647390514189e-2, -1.42647390514189e-2, -1.42647390514189e-2, -1.42647390514189e-2,
], 16);
const GELU: usize = memory.data<f32>(
  [0.7071067811865476, 0.7071067811865476, 0.7071067811865476, 0.7071067811865476, 0.5, 0.5, 0.5, 0.5],
  16,
);

/** The odd function of the fraction in `table`, clamped to its range; a NaN stays one (the order of pmin, pmax). */
function fraction4(x: v128, table: usize): v128 {
  const limit = v128.load(table);
  const z = f32x4.pmin(f32x4.pmax(x, f32x4.neg(limit)), limit);
  const t = f32x4.mul(z, z);
  let p = madd4(v128.load(table, 16), t, v128.load(table, 32));
  p = madd4(p, t, v128.load(table, 48));
  p = madd4(p, t, v128.load(table, 64));
  p = madd4(p, t, v128.load(table, 80));
  p = madd4(p, t, v128.load(table, 96));
  p = madd4(p, t, v128.load(table, 112));
  let q = madd4(v128.load(table, 128), t, v128.load(table, 144));
  q = madd4(q, t, v128.load(table, 160));
  q = madd4(q, t, v128.load(table, 176));
  q = madd4(q, t, v128.load(table, 192));
  // The quotient first: the product of a subnormal and P would lose digits.
  return f32x4.mul(z, f32x4.div(p, q));
}

function rational4<Op>(x: v128): v128 {
  if (idof<Op>() == idof<Tanh>()) return fraction4(x, TANH);
  if (idof<Op>() == idof<Erf>()) return fraction4(x, ERF);
  const half = f32x4.mul(x, v128.load(GELU, 16));
  return f32x4.add(half, f32x4.mul(half, fraction4(f32x4.mul(x, v128.load(GELU)), ERF)));
}

/** y[i] = Op(x[i]) for `vectors` x 4 elements. */
function vectors4<Op>(vectors: i32, x: usize, y: usize): void {
  if (vectors > 0) {
    do {
      v128.store(y, rational4<Op>(v128.load(x)));
      x += 16;
      y += 16;
    } while (--vectors > 0);
  }
}

/** y[i] = Op(x[i]), i < n, the last ones through a padded vector at `scratch`, 16 bytes. */
function rational<Op>(n: i32, x: usize, y: usize, scratch: usize): void {
  vectors4<Op>(n >> 2, x, y);
  const whole = usize(n & ~3) << 2;
  const rest = usize(n & 3) << 2;
  memory.copy(scratch, x + whole, rest);
  vectors4<Op>(1, scratch, scratch);
  memory.copy(y + whole, scratch, rest);
}

/** `x`, `y`: [n] f32, `y` may be `x`. `scratch`: 128 bytes. */
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

/** y = silu(gate) up; `gate`, `up`, `y`: [n] f32, `y` may be one of them. `scratch`: 128 bytes. */
export function swiglu_f32(n: i32, gate: usize, up: usize, y: usize, scratch: usize): void {
  exponentials<Swiglu>(n, gate, up, 0, 1, y, scratch);
}

/** Arguments as of `exp_f32`. */
export function tanh_f32(n: i32, x: usize, y: usize, scratch: usize): void {
  rational<Tanh>(n, x, y, scratch);
}

/** Arguments as of `exp_f32`. */
export function erf_f32(n: i32, x: usize, y: usize, scratch: usize): void {
  rational<Erf>(n, x, y, scratch);
}

/** Arguments as of `exp_f32`. */
export function gelu_f32(n: i32, x: usize, y: usize, scratch: usize): void {
  rational<Gelu>(n, x, y, scratch);
}
