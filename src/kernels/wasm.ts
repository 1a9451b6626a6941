/**
 * Instantiates the WebAssembly kernels over a memory. The bytes are inside (`wasm.gen.ts`), so this works the same in
 * Node, workers, browsers and bundlers, synchronously and with no path to resolve. A page with a strict content security
 * policy needs `wasm-unsafe-eval`.
 */
import { instantiateSync } from '@assemblyscript/loader';
import { type KernelExports, wasmBase64 } from './wasm.gen.ts';

let compiled: WebAssembly.Module | undefined;

function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** The compiled kernels: compiled on the first call, then shared by all arenas of the process. */
export function kernelModule(): WebAssembly.Module {
  compiled ??= new WebAssembly.Module(decodeBase64(wasmBase64));
  return compiled;
}

/** The kernels' exports, bound to `memory`. */
export function instantiateKernels(memory: WebAssembly.Memory): KernelExports {
  const { exports } = instantiateSync(kernelModule(), { env: { memory } });
  return exports as unknown as KernelExports;
}
