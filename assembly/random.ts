/**
 * Counter-based random numbers: Philox4x32-10. Word w of a stream depends on (seed, stream, w) alone, so a shard of a
 * tensor can be made anywhere, in any order, and be the same.
 *
 *     counter (c0, c1, c2, c3) = (w / 4 low, w / 4 high, stream, 0), key (k0, k1) = seed
 *     round:  (c0, c1, c2, c3) <- (hi(M1 c2) ^ c1 ^ k0, lo(M1 c2), hi(M0 c0) ^ c3 ^ k1, lo(M0 c0)),  key += Weyl
 *
 * A round waits for its products, so eight blocks go side by side: two chains of four lanes.
 * see: Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC 2011).
 */
import { nearest4, store4 } from './convert';
import { BF16, bytesOf, F32 } from './element';

/** Words that one call of `philox8x4` makes. */
const RUN: u64 = 32;

// M0, M1 and the key's increments, then the first counters of the two chains.
// biome-ignore format: by use
const PHILOX: usize = memory.data<u32>([
  0xd2511f53, 0xcd9e8d57, 0x9e3779b9, 0xbb67ae85,
  0, 1, 2, 3,
  4, 5, 6, 7,
], 16);

/** Upper halves of the four 32 x 32 bit products. */
function high4(low: v128, high: v128): v128 {
  return v128.shuffle<i32>(low, high, 1, 3, 5, 7);
}

/** Lower halves of the four 32 x 32 bit products. */
function low4(low: v128, high: v128): v128 {
  return v128.shuffle<i32>(low, high, 0, 2, 4, 6);
}

/** Writes four blocks: lane i of (c0, c1, c2, c3) is block i, so this is a 4 x 4 transpose. */
function storeBlocks(c0: v128, c1: v128, c2: v128, c3: v128, out: usize): void {
  const a = v128.shuffle<i32>(c0, c1, 0, 4, 1, 5);
  const b = v128.shuffle<i32>(c0, c1, 2, 6, 3, 7);
  const c = v128.shuffle<i32>(c2, c3, 0, 4, 1, 5);
  const d = v128.shuffle<i32>(c2, c3, 2, 6, 3, 7);
  v128.store(out, v128.shuffle<i64>(a, c, 0, 2));
  v128.store(out, v128.shuffle<i64>(a, c, 1, 3), 16);
  v128.store(out, v128.shuffle<i64>(b, d, 0, 2), 32);
  v128.store(out, v128.shuffle<i64>(b, d, 1, 3), 48);
}

/** Writes the 32 words of counters `counter` .. `counter` + 7 to `out`, in the order of the stream. */
function philox8x4(counter: u64, stream: u32, seedLow: u32, seedHigh: u32, out: usize): void {
  // `counter` is a multiple of 8, so the eight low words differ in their last three bits only and never carry.
  const base = i32x4.splat(i32(counter));
  let a0 = i32x4.add(base, v128.load(PHILOX, 16));
  let b0 = i32x4.add(base, v128.load(PHILOX, 32));
  let a1 = i32x4.splat(i32(counter >> 32));
  let a2 = i32x4.splat(i32(stream));
  let a3 = i32x4.splat(0);
  let b1 = a1;
  let b2 = a2;
  let b3 = a3;
  let k0 = i32x4.splat(i32(seedLow));
  let k1 = i32x4.splat(i32(seedHigh));
  let rounds = 10;
  do {
    const m1 = v128.load32_splat(PHILOX, 4);
    const aLow1 = i64x2.extmul_low_i32x4_u(a2, m1);
    const aHigh1 = i64x2.extmul_high_i32x4_u(a2, m1);
    const bLow1 = i64x2.extmul_low_i32x4_u(b2, m1);
    const bHigh1 = i64x2.extmul_high_i32x4_u(b2, m1);
    const m0 = v128.load32_splat(PHILOX);
    const aLow0 = i64x2.extmul_low_i32x4_u(a0, m0);
    const aHigh0 = i64x2.extmul_high_i32x4_u(a0, m0);
    const bLow0 = i64x2.extmul_low_i32x4_u(b0, m0);
    const bHigh0 = i64x2.extmul_high_i32x4_u(b0, m0);
    a0 = v128.xor(high4(aLow1, aHigh1), v128.xor(a1, k0));
    b0 = v128.xor(high4(bLow1, bHigh1), v128.xor(b1, k0));
    a1 = low4(aLow1, aHigh1);
    b1 = low4(bLow1, bHigh1);
    a2 = v128.xor(high4(aLow0, aHigh0), v128.xor(a3, k1));
    b2 = v128.xor(high4(bLow0, bHigh0), v128.xor(b3, k1));
    a3 = low4(aLow0, aHigh0);
    b3 = low4(bLow0, bHigh0);
    k0 = i32x4.add(k0, v128.load32_splat(PHILOX, 8));
    k1 = i32x4.add(k1, v128.load32_splat(PHILOX, 12));
  } while (--rounds);
  storeBlocks(a0, a1, a2, a3, out);
  storeBlocks(b0, b1, b2, b3, out + 64);
}

/** Words `first` .. `first` + n - 1 of the stream; `first` and n are multiples of 32. */
export function philox_u32(n: i32, first: f64, stream: u32, seedLow: u32, seedHigh: u32, out: usize): void {
  let counter = u64(first) >> 2;
  for (let i = 0; i < n; i += i32(RUN)) {
    philox8x4(counter, stream, seedLow, seedHigh, out);
    counter += RUN >> 2;
    out += usize(RUN << 2);
  }
}

/**
 * Words `first` .. `first` + n - 1 as uniform FP32 in [-scale, scale]: word as a signed integer, times scale / 2^31.
 * Made in `scratch`, 32 at a time, from where the part that is asked for goes to `out`.
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
  const infinity = f32x4.splat(Infinity);
  let index = first & ~(RUN - 1);
  const end = first + n;
  while (index < end) {
    philox8x4(index >> 2, stream, seedLow, seedHigh, scratch);
    let p = scratch;
    const stop = scratch + usize(RUN << 2);
    let to = scratch;
    do {
      // A BF16 result is shorter than the words, so it can take their place.
      const value = f32x4.mul(f32x4.convert_i32x4_s(v128.load(p)), unit);
      if (bytesOf<T>() == 4) v128.store(to, value);
      else store4<T>(to, nearest4<T>(value, infinity), 0);
      to += 4 * bytesOf<T>();
      p += 16;
    } while (p < stop);
    const skipped = max(index, first) - index;
    const bytes = usize(min(index + RUN, end) - index - skipped) * bytesOf<T>();
    memory.copy(out, scratch + usize(skipped) * bytesOf<T>(), bytes);
    out += bytes;
    index += RUN;
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

/** out[r, c] = uniform word (first + r rowStride + c) of the stream, in [-scale, scale]. `scratch`: 128 bytes. */
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
