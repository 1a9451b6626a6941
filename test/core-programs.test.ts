/** The shipped programs compute what they are named after, over sizes that are no multiples of their tiles, on each core. */
import { describe, expect, test } from 'vitest';
import { clockProgram } from '../src/core/clock.ts';
import { ADAMW, elementwiseProgram } from '../src/core/programs/elementwise.ts';
import { MATMUL_STEPS, matmulProgram } from '../src/core/programs/matmul.ts';
import { layernormProgram, NORM_EPSILON, rmsnormProgram } from '../src/core/programs/norm.ts';
import { ropeProgram } from '../src/core/programs/rope.ts';
import { softmaxProgram } from '../src/core/programs/softmax.ts';
import { transposeProgram } from '../src/core/programs/transpose.ts';
import { findChip } from '../src/hardware/catalog.ts';
import { expectClose, type Inputs, matmulReference } from './program-support.ts';

const CORES = ['trn1', 'trn2', 'trn3'].map((id) => findChip(id).core!);
const [v2, v3, v4] = CORES as [(typeof CORES)[0], (typeof CORES)[0], (typeof CORES)[0]];

describe('matmul', () => {
  const product =
    (m: number, k: number, n: number, transposedA = true) =>
    ({ a, b }: Inputs) =>
      matmulReference((i, p) => a![transposedA ? p * m + i : i * k + p]!, b!, [m, k, n]);

  for (const step of MATMUL_STEPS) {
    test(`${step}: odd sizes in bf16 and f32`, () => {
      for (const [m, k, n] of [
        [1, 1, 1],
        [130, 257, 515],
        [300, 140, 1100],
      ] as const) {
        for (const dtype of ['bf16', 'f32'] as const) {
          expectClose(matmulProgram(v2, { m, k, n, dtype, step }), 'c', product(m, k, n));
        }
      }
    });
  }

  test('blocked: several blocks of every dimension', () => {
    const [m, k, n] = [520, 2100, 1030];
    for (const core of [v2, v4]) expectClose(matmulProgram(core, { m, k, n, dtype: 'bf16' }), 'c', product(m, k, n));
  });

  test('blocks and their partial sums fit in SBUF, whatever the format and the sizes', () => {
    for (const core of CORES) {
      for (const dtype of ['f32', 'bf16', 'f8e4m3'] as const) {
        for (const m of [1, 4096, 30_000]) {
          for (const k of [128, 1025, 28_672]) {
            for (const n of [64, 1024, 9000]) {
              expect(() => matmulProgram(core, { m, k, n, dtype, outDtype: 'bf16' })).not.toThrow();
            }
          }
        }
      }
    }
  });

  test('operands as a framework stores them are transposed first', () => {
    for (const core of [v2, v3]) {
      const options = { m: 600, k: 200, n: 100, dtype: 'bf16', layout: 'row-major' } as const;
      expectClose(matmulProgram(core, options), 'c', product(600, 200, 100, false));
      expectClose(matmulProgram(core, { ...options, layout: 'framework' }), 'c', ({ a, b }) =>
        matmulReference(
          (i, p) => a![i * 200 + p]!,
          b!.map((_, i) => b![(i % 100) * 200 + Math.floor(i / 100)]!),
          [600, 200, 100],
        ),
      );
    }
  });

  test('a batch', () => {
    const [m, k, n, batch] = [70, 150, 90, 3];
    expectClose(matmulProgram(v3, { m, k, n, batch, dtype: 'bf16' }), 'c', ({ a, b }) =>
      Float64Array.from(
        [0, 1, 2].flatMap((i) => [
          ...matmulReference((r, p) => a![(i * k + p) * m + r]!, b!.subarray(i * k * n, (i + 1) * k * n), [m, k, n]),
        ]),
      ),
    );
  });

  test('each step of the tutorial is faster than the one before', () => {
    const times = MATMUL_STEPS.map(
      (step) => clockProgram(matmulProgram(v2, { m: 1024, k: 2048, n: 2048, dtype: 'bf16', step })).time,
    );
    expect(times).toEqual([...times].sort((a, b) => b - a));
  });
});

describe('along rows', () => {
  const byRow =
    (rows: number, cols: number, f: (row: Float64Array, index: number) => ArrayLike<number>) => (x: Float64Array) => {
      const y = new Float64Array(rows * cols);
      for (let i = 0; i < rows; i++) y.set(f(x.subarray(i * cols, (i + 1) * cols), i), i * cols);
      return y;
    };
  const SHAPES = [
    [1, 1],
    [130, 77],
    [257, 600],
    [3, 20001],
    [5, 1024],
  ] as const;

  test('softmax', () => {
    for (const [rows, cols] of SHAPES) {
      for (const core of CORES) {
        const reference = byRow(rows, cols, (row) => {
          const max = Math.max(...row);
          const powers = row.map((value) => Math.exp(value - max));
          const sum = powers.reduce((a, b) => a + b, 0);
          return powers.map((value) => value / sum);
        });
        expectClose(softmaxProgram(core, { rows, cols, dtype: 'f32' }), 'y', ({ x }) => reference(x!), {
          roundings: 200,
        });
        expectClose(softmaxProgram(core, { rows, cols, dtype: 'bf16' }), 'y', ({ x }) => reference(x!));
      }
    }
  });

  test('rmsnorm and layernorm', () => {
    for (const [rows, cols] of SHAPES) {
      for (const dtype of ['f32', 'bf16'] as const) {
        expectClose(
          rmsnormProgram(v3, { rows, cols, dtype }),
          'y',
          ({ x, gamma }) =>
            byRow(rows, cols, (row) => {
              const scale = 1 / Math.sqrt(row.reduce((sum, value) => sum + value * value, 0) / cols + NORM_EPSILON);
              return row.map((value, j) => value * scale * gamma![j]!);
            })(x!),
          { roundings: 50 },
        );
        if (cols === 1) continue;
        expectClose(
          layernormProgram(v2, { rows, cols, dtype }),
          'y',
          ({ x, gamma, beta }) =>
            byRow(rows, cols, (row) => {
              const mean = row.reduce((a, b) => a + b, 0) / cols;
              const variance = row.reduce((sum, value) => sum + (value - mean) * (value - mean), 0) / cols;
              return row.map(
                (value, j) => ((value - mean) / Math.sqrt(variance + NORM_EPSILON)) * gamma![j]! + beta![j]!,
              );
            })(x!),
          { roundings: 50 },
        );
      }
    }
  });

  test('rotary embedding', () => {
    for (const [rows, cols] of [
      [1, 2],
      [3000, 64],
      [300, 128],
      [5, 30],
      [7, 300],
    ] as const) {
      for (const dtype of ['f32', 'bf16'] as const) {
        for (const core of [v2, v3]) {
          expectClose(ropeProgram(core, { rows, cols, dtype }), 'y', ({ x, cos, sin }) => {
            const half = cols / 2;
            return x!.map((value, at) => {
              const [j, row] = [Math.floor(at / rows), at % rows];
              const t = (j % half) * rows + row;
              return j < half
                ? value * cos![t]! - x![at + half * rows]! * sin![t]!
                : value * cos![t]! + x![at - half * rows]! * sin![t]!;
            });
          });
        }
      }
    }
  });

  test('transposes on TensorE and by DMA', () => {
    for (const [rows, cols] of [
      [1, 1],
      [130, 1500],
      [700, 90],
    ] as const) {
      const reference = ({ x }: Inputs) => {
        const y = new Float64Array(rows * cols);
        for (let i = 0; i < rows; i++) for (let j = 0; j < cols; j++) y[j * rows + i] = x![i * cols + j]!;
        return y;
      };
      for (const core of CORES) expectClose(transposeProgram(core, { rows, cols, dtype: 'bf16' }), 'y', reference);
      for (const core of [v3, v4]) {
        expectClose(transposeProgram(core, { rows, cols, dtype: 'bf16', engine: 'DMA' }), 'y', reference);
      }
    }
  });
});

describe('element by element', () => {
  const silu = (x: number) => x / (1 + Math.exp(-x));
  const gelu = (x: number) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));
  test('add, gelu, silu, swiglu over any number of elements', () => {
    for (const [rows, cols] of [
      [1, 1],
      [3, 50],
      [128, 1000],
      [517, 1031],
    ] as const) {
      for (const dtype of ['f32', 'bf16'] as const) {
        const program = (op: 'add' | 'gelu' | 'silu' | 'swiglu') => elementwiseProgram(v3, { op, rows, cols, dtype });
        expectClose(program('add'), 'y', ({ a, b }) => a!.map((x, i) => x + b![i]!));
        expectClose(program('silu'), 'y', ({ a }) => a!.map(silu));
        expectClose(program('gelu'), 'y', ({ a }) => a!.map(gelu), { roundings: 40 });
        expectClose(program('swiglu'), 'y', ({ a, b }) => a!.map((x, i) => silu(x) * b![i]!), { roundings: 20 });
      }
    }
  });

  test('one step of AdamW', () => {
    const { rate, beta1, beta2, epsilon, decay } = ADAMW;
    const options = { op: 'adamw', rows: 130, cols: 1025, dtype: 'f32' } as const;
    const positive = Float64Array.from({ length: 130 * 1025 }, (_, i) => 0.01 + (i % 7) / 10);
    expectClose(
      elementwiseProgram(v2, options),
      'y',
      ({ weight, gradient, moment1, moment2 }) =>
        weight!.map((w, i) => {
          const m = beta1 * moment1![i]! + (1 - beta1) * gradient![i]!;
          const v = beta2 * moment2![i]! + (1 - beta2) * gradient![i]! * gradient![i]!;
          return w - rate * (m / (Math.sqrt(v) + epsilon) + decay * w);
        }),
      { fill: { moment2: positive } },
    );
  });
});
