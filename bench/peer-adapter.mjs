/**
 * trnsim as one more peer of a side-by-side benchmark of matrix libraries, over the built package's public API.
 *
 * The harness calls the default export and gets `ops`. Each takes a problem with its data and returns `run`, which is
 * timed, `result`, which the harness checks, and `dispose`. Operands are tensors before the timing starts, as the other
 * peers' are, and the weights of `linear` are packed: they are constant. Nothing is allocated between runs.
 */
import { readFileSync } from 'node:fs';
import { createArena, gelu, layernorm, matmul, matmulInt8, packWeights, softmax, sum } from 'trnsim/kernels';

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));

export default async function trnsim() {
  const arena = createArena();

  const load = (shape, values) => arena.tensor('f32', shape).set(values);

  /** What the harness wants: `compute` writes to `out`; `operands` are given back together with it. */
  const handle = (out, operands, compute) => ({
    run: compute,
    result: () => out.toFloat32(),
    dispose: () => {
      for (const held of [...operands, out]) held.dispose();
    },
  });

  const ops = {
    matmul({ M, K, N, A, B }) {
      const [a, b, out] = [load([M, K], A), load([K, N], B), arena.tensor('f32', [M, N])];
      return handle(out, [a, b], () => matmul(a, b, out));
    },

    linear({ M, K, N, A, B }) {
      const [a, b, out] = [load([M, K], A), load([K, N], B), arena.tensor('f32', [M, N])];
      const weights = packWeights(b);
      b.dispose();
      return handle(out, [a, weights], () => matmul(a, weights, out));
    },

    bmm({ b: batch, M, K, N, A, B }) {
      const [a, b, out] = [load([batch, M, K], A), load([batch, K, N], B), arena.tensor('f32', [batch, M, N])];
      return handle(out, [a, b], () => matmul(a, b, out));
    },

    softmax({ R, C, A }) {
      const [x, out] = [load([R, C], A), arena.tensor('f32', [R, C])];
      return handle(out, [x], () => softmax(x, out));
    },

    layernorm({ R, C, A, G, Bt, eps }) {
      const [x, gamma, beta, out] = [load([R, C], A), load([C], G), load([C], Bt), arena.tensor('f32', [R, C])];
      return handle(out, [x, gamma, beta], () => layernorm(x, gamma, beta, out, { epsilon: eps }));
    },

    gelu({ R, C, A }) {
      const [x, out] = [load([R, C], A), arena.tensor('f32', [R, C])];
      return handle(out, [x], () => gelu(x, out));
    },

    sum({ n, bufs }) {
      const sources = bufs.map((values) => load([n], values));
      const out = arena.tensor('f32', [n]);
      return handle(out, sources, () => sum(sources, out));
    },

    matmul_i8({ M, K, N, A, B }) {
      const [a, b, out] = [arena.tensor('i8', [M, K]), arena.tensor('i8', [K, N]), arena.tensor('i32', [M, N])];
      a.set(A);
      b.set(B);
      const results = () => new Int32Array(arena.memory.buffer, out.offset, M * N).slice();
      return { ...handle(out, [a, b], () => matmulInt8(a, b, out)), result: results };
    },
  };

  return { name: 'trnsim', version, dtype: 'f32', ops };
}
