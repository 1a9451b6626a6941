/**
 * Instructions that work along the elements of each partition: reductions, the scan, batch-norm statistics, MX
 * quantisation. Sums are the kernels', in 16 lanes; statistics are computed in double precision and rounded once.
 */
import { DTYPES } from '../../kernels/dtype.ts';
import { MX_BLOCK, type MxDType, mxExponent } from '../../kernels/quantize.ts';
import type { TileView } from '../access.ts';
import { MX_PARTITIONS, PACKING } from '../constraints.ts';
import type { InstructionOf } from '../instructions.ts';
import { operatorCode } from './alu.ts';
import { scalarReader } from './elementwise.ts';
import type { EngineMemory, Step } from './engine.ts';

/** The kernel and its argument: the divisor of a sum, or the bits that a maximum flips. */
const REDUCTIONS = {
  add: ['sumRows_f32', 1],
  max: ['maxRows_f32', 0],
  min: ['maxRows_f32', -(2 ** 31)],
} as const;

export function prepareReduce(memory: EngineMemory, where: string, instruction: InstructionOf<'tensor_reduce'>): Step {
  const [out, input] = [instruction.out[0]!, instruction.in[0]!];
  const { alu: operator, negate } = instruction.attributes;
  const read = memory.reader(where, input, 'x');
  const write = memory.writer(where, out, 'out', instruction.in);
  const { partitions, length } = input;
  const { kernels } = memory.arena;
  const [kernel, argument] = REDUCTIONS[operator];
  return () => {
    const [x, y] = [read(), write.open()];
    kernels[kernel](partitions, length, x, argument, y);
    if (negate) kernels.scale_f32(partitions, -1, y);
    write.close();
  };
}

export function prepareScan(memory: EngineMemory, where: string, instruction: InstructionOf<'scan'>): Step {
  const [out, a, b] = [instruction.out[0]!, instruction.in[0]!, instruction.in[1]!];
  const { alu0, alu1, initial } = instruction.attributes;
  const readA = memory.reader(where, a, 'x');
  const readB = memory.reader(where, b, 'y');
  const start = scalarReader(memory, where, initial, 'initial');
  const write = memory.writer(where, out, 'out', instruction.in);
  const { partitions, length } = out;
  const [first, second] = [operatorCode(alu0), operatorCode(alu1)];
  return () => {
    const [x, y, s, z] = [readA(), readB(), start.read(), write.open()];
    memory.arena.kernels.scan_f32(first, second, partitions, length, x, y, s, start.step, z);
    write.close();
  };
}

/** Numbers of a group of statistics: count, mean, count * variance. */
const GROUP = 3;

export function prepareBnStats(memory: EngineMemory, where: string, instruction: InstructionOf<'bn_stats'>): Step {
  const [out, input] = [instruction.out[0]!, instruction.in[0]!];
  const read = memory.reader(where, input, 'x');
  const write = memory.writer(where, out, 'out', instruction.in);
  const { partitions, length } = input;
  return () => {
    const [x, y] = [read() >> 2, write.open() >> 2];
    const { floats } = memory;
    for (let p = 0; p < partitions; p++) {
      for (let parity = 0; parity < 2; parity++) {
        const elements: number[] = [];
        for (let i = parity; i < length; i += 2) elements.push(floats[x + p * length + i]!);
        const count = elements.length;
        const mean = count === 0 ? 0 : elements.reduce((sum, value) => sum + value, 0) / count;
        const squares = elements.reduce((sum, value) => sum + (value - mean) * (value - mean), 0);
        floats.set([count, mean, squares], y + (2 * p + parity) * GROUP);
      }
    }
    write.close();
  };
}

/** Statistics of parts to those of the whole: the squares around the common mean are those around each mean + its distance. */
export function prepareBnAggregate(memory: EngineMemory, where: string, instruction: InstructionOf<'bn_aggr'>): Step {
  const [out, input] = [instruction.out[0]!, instruction.in[0]!];
  const read = memory.reader(where, input, 'x');
  const write = memory.writer(where, out, 'out', instruction.in);
  const { partitions, length } = input;
  return () => {
    const [x, y] = [read() >> 2, write.open() >> 2];
    const { floats } = memory;
    for (let p = 0; p < partitions; p++) {
      const groups = floats.subarray(x + p * length, x + (p + 1) * length);
      let [total, sum, squares] = [0, 0, 0];
      for (let i = 0; i < length; i += GROUP) {
        total += groups[i]!;
        sum += groups[i]! * groups[i + 1]!;
      }
      const mean = sum / total;
      for (let i = 0; i < length; i += GROUP) {
        const distance = groups[i + 1]! - mean;
        squares += groups[i + 2]! + groups[i]! * distance * distance;
      }
      floats.set([mean, squares / total], y + 2 * p);
    }
    write.close();
  };
}

/**
 * Blocks of 8 partitions x 4 adjacent elements share a scale. The kernels take blocks of 32 adjacent elements, so the input
 * is brought into that order, a row for each block, and the elements back out of it.
 */
export function prepareQuantizeMx(
  memory: EngineMemory,
  where: string,
  instruction: InstructionOf<'quantize_mx'>,
): Step {
  const [out, scales] = instruction.out as readonly [TileView, TileView];
  const [input] = instruction.in as readonly [TileView];
  const { partitions, length } = input;
  const count = (partitions * length) / MX_BLOCK;
  const read = memory.reader(where, input, 'x');
  const write = memory.writer(where, out, 'out', instruction.in);
  const writeScales = memory.rawWriter(where, scales, 'scales', instruction.in);
  const ordered = memory.reserve('blocks', count * MX_BLOCK * 4);
  const factors = memory.reserve('factors', count * 4);
  const exponent = mxExponent(out.dtype as MxDType, instruction.attributes.rule);
  // Elements saturate; with `precise` they are not rounded and not limited either.
  const limit = memory.operand(where, out).dtype === 'f32' ? Infinity : DTYPES[out.dtype].max;
  const { kernels } = memory.arena;
  return () => {
    const [x, codes, y] = [read() >> 2, writeScales.open(), write.open() >> 2];
    const { floats } = memory;
    const blocks = ordered.address >> 2;
    forEachQuad(partitions, length, (flat, place) => {
      floats.copyWithin(blocks + place, x + flat, x + flat + PACKING.mx);
    });
    kernels.absMaxRows_f32(count, MX_BLOCK, ordered.address, factors.address);
    kernels.mxScales(count, exponent, factors.address, codes);
    kernels.scaleRows_f32(count, MX_BLOCK, factors.address, ordered.address);
    forEachQuad(partitions, length, (flat, place) => {
      for (let i = 0; i < PACKING.mx; i++) {
        floats[y + flat + i] = Math.max(-limit, Math.min(limit, floats[blocks + place + i]!));
      }
    });
    write.close();
    writeScales.close();
  };
}

/** Visits the groups of 4 elements: where they lie in [partitions, length], and where in rows of whole blocks. */
function forEachQuad(partitions: number, length: number, visit: (flat: number, place: number) => void): void {
  const quads = length / PACKING.mx;
  for (let p = 0; p < partitions; p++) {
    const firstBlock = Math.floor(p / MX_PARTITIONS) * quads;
    for (let quad = 0; quad < quads; quad++) {
      const place = ((firstBlock + quad) * MX_PARTITIONS + (p % MX_PARTITIONS)) * PACKING.mx;
      visit(p * length + quad * PACKING.mx, place);
    }
  }
}
