/**
 * What the operators of a decoder layer check and do with their operands before a kernel runs.
 *
 * Kernels read f32, and bf16 where memory is what limits them. Every other format is widened first, exactly, into a
 * buffer that lives as long as the call.
 */
import { widen } from './convert.ts';
import { expectContiguous, expectLike, type Tensor } from './tensor.ts';

/** Checks that all operands are contiguous, in one arena, and of the dtype of the first, which is returned. */
export function expectOperands(operands: Readonly<Record<string, Tensor>>, out: Tensor): Tensor {
  const [firstName, first] = Object.entries(operands)[0]!;
  for (const [name, operand] of Object.entries(operands)) {
    expectContiguous(name, operand);
    expectLike(name, operand, firstName, first);
  }
  expectContiguous('out', out);
  if (out.arena !== first.arena) throw new TypeError(`"out" expected the arena of "${firstName}", got another one`);
  return first;
}

/** Checks that `tensor`, an operand that may have a dtype of its own, is contiguous and in the arena of `other`. */
export function expectBeside(name: string, tensor: Tensor, otherName: string, other: Tensor): void {
  expectContiguous(name, tensor);
  if (tensor.arena !== other.arena) {
    throw new TypeError(`"${name}" expected the arena of "${otherName}", got another one`);
  }
}

/** @throws TypeError if `tensor` is not f32, because the kernel writes it in place. */
export function expectFloat32(name: string, tensor: Tensor): void {
  if (tensor.dtype !== 'f32') throw new TypeError(`"${name}" expected dtype f32, got ${tensor.dtype}`);
}

/** @throws TypeError if `out` begins where `operand` does: the kernel reads elements that it has written by then. */
export function expectApart(name: string, operand: Tensor, out: Tensor): void {
  if (out.length > 0 && out.offset === operand.offset) {
    throw new TypeError(`"out" expected memory of its own, got that of "${name}"`);
  }
}

/** Calls `use` with the byte offset of each operand's elements as FP32: its own where it is f32, a copy elsewhere. */
export function withFloat32(operands: readonly Tensor[], use: (...offsets: number[]) => void): void {
  const copies: number[] = [];
  try {
    const offsets = operands.map(({ arena, dtype, length, offset }) => {
      if (dtype === 'f32') return offset;
      const wide = arena.allocate(length * 4);
      copies.push(wide);
      widen(arena, dtype, length, offset, wide);
      return wide;
    });
    use(...offsets);
  } finally {
    for (const wide of copies) operands[0]!.arena.release(wide);
  }
}
