/**
 * Number formats that tensors are stored in.
 *
 * | name | bits | exponent | fraction | unit roundoff u | on Trainium                                      |
 * |------|------|----------|----------|-----------------|--------------------------------------------------|
 * | f32  | 32   | 8        | 23       | 2^-24           | accumulation and all engine arithmetic           |
 * | bf16 | 16   | 8        | 7        | 2^-8            | matmul operands: products are exact in FP32      |
 *
 * The unit roundoff is the largest relative error of one rounding to nearest.
 */
import { expectOneOf } from '../base/errors.ts';

export type DType = 'f32' | 'bf16';

export interface DTypeSpec {
  readonly bytes: number;
  /** Largest relative error of one rounding to nearest even, in the normal range. */
  readonly unitRoundoff: number;
}

export const DTYPES: Readonly<Record<DType, DTypeSpec>> = {
  f32: { bytes: 4, unitRoundoff: 2 ** -24 },
  bf16: { bytes: 2, unitRoundoff: 2 ** -8 },
};

const ALIASES: Readonly<Record<string, DType>> = {
  f32: 'f32',
  fp32: 'f32',
  float32: 'f32',
  bf16: 'bf16',
  bfloat16: 'bf16',
};

/**
 * The format of a name as users write it: `bf16`, `bfloat16`, `f32`, `fp32`, `float32`.
 * @throws RangeError for any other name.
 */
export function parseDType(name: string, text: string): DType {
  return ALIASES[text.toLowerCase()] ?? expectOneOf<DType>(name, text, ['f32', 'bf16']);
}
