/**
 * Instructions of VectorE, ScalarE and GpSimdE that work element by element. `alu.ts` has the functions themselves; a value
 * between two of them is rounded to FP32.
 *
 * Each function prepares an instruction once and returns the step that runs it in every iteration of its loops: operands and
 * buffers are looked up before the loops, and a step calls one kernel over the whole tile.
 */
import type { TileView } from '../access.ts';
import type { InstructionOf, ScalarOperand } from '../instructions.ts';
import { activation, operatorCode } from './alu.ts';
import type { EngineMemory, Reader, Step } from './engine.ts';

/** Reads a number, or one for each partition: a step of 0 or 4 bytes from partition to partition. */
export interface ScalarReader {
  readonly step: 0 | 4;
  readonly read: Reader;
}

const ADD = operatorCode('add');
const SUBTRACT = operatorCode('subtract');
const MULTIPLY = operatorCode('multiply');

/** The reader of operand `name`; a number is written at every step, since instructions share buffers by name. */
export function scalarReader(memory: EngineMemory, where: string, operand: ScalarOperand, name: string): ScalarReader {
  if (typeof operand !== 'number') return { step: 4, read: memory.reader(where, operand, name) };
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
  const code = operatorCode(operator);
  const count = out.partitions * out.length;
  const { kernels } = memory.arena;
  return () => {
    kernels.aluTensor_f32(code, count, readA(), readB(), write.open());
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
  const { kernels } = memory.arena;
  const code0 = operatorCode(alu0);
  const code1 = alu1 === null ? null : operatorCode(alu1);
  return () => {
    const [x, s0, s1, y] = [read(), first.read(), second.read(), write.open()];
    kernels.aluScalar_f32(code0, partitions, length, x, s0, first.step, reverse0 ? 1 : 0, y);
    if (code1 !== null) kernels.aluScalar_f32(code1, partitions, length, y, s1, second.step, 0, y);
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
  const { partitions, length } = out;
  const activate = activation(memory, fn, partitions * length);
  const { kernels } = memory.arena;
  const isScaled = scale !== 1;
  return () => {
    const [x, s, b, y] = [read(), scales.read(), biases.read(), write.open()];
    if (isScaled) kernels.aluScalar_f32(MULTIPLY, partitions, length, x, s, scales.step, 0, y);
    if (bias !== null) kernels.aluScalar_f32(ADD, partitions, length, isScaled ? y : x, b, biases.step, 0, y);
    activate(partitions * length, isScaled || bias !== null ? y : x, y);
    if (writeSum) kernels.sumRows_f32(partitions, length, y, 1, writeSum.open());
    write.close();
    writeSum?.close();
  };
}

export function prepareReciprocal(memory: EngineMemory, where: string, instruction: InstructionOf<'reciprocal'>): Step {
  const [out, input] = [instruction.out[0]!, instruction.in[0]!];
  const read = memory.reader(where, input, 'x');
  const write = memory.writer(where, out, 'out', instruction.in);
  const count = out.partitions * out.length;
  const invert = activation(memory, 'reciprocal', count);
  return () => {
    invert(count, read(), write.open());
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
  const { partitions, length } = out;
  const activate = activation(memory, 'exp', partitions * length);
  const { kernels } = memory.arena;
  return () => {
    const [x, m, y] = [read(), readMax(), write.open()];
    kernels.aluScalar_f32(SUBTRACT, partitions, length, x, m, 4, 0, y);
    activate(partitions * length, y, y);
    if (writeSum) kernels.sumRows_f32(partitions, length, y, 1, writeSum.open());
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

/** The condition is linear along a row, so what it keeps of one is a run. */
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
      const row = p * length;
      const [from, to] = keptRun(start() + p * partitionStep, freeStep, length);
      floats.fill(fill, y + row, y + row + from);
      floats.copyWithin(y + row + from, x + row + from, x + row + to);
      floats.fill(fill, y + row + to, y + row + length);
    }
    write.close();
  };
}

/** The i in 0 .. length - 1 with first + i step >= 0, as [from, to). */
function keptRun(first: number, step: number, length: number): [from: number, to: number] {
  if (step > 0) return [Math.min(length, Math.max(0, Math.ceil(-first / step))), length];
  if (first < 0) return [0, 0];
  return [0, step === 0 ? length : Math.min(length, Math.floor(first / -step) + 1)];
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
