/** One check of a machine's bring-up, and the numbers that the checks work on. */
import type { Seconds } from '../../base/units.ts';
import { type Arena, type DType, fillUniform, type Tensor } from '../../kernels/index.ts';

export interface Check {
  readonly part: 'engine' | 'memory' | 'link' | 'collective';
  readonly name: string;
  /** Null where nothing could be exercised: the reason is in `detail`. */
  readonly ok: boolean | null;
  /** What was done, and what came out wrong. */
  readonly detail: string;
  /** Simulated; 0 where there is no clock. */
  readonly time: Seconds;
  /** Largest error relative to the largest value; null where bytes are compared. */
  readonly error: number | null;
}

/** Random numbers in [-1, 1], the same for the same stream. */
export function randomTensor(arena: Arena, dtype: DType, shape: readonly number[], stream: number): Tensor {
  const tensor = arena.tensor(dtype, shape);
  fillUniform(tensor.reshape([1, tensor.length]), { seed: 1, stream, scale: 1 });
  return tensor;
}

/** max |y - reference| / max |reference|; NaN if a value is none. */
export function relativeError(values: ArrayLike<number>, reference: ArrayLike<number>): number {
  let error = 0;
  let size = 0;
  for (let i = 0; i < reference.length; i++) {
    const difference = Math.abs(values[i]! - reference[i]!);
    if (!(difference < Infinity)) return Number.NaN;
    error = Math.max(error, difference);
    size = Math.max(size, Math.abs(reference[i]!));
  }
  return size === 0 ? error : error / size;
}
