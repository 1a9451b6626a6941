/**
 * Threads that run kernels over one shared memory. The caller's thread takes part; tasks are taken from a shared counter,
 * so a slow or late thread costs at most one task, and with no worker ready yet the caller does them all.
 *
 * Control words (Int32, atomic), in the order of their use:
 *
 *     caller   write the tasks, done = 0, next = 0, count = n, generation + 1, wake
 *     worker   busy + 1; while count > 0 and (t = next++) < count: run task t, done + 1; busy - 1; wait for a generation
 *     caller   takes tasks likewise; waits for done = n; count = 0; waits for busy = 0
 *
 * A worker reads `count` before it takes a task and is counted in `busy` while it does: when the caller sees busy = 0 after
 * count = 0, nobody holds a stale count, and the tasks may be written anew. Every element of a result is computed by one
 * task in one order, so the bits do not depend on the number of threads.
 */
import { ModelError } from '../base/errors.ts';
import { workerSource } from './pool-worker.ts';
import type { KernelExports } from './wasm.gen.ts';

/** A call of a kernel. An argument below 0 is a place in the thread's own scratch: -1 - offset. */
export interface Call {
  readonly kernel: Exclude<keyof KernelExports, 'HEAP_BASE'>;
  readonly args: readonly number[];
}

/** Calls that one thread makes one after another. */
export type Task = readonly Call[];

/** What a worker needs, sent once. */
interface WorkerStart {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly control: number;
  readonly scratch: number;
}

interface Thread {
  terminate(): unknown;
  unref?(): void;
}

const CONTROL = { generation: 0, next: 1, count: 2, done: 3, busy: 4, failed: 5, tasks: 6 } as const;
export const CONTROL_BYTES = 64;
/** Times that a thread looks before it sleeps: about 100 us, which is longer than the next tasks take to be written. */
const SPINS = 10_000;

export class ThreadPool {
  readonly #memory: WebAssembly.Memory;
  readonly #control: number;
  readonly #threads: Thread[];

  /** Starts a worker for each scratch; `control` is CONTROL_BYTES of the shared memory. */
  constructor(module: WebAssembly.Module, memory: WebAssembly.Memory, control: number, scratches: readonly number[]) {
    this.#memory = memory;
    this.#control = control;
    this.#words().fill(0);
    this.#threads = scratches.map((scratch) => startThread({ module, memory, control, scratch }));
  }

  /**
   * Runs the tasks, `encoded` as `encodeTasks` wrote them at byte offset `at`, and returns when all are done.
   * @param runTask runs task i on the caller's thread
   */
  run(count: number, at: number, runTask: (index: number) => void): void {
    const words = this.#words();
    Atomics.store(words, CONTROL.tasks, at / 8);
    Atomics.store(words, CONTROL.done, 0);
    Atomics.store(words, CONTROL.next, 0);
    Atomics.store(words, CONTROL.count, count);
    Atomics.add(words, CONTROL.generation, 1);
    Atomics.notify(words, CONTROL.generation);
    for (let task = Atomics.add(words, CONTROL.next, 1); task < count; task = Atomics.add(words, CONTROL.next, 1)) {
      runTask(task);
      Atomics.add(words, CONTROL.done, 1);
    }
    // The last tasks of the others are short: waiting for them awake is cheaper than a system call.
    while (Atomics.load(words, CONTROL.done) < count);
    Atomics.store(words, CONTROL.count, 0);
    while (Atomics.load(words, CONTROL.busy) > 0);
    if (Atomics.load(words, CONTROL.failed) > 0) {
      throw new ModelError('WORKLOAD', 'threads', 'a kernel trapped on a worker thread');
    }
  }

  /** Ends the workers. */
  dispose(): void {
    for (const thread of this.#threads) thread.terminate();
    this.#threads.length = 0;
  }

  #words(): Int32Array {
    return new Int32Array(this.#memory.buffer, this.#control, CONTROL_BYTES / 4);
  }
}

/** Starts a worker of the host: Node's worker_threads, or a web worker. */
function startThread(start: WorkerStart): Thread {
  const source = workerSource(CONTROL, SPINS);
  const host = (globalThis as { process?: { getBuiltinModule?: (name: string) => unknown } }).process;
  const node = host?.getBuiltinModule?.('node:worker_threads') as NodeWorkerThreads | undefined;
  if (node !== undefined) {
    const worker = new node.Worker(source, { eval: true, workerData: start });
    // A pool that nobody closed must not keep the process alive.
    worker.unref();
    return worker;
  }
  const url = URL.createObjectURL(new Blob([source], { type: 'text/javascript' }));
  const worker = new Worker(url);
  worker.postMessage(start);
  URL.revokeObjectURL(url);
  return worker;
}

interface NodeWorkerThreads {
  readonly Worker: new (source: string, options: { eval: true; workerData: WorkerStart }) => Thread & { unref(): void };
}

/**
 * The tasks as numbers: a table of where each begins, then for each its calls: index of the kernel, number of arguments,
 * arguments.
 * A negative number of arguments ends a task.
 */
export function encodeTasks(tasks: readonly Task[], kernels: ReadonlyMap<string, number>): Float64Array {
  const numbers: number[] = new Array<number>(tasks.length).fill(0);
  tasks.forEach((task, i) => {
    numbers[i] = numbers.length;
    for (const { kernel, args } of task) numbers.push(kernels.get(kernel)!, args.length, ...args);
    numbers.push(-1);
  });
  return Float64Array.from(numbers);
}
