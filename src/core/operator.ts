/**
 * An operator as the machine sees it: what kind, how large, what it moves to and from HBM. Models emit these; engines
 * charge time to them. The dimensions are one rank's share.
 */
import type { Bytes, Flops } from '../base/units.ts';

export type OperatorKind = 'matmul' | 'rmsnorm' | 'rope' | 'softmax' | 'swiglu' | 'add';

export interface Operator {
  readonly name: string;
  readonly kind: OperatorKind;
  /** Independent problems of the same shape: heads, in attention. */
  readonly batch: number;
  /** matmul: [m, k] x [k, n]. Others: `m` rows of `n` elements, `k` is 0. */
  readonly m: number;
  readonly k: number;
  readonly n: number;
  /** Bytes read from HBM and written to it. Operands that the operator before leaves in SBUF do not count. */
  readonly hbmBytes: Bytes;
}

/** Useful operations of a matmul, 2 m k n for each problem. The vector work of the others is not counted as FLOPs. */
export function operatorFlops({ kind, batch, m, k, n }: Operator): Flops {
  return kind === 'matmul' ? 2 * batch * m * k * n : 0;
}
