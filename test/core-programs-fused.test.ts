/** Fused matmuls, the gated MLP, quantised matmuls, convolution, scan and copies against float64, over odd sizes. */
import { describe, expect, test } from 'vitest';
import { clockProgram } from '../src/core/clock.ts';
import { dmaCopyProgram, embeddingProgram } from '../src/core/programs/copies.ts';
import { depthwiseConv1dProgram } from '../src/core/programs/depthwise-conv1d.ts';
import { gatedMlpProgram } from '../src/core/programs/gated-mlp.ts';
import {
  loraProgram,
  matmulNormProgram,
  matmulSoftmaxProgram,
  normMatmulProgram,
} from '../src/core/programs/matmul-fused.ts';
import { quantisedMatmulProgram } from '../src/core/programs/matmul-quantised.ts';
import { NORM_EPSILON } from '../src/core/programs/norm.ts';
import { SCAN_STEPS, selectiveScanProgram } from '../src/core/programs/selective-scan.ts';
import { findChip } from '../src/hardware/catalog.ts';
import { expectClose, matmulReference, numbers, runOn } from './program-support.ts';

const [v2, v3, v4] = ['trn1', 'trn2', 'trn3'].map((id) => findChip(id).core!) as [Core, Core, Core];
type Core = NonNullable<ReturnType<typeof findChip>['core']>;

function rms(x: Float64Array, cols: number, gamma: Float64Array): Float64Array {
  return x.map((value, i) => {
    const row = x.subarray(Math.floor(i / cols) * cols, (Math.floor(i / cols) + 1) * cols);
    const mean = row.reduce((sum, element) => sum + element * element, 0) / cols;
    return (value / Math.sqrt(mean + NORM_EPSILON)) * gamma[i % cols]!;
  });
}

describe('fused matmuls', () => {
  const SHAPES = [
    { m: 1, k: 3, n: 2 },
    { m: 140, k: 200, n: 600 },
    { m: 530, k: 130, n: 90 },
  ];
  for (const dtype of ['f32', 'bf16'] as const) {
    const tolerance = { roundings: dtype === 'f32' ? 100 : 4 };
    test(`a norm before, ${dtype}`, () => {
      for (const { m, k, n } of SHAPES) {
        for (const hasResidual of [false, true]) {
          const program = normMatmulProgram(v3, { m, k, n, dtype, hasResidual });
          expectClose(
            program,
            'c',
            ({ a, residual, gamma, b }) => {
              const x = rms(
                a!.map((value, i) => value + (residual?.[i] ?? 0)),
                k,
                gamma!,
              );
              return matmulReference((i, p) => x[i * k + p]!, b!, [m, k, n]);
            },
            tolerance,
          );
        }
      }
    });

    test(`a residual and a norm after, ${dtype}`, () => {
      for (const { m, k, n } of SHAPES) {
        expectClose(
          matmulNormProgram(v2, { m, k, n, dtype }),
          'c',
          ({ a, b, residual, gamma }) => {
            const product = matmulReference((i, p) => a![p * m + i]!, b!, [m, k, n]);
            return rms(
              product.map((value, i) => value + residual![i]!),
              n,
              gamma!,
            );
          },
          tolerance,
        );
      }
    });

    test(`softmax after, ${dtype}`, () => {
      for (const { m, k, n } of SHAPES) {
        const batch = 2;
        expectClose(
          matmulSoftmaxProgram(v4, { batch, m, k, n, dtype }),
          'c',
          ({ a, b }) =>
            Float64Array.from(
              [0, 1].flatMap((i) => {
                const product = matmulReference((r, p) => a![(i * k + p) * m + r]!, b!.subarray(i * k * n), [m, k, n]);
                return Array.from({ length: m }, (_, row) => {
                  const scores = product.subarray(row * n, (row + 1) * n);
                  const max = Math.max(...scores);
                  const powers = scores.map((score) => Math.exp(score - max));
                  const sum = powers.reduce((total, power) => total + power, 0);
                  return [...powers.map((power) => power / sum)];
                }).flat();
              }),
            ),
          tolerance,
        );
      }
    });

    test(`a low-rank addition, ${dtype}`, () => {
      for (const { m, k, n } of SHAPES) {
        for (const rank of [1, 16, 150]) {
          expectClose(
            loraProgram(v2, { m, k, n, rank, dtype }),
            'c',
            ({ a, w, p, q }) => {
              const low = matmulReference((i, t) => a![t * m + i]!, p!, [m, k, rank]);
              const high = matmulReference((i, t) => low[i * rank + t]!, q!, [m, rank, n]);
              return matmulReference((i, t) => a![t * m + i]!, w!, [m, k, n]).map((value, i) => value + high[i]!);
            },
            tolerance,
          );
        }
      }
    });
  }
});

describe('gated MLP', () => {
  test('token generation and prefill', () => {
    for (const [rows, hidden, ffn] of [
      [1, 130, 300],
      [37, 200, 90],
      [600, 140, 260],
    ] as const) {
      for (const dtype of ['f32', 'bf16'] as const) {
        expectClose(
          gatedMlpProgram(v3, { rows, hidden, ffn, dtype }),
          'y',
          ({ xT, gate, up, down }) => {
            const x = (i: number, p: number) => xT![p * rows + i]!;
            const [g, u] = [gate!, up!].map((w) => matmulReference(x, w, [rows, hidden, ffn]));
            const h = g!.map((value, i) => (value / (1 + Math.exp(-value))) * u![i]!);
            return matmulReference((i, p) => h[i * ffn + p]!, down!, [rows, ffn, hidden]);
          },
          { roundings: dtype === 'f32' ? 100 : 4 },
        );
      }
    }
  });
});

describe('quantised matmuls', () => {
  test('FP8 double row', () => {
    for (const core of [v3, v4]) {
      for (const [m, k, n] of [
        [1, 2, 1],
        [140, 530, 600],
        [600, 64, 30],
      ] as const) {
        expectClose(
          quantisedMatmulProgram(core, { m, k, n, format: 'fp8', outDtype: 'f32' }),
          'c',
          ({ a, b }) => packedReference(a!, b!, [m, k, n], 2),
          { roundings: 0.001 },
        );
      }
    }
  });

  test('MXFP8 with given scales is exact', () => {
    const [m, k, n] = [140, 544, 600];
    const program = quantisedMatmulProgram(v4, { m, k, n, format: 'mxfp8', quantise: false, outDtype: 'f32' });
    const powers = (count: number) => Float64Array.from({ length: count }, (_, i) => 2 ** ((i % 5) - 2));
    expectClose(
      program,
      'c',
      ({ a, b, aScales, bScales }) => {
        const scaled = (x: Float64Array, scales: Float64Array, columns: number) =>
          x.map((value, i) => {
            const [row, column] = [Math.floor(i / (columns * 4)), Math.floor((i % (columns * 4)) / 4)];
            return value * scales[Math.floor(row / 8) * columns + column]!;
          });
        return packedReference(scaled(a!, aScales!, m), scaled(b!, bScales!, n), [m, k, n], 4);
      },
      { roundings: 0.001, fill: { aScales: powers((k / 32) * m), bScales: powers((k / 32) * n) } },
    );
  });

  test('MXFP8 of BF16 activations is within the error of 8 bits', () => {
    const [m, k, n] = [300, 96, 40];
    const program = quantisedMatmulProgram(v4, { m, k, n, format: 'mxfp8', outDtype: 'f32' });
    const ones = Float64Array.from({ length: (k / 32) * n }, () => 1);
    expectClose(program, 'c', ({ a, b }) => packedReference(a!, b!, [m, k, n], 4), {
      roundings: 0.5,
      fill: { bScales: ones },
    });
  });

  test('a core without the format, and a contraction that does not fill a block, are errors', () => {
    const shape = { m: 8, k: 64, n: 8 };
    expect(() => quantisedMatmulProgram(v2, { ...shape, format: 'fp8' })).toThrow('NeuronCore-v3 or later');
    expect(() => quantisedMatmulProgram(v3, { ...shape, format: 'mxfp8' })).toThrow();
    expect(() => quantisedMatmulProgram(v4, { ...shape, k: 40, format: 'mxfp8' })).toThrow(
      '"k" expected a multiple of 32 for mxfp8, got 40',
    );
  });
});

/** The product of operands whose rows of the contraction are packed innermost. */
function packedReference(
  a: Float64Array,
  b: Float64Array,
  [m, k, n]: readonly [number, number, number],
  packing: number,
): Float64Array {
  const unpacked = new Float64Array(k * n);
  for (let p = 0; p < k; p++) {
    for (let j = 0; j < n; j++)
      unpacked[p * n + j] = b[Math.floor(p / packing) * n * packing + j * packing + (p % packing)]!;
  }
  return matmulReference((i, p) => a[Math.floor(p / packing) * m * packing + i * packing + (p % packing)]!, unpacked, [
    m,
    k,
    n,
  ]);
}

test('depthwise convolution', () => {
  for (const [batch, channels, length, taps] of [
    [1, 1, 1, 1],
    [2, 130, 50, 4],
    [1, 5, 4500, 3],
    [1, 3, 2, 7],
  ] as const) {
    for (const dtype of ['f32', 'bf16'] as const) {
      expectClose(depthwiseConv1dProgram(v2, { batch, channels, length, taps, dtype }), 'y', ({ x, w }) =>
        x!.map((_, at) => {
          const [row, i] = [Math.floor(at / length), at % length];
          let sum = 0;
          for (let t = 0; t < taps; t++) {
            const from = i - taps + 1 + t;
            if (from >= 0) sum += w![(row % channels) * taps + t]! * x![row * length + from]!;
          }
          return sum;
        }),
      );
    }
  }
});

describe('selective scan', () => {
  for (const step of SCAN_STEPS) {
    test(step, () => {
      for (const [batch, channels, seq, state] of [
        [1, 1, 1, 1],
        [2, 140, 70, 3],
        [1, 5, 1100, 4],
      ] as const) {
        const elements = batch * channels * seq;
        expectClose(
          selectiveScanProgram(v2, { batch, channels, seq, state, dtype: 'f32', step }),
          'y',
          ({ delta, u, a, b, c }) => {
            const y = new Float64Array(elements);
            for (let i = 0; i < batch * channels; i++) {
              const n = Math.floor(i / channels);
              for (let s = 0; s < state; s++) {
                let h = 0;
                for (let t = 0; t < seq; t++) {
                  const [at, other] = [i * seq + t, (n * state + s) * seq + t];
                  h = Math.exp(delta![at]! * a![(i % channels) * state + s]!) * h + delta![at]! * u![at]! * b![other]!;
                  y[at]! += h * c![other]!;
                }
              }
            }
            return y;
          },
          {
            roundings: 200,
            // Decaying, as in a trained model.
            fill: {
              delta: numbers(elements, 7).map(Math.abs),
              a: numbers(channels * state, 8).map((value) => -Math.abs(value)),
            },
          },
        );
      }
    });
  }

  test('loading once for all states reads less, and tiles with the sum from PSUM are faster', () => {
    const shape = { batch: 1, channels: 512, seq: 4096, state: 16, dtype: 'f32' } as const;
    const [naive, reordered, tiled] = SCAN_STEPS.map((step) =>
      clockProgram(selectiveScanProgram(v2, { ...shape, step })),
    );
    expect(reordered!.hbmRead).toBeLessThan(naive!.hbmRead / 5);
    expect(reordered!.time).toBeLessThanOrEqual(naive!.time);
    expect(tiled!.time).toBeLessThan(0.95 * reordered!.time);
  });

  test('only the tiled one takes any length', () => {
    const shape = { batch: 1, channels: 128, seq: 20000, state: 2, dtype: 'f32' } as const;
    expect(() => selectiveScanProgram(v2, { ...shape, step: 'reordered' })).toThrow(/SBUF/);
    expect(selectiveScanProgram(v2, shape).sbufBytes).toBeLessThan(192 * 1024);
  });
});

describe('copies', () => {
  test('a gather of table rows', () => {
    const [rows, cols, stride] = [300, 77, 3];
    expectClose(embeddingProgram(v3, { rows, cols, stride, dtype: 'bf16' }), 'y', ({ table }) =>
      Float64Array.from({ length: rows * cols }, (_, i) => table![Math.floor(i / cols) * stride * cols + (i % cols)]!),
    );
  });

  test('a copy reads every byte, by as many engines as asked for', () => {
    for (const bytes of [1, 100, 32768, 1_000_003]) {
      for (const engines of [1, 7, 16]) {
        const program = dmaCopyProgram(v3, { bytes, engines });
        expect(clockProgram(program).hbmRead).toBe(bytes);
        runOn(program);
      }
    }
  });
});
