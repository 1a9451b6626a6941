/**
 * The update of a bucket of weights, in FP32 whatever the storage formats are, one rounding into the weights:
 *
 *     SGD     w -= rate g
 *     AdamW   m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2,  w -= rate (m' / (sqrt v' + e) + decay w)
 *
 * with m' = m / (1 - b1^t), v' likewise. With master weights w is an FP32 copy that is kept beside the stored one. Without,
 * a step that is smaller than half the distance of two BF16 numbers is lost in rounding to nearest; stochastic rounding
 * keeps it on average.
 * see: Loshchilov, Hutter: Decoupled Weight Decay Regularization, arXiv:1711.05101.
 */
import { pow } from '../../base/math.ts';
import { DTYPES, type Tensor } from '../../kernels/index.ts';
import { store } from './backward.ts';
import type { Bucket } from './parameters.ts';
import { elementsOf, type ProgramBuilder, type TimedCase } from './program.ts';

export interface Optimizer {
  readonly kind: 'adamw' | 'sgd';
  readonly rate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly decay: number;
  /** FP32 weights beside the stored ones. */
  readonly master: boolean;
}

export const ADAMW_DEFAULTS: Optimizer = {
  kind: 'adamw',
  rate: 1e-3,
  beta1: 0.9,
  beta2: 0.95,
  epsilon: 1e-8,
  decay: 0,
  master: true,
};

export function addOptimizer(program: ProgramBuilder, bucket: Bucket, optimizer: Optimizer): void {
  const { weights, gradients, name } = bucket;
  const length = elementsOf(weights);
  const state = (what: string) => program.persistent(`${what} of ${name}`, 'f32', [length], 'dp');
  const master = optimizer.master && weights.dtype !== 'f32' ? state('master weights') : null;
  const moments = optimizer.kind === 'adamw' ? [state('first moments'), state('second moments')] : [];
  const kept = [...(master ? [master] : []), ...moments];
  if (master) bucket.masters.push(master);
  program.operator({
    name: `${optimizer.kind === 'adamw' ? 'AdamW' : 'SGD'}, ${name}`,
    cases: [timedUpdate(bucket, kept.length, optimizer)],
    reads: [weights, gradients, ...kept],
    writes: [weights, ...kept],
    compute: ({ step, rounding }, [w, g, ...states]) => {
      const [first, second] = master ? states.slice(1) : states;
      const source = master ? states[0]! : w!;
      const values = source.toFloat32();
      if (first && second) adamw(values, g!.toFloat32(), first, second, optimizer, step + 1);
      else sgd(values, g!.toFloat32(), optimizer);
      if (master) source.set(values);
      store(values, w!, rounding(0));
    },
  });
}

/** Its time is that of the bytes it moves: an `adamw` operator reads four FP32 numbers and writes one, an `add` moves three. */
function timedUpdate({ weights, gradients }: Bucket, states: number, { kind }: Optimizer): TimedCase {
  const length = elementsOf(weights);
  const moved = 2 * DTYPES[weights.dtype].bytes + DTYPES[gradients.dtype].bytes + 8 * states;
  const cols = Math.min(length, 4096);
  const op = kind === 'adamw' ? 'adamw' : 'add';
  const dims = { rows: Math.ceil(length / cols), cols };
  return { operator: { op, dims, dtype: 'f32' }, repeat: moved / (4 * (kind === 'adamw' ? 5 : 3)) };
}

function sgd(weights: Float32Array, gradient: Float32Array, { rate, decay }: Optimizer): void {
  for (let i = 0; i < weights.length; i++) {
    weights[i] = weights[i]! - rate * (gradient[i]! + decay * weights[i]!);
  }
}

function adamw(
  weights: Float32Array,
  gradient: Float32Array,
  first: Tensor,
  second: Tensor,
  { rate, beta1, beta2, epsilon, decay }: Optimizer,
  step: number,
): void {
  const { memory } = first.arena;
  const m = new Float32Array(memory.buffer, first.offset, weights.length);
  const v = new Float32Array(memory.buffer, second.offset, weights.length);
  const correction1 = 1 / (1 - pow(beta1, step));
  const correction2 = 1 / (1 - pow(beta2, step));
  for (let i = 0; i < weights.length; i++) {
    const g = gradient[i]!;
    m[i] = beta1 * m[i]! + (1 - beta1) * g;
    v[i] = beta2 * v[i]! + (1 - beta2) * g * g;
    const direction = (m[i]! * correction1) / (Math.sqrt(v[i]! * correction2) + epsilon);
    weights[i] = weights[i]! - rate * (direction + decay * weights[i]!);
  }
}
