/**
 * Where results are rounded. Kernels compute in FP32; a result goes to a tensor of a shorter format through one cast, to
 * nearest even or stochastically, and that cast is the only rounding of an operator (as on Trainium, whose engines compute
 * in FP32 and round when they write). `convert.ts` says what overflows become and where random bits come from.
 *
 * With the default generator, element i of a result always meets the same random bits, whatever ran before. Give every
 * operator a stream of its own.
 */
import { expectRounded, narrow, type Rounding, widen } from './convert.ts';
import { expectContiguous, expectLike, expectShape, type Tensor } from './tensor.ts';

export type { Generator, Rounding, StochasticRounding } from './convert.ts';
export { seedWords } from './convert.ts';

export interface CastOptions {
  /**
   * Whether values beyond the largest finite one become that one. By default true for f8e4m3fn, f4e2m1 and integers, and
   * false for formats that have an infinity.
   */
  readonly saturate?: boolean;
}

/**
 * Converts `source` into `out`, same number of elements, both contiguous, of any two dtypes: widened exactly, then rounded
 * once. Equal dtypes are copied bit for bit.
 * @throws TypeError if `out` is e8m0, RangeError if the sizes differ.
 */
export function cast(source: Tensor, out: Tensor, rounding: Rounding = 'nearest', options: CastOptions = {}): void {
  expectContiguous('source', source);
  expectContiguous('out', out);
  const { arena, length } = source;
  if (arena !== out.arena) throw new TypeError('"out" expected the arena of "source", got another one');
  if (length !== out.length) {
    throw new RangeError(`"out" expected ${length} elements as "source", got ${out.length}`);
  }
  if (source.dtype === out.dtype) copyElements(source, out);
  else if (out.dtype === 'f32') widen(arena, source.dtype, length, source.offset, out.offset);
  else {
    const dtype = expectRounded('out', out.dtype);
    const round = (wide: number) => narrow(arena, dtype, length, wide, out.offset, rounding, options.saturate);
    if (source.dtype === 'f32') round(source.offset);
    else {
      withWide(out, (wide) => {
        widen(arena, source.dtype, length, source.offset, wide);
        round(wide);
      });
    }
  }
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

/** Calls `use` with the byte offset of an FP32 buffer of `tensor`'s length, which lives as long as the call. */
function withWide(tensor: Tensor, use: (offset: number) => void): void {
  const wide = tensor.arena.allocate(tensor.length * 4);
  try {
    use(wide);
  } finally {
    tensor.arena.release(wide);
  }
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
  const dtype = expectRounded('out', out.dtype);
  withWide(out, (wide) => {
    compute(wide);
    narrow(out.arena, dtype, out.length, wide, out.offset, rounding);
  });
}
