/**
 * What a collective does to bytes: copies, and sums of many buffers in one pass.
 */
import { type Rounding, storeRounded } from './cast.ts';
import { expectContiguous, expectLike, expectShape, type Tensor } from './tensor.ts';

export { copy } from './cast.ts';

/**
 * out = sources[0] + sources[1] + ..., added in FP32 in that order and rounded once. Equal dtype and shape; `out` may be
 * one of the sources. Reads every source once and writes `out` once.
 * @throws RangeError if there is no source.
 */
export function sum(sources: readonly Tensor[], out: Tensor, rounding: Rounding = 'nearest'): void {
  if (sources.length === 0) throw new RangeError('"sources" expected at least one tensor, got none');
  expectContiguous('out', out);
  sources.forEach((source, i) => {
    expectContiguous(`sources[${i}]`, source);
    expectLike(`sources[${i}]`, source, 'out', out);
    expectShape(`sources[${i}]`, source, out.shape);
  });
  const { arena, dtype, length } = out;
  const table = arena.scratch('sum', Math.max(4 * sources.length, 256));
  const kernel = dtype === 'f32' ? arena.kernels.sum_f32 : arena.kernels.sum_bf16;
  storeRounded(out, rounding, (y) => {
    // Written after the temporary of a bf16 result is there: allocating may move the memory's buffer.
    new Uint32Array(arena.memory.buffer, table, sources.length).set(sources.map((source) => source.offset));
    kernel(sources.length, length, table, y);
  });
}
