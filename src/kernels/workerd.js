/**
 * `trnsim/kernels` where the host compiles WebAssembly when the program is deployed and never at run time: Cloudflare
 * Workers, by the export condition `workerd`. There an imported .wasm file is a WebAssembly.Module.
 *
 * JavaScript, because TypeScript cannot type the import; its declarations are those of index.ts. The paths are those in
 * the package: scripts/build.mjs copies the file as it is. It acts on import, so `sideEffects` of package.json names it.
 */
import relaxed from '../relaxed.wasm';
import simd from '../simd.wasm';
import { useKernelModules } from './index.js';

useKernelModules({ simd, relaxed });

export * from './index.js';
