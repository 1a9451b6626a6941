/**
 * The reduction of a collective: y[i] = x_0[i] o x_1[i] o ... over many sources, in the order of the sources, in FP32,
 * rounded once.
 *
 *     for each block of 65536 elements      acc = x_0;  for each four more sources  acc = acc o x_s o ... o x_{s+3};  y = acc
 *
 * Every source is read once and `y` written once; the accumulator, 256 KiB, stays in L2. Its size and the four sources are
 * what the prefetchers want: long runs, few streams, and each stream with load instructions of its own, which a loop over a
 * table of addresses does not give them (4 x 1 MiB: 72 GB/s, from a table 40). Blocks of 64 KiB or all sources in one loop
 * are slower too.
 *
 * Max and min are IEEE 754 `maximum` and `minimum`: NaN if a source is NaN, and -0 < +0.
 * Leaves out: stochastic rounding, which is a cast of the FP32 result; FP16 and FP8 sources, which the caller widens.
 */
import { narrow } from './convert';
import { BF16, bytesOf, F32 } from './element';
import { widen } from './widen';

class Sum {}
class Prod {}
/** The minimum too, as the negated maximum of the negated. */
class Max {}

// Kept in step with OPERATORS in src/kernels/collective.ts.
const SUM = 0;
const PROD = 1;
const MIN = 3;

// How many sources a loop combines with its accumulator. Three, so that 2^k sources need no loop of one.
class One {}
class Three {}
class Four {}

/** Elements of a block. Kept in step with REDUCE_SCRATCH_BYTES in src/kernels/collective.ts. */
const BLOCK: usize = 65536;
/** Elements of an iteration of the loops below. A tail is padded to it. */
const STEP: usize = 8;
// The parts of the scratch: the accumulator, a tail padded.
const PADDED: usize = 4 * BLOCK;

function combine<O>(a: v128, b: v128): v128 {
  if (idof<O>() == idof<Sum>()) return f32x4.add(a, b);
  if (idof<O>() == idof<Prod>()) return f32x4.mul(a, b);
  return f32x4.pmax(a, b);
}

/** a o b o c o d o e, as many of them as W says. */
function fold<O, W>(a: v128, b: v128, c: v128, d: v128, e: v128): v128 {
  let all = combine<O>(a, b);
  if (idof<W>() != idof<One>()) all = combine<O>(combine<O>(all, c), d);
  if (idof<W>() == idof<Four>()) all = combine<O>(all, e);
  return idof<O>() == idof<Max>() ? exact<W>(all, a, b, c, d, e) : all;
}

/**
 * The maximum `all` with what comparing does not decide: all ones, a NaN, if a source is NaN (of `a` that is known: pmax
 * keeps a first operand that is NaN), and of zeros the positive one. Half the instructions of f32x4.max for each source.
 */
function exact<W>(all: v128, a: v128, b: v128, c: v128, d: v128, e: v128): v128 {
  let anyNaN = f32x4.ne(b, b);
  let common = v128.and(a, b);
  if (idof<W>() != idof<One>()) {
    anyNaN = v128.or(anyNaN, v128.or(f32x4.ne(c, c), f32x4.ne(d, d)));
    common = v128.and(common, v128.and(c, d));
  }
  if (idof<W>() == idof<Four>()) {
    anyNaN = v128.or(anyNaN, f32x4.ne(e, e));
    common = v128.and(common, e);
  }
  // Where the largest is a zero, the bits common to all are those of -0 if none is +0, and none at all if one is.
  return v128.or(v128.bitselect(common, all, f32x4.eq(all, f32x4.splat(0))), anyNaN);
}

// The offsets are written out because they are immediates: as sums they would cost an instruction each.

/** Four elements, negated for a minimum by `flip`, a sign bit. */
function low4<O, T>(x: usize, flip: v128): v128 {
  const v = idof<T>() == idof<F32>() ? v128.load(x) : i32x4.shl(v128.load_ext<u16>(x), 16);
  return idof<O>() == idof<Max>() ? v128.xor(v, flip) : v;
}

/** The next four. */
function high4<O, T>(x: usize, flip: v128): v128 {
  const v = idof<T>() == idof<F32>() ? v128.load(x, 16) : i32x4.shl(v128.load_ext<u16>(x, 8), 16);
  return idof<O>() == idof<Max>() ? v128.xor(v, flip) : v;
}

/**
 * y = a o x_0 o ... for `n` elements, a multiple of STEP and not 0; `a`, `y`: FP32. `sources`: addresses, to which `offset`
 * bytes are added, of sources in format T.
 */
function combineStreams<O, T, W>(n: usize, sources: usize, offset: usize, a: usize, y: usize, sign: i32): void {
  let x0 = load<u32>(sources) + offset;
  let x1 = idof<W>() != idof<One>() ? load<u32>(sources, 4) + offset : x0;
  let x2 = idof<W>() != idof<One>() ? load<u32>(sources, 8) + offset : x0;
  let x3 = idof<W>() == idof<Four>() ? load<u32>(sources, 12) + offset : x0;
  const step = STEP * bytesOf<T>();
  const f = i32x4.splat(sign);
  do {
    const b0 = low4<O, T>(x0, f);
    const b1 = idof<W>() != idof<One>() ? low4<O, T>(x1, f) : b0;
    const b2 = idof<W>() != idof<One>() ? low4<O, T>(x2, f) : b0;
    const b3 = idof<W>() == idof<Four>() ? low4<O, T>(x3, f) : b0;
    const low = fold<O, W>(low4<O, F32>(a, f), b0, b1, b2, b3);
    const c0 = high4<O, T>(x0, f);
    const c1 = idof<W>() != idof<One>() ? high4<O, T>(x1, f) : c0;
    const c2 = idof<W>() != idof<One>() ? high4<O, T>(x2, f) : c0;
    const c3 = idof<W>() == idof<Four>() ? high4<O, T>(x3, f) : c0;
    const high = fold<O, W>(high4<O, F32>(a, f), c0, c1, c2, c3);
    v128.store(y, idof<O>() == idof<Max>() ? v128.xor(low, f) : low);
    v128.store(y, idof<O>() == idof<Max>() ? v128.xor(high, f) : high, 16);
    a += 4 * STEP;
    y += 4 * STEP;
    x0 += step;
    x1 += step;
    x2 += step;
    x3 += step;
    n -= STEP;
  } while (n > 0);
}

function combineWidth<O, T>(width: i32, n: usize, sources: usize, offset: usize, a: usize, y: usize, sign: i32): void {
  if (width == 4) combineStreams<O, T, Four>(n, sources, offset, a, y, sign);
  else if (width == 3) combineStreams<O, T, Three>(n, sources, offset, a, y, sign);
  else combineStreams<O, T, One>(n, sources, offset, a, y, sign);
}

function combineBy<T>(operator: i32, width: i32, n: usize, sources: usize, offset: usize, a: usize, y: usize): void {
  if (operator == SUM) combineWidth<Sum, T>(width, n, sources, offset, a, y, 0);
  else if (operator == PROD) combineWidth<Prod, T>(width, n, sources, offset, a, y, 0);
  else combineWidth<Max, T>(width, n, sources, offset, a, y, operator == MIN ? i32.MIN_VALUE : 0);
}

/** How many of `left` sources come next: fours, and three for what is left of a power of two less one. */
function nextWidth(left: i32): i32 {
  if (left == 3 || left == 6) return 3;
  return left > 3 ? 4 : 1;
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
  let a = load<u32>(sources) + offset;
  if (idof<T>() != idof<F32>()) {
    widen<T>(i32(n), a, scratch);
    a = scratch;
  }
  for (let left = count - 1; left > 0; ) {
    const width = nextWidth(left);
    sources += 4;
    left -= width;
    // Only the last loop writes to `y`: it may be a source that a later loop of this block reads.
    combineBy<T>(operator, width, n, sources, offset, a, left == 0 ? y : scratch);
    sources += usize(width - 1) << 2;
    a = scratch;
  }
}

/** The last elements, fewer than STEP, through padded copies: the same lanes, so the same bits as in the middle. */
function reduceTail<T>(operator: i32, count: i32, n: usize, sources: usize, offset: usize, scratch: usize): void {
  const padded = scratch + PADDED;
  const address = padded + 4 * STEP;
  const bytes = n * bytesOf<T>();
  store<u32>(address, u32(padded));
  for (let s = 0; s < count; s++) {
    memory.copy(padded, load<u32>(sources + (usize(s) << 2)) + offset, bytes);
    if (s == 0) widen<T>(i32(STEP), padded, scratch);
    else combineBy<T>(operator, 1, STEP, address, 0, scratch, scratch);
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
 * `y`: [n] f32, may be one of the sources. `scratch`: 256 KiB and 36 bytes.
 */
export function reduce_f32(operator: i32, count: i32, n: usize, sources: usize, y: usize, scratch: usize): void {
  reduce<F32, F32>(operator, count, n, sources, y, scratch);
}

/** As `reduce_f32` with BF16 sources, not overlapping `y`, which is FP32. */
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
