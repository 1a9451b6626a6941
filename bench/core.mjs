/**
 * The numeric executor beside the kernel it is made of: a bf16 matmul as the shipped tile programs, and the same product by
 * the plain WebAssembly matmul, in turns.
 *
 *     node bench/core.mjs [--size 512] [--runs 30]
 *
 * Times are of the process's CPU, best of the runs: on a machine that is shared, wall time measures the neighbours. All
 * results are checked to be the same bits before anything is timed.
 */
import os from 'node:os';
import { parseArgs } from 'node:util';
import { createArena, fillUniform, findChip, MATMUL_STEPS, matmul, matmulProgram, runProgram } from 'trnsim';

const { values: flags } = parseArgs({
  options: { size: { type: 'string', default: '512' }, runs: { type: 'string', default: '30' } },
});
const size = Number(flags.size);
const arena = createArena();
const [a, b, plain] = [1, 2, 3].map((stream) => {
  const tensor = arena.tensor('bf16', [size, size]);
  fillUniform(tensor, { seed: 1, stream, scale: 1 });
  return tensor;
});

function cpuMs() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

const rivals = [{ name: 'plain matmul kernel', best: Infinity, run: () => matmul(a.transpose(), b, plain) }];
rivals[0].run();
for (const step of MATMUL_STEPS) {
  const program = matmulProgram(findChip('trn2').core, { m: size, k: size, n: size, dtype: 'bf16', step });
  const { c } = runProgram(program, { a, b });
  // The blocked program sums the contraction in parts of its own from some size on.
  if (size <= 512 && Buffer.compare(c.bytesView(), plain.bytesView()) !== 0) throw new Error(`${step}: results differ`);
  c.dispose();
  rivals.push({ name: `tile program, ${step}`, best: Infinity, run: () => runProgram(program, { a, b }).c.dispose() });
}
for (let i = 0; i < Number(flags.runs); i++) {
  for (const rival of rivals) {
    const start = cpuMs();
    rival.run();
    rival.best = Math.min(rival.best, cpuMs() - start);
  }
}
process.stdout.write(`node ${process.version}, ${os.cpus()[0].model}, bf16 ${size} x ${size} x ${size}\n`);
for (const { name, best } of rivals) {
  const rate = ((2 * size ** 3) / (best * 1e6)).toFixed(1).padStart(8);
  const share = ((100 * rivals[0].best) / best).toFixed(0).padStart(6);
  process.stdout.write(`${name.padEnd(30)}${best.toFixed(2).padStart(10)} ms${rate} GFLOP/s${share} %\n`);
}
