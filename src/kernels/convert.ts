/**
 * Conversions between FP32 and the storage formats, on runs of elements in an arena. The one place where a result is
 * rounded.
 *
 * Overflow. Formats with an infinity overflow to it, as IEEE 754 says, unless told to saturate. `f8e4m3fn` has none: it
 * saturates at 448, and told not to, becomes NaN (both are modes of the OCP standard). `f4e2m1` and the integers always
 * saturate. A saturating conversion takes infinities along; a NaN stays NaN where the format has one.
 * see: aws-neuron-sdk, rounding-modes.rst (nearest even by default, stochastic from NeuronCore-v2 on) and
 * release-notes/components/nki.rst (to integers: nearest even, saturating). What the hardware does with an FP8 overflow is
 * not published: the defaults are the formats' own definitions.
 *
 * Stochastic rounding needs a random word for each element. Element i meets word i of
 *
 *     philox   the stream (seed, stream), by counter: any part can be made on its own. The default
 *     xorwow   Trn3: 128 lanes of 4 generators with 6 words of state each, as `nki.isa.rand_set_state` lays out
 *     lfsr     before Trn3: 128 lanes with a 32-bit shift register each; AWS does not publish its polynomial, ours is in
 *              assembly/generators.ts
 *
 * In the last two, generator i mod 512 (or 128) serves element i: on Trainium the lane of an element follows from its
 * place in SBUF, which a flat tensor does not have. Their states are the first words of the Philox stream; the register's
 * last word is made odd, since a register of zeros stays zero.
 */
import { expectInteger, expectOneOf } from '../base/errors.ts';
import type { Arena } from './arena.ts';
import { DTYPES, type DType } from './dtype.ts';

export type Generator = 'philox' | 'xorwow' | 'lfsr';

export interface StochasticRounding {
  /** 0 .. 2^53 - 1. */
  readonly seed: number;
  /** 0 .. 2^32 - 1; two results with the same stream see the same random bits. */
  readonly stream: number;
  /** Which generator makes the random bits; `philox` by default. */
  readonly generator?: Generator;
}

export type Rounding = 'nearest' | StochasticRounding;

/** Formats that an FP32 can be rounded to. */
export type RoundedDType = Exclude<DType, 'f32' | 'e8m0'>;

/** The first magnitude whose code is infinity, or NaN where there is no infinity. */
const OVERFLOW: Readonly<Partial<Record<DType, number>>> = {
  bf16: Infinity,
  f16: 2 ** 16,
  f8e4m3: 2 ** 8,
  f8e4m3fn: 480,
  f8e5m2: 2 ** 16,
  f8e3m4: 2 ** 4,
};

const HARDWARE = {
  xorwow: { generators: 512, words: 6, register: 4, kernel: 'xorwow_u32' },
  lfsr: { generators: 128, words: 1, register: 0, kernel: 'lfsr_u32' },
} as const;

/** Random words at a time: whole rows of every generator, and they stay in the first-level cache. */
const RUN = 4096;

/** The two 32-bit words of a seed of up to 53 bits. */
export function seedWords(seed: number): [number, number] {
  expectInteger('seed', seed);
  return [seed >>> 0, Math.floor(seed / 2 ** 32)];
}

/** Writes `count` elements at `source` as FP32 to `target`. Exact, but for i32 beyond 2^24. */
export function widen(arena: Arena, dtype: DType, count: number, source: number, target: number): void {
  if (dtype === 'f32') new Uint8Array(arena.memory.buffer).copyWithin(target, source, source + 4 * count);
  else arena.kernels[`widen_${dtype}`](count, source, target);
}

/** @throws TypeError if an FP32 can't be rounded to `dtype`. */
export function expectRounded(name: string, dtype: DType): RoundedDType {
  if (dtype !== 'f32' && dtype !== 'e8m0') return dtype;
  throw new TypeError(`"${name}" expected a dtype that FP32 is rounded to, got ${dtype}`);
}

/**
 * Rounds `count` FP32 at `source` into elements at `target`. An even count for f4e2m1.
 * @throws RangeError if `saturate` is false for a format that has no code for an overflow.
 */
export function narrow(
  arena: Arena,
  dtype: RoundedDType,
  count: number,
  source: number,
  target: number,
  rounding: Rounding,
  saturate?: boolean,
): void {
  const limit = limitOf(dtype, saturate);
  if (rounding === 'nearest') {
    arena.kernels[`narrow_${dtype}`](count, source, target, limit);
    return;
  }
  const kernel = arena.kernels[`narrowStochastic_${dtype}`];
  const { bytes } = DTYPES[dtype];
  const nextWords = randomWords(arena, rounding);
  for (let first = 0; first < count; first += RUN) {
    const words = nextWords(first);
    kernel(Math.min(RUN, count - first), source + 4 * first, words, target + bytes * first, limit);
  }
}

function limitOf(dtype: RoundedDType, saturate: boolean | undefined): number {
  const beyond = OVERFLOW[dtype];
  const isSaturating = saturate ?? (beyond === undefined || dtype === 'f8e4m3fn');
  if (isSaturating) return DTYPES[dtype].max;
  if (beyond !== undefined) return beyond;
  throw new RangeError(`"saturate" expected true for ${dtype}, which has no code for an overflow, got false`);
}

/** A function that makes words `first` .. `first` + RUN - 1 and returns where they are, to be called run after run. */
function randomWords(arena: Arena, rounding: StochasticRounding): (first: number) => number {
  const { kernels } = arena;
  const [low, high] = seedWords(rounding.seed);
  const stream = expectInteger('stream', rounding.stream, 0, 2 ** 32 - 1);
  const generator = expectOneOf<Generator>('generator', rounding.generator ?? 'philox', ['philox', 'xorwow', 'lfsr']);
  const words = arena.scratch('random words', 4 * RUN);
  if (generator === 'philox') {
    return (first) => {
      kernels.philox_u32(RUN, first, stream, low, high, words);
      return words;
    };
  }
  const { generators, words: stateWords, register, kernel } = HARDWARE[generator];
  const state = arena.scratch(generator, 4 * generators * stateWords);
  kernels.philox_u32(generators * stateWords, 0, stream, low, high, state);
  const last = new Uint32Array(arena.memory.buffer, state + 4 * generators * register, generators);
  for (let i = 0; i < generators; i++) last[i]! |= 1;
  return () => {
    kernels[kernel](RUN / generators, generators, state, words);
    return words;
  };
}
