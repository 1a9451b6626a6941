/**
 * The kernels' binary interface: re-exports, nothing else.
 *
 * Every export is `operation_dtype(counts, strides, scalars, pointers)`. Pointers are byte offsets into the imported
 * memory, sizes and strides are counts of elements. Kernels allocate nothing, keep no state and check nothing: the
 * TypeScript wrappers of `src/kernels` check first. Arithmetic is FP32 inside; results are FP32, and one cast rounds
 * them to their storage format, as on Trainium's engines.
 */

export { bf16ToF32, f32ToBf16, f32ToBf16Stochastic } from './convert';
export { add_bf16, add_f32, addBias_bf16, addBias_f32, swiglu_bf16, swiglu_f32 } from './elementwise';
export { matmul_bf16, matmul_f32, matmulTile_f32 } from './matmul';
export { uniform_bf16, uniform_f32 } from './random';
export { rmsnorm_bf16, rmsnorm_f32 } from './rmsnorm';
export { rope_bf16, rope_f32 } from './rope';
export { softmax_f32 } from './softmax';
export { sum_bf16, sum_f32 } from './sum';

/** First byte that the constants of the kernels leave free. */
export const HEAP_BASE: usize = __heap_base;
