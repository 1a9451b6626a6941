/**
 * What the comparison with other libraries cannot show, each against a yardstick of the same run: number formats and one
 * row against the package's own f32, two threads against one, turbo against the limit of the host and against NumPy's
 * OpenBLAS on one thread, if Python has NumPy.
 *
 *     node bench/matmul.mjs formats|gemv|threads|turbo [--rounds 9]
 *
 * The rivals of a group take turns, round after round, and the best of each counts: on a machine that is shared, a slow
 * spell then meets all of them.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import os from 'node:os';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import {
  createArena,
  createMxTensor,
  enableTurbo,
  fillUniform,
  matmul,
  packMxWeights,
  packWeights,
  quantizeMx,
} from 'trnsim/kernels';

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '9' } },
});
/** Least time of a round, ms: the clock and the call do not show, and a slow spell spoils one round and not all. */
const ROUND_MS = 20;

function matrix(arena, dtype, rows, columns, stream) {
  const tensor = arena.tensor(dtype, [rows, columns]);
  const wide = dtype === 'f32' || dtype === 'bf16' ? tensor : arena.tensor('f32', [rows, columns]);
  fillUniform(wide, { seed: 7, stream, scale: dtype === 'i8' ? 100 : 1 });
  if (wide !== tensor) {
    tensor.set(wide.toFloat32());
    wide.dispose();
  }
  return tensor;
}

/** A rival that multiplies m x k by k x n; `weights` makes the second operand. */
function product(name, arena, [m, k, n], weights) {
  const [a, b, out] = [matrix(arena, 'f32', m, k, 1), weights(arena, k, n), arena.tensor('f32', [m, n])];
  return { name, work: 2 * m * k * n, run: () => matmul(a, b, out) };
}

const packed = (dtype) => (arena, k, n) => {
  const b = matrix(arena, dtype, k, n, 2);
  const weights = packWeights(b);
  b.dispose();
  return weights;
};

const packedMx = (arena, k, n) => {
  const scaled = createMxTensor(arena, 'f8e4m3fn', [k, n], 0);
  quantizeMx(matrix(arena, 'f32', k, n, 2), scaled);
  return packMxWeights(scaled);
};

/** Runs the rivals in turns and prints each one's best rate, and that over the first's. */
async function race(title, rivals, unit = 'GFLOP/s') {
  for (const rival of rivals) {
    rival.best = Infinity;
    rival.runs = 1;
    // Past the first compiler, and long enough to know how many runs make a round.
    for (const end = performance.now() + 300; performance.now() < end; ) await rival.run();
  }
  for (let round = 0; round < Number(flags.rounds); round++) {
    for (const rival of rivals) {
      const begin = performance.now();
      let runs = 0;
      while (runs === 0 || performance.now() - begin < ROUND_MS) {
        await rival.run();
        runs++;
      }
      rival.best = Math.min(rival.best, rival.ms?.() ?? (performance.now() - begin) / runs);
    }
  }
  process.stdout.write(`${title}\n`);
  const rate = ({ work, best }) => work / best / 1e6;
  for (const rival of rivals) {
    const share = (rate(rival) / rate(rivals[0])).toFixed(3);
    process.stdout.write(
      `  ${rival.name.padEnd(28)}${rate(rival).toFixed(1).padStart(8)} ${unit}${share.padStart(9)} x\n`,
    );
  }
}

/** Bytes read from memory, f32, without arithmetic to speak of. */
function plainRead(arena, bytes) {
  const x = matrix(arena, 'f32', 1, bytes / 4, 3);
  return { name: 'a plain read', work: bytes, run: () => arena.kernels.read_f32(bytes, x.offset) };
}

/** NumPy in a process of its own, which times itself; undefined if there is none. */
async function startNumpy() {
  const program = `
import sys, time
import numpy
held = {}
print("ready", flush=True)
for line in sys.stdin:
    n = int(line)
    if n not in held:
        held[n] = [numpy.random.rand(n, n).astype(numpy.float32) for _ in range(2)] + [numpy.empty((n, n), numpy.float32)]
    a, b, out = held[n]
    begin = time.perf_counter()
    runs = 0
    while runs == 0 or time.perf_counter() - begin < ${ROUND_MS / 1000}:
        numpy.matmul(a, b, out=out)
        runs += 1
    print((time.perf_counter() - begin) / runs * 1000, flush=True)
`;
  const python = spawn('python3', ['-c', program], {
    env: { ...process.env, OPENBLAS_NUM_THREADS: '1', OMP_NUM_THREADS: '1' },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  python.on('error', () => undefined);
  const lines = createInterface({ input: python.stdout });
  const [first] = await Promise.race([once(lines, 'line'), once(lines, 'close').then(() => [])]);
  if (first !== 'ready') return undefined;
  let ms = 0;
  return {
    rival: (n) => ({
      name: 'NumPy, one thread',
      work: 2 * n ** 3,
      run: async () => {
        python.stdin.write(`${n}\n`);
        const [line] = await once(lines, 'line');
        ms = Number(line);
      },
      ms: () => ms,
    }),
    stop: () => python.kill(),
  };
}

const groups = {
  async formats() {
    const arena = createArena();
    for (const shape of [
      [64, 4096, 2048],
      [128, 4096, 2048],
    ]) {
      const rivals = ['f32', 'bf16', 'f16', 'f8e4m3', 'f8e4m3fn', 'f8e5m2', 'i8'].map((dtype) =>
        product(`${dtype} weights`, arena, shape, packed(dtype)),
      );
      await race(`${shape.join(' x ')}, packed, ${arena.build}`, [
        ...rivals,
        product('MXFP8 weights', arena, shape, packedMx),
      ]);
    }
  },

  async gemv() {
    const arena = createArena();
    const bytes = 4096 * 4096 * 4;
    const rows = ['f32', 'bf16', 'i8'].map((dtype) =>
      product(`${dtype} weights`, arena, [1, 4096, 4096], packed(dtype)),
    );
    await race(`1 x 4096 x 4096, packed, ${arena.build}`, rows);
    const [f32] = rows;
    await race('the same in bytes of f32', [plainRead(arena, bytes), { ...f32, work: bytes }], 'MB/ms  ');
  },

  async threads() {
    const two = createArena({ threads: 2 });
    const square = (n) => [n, n, n];
    const plain = (arena, k, n) => matrix(arena, 'f32', k, n, 2);
    for (const n of [256, 512, 1024, 2048]) {
      const one = createArena();
      await race(`${n}^3, ${one.build}`, [
        product('one thread', one, square(n), plain),
        product('two threads', two, square(n), plain),
      ]);
    }
  },

  async turbo() {
    const { enabled, reason } = enableTurbo();
    process.stdout.write(`turbo ${enabled ? 'on' : 'off'}: ${reason}\n`);
    const numpy = await startNumpy();
    if (numpy === undefined) process.stdout.write('python3 has no NumPy: not compared\n');
    const arena = createArena();
    const narrow = createArena({ build: 'relaxed' });
    const plain = (own, k, n) => matrix(own, 'f32', k, n, 2);
    for (const n of [256, 512, 1024, 2048]) {
      const own = product(`trnsim, ${arena.build}`, arena, [n, n, n], plain);
      const limit = {
        name: 'twice the 128-bit limit',
        work: 2 * 96 * 1e5,
        run: () => narrow.kernels.peak_f32(1e5, 0.5),
      };
      await race(`${n}^3`, [limit, own, ...(numpy === undefined ? [] : [numpy.rival(n)])]);
    }
    numpy?.stop();
  },
};

const chosen = positionals[0] ?? '';
if (!Object.hasOwn(groups, chosen)) {
  process.stderr.write(`usage: node bench/matmul.mjs ${Object.keys(groups).join('|')} [--rounds 9]\n`);
  process.exit(2);
}
process.stdout.write(`node ${process.version}, ${os.cpus()[0].model}\n`);
await groups[chosen]();
process.exit(0);
