/** The kernels in a page: the module that Node runs, compiled by the browser, gives the same numbers. */
import { expect, test } from 'vitest';
import { createArena, matmul } from '../../src/kernels/index.ts';

test('this runs in a page, not in Node', () => {
  expect(typeof document).toBe('object');
  expect(navigator.userAgent).toContain('Chrome');
});

test('a matmul in the page gives the product', () => {
  const arena = createArena();
  const a = arena.tensor('f32', [2, 3]);
  const b = arena.tensor('f32', [3, 2]);
  const c = arena.tensor('f32', [2, 2]);
  a.set(Float32Array.of(1, 2, 3, 4, 5, 6));
  b.set(Float32Array.of(7, 8, 9, 10, 11, 12));
  matmul(a, b, c);
  // 1·7 + 2·9 + 3·11 = 58, 1·8 + 2·10 + 3·12 = 64, 4·7 + 5·9 + 6·11 = 139, 4·8 + 5·10 + 6·12 = 154
  expect([...c.toFloat32()]).toEqual([58, 64, 139, 154]);
});
