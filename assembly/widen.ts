/**
 * Widening in bulk: a run of elements of each storage format as FP32, exactly.
 *
 * A code of 8 bits becomes the two bytes of a BF16, which holds every value of the formats below, by look-ups in tables of 16
 * bytes, 16 codes at a time; two zero bytes below make it an FP32. With s eee the upper half of the code c,
 *
 *     upper byte    TOP[s eee]                  sign and exponent without its last bit
 *     lower byte    (c & mask) * factor         that bit and the fraction, moved to where a BF16 has them
 *
 * is right for normals. `i8x16.swizzle` gives 0 for an index beyond 15, so c & 0x7f as the index meets the codes with
 * eee = 0 (subnormals and zero) and nothing else, and (c & 0x7f) ^ 0x70 those with eee = 7 (infinity and NaN, which keep sign
 * and payload): what they differ by is xored in. The usual product of the fields with 2^(127 - bias), as in element.ts, is
 * right too, but takes a subnormal FP32 as its operand, for which Intel's cores stop for some 150 cycles. In F16 and E5M2
 * such numbers are below 2^-14 and rare; in these formats they are not.
 */
import { BF16, bytesOf, E5M2, F16, I8, load1, load4 } from './element';

// For each format: TOP; then what is xored into the upper and the lower byte of codes with eee = 0, and into the upper byte of
// those with eee = 7; mask, factor.
const TOP: usize = 0;
const LOW_UPPER: usize = 16;
const LOW_LOWER: usize = 32;
const HIGH_UPPER: usize = 48;
const MASK: usize = 64;
const FACTOR: usize = 66;
// biome-ignore format: one row for each table
const E4M3: usize = memory.data<u8>([
  0x3c, 0x3d, 0x3e, 0x3f, 0x40, 0x41, 0x42, 0x43, 0xbc, 0xbd, 0xbe, 0xbf, 0xc0, 0xc1, 0xc2, 0xc3,
  0x3c, 0x07, 0x07, 0x07, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  0x00, 0x10, 0xa0, 0xf0, 0x40, 0x70, 0x20, 0x10, 0, 0, 0, 0, 0, 0, 0, 0,
  0, 0, 0, 0, 0, 0, 0, 0, 0x3c, 0x3c, 0x3c, 0x3c, 0x3c, 0x3c, 0x3c, 0x3c,
  0x0f, 0x0f, 16, 0,
], 16);
// biome-ignore format: one row for each table
const E4M3FN: usize = memory.data<u8>([
  0x3c, 0x3d, 0x3e, 0x3f, 0x40, 0x41, 0x42, 0x43, 0xbc, 0xbd, 0xbe, 0xbf, 0xc0, 0xc1, 0xc2, 0xc3,
  0x3c, 0x07, 0x07, 0x07, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  0x00, 0x10, 0xa0, 0xf0, 0x40, 0x70, 0x20, 0x10, 0, 0, 0, 0, 0, 0, 0, 0,
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x3c,
  0x0f, 0x0f, 16, 0,
], 16);
// biome-ignore format: one row for each table
const E3M4: usize = memory.data<u8>([
  0x3e, 0x3e, 0x3f, 0x3f, 0x40, 0x40, 0x41, 0x7f, 0xbe, 0xbe, 0xbf, 0xbf, 0xc0, 0xc0, 0xc1, 0xff,
  0x3e, 0x02, 0x03, 0x03, 0x03, 0x03, 0x03, 0x03, 0, 0, 0, 0, 0, 0, 0, 0,
  0x00, 0x88, 0x10, 0x58, 0xa0, 0x88, 0xf0, 0xd8, 0x40, 0x58, 0x70, 0x68, 0x20, 0x38, 0x10, 0x08,
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  0x1f, 0x1f, 8, 0,
], 16);
// An E2M1 is its own index: the upper bytes, the lower bytes.
// biome-ignore format: one row for each table
const E2M1: usize = memory.data<u8>([
  0x00, 0x3f, 0x3f, 0x3f, 0x40, 0x40, 0x40, 0x40, 0x80, 0xbf, 0xbf, 0xbf, 0xc0, 0xc0, 0xc0, 0xc0,
  0x00, 0x00, 0x80, 0xc0, 0x00, 0x40, 0x80, 0xc0, 0x00, 0x00, 0x80, 0xc0, 0x00, 0x40, 0x80, 0xc0,
], 16);

/** Where the block of 16 after the one at `i` begins: the last one ends with the run, and overlaps if it must. */
function nextBlock(i: i32, n: i32): i32 {
  return i + 16 < n ? min(i + 16, n - 16) : n;
}

/** Stores 16 FP32 whose two upper bytes are given. */
function storeUpper(upper: v128, lower: v128, y: usize): void {
  const zero = i32x4.splat(0);
  const first = v128.shuffle<u8>(lower, upper, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const second = v128.shuffle<u8>(lower, upper, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  v128.store(y, v128.shuffle<u16>(zero, first, 0, 8, 1, 9, 2, 10, 3, 11));
  v128.store(y, v128.shuffle<u16>(zero, first, 4, 12, 5, 13, 6, 14, 7, 15), 16);
  v128.store(y, v128.shuffle<u16>(zero, second, 0, 8, 1, 9, 2, 10, 3, 11), 32);
  v128.store(y, v128.shuffle<u16>(zero, second, 4, 12, 5, 13, 6, 14, 7, 15), 48);
}

/** The FP32 of one code, by the tables of its format. */
function widenCode(table: usize, code: i32): i32 {
  const low = code & 0x7f;
  const high = low ^ 0x70;
  let upper = i32(load<u8>(table + (code >> 4), TOP));
  let lower = ((code & i32(load<u8>(table, MASK))) * i32(load<u8>(table, FACTOR))) & 0xff;
  if (low < 16) {
    upper ^= load<u8>(table + low, LOW_UPPER);
    lower ^= load<u8>(table + low, LOW_LOWER);
  }
  if (high < 16) upper ^= load<u8>(table + high, HIGH_UPPER);
  return (upper << 24) | (lower << 16);
}

/** y[i] = x[i], i < n, for the format of `table`. */
function widenCodes(table: usize, n: i32, x: usize, y: usize): void {
  if (n < 16) {
    for (let i = 0; i < n; i++) store<i32>(y + (i << 2), widenCode(table, load<u8>(x + i)));
    return;
  }
  const magnitude = i8x16.splat(0x7f);
  const nibble = i8x16.splat(0x0f);
  const highest = i8x16.splat(0x70);
  const top = v128.load(table, TOP);
  const lowUpper = v128.load(table, LOW_UPPER);
  const lowLower = v128.load(table, LOW_LOWER);
  const highUpper = v128.load(table, HIGH_UPPER);
  const mask = v128.load8_splat(table, MASK);
  const factor = v128.load16_splat(table, FACTOR);
  for (let i = 0; i < n; i = nextBlock(i, n)) {
    const codes = v128.load(x + i);
    const low = v128.and(codes, magnitude);
    const regular = i8x16.swizzle(top, v128.and(i16x8.shr_u(codes, 4), nibble));
    const special = v128.xor(i8x16.swizzle(lowUpper, low), i8x16.swizzle(highUpper, v128.xor(low, highest)));
    const lower = v128.xor(i16x8.mul(v128.and(codes, mask), factor), i8x16.swizzle(lowLower, low));
    storeUpper(v128.xor(regular, special), lower, y + (i << 2));
  }
}

export function widen_f8e4m3(n: i32, x: usize, y: usize): void {
  widenCodes(E4M3, n, x, y);
}

export function widen_f8e4m3fn(n: i32, x: usize, y: usize): void {
  widenCodes(E4M3FN, n, x, y);
}

export function widen_f8e3m4(n: i32, x: usize, y: usize): void {
  widenCodes(E3M4, n, x, y);
}

/** An even n. */
export function widen_f4e2m1(n: i32, x: usize, y: usize): void {
  if (n < 16) {
    for (let i = 0; i < n; i++) {
      const code = usize((load<u8>(x + (i >> 1)) >> ((i & 1) << 2)) & 15);
      store<i32>(y + (i << 2), (i32(load<u8>(E2M1 + code)) << 24) | (i32(load<u8>(E2M1 + code, 16)) << 16));
    }
    return;
  }
  const nibble = i8x16.splat(0x0f);
  const uppers = v128.load(E2M1);
  const lowers = v128.load(E2M1, 16);
  for (let i = 0; i < n; i = nextBlock(i, n)) {
    const pairs = v128.load64_zero(x + (i >> 1));
    const firsts = v128.and(pairs, nibble);
    const seconds = v128.and(i16x8.shr_u(pairs, 4), nibble);
    const codes = v128.shuffle<u8>(firsts, seconds, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    storeUpper(i8x16.swizzle(uppers, codes), i8x16.swizzle(lowers, codes), y + (i << 2));
  }
}

/** y[i] = x[i], i < n, four at a time. */
export function widen<T>(n: i32, x: usize, y: usize): void {
  const size = bytesOf<T>();
  for (; n >= 8; n -= 8) {
    v128.store(y, load4<T>(x));
    v128.store(y, load4<T>(x + 4 * size), 16);
    x += 8 * size;
    y += 32;
  }
  for (; n > 0; n--) {
    store<f32>(y, load1<T>(x));
    x += size;
    y += 4;
  }
}

export function widen_bf16(n: i32, x: usize, y: usize): void {
  widen<BF16>(n, x, y);
}

export function widen_f16(n: i32, x: usize, y: usize): void {
  widen<F16>(n, x, y);
}

export function widen_f8e5m2(n: i32, x: usize, y: usize): void {
  widen<E5M2>(n, x, y);
}

export function widen_i8(n: i32, x: usize, y: usize): void {
  widen<I8>(n, x, y);
}

/** Rounded to nearest even where an I32 is too long for an FP32. */
export function widen_i32(n: i32, x: usize, y: usize): void {
  for (let i: usize = 0; i < usize(n) << 2; i += 4) store<f32>(y + i, f32(load<i32>(x + i)));
}

/** As the kernel of the format that has place `format` in OPERAND_DTYPES; not FP32, the first. */
export function widenAny(format: i32, n: i32, x: usize, y: usize): void {
  if (format == 1) widen_bf16(n, x, y);
  if (format == 2) widen_f16(n, x, y);
  if (format == 3) widen_f8e4m3(n, x, y);
  if (format == 4) widen_f8e4m3fn(n, x, y);
  if (format == 5) widen_f8e5m2(n, x, y);
  if (format == 6) widen_f8e3m4(n, x, y);
  if (format == 7) widen_i8(n, x, y);
}

/** Rows with adjacent columns, row after row; `format` as in `widenAny`, `rowBytes` from one row to the next. */
export function widenRows(format: i32, rows: i32, cols: i32, x: usize, rowBytes: i32, y: usize): void {
  for (let row = 0; row < rows; row++) {
    widenAny(format, cols, x, y);
    x += rowBytes;
    y += usize(cols) << 2;
  }
}
