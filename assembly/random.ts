/**
 * Counter-based random numbers: Philox4x32-10. Word w of a stream depends on (seed, stream, w) alone, so a shard of a
 * tensor can be made anywhere, in any order, and be the same.
 *
 *     counter (c0, c1, c2, c3) = (w / 4 low, w / 4 high, stream, 0), key (k0, k1) = seed
 *     round:  (c0, c1, c2, c3) <- (hi(M1 c2) ^ c1 ^ k0, lo(M1 c2), hi(M0 c0) ^ c3 ^ k1, lo(M0 c0)),  key += Weyl
 *
 * see: Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC 2011).
 */
import { BF16, bytesOf, F32 } from './element';

const M0: u32 = 0xd2511f53;
const M1: u32 = 0xcd9e8d57;
const WEYL0: u32 = 0x9e3779b9;
const WEYL1: u32 = 0xbb67ae85;

/** Upper halves of the four 32 x 32 bit products. */
function high4(low: v128, high: v128): v128 {
  return v128.shuffle<i32>(low, high, 1, 3, 5, 7);
}

/** Lower halves of the four 32 x 32 bit products. */
function low4(low: v128, high: v128): v128 {
  return v128.shuffle<i32>(low, high, 0, 2, 4, 6);
}

/** Writes the 16 words of counters `counter` .. `counter` + 3 to `out`, in the order of the stream. */
export function philox4x4(counter: u64, stream: u32, seedLow: u32, seedHigh: u32, out: usize): void {
  // `counter` is a multiple of 4, so the four low words differ in their last two bits only and never carry.
  let c0 = i32x4.add(i32x4.splat(i32(counter)), i32x4(0, 1, 2, 3));
  let c1 = i32x4.splat(i32(counter >> 32));
  let c2 = i32x4.splat(i32(stream));
  let c3 = i32x4.splat(0);
  let k0 = seedLow;
  let k1 = seedHigh;
  const m0 = i32x4.splat(i32(M0));
  const m1 = i32x4.splat(i32(M1));
  for (let round = 0; round < 10; round++) {
    const p0Low = i64x2.extmul_low_i32x4_u(c0, m0);
    const p0High = i64x2.extmul_high_i32x4_u(c0, m0);
    const p1Low = i64x2.extmul_low_i32x4_u(c2, m1);
    const p1High = i64x2.extmul_high_i32x4_u(c2, m1);
    c0 = v128.xor(v128.xor(high4(p1Low, p1High), c1), i32x4.splat(i32(k0)));
    c1 = low4(p1Low, p1High);
    c2 = v128.xor(v128.xor(high4(p0Low, p0High), c3), i32x4.splat(i32(k1)));
    c3 = low4(p0Low, p0High);
    k0 += WEYL0;
    k1 += WEYL1;
  }
  // 4x4 transpose: lane i of (c0, c1, c2, c3) is the block of counter + i.
  const a = v128.shuffle<i32>(c0, c1, 0, 4, 1, 5);
  const b = v128.shuffle<i32>(c0, c1, 2, 6, 3, 7);
  const c = v128.shuffle<i32>(c2, c3, 0, 4, 1, 5);
  const d = v128.shuffle<i32>(c2, c3, 2, 6, 3, 7);
  v128.store(out, v128.shuffle<i64>(a, c, 0, 2));
  v128.store(out, v128.shuffle<i64>(a, c, 1, 3), 16);
  v128.store(out, v128.shuffle<i64>(b, d, 0, 2), 32);
  v128.store(out, v128.shuffle<i64>(b, d, 1, 3), 48);
}

/**
 * Words `first` .. `first` + n - 1 as uniform FP32 in [-scale, scale]: word as a signed integer, times scale / 2^31.
 * Written to `scratch` 16 at a time, from where the part that is asked for goes to `out`.
 */
function uniformRun<T>(
  n: i32,
  first: u64,
  scale: f32,
  stream: u32,
  seedLow: u32,
  seedHigh: u32,
  out: usize,
  scratch: usize,
): void {
  const unit = f32x4.splat(scale * f32(4.656612873077393e-10)); // 2^-31
  let index = first & ~u64(15);
  const end = first + n;
  while (index < end) {
    philox4x4(index >> 2, stream, seedLow, seedHigh, scratch);
    for (let j: usize = 0; j < 64; j += 16) {
      let value = f32x4.mul(f32x4.convert_i32x4_s(v128.load(scratch + j)), unit);
      if (bytesOf<T>() == 2) {
        // To nearest even, kept in FP32 lanes until the store below cuts it: no NaN can be here.
        const odd = v128.and(i32x4.shr_u(value, 16), i32x4.splat(1));
        value = i32x4.add(value, i32x4.add(odd, i32x4.splat(0x7fff)));
      }
      v128.store(scratch + j, value);
    }
    const begin = i32(max(index, first) - index);
    const stop = i32(min(index + 16, end) - index);
    if (bytesOf<T>() == 4) {
      memory.copy(out, scratch + (begin << 2), (stop - begin) << 2);
    } else if (stop - begin == 16) {
      // The upper half of each lane is the BF16.
      v128.store(out, v128.shuffle<u16>(v128.load(scratch), v128.load(scratch, 16), 1, 3, 5, 7, 9, 11, 13, 15));
      v128.store(out, v128.shuffle<u16>(v128.load(scratch, 32), v128.load(scratch, 48), 1, 3, 5, 7, 9, 11, 13, 15), 16);
    } else {
      for (let j = begin; j < stop; j++) store<u16>(out + ((j - begin) << 1), load<u16>(scratch + (j << 2), 2));
    }
    out += (stop - begin) * bytesOf<T>();
    index += 16;
  }
}

/** A block of `rows` x `cols` of a virtual matrix with rows of `rowStride` words, whose first element is word `first`. */
function uniformBlock<T>(
  rows: i32,
  cols: i32,
  first: f64,
  rowStride: f64,
  scale: f32,
  stream: u32,
  seedLow: u32,
  seedHigh: u32,
  out: usize,
  scratch: usize,
): void {
  for (let row = 0; row < rows; row++) {
    uniformRun<T>(cols, u64(first + f64(row) * rowStride), scale, stream, seedLow, seedHigh, out, scratch);
    out += cols * bytesOf<T>();
  }
}

/** out[r, c] = uniform word (first + r rowStride + c) of the stream, in [-scale, scale]. `scratch`: 64 bytes. */
export function uniform_f32(
  rows: i32,
  cols: i32,
  first: f64,
  rowStride: f64,
  scale: f32,
  stream: u32,
  seedLow: u32,
  seedHigh: u32,
  out: usize,
  scratch: usize,
): void {
  uniformBlock<F32>(rows, cols, first, rowStride, scale, stream, seedLow, seedHigh, out, scratch);
}

/** As `uniform_f32`, rounded to BF16, to nearest even. */
export function uniform_bf16(
  rows: i32,
  cols: i32,
  first: f64,
  rowStride: f64,
  scale: f32,
  stream: u32,
  seedLow: u32,
  seedHigh: u32,
  out: usize,
  scratch: usize,
): void {
  uniformBlock<BF16>(rows, cols, first, rowStride, scale, stream, seedLow, seedHigh, out, scratch);
}
