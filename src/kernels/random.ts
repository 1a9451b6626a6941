/**
 * Tensors of seeded random numbers, by counter: an element depends on (seed, stream, its index in the whole matrix)
 * alone, so ranks can make their shards of one matrix apart from each other and agree.
 */
import { expectInteger } from '../base/errors.ts';
import { seedWords, storeRounded } from './cast.ts';
import { expectContiguous, expectMatrix, type Tensor } from './tensor.ts';

export interface UniformOptions {
  /** 0 .. 2^53 - 1. */
  readonly seed: number;
  /** 0 .. 2^32 - 1: which matrix. */
  readonly stream: number;
  /** Values lie in [-scale, scale]. */
  readonly scale: number;
  /** The whole matrix has this many columns; by default those of the tensor. */
  readonly columns?: number;
  /** Where the tensor's first element lies in the whole matrix. */
  readonly row?: number;
  readonly column?: number;
}

/** Fills the matrix `out` with its block of a virtual uniform matrix, rounded to nearest even from FP32. */
export function fillUniform(out: Tensor, options: UniformOptions): void {
  expectContiguous('out', out);
  const [rows, cols] = expectMatrix('out', out);
  const { seed, stream, scale, columns = cols, row = 0, column = 0 } = options;
  const [low, high] = seedWords(seed);
  expectInteger('stream', stream, 0, 2 ** 32 - 1);
  expectInteger('column', column, 0, Math.max(0, columns - cols));
  const first = row * columns + column;
  expectInteger('row', first + rows * columns, 0);
  const { arena } = out;
  const scratch = arena.scratch('uniform', 128);
  if (out.dtype === 'bf16') {
    arena.kernels.uniform_bf16(rows, cols, first, columns, scale, stream, low, high, out.offset, scratch);
    return;
  }
  storeRounded(out, 'nearest', (y) => {
    arena.kernels.uniform_f32(rows, cols, first, columns, scale, stream, low, high, y, scratch);
  });
}
