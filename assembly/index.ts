/**
 * The kernels' binary interface: re-exports, nothing else.
 *
 * Every export is `operation_dtype(counts, strides, scalars, pointers)`. Pointers are byte offsets into the imported
 * memory, sizes and strides are counts of elements. Kernels allocate nothing, keep no state and check nothing: the
 * TypeScript wrappers of `src/kernels` check first. Arithmetic is FP32 inside; results are FP32, and one cast rounds
 * them to their storage format, as on Trainium's engines.
 */

export { erf_f32, exp_f32, gelu_f32, geluTanh_f32, silu_f32, swiglu_f32, tanh_f32 } from './activation';
export { aluScalar_f32, aluTensor_f32, log_f32, scan_f32 } from './alu';
export { multiplyPairs_i8, packColumnPairs_i8, packRowPairs_i8 } from './dots';
export { add_bf16, add_f32, addBias_bf16, addBias_f32 } from './elementwise';
export {
  narrow_bf16,
  narrow_f4e2m1,
  narrow_f8e3m4,
  narrow_f8e4m3,
  narrow_f8e4m3fn,
  narrow_f8e5m2,
  narrow_f16,
  narrow_i8,
  narrow_i32,
  narrowStochastic_bf16,
  narrowStochastic_f4e2m1,
  narrowStochastic_f8e3m4,
  narrowStochastic_f8e4m3,
  narrowStochastic_f8e4m3fn,
  narrowStochastic_f8e5m2,
  narrowStochastic_f16,
  narrowStochastic_i8,
  narrowStochastic_i32,
} from './formats';
export { gatherRows, scatterRows, transposeBlocks } from './gather';
export { gemv_bf16, gemv_f32, gemv_i8 } from './gemv';
export { lfsr_u32, xorwow_u32 } from './generators';
export { peak_f32, read_f32 } from './limits';
export { multiplyInPlace_f32, multiplyPacking_f32, multiplyPanels, scale_f32 } from './matmul';
export { layernorm_bf16, layernorm_f32, rmsnorm_bf16, rmsnorm_f32 } from './norm';
export { packColumns_bf16, packColumns_f32, packPanels, packRows_bf16, packRows_f32 } from './pack';
export { philox_u32, uniform_bf16, uniform_f32 } from './random';
export { reduce_bf16, reduce_f32, reduceNearest_bf16 } from './reduce';
export { rope_bf16, rope_f32, ropePairs_f32 } from './rope';
export { maxRows_f32, squareRows_f32, sumRows_f32 } from './rowreduce';
export {
  absMaxColumns_f32,
  absMaxRows_f32,
  mxScales,
  scaleColumns_f32,
  scaleRows_f32,
  widen_e8m0,
} from './scale';
export { biasScores_f32, divideRows_f32, selectScores_f32 } from './scores';
export { logSoftmax_f32, softmax_f32, softmaxBlock_f32 } from './softmax';
export { topK_f32 } from './topk';
export { transpose_1, transpose_2, transpose_4 } from './transpose';
export {
  widen_bf16,
  widen_f4e2m1,
  widen_f8e3m4,
  widen_f8e4m3,
  widen_f8e4m3fn,
  widen_f8e5m2,
  widen_f16,
  widen_i8,
  widen_i32,
  widenRows,
} from './widen';

/** First byte that the constants of the kernels leave free. */
export const HEAP_BASE: usize = __heap_base;

// Exported so that the optimizer leaves them functions of their own (a function with one caller is inlined), which is
// what makes them fast: see scripts/generate-tiles.mjs.
export {
  dots1,
  dots2,
  dots3,
  dots4,
  dots5,
  rows1,
  rows2,
  rows3,
  rows4,
  rows5,
  tile1,
  tile2,
  tile3,
  tile4,
  tile5,
} from './tiles.gen';
