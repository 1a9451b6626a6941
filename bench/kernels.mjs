/**
 * Times every kernel of the registry on this machine: median and best of the runs, GFLOP/s and GB/s.
 *
 *     npm run bench [-- --filter matmul] [-- --time 500]     milliseconds for each problem
 *
 * Every result is checked against the kernel's reference before it is timed. Problems whose reference would take long
 * are checked on their first rows.
 */
import os from 'node:os';
import { parseArgs } from 'node:util';
import { Bench } from 'tinybench';
import { createArena, fillUniform, kernelRegistry } from 'trnsim/kernels';

const { values: flags } = parseArgs({
  options: { filter: { type: 'string', default: '' }, time: { type: 'string', default: '300' } },
});
const elementBytes = { f32: 4, bf16: 2 };

function makeTensor(arena, dtype, shape, stream) {
  const tensor = arena.tensor(dtype, shape);
  fillUniform(tensor.reshape([1, tensor.length]), { seed: 7, stream, scale: 1 });
  return tensor;
}

/** Largest error in units of what the registry allows; above 1 the kernel is wrong. */
function worstError(row, operands, out, initial, d) {
  const expected = row.reference(operands, d, initial);
  const allowed = (i) => row.roundings(d) * 2 ** -24 * expected.magnitude[i] + 1e-37;
  return out.reduce((worst, y, i) => Math.max(worst, Math.abs(y - expected.value[i]) / allowed(i)), 0);
}

process.stdout.write(`node ${process.version}, ${os.cpus()[0].model}\n\n`);
process.stdout.write(
  `${'kernel'.padEnd(44)}${'median us'.padStart(12)}${'best us'.padStart(12)}${'GFLOP/s'.padStart(10)}${'GB/s'.padStart(8)}  check\n`,
);
let failures = 0;
for (const row of kernelRegistry.filter(({ name }) => name.includes(flags.filter))) {
  for (const dtype of row.dtypes) {
    for (const d of row.timed) {
      const arena = createArena();
      const operands = row.operands(d).map(({ shape, dtype: own }, i) => makeTensor(arena, own ?? dtype, shape, i + 1));
      const outDtype = row.name.startsWith('sum') ? dtype : 'f32';
      const out = makeTensor(arena, outDtype, row.outShape(d), 99);
      const isChecked = outDtype === 'f32' && row.flops(d) < 5e8;
      const initial = out.toFloat32();
      row.run(operands, out, d);
      const error = isChecked
        ? worstError(
            row,
            operands.map((t) => t.toFloat32()),
            out.toFloat32(),
            initial,
            d,
          )
        : 0;
      if (error > 1) failures++;
      const bench = new Bench({ time: Number(flags.time), warmupTime: 100 });
      bench.add(row.name, () => row.run(operands, out, d));
      bench.runSync();
      const { latency } = bench.tasks[0].result;
      const medianNs = latency.p50 * 1e6;
      const name = `${row.name} ${dtype} ${Object.entries(d)
        .map(([key, value]) => `${key}=${value}`)
        .join(' ')}`;
      process.stdout.write(
        `${name.padEnd(44)}${(medianNs / 1e3).toFixed(1).padStart(12)}${(latency.min * 1e3).toFixed(1).padStart(12)}` +
          `${(row.flops(d) / medianNs).toFixed(1).padStart(10)}${(row.bytes(d, elementBytes[dtype]) / medianNs).toFixed(1).padStart(8)}` +
          `  ${isChecked ? (error > 1 ? 'WRONG' : 'ok') : 'not checked'}\n`,
      );
    }
  }
}
if (failures > 0) process.exitCode = 1;
