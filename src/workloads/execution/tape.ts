/**
 * Reverse-mode differentiation while a program is built: an operator adds its forward instruction and leaves behind how to
 * add its backward ones; `backward` plays that in reverse. The gradient of a value that several operators read is the sum
 * of theirs.
 *
 * A parameter's gradient is persistent: its first contribution writes it, a later one (an embedding that is also the output
 * projection) adds.
 * see: Griewank, Walther: Evaluating Derivatives, 2nd ed. (2008), chapter 3.
 */
import type { OperatorName } from '../../core/operator-case.ts';
import { add, type DType } from '../../kernels/index.ts';
import type { Copies, ProgramBuilder, TimedCase, Value } from './program.ts';

/** A block of weights on each rank, and where its gradient goes. */
export interface Parameter {
  readonly weight: Value;
  readonly gradient: Value;
}

/** rows x cols of a value, its last dimension being the columns. */
export function matrixOf({ shape }: Value): { rows: number; cols: number } {
  const cols = shape.at(-1)!;
  return { rows: shape.slice(0, -1).reduce((product, size) => product * size, 1), cols };
}

export class Tape {
  readonly program: ProgramBuilder;
  /** Storage format of activations and their gradients. */
  readonly dtype: DType;
  readonly #gradients = new Map<Value, Value>();
  readonly #written = new Set<Value>();
  readonly #steps: (() => void)[] = [];

  constructor(program: ProgramBuilder, dtype: DType) {
    this.program = program;
    this.dtype = dtype;
  }

  activation(name: string, shape: readonly number[], copies: Copies): Value {
    return this.program.value(name, this.dtype, shape, copies);
  }

  /** Adds the backward instructions of an operator, when its turn comes. */
  onBackward(step: () => void): void {
    this.#steps.push(step);
  }

  backward(): void {
    this.program.pass = 'backward';
    for (const step of this.#steps.reverse()) step();
  }

  /** The gradient of the loss by `value`, once all operators that read it have had their turn. */
  gradientOf(value: Value): Value {
    const gradient = this.#gradients.get(value);
    if (gradient === undefined) throw new Error(`the loss does not depend on "${value.name}"`);
    return gradient;
  }

  /** `gradient` is the whole gradient of `value`, or one addend of it. */
  contribute(value: Value, gradient: Value): void {
    const before = this.#gradients.get(value);
    if (before === undefined) {
      this.#gradients.set(value, gradient);
      return;
    }
    const sum = this.activation(`gradient of ${value.name}`, value.shape, value.copies);
    this.program.operator({
      name: sum.name,
      cases: [pointwiseCase('add', value)],
      reads: [before, gradient],
      writes: [sum],
      compute: ({ rounding }, [a, b], [out]) => add(a!, b!, out!, rounding(0)),
    });
    this.#gradients.set(value, sum);
  }

  /** Whether the gradient of a parameter is written already; it is from now on. */
  claim({ gradient }: Parameter): boolean {
    const isWritten = this.#written.has(gradient);
    this.#written.add(gradient);
    return isWritten;
  }
}

/** An element-wise or row-wise operator on a value, as the clock knows it. */
export function pointwiseCase(op: OperatorName, value: Value, repeat: number = 1): TimedCase {
  return { operator: { op, dims: { ...matrixOf(value) }, dtype: formatOf(value.dtype) }, repeat };
}

/** A storage format of programs as the operator clock names it. */
export function formatOf(dtype: DType): 'f32' | 'bf16' {
  return dtype === 'f32' ? 'f32' : 'bf16';
}
