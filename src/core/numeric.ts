/**
 * The numeric executor: runs a tile program on real numbers, instruction by instruction in the order of the text, which is
 * one correct order. Memory holds each format exactly; engines compute in FP32 and round once when they write
 * (`numeric/engine.ts`). Reads of what nothing has written are errors.
 *
 * Leaves out: time (`clock.ts`), and the errors of the hardware's function tables, which are not published.
 */
import { expectInteger, ModelError } from '../base/errors.ts';
import type { Arena } from '../kernels/arena.ts';
import type { Rounding } from '../kernels/cast.ts';
import type { DType } from '../kernels/dtype.ts';
import type { Tensor } from '../kernels/tensor.ts';
import type { Instruction } from './instructions.ts';
import { prepareAccumulate, prepareCopy } from './numeric/dma.ts';
import {
  prepareActivation,
  prepareAffineSelect,
  prepareExponential,
  prepareIota,
  prepareMemset,
  prepareReciprocal,
  prepareSelect,
  prepareTensorScalar,
  prepareTensorTensor,
} from './numeric/elementwise.ts';
import { EngineMemory, type Step } from './numeric/engine.ts';
import { type Counters, hbmStore, poison, tileStores } from './numeric/memory.ts';
import { prepareBnAggregate, prepareBnStats, prepareQuantizeMx, prepareReduce, prepareScan } from './numeric/rows.ts';
import { prepareMatmul, prepareTranspose } from './numeric/tensor-engine.ts';
import type { Program, ProgramNode } from './program.ts';

export interface RunProgramOptions {
  /** How results are rounded to the format of their tile: to nearest even by default. Each result is a stream of its own. */
  readonly rounding?: Rounding;
  /** Every tile, output and scratch tensor of a float format holds FP32 instead: what is left is the error of the algorithm. */
  readonly precise?: boolean;
  /** Where outputs and tiles are made; the arena of the inputs by default. */
  readonly arena?: Arena;
  /** Instructions that may run, loops unrolled: a guard against a program that never ends in practice. 10^8 by default. */
  readonly maxInstructions?: number;
}

const MAX_INSTRUCTIONS = 1e8;

/**
 * Runs `program` with `inputs`, by name, and returns its outputs, fresh tensors that the caller disposes. A program that
 * writes to an input writes into the caller's tensor.
 * @throws TypeError or RangeError for a missing or wrong input, ModelError (PROGRAM) that names the instruction that reads what
 * nothing has written, ModelError (CAPACITY) if the arena is full
 */
export function runProgram(
  program: Program,
  inputs: Readonly<Record<string, Tensor>>,
  options: RunProgramOptions = {},
): Record<string, Tensor> {
  const { rounding = 'nearest', precise = false, maxInstructions = MAX_INSTRUCTIONS } = options;
  const arena = options.arena ?? Object.values(inputs)[0]?.arena;
  if (arena === undefined) throw new TypeError('"arena" expected an arena for a program without inputs, got undefined');
  checkInputs(program, inputs, arena);
  expectInteger('maxInstructions', maxInstructions, 1);
  const executed = countExecuted(program.body);
  if (executed > maxInstructions) {
    throw new ModelError('CAPACITY', program.name, `expected at most ${maxInstructions} instructions, got ${executed}`);
  }
  const storageOf = (dtype: DType): DType => (precise && isRounded(dtype) ? 'f32' : dtype);
  const tensors = program.tensors.map((tensor) => {
    if (tensor.role === 'input') return hbmStore(tensor, inputs[tensor.name]!, true);
    const fresh = arena.tensor(storageOf(tensor.dtype), tensor.shape);
    poison(fresh);
    return hbmStore(tensor, fresh, false);
  });
  const counters: Counters = new Float64Array(program.loops);
  const memory = new EngineMemory(arena, { tiles: tileStores(program.tiles, storageOf), tensors }, counters, rounding);
  let isDone = false;
  try {
    const steps = prepareBody(memory, program.name, program.body, counters);
    memory.open();
    for (const step of steps) step();
    isDone = true;
  } finally {
    memory.dispose();
    for (const [i, { role }] of program.tensors.entries()) {
      if (role === 'scratch' || (role === 'output' && !isDone)) tensors[i]!.tensor!.dispose();
    }
  }
  const outputs = program.tensors.filter(({ role }) => role === 'output');
  return Object.fromEntries(outputs.map(({ id, name }) => [name, tensors[id]!.tensor!]));
}

function isRounded(dtype: DType): boolean {
  return dtype !== 'e8m0' && dtype !== 'i8' && dtype !== 'i32';
}

function checkInputs(program: Program, inputs: Readonly<Record<string, Tensor>>, arena: Arena): void {
  const expected = program.tensors.filter(({ role }) => role === 'input');
  const unknown = Object.keys(inputs).find((name) => !expected.some((tensor) => tensor.name === name));
  if (unknown !== undefined) {
    throw new RangeError(`"inputs" expected ${expected.map(({ name }) => name).join(', ') || 'none'}, got ${unknown}`);
  }
  for (const { name, dtype, shape } of expected) {
    const tensor = inputs[name];
    if (tensor === undefined) throw new TypeError(`"${name}" expected a tensor, got undefined`);
    if (tensor.arena !== arena)
      throw new TypeError(`"${name}" expected the arena of the other tensors, got another one`);
    if (tensor.dtype !== dtype) throw new TypeError(`"${name}" expected dtype ${dtype}, got ${tensor.dtype}`);
    if (tensor.shape.join() !== shape.join() || !tensor.isContiguous) {
      throw new RangeError(`"${name}" expected a contiguous tensor of shape [${shape}], got [${tensor.shape}]`);
    }
  }
}

/** Instructions that run, loops unrolled. */
function countExecuted(body: readonly ProgramNode[]): number {
  return body.reduce((sum, node) => sum + (node.op === 'loop' ? node.loop.count * countExecuted(node.body) : 1), 0);
}

function prepareBody(
  memory: EngineMemory,
  name: string,
  body: readonly ProgramNode[],
  counters: Counters,
): readonly Step[] {
  return body.map((node) => {
    if (node.op !== 'loop') return prepare(memory, `${name}: instruction ${node.id} (${node.op})`, node);
    const steps = prepareBody(memory, name, node.body, counters);
    const { id, count } = node.loop;
    return () => {
      for (let i = 0; i < count; i++) {
        counters[id] = i;
        for (const step of steps) step();
      }
    };
  });
}

function prepare(memory: EngineMemory, where: string, instruction: Instruction): Step {
  switch (instruction.op) {
    case 'nc_matmul':
      return prepareMatmul(memory, where, instruction);
    case 'load_stationary':
      return memory.reader(where, instruction.in[0]!, 'x');
    case 'nc_transpose':
    case 'dma_transpose':
      return prepareTranspose(memory, where, instruction);
    case 'activation':
      return prepareActivation(memory, where, instruction);
    case 'tensor_tensor':
      return prepareTensorTensor(memory, where, instruction);
    case 'tensor_scalar':
      return prepareTensorScalar(memory, where, instruction);
    case 'tensor_reduce':
      return prepareReduce(memory, where, instruction);
    case 'dma_copy':
      return instruction.attributes.accumulate
        ? prepareAccumulate(memory, where, instruction)
        : prepareCopy(memory, where, instruction);
    case 'tensor_copy':
      return prepareCopy(memory, where, instruction);
    case 'select':
      return prepareSelect(memory, where, instruction);
    case 'affine_select':
      return prepareAffineSelect(memory, where, instruction);
    case 'iota':
      return prepareIota(memory, where, instruction);
    case 'scan':
      return prepareScan(memory, where, instruction);
    case 'bn_stats':
      return prepareBnStats(memory, where, instruction);
    case 'bn_aggr':
      return prepareBnAggregate(memory, where, instruction);
    case 'reciprocal':
      return prepareReciprocal(memory, where, instruction);
    case 'exponential':
      return prepareExponential(memory, where, instruction);
    case 'quantize_mx':
      return prepareQuantizeMx(memory, where, instruction);
    case 'memset':
      return prepareMemset(memory, where, instruction);
  }
}
