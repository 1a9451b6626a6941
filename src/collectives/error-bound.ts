/**
 * How far the result of a reduction can be from the exact one, from the order in which the schedule reduces.
 *
 *     |y - sum x_r| <= ((1 + u)^R (1 + w)^(R + 1) (1 + u32)^p - 1) sum |x_r|
 *
 * R: roundings to the buffers' format that a partial sum can meet, at most one for each reduction on its way and p - 1 in all;
 * u, w, u32: unit roundoffs of the buffers, of the wire if it is another format, and of FP32, in which each reduction adds.
 * A product meets all p - 1 roundings whatever the order. Maximum and minimum are exact but for the wire.
 * Leaves out: overflow, and the absolute error of numbers below the normal range.
 * see: Higham, "Accuracy and stability of numerical algorithms", 2002, chapter 4.
 */
import { DTYPES, type DType } from '../kernels/dtype.ts';
import type { Reduction } from './numeric.ts';
import { ADD, DUPLICATE, type Schedule } from './schedule.ts';

/**
 * Most roundings on the way from an input to an output. Follows the deepest addend of every piece of every buffer through
 * the steps; a range that is read is taken to be as deep as its deepest piece.
 */
export function roundingDepth(schedule: Schedule): number {
  const { endpoints, steps, groupSize } = schedule;
  const all = Array.from({ length: steps }, (_, step) => schedule.transfers(step));
  const cuts = new Set<number>();
  for (const { sourceOffset, destinationOffset, length } of all) {
    length.forEach((count, t) => {
      for (const offset of [sourceOffset[t]!, destinationOffset[t]!]) cuts.add(offset).add(offset + count);
    });
  }
  const pieceAt = new Map([...cuts].sort((a, b) => a - b).map((offset, piece) => [offset, piece]));
  const pieces = pieceAt.size;
  const depth = new Uint32Array(endpoints * pieces);
  const rangeOf = (endpoint: number, offset: number, count: number): Uint32Array =>
    depth.subarray(endpoint * pieces + pieceAt.get(offset)!, endpoint * pieces + pieceAt.get(offset + count)!);
  const deepest = (range: Uint32Array): number => range.reduce((most, d) => Math.max(most, d), 0);
  for (const { source, destination, sourceOffset, destinationOffset, length, action } of all) {
    const before = depth.slice();
    const isReduction = new Uint8Array(length.length);
    let first = 0;
    for (let t = 0; t < length.length; t++) {
      const own = rangeOf(destination[t]!, destinationOffset[t]!, length[t]!);
      const isJoined =
        t > 0 &&
        action[t] === ADD &&
        action[t - 1] !== DUPLICATE &&
        destination[t] === destination[t - 1] &&
        destinationOffset[t] === destinationOffset[t - 1] &&
        length[t] === length[t - 1];
      if (!isJoined) first = t;
      const read = action[t] === DUPLICATE ? depth : before;
      const begin = source[t]! * pieces;
      const arriving = deepest(
        read.subarray(begin + pieceAt.get(sourceOffset[t]!)!, begin + pieceAt.get(sourceOffset[t]! + length[t]!)!),
      );
      // A reduction adds one to the deepest of what it joins; a copy takes over what arrives.
      if (action[t] !== ADD) own.fill(arriving);
      else if (isReduction[first]) own.fill(Math.max(deepest(own), arriving + 1));
      else {
        isReduction[first] = 1;
        own.fill(Math.max(deepest(own), arriving) + 1);
      }
    }
  }
  const most = groupSize.reduce((a, b) => Math.max(a, b), 1);
  return Math.min(deepest(depth), most - 1);
}

/** Largest error of a result relative to the sum of the sizes of its addends (sum, average) or to itself (product). */
export function reductionErrorBound(
  schedule: Schedule,
  operator: Reduction,
  dtype: DType,
  wire: DType = dtype,
): number {
  const ranks = schedule.groupSize.reduce((most, size) => Math.max(most, size), 1);
  const unit = DTYPES[dtype].unitRoundoff;
  const wireUnit = wire === dtype ? 0 : DTYPES[wire].unitRoundoff;
  if (operator === 'max' || operator === 'min') return wireUnit;
  const roundings = operator === 'prod' ? ranks - 1 : roundingDepth(schedule);
  let growth = operator === 'average' ? (1 + unit) * (1 + DTYPES.f32.unitRoundoff) : 1;
  for (let i = 0; i < roundings; i++) growth *= (1 + unit) * (1 + wireUnit);
  for (let i = 0; i < ranks; i++) growth *= 1 + DTYPES.f32.unitRoundoff;
  return growth * (1 + wireUnit) - 1;
}
