/**
 * What both attention programs share: operands, and how keys and values lie in SBUF.
 *
 * The probabilities of 128 keys meet the values of the same 128 keys on the partitions. Which keys share a group is free, as
 * the sum runs over all of them: partition p takes J neighbouring rows of V, so that a DMA descriptor is J rows long, and
 * group j of a section holds the keys j, j + J, j + 2 J ...
 */

import type { DType } from '../../kernels/dtype.ts';
import { HbmView, type Index, type TileView } from '../access.ts';
import type { ProgramBuilder } from '../program.ts';
import { type Matrix, P } from './matrix.ts';

export interface AttentionOptions {
  readonly batch?: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly seqQ: number;
  readonly seqKv: number;
  readonly dtype: DType;
  /** Query i sees keys up to seqKv - seqQ + i. */
  readonly causal?: boolean;
  /** Positions that a query sees, itself included. */
  readonly window?: number;
  /** FP32 operands are multiplied in BF16, cast by the DMA that brings them, as flash kernels do by default. */
  readonly mixedPrecision?: boolean;
}

/** Keys of one section that go to the partitions together: first, first + step, ... */
export interface KeyGroup {
  readonly partitions: number;
  readonly first: number;
  readonly step: number;
}

/** The groups of a section of `length` keys: J interleaved ones, or J that follow each other, and one of what remains. */
export function keyGroups(length: number, isInterleaved: boolean = true): KeyGroup[] {
  const each = Math.floor(length / P);
  const groups: KeyGroup[] = Array.from({ length: each }, (_, g) =>
    isInterleaved ? { partitions: P, first: g, step: each } : { partitions: P, first: g * P, step: 1 },
  );
  const rest = length - each * P;
  if (rest > 0) groups.push({ partitions: rest, first: each * P, step: 1 });
  return groups;
}

/** Loads rows [row, row + length) of V, group g in columns [g width, (g + 1) width) from `column` on, as `keyGroups` says. */
export function loadValues(
  nc: ProgramBuilder,
  tile: TileView,
  column: number,
  { tensor, offset, columns: width }: Matrix,
  row: Index,
  length: number,
  isInterleaved: boolean = true,
): void {
  const each = Math.floor(length / P);
  const start = offset.plus(row.times(width));
  if (each > 0) {
    const from = isInterleaved
      ? new HbmView(tensor, start, each * width, P, [[1, each * width]])
      : new HbmView(tensor, start, width, P, [
          [P * width, each],
          [1, width],
        ]);
    nc.dmaCopy(tile.columns(column, each * width), from);
  }
  const rest = length - each * P;
  if (rest > 0) {
    const from = new HbmView(tensor, start.plus(each * P * width), width, rest, [[1, width]]);
    nc.dmaCopy(tile.rows(0, rest).columns(column + each * width, width), from);
  }
}

/** @throws RangeError for heads that do not divide into groups, or a causal mask that leaves queries without keys */
export function checkAttention({ heads, kvHeads, seqQ, seqKv, causal = false, headDim }: AttentionOptions): void {
  if (heads % kvHeads !== 0) throw new RangeError(`"kvHeads" expected a divisor of ${heads} heads, got ${kvHeads}`);
  if (causal && seqQ > seqKv)
    throw new RangeError(`"seqQ" expected at most seqKv = ${seqKv} in causal attention, got ${seqQ}`);
  if (headDim > 512) throw new RangeError(`"headDim" expected at most 512, a PSUM bank, got ${headDim}`);
}
