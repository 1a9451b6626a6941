/** A seeded batch: random tokens, each the target of the one before it, or random activations of unit variance. */
import { Arena, fillUniform } from '../../kernels/index.ts';
import type { Executor } from './executor.ts';
import type { StepOptions } from './transformer.ts';

/** Of all data-parallel replicas together. */
export interface Batch {
  readonly input: Float32Array;
  readonly target: Float32Array;
}

/** Streams of random numbers, beyond those of any weights. */
const STREAM = 2 ** 20;

export function makeBatch({ config, loss, dp, sequences, tokens }: StepOptions, seed: number): Batch {
  const all = dp * sequences;
  if (loss === 'squared-error') {
    const activations = (stream: number) => uniform(all * tokens, config.hidden, Math.sqrt(3), seed, stream);
    return { input: activations(STREAM), target: activations(STREAM + 1) };
  }
  const ids = uniform(all, tokens + 1, 0.5, seed, STREAM).map((u) =>
    Math.min(config.vocab - 1, Math.floor((u + 0.5) * config.vocab)),
  );
  const from = (first: number) =>
    Float32Array.from({ length: all * tokens }, (_, i) => {
      const [sequence, position] = [Math.floor(i / tokens), i % tokens];
      return ids[sequence * (tokens + 1) + position + first]!;
    });
  return { input: from(0), target: from(1) };
}

function uniform(rows: number, columns: number, scale: number, seed: number, stream: number): Float32Array {
  using tensor = new Arena({ deterministic: true }).tensor('f32', [rows, columns]);
  fillUniform(tensor, { seed, stream, scale });
  return tensor.toFloat32();
}

/** Gives every replica of the executor its share. */
export function setBatch(executor: Executor, { input, target }: Batch): void {
  const { dp } = executor.step.program;
  const shares = (values: Float32Array): Float32Array[] => {
    const length = values.length / dp;
    return Array.from({ length: dp }, (_, i) => values.subarray(i * length, (i + 1) * length));
  };
  executor.setBatch(shares(input), shares(target));
}
