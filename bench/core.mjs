/**
 * The numeric executor beside the kernel it is made of: a bf16 matmul as a tile program (the documented blocking: 128 x 128
 * stationary, 512 moving, accumulation in PSUM), and the same product by the plain WebAssembly matmul.
 *
 *     node bench/core.mjs [--size 512] [--time 1000]     milliseconds for both
 *
 * Both results are checked to be the same bits before they are timed.
 */
import os from 'node:os';
import { parseArgs } from 'node:util';
import { block, createArena, fillUniform, findChip, matmul, runProgram, tileProgram } from 'trnsim';

const { values: flags } = parseArgs({
  options: { size: { type: 'string', default: '512' }, time: { type: 'string', default: '3000' } },
});
const size = Number(flags.size);

/** out = a^T b, tile by tile; `a` [k, m] as TensorE takes it. */
function matmulProgram(m, k, n) {
  return tileProgram('matmul', findChip('trn2').core, (nc) => {
    const a = nc.input('a', 'bf16', [k, m]);
    const b = nc.input('b', 'bf16', [k, n]);
    const out = nc.output('out', 'bf16', [m, n]);
    const stationary = nc.sbuf('stationary', 'bf16', 128, 128, { slots: 2 });
    const moving = nc.sbuf('moving', 'bf16', 128, n, { slots: k / 128 });
    const result = nc.sbuf('result', 'bf16', 128, 512, { slots: 2 });
    const sum = nc.psum('sum', 128, 512, { slots: 2 });
    nc.loop(k / 128, (p) => nc.dmaCopy(moving.slot(p), block(b, [p.times(128), 128], [0, n])));
    nc.loop(m / 128, (i) => {
      nc.loop(n / 512, (j) => {
        nc.loop(k / 128, (p) => {
          nc.dmaCopy(stationary.slot(p), block(a, [p.times(128), 128], [i.times(128), 128]));
          const columns = moving.slot(p).columns(j.times(512), 512);
          nc.matmul(sum.slot(j), stationary.slot(p), columns, { accumulate: [p] });
        });
        nc.copy(result.slot(j), sum.slot(j));
        nc.dmaCopy(block(out, [i.times(128), 128], [j.times(512), 512]), result.slot(j));
      });
    });
  });
}

const arena = createArena();
const inputs = { a: arena.tensor('bf16', [size, size]), b: arena.tensor('bf16', [size, size]) };
fillUniform(inputs.a, { seed: 1, stream: 1, scale: 1 });
fillUniform(inputs.b, { seed: 1, stream: 2, scale: 1 });
const plain = arena.tensor('bf16', [size, size]);
const program = matmulProgram(size, size, size);

const runPlain = () => matmul(inputs.a.transpose(), inputs.b, plain);
const runTiles = () => runProgram(program, inputs).out;
runPlain();
const first = runTiles();
if (Buffer.compare(first.bytesView(), plain.bytesView()) !== 0) throw new Error('the two results differ');
first.dispose();

/** Best and median of runs in turns, so that whatever else the machine does meets both. */
const rivals = [
  { name: 'plain matmul kernel', run: runPlain, times: [] },
  { name: 'tile program', run: () => runTiles().dispose(), times: [] },
];
for (const end = performance.now() + Number(flags.time); performance.now() < end; ) {
  for (const { run, times } of rivals) {
    const start = performance.now();
    run();
    times.push(performance.now() - start);
  }
}
process.stdout.write(`node ${process.version}, ${os.cpus()[0].model}, bf16 ${size} x ${size} x ${size}\n`);
const rates = rivals.map(({ name, times }) => {
  times.sort((a, b) => a - b);
  const rate = (2 * size ** 3) / (times[0] * 1e6);
  const median = times[times.length >> 1];
  const figures = `${times[0].toFixed(2).padStart(10)} ms best${median.toFixed(2).padStart(10)} ms median`;
  process.stdout.write(`${name.padEnd(24)}${figures}${rate.toFixed(1).padStart(10)} GFLOP/s at best\n`);
  return { best: rate, median: 1 / median };
});
const share = (key) => `${((100 * rates[1][key]) / rates[0][key]).toFixed(0)} % (${key})`;
process.stdout.write(`share of the kernel's rate: ${share('best')}, ${share('median')}\n`);
