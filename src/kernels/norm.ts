/**
 * Normalization of rows. Operands in their storage format, FP32 inside, one rounding into `out`.
 */
import type { Rounding } from './cast.ts';
import { expectOperands, withFloat32 } from './layer-operands.ts';
import { storeRows } from './row-blocks.ts';
import { expectMatrix, expectShape, type Tensor } from './tensor.ts';

export interface NormOptions {
  /** Added to the mean square, or to the variance; >= 0. */
  readonly epsilon: number;
  readonly rounding?: Rounding;
}

export type RmsnormOptions = NormOptions;

function expectEpsilon(epsilon: number): number {
  if (epsilon >= 0 && epsilon < Infinity) return epsilon;
  throw new RangeError(`"epsilon" expected a finite number >= 0, got ${epsilon}`);
}

/**
 * out[r, c] = x[r, c] gamma[c] / sqrt(mean_c x[r, c]^2 + epsilon); `x`, `out`: [rows, cols], `gamma`: [cols]. `out` may
 * be `x`.
 */
export function rmsnorm(x: Tensor, gamma: Tensor, out: Tensor, options: NormOptions): void {
  const { arena, dtype } = expectOperands({ x, gamma }, out);
  const [rows, cols] = expectMatrix('x', x);
  expectShape('gamma', gamma, [cols]);
  expectShape('out', out, x.shape);
  const epsilon = expectEpsilon(options.epsilon);
  const { kernels } = arena;
  const { rounding = 'nearest' } = options;
  const run = (kernel: typeof kernels.rmsnorm_f32, g: number) =>
    storeRows(rows, [x], out, rounding, (n, [from], y) => kernel(n, cols, from!, g, epsilon, y), ['f32', 'bf16']);
  if (dtype === 'bf16') run(kernels.rmsnorm_bf16, gamma.offset);
  else withFloat32([gamma], (g) => run(kernels.rmsnorm_f32, g!));
}

/**
 * out[r, c] = (x[r, c] - m_r) gamma[c] / sqrt(mean_c (x[r, c] - m_r)^2 + epsilon) + beta[c], m_r = mean_c x[r, c];
 * `x`, `out`: [rows, cols], `gamma`, `beta`: [cols]. `out` may be `x`.
 */
export function layernorm(x: Tensor, gamma: Tensor, beta: Tensor, out: Tensor, options: NormOptions): void {
  const { arena, dtype } = expectOperands({ x, gamma, beta }, out);
  const [rows, cols] = expectMatrix('x', x);
  expectShape('gamma', gamma, [cols]);
  expectShape('beta', beta, [cols]);
  expectShape('out', out, x.shape);
  const epsilon = expectEpsilon(options.epsilon);
  const { kernels } = arena;
  const { rounding = 'nearest' } = options;
  const run = (kernel: typeof kernels.layernorm_f32, g: number, b: number) =>
    storeRows(rows, [x], out, rounding, (n, [from], y) => kernel(n, cols, from!, g, b, epsilon, y), ['f32', 'bf16']);
  if (dtype === 'bf16') run(kernels.layernorm_bf16, gamma.offset, beta.offset);
  else withFloat32([gamma, beta], (g, b) => run(kernels.layernorm_f32, g!, b!));
}
