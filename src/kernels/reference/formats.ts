/**
 * Number formats by their definitions: a value is read off the fields of a code, and the nearest code is found by
 * comparing distances to neighbours in a table of all values. No bit of the kernels' methods is shared.
 */
import type { DType } from '../dtype.ts';

/** Formats whose codes have a sign, an exponent and a fraction. */
export type FloatDType = Exclude<DType, 'f32' | 'e8m0' | 'i8' | 'i32'>;

interface FloatFormat {
  readonly exponentBits: number;
  readonly fractionBits: number;
  readonly bias: number;
  /** What the largest exponent means: infinity and NaN (IEEE 754), NaN if the fraction is full, or just numbers. */
  readonly top: 'ieee' | 'nan' | 'numbers';
  readonly nan: number;
}

export const FLOAT_FORMATS: Readonly<Record<FloatDType, FloatFormat>> = {
  bf16: { exponentBits: 8, fractionBits: 7, bias: 127, top: 'ieee', nan: 0x7fc0 },
  f16: { exponentBits: 5, fractionBits: 10, bias: 15, top: 'ieee', nan: 0x7e00 },
  f8e4m3: { exponentBits: 4, fractionBits: 3, bias: 7, top: 'ieee', nan: 0x7c },
  f8e4m3fn: { exponentBits: 4, fractionBits: 3, bias: 7, top: 'nan', nan: 0x7f },
  f8e5m2: { exponentBits: 5, fractionBits: 2, bias: 15, top: 'ieee', nan: 0x7e },
  f8e3m4: { exponentBits: 3, fractionBits: 4, bias: 3, top: 'ieee', nan: 0x78 },
  f4e2m1: { exponentBits: 2, fractionBits: 1, bias: 1, top: 'numbers', nan: 0x7 },
};

/** 2^n, exact, for |n| <= 1022. */
function power2(n: number): number {
  let value = 1;
  for (let i = 0; i < Math.abs(n); i++) value *= n < 0 ? 0.5 : 2;
  return value;
}

const tables = new Map<FloatDType, Float64Array>();

/** The values of all codes of a format, in the order of the codes. */
function valuesOf(dtype: FloatDType): Float64Array {
  const known = tables.get(dtype);
  if (known) return known;
  const table = Float64Array.from({ length: 2 * signBit(dtype) }, (_, code) => valueOfFields(dtype, code));
  tables.set(dtype, table);
  return table;
}

/** The value of `code`. */
export function floatValue(dtype: FloatDType, code: number): number {
  return valuesOf(dtype)[code]!;
}

/** The value of `code`: (-1)^sign 2^(exponent - bias) (1 + fraction / 2^fractionBits), subnormal without the 1. */
function valueOfFields(dtype: FloatDType, code: number): number {
  const { exponentBits, fractionBits, bias, top } = FLOAT_FORMATS[dtype];
  const fraction = code % power2(fractionBits);
  const exponent = Math.floor(code / power2(fractionBits)) % power2(exponentBits);
  const sign = code >= power2(exponentBits + fractionBits) ? -1 : 1;
  if (top !== 'numbers' && exponent === power2(exponentBits) - 1) {
    if (top === 'ieee') return fraction === 0 ? sign * Infinity : Number.NaN;
    if (fraction === power2(fractionBits) - 1) return Number.NaN;
  }
  if (exponent === 0) return sign * fraction * power2(1 - bias - fractionBits);
  return sign * (1 + fraction / power2(fractionBits)) * power2(exponent - bias);
}

/** The number of finite values >= 0: all codes of one sign but those that mean infinity or NaN. */
function finiteCount(dtype: FloatDType): number {
  const { fractionBits, top } = FLOAT_FORMATS[dtype];
  return signBit(dtype) - { ieee: power2(fractionBits), nan: 1, numbers: 0 }[top];
}

function signBit(dtype: FloatDType): number {
  const { exponentBits, fractionBits } = FLOAT_FORMATS[dtype];
  return power2(exponentBits + fractionBits);
}

/**
 * The code nearest to `x`, ties to the even code. What rounds beyond the largest value gets the next code, which stands
 * for infinity (f8e4m3fn: NaN), or with `saturate` the largest. NaN becomes the canonical one.
 */
export function nearestCode(dtype: FloatDType, x: number, saturate: boolean): number {
  if (Number.isNaN(x)) return FLOAT_FORMATS[dtype].nan;
  const values = valuesOf(dtype);
  const count = finiteCount(dtype);
  // The value that would come after the largest: what rounds to it overflows.
  const beyond = 2 * values[count - 1]! - values[count - 2]!;
  const magnitude = Math.abs(x);
  let low = 0;
  let high = count;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (values[middle]! <= magnitude) low = middle;
    else high = middle;
  }
  const down = magnitude - values[low]!;
  const up = (high < count ? values[high]! : beyond) - magnitude;
  let code = up < down || (up === down && high % 2 === 0) ? high : low;
  if (saturate) code = Math.min(code, count - 1);
  return x < 0 || Object.is(x, -0) ? code + signBit(dtype) : code;
}

/** The BF16 code nearest to `x`, ties to even. */
export function bf16Code(x: number): number {
  return nearestCode('bf16', x, false);
}

/** The value of a BF16 code. */
export function bf16Value(code: number): number {
  return floatValue('bf16', code);
}

/** `x` after a saturating rounding to `dtype` and back. */
export function roundedTo(dtype: FloatDType, x: number): number {
  return floatValue(dtype, nearestCode(dtype, x, true));
}

/** The exponent of the E8M0 scale of a block for elements that are to hold 2^k: floor(log2 max) - k, at least -127. */
export function mxExponent(block: ArrayLike<number>, k: number): number {
  let top = 0;
  for (let i = 0; i < block.length; i++) top = Math.max(top, Math.abs(block[i]!));
  if (!Number.isFinite(top)) return Number.NaN;
  let exponent = -127;
  while (top >= power2(exponent + 1 + k)) exponent++;
  return exponent;
}

/** What a block reads back as after quantisation with the scale 2^exponent. */
export function mxRoundTrip(dtype: FloatDType, block: ArrayLike<number>, exponent: number): number[] {
  if (Number.isNaN(exponent)) return Array.from(block, () => Number.NaN);
  const scale = power2(exponent);
  return Array.from(block, (x) => roundedTo(dtype, x / scale) * scale);
}
