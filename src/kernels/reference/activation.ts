/**
 * Activations by their formulas, in double precision.
 *
 *     erf x = 2 / sqrt(pi) e^(-x^2) (x + 2 x^3 / 3 + 4 x^5 / 15 + ...)                       |x| < 3
 *     erf x = 1 - e^(-x^2) / (sqrt(pi) (x + (1/2) / (x + 1 / (x + (3/2) / (x + ...)))))      beyond
 *
 * see: Abramowitz, Stegun: Handbook of Mathematical Functions, 7.1.6 and 7.1.14.
 */
import { exp } from '../../base/math.ts';
import { type Numbers, plain, type Reference, reference } from './reference.ts';

const SQRT_PI = 1.772453850905516;
const SQRT_2_OVER_PI = 0.7978845608028654;

/** erf x to about 1e-15. */
export function erfValue(x: number): number {
  if (Number.isNaN(x)) return NaN;
  const t = Math.abs(x);
  if (t > 6) return Math.sign(x);
  if (t < 3) {
    let term = x;
    let sum = x;
    for (let n = 1; n < 100; n++) {
      term *= (2 * x * x) / (2 * n + 1);
      sum += term;
    }
    return (2 / SQRT_PI) * exp(-x * x) * sum;
  }
  let fraction = t;
  for (let n = 60; n >= 1; n--) fraction = t + n / 2 / fraction;
  return Math.sign(x) * (1 - exp(-x * x) / (SQRT_PI * fraction));
}

/** tanh x = (1 - e^-2|x|) / (1 + e^-2|x|) with the sign of x; by its series where that cancels. */
export function tanhValue(x: number): number {
  if (Math.abs(x) < 1e-3) return x - (x * x * x) / 3 + (2 * x * x * x * x * x) / 15;
  const e = exp(-2 * Math.abs(x));
  return (Math.sign(x) * (1 - e)) / (1 + e);
}

export function expReference(x: Numbers): Reference {
  return reference(x.length, (i) => plain(exp(x[i]!)));
}

export function tanhReference(x: Numbers): Reference {
  return reference(x.length, (i) => plain(tanhValue(x[i]!)));
}

export function erfReference(x: Numbers): Reference {
  return reference(x.length, (i) => plain(erfValue(x[i]!)));
}

function silu(x: number): number {
  return x / (1 + exp(-x));
}

export function siluReference(x: Numbers): Reference {
  return reference(x.length, (i) => plain(silu(x[i]!)));
}

export function swigluReference(gate: Numbers, up: Numbers): Reference {
  return reference(gate.length, (i) => plain(silu(gate[i]!) * up[i]!));
}

/** The magnitude is that of the two halves that are added: x / 2 and x erf / 2. */
export function geluReference(x: Numbers): Reference {
  return reference(x.length, (i) => [(x[i]! * (1 + erfValue(x[i]! / Math.SQRT2))) / 2, Math.abs(x[i]!)]);
}

/** As x / (1 + e^-2u), which does not cancel. The rounding of 2 u is a relative error of e^-2u. */
export function geluTanhReference(x: Numbers): Reference {
  return reference(x.length, (i) => {
    const u = SQRT_2_OVER_PI * (x[i]! + 0.044715 * x[i]! * x[i]! * x[i]!);
    const value = x[i]! / (1 + exp(-2 * u));
    return [value, Math.abs(value) * (1 + Math.abs(2 * u))];
  });
}
