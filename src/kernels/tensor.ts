/// <reference lib="esnext.disposable" preserve="true" />
/**
 * A tensor: a number format, a shape and strides over an arena. Owners (made by `arena.tensor`) give their memory back
 * with `dispose()`; views (`rows`, `columns`, `slice`, `transpose`, `reshape`) share it and own nothing.
 */
import { expectInteger, expectOneOf, show } from '../base/errors.ts';
import type { Arena } from './arena.ts';
import { expectRounded, narrow, widen } from './convert.ts';
import { DTYPES, type DType } from './dtype.ts';

export class Tensor {
  readonly arena: Arena;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Elements from one index to the next, for each dimension. */
  readonly strides: readonly number[];
  readonly #offset: number;
  /** The owner of the memory: itself, or the tensor that this is a view of. */
  readonly #owner: Tensor;
  #isDisposed = false;

  private constructor(
    arena: Arena,
    dtype: DType,
    shape: readonly number[],
    strides: readonly number[],
    offset: number,
    owner: Tensor | undefined,
  ) {
    if (dtype === 'f4e2m1') expectWholeBytes(shape, strides, offset);
    this.arena = arena;
    this.dtype = dtype;
    this.shape = shape;
    this.strides = strides;
    this.#offset = offset;
    this.#owner = owner ?? this;
  }

  /** @throws TypeError or RangeError if `dtype` is no format or `shape` no list of sizes */
  static allocate(arena: Arena, dtype: DType, shape: readonly number[]): Tensor {
    if (!Object.hasOwn(DTYPES, dtype)) expectOneOf('dtype', dtype, Object.keys(DTYPES) as DType[]);
    if (!Array.isArray(shape)) throw new TypeError(`"shape" expected an array of sizes, got ${show(shape)}`);
    shape.forEach((size, i) => {
      expectInteger(`shape[${i}]`, size, 0, 2 ** 31 - 1);
    });
    const offset = arena.allocate(product(shape) * DTYPES[dtype].bytes);
    return new Tensor(arena, dtype, [...shape], contiguousStrides(shape), offset, undefined);
  }

  /**
   * Byte offset of the first element in the arena's memory.
   * @throws TypeError if the memory has been given back.
   */
  get offset(): number {
    if (this.#owner.#isDisposed) throw new TypeError('tensor expected to be live, got one that was disposed');
    return this.#offset;
  }

  /** Number of elements. */
  get length(): number {
    return product(this.shape);
  }

  get bytes(): number {
    return this.length * DTYPES[this.dtype].bytes;
  }

  /** Whether the elements lie one after another in row-major order. */
  get isContiguous(): boolean {
    const expected = contiguousStrides(this.shape);
    return this.strides.every((stride, i) => this.shape[i]! <= 1 || stride === expected[i]);
  }

  /** Elements `begin` .. `end` - 1 of a contiguous tensor, as a flat view. */
  slice(begin: number, end: number): Tensor {
    expectContiguous('slice', this);
    expectInteger('end', end, 0, this.length);
    expectInteger('begin', begin, 0, end);
    return this.#view([end - begin], [1], begin);
  }

  /** Entry `index` of the first dimension, as a view of one dimension less. */
  at(index: number): Tensor {
    expectInteger('index', index, 0, (this.shape[0] ?? 0) - 1);
    return this.#view(this.shape.slice(1), this.strides.slice(1), index * this.strides[0]!);
  }

  /** Rows `begin` .. `end` - 1 of a matrix, as a view. */
  rows(begin: number, end: number): Tensor {
    const [rows, cols] = expectMatrix('rows', this);
    expectInteger('end', end, 0, rows);
    expectInteger('begin', begin, 0, end);
    return this.#view([end - begin, cols], this.strides, begin * this.strides[0]!);
  }

  /** Columns `begin` .. `end` - 1 of a matrix, as a view. */
  columns(begin: number, end: number): Tensor {
    const [rows, cols] = expectMatrix('columns', this);
    expectInteger('end', end, 0, cols);
    expectInteger('begin', begin, 0, end);
    return this.#view([rows, end - begin], this.strides, begin * this.strides[1]!);
  }

  /** The matrix with rows and columns exchanged, as a view. */
  transpose(): Tensor {
    const [rows, cols] = expectMatrix('transpose', this);
    return this.#view([cols, rows], [this.strides[1]!, this.strides[0]!], 0);
  }

  /** The elements of a contiguous tensor in another shape, as a view. */
  reshape(shape: readonly number[]): Tensor {
    expectContiguous('reshape', this);
    if (product(shape) !== this.length) {
      throw new RangeError(`"shape" expected ${this.length} elements as in [${this.shape}], got [${shape}]`);
    }
    return this.#view([...shape], contiguousStrides(shape), 0);
  }

  /**
   * Copies numbers in, as FP32 and from there rounded to nearest even. What is beyond the format's range becomes what a
   * cast makes of it.
   * @throws TypeError if the dtype is e8m0, whose codes are scales: write them through `bytesView`.
   */
  set(values: ArrayLike<number>): this {
    expectContiguous('set', this);
    if (values.length !== this.length) {
      throw new RangeError(`"values" expected ${this.length} numbers for shape [${this.shape}], got ${values.length}`);
    }
    const { arena, dtype, length } = this;
    if (dtype === 'f32') {
      new Float32Array(arena.memory.buffer, this.offset, length).set(values);
      return this;
    }
    const rounded = expectRounded('set', dtype);
    const wide = arena.allocate(length * 4);
    new Float32Array(arena.memory.buffer, wide, length).set(values);
    narrow(arena, rounded, length, wide, this.offset, 'nearest');
    arena.release(wide);
    return this;
  }

  /** A copy of the elements in row-major order, widened to FP32, which is exact but for i32 beyond 2^24. */
  toFloat32(): Float32Array {
    expectContiguous('toFloat32', this);
    const { arena, dtype, length } = this;
    if (dtype === 'f32') return new Float32Array(arena.memory.buffer, this.offset, length).slice();
    const wide = arena.allocate(length * 4);
    widen(arena, dtype, length, this.offset, wide);
    const values = new Float32Array(arena.memory.buffer, wide, length).slice();
    arena.release(wide);
    return values;
  }

  /** The bytes themselves. The view is valid until the next allocation in the arena. */
  bytesView(): Uint8Array {
    expectContiguous('bytesView', this);
    return new Uint8Array(this.arena.memory.buffer, this.offset, this.bytes);
  }

  /** Gives the memory back. Using the tensor or a view of it afterwards is an error. A view's own disposal does nothing. */
  dispose(): void {
    if (this.#owner !== this || this.#isDisposed) return;
    this.#isDisposed = true;
    this.arena.release(this.#offset);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #view(shape: readonly number[], strides: readonly number[], skip: number): Tensor {
    const offset = this.offset + skip * DTYPES[this.dtype].bytes;
    return new Tensor(this.arena, this.dtype, shape, strides, offset, this.#owner);
  }
}

/** @throws RangeError if a row of 4-bit elements does not begin and end at a byte. */
function expectWholeBytes(shape: readonly number[], strides: readonly number[], offset: number): void {
  const isWhole =
    (strides.at(-1) ?? 1) === 1 && [...shape.slice(-1), ...strides.slice(0, -1)].every((n) => n % 2 === 0);
  if (isWhole && Number.isInteger(offset)) return;
  throw new RangeError(
    `"shape" expected rows of whole bytes, as f4e2m1 has two elements in one, got [${shape}] with strides [${strides}]`,
  );
}

function product(shape: readonly number[]): number {
  return shape.reduce((total, size) => total * size, 1);
}

function contiguousStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = stride;
    stride *= shape[i]!;
  }
  return strides;
}

/** @throws TypeError if `tensor` is not a matrix; returns its [rows, columns]. */
export function expectMatrix(name: string, tensor: Tensor): [number, number] {
  if (tensor.shape.length !== 2) throw new TypeError(`"${name}" expected a matrix, got shape [${tensor.shape}]`);
  return [tensor.shape[0]!, tensor.shape[1]!];
}

/** @throws TypeError if the dtype of `tensor` is not one of `choices`. */
export function expectDType(name: string, tensor: Tensor, choices: readonly DType[]): void {
  if (!choices.includes(tensor.dtype)) {
    throw new TypeError(`"${name}" expected dtype ${choices.join(' or ')}, got ${tensor.dtype}`);
  }
}

/** @throws TypeError if `tensor` has gaps or is transposed. */
export function expectContiguous(name: string, tensor: Tensor): void {
  if (!tensor.isContiguous) {
    throw new TypeError(
      `"${name}" expected a contiguous tensor, got shape [${tensor.shape}] with strides [${tensor.strides}]`,
    );
  }
}

/** @throws RangeError if `tensor` has another shape than `shape`. */
export function expectShape(name: string, tensor: Tensor, shape: readonly number[]): void {
  if (tensor.shape.length !== shape.length || tensor.shape.some((size, i) => size !== shape[i])) {
    throw new RangeError(`"${name}" expected shape [${shape}], got [${tensor.shape}]`);
  }
}

/** @throws TypeError if `tensor` is of another dtype or of another arena than `other`. */
export function expectLike(name: string, tensor: Tensor, otherName: string, other: Tensor): void {
  if (tensor.arena !== other.arena)
    throw new TypeError(`"${name}" expected the arena of "${otherName}", got another one`);
  if (tensor.dtype !== other.dtype) {
    throw new TypeError(`"${name}" expected dtype ${other.dtype} as "${otherName}", got ${tensor.dtype}`);
  }
}
