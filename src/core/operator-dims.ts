/** The dimensions of each operator, and what stands for those that may be left out. */
import { expectInteger, expectOneOf } from '../base/errors.ts';
import type { OperatorName } from './operator-case.ts';

/** A default is a number, or the name of the dimension that it is like; null: the user has to say. */
type Dimensions = Readonly<Record<string, number | string | null>>;

const MATMUL: Dimensions = { m: null, k: null, n: null };
const ROWS: Dimensions = { rows: null, cols: null };

const DIMENSIONS: Readonly<Record<OperatorName, Dimensions>> = {
  matmul: MATMUL,
  'batched-matmul': { batch: null, ...MATMUL },
  'batched-matmul-softmax': { batch: null, ...MATMUL },
  'rmsnorm-matmul': MATMUL,
  'add-rmsnorm-matmul': MATMUL,
  'matmul-add-rmsnorm': MATMUL,
  'matmul-lora': { ...MATMUL, rank: null },
  'gated-mlp': { rows: null, hidden: null, ffn: null },
  attention: { batch: 1, heads: null, kvHeads: 'heads', headDim: null, seqQ: null, seqKv: 'seqQ' },
  softmax: ROWS,
  rmsnorm: ROWS,
  layernorm: ROWS,
  gelu: ROWS,
  silu: ROWS,
  swiglu: ROWS,
  add: ROWS,
  rope: ROWS,
  transpose: ROWS,
  adamw: ROWS,
  'selective-scan': { batch: 1, channels: null, seq: null, state: null },
  'depthwise-conv1d': { batch: 1, channels: null, length: null, taps: null },
  embedding: ROWS,
  'dma-copy': { bytes: null, engines: 16 },
};

export const OPERATOR_NAMES: readonly OperatorName[] = Object.keys(DIMENSIONS) as OperatorName[];

/** Every dimension that some operator has. */
export const DIMENSION_NAMES: readonly string[] = [...new Set(Object.values(DIMENSIONS).flatMap(Object.keys))];

/**
 * `given` with the defaults of the operator.
 * @throws RangeError for an operator that there is none of, a dimension that it lacks or that is not its own, one below 1, or heads
 * that do not divide into groups
 */
export function operatorDims(op: string, given: Readonly<Record<string, number>>): Readonly<Record<string, number>> {
  const known = DIMENSIONS[expectOneOf('op', op, OPERATOR_NAMES)];
  const names = Object.keys(known);
  const foreign = Object.keys(given).find((name) => !names.includes(name));
  if (foreign !== undefined)
    throw new RangeError(`"${foreign}" is no dimension of ${op}; expected ${names.join(', ')}`);
  const missing = names.filter((name) => known[name] === null && given[name] === undefined);
  if (missing.length > 0) throw new RangeError(`"${missing.join('", "')}" expected for ${op}, got none`);
  const dims: Record<string, number> = {};
  for (const name of names) {
    const fallback = known[name]!;
    dims[name] = expectInteger(name, given[name] ?? (typeof fallback === 'string' ? dims[fallback] : fallback), 1);
  }
  if (op === 'attention' && dims.heads! % dims.kvHeads! !== 0) {
    throw new RangeError(`"kvHeads" expected a divisor of heads = ${dims.heads}, got ${dims.kvHeads}`);
  }
  return dims;
}
