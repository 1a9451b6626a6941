/**
 * The form of a registry row, and the sizes that tests visit. One row for each kernel: its reference, its shapes, its
 * tolerance, what it computes and what it moves.
 */
import type { DType } from '../dtype.ts';
import type { Reference } from '../reference/reference.ts';
import type { Tensor } from '../tensor.ts';

/** A problem of one kernel: its dimensions by name. */
export type Dimensions = Readonly<Record<string, number>>;

export interface KernelRow {
  readonly name: string;
  /** Formats of the operands. */
  readonly dtypes: readonly DType[];
  /** Shapes of the operands, and their formats where they are not the row's. */
  operands(d: Dimensions): readonly { readonly shape: readonly number[]; readonly dtype?: DType }[];
  outShape(d: Dimensions): readonly number[];
  /** Computes `out` (f32 or the operands' format); an in-place kernel finds its input in `out`. */
  run(operands: readonly Tensor[], out: Tensor, d: Dimensions): void;
  /** `initial` is what `out` held before. */
  reference(operands: readonly Float32Array[], d: Dimensions, initial: Float32Array): Reference;
  /** Roundings in FP32 that an element can meet, in units of 2^-24 of its magnitude. */
  roundings(d: Dimensions): number;
  /** True where the kernel works on `out` in place, so that `out` is f32. */
  readonly isInPlace?: boolean;
  flops(d: Dimensions): number;
  /** Bytes that have to be read and written at least. */
  bytes(d: Dimensions, elementBytes: number): number;
  /** Problems whose every edge a test visits, and problems worth timing. */
  readonly tested: readonly Dimensions[];
  readonly timed: readonly Dimensions[];
}

export const BOTH: readonly DType[] = ['f32', 'bf16'];
/** Sizes around every vector width and tile edge. */
export const EDGES: readonly number[] = [0, 1, 3, 4, 5, 7, 8, 15, 16, 17, 31, 33, 63, 65, 127, 1023];
