/**
 * Number formats that tensors are stored in.
 *
 * | name     | bits | exponent | fraction | largest | infinity, NaN | on Trainium                                     |
 * |----------|------|----------|----------|---------|---------------|-------------------------------------------------|
 * | f32      | 32   | 8        | 23       | 3.4e38  | both          | accumulation and all engine arithmetic          |
 * | bf16     | 16   | 8        | 7        | 3.4e38  | both          | matmul operands: products are exact in FP32     |
 * | f16      | 16   | 5        | 10       | 65504   | both          | matmul operands                                 |
 * | f8e4m3   | 8    | 4        | 3        | 240     | both          | `float8_e4m3`, IEEE-like: Trn1, Trn2            |
 * | f8e4m3fn | 8    | 4        | 3        | 448     | NaN           | OCP `float8_e4m3fn`: Trn3, not mixed with e4m3  |
 * | f8e5m2   | 8    | 5        | 2        | 57344   | both          | `float8_e5m2`                                   |
 * | f8e3m4   | 8    | 3        | 4        | 15.5    | both          | `float8_e3m4`                                   |
 * | f4e2m1   | 4    | 2        | 1        | 6       | none          | MXFP4 elements; two in a byte, the first low    |
 * | e8m0     | 8    | 8        | 0        | 2^127   | NaN           | MX scales: 2^(code - 127), no sign, no zero     |
 * | i8, i32  |      |          |          |         | none          | two's complement                                |
 *
 * see: aws-neuron-sdk, nki/api and rounding-modes.rst; OCP OFP8 1.0; OCP Microscaling Formats 1.0.
 */
import { expectOneOf } from '../base/errors.ts';

export type DType =
  | 'f32'
  | 'bf16'
  | 'f16'
  | 'f8e4m3'
  | 'f8e4m3fn'
  | 'f8e5m2'
  | 'f8e3m4'
  | 'f4e2m1'
  | 'e8m0'
  | 'i8'
  | 'i32';

export interface DTypeSpec {
  /** Of an element; 0.5 where two share a byte. */
  readonly bytes: number;
  /**
   * Largest relative error of one rounding to nearest even, in the normal range. For integers it is the largest absolute
   * one.
   */
  readonly unitRoundoff: number;
  /** Largest finite value. */
  readonly max: number;
}

export const DTYPES: Readonly<Record<DType, DTypeSpec>> = {
  f32: { bytes: 4, unitRoundoff: 2 ** -24, max: (2 - 2 ** -23) * 2 ** 127 },
  bf16: { bytes: 2, unitRoundoff: 2 ** -8, max: (2 - 2 ** -7) * 2 ** 127 },
  f16: { bytes: 2, unitRoundoff: 2 ** -11, max: 65504 },
  f8e4m3: { bytes: 1, unitRoundoff: 2 ** -4, max: 240 },
  f8e4m3fn: { bytes: 1, unitRoundoff: 2 ** -4, max: 448 },
  f8e5m2: { bytes: 1, unitRoundoff: 2 ** -3, max: 57344 },
  f8e3m4: { bytes: 1, unitRoundoff: 2 ** -5, max: 15.5 },
  f4e2m1: { bytes: 0.5, unitRoundoff: 2 ** -2, max: 6 },
  e8m0: { bytes: 1, unitRoundoff: 2 ** -1, max: 2 ** 127 },
  i8: { bytes: 1, unitRoundoff: 0.5, max: 127 },
  i32: { bytes: 4, unitRoundoff: 0.5, max: 2 ** 31 - 1 },
};

/** Formats that every operator of a decoder layer takes. */
const LAYER_DTYPES: readonly DType[] = ['f32', 'bf16'];

const ALIASES: Readonly<Record<string, DType>> = {
  fp32: 'f32',
  float32: 'f32',
  bfloat16: 'bf16',
  fp16: 'f16',
  float16: 'f16',
  float8_e4m3: 'f8e4m3',
  float8_e4m3fn: 'f8e4m3fn',
  float8_e5m2: 'f8e5m2',
  float8_e3m4: 'f8e3m4',
  float4_e2m1fn: 'f4e2m1',
  float8_e8m0fnu: 'e8m0',
  int8: 'i8',
  int32: 'i32',
};

/**
 * The format of a name as users write it, `bf16` or `bfloat16`, `fp16`, `float8_e4m3fn`, among those that the caller can
 * work with. `fp8` alone is no name: four formats have 8 bits.
 * @throws RangeError for any other name.
 */
export function parseDType(name: string, text: string, choices: readonly DType[] = LAYER_DTYPES): DType {
  const lower = text.toLowerCase();
  const dtype = ALIASES[lower] ?? lower;
  // The text and not the alias in the message: the user finds what was typed.
  return choices.includes(dtype as DType) ? (dtype as DType) : expectOneOf<DType>(name, text, choices);
}
