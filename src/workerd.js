/**
 * `trnsim` where the host compiles WebAssembly when the program is deployed and never at run time: the same library, over
 * kernels that the host compiled. See kernels/workerd.js.
 */
import './kernels/workerd.js';

export * from './index.js';
