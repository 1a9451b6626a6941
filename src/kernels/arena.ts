/**
 * The memory that kernels work in: a 64-byte-aligned allocator over one WebAssembly memory of at most 4 GiB.
 *
 * First fit over a list of free blocks sorted by offset, neighbours joined on release. The memory grows when nothing
 * fits. Growing detaches every typed array over the old buffer: hold tensors, which are offsets, and make views on use.
 */
import { expectInteger, ModelError } from '../base/errors.ts';
import { THREAD_SCRATCH_BYTES } from './blocking.ts';
import type { DType } from './dtype.ts';
import { CONTROL_BYTES, encodeTasks, type Task, ThreadPool } from './pool.ts';
import { Tensor } from './tensor.ts';
import type { KernelExports } from './wasm.gen.ts';
import { defaultBuild, instantiateKernels, type KernelBuild, kernelModule, kernelNames } from './wasm.ts';

const PAGE = 65536;
const ALIGNMENT = 64;
export const MAX_ARENA_BYTES: number = 65536 * PAGE;
/** A guard against a typing error, not a limit of the design. */
const MAX_THREADS = 64;

export interface ArenaOptions {
  /** Most bytes the arena may grow to, at most 4 GiB, which is the default. */
  readonly maximumBytes?: number;
  /**
   * The same bits on every host: no fused multiply-add, which is up to 1.3 times faster where the host has it. BF16
   * products are exact either way, so this concerns f32 operands and the polynomials inside softmax and its kin.
   */
  readonly deterministic?: boolean;
  /** The build to use, instead of what `deterministic` and the host decide. */
  readonly build?: KernelBuild;
  /**
   * Threads that share the work of large matmuls, the caller's included; 1 by default. More need a host that shares memory:
   * Node, or a page that is cross-origin isolated. They start with the first large matmul; `dispose()` ends them.
   */
  readonly threads?: number;
}

interface Block {
  offset: number;
  bytes: number;
}

export class Arena {
  readonly memory: WebAssembly.Memory;
  readonly kernels: KernelExports;
  /** Which build of the kernels works here. */
  readonly build: KernelBuild;
  readonly threads: number;
  readonly #maximumPages: number;
  /** Free blocks by offset, no two adjacent. */
  readonly #free: Block[] = [];
  readonly #sizes: Map<number, number> = new Map();
  readonly #scratch: Map<string, number> = new Map();
  #pool: ThreadPool | undefined;
  #kernelIndices: ReadonlyMap<string, number> | undefined;
  #pages = 1;
  #used = 0;
  #peak = 0;

  constructor(options: ArenaOptions = {}) {
    const maximum = expectInteger('maximumBytes', options.maximumBytes ?? MAX_ARENA_BYTES, PAGE, MAX_ARENA_BYTES);
    this.#maximumPages = Math.floor(maximum / PAGE);
    this.threads = expectInteger('threads', options.threads ?? 1, 1, MAX_THREADS);
    const shared = this.threads > 1;
    if (shared && typeof SharedArrayBuffer === 'undefined') {
      throw new ModelError('UNSUPPORTED', 'threads', `expected 1 where memory cannot be shared, got ${this.threads}`);
    }
    this.memory = new WebAssembly.Memory({ initial: 1, maximum: this.#maximumPages, shared });
    this.build = options.build ?? (options.deterministic === true ? 'simd' : defaultBuild());
    this.kernels = instantiateKernels(this.build, this.memory, shared);
    const start = Math.ceil(this.kernels.HEAP_BASE.value / ALIGNMENT) * ALIGNMENT;
    this.#free.push({ offset: start, bytes: PAGE - start });
  }

  /** Bytes in tensors and scratch now. */
  get usedBytes(): number {
    return this.#used;
  }

  /** Most bytes that were in use at once. */
  get peakBytes(): number {
    return this.#peak;
  }

  /**
   * Offset of `bytes` fresh bytes, 64-byte aligned, contents undefined.
   * @throws ModelError with code CAPACITY if the arena's maximum does not allow it.
   */
  allocate(bytes: number): number {
    expectInteger('bytes', bytes);
    const size = Math.max(ALIGNMENT, Math.ceil(bytes / ALIGNMENT) * ALIGNMENT);
    let index = this.#free.findIndex((block) => block.bytes >= size);
    if (index < 0) {
      this.#grow(size);
      index = this.#free.length - 1;
    }
    const block = this.#free[index]!;
    const offset = block.offset;
    if (block.bytes === size) this.#free.splice(index, 1);
    else {
      block.offset += size;
      block.bytes -= size;
    }
    this.#sizes.set(offset, size);
    this.#used += size;
    this.#peak = Math.max(this.#peak, this.#used);
    return offset;
  }

  /**
   * Gives the block at `offset` back.
   * @throws RangeError if `offset` is not an allocated block: a double release would corrupt somebody's tensor.
   */
  release(offset: number): void {
    const bytes = this.#sizes.get(offset);
    if (bytes === undefined) throw new RangeError(`"offset" expected an allocated block, got ${offset}`);
    this.#sizes.delete(offset);
    this.#used -= bytes;
    this.#insertFree({ offset, bytes });
  }

  /** A fresh tensor, contents undefined. Give it back with `dispose()` or `using`. */
  tensor(dtype: DType, shape: readonly number[]): Tensor {
    return Tensor.allocate(this, dtype, shape);
  }

  /** A block that kernels share as working space: allocated on first use, kept, and at least `bytes` large. */
  scratch(name: string, bytes: number): number {
    const held = this.#scratch.get(name);
    if (held !== undefined && this.#sizes.get(held)! >= bytes) return held;
    if (held !== undefined) {
      this.#scratch.delete(name);
      this.release(held);
    }
    const offset = this.allocate(bytes);
    this.#scratch.set(name, offset);
    return offset;
  }

  /**
   * Runs tasks of kernel calls, on all threads if there are several; they must not depend on each other. A thread has
   * THREAD_SCRATCH_BYTES of scratch of its own, which negative arguments point into.
   */
  runTasks(tasks: readonly Task[]): void {
    const scratch = this.scratch('thread 0', THREAD_SCRATCH_BYTES);
    const runTask = (index: number): void => {
      for (const { kernel, args } of tasks[index]!) {
        const run = this.kernels[kernel] as (...numbers: number[]) => void;
        run(...args.map((value) => (value < 0 ? scratch - 1 - value : value)));
      }
    };
    if (this.threads === 1 || tasks.length === 1) {
      for (let i = 0; i < tasks.length; i++) runTask(i);
      return;
    }
    this.#pool ??= this.#startPool();
    this.#kernelIndices ??= new Map(kernelNames(this.build, true).map((name, i) => [name, i]));
    const encoded = encodeTasks(tasks, this.#kernelIndices);
    const at = this.scratch('tasks', Math.max(65536, encoded.byteLength));
    new Float64Array(this.memory.buffer, at, encoded.length).set(encoded);
    this.#pool.run(tasks.length, at, runTask);
  }

  /** Ends the threads. Tensors stay usable; the next large matmul starts threads again. */
  dispose(): void {
    this.#pool?.dispose();
    this.#pool = undefined;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #startPool(): ThreadPool {
    const control = this.scratch('control', CONTROL_BYTES);
    const scratches = Array.from({ length: this.threads - 1 }, (_, i) =>
      this.scratch(`thread ${i + 1}`, THREAD_SCRATCH_BYTES),
    );
    return new ThreadPool(kernelModule(this.build, true), this.memory, control, scratches);
  }

  /** Makes room for a block of `size` at the end of the memory. Grows by half at least, so that growing stays rare. */
  #grow(size: number): void {
    const end = this.#pages * PAGE;
    const last = this.#free.at(-1);
    const tail = last && last.offset + last.bytes === end ? last.bytes : 0;
    const needed = Math.ceil((size - tail) / PAGE);
    const wished = Math.min(Math.max(needed, this.#pages >> 1), this.#maximumPages - this.#pages);
    if (needed > wished || !this.#tryGrow(wished, needed)) {
      throw new ModelError(
        'CAPACITY',
        'kernel memory',
        `expected at most ${this.#maximumPages * PAGE} bytes, got ${this.#used} in use and ${size} more asked for`,
      );
    }
    const pages = this.memory.buffer.byteLength / PAGE;
    this.#insertFree({ offset: end, bytes: (pages - this.#pages) * PAGE });
    this.#pages = pages;
  }

  #tryGrow(wished: number, needed: number): boolean {
    for (const pages of [wished, needed]) {
      try {
        this.memory.grow(pages);
        return true;
      } catch {
        // The host refuses: try the least that helps before giving up.
      }
    }
    return false;
  }

  #insertFree(block: Block): void {
    let low = 0;
    let high = this.#free.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#free[middle]!.offset < block.offset) low = middle + 1;
      else high = middle;
    }
    const next = this.#free[low];
    if (next && block.offset + block.bytes === next.offset) {
      block.bytes += next.bytes;
      this.#free.splice(low, 1);
    }
    const previous = this.#free[low - 1];
    if (previous && previous.offset + previous.bytes === block.offset) previous.bytes += block.bytes;
    else this.#free.splice(low, 0, block);
  }
}

/** A fresh arena with its own memory and kernels. */
export function createArena(options?: ArenaOptions): Arena {
  return new Arena(options);
}
