/**
 * Instructions of VectorE, ScalarE and GpSimdE that work element by element. `alu.ts` has the functions themselves; a value
 * between two of them is rounded to FP32.
 */
import type { TileView } from '../access.ts';
import type { InstructionOf, ScalarOperand } from '../instructions.ts';
import { activation, alu } from './alu.ts';
import type { EngineMemory, Reader, Step } from './engine.ts';

/** Reads a number, or one for each partition: a step of 0 or 1 from partition to partition. */
export interface ScalarReader {
  readonly step: 0 | 1;
  readonly read: Reader;
}

export function scalarReader(memory: EngineMemory, where: string, operand: ScalarOperand, name: string): ScalarReader {
  if (typeof operand !== 'number') return { step: 1, read: memory.reader(where, operand, name) };
  const buffer = memory.reserve(name, 4);
  const read = () => {
    memory.floats[buffer.address >> 2] = operand;
    return buffer.address;
  };
  return { step: 0, read };
}

export function prepareTensorTensor(
  memory: EngineMemory,
  where: string,
  instruction: InstructionOf<'tensor_tensor'>,
): Step {
  const [out, a, b] = [instruction.out[0]!, instruction.in[0]!, instruction.in[1]!];
  const { alu: operator } = instruction.attributes;
  const readA = memory.reader(where, a, 'x');
  const readB = memory.reader(where, b, 'y');
  const write = memory.writer(where, out, 'out', instruction.in);
  const count = out.partitions * out.length;
  return () => {
    const [x, y, z] = [readA() >> 2, readB() >> 2, write.open() >> 2];
    const { floats } = memory;
    for (let i = 0; i < count; i++) floats[z + i] = alu(operator, floats[x + i]!, floats[y + i]!);
    write.close();
  };
}

export function prepareTensorScalar(
  memory: EngineMemory,
  where: string,
  instruction: InstructionOf<'tensor_scalar'>,
): Step {
  const [out, input] = [instruction.out[0]!, instruction.in[0]!];
  const { alu0, operand0, alu1, operand1, reverse0 } = instruction.attributes;
  const read = memory.reader(where, input, 'x');
  const first = scalarReader(memory, where, operand0, 'operand0');
  const second = scalarReader(memory, where, operand1, 'operand1');
  const write = memory.writer(where, out, 'out', instruction.in);
  const { partitions, length } = out;
  return () => {
    const [x, s0, s1, y] = [read() >> 2, first.read() >> 2, second.read() >> 2, write.open() >> 2];
    const { floats } = memory;
    for (let p = 0; p < partitions; p++) {
      const [a, b] = [floats[s0 + p * first.step]!, floats[s1 + p * second.step]!];
      for (let i = p * length; i < (p + 1) * length; i++) {
        const value = floats[x + i]!;
        const result = reverse0 ? alu(alu0, a, value) : alu(alu0, value, a);
        floats[y + i] = alu1 === null ? result : alu(alu1, Math.fround(result), b);
      }
    }
    write.close();
  };
}

/** fn(x scale + bias): the product and the sum are each rounded to FP32. The sum over F is of results before they are stored. */
export function prepareActivation(memory: EngineMemory, where: string, instruction: InstructionOf<'activation'>): Step {
  const [out, reduced] = instruction.out as readonly [TileView, TileView?];
  const [input] = instruction.in as readonly [TileView];
  const { fn, scale, bias } = instruction.attributes;
  const read = memory.reader(where, input, 'x');
  const scales = scalarReader(memory, where, scale, 'scale');
  const biases = scalarReader(memory, where, bias ?? 0, 'bias');
  const write = memory.writer(where, out, 'out', instruction.in);
  const writeSum = reduced && memory.writer(where, reduced, 'reduced', instruction.in);
  const activate = activation(memory.arena, fn);
  const { partitions, length } = out;
  return () => {
    const [x, s, b, y] = [read() >> 2, scales.read() >> 2, biases.read() >> 2, write.open()];
    const { floats } = memory;
    for (let p = 0; p < partitions; p++) {
      const [factor, addend] = [floats[s + p * scales.step]!, floats[b + p * biases.step]!];
      const row = (y >> 2) + p * length;
      for (let i = 0; i < length; i++) floats[row + i] = Math.fround(floats[x + p * length + i]! * factor) + addend;
    }
    activate(partitions * length, y);
    if (writeSum) memory.arena.kernels.sumRows_f32(partitions, length, y, 1, writeSum.open());
    write.close();
    writeSum?.close();
  };
}

export function prepareReciprocal(memory: EngineMemory, where: string, instruction: InstructionOf<'reciprocal'>): Step {
  const [out, input] = [instruction.out[0]!, instruction.in[0]!];
  const read = memory.reader(where, input, 'x');
  const write = memory.writer(where, out, 'out', instruction.in);
  const count = out.partitions * out.length;
  return () => {
    const [x, y] = [read() >> 2, write.open() >> 2];
    const { floats } = memory;
    for (let i = 0; i < count; i++) floats[y + i] = 1 / floats[x + i]!;
    write.close();
  };
}

export function prepareExponential(
  memory: EngineMemory,
  where: string,
  instruction: InstructionOf<'exponential'>,
): Step {
  const [out, rowSum] = instruction.out as readonly [TileView, TileView?];
  const [input, max] = instruction.in as readonly [TileView, TileView];
  const read = memory.reader(where, input, 'x');
  const readMax = memory.reader(where, max, 'max');
  const write = memory.writer(where, out, 'out', instruction.in);
  const writeSum = rowSum && memory.writer(where, rowSum, 'reduced', instruction.in);
  const activate = activation(memory.arena, 'exp');
  const { partitions, length } = out;
  return () => {
    const [x, m, y] = [read() >> 2, readMax() >> 2, write.open()];
    const { floats } = memory;
    for (let p = 0; p < partitions; p++) {
      const row = (y >> 2) + p * length;
      for (let i = 0; i < length; i++) floats[row + i] = floats[x + p * length + i]! - floats[m + p]!;
    }
    activate(partitions * length, y);
    if (writeSum) memory.arena.kernels.sumRows_f32(partitions, length, y, 1, writeSum.open());
    write.close();
    writeSum?.close();
  };
}

export function prepareSelect(memory: EngineMemory, where: string, instruction: InstructionOf<'select'>): Step {
  const [out] = instruction.out as readonly [TileView];
  const [predicate, a, b] = instruction.in as readonly [TileView, TileView, TileView?];
  const { fill } = instruction.attributes;
  const readPredicate = memory.reader(where, predicate, 'predicate');
  const readA = memory.reader(where, a, 'x');
  const readB = b ? memory.reader(where, b, 'y') : () => 0;
  const write = memory.writer(where, out, 'out', instruction.in);
  const count = out.partitions * out.length;
  return () => {
    const [condition, x, y] = [readPredicate() >> 2, readA() >> 2, readB() >> 2];
    const z = write.open() >> 2;
    const { floats } = memory;
    for (let i = 0; i < count; i++) {
      floats[z + i] = floats[condition + i] !== 0 ? floats[x + i]! : (fill ?? floats[y + i]!);
    }
    write.close();
  };
}

export function prepareAffineSelect(
  memory: EngineMemory,
  where: string,
  instruction: InstructionOf<'affine_select'>,
): Step {
  const [out, input] = [instruction.out[0]!, instruction.in[0]!];
  const { base, partitionStep, freeStep, fill } = instruction.attributes;
  const read = memory.reader(where, input, 'x');
  const write = memory.writer(where, out, 'out', instruction.in);
  const start = memory.evaluate(base);
  const { partitions, length } = out;
  return () => {
    const [x, y] = [read() >> 2, write.open() >> 2];
    const { floats } = memory;
    for (let p = 0; p < partitions; p++) {
      const first = start() + p * partitionStep;
      const row = p * length;
      for (let i = 0; i < length; i++) floats[y + row + i] = first + i * freeStep >= 0 ? floats[x + row + i]! : fill;
    }
    write.close();
  };
}

/** Counts in integers where the tile holds them: FP32 has gaps beyond 2^24. */
export function prepareIota(memory: EngineMemory, where: string, instruction: InstructionOf<'iota'>): Step {
  const [out] = instruction.out as readonly [TileView];
  const { base, partitionStep, freeStep } = instruction.attributes;
  const isInteger = memory.operand(where, out).dtype === 'i32';
  const write = isInteger
    ? memory.rawWriter(where, out, 'out', instruction.in)
    : memory.writer(where, out, 'out', instruction.in);
  const start = memory.evaluate(base);
  const { partitions, length } = out;
  return () => {
    const y = write.open() >> 2;
    const numbers = isInteger ? memory.words : memory.floats;
    for (let p = 0; p < partitions; p++) {
      for (let i = 0; i < length; i++) numbers[y + p * length + i] = start() + p * partitionStep + i * freeStep;
    }
    write.close();
  };
}

export function prepareMemset(memory: EngineMemory, where: string, instruction: InstructionOf<'memset'>): Step {
  const [out] = instruction.out as readonly [TileView];
  const { value } = instruction.attributes;
  const write = memory.writer(where, out, 'out', instruction.in);
  const count = out.partitions * out.length;
  return () => {
    const y = write.open() >> 2;
    memory.floats.fill(value, y, y + count);
    write.close();
  };
}
