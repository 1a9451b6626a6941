/** The passes that pipeline schedules are made of. A backward pass is one piece, or its two halves apart. */

export const FORWARD = 0;
export const BACKWARD = 1;
/** Gradients of a stage's input: the half that the stage before waits for. */
export const INPUT = 2;
/** Gradients of its weights: nobody waits for them before the optimizer. */
export const WEIGHT = 3;

/** One pass: what, of which virtual stage, for which micro-batch. */
export interface Pass {
  readonly kind: typeof FORWARD | typeof BACKWARD | typeof INPUT | typeof WEIGHT;
  readonly stage: number;
  readonly microBatch: number;
  /** Runs at the same time as the pass after it, which is of the other direction. */
  readonly together?: boolean;
}
