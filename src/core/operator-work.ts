/**
 * What an operator has to do at least: its useful operations, and its operands once from device memory and back. Softmax,
 * norms and element-wise work count no operations, as is usual.
 */
import { ModelError, show } from '../base/errors.ts';
import type { Bytes, Flops } from '../base/units.ts';
import type { OperandFormat, OperatorCase } from './operator-case.ts';

export interface OperatorWork {
  readonly flops: Flops;
  /** Of operands a and b, and of the result c; 0 where they stay on chip. */
  readonly aBytes: Bytes;
  readonly bBytes: Bytes;
  readonly cBytes: Bytes;
  /** Exponentials, of softmax and attention. */
  readonly exponentials: number;
}

/** Bytes of an element with its share of block scales: MX formats share 8 bits over 32 elements, NVFP4 over 16. */
export const FORMAT_BYTES: Readonly<Record<OperandFormat, number>> = {
  f32: 4,
  tf32: 4,
  int32: 4,
  f16: 2,
  bf16: 2,
  fp8: 1,
  int8: 1,
  uint8: 1,
  mxfp8: 1 + 1 / 32,
  mxfp4: 0.5 + 1 / 32,
  nvfp4: 0.5 + 1 / 16,
};

/** Elements of the operands, and operations. */
interface Counts {
  readonly flops?: number;
  readonly a: number;
  readonly b?: number;
  readonly c: number;
  readonly exponentials?: number;
}

/** Keys that the queries of one head see, summed over the queries. */
function visiblePairs({ dims, causal = false, window }: OperatorCase): number {
  const queries = dims.seqQ ?? 1;
  const keys = dims.seqKv ?? 1;
  const first = keys - queries;
  if (!causal) return queries * Math.min(keys, window ?? keys);
  // Query i sees first + i + 1 keys, at most `window` of them.
  const limit = window ?? keys;
  const growing = Math.max(0, Math.min(queries, limit - first - 1));
  return growing * (first + (growing + 1) / 2) + (queries - growing) * Math.min(limit, keys);
}

function counts(operator: OperatorCase): Counts {
  const dim = (name: string): number => operator.dims[name] ?? 1;
  const [batch, m, k, n] = [dim('batch'), dim('m'), dim('k'), dim('n')];
  const cells = dim('rows') * dim('cols');
  const flops = 2 * batch * m * k * n;
  const product = { flops, a: batch * m * k, b: batch * k * n, c: batch * m * n };
  switch (operator.op) {
    case 'matmul':
    case 'batched-matmul':
    case 'rmsnorm-matmul':
      return product;
    case 'batched-matmul-softmax':
      return { ...product, exponentials: batch * m * n };
    case 'add-rmsnorm-matmul':
      return { ...product, a: 2 * m * k };
    case 'matmul-add-rmsnorm':
      return { ...product, a: m * k + m * n };
    case 'matmul-lora': {
      const rank = dim('rank');
      return { flops: flops + 2 * m * rank * (k + n), a: m * k, b: k * n + rank * (k + n), c: m * n };
    }
    case 'gated-mlp': {
      const [rows, hidden, ffn] = [dim('rows'), dim('hidden'), dim('ffn')];
      return { flops: 6 * rows * hidden * ffn, a: rows * hidden, b: 3 * hidden * ffn, c: rows * hidden };
    }
    case 'attention': {
      const pairs = batch * dim('heads') * visiblePairs(operator);
      const width = batch * dim('headDim');
      const keys = Math.min(dim('seqKv'), (operator.window ?? dim('seqKv')) + dim('seqQ') - 1);
      const queries = width * dim('heads') * dim('seqQ');
      return {
        flops: 4 * pairs * dim('headDim'),
        a: queries,
        b: 2 * width * dim('kvHeads') * keys,
        c: queries,
        exponentials: pairs,
      };
    }
    case 'softmax':
      return { a: cells, c: cells, exponentials: cells };
    case 'rmsnorm':
    case 'layernorm':
    case 'gelu':
    case 'silu':
    case 'transpose':
    case 'embedding':
      return { a: cells, c: cells };
    case 'swiglu':
    case 'add':
    case 'rope':
      return { a: cells, b: cells, c: cells };
    case 'adamw':
      return { a: 4 * cells, c: cells };
    case 'selective-scan': {
      const elements = batch * dim('channels') * dim('seq');
      return { a: 2 * elements, c: elements };
    }
    case 'depthwise-conv1d': {
      const elements = batch * dim('channels') * dim('length');
      return { flops: 2 * elements * dim('taps'), a: elements, c: elements };
    }
    case 'dma-copy':
      return { a: dim('bytes'), c: 0 };
    default:
      // From a user's file any name may come.
      throw new ModelError(
        'UNSUPPORTED',
        'op',
        `expected an operator that is modelled, got ${show(operator.op satisfies never)}`,
      );
  }
}

/**
 * The least work of an operator.
 * @throws ModelError (UNSUPPORTED) for a name that is not one of `OperatorName`
 */
export function operatorWork(operator: OperatorCase): OperatorWork {
  const { flops = 0, a, b = 0, c, exponentials = 0 } = counts(operator);
  const { dtype, weightDtype = dtype, outDtype = dtype, resident = [] } = operator;
  const bytes = (name: 'a' | 'b' | 'c', elements: number, format: OperandFormat): Bytes =>
    resident.includes(name) ? 0 : elements * FORMAT_BYTES[format];
  return {
    flops,
    aBytes: bytes('a', a, dtype),
    bBytes: bytes('b', b, weightDtype),
    cBytes: bytes('c', c, outDtype),
    exponentials,
  };
}
