/**
 * What a program takes of a rank's memory: persistent values for good, the others from their first use to their last.
 * Exact for the values; fragmentation and the collectives' own buffers are left out.
 */
import type { Bytes } from '../../base/units.ts';
import { DTYPES } from '../../kernels/index.ts';
import { elementsOf, lastUses, owner, type Program, touched, type Value } from './program.ts';

export interface ProgramMemory {
  /** Weights, gradients, optimizer states, inputs. */
  readonly persistentBytes: Bytes;
  /** Most bytes of the other values that live at once. */
  readonly activationBytes: Bytes;
  /** Most elements that one operator reads and writes: it may hold as many in FP32 beside them. */
  readonly operatorElements: number;
}

function bytesOf(value: Value): Bytes {
  return elementsOf(value) * DTYPES[value.dtype].bytes;
}

export function programMemory(program: Program): ProgramMemory {
  const live = new Set<Value>();
  let bytes = 0;
  let activationBytes = 0;
  let operatorElements = 0;
  const ends = lastUses(program);
  program.instructions.forEach((instruction, i) => {
    const values = touched(instruction);
    for (const value of values.map(owner)) {
      if (value.isPersistent || live.has(value)) continue;
      live.add(value);
      bytes += bytesOf(value);
    }
    activationBytes = Math.max(activationBytes, bytes);
    operatorElements = Math.max(
      operatorElements,
      values.reduce((sum, value) => sum + elementsOf(value), 0),
    );
    for (const value of ends[i]!) {
      live.delete(value);
      bytes -= bytesOf(value);
    }
  });
  const persistent = program.values.filter(({ isPersistent, part }) => isPersistent && part === null);
  return {
    persistentBytes: persistent.reduce((sum, value) => sum + bytesOf(value), 0),
    activationBytes,
    operatorElements,
  };
}
