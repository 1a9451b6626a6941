/**
 * Is the gradient right? Two checks of a step against the same step on one rank in FP32, whose weights are those of the
 * storage format, widened:
 *
 *     equivalence          every matrix of the gradient, put together from the ranks, against that of one rank
 *     finite differences   (L(w + h d) - L(w - h d)) / 2h against g d on one rank, along the gradient d = g / |g|
 *
 * The second sees a gradient that is too long, too short or turned, but not one that lacks a matrix: the tests go through
 * matrices and operators one by one.
 */

import { wholeMatrices } from './blocks.ts';
import type { Executor } from './executor.ts';

export interface GradientError {
  /** max |g - reference| / max |reference| of the worst matrix; null if a number is not finite. */
  readonly maxRelError: number | null;
  /** The worst matrix. */
  readonly matrix: string;
}

/**
 * Biases of a layer count as one vector: a key bias moves all scores of a query alike but for the rotation, so that its own
 * gradient is what is left of large numbers that cancel.
 */
export function gradientError(executor: Executor, reference: Executor): GradientError {
  let worst: GradientError = { maxRelError: 0, matrix: '' };
  const references = reference.buckets();
  for (const [i, bucket] of executor.buckets().entries()) {
    const expected = wholeMatrices(reference, references[i]!, 'gradients').map(({ values }) => values);
    const matrices = wholeMatrices(executor, bucket, 'gradients');
    const sizes = expected.map(largest);
    const biases = Math.max(...sizes.map((size, j) => (matrices[j]!.isBias ? size : 0)));
    for (const [j, { name, values, isBias }] of matrices.entries()) {
      const error = largest(values.subarray(0, expected[j]!.length).map((value, k) => value - expected[j]![k]!));
      if (!Number.isFinite(error)) return { maxRelError: null, matrix: name };
      const size = isBias ? biases : sizes[j]!;
      // A gradient of nothing but zeros has no relative error: any other number there is wrong altogether.
      const relative = size === 0 ? Math.min(1, error) : error / size;
      if (relative > worst.maxRelError!) worst = { maxRelError: relative, matrix: name };
    }
  }
  return worst;
}

/** max |x|, NaN if there is one. */
function largest(values: Float32Array): number {
  let most = 0;
  for (const value of values) most = Math.max(most, Math.abs(value));
  return most;
}

export interface FiniteDifference {
  /** |g|, the derivative along the gradient. */
  readonly predicted: number;
  readonly measured: number;
  readonly relError: number;
}

/** Part of the loss by which a step along the gradient should change it: rounding and curvature both stay below 1e-3. */
const CHANGE = 0.01;

/** Leaves the weights as they were. Call it after a step that left the gradients. */
export function finiteDifference(reference: Executor, loss: number): FiniteDifference {
  const buckets = reference.buckets();
  const read = (what: 'weights' | 'gradients') =>
    buckets.map((bucket) => reference.tensor(bucket[what], 0).toFloat32());
  const [weights, gradients] = [read('weights'), read('gradients')];
  let squares = 0;
  for (const gradient of gradients) for (const g of gradient) squares += g * g;
  const predicted = Math.sqrt(squares);
  if (predicted === 0 || loss === 0) return { predicted, measured: 0, relError: 0 };
  const distance = (CHANGE * loss) / predicted;
  const move = (factor: number): void => {
    buckets.forEach((bucket, i) => {
      const gradient = gradients[i]!;
      reference.tensor(bucket.weights, 0).set(weights[i]!.map((w, j) => w + factor * gradient[j]!));
    });
  };
  const lossAt = (factor: number): number => {
    move(factor);
    return reference.forward();
  };
  const factor = distance / predicted;
  const measured = (lossAt(factor) - lossAt(-factor)) / (2 * distance);
  move(0);
  return { predicted, measured, relError: Math.abs(measured - predicted) / predicted };
}
