/**
 * Times every kernel of the registry on this machine, by tinybench: median and 99th percentile of the runs, GFLOP/s, GB/s and
 * the share of the limit that is measured in the same run. `trnsim bench` is the same without what only developers have.
 *
 *     npm run bench [-- --filter matmul] [-- --time 500]     milliseconds for each problem
 *
 * Every result is checked against the kernel's reference before it is timed: a problem whose reference would take long (it is
 * written to be read) is checked on a smaller one of the row's tested problems.
 */
import os from 'node:os';
import { parseArgs } from 'node:util';
import { Bench } from 'tinybench';
import { createArena, DTYPES, fillUniform, kernelRegistry } from 'trnsim/kernels';
import { arithmeticLimit, readLimit } from '../dist/cli/commands/bench.js';

const { values: flags } = parseArgs({
  options: { filter: { type: 'string', default: '' }, time: { type: 'string', default: '300' } },
});
const MOST_CHECKED_FLOPS = 2e7;
/** Relative distance of representable numbers, from the format's roundoff. */
const roundoff = (dtype) => DTYPES[dtype].unitRoundoff;

function makeTensor(arena, dtype, shape, stream) {
  const tensor = arena.tensor(dtype, shape);
  fillUniform(tensor.reshape([1, tensor.length]), { seed: 7, stream, scale: 1 });
  return tensor;
}

function problem(arena, row, dtype, d) {
  const operands = row.operands(d).map(({ shape, dtype: own }, i) => makeTensor(arena, own ?? dtype, shape, i + 1));
  const out = makeTensor(arena, 'f32', row.outShape(d), 99);
  return { operands, out, run: () => row.run(operands, out, d) };
}

/** Largest error in units of what the registry allows; above 1 the kernel is wrong. */
function worstError(row, dtype, d) {
  const arena = createArena();
  const { operands, out, run } = problem(arena, row, dtype, d);
  const initial = out.toFloat32();
  run();
  const values = operands.map((tensor) => tensor.toFloat32());
  const expected = row.reference(values, d, initial);
  const allowed = (i) => row.roundings(d) * roundoff('f32') * expected.magnitude[i] + 1e-37;
  return out.toFloat32().reduce((worst, y, i) => Math.max(worst, Math.abs(y - expected.value[i]) / allowed(i)), 0);
}

/** The problem itself where its reference is quick, else the largest tested one. */
function checkedProblem(row, d) {
  if (row.flops(d) <= MOST_CHECKED_FLOPS) return d;
  return row.tested.reduce((most, next) => (row.flops(next) > row.flops(most) ? next : most));
}

const columns = [12, 12, 10, 8, 10];
const line = (name, cells) => `${name.padEnd(48)}${cells.map((cell, i) => cell.padStart(columns[i])).join('')}`;
const peak = arithmeticLimit(createArena());
console.log(`node ${process.version}, ${os.cpus()[0].model}, limit ${peak.toFixed(1)} GFLOP/s\n`);
console.log(line('kernel', ['median us', 'p99 us', 'GFLOP/s', 'GB/s', 'of limit']));
for (const row of kernelRegistry.filter(({ name }) => name.includes(flags.filter))) {
  for (const dtype of row.dtypes) {
    for (const d of row.timed) {
      const dimensions = Object.entries(d).map(([name, value]) => `${name}=${value}`);
      const name = [row.name, dtype, ...dimensions].join(' ');
      const error = worstError(row, dtype, checkedProblem(row, d));
      if (!(error <= 1)) {
        process.exitCode = 1;
        console.log(`${name}: WRONG, ${error.toPrecision(3)} times the error that the registry allows`);
        continue;
      }
      const arena = createArena();
      const bench = new Bench({ time: Number(flags.time), warmupTime: 100 });
      bench.add(name, problem(arena, row, dtype, d).run);
      bench.runSync();
      const { latency } = bench.tasks[0].result;
      const ns = latency.p50 * 1e6;
      const bytes = row.bytes(d, DTYPES[dtype].bytes);
      const [gflops, gBps] = [row.flops(d) / ns, bytes / ns];
      const share = Math.max(gflops / peak, gBps / readLimit(arena, bytes));
      const times = [latency.p50, latency.p99].map((ms) => (ms * 1e3).toFixed(1));
      console.log(line(name, [...times, gflops.toFixed(1), gBps.toFixed(1), `${(100 * share).toFixed(0)} %`]));
    }
  }
}
