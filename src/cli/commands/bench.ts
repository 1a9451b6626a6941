/**
 * `trnsim bench`: throughput of the kernels on this machine, as a share of what the machine does at most, measured in the
 * same run: products and sums from registers, and reading as many bytes as the problem moves.
 */
import { type Command, Option } from 'commander';
import {
  type Arena,
  createArena,
  DTYPES,
  type DType,
  enableTurbo,
  fillUniform,
  type KernelRow,
  kernelRegistry,
  significant,
  table,
  toJson,
} from '../../index.ts';

interface BenchFlags {
  /** Part of a kernel's name; empty for all. */
  readonly filter: string;
  readonly build: 'default' | 'deterministic' | 'turbo';
  readonly json?: boolean;
}

/** One kernel, number format and problem. FLOPs and bytes are those that the kernel's row counts. */
interface BenchRow {
  readonly kernel: string;
  readonly dtype: DType;
  readonly dimensions: string;
  readonly bestNs: number;
  readonly medianNs: number;
  readonly gflops: number;
  readonly gBps: number;
  /** The larger of the two shares: of the arithmetic limit, and of the read bandwidth of a working set of this size. */
  readonly limitShare: number;
  readonly limit: 'arithmetic' | 'memory';
}

/** Enough for a minimum; small kernels run until the time is up, or this often. */
const LEAST_RUNS = 5;
const MOST_RUNS = 1000;
const TIME_MS = 150;

/** Nanoseconds of each run: as many as fit the time, five at least, after two that are not counted. */
function times(run: () => void): number[] {
  run();
  run();
  const samples: number[] = [];
  const begin = performance.now();
  while (samples.length < LEAST_RUNS || (performance.now() - begin < TIME_MS && samples.length < MOST_RUNS)) {
    const start = performance.now();
    run();
    samples.push((performance.now() - start) * 1e6);
  }
  return samples.sort((a, b) => a - b);
}

/** GFLOP/s of multiply-adds from registers. */
export function arithmeticLimit({ kernels }: Arena): number {
  const steps = 200_000;
  return (96 * steps) / times(() => kernels.peak_f32(steps, 0.5))[0]!;
}

/** GB/s of reading `bytes`, rounded to what the loop takes. */
export function readLimit(arena: Arena, bytes: number): number {
  const size = Math.max(4096, Math.ceil(bytes / 128) * 128);
  const tensor = arena.tensor('i8', [size]);
  // Memory that was never written is one page of zeros many times: it would be read from L1.
  tensor.bytesView().fill(1);
  const repeats = Math.ceil(1e6 / size);
  const [best] = times(() => {
    for (let i = 0; i < repeats; i++) arena.kernels.read_f32(size, tensor.offset);
  });
  tensor.dispose();
  return (size * repeats) / best!;
}

/** The best run is set beside the limits: what disturbs a run only makes it longer. The median says how much did. */
function measure(row: KernelRow, dtype: DType, d: KernelRow['timed'][number], arena: Arena, peak: number): BenchRow {
  const make = (own: DType, shape: readonly number[], stream: number) => {
    const tensor = arena.tensor(own, shape);
    fillUniform(tensor.reshape([1, tensor.length]), { seed: 7, stream, scale: 1 });
    return tensor;
  };
  const operands = row.operands(d).map(({ shape, dtype: own }, i) => make(own ?? dtype, shape, i + 1));
  const out = make('f32', row.outShape(d), 99);
  const samples = times(() => row.run(operands, out, d));
  for (const tensor of [...operands, out]) tensor.dispose();
  const [bestNs, medianNs] = [samples[0]!, samples[samples.length >> 1]!];
  const bytes = row.bytes(d, DTYPES[dtype].bytes);
  const [gflops, gBps] = [row.flops(d) / bestNs, bytes / bestNs];
  const [ofPeak, ofRead] = [gflops / peak, gBps / readLimit(arena, bytes)];
  const dimensions = Object.entries(d).map(([name, value]) => `${name}=${value}`);
  return {
    kernel: row.name,
    dtype,
    dimensions: dimensions.join(' '),
    bestNs,
    medianNs,
    gflops,
    gBps,
    limitShare: Math.max(ofPeak, ofRead),
    limit: ofPeak > ofRead ? 'arithmetic' : 'memory',
  };
}

function bench({ filter, build, json = false }: BenchFlags): void {
  if (build === 'turbo') {
    const { enabled, reason } = enableTurbo();
    if (!enabled) throw new RangeError(`"build" expected a host that has turbo, got one that has not: ${reason}`);
  }
  const chosen = kernelRegistry.filter(({ name, timed }) => name.includes(filter) && timed.length > 0);
  if (chosen.length === 0) {
    const names = kernelRegistry.map(({ name }) => name).join(', ');
    throw new RangeError(`"filter" expected part of a kernel's name (${names}), got ${JSON.stringify(filter)}`);
  }
  const arena = createArena({ deterministic: build === 'deterministic' });
  const peak = arithmeticLimit(arena);
  const rows = chosen.flatMap((row) =>
    row.dtypes.flatMap((dtype) => row.timed.map((d) => measure(row, dtype, d, arena, peak))),
  );
  const answer = { schemaVersion: 1, build: arena.build, arithmeticLimitGflops: peak, rows };
  process.stdout.write(json ? toJson(answer) : report(arena.build, peak, rows));
}

function report(build: string, peak: number, rows: readonly BenchRow[]): string {
  const head = `kernels of the ${build} build, one thread; arithmetic limit ${significant(peak)} GFLOP/s of 128-bit operations\n\n`;
  return (
    head +
    table(rows, [
      { title: 'kernel', value: ({ kernel }) => kernel },
      { title: 'dtype', value: ({ dtype }) => dtype },
      { title: 'problem', value: ({ dimensions }) => dimensions },
      { title: 'best us', value: ({ bestNs }) => significant(bestNs / 1e3), align: 'right' },
      { title: 'median us', value: ({ medianNs }) => significant(medianNs / 1e3), align: 'right' },
      { title: 'GFLOP/s', value: ({ gflops }) => significant(gflops), align: 'right' },
      { title: 'GB/s', value: ({ gBps }) => significant(gBps), align: 'right' },
      { title: 'of limit', value: ({ limitShare }) => `${(100 * limitShare).toFixed(0)} %`, align: 'right' },
      { title: '', value: ({ limit }) => limit },
    ])
  );
}

export function addBenchCommand(program: Command): void {
  program
    .command('bench')
    .description('time the kernels on this machine, as a share of what it does at most')
    .option('--filter <name>', 'kernels whose name contains this', '')
    .addOption(
      new Option('--build <which>', 'of the kernels').choices(['default', 'deterministic', 'turbo']).default('default'),
    )
    .option('--json', 'print one JSON document')
    .addHelpText('after', '\nExample: trnsim bench --filter matmul')
    .action(bench);
}
