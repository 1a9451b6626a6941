/**
 * The two executors of tile programs. The numeric one beside the kernel it is made of: a bf16 matmul as the shipped programs, and
 * the same product by the plain WebAssembly matmul, in turns. The clock: how long it takes to time large matmuls, warm.
 *
 *     node bench/core.mjs [--size 512] [--runs 30]
 *
 * Times are of the process's CPU, best of the runs: on a machine that is shared, wall time measures the neighbours. All
 * results are checked before anything is timed: bits that agree, or BF16 of sums in another order; folded times that are those
 * of a full run.
 */
import os from 'node:os';
import { parseArgs } from 'node:util';
import {
  clockProgram,
  createArena,
  fillUniform,
  findChip,
  MATMUL_STEPS,
  matmul,
  matmulProgram,
  runProgram,
} from 'trnsim';

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

/** The blocked program takes the contraction in an order of its own: at most two roundings to BF16 of the largest element apart. */
function checkClose(got, expected) {
  const scale = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const worst = got.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i])), 0);
  if (worst > 2 * 2 ** -8 * scale) throw new Error(`blocked: results differ by ${worst}`);
}

const rivals = [{ name: 'plain matmul kernel', best: Infinity, run: () => matmul(a.transpose(), b, plain) }];
rivals[0].run();
for (const step of MATMUL_STEPS) {
  const program = matmulProgram(findChip('trn2').core, { m: size, k: size, n: size, dtype: 'bf16', step });
  const { c } = runProgram(program, { a, b });
  if (step === 'blocked') checkClose(c.toFloat32(), plain.toFloat32());
  else if (Buffer.compare(c.bytesView(), plain.bytesView()) !== 0) throw new Error(`${step}: results differ`);
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

process.stdout.write('\ntime to time a matmul, bf16, blocked tile program with its construction\n');
const small = matmulProgram(findChip('trn1').core, { m: 1024, k: 2048, n: 2048, dtype: 'bf16' });
if (clockProgram(small).time !== clockProgram(small, { fold: false }).time)
  throw new Error('folded and full times differ');
for (const [chip, m, k, n] of [
  ['trn1', 4096, 8192, 8192],
  ['trn2', 16384, 16384, 16384],
]) {
  const { core } = findChip(chip);
  let best = Infinity;
  for (let i = 0; i < Number(flags.runs); i++) {
    const start = cpuMs();
    clockProgram(matmulProgram(core, { m, k, n, dtype: 'bf16' }));
    best = Math.min(best, cpuMs() - start);
  }
  process.stdout.write(`${`${m} x ${k} x ${n} on ${chip}`.padEnd(30)}${best.toFixed(2).padStart(10)} ms\n`);
}
