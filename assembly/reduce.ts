/**
 * The reduction of a collective: y[i] = x_0[i] o x_1[i] o ... in one pass over many sources, in the order of the sources,
 * in FP32, rounded once.
 *
 *     for each block of 4096 elements      acc = x_0;  for each eight more sources  acc = acc o x_s o ... o x_{s+7};  y = acc
 *
 * A block's accumulator is 16 KiB of FP32 and stays in L1, so each source is read once and `y` written once whatever the
 * formats. Eight sources a loop is a compromise: more, and the prefetchers lose the streams (64 x 1 MiB: 27 GB/s, all 64
 * in one loop 6); fewer, and the accumulator's own loads and stores show.
 * FP32 and BF16 are combined where they lie; other formats are widened into L1 first, so that one loop serves them all.
 *
 * Max and min are IEEE 754 `maximum` and `minimum`: NaN if a source is NaN, and -0 < +0.
 * Leaves out: stochastic rounding, which is a cast of the FP32 result.
 */
import { narrow, widen } from './convert';
import { BF16, bytesOf, E3M4, E4M3, E4M3FN, E5M2, F16, F32 } from './element';

class Sum {}
class Prod {}
class Max {}
class Min {}

// Kept in step with OPERATORS in src/kernels/collective.ts.
const SUM = 0;
const PROD = 1;
const MAX = 2;

/** Elements of a block. Kept in step with REDUCE_SCRATCH_BYTES in src/kernels/collective.ts. */
const BLOCK: usize = 4096;
/** Elements of an iteration of the loops below. A tail is padded to it. */
const STEP: usize = 16;
/** Most sources of one loop. */
const GROUP = 8;
// The parts of the scratch: the accumulator, a block widened, a tail padded, and the addresses of these two.
const STAGE: usize = 4 * BLOCK;
const PADDED: usize = 8 * BLOCK;
const STAGE_ADDRESS: usize = PADDED + 4 * STEP;
const PADDED_ADDRESS: usize = STAGE_ADDRESS + 4;

function combine<O>(a: v128, b: v128): v128 {
  if (idof<O>() == idof<Sum>()) return f32x4.add(a, b);
  if (idof<O>() == idof<Prod>()) return f32x4.mul(a, b);
  if (idof<O>() == idof<Max>()) return f32x4.max(a, b);
  return f32x4.min(a, b);
}

/** Four BF16, loaded zero-extended, as FP32. */
function widen4(codes: v128): v128 {
  return i32x4.shl(codes, 16);
}

// The offsets of the loads are written out because they are immediates: as sums they would cost an instruction each. The
// accumulators are loaded before the inner loop, which keeps V8 11 and 12 from hoisting the loads of the sources.

/**
 * y = a o x_0 o ... for `n` elements, a multiple of STEP and not 0. `sources`: `count` >= 1 addresses, to which `offset`
 * bytes are added, of tensors in FP32 as `a` and `y` are.
 */
function combine_f32<O>(count: i32, n: usize, sources: usize, offset: usize, a: usize, y: usize): void {
  const end = sources + (usize(count) << 2);
  do {
    let a0 = v128.load(a);
    let a1 = v128.load(a, 16);
    let a2 = v128.load(a, 32);
    let a3 = v128.load(a, 48);
    let source = sources;
    do {
      const x = usize(load<u32>(source)) + offset;
      a0 = combine<O>(a0, v128.load(x));
      a1 = combine<O>(a1, v128.load(x, 16));
      a2 = combine<O>(a2, v128.load(x, 32));
      a3 = combine<O>(a3, v128.load(x, 48));
      source += 4;
    } while (source != end);
    v128.store(y, a0);
    v128.store(y, a1, 16);
    v128.store(y, a2, 32);
    v128.store(y, a3, 48);
    offset += 64;
    a += 64;
    y += 64;
    n -= STEP;
  } while (n > 0);
}

/** As `combine_f32` with the sources in BF16. */
function combine_bf16<O>(count: i32, n: usize, sources: usize, offset: usize, a: usize, y: usize): void {
  const end = sources + (usize(count) << 2);
  do {
    let a0 = v128.load(a);
    let a1 = v128.load(a, 16);
    let a2 = v128.load(a, 32);
    let a3 = v128.load(a, 48);
    let source = sources;
    do {
      const x = usize(load<u32>(source)) + offset;
      a0 = combine<O>(a0, widen4(v128.load_ext<u16>(x)));
      a1 = combine<O>(a1, widen4(v128.load_ext<u16>(x, 8)));
      a2 = combine<O>(a2, widen4(v128.load_ext<u16>(x, 16)));
      a3 = combine<O>(a3, widen4(v128.load_ext<u16>(x, 24)));
      source += 4;
    } while (source != end);
    v128.store(y, a0);
    v128.store(y, a1, 16);
    v128.store(y, a2, 32);
    v128.store(y, a3, 48);
    offset += 32;
    a += 64;
    y += 64;
    n -= STEP;
  } while (n > 0);
}

/** By format. A format without a loop of its own goes through the stage, a source at a time. */
function combineAll<O, T>(
  count: i32,
  n: usize,
  sources: usize,
  offset: usize,
  a: usize,
  y: usize,
  scratch: usize,
): void {
  if (idof<T>() == idof<F32>()) combine_f32<O>(count, n, sources, offset, a, y);
  else if (idof<T>() == idof<BF16>()) combine_bf16<O>(count, n, sources, offset, a, y);
  else {
    const address = scratch + STAGE_ADDRESS;
    store<u32>(address, u32(scratch + STAGE));
    for (let s = 0; s < count; s++) {
      widen<T>(i32(n), sourceAt(sources, s) + offset, scratch + STAGE);
      combine_f32<O>(1, n, address, 0, a, y);
      a = y;
    }
  }
}

function combineBy<T>(
  operator: i32,
  count: i32,
  n: usize,
  sources: usize,
  offset: usize,
  a: usize,
  y: usize,
  scratch: usize,
): void {
  if (operator == SUM) combineAll<Sum, T>(count, n, sources, offset, a, y, scratch);
  else if (operator == PROD) combineAll<Prod, T>(count, n, sources, offset, a, y, scratch);
  else if (operator == MAX) combineAll<Max, T>(count, n, sources, offset, a, y, scratch);
  else combineAll<Min, T>(count, n, sources, offset, a, y, scratch);
}

function sourceAt(sources: usize, s: i32): usize {
  return load<u32>(sources + (usize(s) << 2));
}

/** One block, from byte `offset` of each source, in FP32 at `y`, which may be the scratch's accumulator. */
function reduceBlock<T>(
  operator: i32,
  count: i32,
  n: usize,
  sources: usize,
  offset: usize,
  y: usize,
  scratch: usize,
): void {
  let a = sourceAt(sources, 0) + offset;
  if (idof<T>() != idof<F32>()) {
    widen<T>(i32(n), a, scratch);
    a = scratch;
  }
  for (let s = 1; s < count; s += GROUP) {
    const some = min(GROUP, count - s);
    // Only the last loop writes to `y`: it may be a source that a later loop of this block reads.
    const to = s + some == count ? y : scratch;
    combineBy<T>(operator, some, n, sources + (usize(s) << 2), offset, a, to, scratch);
    a = scratch;
  }
}

/** The last elements, fewer than STEP, through padded copies: the same lanes, so the same bits as in the middle. */
function reduceTail<T>(operator: i32, count: i32, n: usize, sources: usize, offset: usize, scratch: usize): void {
  const padded = scratch + PADDED;
  const address = scratch + PADDED_ADDRESS;
  const bytes = n * bytesOf<T>();
  store<u32>(address, u32(padded));
  memory.copy(padded, sourceAt(sources, 0) + offset, bytes);
  if (idof<T>() == idof<F32>()) memory.copy(scratch, padded, 4 * STEP);
  else widen<T>(i32(STEP), padded, scratch);
  for (let s = 1; s < count; s++) {
    memory.copy(padded, sourceAt(sources, s) + offset, bytes);
    combineBy<T>(operator, 1, STEP, address, 0, scratch, scratch, scratch);
  }
}

/** `y` in format `D`: FP32, or BF16 to nearest even. */
function reduce<T, D>(operator: i32, count: i32, n: usize, sources: usize, y: usize, scratch: usize): void {
  const whole = n & ~(STEP - 1);
  for (let i: usize = 0; i < whole; i += BLOCK) {
    const length = min(BLOCK, whole - i);
    const out = y + i * bytesOf<D>();
    if (idof<D>() == idof<F32>()) reduceBlock<T>(operator, count, length, sources, i * bytesOf<T>(), out, scratch);
    else {
      reduceBlock<T>(operator, count, length, sources, i * bytesOf<T>(), scratch, scratch);
      narrow<BF16>(i32(length), scratch, out, Infinity);
    }
  }
  const rest = n - whole;
  if (rest > 0) {
    const out = y + whole * bytesOf<D>();
    reduceTail<T>(operator, count, rest, sources, whole * bytesOf<T>(), scratch);
    if (idof<D>() == idof<F32>()) memory.copy(out, scratch, 4 * rest);
    else narrow<BF16>(i32(rest), scratch, out, Infinity);
  }
}

/**
 * `operator`: 0 sum, 1 product, 2 maximum, 3 minimum. `sources`: addresses (u32) of `count` >= 2 tensors of `n` elements.
 * `y`: [n] f32, may be one of the sources. `scratch`: 32 KiB and 72 bytes.
 */
export function reduce_f32(operator: i32, count: i32, n: usize, sources: usize, y: usize, scratch: usize): void {
  reduce<F32, F32>(operator, count, n, sources, y, scratch);
}

/** As `reduce_f32` with BF16 sources, not overlapping `y`, which is FP32. So are the other formats below. */
export function reduce_bf16(operator: i32, count: i32, n: usize, sources: usize, y: usize, scratch: usize): void {
  reduce<BF16, F32>(operator, count, n, sources, y, scratch);
}

/** As `reduce_bf16` with `y` in BF16, to nearest even; `y` may be one of the sources. */
export function reduceNearest_bf16(
  operator: i32,
  count: i32,
  n: usize,
  sources: usize,
  y: usize,
  scratch: usize,
): void {
  reduce<BF16, BF16>(operator, count, n, sources, y, scratch);
}

export function reduce_f16(operator: i32, count: i32, n: usize, sources: usize, y: usize, scratch: usize): void {
  reduce<F16, F32>(operator, count, n, sources, y, scratch);
}

export function reduce_f8e4m3(operator: i32, count: i32, n: usize, sources: usize, y: usize, scratch: usize): void {
  reduce<E4M3, F32>(operator, count, n, sources, y, scratch);
}

export function reduce_f8e4m3fn(operator: i32, count: i32, n: usize, sources: usize, y: usize, scratch: usize): void {
  reduce<E4M3FN, F32>(operator, count, n, sources, y, scratch);
}

export function reduce_f8e5m2(operator: i32, count: i32, n: usize, sources: usize, y: usize, scratch: usize): void {
  reduce<E5M2, F32>(operator, count, n, sources, y, scratch);
}

export function reduce_f8e3m4(operator: i32, count: i32, n: usize, sources: usize, y: usize, scratch: usize): void {
  reduce<E3M4, F32>(operator, count, n, sources, y, scratch);
}
