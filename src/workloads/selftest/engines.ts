/**
 * Bring-up of a NeuronCore: one tile program for each engine and memory, run on real numbers and charged to the clock. The
 * result is compared with the plain formula in double precision, the engine must have been busy, and what a memory holds must
 * come back as it went in.
 *
 *     TensorE   matmul of 128 x 128 x 512 into PSUM, in each format that the array takes
 *     VectorE   a b          ScalarE   exp x          GpSimdE   partition + column, made by iota
 *     DMA       a transpose on the way, where the core's DMA can
 *     SBUF, PSUM   every element of the whole memory is its own address; HBM: a block, for the time of all of it
 *
 * All cores of a chip are the same here: one of them computes. Other makers' chips have no tile programs: their matrix
 * product runs as a kernel and is timed by their clock.
 */
import { exp } from '../../base/math.ts';
import { block } from '../../core/access.ts';
import { clockProgram, type ProgramTime } from '../../core/clock.ts';
import { runProgram } from '../../core/numeric.ts';
import { operatorClock } from '../../core/operator-clock.ts';
import { type Program, type ProgramBuilder, tileProgram } from '../../core/program.ts';
import type { ChipSpec, CoreSpec } from '../../hardware/spec.ts';
import { type Arena, copy, DTYPES, type DType, matmul, type Tensor } from '../../kernels/index.ts';
import { type Check, randomTensor, relativeError } from './check.ts';

const P = 128;
const COLUMNS = 512;

interface Trial {
  readonly name: string;
  readonly program: Program;
  readonly busy: keyof ProgramTime['busy'];
  readonly inputs: readonly Tensor[];
  readonly expected: (inputs: readonly Float32Array[]) => ArrayLike<number>;
  /** Largest error allowed; 0: the same numbers. */
  readonly tolerance: number;
  readonly detail: string;
}

/** Checks of the engines and memories of a chip. */
export function checkChip(arena: Arena, chip: ChipSpec): Check[] {
  const { core, cores } = chip;
  if (cores === null) return [...checkAccelerator(arena, chip), checkHbm(arena, chip)];
  if (core === null || core.tensor === null || core.sbuf === null) {
    const detail = `the engines of ${chip.name} are not published`;
    return [{ part: 'engine', name: 'NeuronCore', ok: null, detail, time: 0, error: null }, checkHbm(arena, chip)];
  }
  const hbmBandwidth = (chip.memory.bandwidth ?? 0) / cores;
  const engines = trials(arena, core).map((trial) => run(trial, 'engine', hbmBandwidth));
  const memories = [wholeSbuf(arena, core), wholePsum(arena, core)].map((trial) => run(trial, 'memory', hbmBandwidth));
  return [...engines, ...memories, checkHbm(arena, chip)];
}

function run(
  { name, program, busy, inputs, expected, tolerance, detail }: Trial,
  part: Check['part'],
  hbmBandwidth: number,
): Check {
  const names = program.tensors.filter(({ role }) => role === 'input').map((tensor) => tensor.name);
  const given = Object.fromEntries(names.map((input, i) => [input, inputs[i]!]));
  const { y } = runProgram(program, given, inputs.length === 0 ? {} : { arena: inputs[0]!.arena });
  const error = relativeError(y!.toFloat32(), expected(inputs.map((tensor) => tensor.toFloat32())));
  const clocked = clockProgram(program, { hbmBandwidth });
  const isBusy = clocked.busy[busy] > 0;
  for (const tensor of [...inputs, y!]) tensor.dispose();
  return {
    part,
    name,
    ok: error <= tolerance && isBusy,
    detail: isBusy ? detail : `${detail}; the clock charges nothing to ${busy}`,
    time: clocked.time / 1e12,
    error,
  };
}

/** A program that loads its inputs, writes `y` of one tile, and stores it. */
function oneTile(
  core: CoreSpec,
  name: string,
  formats: readonly DType[],
  shapes: readonly (readonly [number, number])[],
  out: DType,
  write: (
    nc: ProgramBuilder,
    x: readonly ReturnType<ProgramBuilder['sbuf']>[],
    y: ReturnType<ProgramBuilder['sbuf']>,
  ) => void,
): Program {
  return tileProgram(name, core, (nc) => {
    const tiles = shapes.map(([rows, columns], i) => {
      const input = nc.input(`x${i}`, formats[i]!, [rows, columns]);
      const tile = nc.sbuf(`x${i}`, formats[i]!, rows, columns);
      nc.dmaCopy(tile, block(input, [0, rows], [0, columns]));
      return tile;
    });
    const output = nc.output('y', out, [P, COLUMNS]);
    const y = nc.sbuf('y', out, P, COLUMNS);
    write(nc, tiles, y);
    nc.dmaCopy(block(output, [0, P], [0, COLUMNS]), y);
  });
}

function trials(arena: Arena, core: CoreSpec): Trial[] {
  const wide = [P, COLUMNS] as const;
  const random = (dtype: DType, shape: readonly number[], stream: number) => randomTensor(arena, dtype, shape, stream);
  const fp8: DType = core.version >= 4 ? 'f8e4m3fn' : 'f8e4m3';
  const formats: readonly DType[] =
    core.tensor!.fp8Rows === null ? ['f32', 'bf16', 'f16'] : ['f32', 'bf16', 'f16', fp8];
  const tensorE = formats.map((dtype): Trial => {
    const program = oneTile(core, `TensorE ${dtype}`, [dtype, dtype], [[P, P], wide], 'f32', (nc, [a, b], y) => {
      const sum = nc.psum('sum', P, COLUMNS);
      nc.matmul(sum, a!, b!);
      nc.copy(y, sum);
    });
    return {
      name: `TensorE ${dtype}`,
      program,
      busy: 'TensorE',
      inputs: [random(dtype, [P, P], 1), random(dtype, wide, 2)],
      expected: ([a, b]) => product(a!, b!),
      // FP32 sums of exact products; the sum of 128 terms is a quarter of the largest at least.
      tolerance: P * DTYPES.f32.unitRoundoff,
      detail: `matmul of ${P} x ${P} x ${COLUMNS} into PSUM`,
    };
  });
  const elementwise = (
    name: Trial['busy'],
    what: string,
    inputs: number,
    write: Parameters<typeof oneTile>[5],
    expected: Trial['expected'],
  ): Trial => ({
    name,
    program: oneTile(
      core,
      name,
      new Array<DType>(inputs).fill('f32'),
      new Array<typeof wide>(inputs).fill(wide),
      'f32',
      write,
    ),
    busy: name,
    inputs: Array.from({ length: inputs }, (_, i) => random('f32', wide, 3 + i)),
    expected,
    tolerance: 4 * DTYPES.f32.unitRoundoff,
    detail: `${what} of ${P} x ${COLUMNS} in FP32`,
  });
  return [
    ...tensorE,
    elementwise(
      'VectorE',
      'product',
      2,
      (nc, [a, b], y) => nc.tensorTensor(y, a!, 'multiply', b!),
      ([a, b]) => a!.map((value, i) => value * b![i]!),
    ),
    elementwise(
      'ScalarE',
      'exponential',
      1,
      (nc, [x], y) => nc.activation(y, 'exp', x!),
      ([x]) => Array.from(x!, exp),
    ),
    elementwise(
      'GpSimdE',
      'sum with its address',
      1,
      (nc, [x], y) => {
        nc.iota(y, { partitionStep: COLUMNS, freeStep: 1 });
        nc.tensorTensor(y, y, 'add', x!, 'GpSimdE');
      },
      ([x]) => x!.map((value, i) => i + value),
    ),
    ...transposingDma(arena, core),
  ];
}

/** y = a^T b: [128, 128] and [128, 512]. */
function product(a: Float32Array, b: Float32Array): Float64Array {
  const y = new Float64Array(P * COLUMNS);
  for (let k = 0; k < P; k++) {
    for (let i = 0; i < P; i++) {
      for (let j = 0; j < COLUMNS; j++) y[i * COLUMNS + j]! += a[k * P + i]! * b[k * COLUMNS + j]!;
    }
  }
  return y;
}

function transposingDma(arena: Arena, core: CoreSpec): Trial[] {
  if (core.dma === null || core.dma.transposeFromHbm === null) return [];
  const rows = COLUMNS;
  const program = tileProgram('DMA transpose', core, (nc) => {
    const x = nc.input('x', 'bf16', [rows, P]);
    const y = nc.output('y', 'bf16', [P, rows]);
    const tile = nc.sbuf('turned', 'bf16', P, rows);
    nc.dmaTranspose(tile, block(x, [0, rows], [0, P]));
    nc.dmaCopy(block(y, [0, P], [0, rows]), tile);
  });
  return [
    {
      name: 'DMA',
      program,
      busy: 'DMA',
      inputs: [randomTensor(arena, 'bf16', [rows, P], 9)],
      expected: ([x]) => Array.from({ length: P * rows }, (_, i) => x![(i % rows) * P + Math.floor(i / rows)]!),
      tolerance: 0,
      detail: `transpose of ${rows} x ${P} in BF16 on the way from HBM`,
    },
  ];
}

/** Numbers 0, 1, 2 ...: an element that lands at a wrong address is a wrong number. Exact in FP32 up to 2^24. */
function addresses(arena: Arena, rows: number, columns: number): Tensor {
  return arena.tensor('f32', [rows, columns]).set(Float32Array.from({ length: rows * columns }, (_, i) => i));
}

/** All of SBUF at once, in and out again. */
function wholeSbuf(arena: Arena, core: CoreSpec): Trial {
  const columns = Math.floor(core.sbuf! / core.partitions / 4);
  const program = tileProgram('SBUF', core, (nc) => {
    const x = nc.input('x', 'f32', [P, columns]);
    const y = nc.output('y', 'f32', [P, columns]);
    const tile = nc.sbuf('all', 'f32', P, columns);
    nc.dmaCopy(tile, block(x, [0, P], [0, columns]));
    nc.dmaCopy(block(y, [0, P], [0, columns]), tile);
  });
  return {
    name: 'SBUF',
    program,
    busy: 'DMA',
    inputs: [addresses(arena, P, columns)],
    expected: ([x]) => x!,
    tolerance: 0,
    detail: `all ${program.sbufBytes * P} bytes, each word its address`,
  };
}

/** All banks of PSUM at once. */
function wholePsum(arena: Arena, core: CoreSpec): Trial {
  const banks = core.psumBanks;
  const columns = banks * COLUMNS;
  const program = tileProgram('PSUM', core, (nc) => {
    const x = nc.input('x', 'f32', [P, columns]);
    const y = nc.output('y', 'f32', [P, columns]);
    const tile = nc.sbuf('words', 'f32', P, columns);
    const held = nc.psum('all', P, COLUMNS, { slots: banks });
    nc.dmaCopy(tile, block(x, [0, P], [0, columns]));
    for (let bank = 0; bank < banks; bank++) nc.copy(held.slot(bank), tile.columns(bank * COLUMNS, COLUMNS));
    for (let bank = 0; bank < banks; bank++) nc.copy(tile.columns(bank * COLUMNS, COLUMNS), held.slot(bank), 'ScalarE');
    nc.dmaCopy(block(y, [0, P], [0, columns]), tile);
  });
  return {
    name: 'PSUM',
    program,
    busy: 'VectorE',
    inputs: [addresses(arena, P, columns)],
    expected: ([x]) => x!,
    tolerance: 0,
    detail: `all ${banks} banks, each word its address`,
  };
}

const HBM_BLOCK = 2 ** 20;

/** A block of addresses and its complement, written and read back; the time is that of doing so with the whole memory. */
function checkHbm(arena: Arena, { memory, name }: ChipSpec): Check {
  const { capacity, bandwidth } = memory;
  if (capacity === null || bandwidth === null) {
    const detail = `size or bandwidth of the memory of ${name} is not published`;
    return { part: 'memory', name: 'HBM', ok: null, detail, time: 0, error: null };
  }
  using written = addresses(arena, 1, HBM_BLOCK);
  using read = arena.tensor('f32', [1, HBM_BLOCK]);
  const isSame = () => {
    copy(written, read);
    const [a, b] = [written.bytesView(), read.bytesView()];
    return a.every((byte, i) => byte === b[i]);
  };
  const isRight = isSame();
  const bytes = written.bytesView();
  bytes.forEach((byte, i) => {
    bytes[i] = byte ^ 0xff;
  });
  const passes = 4;
  return {
    part: 'memory',
    name: 'HBM',
    ok: isRight && isSame(),
    detail: `${4 * HBM_BLOCK} bytes of ${capacity}, addresses and their complement; time of all of it, written and read twice`,
    time: (passes * capacity) / bandwidth,
    error: null,
  };
}

/** The matrix units of another maker's chip: a kernel's product, and their clock. */
function checkAccelerator(arena: Arena, chip: ChipSpec): Check[] {
  using a = randomTensor(arena, 'bf16', [P, P], 1);
  using b = randomTensor(arena, 'bf16', [P, COLUMNS], 2);
  using y = arena.tensor('f32', [P, COLUMNS]);
  matmul(a.transpose(), b, y);
  const error = relativeError(y.toFloat32(), product(a.toFloat32(), b.toFloat32()));
  const tolerance = P * DTYPES.f32.unitRoundoff;
  const detail = `matmul of ${P} x ${P} x ${COLUMNS} in BF16`;
  if (chip.memory.bandwidth === null || typeof chip.peak.bf16 !== 'number') {
    return [
      {
        part: 'engine',
        name: 'matrix units',
        ok: null,
        detail: `no BF16 peak or bandwidth of ${chip.name} is published`,
        time: 0,
        error,
      },
    ];
  }
  const { time } = operatorClock(chip, 1)({ op: 'matmul', dims: { m: P, k: P, n: COLUMNS }, dtype: 'bf16' });
  return [{ part: 'engine', name: 'matrix units', ok: error <= tolerance && time > 0, detail, time, error }];
}
