/**
 * Runs a step program with real tensors: every rank has its own, an instruction is computed for all ranks before the next
 * one, and sums over ranks move real bytes by the schedules of their collectives. Weights, gradients and optimizer states stay
 * between steps.
 *
 * Rounding: one for each stored result. With stochastic rounding every result of every step has random bits of its own,
 * except that ranks that hold copies draw the same. Sums over ranks round to nearest even.
 */
import { expectInteger } from '../../base/errors.ts';
import { executeNumeric } from '../../collectives/numeric.ts';
import { Arena, cast, DTYPES, type Rounding, type Tensor } from '../../kernels/index.ts';
import { ropeTables } from '../../models/rope.ts';
import type { Exchanges } from '../exchange.ts';
import { type Bucket, fillBlock } from './parameters.ts';
import {
  allReduceOf,
  type Copies,
  elementsOf,
  type Instruction,
  lastUses,
  type OperatorInstruction,
  owner,
  type Value,
} from './program.ts';
import type { StepProgram } from './transformer.ts';

/** A bit of one stored number, counted from the lowest, that flips before the optimizer of a step or before the step. */
export interface BitFlip {
  /** `weights`: as stored, before the step. `gradients`: before they are summed over the data-parallel ranks. */
  readonly target: 'weights' | 'gradients';
  readonly step: number;
  readonly rank: number;
  /** Among all weights of the rank, bucket by bucket. */
  readonly element: number;
  readonly bit: number;
}

export interface ExecutorOptions {
  readonly seed: number;
  readonly rounding: 'nearest' | 'stochastic';
  /** Weights are rounded to this format when they are made; the program's own if left out. */
  readonly initialDType?: 'f32' | 'bf16';
  readonly flip?: BitFlip;
}

/** Random streams: weights have those below; then a run for each instruction of each step. */
const FIRST_STREAM = 2 ** 24;
/** Results that one instruction rounds, at most. */
const RESULTS = 4;

export class Executor {
  readonly arena: Arena = new Arena({ deterministic: true });
  readonly step: StepProgram;
  readonly #options: ExecutorOptions;
  readonly #exchanges: Exchanges;
  readonly #ranks: number;
  readonly #ends: Value[][];
  /** Of each value with memory of its own, by rank. */
  readonly #tensors = new Map<Value, Tensor[]>();
  #steps = 0;

  constructor(step: StepProgram, exchanges: Exchanges, options: ExecutorOptions) {
    this.step = step;
    this.#exchanges = exchanges;
    this.#options = options;
    const { program } = step;
    this.#ranks = program.tp * program.dp;
    this.#ends = lastUses(program);
    for (const value of program.values) {
      if (!value.isPersistent || value.part !== null) continue;
      for (const tensor of this.#allocate(value)) tensor.bytesView().fill(0);
    }
    for (const bucket of this.buckets()) this.#initialise(bucket);
    this.#fillRope();
  }

  buckets(): Bucket[] {
    const { layers, edges } = this.step.parameters;
    return edges ? [...layers, edges] : [...layers];
  }

  /** The tensor of a value on a rank: a view into its owner's where it is a part. */
  tensor(value: Value, rank: number): Tensor {
    const whole = this.#tensors.get(owner(value))![rank]!;
    if (value.part === null) return whole;
    const { offset } = value.part;
    return whole
      .reshape([whole.length])
      .slice(offset, offset + elementsOf(value))
      .reshape(value.shape);
  }

  /** Sets input and target of every data-parallel rank: one array each, of its rows. */
  setBatch(inputs: readonly ArrayLike<number>[], targets: readonly ArrayLike<number>[]): void {
    const { input, target, program } = this.step;
    for (let rank = 0; rank < this.#ranks; rank++) {
      const replica = Math.floor(rank / program.tp);
      this.tensor(input, rank).set(inputs[replica]!);
      this.tensor(target, rank).set(targets[replica]!);
    }
  }

  /** Runs the program once; returns the loss, before the update. */
  run(): number {
    const loss = this.#run(this.step.program.instructions);
    this.#steps++;
    return loss;
  }

  /** Runs the forward pass only; returns the loss. */
  forward(): number {
    return this.#run(this.step.program.instructions.filter(({ pass }) => pass === 'forward'));
  }

  /** Instructions from the first on. */
  #run(instructions: readonly Instruction[]): number {
    const { flip } = this.#options;
    const isHit = flip !== undefined && flip.step === this.#steps;
    if (isHit && flip.target === 'weights') this.#flip(flip);
    let isFlipped = flip?.target !== 'gradients';
    instructions.forEach((instruction, i) => {
      // A bucket's gradients are hit just before they are first used.
      if (isHit && !isFlipped && this.#uses(instruction, flip)) {
        this.#flip(flip);
        isFlipped = true;
      }
      if (instruction.type === 'operator') this.#operator(instruction, i);
      else this.#allReduce(instruction);
      for (const value of this.#ends[i]!) this.#release(value);
    });
    // Without sums over replicas and an optimizer nothing uses the gradients.
    if (isHit && !isFlipped) this.#flip(flip);
    // What the backward pass would have read.
    for (const value of [...this.#tensors.keys()]) if (!value.isPersistent) this.#release(value);
    return this.tensor(this.step.loss, 0).toFloat32()[0]!;
  }

  #allocate(value: Value): Tensor[] {
    const tensors = Array.from({ length: this.#ranks }, () => this.arena.tensor(value.dtype, value.shape));
    this.#tensors.set(value, tensors);
    return tensors;
  }

  #release(value: Value): void {
    for (const tensor of this.#tensors.get(value)!) tensor.dispose();
    this.#tensors.delete(value);
  }

  #initialise(bucket: Bucket): void {
    const { arena } = this;
    const { seed, initialDType } = this.#options;
    const { tp } = this.step.program;
    for (let rank = 0; rank < this.#ranks; rank++) {
      const weights = this.tensor(bucket.weights, rank);
      let offset = 0;
      for (const block of bucket.blocks(rank % tp)) {
        const { rows, columns } = block;
        using made = arena.tensor(initialDType ?? weights.dtype, [rows, columns]);
        fillBlock(made, block, seed);
        cast(made, weights.slice(offset, offset + rows * columns));
        offset += rows * columns;
      }
      for (const master of bucket.masters) cast(weights, this.tensor(master, rank));
    }
  }

  /** A row of the tables for each row of the activations: sequences start at position 0. */
  #fillRope(): void {
    const { rope, options } = this.step;
    const { config, sequences, tokens } = options;
    const tables = ropeTables(config, tokens);
    for (const name of ['cos', 'sin'] as const) {
      const table = tables[name];
      const repeated = new Float32Array(table.length * sequences);
      for (let i = 0; i < sequences; i++) repeated.set(table, i * table.length);
      for (let rank = 0; rank < this.#ranks; rank++) this.tensor(rope[name], rank).set(repeated);
    }
  }

  #operator(instruction: OperatorInstruction, index: number): void {
    const { reads, writes, compute } = instruction;
    for (const value of writes.map(owner)) if (!this.#tensors.has(value)) this.#allocate(value);
    const { tp } = this.step.program;
    for (let rank = 0; rank < this.#ranks; rank++) {
      compute(
        {
          arena: this.arena,
          tpRank: rank % tp,
          step: this.#steps,
          rounding: (i) => this.#rounding(index, i, rank, writes[0]!.copies),
        },
        reads.map((value) => this.tensor(value, rank)),
        writes.map((value) => this.tensor(value, rank)),
      );
    }
  }

  #rounding(index: number, result: number, rank: number, copies: Copies): Rounding {
    const { rounding, seed } = this.#options;
    if (rounding === 'nearest') return 'nearest';
    const { tp, instructions } = this.step.program;
    const place = copies === 'dp' ? 0 : copies === 'tp' ? rank - (rank % tp) : rank;
    const run = (this.#steps * instructions.length + index) * RESULTS + result;
    return { seed, stream: expectInteger('stream', FIRST_STREAM + run * this.#ranks + place, 0, 2 ** 32 - 1) };
  }

  #allReduce(instruction: Extract<Instruction, { type: 'all-reduce' }>): void {
    const { value, ranks, stride, operator } = instruction;
    const { schedule } = this.#exchanges(allReduceOf(instruction));
    for (let first = 0; first < this.#ranks; first++) {
      if (Math.floor(first / stride) % ranks !== 0) continue;
      const buffers = Array.from({ length: ranks }, (_, i) => {
        const tensor = this.tensor(value, first + i * stride);
        return tensor.reshape([tensor.length]);
      });
      executeNumeric(schedule, buffers, { operator });
    }
  }

  /** Whether the instruction sums or reads the gradients of the bucket that the flip is in. */
  #uses(instruction: Instruction, flip: BitFlip): boolean {
    const { gradients } = this.#locate(flip).bucket;
    if (instruction.type === 'all-reduce') return instruction.value === gradients;
    return instruction.pass === 'optimizer' && instruction.reads.includes(gradients);
  }

  #flip(flip: BitFlip): void {
    const { bucket, element } = this.#locate(flip);
    const value = flip.target === 'weights' ? bucket.weights : bucket.gradients;
    const bytes = this.tensor(value, flip.rank).bytesView();
    // Little-endian, as WebAssembly's memory is.
    const at = element * DTYPES[value.dtype].bytes + Math.floor(flip.bit / 8);
    bytes[at] = bytes[at]! ^ (1 << (flip.bit % 8));
  }

  #locate({ element }: BitFlip): { bucket: Bucket; element: number } {
    let rest = element;
    for (const bucket of this.buckets()) {
      const length = elementsOf(bucket.weights);
      if (rest < length) return { bucket, element: rest };
      rest -= length;
    }
    throw new RangeError(`"element" expected one of the ${element - rest} weights of a rank, got ${element}`);
  }
}
