/**
 * From an operator case to the tile program that computes it on one core. `implementation` chooses among documented
 * programs, never a factor:
 *
 *     optimised, library   the blocked kernel
 *                          (FP32 attention multiplies in BF16, the default of flash kernels)
 *     naive                matmul: loads hoisted, nothing blocked; selective scan: the whole sequence in SBUF
 *     compiler             matmul: both operands come as a framework stores them, [M, K] and [N, K], and pass through HBM once to
 *                          be transposed before the blocked kernel starts
 */
import { expectInteger, ModelError } from '../base/errors.ts';
import type { CoreSpec } from '../hardware/spec.ts';
import type { DType } from '../kernels/dtype.ts';
import type { OperandFormat, OperatorCase } from './operator-case.ts';
import type { Program } from './program.ts';
import { attentionProgram } from './programs/attention.ts';
import { dmaCopyProgram, embeddingProgram } from './programs/copies.ts';
import { depthwiseConv1dProgram } from './programs/depthwise-conv1d.ts';
import { elementwiseProgram } from './programs/elementwise.ts';
import { gatedMlpProgram } from './programs/gated-mlp.ts';
import { type MatmulLayout, matmulProgram } from './programs/matmul.ts';
import { loraProgram, matmulNormProgram, matmulSoftmaxProgram, normMatmulProgram } from './programs/matmul-fused.ts';
import { quantisedMatmulProgram } from './programs/matmul-quantised.ts';
import { layernormProgram, rmsnormProgram } from './programs/norm.ts';
import { ropeProgram } from './programs/rope.ts';
import { selectiveScanProgram, wholeSequenceFits } from './programs/selective-scan.ts';
import { softmaxProgram } from './programs/softmax.ts';
import { transposeProgram } from './programs/transpose.ts';

/** How a format is stored on this core. */
function storageOf(core: CoreSpec, format: OperandFormat): DType {
  const fp8: DType = core.version >= 4 ? 'f8e4m3fn' : 'f8e4m3';
  const formats: Readonly<Record<OperandFormat, DType>> = {
    f32: 'f32',
    // Engines read TF32 from FP32 storage; TensorE has no faster mode for it in the documented cycles.
    tf32: 'f32',
    f16: 'f16',
    bf16: 'bf16',
    fp8,
    mxfp8: fp8,
    mxfp4: fp8,
    nvfp4: fp8,
    int8: 'i8',
    uint8: 'i8',
    int32: 'i32',
  };
  return formats[format];
}

/** Block-scaled formats run in the MX mode of NeuronCore-v4; FP4 is widened to FP8 before the array. */
export function isBlockScaled(format: OperandFormat): boolean {
  return format === 'mxfp8' || format === 'mxfp4';
}

/**
 * The program of `operator` on one core.
 * @throws ModelError (UNSUPPORTED) for a format that the core's engines don't compute in; RangeError for a missing dimension
 */
export function operatorProgram(core: CoreSpec, operator: OperatorCase): Program {
  const { op, dtype: format, implementation = 'optimised', causal = false, window } = operator;
  const dim = (name: string): number => {
    const value = operator.dims[name];
    if (value === undefined) throw new RangeError(`"${name}" expected a dimension of ${op}, got undefined`);
    return value;
  };
  const dtype = storageOf(core, format);
  const outDtype = outStorage(core, operator);
  const product = () => ({ m: dim('m'), k: dim('k'), n: dim('n'), dtype, outDtype });
  const rowwise = () => ({ rows: dim('rows'), cols: dim('cols'), dtype });
  switch (op) {
    case 'matmul':
    case 'batched-matmul':
      return matmul(core, operator, { ...product(), batch: op === 'matmul' ? 1 : dim('batch') });
    case 'batched-matmul-softmax':
      return matmulSoftmaxProgram(core, { ...product(), batch: dim('batch') });
    case 'rmsnorm-matmul':
      return normMatmulProgram(core, product());
    case 'add-rmsnorm-matmul':
      return normMatmulProgram(core, { ...product(), hasResidual: true });
    case 'matmul-add-rmsnorm':
      return matmulNormProgram(core, product());
    case 'matmul-lora':
      return loraProgram(core, { ...product(), rank: dim('rank') });
    case 'gated-mlp':
      return gatedMlpProgram(core, {
        rows: dim('rows'),
        hidden: dim('hidden'),
        ffn: dim('ffn'),
        dtype,
        ...weights(core, operator),
      });
    case 'attention':
      return attentionProgram(core, {
        batch: operator.dims.batch ?? 1,
        heads: dim('heads'),
        kvHeads: operator.dims.kvHeads ?? dim('heads'),
        headDim: dim('headDim'),
        seqQ: dim('seqQ'),
        seqKv: dim('seqKv'),
        dtype,
        causal,
        mixedPrecision: true,
        ...(window !== undefined && { window: Math.min(window, dim('seqKv')) }),
      });
    case 'softmax':
      return softmaxProgram(core, rowwise());
    case 'rmsnorm':
      return rmsnormProgram(core, rowwise());
    case 'layernorm':
      return layernormProgram(core, rowwise());
    case 'gelu':
    case 'silu':
    case 'swiglu':
    case 'add':
    case 'adamw':
      return elementwiseProgram(core, { op, ...rowwise() });
    case 'rope':
      return ropeProgram(core, rowwise());
    case 'transpose':
      return transposeProgram(core, rowwise());
    case 'embedding':
      return embeddingProgram(core, rowwise());
    case 'selective-scan': {
      // A framework's scan is a loop over positions in HBM, a thousand times slower than any kernel.
      if (implementation === 'compiler') {
        const expected = "a written kernel: what compilers make of a framework's scan is not modelled";
        throw new ModelError('UNSUPPORTED', 'implementation', `expected ${expected}, got compiler`);
      }
      const scan = { batch: dim('batch'), channels: dim('channels'), seq: dim('seq'), state: dim('state'), dtype };
      const isWhole = implementation === 'naive' && wholeSequenceFits(core, scan.seq, dtype);
      return selectiveScanProgram(core, { ...scan, step: isWhole ? 'reordered' : 'tiled' });
    }
    case 'depthwise-conv1d':
      return depthwiseConv1dProgram(core, {
        batch: dim('batch'),
        channels: dim('channels'),
        length: dim('length'),
        taps: dim('taps'),
        dtype,
      });
    case 'dma-copy':
      return dmaCopyProgram(core, {
        bytes: dim('bytes'),
        engines: expectInteger('engines', dim('engines'), 1, core.dma?.engines),
      });
  }
}

/** Results of 8-bit and narrower operands are BF16 unless the case says otherwise. */
function outStorage(core: CoreSpec, { dtype, outDtype }: OperatorCase): DType {
  if (outDtype !== undefined) return storageOf(core, outDtype);
  const narrow: readonly OperandFormat[] = ['fp8', 'mxfp8', 'mxfp4', 'nvfp4'];
  return narrow.includes(dtype) ? 'bf16' : storageOf(core, dtype);
}

/** Stored weights narrower than the activations; TensorE reads both as they are. */
function weights(core: CoreSpec, { dtype, weightDtype = dtype }: OperatorCase): { readonly weightDtype?: DType } {
  if (weightDtype === dtype) return {};
  const stored = storageOf(core, weightDtype);
  // Integer weights are one byte in HBM, as FP8 is.
  return { weightDtype: stored === 'i8' ? storageOf(core, 'fp8') : stored };
}

function matmul(
  core: CoreSpec,
  operator: OperatorCase,
  shape: {
    readonly m: number;
    readonly k: number;
    readonly n: number;
    readonly dtype: DType;
    readonly outDtype: DType;
    readonly batch: number;
  },
): Program {
  const { dtype, weightDtype = dtype, implementation = 'optimised' } = operator;
  if (isBlockScaled(weightDtype) && core.tensor?.mxRows != null && shape.batch === 1) {
    const k = Math.ceil(shape.k / 32) * 32;
    return quantisedMatmulProgram(core, { ...shape, k, format: 'mxfp8', quantise: !isBlockScaled(dtype) });
  }
  if (isBlockScaled(dtype) || dtype === 'nvfp4') {
    throw new ModelError(
      'UNSUPPORTED',
      'dtype',
      `expected a format that TensorE of ${core.id} multiplies, got ${dtype}`,
    );
  }
  if (dtype === 'fp8' && core.tensor?.fp8Rows != null && shape.batch === 1) {
    return quantisedMatmulProgram(core, { ...shape, k: Math.ceil(shape.k / 2) * 2, format: 'fp8' });
  }
  const layout: MatmulLayout = implementation === 'compiler' ? 'framework' : 'kernel';
  const step = implementation === 'naive' ? 'hoisted' : 'blocked';
  return matmulProgram(core, { ...shape, ...weights(core, operator), step, layout });
}

/** Tensors of the programs by the position of the operand that they are. */
const POSITIONS: Readonly<Record<'a' | 'b' | 'c', readonly string[]>> = {
  a: ['a', 'q', 'x', 'xT', 'delta', 'u'],
  b: ['b', 'bScales', 'kT', 'v', 'w', 'p', 'gate', 'up', 'down'],
  c: ['c', 'y'],
};

/** Names of the tensors that stay on chip. */
export function residentTensors({ resident = [] }: OperatorCase): ReadonlySet<string> {
  return new Set(resident.flatMap((position) => POSITIONS[position]));
}
