/**
 * Products of MX matrices: elements of 4 or 8 bits with a power of two for each 32 along the axis that is summed over.
 *
 * An element has at most 4 significant bits, BF16 has 8 and the exponents of FP32: element times scale is a BF16 number,
 * exactly (beyond FP32's normal range excepted). So MX operands are widened to BF16 once and multiplied as BF16, with
 * FP32 accumulation: the numbers of an MX matmul on Trainium3, whose array also multiplies the scaled values.
 * see: Neuron NKI guide, architecture of Trainium3; OCP Microscaling Formats 1.0.
 */
import { type MatmulOptions, matmul } from './matmul.ts';
import { type PackedWeights, packWeights } from './packed.ts';
import { dequantizeMx, type MxTensor } from './quantize.ts';
import { Tensor } from './tensor.ts';

/** The matrix in BF16, exact; a fresh tensor. @throws TypeError that names the operand if it is scaled along `axis`' other. */
function widenMx(name: string, x: MxTensor, axis: 0 | 1): Tensor {
  if (x.axis !== axis) throw new TypeError(`"${name}" expected scales along axis ${axis}, got axis ${x.axis}`);
  const out = x.elements.arena.tensor('bf16', x.elements.shape);
  dequantizeMx(x, out);
  return out;
}

/** Weights for `matmul` from an MX matrix [k, n] with scales along axis 0; kept in BF16. */
export function packMxWeights(b: MxTensor): PackedWeights {
  using wide = widenMx('b', b, 0);
  return packWeights(wide);
}

/**
 * out = a b with one or both operands MX: `a` [m, k] scaled along axis 1, `b` [k, n] scaled along axis 0. An operand that
 * is no MX matrix is one that `matmul` takes.
 */
export function matmulMx(a: Tensor | MxTensor, b: Tensor | MxTensor, out: Tensor, options?: MatmulOptions): void {
  using wideA = a instanceof Tensor ? viewOf(a) : widenMx('a', a, 1);
  using wideB = b instanceof Tensor ? viewOf(b) : widenMx('b', b, 0);
  matmul(wideA, wideB, out, options);
}

/** The matrix as a view, whose disposal leaves the matrix alone. */
function viewOf(x: Tensor): Tensor {
  return x.rows(0, x.shape[0] ?? 0);
}
