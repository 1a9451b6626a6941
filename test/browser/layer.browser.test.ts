/** The package in a page: the built library (what the tarball holds) runs a whole layer, with the bytes that Node gets. */
import { expect, test } from 'vitest';
import * as trnsim from '../../dist/index.js';
import { goldenConfig, goldenFnv1a, goldenRun } from '../fixtures/golden-layer.ts';

test('a decoder layer on a simulated UltraServer runs in a page and gives the bytes that Node gives', () => {
  const { result } = trnsim.runLayer({
    config: trnsim.parseModelConfig(goldenConfig, 'golden'),
    system: trnsim.findSystem('trn2-ultraserver'),
    ...goldenRun,
  });
  expect(result).toMatchObject({ ok: true, ranksAgree: true, outputFnv1a: goldenFnv1a });
});

test('the deterministic build gives the same bits in every mode of the arena, threads included', () => {
  const product = (options: trnsim.ArenaOptions): Float32Array => {
    const arena = trnsim.createArena(options);
    const [a, b, out] = [1, 2, 3].map((stream) => {
      const tensor = arena.tensor('f32', [200, 600]);
      trnsim.fillUniform(tensor, { seed: 1, stream, scale: 1 });
      return tensor;
    });
    const c = arena.tensor('f32', [200, 200]);
    trnsim.matmul(a!, b!.transpose(), c);
    out!.dispose();
    arena.dispose();
    return c.toFloat32();
  };
  expect(product({ deterministic: true })).toEqual(product({ build: 'simd' }));
});

test('threads say why not where the page cannot share memory', () => {
  // Without cross-origin isolation a page has no SharedArrayBuffer; with it, threads would work.
  if (typeof SharedArrayBuffer !== 'undefined') return;
  expect(() => trnsim.createArena({ threads: 2 })).toThrow('expected 1 where memory cannot be shared');
});
