/**
 * The numeric half: tensors over one WebAssembly memory and the kernels that work on them. Imports nothing of the
 * simulator, so it is a package of its own: `import { createArena, matmul } from 'trnsim/kernels'`.
 */
export { erf, exp, type GeluOptions, gelu, silu, swiglu, tanh } from './activation.ts';
export { Arena, type ArenaOptions, createArena, MAX_ARENA_BYTES } from './arena.ts';
export { type AttentionOptions, attention } from './attention.ts';
export { type CastOptions, cast, copy, type Generator, type Rounding, type StochasticRounding } from './cast.ts';
export { gatherRows, type ReduceOperator, reduce, scatterRows, sum, transposeBlocks } from './collective.ts';
export { DTYPES, type DType, type DTypeSpec, parseDType } from './dtype.ts';
export { add, addBias } from './layer.ts';
export { type Activation, type MatmulOptions, matmul } from './matmul.ts';
export { matmulInt8 } from './matmul-int8.ts';
export { matmulMx, packMxWeights } from './matmul-mx.ts';
export { layernorm, type NormOptions, type RmsnormOptions, rmsnorm } from './norm.ts';
export { PackedWeights, packWeights } from './packed.ts';
export {
  createMxTensor,
  dequantizeInt8,
  dequantizeMx,
  type Int8Tensor,
  MX_BLOCK,
  type MxDType,
  type MxScaleRule,
  type MxTensor,
  type QuantizeMxOptions,
  quantizeInt8,
  quantizeMx,
} from './quantize.ts';
export { fillUniform, type UniformOptions } from './random.ts';
export { kernelRegistry } from './registry.ts';
export { rope, ropeInterleaved } from './rope.ts';
export { type RowReduction, reduceRows } from './rowreduce.ts';
export type { Dimensions, KernelRow } from './rows/row.ts';
export {
  divideRows,
  logSoftmax,
  type RunningSoftmax,
  type ScoreOptions,
  type SoftmaxOptions,
  scaleRows,
  softmax,
  softmaxBlock,
} from './softmax.ts';
export { Tensor } from './tensor.ts';
export { topK } from './topk.ts';
export { transpose } from './transpose.ts';
export { enableTurbo, type TurboAnswer } from './turbo.ts';
export { type WarmUpOptions, warmUp } from './warmup.ts';
export { hasRelaxedSimd, type KernelBuild, type KernelModules, kernelModule, useKernelModules } from './wasm.ts';
