/** The formats that a matmul takes as operands: those that widen to FP32 element by element. */
import type { DType } from './dtype.ts';
import type { Tensor } from './tensor.ts';

/** Their order is that of the formats in scripts/generate-tiles.mjs. */
export const OPERAND_DTYPES = ['f32', 'bf16', 'f16', 'f8e4m3', 'f8e4m3fn', 'f8e5m2', 'f8e3m4', 'i8'] as const;
export type OperandDType = (typeof OPERAND_DTYPES)[number];

/** @throws TypeError if `tensor` is of a format that has no matmul. */
export function expectOperandDType(name: string, { dtype }: Tensor): OperandDType {
  const known = OPERAND_DTYPES.find((candidate): candidate is OperandDType & DType => candidate === dtype);
  if (known === undefined) throw new TypeError(`"${name}" expected dtype ${OPERAND_DTYPES.join(', ')}, got ${dtype}`);
  return known;
}
