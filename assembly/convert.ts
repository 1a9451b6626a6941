/**
 * FP32 <-> BF16.
 *
 * BF16 keeps the sign, the 8 exponent bits and the top 7 fraction bits of an FP32. With r the lower 16 bits that go:
 *
 *     nearest even   add 0x7fff + (lowest kept bit), then cut:  up if r > half, or r = half and the result is odd
 *     stochastic     add 16 random bits, then cut:              up with probability r / 2^16
 *
 * The carry runs into the exponent, which is right: the next binade, or infinity. A NaN becomes the canonical quiet NaN
 * 0x7fc0, so that results have the same bits on every host.
 */
import { BF16, load1 } from './element';
import { philox4x4 } from './random';

function isNaN4(bits: v128): v128 {
  return f32x4.ne(bits, bits);
}

/** 4 FP32 lanes to BF16 in the low half of each lane, after adding `bias` to the bits. */
function cut4(bits: v128, bias: v128): v128 {
  const cut = i32x4.shr_u(i32x4.add(bits, bias), 16);
  return v128.bitselect(i32x4.splat(0x7fc0), cut, isNaN4(bits));
}

/** 4 FP32 lanes to BF16, to nearest even. */
function nearest4(bits: v128): v128 {
  const odd = v128.and(i32x4.shr_u(bits, 16), i32x4.splat(1));
  return cut4(bits, i32x4.add(odd, i32x4.splat(0x7fff)));
}

function nearest1(x: f32): u16 {
  if (isNaN<f32>(x)) return 0x7fc0;
  const bits = reinterpret<u32>(x);
  return u16((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

/** y[i] = bf16(x[i]), i < n, to nearest even. `x`: f32, `y`: bf16; may not overlap. */
export function f32ToBf16(n: i32, x: usize, y: usize): void {
  let i = 0;
  for (; i + 8 <= n; i += 8) {
    const low = nearest4(v128.load(x));
    const high = nearest4(v128.load(x, 16));
    v128.store(y, v128.narrow<i32>(signed16(low), signed16(high)));
    x += 32;
    y += 16;
  }
  for (; i < n; i++) {
    store<u16>(y, nearest1(load<f32>(x)));
    x += 4;
    y += 2;
  }
}

/** Sign-extends the low 16 bits of each lane, so that the saturating narrow keeps them as they are. */
function signed16(v: v128): v128 {
  return i32x4.shr_s(i32x4.shl(v, 16), 16);
}

/**
 * y[i] = bf16(x[i]), rounded up or down with probability in proportion to the distance. The random bits of element i
 * are the low half of word `first` + i of the Philox stream (`stream`, `seed`): the result does not depend on how a
 * tensor is cut. `first` is a multiple of 16. `scratch`: 64 bytes.
 */
export function f32ToBf16Stochastic(
  n: i32,
  x: usize,
  y: usize,
  first: f64,
  stream: u32,
  seedLow: u32,
  seedHigh: u32,
  scratch: usize,
): void {
  let counter = u64(first) >> 2;
  for (let i = 0; i < n; i += 16) {
    philox4x4(counter, stream, seedLow, seedHigh, scratch);
    const count = min(16, n - i);
    if (count == 16) {
      for (let j: usize = 0; j < 64; j += 32) {
        const low = stochastic4(v128.load(x + j), v128.load(scratch + j));
        const high = stochastic4(v128.load(x + j, 16), v128.load(scratch + j, 16));
        v128.store(y + (j >> 1), v128.narrow<i32>(signed16(low), signed16(high)));
      }
    } else {
      for (let j = 0; j < count; j++) {
        const value = load<f32>(x + (j << 2));
        const bits = reinterpret<u32>(value) + (load<u32>(scratch + (j << 2)) & 0xffff);
        const finite = (reinterpret<u32>(value) & 0x7f800000) != 0x7f800000;
        store<u16>(y + (j << 1), finite ? u16(bits >> 16) : nearest1(value));
      }
    }
    x += 64;
    y += 32;
    counter += 4;
  }
}

/** As `nearest4` with random bits instead of one half; infinities stay infinite (their fraction must not change). */
function stochastic4(bits: v128, random: v128): v128 {
  const exponent = v128.and(bits, i32x4.splat(0x7f800000));
  const finite = i32x4.ne(exponent, i32x4.splat(0x7f800000));
  return cut4(bits, v128.and(v128.and(random, i32x4.splat(0xffff)), finite));
}

/** y[i] = x[i], i < n, exact. `x`: bf16, `y`: f32. */
export function bf16ToF32(n: i32, x: usize, y: usize): void {
  let i = 0;
  for (; i + 8 <= n; i += 8) {
    v128.store(y, i32x4.shl(v128.load_ext<u16>(x), 16));
    v128.store(y, i32x4.shl(v128.load_ext<u16>(x, 8), 16), 16);
    x += 16;
    y += 32;
  }
  for (; i < n; i++) {
    store<f32>(y, load1<BF16>(x));
    x += 2;
    y += 4;
  }
}
