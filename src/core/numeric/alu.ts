/**
 * What the lanes of VectorE, ScalarE and GpSimdE compute, on FP32. Operands and results are byte addresses of FP32
 * numbers without gaps.
 *
 * + - * / are correctly rounded: computed in double precision from FP32 and rounded to FP32, which is the same. NaN
 * goes through max and min. exp, tanh, erf, silu and gelu are the kernels' (`kernels/activation.ts` says how exact); log,
 * softplus and sigmoid are computed here in double precision with `base/math.ts` and rounded to FP32.
 * The hardware looks its functions up in tables, whose errors AWS does not publish; the ranges for which the tables are
 * meant (exp up to 88.7, gelu and silu without NaN for infinities ...) are not refused.
 */
import { exp, log } from '../../base/math.ts';
import { ACTIVATION_SCRATCH_BYTES } from '../../kernels/activation.ts';
import type { Arena } from '../../kernels/arena.ts';
import type { ActivationFunction, AluOperator } from '../instructions.ts';

/** a (operator) b in double precision; comparisons give 1 or 0. */
export function alu(operator: AluOperator, a: number, b: number): number {
  switch (operator) {
    case 'add':
      return a + b;
    case 'subtract':
      return a - b;
    case 'multiply':
      return a * b;
    case 'divide':
      return a / b;
    case 'max':
      return Math.max(a, b);
    case 'min':
      return Math.min(a, b);
    case 'is_gt':
      return a > b ? 1 : 0;
    case 'is_ge':
      return a >= b ? 1 : 0;
    case 'is_equal':
      return a === b ? 1 : 0;
  }
}

/** y[i] = fn(y[i]), i < n. */
export type Activate = (n: number, y: number) => void;

/** A function of one number, given by a loop over the numbers so that each is a loop of its own to the compiler. */
type Loop = (y: Float32Array) => void;

const LOOPS: Readonly<Partial<Record<ActivationFunction, Loop>>> = {
  copy: () => {},
  log: (y) => {
    for (let i = 0; i < y.length; i++) y[i] = log(y[i]!);
  },
  reciprocal: (y) => {
    for (let i = 0; i < y.length; i++) y[i] = 1 / y[i]!;
  },
  relu: (y) => {
    for (let i = 0; i < y.length; i++) y[i] = Math.max(y[i]!, 0);
  },
  rsqrt: (y) => {
    for (let i = 0; i < y.length; i++) y[i] = 1 / Math.sqrt(y[i]!);
  },
  sigmoid: (y) => {
    for (let i = 0; i < y.length; i++) y[i] = 1 / (1 + exp(-y[i]!));
  },
  // ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|). Where e^-|x| is below 2^-30 it is its own logarithm: 1 + it would be 1.
  softplus: (y) => {
    for (let i = 0; i < y.length; i++) {
      const x = y[i]!;
      const small = exp(-Math.abs(x));
      y[i] = Math.max(x, 0) + (small < 2 ** -30 ? small : log(1 + small));
    }
  },
  sqrt: (y) => {
    for (let i = 0; i < y.length; i++) y[i] = Math.sqrt(y[i]!);
  },
  square: (y) => {
    for (let i = 0; i < y.length; i++) y[i] = y[i]! * y[i]!;
  },
};

const KERNELS = {
  exp: 'exp_f32',
  gelu: 'gelu_f32',
  gelu_tanh: 'geluTanh_f32',
  silu: 'silu_f32',
  tanh: 'tanh_f32',
} as const;

/** The function as it runs over the memory of `arena`. */
export function activation(arena: Arena, fn: ActivationFunction): Activate {
  const loop = LOOPS[fn];
  if (loop !== undefined) return (n, y) => loop(new Float32Array(arena.memory.buffer, y, n));
  const kernel = arena.kernels[KERNELS[fn as keyof typeof KERNELS]];
  const scratch = arena.scratch('activation', ACTIVATION_SCRATCH_BYTES);
  return (n, y) => kernel(n, y, y, scratch);
}
