/**
 * Where results are rounded. Kernels compute in FP32; a result goes to a bf16 tensor through one cast, to nearest even
 * or stochastically, and that cast is the only rounding of an operator (as on Trainium, whose engines compute in FP32 and
 * round when they write).
 *
 * Stochastic rounding draws from the Philox stream (seed, stream): element i of the result always meets the same random
 * bits, whatever ran before. Give every operator a stream of its own.
 */
import { expectInteger } from '../base/errors.ts';
import { expectContiguous, expectLike, expectShape, type Tensor } from './tensor.ts';

export interface StochasticRounding {
  /** 0 .. 2^53 - 1. */
  readonly seed: number;
  /** 0 .. 2^32 - 1; two results with the same stream see the same random bits. */
  readonly stream: number;
}

export type Rounding = 'nearest' | StochasticRounding;

/** The two 32-bit words of a seed of up to 53 bits. */
export function seedWords(seed: number): [number, number] {
  expectInteger('seed', seed);
  return [seed >>> 0, Math.floor(seed / 2 ** 32)];
}

/** Rounds `source` (f32) into `out`, same number of elements, both contiguous. */
export function cast(source: Tensor, out: Tensor, rounding: Rounding = 'nearest'): void {
  expectContiguous('source', source);
  expectContiguous('out', out);
  if (source.arena !== out.arena) throw new TypeError('"out" expected the arena of "source", got another one');
  if (source.length !== out.length) {
    throw new RangeError(`"out" expected ${source.length} elements as "source", got ${out.length}`);
  }
  const { kernels } = out.arena;
  if (source.dtype === out.dtype) copyElements(source, out);
  else if (source.dtype === 'bf16') kernels.bf16ToF32(out.length, source.offset, out.offset);
  else roundToBf16(source.offset, out, rounding);
}

/** `out` = `source`, bit for bit. Same dtype and shape; overlapping is allowed. */
export function copy(source: Tensor, out: Tensor): void {
  expectContiguous('source', source);
  expectContiguous('out', out);
  expectLike('out', out, 'source', source);
  expectShape('out', out, source.shape);
  copyElements(source, out);
}

function copyElements(source: Tensor, out: Tensor): void {
  new Uint8Array(out.arena.memory.buffer).copyWithin(out.offset, source.offset, source.offset + source.bytes);
}

function roundToBf16(source: number, out: Tensor, rounding: Rounding): void {
  const { arena } = out;
  if (rounding === 'nearest') {
    arena.kernels.f32ToBf16(out.length, source, out.offset);
    return;
  }
  const [low, high] = seedWords(rounding.seed);
  const stream = expectInteger('stream', rounding.stream, 0, 2 ** 32 - 1);
  const scratch = arena.scratch('random', 64);
  arena.kernels.f32ToBf16Stochastic(out.length, source, out.offset, 0, stream, low, high, scratch);
}

/**
 * Runs `compute` with the byte offset of an FP32 buffer of `out`'s shape, and leaves the result in `out`: directly if
 * `out` is f32, through a temporary and one rounding if not.
 */
export function storeRounded(out: Tensor, rounding: Rounding, compute: (offset: number) => void): void {
  if (out.dtype === 'f32') {
    compute(out.offset);
    return;
  }
  const wide = out.arena.allocate(out.length * 4);
  try {
    compute(wide);
    roundToBf16(wide, out, rounding);
  } finally {
    out.arena.release(wide);
  }
}
