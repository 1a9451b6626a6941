/**
 * Instantiates the WebAssembly kernels over a memory. The bytes are inside (`wasm.gen.ts`), so this works the same in
 * Node, workers, browsers and bundlers, synchronously and with no path to resolve. A page with a strict content security
 * policy needs `wasm-unsafe-eval`. A host that compiles no bytes at run time, as Cloudflare's, hands its own modules in
 * (`useKernelModules`); the package's condition `workerd` does so.
 *
 * Two builds of one source:
 *
 *     simd      multiplication and addition only: the same bits on every host. Runs everywhere.
 *     relaxed   fused multiply-add where it pays (relaxed SIMD): faster, and f32 results depend on the host's fusing.
 *               Node 22+, current browsers.
 *     turbo     the relaxed build compiled with V8's revectoriser on (`turbo.ts`): 256-bit operations. Node 24+, x64.
 */
import { instantiateSync } from '@assemblyscript/loader';
import { show } from '../base/errors.ts';
import { type KernelExports, relaxedBase64, simdBase64 } from './wasm.gen.ts';

export type KernelBuild = 'simd' | 'relaxed' | 'turbo';

/** The kernels, compiled elsewhere from the files `trnsim/simd.wasm` and `trnsim/relaxed.wasm` of this version. */
export interface KernelModules {
  readonly simd: WebAssembly.Module;
  /** Absent where `hasRelaxedSimd()` is false: such a host cannot compile it. */
  readonly relaxed?: WebAssembly.Module;
}

const compiled = new Map<string, WebAssembly.Module>();
let isTurbo = false;

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

/** What `enableTurbo` decided, for arenas that are made from now on. */
export function setTurbo(enabled: boolean): void {
  isTurbo = enabled;
}

/** The fastest build that this host runs by default. */
export function defaultBuild(): KernelBuild {
  if (isTurbo) return 'turbo';
  return hasRelaxedSimd() ? 'relaxed' : 'simd';
}

/**
 * Arenas made from now on run these modules instead of compiling the bytes inside the package. Threads and turbo still
 * compile the bytes, since theirs are other modules: shared memory is declared in a module, and turbo is a compilation.
 * @throws TypeError if one is not a WebAssembly.Module: some bundlers import a .wasm file as a path or as bytes
 */
export function useKernelModules({ simd, relaxed }: KernelModules): void {
  expectModule('simd', simd);
  if (relaxed !== undefined) expectModule('relaxed', relaxed);
  compiled.set(moduleKey('simd', false), simd);
  if (relaxed !== undefined) compiled.set(moduleKey('relaxed', false), relaxed);
}

function expectModule(name: string, value: unknown): void {
  if (value instanceof WebAssembly.Module) return;
  throw new TypeError(`"${name}" expected WebAssembly.Module, got ${show(value)}`);
}

function moduleKey(build: KernelBuild, isShared: boolean): string {
  return `${build} ${isShared}`;
}

/**
 * The compiled kernels: compiled on the first call, then shared by all arenas of the process. `isShared`: for a memory
 * that threads share.
 */
export function kernelModule(build: KernelBuild, isShared = false): WebAssembly.Module {
  const key = moduleKey(build, isShared);
  const known = compiled.get(key);
  if (known) return known;
  let bytes = decodeBase64(build === 'simd' ? simdBase64 : relaxedBase64);
  if (isShared) bytes = withSharedMemory(bytes);
  if (build === 'turbo') bytes = withCustomSection(bytes, 'turbo');
  const module = new WebAssembly.Module(bytes);
  compiled.set(key, module);
  return module;
}

/** Names of the kernels in an order that all threads agree on. */
export function kernelNames(build: KernelBuild, isShared = false): string[] {
  const functions = WebAssembly.Module.exports(kernelModule(build, isShared)).filter(({ kind }) => kind === 'function');
  return functions.map(({ name }) => name).sort();
}

/**
 * The module with an empty custom section at its end. V8 keeps one compilation for all modules of equal bytes: with other
 * bytes, flags that were set in between have an effect.
 */
function withCustomSection(bytes: Uint8Array, name: string): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(name);
  return Uint8Array.of(...bytes, 0, text.length + 1, text.length, ...text);
}

/**
 * The module with its import `env.memory` declared shared, at most 65536 pages. That is all that sets a module for
 * threads apart, so the package need not carry each build twice.
 */
function withSharedMemory(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  // As it stands in the import section: "memory", kind 2 (memory), limits 0 (no maximum), 1 page.
  const unshared = [...new TextEncoder().encode('memory'), 2, 0, 1];
  const at = bytes.findIndex((_, i) => unshared.every((byte, j) => bytes[i + j] === byte));
  // The import section (id 2) has this one import: its size is one byte, in front of the count and the module's name.
  const size = at - 7;
  if (at < 0 || bytes[size - 1] !== 2) throw new Error('the memory import of the kernels is not where it is expected');
  const limits = [3, 1, 0x80, 0x80, 4]; // shared with a maximum: 1 page, 65536 pages
  const out = Uint8Array.of(...bytes.subarray(0, at + 7), ...limits, ...bytes.subarray(at + 9));
  out[size]! += limits.length - 2;
  return out;
}

/** The kernels' exports, bound to `memory`. */
export function instantiateKernels(build: KernelBuild, memory: WebAssembly.Memory, isShared = false): KernelExports {
  const { exports } = instantiateSync(kernelModule(build, isShared), { env: { memory } });
  return exports as unknown as KernelExports;
}
