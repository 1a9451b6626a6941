/**
 * The gradients of a training step: every operator against finite differences, and every cut over ranks against one rank.
 *
 * Finite differences are central, in FP32 with the loss summed in double: along a random direction of one matrix at a time, the
 * loss at w +- h d differs by 2 h g d up to curvature (h^2) and rounding (1e-7 / h), both far below the tolerance.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createCluster, type DType, findSystem, parseModelConfig } from '../src/index.ts';
import { exchangesOn } from '../src/workloads/exchange.ts';
import { makeBatch, setBatch } from '../src/workloads/execution/batch.ts';
import { replicasAgree, wholeMatrices } from '../src/workloads/execution/blocks.ts';
import { gradientError } from '../src/workloads/execution/check.ts';
import { Executor } from '../src/workloads/execution/executor.ts';
import { lastUses, owner, touched } from '../src/workloads/execution/program.ts';
import { buildStep, type StepOptions } from '../src/workloads/execution/transformer.ts';
import { gradientBound } from '../src/workloads/training-run.ts';

const TINY = {
  model_type: 'qwen3',
  hidden_size: 32,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 8,
  intermediate_size: 48,
  num_hidden_layers: 2,
  vocab_size: 37,
  max_position_embeddings: 256,
};

type Changes = Partial<Omit<StepOptions, 'config'>> & { model?: object };

function stepOf({ model, ...changes }: Changes = {}): StepOptions {
  return {
    config: parseModelConfig({ ...TINY, ...model }, 'tiny'),
    layers: 2,
    tp: 1,
    dp: 1,
    sequences: 2,
    tokens: 9,
    dtype: 'f32',
    loss: 'cross-entropy',
    backward: true,
    optimizer: null,
    ...changes,
  };
}

function started(step: StepOptions, initialDType?: DType, rounding: 'nearest' | 'stochastic' = 'nearest'): Executor {
  const cluster = createCluster(findSystem('trn2-ultraserver'), { rank: 'chip', ranks: step.tp * step.dp });
  const executor = new Executor(buildStep(step), exchangesOn(cluster), {
    seed: 3,
    rounding,
    ...(initialDType && { initialDType: initialDType as 'f32' | 'bf16' }),
  });
  setBatch(executor, makeBatch(step, 3));
  return executor;
}

/** Each matrix: the derivative along random signs by the gradient, by finite differences, and the size of such products. */
function slopes(executor: Executor) {
  executor.run();
  let state = 12345;
  const sign = () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return state >>> 31 === 1 ? 1 : -1;
  };
  return executor.buckets().flatMap((bucket) => {
    const weights = executor.tensor(bucket.weights, 0);
    const before = weights.toFloat32();
    const gradient = executor.tensor(bucket.gradients, 0).toFloat32();
    let offset = 0;
    return bucket.blocks(0).map(({ weight, rows, columns }) => {
      const [begin, end] = [offset, offset + rows * columns];
      offset = end;
      const direction = before.map((_, i) => (i >= begin && i < end ? sign() : 0));
      const predicted = direction.reduce((sum, d, i) => sum + d * gradient[i]!, 0);
      const size = Math.sqrt(gradient.subarray(begin, end).reduce((sum, g) => sum + g * g, 0));
      const h = 1e-3;
      const lossAt = (factor: number): number => {
        weights.set(before.map((w, i) => w + factor * direction[i]!));
        return executor.forward();
      };
      const measured = (lossAt(h) - lossAt(-h)) / (2 * h);
      weights.set(before);
      return { name: `${weight} of ${bucket.name}`, predicted, measured, size };
    });
  });
}

describe('gradients and finite differences agree for every matrix', () => {
  test.each([
    ['norms of heads, an untied head', {}],
    ['the embedding as the head', { model: { tie_word_embeddings: true } }],
    ['biases', { model: { model_type: 'qwen2' } }],
    ['a sliding window', { model: { model_type: 'mistral', sliding_window: 4 } }],
    ['squared error', { loss: 'squared-error' }],
    ['several query blocks', { layers: 1, sequences: 1, tokens: 150 }],
    [
      'a window and several query blocks',
      {
        layers: 1,
        sequences: 1,
        tokens: 150,
        model: { model_type: 'mistral', sliding_window: 20 },
      },
    ],
  ] as const satisfies [string, Changes][])('%s', (_, changes) => {
    for (const { name, predicted, measured, size } of slopes(started(stepOf(changes)))) {
      expect(size, name).toBeGreaterThan(0);
      // A product with random signs is about as large as the gradient is long.
      expect(Math.abs(measured - predicted) / size, name).toBeLessThan(0.02);
    }
  });
});

describe('cut over ranks', () => {
  test('the gradient is that of one rank, within FP32 rounding', () => {
    const shapes = fc.record({
      tp: fc.constantFrom(1, 2, 4),
      dp: fc.constantFrom(1, 2, 4),
      sequences: fc.integer({ min: 1, max: 2 }),
      tokens: fc.integer({ min: 1, max: 20 }),
      loss: fc.constantFrom('cross-entropy' as const, 'squared-error' as const),
      tied: fc.boolean(),
      family: fc.constantFrom('llama', 'qwen2', 'qwen3'),
    });
    fc.assert(
      fc.property(shapes, ({ tp, dp, sequences, tokens, loss, tied, family }) => {
        const model = { model_type: family, tie_word_embeddings: tied };
        const step = stepOf({ tp, dp, sequences, tokens, loss, model, layers: 1 });
        const whole = started({ ...step, tp: 1, dp: 1, sequences: sequences * dp });
        const cut = started(step);
        expect(cut.run()).toBeCloseTo(whole.run(), 5);
        const { maxRelError, matrix } = gradientError(cut, whole);
        expect(maxRelError, matrix).toBeLessThan(1e-4);
        expect(replicasAgree(cut, 'gradients')).toBe(true);
      }),
      { numRuns: 12, seed: 1 },
    );
  });

  test('copies stay equal with stochastic rounding, and errors stay within the bound', () => {
    for (const rounding of ['nearest', 'stochastic'] as const) {
      const step = stepOf({ tp: 4, dp: 2, dtype: 'bf16', sequences: 1 });
      const whole = started({ ...step, tp: 1, dp: 1, sequences: 2, dtype: 'f32' }, 'bf16');
      const cut = started(step, 'bf16', rounding);
      cut.run();
      whole.run();
      expect(replicasAgree(cut, 'gradients')).toBe(true);
      const { maxRelError } = gradientError(cut, whole);
      expect(maxRelError).toBeLessThan(gradientBound(step, rounding));
      expect(maxRelError).toBeGreaterThan(1e-4);
    }
  });

  test('a vocabulary that does not divide is padded with rows that nothing reaches', () => {
    const cut = started(stepOf({ tp: 2, loss: 'cross-entropy' }));
    cut.run();
    const head = wholeMatrices(cut, cut.buckets().at(-1)!, 'gradients').find(({ name }) => name.startsWith('head'))!;
    expect(head.rows).toBe(38);
    expect([...head.values.subarray(37 * 32)].every((g) => g === 0)).toBe(true);
  });
});

describe('the program', () => {
  test('frees a value after its last use and never before', () => {
    const { program } = buildStep(stepOf({ tp: 2, dp: 2 }));
    const freed = new Set();
    const ends = lastUses(program);
    program.instructions.forEach((instruction, i) => {
      for (const value of touched(instruction)) expect(freed.has(owner(value))).toBe(false);
      for (const value of ends[i]!) freed.add(value);
    });
    const used = program.values.filter(({ isPersistent, part }) => !isPersistent && part === null);
    expect(freed.size).toBe(used.length);
  });

  test('leaves nothing but persistent values behind', () => {
    const executor = started(stepOf());
    const before = executor.arena.usedBytes;
    executor.run();
    const once = executor.arena.usedBytes;
    executor.run();
    executor.forward();
    expect(executor.arena.usedBytes).toBe(once);
    expect(once - before).toBeLessThan(2 ** 22); // scratch of the kernels
  });
});
