/** Runs a shipped program on random numbers, and compares its output with a reference in float64. */
import { expect } from 'vitest';
import { runProgram } from '../src/core/numeric.ts';
import type { Program } from '../src/core/program.ts';
import { createArena } from '../src/kernels/arena.ts';
import { DTYPES } from '../src/kernels/dtype.ts';
import type { Tensor } from '../src/kernels/tensor.ts';

const arena = createArena();

/** Numbers in [-1, 1), the same for the same seed. */
export function numbers(count: number, seed: number): Float64Array {
  let state = seed * 2654435761 + 1;
  return Float64Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** Values of each input as the format stores them, by name; `fill` replaces the random numbers of some inputs. */
export type Inputs = Readonly<Record<string, Float64Array>>;

export function runOn(
  program: Program,
  fill: Readonly<Record<string, Float64Array>> = {},
): { inputs: Inputs; outputs: Inputs } {
  const tensors: Record<string, Tensor> = {};
  const inputs: Record<string, Float64Array> = {};
  program.tensors.forEach(({ name, dtype, shape, role }, i) => {
    if (role !== 'input') return;
    const count = shape.reduce((product, size) => product * size, 1);
    const values = fill[name] ?? numbers(count, i + 1);
    const tensor = arena.tensor(dtype, shape);
    tensors[name] = tensor;
    if (dtype === 'e8m0') {
      // Scales are powers of two; their codes are the exponents.
      tensor.bytesView().set(values.map((value) => Math.round(Math.log2(value)) + 127));
      inputs[name] = values;
    } else inputs[name] = Float64Array.from(tensor.set(values).toFloat32());
  });
  const results = runProgram(program, tensors, { arena });
  const outputs = Object.fromEntries(
    Object.entries(results).map(([name, tensor]) => [name, Float64Array.from(tensor.toFloat32())]),
  );
  for (const tensor of [...Object.values(tensors), ...Object.values(results)]) tensor.dispose();
  return { inputs, outputs };
}

/**
 * Every element of output `name` within `roundings` unit roundoffs of the program's widest rounding, relative to the largest
 * element of the reference.
 */
export function expectClose(
  program: Program,
  name: string,
  reference: (inputs: Inputs) => Float64Array,
  {
    roundings = 2,
    fill = {},
  }: { readonly roundings?: number; readonly fill?: Readonly<Record<string, Float64Array>> } = {},
): void {
  const { inputs, outputs } = runOn(program, fill);
  const expected = reference(inputs);
  const got = outputs[name]!;
  expect(got.length).toBe(expected.length);
  const dtypes = [...program.tensors, ...program.tiles].map(({ dtype }) => dtype).filter((dtype) => dtype !== 'e8m0');
  const unit = Math.max(...dtypes.map((dtype) => DTYPES[dtype].unitRoundoff));
  const scale = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  let worst = 0;
  let at = -1;
  for (let i = 0; i < got.length; i++) {
    const error = Math.abs(got[i]! - expected[i]!);
    if (!(error <= worst)) [worst, at] = [error, i];
  }
  const bound = Math.max(roundings * unit, 2e-6) * scale;
  expect(worst, `${program.name}: element ${at} is ${got[at]}, expected ${expected[at]}`).toBeLessThanOrEqual(bound);
}

export function matmulReference(
  a: (row: number, k: number) => number,
  b: Float64Array,
  [m, k, n]: readonly [number, number, number],
): Float64Array {
  const c = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    const row = c.subarray(i * n, (i + 1) * n);
    for (let p = 0; p < k; p++) {
      const x = a(i, p);
      const other = b.subarray(p * n, (p + 1) * n);
      for (let j = 0; j < n; j++) row[j]! += x * other[j]!;
    }
  }
  return c;
}
