/**
 * The numeric half: tensors over one WebAssembly memory and the kernels that work on them. Imports nothing of the
 * simulator, so it is a package of its own: `import { createArena, matmul } from 'trnsim/kernels'`.
 */
export { Arena, type ArenaOptions, createArena, MAX_ARENA_BYTES } from './arena.ts';
export { cast, copy, type Rounding, type StochasticRounding } from './cast.ts';
export { sum } from './collective.ts';
export { DTYPES, type DType, type DTypeSpec, parseDType } from './dtype.ts';
export {
  add,
  addBias,
  type RmsnormOptions,
  rmsnorm,
  rope,
  type SoftmaxOptions,
  softmax,
  swiglu,
} from './layer.ts';
export { type MatmulOptions, matmul } from './matmul.ts';
export { fillUniform, type UniformOptions } from './random.ts';
export { kernelRegistry } from './registry.ts';
export type { Dimensions, KernelRow } from './rows/row.ts';
export { Tensor } from './tensor.ts';
export { hasRelaxedSimd, type KernelBuild, kernelModule } from './wasm.ts';
