import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { createArena, fillUniform, matmul, packWeights } from '../src/kernels/index.ts';

function product(threads: number, m: number, n: number, k: number, rounds: number): Float32Array[] {
  const arena = createArena({ threads, deterministic: true });
  const [a, b] = [
    { shape: [m, k], stream: 1 },
    { shape: [k, n], stream: 2 },
  ].map(({ shape, stream }) => {
    const tensor = arena.tensor('f32', shape);
    fillUniform(tensor, { seed: 9, stream, scale: 1 });
    return tensor;
  });
  const out = arena.tensor('f32', [m, n]);
  const weights = packWeights(b!);
  const results: Float32Array[] = [];
  for (let round = 0; round < rounds; round++) {
    // Memory that grows between the products, so that workers meet a new buffer.
    arena.tensor('f32', [1 << (10 + round)]);
    matmul(a!, b!, out);
    results.push(out.toFloat32());
    matmul(a!, weights, out);
    results.push(out.toFloat32());
  }
  arena.dispose();
  return results;
}

describe('threads', () => {
  test('give the same bits as one thread, for any number of them, again and again', () => {
    for (const [m, n, k] of [
      [1, 3000, 500],
      [130, 1100, 800],
      [700, 65, 390],
    ] as const) {
      const [expected] = product(1, m, n, k, 1);
      for (const threads of [2, 3]) {
        // A row alone is summed in other chains when it is in place; these shapes never are.
        for (const result of product(threads, m, n, k, 6)) expect(result).toEqual(expected);
      }
    }
  });

  test('an arena whose threads were ended starts them again', () => {
    const arena = createArena({ threads: 2 });
    const a = arena.tensor('f32', [300, 300]).set(new Float32Array(90000).fill(1));
    const out = arena.tensor('f32', [300, 300]);
    for (let i = 0; i < 3; i++) {
      matmul(a, a, out);
      expect(out.toFloat32().every((value) => value === 300)).toBe(true);
      arena.dispose();
    }
  });

  test('a process that never ended its threads ends by itself', () => {
    const program = `
      import { createArena, matmul } from ${JSON.stringify(new URL('../dist/kernels/index.js', import.meta.url).href)};
      const arena = createArena({ threads: 2 });
      const a = arena.tensor('f32', [400, 400]).set(new Float32Array(160000).fill(1));
      const out = arena.tensor('f32', [400, 400]);
      for (let i = 0; i < 5; i++) matmul(a, a, out);
      console.log(out.toFloat32()[0]);`;
    const text = execFileSync(process.execPath, ['--input-type=module', '-e', program], {
      cwd: fileURLToPath(new URL('.', import.meta.url)),
      encoding: 'utf8',
      timeout: 20_000,
    });
    expect(text).toBe('400\n');
  });

  test('a number of threads that makes no sense is an error', () => {
    expect(() => createArena({ threads: 0 })).toThrow('"threads" expected integer in 1..64, got 0');
    expect(() => createArena({ threads: 1.5 })).toThrow('"threads" expected integer');
  });
});

describe('turbo', () => {
  test('is on with equal results, or says why not and changes nothing', () => {
    // In a process of its own: the flag is for the whole process.
    const program = `
      import { createArena, enableTurbo, matmul } from ${JSON.stringify(new URL('../dist/kernels/index.js', import.meta.url).href)};
      const before = createArena().build;
      const answer = enableTurbo();
      const arena = createArena();
      const a = arena.tensor('f32', [33, 700]).set(Float32Array.from({ length: 33 * 700 }, (_, i) => (i % 9) - 4));
      const out = arena.tensor('f32', [33, 33]);
      matmul(a, a.transpose(), out);
      const plain = createArena({ deterministic: true });
      const b = plain.tensor('f32', [33, 700]).set(a.toFloat32());
      const expected = plain.tensor('f32', [33, 33]);
      matmul(b, b.transpose(), expected);
      const same = expected.toFloat32().every((value, i) => value === out.toFloat32()[i]);
      console.log(JSON.stringify({ before, after: arena.build, same, ...answer }));`;
    const text = execFileSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' });
    const { before, after, same, enabled, reason } = JSON.parse(text);
    expect(same).toBe(true);
    expect(after).toBe(enabled ? 'turbo' : before);
    expect(reason).toMatch(enabled ? /times the speed/ : /needs|self-test/);
  });
});
