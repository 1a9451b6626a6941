/** Registry rows of the elementwise activations. */
import { erf, exp, gelu, silu, swiglu, tanh } from '../activation.ts';
import {
  erfReference,
  expReference,
  geluReference,
  geluTanhReference,
  siluReference,
  swigluReference,
  tanhReference,
} from '../reference/activation.ts';
import type { Reference } from '../reference/reference.ts';
import type { Tensor } from '../tensor.ts';
import { BOTH, EDGES, type KernelRow } from './row.ts';

/** A row of an operator on `count` operands of one shape. */
export function elementwise(
  name: string,
  count: 1 | 2,
  flopsPerElement: number,
  roundings: number,
  run: (operands: readonly Tensor[], out: Tensor) => void,
  reference: (a: Float32Array, b: Float32Array) => Reference,
): KernelRow {
  return {
    name,
    dtypes: BOTH,
    operands: ({ n }) => Array.from({ length: count }, () => ({ shape: [n!] })),
    outShape: ({ n }) => [n!],
    run,
    reference: ([a, b]) => reference(a!, b!),
    roundings: () => roundings,
    flops: ({ n }) => flopsPerElement * n!,
    bytes: ({ n }, size) => (count + 1) * n! * size,
    tested: EDGES.map((n) => ({ n })),
    timed: [{ n: 1 << 20 }],
  };
}

export const activationRows: readonly KernelRow[] = [
  // 2.5 ulp are 5 units at the lower end of a binade.
  elementwise('exp', 1, 12, 5, ([x], out) => exp(x!, out), expReference),
  elementwise('tanh', 1, 25, 8, ([x], out) => tanh(x!, out), tanhReference),
  elementwise('erf', 1, 25, 8, ([x], out) => erf(x!, out), erfReference),
  elementwise('gelu', 1, 29, 10, ([x], out) => gelu(x!, out), geluReference),
  // The exponent's own rounding counts through the magnitude; 1 + e, the division and e as in silu.
  elementwise('gelu-tanh', 1, 18, 10, ([x], out) => gelu(x!, out, { form: 'tanh' }), geluTanhReference),
  // e^-x carries 5 units, then 1 + e and the division.
  elementwise('silu', 1, 14, 9, ([x], out) => silu(x!, out), siluReference),
  elementwise('swiglu', 2, 15, 10, ([gate, up], out) => swiglu(gate!, up!, out), swigluReference),
];
