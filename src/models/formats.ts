/** The number formats of a run from the one that its matmuls compute in. */
import type { OperandFormat } from '../core/operator-case.ts';
import type { Formats } from './graph.ts';

/**
 * Formats of a run that computes its matmuls in `compute`: everything else is 16-bit (32-bit in an FP32 run), gradients
 * are summed in FP32, unless `overrides` says otherwise.
 */
export function formatsOf(compute: OperandFormat, overrides: Partial<Formats> = {}): Formats {
  const wide: OperandFormat = compute === 'f16' || compute === 'f32' || compute === 'tf32' ? compute : 'bf16';
  const { weights = wide } = overrides;
  return { compute, expertWeights: weights, activations: wide, kv: wide, gradients: 'f32', ...overrides, weights };
}
