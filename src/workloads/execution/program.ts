/**
 * A training step as a program: a list of operators and sums over ranks on named values. The list is the same for all
 * ranks, which run it in lockstep, each on tensors of its own. It is what `clock.ts` times, what `memory.ts` sizes and what
 * `executor.ts` computes: the predicted step and the executed step cannot differ.
 *
 * A value is written once, by one instruction (sums over ranks change it in place), and its memory is free after the
 * last instruction that reads it. Values that outlive the step, weights, gradients and optimizer states, are persistent;
 * a value can be a part of another one.
 */
import type { OperatorCase } from '../../core/operator-case.ts';
import type { Arena, DType, Rounding, Tensor } from '../../kernels/index.ts';
import type { AllReduce } from '../exchange.ts';

/**
 * Which ranks hold the same bytes: none; those of a tensor-parallel group; also those that hold the same weights. With
 * stochastic rounding they draw the same random bits, so that copies stay equal.
 */
export type Copies = 'none' | 'tp' | 'dp';

export interface Value {
  readonly id: number;
  readonly name: string;
  /** On each rank. */
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly isPersistent: boolean;
  readonly copies: Copies;
  /** Where it lies in another value, in elements; null if it has memory of its own. */
  readonly part: { readonly of: Value; readonly offset: number } | null;
}

export type Pass = 'forward' | 'backward' | 'optimizer';

/** An operator as the clock knows it; its time counts `repeat` times. */
export interface TimedCase {
  readonly operator: OperatorCase;
  readonly repeat: number;
}

/** What an operator knows of the rank that it runs on. */
interface RankContext {
  readonly arena: Arena;
  /** Place in the tensor-parallel group. */
  readonly tpRank: number;
  /** Steps of the optimizer before this one. */
  readonly step: number;
  /** How result `i` of the operator is rounded. */
  readonly rounding: (i: number) => Rounding;
}

export interface OperatorInstruction {
  readonly type: 'operator';
  readonly name: string;
  readonly pass: Pass;
  readonly cases: readonly TimedCase[];
  readonly reads: readonly Value[];
  readonly writes: readonly Value[];
  readonly compute: (context: RankContext, reads: readonly Tensor[], writes: readonly Tensor[]) => void;
}

export interface AllReduceInstruction {
  readonly type: 'all-reduce';
  readonly name: string;
  readonly pass: Pass;
  /** Summed in place over groups of `ranks` ranks, `stride` apart. */
  readonly value: Value;
  readonly ranks: number;
  readonly stride: number;
  readonly operator: 'sum' | 'max';
}

export type Instruction = OperatorInstruction | AllReduceInstruction;

export interface Program {
  readonly tp: number;
  readonly dp: number;
  readonly values: readonly Value[];
  readonly instructions: readonly Instruction[];
}

export class ProgramBuilder implements Program {
  readonly tp: number;
  readonly dp: number;
  readonly values: Value[] = [];
  readonly instructions: Instruction[] = [];
  /** Of the instructions that are added next. */
  pass: Pass = 'forward';

  constructor(tp: number, dp: number) {
    this.tp = tp;
    this.dp = dp;
  }

  value(name: string, dtype: DType, shape: readonly number[], copies: Copies): Value {
    return this.#add({ name, dtype, shape, copies, isPersistent: false, part: null });
  }

  persistent(name: string, dtype: DType, shape: readonly number[], copies: Copies): Value {
    return this.#add({ name, dtype, shape, copies, isPersistent: true, part: null });
  }

  /** A part of `of`, which has memory of its own. Its copies are those of `of` unless told otherwise. */
  partOf(of: Value, name: string, offset: number, shape: readonly number[], copies: Copies = of.copies): Value {
    if (of.part !== null) throw new Error(`"${of.name}" is a part already`);
    const { dtype, isPersistent } = of;
    return this.#add({ name, dtype, shape, copies, isPersistent, part: { of, offset } });
  }

  operator(instruction: Omit<OperatorInstruction, 'type' | 'pass'>): void {
    this.instructions.push({ type: 'operator', pass: this.pass, ...instruction });
  }

  /** Nothing where the group is one rank. */
  allReduce(name: string, value: Value, dimension: 'tp' | 'dp', operator: 'sum' | 'max' = 'sum'): void {
    const { tp, dp } = this;
    this.#allReduce(name, value, dimension === 'tp' ? tp : dp, dimension === 'tp' ? 1 : tp, operator);
  }

  /** Sums over runs of `ranks` neighbours in the tensor-parallel group. */
  allReduceNeighbours(name: string, value: Value, ranks: number): void {
    this.#allReduce(name, value, ranks, 1, 'sum');
  }

  #allReduce(name: string, value: Value, ranks: number, stride: number, operator: 'sum' | 'max'): void {
    if (ranks === 1) return;
    this.instructions.push({ type: 'all-reduce', name, pass: this.pass, value, ranks, stride, operator });
  }

  #add(value: Omit<Value, 'id'>): Value {
    const added = { id: this.values.length, ...value };
    this.values.push(added);
    return added;
  }
}

/** The value whose memory `value` lies in. */
export function owner(value: Value): Value {
  return value.part === null ? value : value.part.of;
}

export function elementsOf({ shape }: Value): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** The sum over ranks as the collective model knows it. */
export function allReduceOf({ value, ranks, stride }: AllReduceInstruction): AllReduce {
  return { elements: elementsOf(value), dtype: value.dtype, ranks, stride };
}

/** What an instruction reads and writes, whole values. */
export function touched(instruction: Instruction): readonly Value[] {
  return instruction.type === 'all-reduce' ? [instruction.value] : [...instruction.reads, ...instruction.writes];
}

/** For each instruction, the values with memory of their own that nothing after it needs. */
export function lastUses({ instructions }: Program): Value[][] {
  const seen = new Set<Value>();
  const ends: Value[][] = instructions.map(() => []);
  for (let i = instructions.length - 1; i >= 0; i--) {
    for (const value of touched(instructions[i]!).map(owner)) {
      if (value.isPersistent || seen.has(value)) continue;
      seen.add(value);
      ends[i]!.push(value);
    }
  }
  return ends;
}
