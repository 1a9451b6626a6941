/**
 * A tile program for one NeuronCore: declarations of memory, and instructions inside loops. Two executors run it:
 * `numeric.ts` computes its results, `clock.ts` says how long it takes.
 *
 *     const program = tileProgram('scale', core, (nc) => {
 *       const x = nc.input('x', 'bf16', [rows, cols]);
 *       const y = nc.output('y', 'bf16', [rows, cols]);
 *       const tile = nc.sbuf('tile', 'bf16', 128, cols, { slots: 2 });
 *       nc.loop(rows / 128, (i) => {
 *         nc.dmaCopy(tile.slot(i), block(x, [i.times(128), 128], [0, cols]));
 *         nc.tensorScalar(tile.slot(i), tile.slot(i), 'multiply', 2);
 *         nc.dmaCopy(block(y, [i.times(128), 128], [0, cols]), tile.slot(i));
 *       });
 *     });
 *
 * The order of the text is one correct order of execution. Engines run ahead of it as far as their operands allow: what reads a
 * slot waits for what wrote it, and what overwrites a slot for what reads it. Semaphores are what carries these waits; they need
 * no spelling out. Several programs, one per core, share the HBM of a chip (`clock.ts`).
 */
import { expectInteger, ModelError } from '../base/errors.ts';
import type { CoreSpec } from '../hardware/spec.ts';
import type { DType } from '../kernels/dtype.ts';
import { type HbmTensor, type HbmView, Index, type Loop, type Tile, TileView, type View } from './access.ts';
import { checkInstruction } from './constraints.ts';
import type {
  Accumulate,
  ActivationFunction,
  AluOperator,
  Attributes,
  Engine,
  Instruction,
  MatmulMode,
  Opcode,
  ScalarOperand,
} from './instructions.ts';
import { ProgramMemory } from './program-memory.ts';
import { checkScope } from './scope.ts';

export type ProgramNode = Instruction | LoopNode;

export interface LoopNode {
  readonly op: 'loop';
  readonly loop: Loop;
  readonly body: readonly ProgramNode[];
}

export interface Program {
  readonly name: string;
  readonly core: CoreSpec;
  readonly tensors: readonly HbmTensor[];
  readonly tiles: readonly Tile[];
  readonly body: readonly ProgramNode[];
  readonly loops: number;
  /** Distinct instructions in the text, however often they run. */
  readonly instructions: number;
  /** Most bytes per partition in use at once. */
  readonly sbufBytes: number;
  readonly psumBanks: number;
}

/**
 * The program that `write` writes.
 * @throws ModelError (PROGRAM) that names the instruction and the limit it breaks
 */
export function tileProgram(name: string, core: CoreSpec, write: (nc: ProgramBuilder) => void): Program {
  const builder = new ProgramBuilder(name, core);
  write(builder);
  return builder.build();
}

const NO_BIAS = null;

/** Writes a program. Its methods are the instructions; each checks the hardware's limits. */
export class ProgramBuilder {
  readonly name: string;
  readonly core: CoreSpec;
  readonly #memory: ProgramMemory;
  #body: ProgramNode[] = [];
  readonly #loopsAround: Set<Loop> = new Set();
  #loops = 0;
  #instructions = 0;

  constructor(name: string, core: CoreSpec) {
    // Inferentia1 and other makers' chips have no core at all.
    if (core?.sbuf == null || core.psum === null || core.tensor === null) {
      throw new ModelError(
        'UNSUPPORTED',
        name,
        'expected a NeuronCore whose memories and engines are published, got none',
      );
    }
    this.name = name;
    this.core = core;
    this.#memory = new ProgramMemory(name, core);
  }

  input(name: string, dtype: DType, shape: readonly number[]): HbmTensor {
    return this.#memory.tensor(name, dtype, shape, 'input');
  }

  output(name: string, dtype: DType, shape: readonly number[]): HbmTensor {
    return this.#memory.tensor(name, dtype, shape, 'output');
  }

  /** Device memory that the program writes and reads back. */
  scratch(name: string, dtype: DType, shape: readonly number[]): HbmTensor {
    return this.#memory.tensor(name, dtype, shape, 'scratch');
  }

  /**
   * `slots` tiles of [partitions, free] in SBUF.
   * @throws ModelError (PROGRAM) if SBUF does not hold them beside what is declared already
   */
  sbuf(
    name: string,
    dtype: DType,
    partitions: number,
    free: number,
    { slots = 1, startPartition = 0 }: { readonly slots?: number; readonly startPartition?: number } = {},
  ): TileView {
    return this.#memory.tile('sbuf', name, dtype, partitions, free, slots, startPartition);
  }

  /** `slots` tiles in PSUM, each in banks of its own. */
  psum(
    name: string,
    partitions: number,
    free: number,
    {
      slots = 1,
      dtype = 'f32',
      startPartition = 0,
    }: { readonly slots?: number; readonly dtype?: DType; readonly startPartition?: number } = {},
  ): TileView {
    return this.#memory.tile('psum', name, dtype, partitions, free, slots, startPartition);
  }

  /** Tiles declared inside are free again afterwards. */
  scope(write: () => void): void {
    this.#memory.scope(write);
  }

  /** Repeats what `write` writes; it gets the index, 0 .. count - 1. Nothing for a count of 0, no loop for 1. */
  loop(count: number, write: (index: Index) => void): void {
    expectInteger('count', count);
    if (count === 0) return;
    if (count === 1) {
      write(new Index(0));
      return;
    }
    const outer = this.#body;
    const body: ProgramNode[] = [];
    const loop = { id: this.#loops++, count };
    this.#body = body;
    this.#loopsAround.add(loop);
    write(new Index(0, [{ loop, factor: 1 }]));
    this.#loopsAround.delete(loop);
    this.#body = outer;
    if (body.length > 0) outer.push({ op: 'loop', loop, body });
  }

  /** `size` cut into pieces: a loop over the whole ones, then the rest once. `write` gets start and length of a piece. */
  tiles(size: number, piece: number, write: (start: Index, length: number, index: Index) => void): void {
    const whole = Math.floor(size / piece);
    this.loop(whole, (index) => write(index.times(piece), piece, index));
    const rest = size - whole * piece;
    if (rest > 0) write(new Index(whole * piece), rest, new Index(whole));
  }

  /** out[M, N] (+)= stationary[K, M]^T moving[K, N], in PSUM. Scales of the operands only in mode 'mx'. */
  matmul(
    out: TileView,
    stationary: TileView,
    moving: TileView,
    {
      accumulate = false,
      mode = 'normal',
      fastWeightLoad = false,
      scales,
    }: {
      readonly accumulate?: Accumulate;
      readonly mode?: MatmulMode;
      readonly fastWeightLoad?: boolean;
      readonly scales?: readonly [stationary: TileView, moving: TileView];
    } = {},
  ): void {
    const operands = [stationary, moving, ...(scales ?? [])];
    this.#add('nc_matmul', 'TensorE', [out], operands, { accumulate, mode, fastWeightLoad });
  }

  loadStationary(stationary: TileView, { fastWeightLoad = false }: { readonly fastWeightLoad?: boolean } = {}): void {
    this.#add('load_stationary', 'TensorE', [], [stationary], { fastWeightLoad });
  }

  /** TensorE writes to PSUM, any size up to 128 x 128; VectorE in blocks of 32 x 32. */
  transpose(out: TileView, x: TileView, engine: 'TensorE' | 'VectorE' = 'TensorE'): void {
    this.#add('nc_transpose', engine, [out], [x], {});
  }

  /** out = fn(x * scale + bias); `reduced` gets the sum of the results of each partition. */
  activation(
    out: TileView,
    fn: ActivationFunction,
    x: TileView,
    {
      scale = 1,
      bias = NO_BIAS,
      reduced,
    }: { readonly scale?: ScalarOperand; readonly bias?: TileView | null; readonly reduced?: TileView } = {},
  ): void {
    const vectors = [scale, bias].filter((operand) => operand instanceof TileView);
    this.#add('activation', 'ScalarE', reduced ? [out, reduced] : [out], [x, ...vectors], { fn, scale, bias });
  }

  tensorTensor(
    out: TileView,
    a: TileView,
    alu: AluOperator,
    b: TileView,
    engine: 'VectorE' | 'GpSimdE' = 'VectorE',
  ): void {
    this.#add('tensor_tensor', engine, [out], [a, b], { alu });
  }

  tensorScalar(
    out: TileView,
    x: TileView,
    alu0: AluOperator,
    operand0: ScalarOperand,
    {
      alu1 = null,
      operand1 = 0,
      reverse0 = false,
      engine = 'VectorE',
    }: {
      readonly alu1?: AluOperator | null;
      readonly operand1?: ScalarOperand;
      readonly reverse0?: boolean;
      readonly engine?: 'VectorE' | 'ScalarE' | 'GpSimdE';
    } = {},
  ): void {
    const vectors = [operand0, operand1].filter((operand) => operand instanceof TileView);
    this.#add('tensor_scalar', engine, [out], [x, ...vectors], { alu0, operand0, alu1, operand1, reverse0 });
  }

  tensorReduce(
    out: TileView,
    alu: 'add' | 'max' | 'min',
    x: TileView,
    { negate = false }: { readonly negate?: boolean } = {},
  ): void {
    this.#add('tensor_reduce', 'VectorE', [out], [x], { alu, negate });
  }

  /** A copy on chip, with a cast where the formats differ. */
  copy(out: TileView, x: TileView, engine: 'VectorE' | 'ScalarE' | 'GpSimdE' = 'VectorE'): void {
    this.#add('tensor_copy', engine, [out], [x], {});
  }

  select(out: TileView, predicate: TileView, a: TileView, b: TileView | number): void {
    const isFill = typeof b === 'number';
    this.#add('select', 'VectorE', [out], isFill ? [predicate, a] : [predicate, a, b], { fill: isFill ? b : null });
  }

  affineSelect(out: TileView, x: TileView, attributes: Partial<Attributes['affine_select']>): void {
    const { base = 0, partitionStep = 0, freeStep = 0, fill = 0 } = attributes;
    this.#add('affine_select', 'GpSimdE', [out], [x], { base: Index.from(base), partitionStep, freeStep, fill });
  }

  iota(out: TileView, attributes: Partial<Attributes['iota']>): void {
    const { base = 0, partitionStep = 0, freeStep = 0 } = attributes;
    this.#add('iota', 'GpSimdE', [out], [], { base: Index.from(base), partitionStep, freeStep });
  }

  /** A recurrence along the elements of each partition. */
  scan(
    out: TileView,
    a: TileView,
    b: TileView,
    { alu0 = 'multiply', alu1 = 'add', initial = 0 }: Partial<Attributes['scan']> = {},
  ): void {
    const vectors = initial instanceof TileView ? [initial] : [];
    this.#add('scan', 'VectorE', [out], [a, b, ...vectors], { alu0, alu1, initial });
  }

  bnStats(out: TileView, x: TileView): void {
    this.#add('bn_stats', 'VectorE', [out], [x], {});
  }

  bnAggregate(out: TileView, statistics: TileView): void {
    this.#add('bn_aggr', 'VectorE', [out], [statistics], {});
  }

  reciprocal(out: TileView, x: TileView): void {
    this.#add('reciprocal', 'VectorE', [out], [x], {});
  }

  /** exp(x - max) with the sum of each partition, on VectorE of NeuronCore-v4. */
  exponential(out: TileView, x: TileView, max: TileView, rowSum?: TileView): void {
    this.#add('exponential', 'VectorE', rowSum ? [out, rowSum] : [out], [x, max], {});
  }

  quantizeMx(out: TileView, scales: TileView, x: TileView, rule: Attributes['quantize_mx']['rule'] = 'nki'): void {
    this.#add('quantize_mx', 'VectorE', [out, scales], [x], { rule });
  }

  memset(out: TileView, value: number, engine: 'VectorE' | 'GpSimdE' = 'VectorE'): void {
    this.#add('memset', engine, [out], [], { value });
  }

  /**
   * Between HBM and SBUF, or inside one of them. DMAs of one queue run one after another; a queue is named after the memory
   * that it fills unless told otherwise, as the compiler gives each tensor a ring of its own.
   */
  dmaCopy(out: View, x: View, { queue, accumulate = false }: { queue?: string; accumulate?: boolean } = {}): void {
    this.#add('dma_copy', 'DMA', [out], [x], { queue: queue ?? queueName(out, x), accumulate });
  }

  dmaTranspose(out: View, x: View, { queue }: { queue?: string } = {}): void {
    this.#add('dma_transpose', 'DMA', [out], [x], { queue: queue ?? queueName(out, x) });
  }

  build(): Program {
    return {
      name: this.name,
      core: this.core,
      tensors: this.#memory.tensors,
      tiles: this.#memory.tiles,
      body: this.#body,
      loops: this.#loops,
      instructions: this.#instructions,
      sbufBytes: this.#memory.sbufMost,
      psumBanks: this.#memory.banksMost,
    };
  }

  #add<K extends Opcode>(
    op: K,
    engine: Engine,
    out: readonly View[],
    inputs: readonly View[],
    attributes: Attributes[K],
  ): void {
    const instruction = { id: this.#instructions, op, engine, out, in: inputs, attributes } as unknown as Instruction;
    const where = `${this.name}: instruction ${instruction.id} (${op})`;
    checkScope(
      { loops: this.#loopsAround, tiles: this.#memory.open, tensors: this.#memory.tensors },
      where,
      instruction,
    );
    checkInstruction(this.core, where, instruction);
    this.#instructions++;
    this.#body.push(instruction);
  }
}

function queueName(out: View, x: View): string {
  const named = out.kind === 'tile' ? out.tile.name : x.kind === 'tile' ? x.tile.name : out.tensor.name;
  return `${out.kind === 'hbm' ? 'store' : 'load'} ${named}`;
}

/** The HBM side of a DMA, if it has one. */
export function hbmSide(instruction: Instruction): HbmView | null {
  const view = [...instruction.out, ...instruction.in].find((operand) => operand.kind === 'hbm');
  return view?.kind === 'hbm' ? view : null;
}
