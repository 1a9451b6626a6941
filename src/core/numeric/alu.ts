/**
 * What the lanes of VectorE, ScalarE and GpSimdE compute, on FP32 numbers without gaps, given by their byte addresses.
 *
 * + - * / are the kernels' and rounded once; NaN goes through max and min. exp, tanh, erf, silu and gelu are the kernels'
 * too (`kernels/activation.ts` says how exact), log is within 1 ulp, and on top of them
 *
 *     sigmoid     1 / (1 + e^-x)                          4 ulp
 *     softplus    max(x, 0) + ln(1 + e^-|x|)              4 ulp: ln(1 + e) = 2 (s + s^3/3 + ...), s = e / (2 + e) <= 1/3
 *
 * The hardware looks its functions up in tables, whose errors AWS does not publish; the ranges for which the tables are
 * meant (exp up to 88.7, gelu and silu without NaN for infinities ...) are not refused.
 */
import { ACTIVATION_SCRATCH_BYTES } from '../../kernels/activation.ts';
import { type ActivationFunction, ALU_OPERATORS, type AluOperator } from '../instructions.ts';
import type { EngineMemory } from './engine.ts';

/** The number by which the kernels know an operator. */
export function operatorCode(operator: AluOperator): number {
  return ALU_OPERATORS.indexOf(operator);
}

/** y[i] = fn(x[i]), i < n; `y` may be `x`. */
export type Activate = (n: number, x: number, y: number) => void;

/** A function of one number, as a loop of its own: one loop that calls them all would be several times slower. */
type Loop = (n: number, x: Float32Array, y: Float32Array) => void;

const LOOPS: Readonly<Partial<Record<ActivationFunction, Loop>>> = {
  copy: (_, x, y) => y.set(x),
  reciprocal: (n, x, y) => {
    for (let i = 0; i < n; i++) y[i] = 1 / x[i]!;
  },
  relu: (n, x, y) => {
    for (let i = 0; i < n; i++) y[i] = Math.max(x[i]!, 0);
  },
  rsqrt: (n, x, y) => {
    for (let i = 0; i < n; i++) y[i] = 1 / Math.sqrt(x[i]!);
  },
  sqrt: (n, x, y) => {
    for (let i = 0; i < n; i++) y[i] = Math.sqrt(x[i]!);
  },
  square: (n, x, y) => {
    for (let i = 0; i < n; i++) y[i] = x[i]! * x[i]!;
  },
};

const KERNELS = {
  exp: 'exp_f32',
  gelu: 'gelu_f32',
  gelu_tanh: 'geluTanh_f32',
  silu: 'silu_f32',
  tanh: 'tanh_f32',
} as const;

/** ln(1 + e), 0 <= e <= 1, in double precision: what follows the term of s^19 is below 2^-32 of the sum. */
function log1p(e: number): number {
  const s = e / (2 + e);
  const t = s * s;
  let sum = 0;
  for (let k = 19; k >= 3; k -= 2) sum = t * (1 / k + sum);
  return 2 * s * (1 + sum);
}

/** The function for up to `count` numbers at a time. */
export function activation(memory: EngineMemory, fn: ActivationFunction, count: number): Activate {
  const loop = LOOPS[fn];
  if (loop !== undefined) {
    return (n, x, y) => {
      const { buffer } = memory.floats;
      loop(n, new Float32Array(buffer, x, n), new Float32Array(buffer, y, n));
    };
  }
  const { arena } = memory;
  const { kernels } = arena;
  if (fn === 'log') return (n, x, y) => kernels.log_f32(n, x, y);
  const scratch = arena.scratch('activation', ACTIVATION_SCRATCH_BYTES);
  if (fn === 'sigmoid' || fn === 'softplus') {
    const powers = memory.reserve('powers', count * 4);
    return (n, x, y) => {
      const { floats } = memory;
      const [from, to, e] = [x >> 2, y >> 2, powers.address >> 2];
      const isSigmoid = fn === 'sigmoid';
      for (let i = 0; i < n; i++) floats[e + i] = isSigmoid ? -floats[from + i]! : -Math.abs(floats[from + i]!);
      kernels.exp_f32(n, powers.address, powers.address, scratch);
      if (isSigmoid) for (let i = 0; i < n; i++) floats[to + i] = 1 / (1 + floats[e + i]!);
      else for (let i = 0; i < n; i++) floats[to + i] = Math.max(floats[from + i]!, 0) + log1p(floats[e + i]!);
    };
  }
  const kernel = kernels[KERNELS[fn as keyof typeof KERNELS]];
  return (n, x, y) => kernel(n, x, y, scratch);
}
