/**
 * Getting past the first compilation. An engine compiles WebAssembly twice: at once and plainly, and a function that is
 * called often a second time, in the background, to code that is 3 to 10 times as fast (V8: Liftoff, then TurboFan). So the
 * first products of a process are slow. Nothing is run at import, which would cost every process what few need: a program
 * that wants its first call fast, as a benchmark or a server does, asks for it.
 */
import { expectInteger, expectOneOf } from '../base/errors.ts';
import type { Arena } from './arena.ts';
import { DTYPES, type DType } from './dtype.ts';
import { fillUniform } from './random.ts';
import { kernelRegistry } from './registry.ts';
import type { Dimensions, KernelRow } from './rows/row.ts';

export interface WarmUpOptions {
  /** Names of registry rows, as `trnsim bench` prints them; all by default. */
  readonly kernels?: readonly string[];
  /**
   * Time for each kernel and dtype, in ms; 20 by default. Measured on Node 24: the first softmax of 512 x 512 then takes
   * 0.3 ms instead of 6, the first matmul of 512^3 12 ms instead of 37; with 50, 6.
   */
  readonly milliseconds?: number;
}

/** Largest problem that is run: the arena's memory grows and never shrinks. */
const MOST_BYTES = 1 << 20;

/**
 * Runs kernels on small problems of every path that they have, again and again, until the engine had the time to compile
 * them well. Compiled code is shared by all arenas of the process that use the same build, so once is enough.
 * @throws RangeError if a name is not in the registry
 */
export function warmUp(arena: Arena, { kernels, milliseconds = 20 }: WarmUpOptions = {}): void {
  expectInteger('milliseconds', milliseconds, 0, 60_000);
  const names = kernelRegistry.map(({ name }) => name);
  for (const name of kernels ?? []) expectOneOf('kernels', name, names);
  for (const row of kernelRegistry.filter(({ name }) => kernels?.includes(name) ?? true)) {
    for (const dtype of row.dtypes) warmRow(arena, row, dtype, milliseconds);
  }
}

function warmRow(arena: Arena, row: KernelRow, dtype: DType, milliseconds: number): void {
  const problems = [...row.tested, ...row.timed]
    .filter((d) => bytesOf(row, dtype, d) <= MOST_BYTES)
    .map((d) => {
      const operands = row.operands(d).map(({ shape, dtype: own }) => filled(arena, own ?? dtype, shape));
      return { operands, out: filled(arena, 'f32', row.outShape(d)), d };
    });
  const end = performance.now() + milliseconds;
  do {
    for (const { operands, out, d } of problems) row.run(operands, out, d);
  } while (performance.now() < end);
  for (const { operands, out } of problems) {
    for (const tensor of [...operands, out]) tensor.dispose();
  }
}

function bytesOf(row: KernelRow, dtype: DType, d: Dimensions): number {
  const size = (own: DType, shape: readonly number[]): number =>
    shape.reduce((product, length) => product * length, DTYPES[own].bytes);
  return row
    .operands(d)
    .reduce((total, { shape, dtype: own }) => total + size(own ?? dtype, shape), size('f32', row.outShape(d)));
}

function filled(arena: Arena, dtype: DType, shape: readonly number[]) {
  const tensor = arena.tensor(dtype, shape);
  fillUniform(tensor.reshape([1, tensor.length]), { seed: 1, stream: 1, scale: 1 });
  return tensor;
}
