/**
 * What a collective does to bytes: reductions of many buffers in one pass, copies, rows gathered and scattered by index,
 * and the exchange of blocks that an all-to-all makes.
 */
import { expectInteger, expectOneOf } from '../base/errors.ts';
import type { Arena } from './arena.ts';
import { cast, type Rounding, storeRounded } from './cast.ts';
import { widen } from './convert.ts';
import { DTYPES } from './dtype.ts';
import { expectContiguous, expectLike, expectShape, type Tensor } from './tensor.ts';

export { copy } from './cast.ts';

/** As NCCL names them. `max` and `min` give NaN where a source is NaN, and order -0 below +0. */
export type ReduceOperator = 'sum' | 'prod' | 'max' | 'min';

/** By the number that the kernels know each by. Kept in step with assembly/reduce.ts. */
const OPERATORS: readonly ReduceOperator[] = ['sum', 'prod', 'max', 'min'];
/** Formats that a reduction takes in FP32: those that widen to it exactly. The integers are reduced as integers. */
const REDUCED = ['f32', 'bf16', 'f16', 'f8e4m3', 'f8e4m3fn', 'f8e5m2', 'f8e3m4'] as const;
type ReducedDType = (typeof REDUCED)[number];

/** Kept in step with assembly/reduce.ts: a block of 65536 FP32, 8 more and an address, to 64 bytes. */
const REDUCE_SCRATCH_BYTES = 65536 * 4 + 64;

/** Sources that are widened side by side, and elements of each at a time: they stay in L2. */
const STAGED_SOURCES = 4;
const STAGED_ELEMENTS = 16384;

/** out = sources[0] + sources[1] + ...: `reduce` with the operator `sum`. */
export function sum(sources: readonly Tensor[], out: Tensor, rounding: Rounding = 'nearest'): void {
  reduce('sum', sources, out, rounding);
}

/**
 * out = sources[0] o sources[1] o ..., in FP32, in that order, rounded once. Equal shapes; `out` is of the sources' dtype
 * or f32. `out` may be one of the sources. Reads every source once, writes `out` once. Integers (i8, i32; `out` as they are)
 * are exact, modulo 2^8 and 2^32: sums and products wrap around, as NCCL's do.
 * @throws RangeError if there is no source, a shape differs, or `out` overlaps a source that it is not
 * @throws TypeError if a tensor has gaps, another arena or another dtype
 */
export function reduce(
  operator: ReduceOperator,
  sources: readonly Tensor[],
  out: Tensor,
  rounding: Rounding = 'nearest',
): void {
  const code = OPERATORS.indexOf(expectOneOf('operator', operator, OPERATORS));
  const first = checkSources(sources, out);
  if (first.dtype === 'i8' || first.dtype === 'i32') {
    reduceIntegers(operator, sources, out);
    return;
  }
  const dtype = expectReduced(first);
  if (sources.length === 1) {
    cast(first, out, rounding);
  } else if (dtype === 'bf16' && out.dtype === 'bf16' && rounding === 'nearest') {
    run('reduceNearest_bf16', code, first.arena, sources.map(offsetOf), first.length, out.offset);
  } else if (dtype === 'f32' || dtype === 'bf16') {
    const kernel = `reduce_${dtype}` as const;
    storeRounded(out, rounding, (y) => run(kernel, code, first.arena, sources.map(offsetOf), first.length, y));
  } else {
    storeRounded(out, rounding, (y) => reduceWidened(code, sources, y));
  }
}

function offsetOf(tensor: Tensor): number {
  return tensor.offset;
}

/** Formats without a kernel of their own: some sources of a block are widened, then taken in together. */
function reduceWidened(code: number, sources: readonly Tensor[], y: number): void {
  const { arena, dtype, length } = sources[0]!;
  const { bytes } = DTYPES[dtype];
  const stage = arena.scratch('widened sources', 4 * STAGED_ELEMENTS * (STAGED_SOURCES + 1));
  const slots = Array.from({ length: STAGED_SOURCES + 1 }, (_, i) => stage + 4 * STAGED_ELEMENTS * i);
  const [sum, ...staged] = slots as [number, ...number[]];
  for (let begin = 0; begin < length; begin += STAGED_ELEMENTS) {
    const count = Math.min(STAGED_ELEMENTS, length - begin);
    const load = (source: Tensor, slot: number): void =>
      widen(arena, dtype, count, source.offset + bytes * begin, slot);
    load(sources[0]!, sum);
    for (let s = 1; s < sources.length; s += STAGED_SOURCES) {
      const some = sources.slice(s, s + STAGED_SOURCES);
      some.forEach((source, i) => {
        load(source, staged[i]!);
      });
      const isLast = s + some.length === sources.length;
      const target = isLast ? y + 4 * begin : sum;
      run('reduce_f32', code, arena, slots.slice(0, some.length + 1), count, target);
    }
  }
}

const INTEGER_STEP: Readonly<Record<ReduceOperator, (a: number, b: number) => number>> = {
  sum: (a, b) => a + b,
  prod: Math.imul,
  max: Math.max,
  min: Math.min,
};

/** In JavaScript: integers are no format of the models' tensors, so that no kernel is carried along for them. */
function reduceIntegers(operator: ReduceOperator, sources: readonly Tensor[], out: Tensor): void {
  if (out.dtype !== sources[0]!.dtype) {
    throw new TypeError(`"out" expected dtype ${sources[0]!.dtype} as "sources[0]", got ${out.dtype}`);
  }
  const combine = INTEGER_STEP[operator];
  const views = sources.map(integersOf);
  const result = integersOf(out);
  for (let i = 0; i < result.length; i++) {
    let x = views[0]![i]!;
    for (let s = 1; s < views.length; s++) x = combine(x, views[s]![i]!) | 0;
    result[i] = x;
  }
}

/** The elements of an i8 or i32 tensor; valid until the next allocation in the arena. */
function integersOf({ arena, dtype, offset, length }: Tensor): Int8Array | Int32Array {
  return dtype === 'i8'
    ? new Int8Array(arena.memory.buffer, offset, length)
    : new Int32Array(arena.memory.buffer, offset, length);
}

/**
 * tensor = tensor / divisor, rounded once: an average from a sum. Integers are rounded towards 0.
 * @throws RangeError if `divisor` is not an integer >= 1
 */
export function divide(tensor: Tensor, divisor: number, rounding: Rounding = 'nearest'): void {
  expectInteger('divisor', divisor, 1);
  expectContiguous('tensor', tensor);
  if (tensor.dtype === 'i8' || tensor.dtype === 'i32') {
    const values = integersOf(tensor);
    for (let i = 0; i < values.length; i++) values[i] = Math.trunc(values[i]! / divisor);
  } else if (divisor > 1) {
    // A power of two divides exactly; else FP32's own rounding comes before the format's.
    using quotients = tensor.arena.tensor('f32', tensor.shape).set(tensor.toFloat32().map((x) => x / divisor));
    cast(quotients, tensor, rounding);
  }
}

function expectReduced({ dtype }: Tensor): ReducedDType {
  const known = REDUCED.find((candidate) => candidate === dtype);
  if (known === undefined)
    throw new TypeError(`"sources[0]" expected dtype ${REDUCED.join(', ')}, i8, i32, got ${dtype}`);
  return known;
}

function run(
  kernel: 'reduce_f32' | 'reduce_bf16' | 'reduceNearest_bf16',
  code: number,
  arena: Arena,
  sources: readonly number[],
  length: number,
  y: number,
): void {
  // Rounded up, so that sums of different counts share a block instead of replacing each other's.
  const tableBytes = Math.ceil(sources.length / 256) * 1024;
  const scratch = arena.scratch('reduce', REDUCE_SCRATCH_BYTES + tableBytes);
  const table = scratch + REDUCE_SCRATCH_BYTES;
  new Uint32Array(arena.memory.buffer, table, sources.length).set(sources);
  arena.kernels[kernel](code, sources.length, length, table, y, scratch);
}

function checkSources(sources: readonly Tensor[], out: Tensor): Tensor {
  const first = sources[0];
  if (first === undefined) throw new RangeError('"sources" expected at least one tensor, got none');
  expectContiguous('out', out);
  sources.forEach((source, i) => {
    const name = `sources[${i}]`;
    expectContiguous(name, source);
    expectLike(name, source, 'sources[0]', first);
    expectShape(name, source, out.shape);
    if (source.dtype !== out.dtype || source.offset !== out.offset) expectApart('out', out, name, source);
  });
  if (out.arena !== first.arena) throw new TypeError('"out" expected the arena of "sources[0]", got another one');
  if (out.dtype !== first.dtype && out.dtype !== 'f32') {
    throw new TypeError(`"out" expected dtype ${first.dtype} as "sources[0]" or f32, got ${out.dtype}`);
  }
  return first;
}

/**
 * out[i] = source[indices[i]], rows of any dtype, bit for bit. `source`: [rows, ...], `out`: [indices.length, ...].
 * @throws RangeError if an index is not a row of `source`, or `out` has another shape or overlaps `source`
 */
export function gatherRows(source: Tensor, indices: ArrayLike<number>, out: Tensor): void {
  checkMove(source, out);
  expectShape('out', out, [indices.length, ...source.shape.slice(1)]);
  const table = storeIndices(indices, source);
  const { arena } = source;
  arena.kernels.gatherRows(indices.length, rowBytes('source', source, 1), source.offset, table, out.offset);
}

/**
 * out[indices[i]] = source[i], rows of any dtype, bit for bit; rows that no index names stay as they are, and of equal
 * indices the last one stays. `source`: [indices.length, ...], `out`: [rows, ...].
 * @throws RangeError if an index is not a row of `out`, or `source` has another shape or overlaps `out`
 */
export function scatterRows(source: Tensor, indices: ArrayLike<number>, out: Tensor): void {
  checkMove(source, out);
  expectShape('source', source, [indices.length, ...out.shape.slice(1)]);
  const table = storeIndices(indices, out);
  const { arena } = source;
  arena.kernels.scatterRows(indices.length, rowBytes('out', out, 1), source.offset, table, out.offset);
}

/**
 * out[j, i] = source[i, j], blocks of any dtype, bit for bit. `source`: [p, q, ...], `out`: [q, p, ...]. With p = q ranks
 * and source[i, j] the block that rank i sends to rank j, out[j] is what rank j has after an all-to-all.
 * @throws RangeError if `out` has another shape or overlaps `source`
 */
export function transposeBlocks(source: Tensor, out: Tensor): void {
  const [p, q, ...rest] = source.shape;
  if (p === undefined || q === undefined) {
    throw new TypeError(`"source" expected at least two dimensions, got shape [${source.shape}]`);
  }
  checkMove(source, out);
  expectShape('out', out, [q, p, ...rest]);
  source.arena.kernels.transposeBlocks(p, q, rowBytes('source', source, 2), source.offset, out.offset);
}

/** Checks what all moves need. */
function checkMove(source: Tensor, out: Tensor): void {
  expectContiguous('source', source);
  expectContiguous('out', out);
  expectLike('out', out, 'source', source);
  expectApart('out', out, 'source', source);
  if (source.shape.length === 0) throw new TypeError('"source" expected at least one dimension, got shape []');
  if (out.shape.length === 0) throw new TypeError('"out" expected at least one dimension, got shape []');
}

/** @throws RangeError if a row is not a whole number of bytes, as an odd row of a 4-bit format is not. */
function rowBytes(name: string, { shape, dtype }: Tensor, dimensions: number): number {
  const bytes = shape.slice(dimensions).reduce((total, size) => total * size, DTYPES[dtype].bytes);
  if (Number.isInteger(bytes)) return bytes;
  throw new RangeError(`"${name}" expected blocks of whole bytes, got shape [${shape}] of ${dtype}`);
}

/** Checks every index against the rows of `indexed` before anything moves; returns the address of a copy. */
function storeIndices(indices: ArrayLike<number>, indexed: Tensor): number {
  const { arena, shape } = indexed;
  const rows = shape[0]!;
  for (let i = 0; i < indices.length; i++) {
    const index = indices[i]!;
    if (!(index >= 0 && index < rows && Number.isInteger(index))) {
      const expected = rows === 0 ? 'a row' : `integer in 0..${rows - 1}`;
      throw new RangeError(`"indices[${i}]" expected ${expected}, got ${index}`);
    }
  }
  const table = arena.scratch('indices', Math.ceil(indices.length / 256) * 1024);
  new Uint32Array(arena.memory.buffer, table, indices.length).set(indices);
  return table;
}

/** @throws RangeError if the two share a byte. */
function expectApart(name: string, tensor: Tensor, otherName: string, other: Tensor): void {
  const begin = Math.max(tensor.offset, other.offset);
  const end = Math.min(tensor.offset + tensor.bytes, other.offset + other.bytes);
  if (begin < end && tensor.arena === other.arena) {
    throw new RangeError(`"${name}" expected memory of its own, got some of "${otherName}"`);
  }
}
