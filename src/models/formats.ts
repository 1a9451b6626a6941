/** Bytes of number formats in memory and on the wire, scales of block formats included. */
import type { OperandFormat } from '../core/operator-case.ts';
import type { Formats } from './graph.ts';

/** see: OCP Microscaling Formats 1.0 (8-bit scale for 32 elements); NVFP4 has one for 16. */
export const FORMAT_BYTES: Readonly<Record<OperandFormat, number>> = {
  f32: 4,
  tf32: 4,
  f16: 2,
  bf16: 2,
  fp8: 1,
  mxfp8: 1 + 1 / 32,
  mxfp4: 0.5 + 1 / 32,
  nvfp4: 0.5 + 1 / 16,
  int8: 1,
  uint8: 1,
  int32: 4,
};

/**
 * Formats of a run that computes its matmuls in `compute`: everything else is 16-bit (32-bit in an FP32 run), gradients
 * are summed in FP32, unless `overrides` says otherwise.
 */
export function formatsOf(compute: OperandFormat, overrides: Partial<Formats> = {}): Formats {
  const wide: OperandFormat = compute === 'f16' || compute === 'f32' || compute === 'tf32' ? compute : 'bf16';
  const { weights = wide } = overrides;
  return { compute, expertWeights: weights, activations: wide, kv: wide, gradients: 'f32', ...overrides, weights };
}
