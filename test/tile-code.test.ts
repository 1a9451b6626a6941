import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { createArena, hasRelaxedSimd } from '../src/kernels/index.ts';

// The form of a tile's loop decides whether V8 keeps its accumulators in registers, which decides half of the speed. What
// it made of them is read here, since timing has no place in a test.

interface Instruction {
  readonly offset: number;
  readonly text: string;
}

/** The machine code of the function with most arithmetic among those that calling `name` compiles. */
function codeOf(build: string, name: string, values: readonly number[]): Instruction[] {
  const fixture = fileURLToPath(new URL('fixtures/run-tile.mjs', import.meta.url));
  const wasm = fileURLToPath(new URL(`../build/${build}.wasm`, import.meta.url));
  const flags = ['--no-liftoff', '--print-wasm-code'];
  const printed = execFileSync(process.execPath, [...flags, fixture, wasm, name, ...values.map(String)], {
    encoding: 'utf8',
  });
  const functions = printed
    .split('--- WebAssembly code ---')
    .map((code) =>
      [...code.matchAll(/^0x[0-9a-f]+ +([0-9a-f]+) +[0-9a-f]+ +(.+)$/gm)].map(
        ([, offset, text]): Instruction => ({ offset: Number.parseInt(offset!, 16), text: text! }),
      ),
    );
  return functions.sort((a, b) => arithmeticOf(b).length - arithmeticOf(a).length)[0]!;
}

function arithmeticOf(code: readonly Instruction[]): Instruction[] {
  return code.filter(({ text }) => /\bv(mulps|fmadd\w+|pmaddwd|pdpbusd)\b/.test(text));
}

/** The instructions between the target of a jump backwards and the jump, of the loop with most arithmetic. */
function hotLoop(code: readonly Instruction[]): Instruction[] {
  const loops = code.flatMap(({ offset, text }) => {
    const target = /^j\w+ .*<\+0x([0-9a-f]+)>/.exec(text);
    const start = target === null ? offset : Number.parseInt(target[1]!, 16);
    return start < offset ? [code.filter((other) => other.offset >= start && other.offset <= offset)] : [];
  });
  return loops.sort((a, b) => arithmeticOf(b).length - arithmeticOf(a).length)[0]!;
}

/** Whether products of bytes run as quads on this host: elsewhere nobody calls their tile. */
const HAS_QUADS = (createArena().kernels.quadBias?.() ?? -1) >= 0;
const PACKED = [64, 4096, 16384, 32, 65536, 32, 0];
const IN_PLACE = [64, 4096, 256, 4, 16384, 32, 65536, 32, 0];

describe.skipIf(process.arch !== 'x64')('the loop of a register tile keeps its sums in registers', () => {
  test.each([
    { build: 'simd', name: 'tile5', values: PACKED, products: 10 },
    { build: 'simd', name: 'dots5', values: PACKED, products: 10 },
    ...(hasRelaxedSimd() ? [{ build: 'relaxed', name: 'tile6', values: PACKED, products: 12 }] : []),
    ...(HAS_QUADS ? [{ build: 'relaxed', name: 'quads6', values: PACKED, products: 12 }] : []),
    ...(hasRelaxedSimd() ? [{ build: 'relaxed', name: 'rows6', values: IN_PLACE, products: 12 }] : []),
  ])('$build $name', ({ build, name, values, products }) => {
    const loop = hotLoop(codeOf(build, name, values));
    // A whole number of k steps: some V8s unroll.
    expect(arithmeticOf(loop).length % products).toBe(0);
    expect(arithmeticOf(loop).length).toBeGreaterThan(0);
    expect(loop.filter(({ text }) => /\bv\w+ .*\[r[bs]p/.test(text))).toEqual([]);
  });
});
