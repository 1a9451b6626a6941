/**
 * Instantiates the WebAssembly kernels over a memory. The bytes are inside (`wasm.gen.ts`), so this works the same in
 * Node, workers, browsers and bundlers, synchronously and with no path to resolve. A page with a strict content security
 * policy needs `wasm-unsafe-eval`.
 *
 * Two builds of one source:
 *
 *     simd      multiplication and addition only: the same bits on every host. Runs everywhere.
 *     relaxed   fused multiply-add where it pays (relaxed SIMD): faster, and f32 results depend on the host's fusing.
 *               Node 22+, current browsers.
 */
import { instantiateSync } from '@assemblyscript/loader';
import { type KernelExports, relaxedBase64, simdBase64 } from './wasm.gen.ts';

export type KernelBuild = 'simd' | 'relaxed';

const compiled = new Map<KernelBuild, WebAssembly.Module>();

function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** A module of one function: f32x4.relaxed_madd of three zero vectors. */
const RELAXED_PROBE = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 19, 1, 17, 0, 65, 0, 253, 15, 65, 0, 253, 15, 65,
  0, 253, 15, 253, 133, 2, 11,
]);

/** Whether this host runs the relaxed build. */
export function hasRelaxedSimd(): boolean {
  return WebAssembly.validate(RELAXED_PROBE);
}

/** The compiled kernels: compiled on the first call, then shared by all arenas of the process. */
export function kernelModule(build: KernelBuild): WebAssembly.Module {
  const known = compiled.get(build);
  if (known) return known;
  const module = new WebAssembly.Module(decodeBase64(build === 'simd' ? simdBase64 : relaxedBase64));
  compiled.set(build, module);
  return module;
}

/** The kernels' exports, bound to `memory`. */
export function instantiateKernels(build: KernelBuild, memory: WebAssembly.Memory): KernelExports {
  const { exports } = instantiateSync(kernelModule(build), { env: { memory } });
  return exports as unknown as KernelExports;
}
