/**
 * Elementwise activations. Any float or integer format in, FP32 inside, one rounding into `out`, which may be an operand.
 *
 * | function | value                       | accuracy in FP32                                                     |
 * |----------|-----------------------------|----------------------------------------------------------------------|
 * | exp      | e^x                         | 2.5 ulp over the whole range, subnormal results included             |
 * | tanh     |                             | 6 ulp                                                                |
 * | erf      |                             | 8 ulp                                                                |
 * | silu     | x / (1 + e^-x)              | 4.5 ulp for x > -88; 0 below, where the value is under 1e-36         |
 * | gelu     | x (1 + erf(x / sqrt 2)) / 2 | 4 ulp for x > 0; below, 8 ulp of x / 2; 0 from x = -5.4 down         |
 * | geluTanh | x (1 + tanh u) / 2          | as silu; its argument's rounding adds 2^-24 times the argument       |
 *
 * with u = sqrt(2 / pi) (x + 0.044715 x^3). A NaN gives NaN; silu and gelu of -infinity give NaN, as their formulas do.
 */
import { expectOneOf } from '../base/errors.ts';
import type { Rounding } from './cast.ts';
import { expectOperands } from './layer-operands.ts';
import { storeRows } from './row-blocks.ts';
import { expectShape, type Tensor } from './tensor.ts';

type UnaryKernel = 'exp_f32' | 'tanh_f32' | 'erf_f32' | 'silu_f32' | 'gelu_f32' | 'geluTanh_f32';

/** Working space of the kernels here. */
export const ACTIVATION_SCRATCH_BYTES = 144;

function activate(kernel: UnaryKernel, x: Tensor, out: Tensor, rounding: Rounding): void {
  const { arena, length } = expectOperands({ x }, out);
  expectShape('out', out, x.shape);
  const scratch = arena.scratch('activation', ACTIVATION_SCRATCH_BYTES);
  storeRows(length, [x], out, rounding, (n, [from], y) => arena.kernels[kernel](n, from!, y, scratch));
}

/** out = e^x, equal shapes. */
export function exp(x: Tensor, out: Tensor, rounding: Rounding = 'nearest'): void {
  activate('exp_f32', x, out, rounding);
}

/** out = tanh x, equal shapes. */
export function tanh(x: Tensor, out: Tensor, rounding: Rounding = 'nearest'): void {
  activate('tanh_f32', x, out, rounding);
}

/** out = erf x, equal shapes. */
export function erf(x: Tensor, out: Tensor, rounding: Rounding = 'nearest'): void {
  activate('erf_f32', x, out, rounding);
}

/** out = silu(x) = x / (1 + e^-x), equal shapes. */
export function silu(x: Tensor, out: Tensor, rounding: Rounding = 'nearest'): void {
  activate('silu_f32', x, out, rounding);
}

export interface GeluOptions {
  /** `erf` is the definition and the default; `tanh` is the approximation that many models were trained with. */
  readonly form?: 'erf' | 'tanh';
  readonly rounding?: Rounding;
}

/**
 * out = x (1 + erf(x / sqrt 2)) / 2, or the tanh form of it; equal shapes.
 * @throws RangeError if `form` is another word.
 */
export function gelu(x: Tensor, out: Tensor, { form = 'erf', rounding = 'nearest' }: GeluOptions = {}): void {
  expectOneOf('form', form, ['erf', 'tanh']);
  activate(form === 'erf' ? 'gelu_f32' : 'geluTanh_f32', x, out, rounding);
}

/** out = silu(gate) up, equal shapes. */
export function swiglu(gate: Tensor, up: Tensor, out: Tensor, rounding: Rounding = 'nearest'): void {
  const { arena, length } = expectOperands({ gate, up }, out);
  expectShape('up', up, gate.shape);
  expectShape('out', out, gate.shape);
  const scratch = arena.scratch('activation', ACTIVATION_SCRATCH_BYTES);
  storeRows(length, [gate, up], out, rounding, (n, [g, u], y) => arena.kernels.swiglu_f32(n, g!, u!, y, scratch));
}
