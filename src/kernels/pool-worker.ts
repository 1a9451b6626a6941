/**
 * The program of a worker thread, as text: it is started from a string, so that no bundler has to find a second file. Plain
 * JavaScript that runs as a Node worker (`eval: true`) and as a web worker.
 */

/** `control`: indices of the control words; `spins`: times that a thread looks for work before it sleeps. */
export function workerSource(control: Readonly<Record<string, number>>, spins: number): string {
  return `
const C = ${JSON.stringify(control)};
function work({ module, memory, control, scratch }) {
  const words = new Int32Array(memory.buffer, control, ${Object.keys(control).length});
  const kernels = new WebAssembly.Instance(module, { env: { memory } }).exports;
  const names = WebAssembly.Module.exports(module).filter(({ kind }) => kind === 'function').map(({ name }) => name).sort();
  const runTask = (task) => {
    // The memory may have grown since the last task: the view is made anew.
    const numbers = new Float64Array(memory.buffer);
    const tasks = Atomics.load(words, C.tasks);
    for (let at = tasks + numbers[tasks + task]; numbers[at] >= 0; ) {
      const count = numbers[at + 1];
      const args = [];
      for (let i = 0; i < count; i++) {
        const value = numbers[at + 2 + i];
        args.push(value < 0 ? scratch - 1 - value : value);
      }
      kernels[names[numbers[at]]](...args);
      at += 2 + count;
    }
  };
  let seen = 0;
  for (;;) {
    for (let i = 0; i < ${spins} && Atomics.load(words, C.generation) === seen; i++);
    Atomics.wait(words, C.generation, seen);
    seen = Atomics.load(words, C.generation);
    Atomics.add(words, C.busy, 1);
    for (;;) {
      const count = Atomics.load(words, C.count);
      if (count === 0) break;
      const task = Atomics.add(words, C.next, 1);
      if (task >= count) break;
      try {
        runTask(task);
      } catch {
        Atomics.store(words, C.failed, 1);
      }
      Atomics.add(words, C.done, 1);
    }
    Atomics.sub(words, C.busy, 1);
  }
}
const node = globalThis.process?.getBuiltinModule?.('node:worker_threads');
if (node) work(node.workerData);
else globalThis.onmessage = ({ data }) => work(data);
`;
}
