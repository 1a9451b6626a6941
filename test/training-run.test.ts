/** `runTraining`: a training step of several layers as a job, what it reports, and what it refuses. */
import { describe, expect, test } from 'vitest';
import {
  findSystem,
  type ModelError,
  parseModelConfig,
  runTraining,
  type TrainingRunOptions,
  type TrainingRunResult,
  toJson,
  trainingRunReport,
  writePerfetto,
} from '../src/index.ts';

const TINY = {
  model_type: 'llama',
  hidden_size: 32,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  intermediate_size: 48,
  num_hidden_layers: 3,
  vocab_size: 37,
  max_position_embeddings: 64,
};

type Changes = Omit<Partial<TrainingRunOptions>, 'config' | 'system'> & { model?: object; on?: string };

function run({ model, on = 'trn2-ultraserver', ...options }: Changes = {}) {
  const config = parseModelConfig({ ...TINY, ...model }, 'tiny');
  return runTraining({ config, system: findSystem(on), rank: 'chip', tokens: 12, ...options });
}

const result = (changes?: Changes): TrainingRunResult => run(changes).result;

describe('the result', () => {
  test('is right for any cut, loss and format, and the same bytes each time', () => {
    for (const changes of [
      { tp: 4, dp: 2, layers: 2 },
      { tp: 2, dp: 4, layers: 3, loss: 'cross-entropy', dtype: 'f32' },
      { tp: 4, dp: 3, loss: 'cross-entropy', rounding: 'stochastic' },
      { tp: 1, dp: 1, optimizer: 'none' },
    ] as const) {
      const first = result(changes);
      expect(first).toMatchObject({ schemaVersion: 1, ok: true, ranksAgree: true, fidelity: 'event', ...changes });
      expect(first.maxRelError).toBeLessThan(first.errorBound);
      expect(first.finiteDifference!.relError).toBeLessThan(0.01);
      expect(first.losses[0]! / first.referenceLoss).toBeCloseTo(1, changes.dtype === 'f32' ? 5 : 1);
      expect(toJson(result(changes))).toBe(toJson(first));
    }
  });

  test('has a loss that falls over the steps, with either optimizer', () => {
    for (const changes of [
      { optimizer: 'adamw', rate: 3e-3 },
      { optimizer: 'sgd', rate: 0.5 },
    ] as const) {
      const { losses, ok } = result({ tp: 2, dp: 2, layers: 2, steps: 12, loss: 'cross-entropy', ...changes });
      expect(ok).toBe(true);
      expect(losses).toHaveLength(12);
      expect(losses.at(-1)!).toBeLessThan(losses[0]! - 0.1);
    }
  });

  test('depends on how the ranks are cut in rounding only: FP32 runs train alike', () => {
    const losses = [
      { tp: 1, dp: 1, sequences: 4 },
      { tp: 4, dp: 1, sequences: 4 },
      { tp: 2, dp: 4, sequences: 1 },
    ].map((cut) => result({ ...cut, dtype: 'f32', steps: 5, layers: 2, loss: 'cross-entropy' }).losses);
    for (const other of losses.slice(1)) {
      other.forEach((loss, i) => {
        expect(loss! / losses[0]![i]!).toBeCloseTo(1, 4);
      });
    }
  });

  test('without a backward pass is the loss alone', () => {
    const { ok, finiteDifference, breakdown, maxRelError, errorBound } = result({ backward: false, layers: 2, tp: 2 });
    expect(ok).toBe(true);
    expect(finiteDifference).toBeNull();
    expect(maxRelError).toBeLessThan(errorBound);
    expect(new Set(breakdown.map(({ pass }) => pass))).toEqual(new Set(['forward']));
  });

  test('counts two matmuls backward for one forward, and cannot take less time than its engines', () => {
    const { breakdown, timeNs, exposedNs } = result({ tp: 2, dp: 2, layers: 2 });
    const flops = (pass: string) =>
      breakdown.filter((row) => row.pass === pass && row.bound !== 'links').reduce((sum, row) => sum + row.flops, 0);
    // Matmuls twice, attention 2.5 times.
    expect(flops('backward') / flops('forward')).toBeGreaterThan(2);
    expect(flops('backward') / flops('forward')).toBeLessThan(2.5);
    const busy = breakdown.filter(({ bound }) => bound !== 'links').reduce((sum, row) => sum + row.timeNs, 0);
    expect(busy + exposedNs).toBeCloseTo(timeNs, 3);
  });

  test('sums the gradients of a layer over the replicas while the layer before it computes', () => {
    const { timeline } = run({ tp: 1, dp: 4, layers: 3 });
    const sums = timeline.slices.filter(({ name }) => name.startsWith('gradients of layer'));
    expect(sums).toHaveLength(3);
    const computing = timeline.slices.filter(({ track }) => track === 'operator');
    for (const sum of sums.slice(0, 2)) {
      expect(computing.some(({ start }) => start > sum.start && start < sum.start + sum.duration)).toBe(true);
    }
    expect(writePerfetto(timeline).length).toBeGreaterThan(1000);
  });

  test('prints as text', () => {
    const text = trainingRunReport('tiny', result({ tp: 2, dp: 2, layers: 2, steps: 3 }));
    expect(text).toMatch(/^2 layers of tiny, 2 x 1 x 12 tokens, bf16, TP 2 x DP 2 on trn2-ultraserver/);
    expect(text).toMatch(/check +ok: max relative error/);
    expect(text).toMatch(/slope +.* by finite differences/);
  });
});

describe('a flipped bit', () => {
  const flip = { step: 0, rank: 3, element: 100, bit: 14 } as const;
  const setting = { tp: 2, dp: 2, layers: 1, steps: 2 } as const;

  test('of a weight makes the replicas differ', () => {
    const { flip: report, ok } = result({ ...setting, flip: { ...flip, target: 'weights' }, master: false });
    expect(ok).toBe(false);
    expect(report).toMatchObject({ detectedBy: 'replicas', ...flip });
    expect(report!.weightError).toBeGreaterThan(0);
  });

  test('of a gradient reaches all replicas and nothing notices but the comparison with one rank', () => {
    const run = result({ ...setting, flip: { ...flip, target: 'gradients' } });
    expect(run.ranksAgree).toBe(true);
    expect(run.flip!.detectedBy).toBeNull();
    expect(run.flip!.weightError).toBeGreaterThan(0);
    expect(run.ok).toBe(false);
  });

  test('of the lowest bit of a gradient changes next to nothing', () => {
    const run = result({ ...setting, flip: { ...flip, bit: 0, target: 'gradients' } });
    expect(run.ok).toBe(true);
    expect(run.flip!.weightError).toBeLessThan(0.02);
  });
});

describe('is refused', () => {
  test.each([
    [{ tp: 3 }, /"tp" expected a divisor of the model's 4 attention heads, got 3/],
    [{ tp: 65 }, /"tp" expected integer in 1\.\.64, got 65/],
    [{ dp: 65 }, /"dp" expected integer in 1\.\.64, got 65/],
    [{ dp: 32, tp: 4 }, /"tp" expected integer in 1\.\.2, got 4/],
    [{ ranks: 8, dp: 3, tp: 4 }, /"tp" expected integer in 1\.\.2, got 4/],
    [{ layers: 4 }, /"layers" expected integer in 1\.\.3, got 4/],
    [{ tokens: 65 }, /"tokens" expected integer in 1\.\.64, got 65/],
    [{ steps: 0 }, /"steps" expected integer in 1\.\.10000, got 0/],
    [{ backward: false, rate: 0.1 }, /"rate" expected with a backward pass, got 0.1 without/],
    [{ backward: false, optimizer: 'sgd' }, /"optimizer" expected with a backward pass, got "sgd" without/],
    [{ backward: false, steps: 3 }, /"steps" expected with a backward pass, got 3 without/],
    [{ rate: Number.NaN }, /"rate" expected a finite number >= 0, got NaN/],
    [{ loss: 'l1' as never }, /"loss" expected one of squared-error, cross-entropy, got "l1"/],
    [{ optimizer: 'adam' as never }, /"optimizer" expected one of adamw, sgd, none, got "adam"/],
    [{ dtype: 'f16' as never }, /"dtype" expected one of f32, bf16, got "f16"/],
    [{ colour: 'red' } as never, /"options" has no option "colour"/],
    [{ flip: { target: 'weights', step: 1, rank: 0, element: 0, bit: 0 } }, /"flip.step" expected integer in 0\.\.0/],
    [{ flip: { target: 'weights', step: 0, rank: 0, element: 0, bit: 16 } }, /"flip.bit" expected integer in 0\.\.15/],
    [
      { flip: { target: 'weights', step: 0, rank: 0, element: 1e9, bit: 0 } },
      /"flip.element" expected integer in 0\.\./,
    ],
  ] as const satisfies [Changes, RegExp][])('%j', (changes, sentence) => {
    expect(() => run(changes as Changes)).toThrow(sentence);
  });

  test('what the chip or the kernels cannot hold, before anything is computed', () => {
    const big = { hidden_size: 16384, num_attention_heads: 128, num_key_value_heads: 8, intermediate_size: 53248 };
    const refused = (changes: Changes): ModelError => {
      try {
        run({ model: { ...big, num_hidden_layers: 126 }, ...changes });
      } catch (error) {
        return error as ModelError;
      }
      throw new Error('expected a refusal');
    };
    expect(refused({ layers: 1, tp: 8 })).toMatchObject({ code: 'CAPACITY', path: 'layers' });
    expect(refused({ layers: 100, tp: 1 })).toMatchObject({ code: 'CAPACITY', path: 'trn2-ultraserver: HBM' });
  });
});
