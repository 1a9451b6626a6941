/**
 * How much of the exchanges beside a pass is left when the pass ends, and the counts that plans are made of.
 * Exchanges share the chip with the pass: `contention` is the share of the shorter of the two that is added to the longer.
 */
import type { Seconds } from '../../base/units.ts';
import type { StepPlan } from './setup.ts';

/** Virtual stages. */
export function stagesOf({ pp, interleave }: StepPlan): number {
  return pp * interleave;
}

/** Ranks that hold the same experts. */
export function expertReplicas({ tp, cp, dp, ep, expertTp }: StepPlan): number {
  return Math.max(1, (tp * cp * dp) / (ep * expertTp));
}

/** A pass with a queue of exchanges beside it. */
export function beside(work: Seconds, queue: Seconds, contention: number): Seconds {
  return Math.max(work, queue) + contention * Math.min(work, queue);
}

/**
 * What is left of exchanges in `buckets` when the pass of that length ends, at whose parts' ends they become ready (or are
 * needed, in reverse); all of them without buckets.
 */
export function exposed(exchanges: Seconds, buckets: number, pass: Seconds): Seconds {
  if (buckets === 0) return exchanges;
  return Math.max(exchanges / buckets, exchanges - pass * (1 - 1 / buckets));
}
