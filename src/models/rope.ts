/**
 * Rotary position embedding: pair i of a head turns by the angle position · f[i].
 *
 *     f[i] = theta^(-2i/d),  i < d/2,  d = headDim
 *
 * `linear` divides every f by `factor` (positions are squeezed into the trained range). `llama3` keeps the pairs that
 * turn often within the original context, divides the slow ones by `factor`, and blends between the two.
 * see: transformers modeling_rope_utils.py; RoFormer, arXiv:2104.09864.
 *
 * Everything is in double precision and rounded to f32 once. Transformers forms the angle in f32, which at position
 * 100,000 is off by up to 4e-3 rad: tables agree to 1e-7 near position 0 only.
 */
import { expectInteger } from '../base/errors.ts';
import { cos, pow, sin } from '../base/math.ts';
import type { DecoderConfig, RopeScaling } from './config.ts';

/** Beyond 2^20 an angle could leave the range of `sin`; beyond 2^27 elements a table would exceed 512 MiB. */
const MAX_POSITIONS = 2 ** 20;
const MAX_ELEMENTS = 2 ** 27;

type RopeConfig = Pick<DecoderConfig, 'headDim' | 'ropeTheta' | 'ropeScaling'>;

function scaleFrequency(frequency: number, scaling: RopeScaling): number {
  if (scaling.type === 'linear') return frequency / scaling.factor;
  const { factor, lowFrequencyFactor, highFrequencyFactor, originalMaxPositions } = scaling;
  const turns = (originalMaxPositions * frequency) / (2 * Math.PI);
  if (turns > highFrequencyFactor) return frequency;
  if (turns < lowFrequencyFactor) return frequency / factor;
  const kept = (turns - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor);
  return (1 - kept) * (frequency / factor) + kept * frequency;
}

/** Radians per position of each pair, shape [headDim / 2], scaling applied; falls with i. */
export function inverseFrequencies(config: RopeConfig): Float64Array {
  const { headDim, ropeTheta, ropeScaling } = config;
  return Float64Array.from({ length: headDim / 2 }, (_, i) => {
    const frequency = pow(ropeTheta, (-2 * i) / headDim);
    return ropeScaling === null ? frequency : scaleFrequency(frequency, ropeScaling);
  });
}

/**
 * cos and sin of position · f[i], both of shape [positions, headDim / 2], row-major.
 * @throws RangeError if `positions` is not an integer in 1..2^20, or fewer where the heads are wider than 256
 */
export function ropeTables(config: RopeConfig, positions: number): { cos: Float32Array; sin: Float32Array } {
  const frequencies = inverseFrequencies(config);
  const pairs = frequencies.length;
  expectInteger('positions', positions, 1, Math.min(MAX_POSITIONS, Math.floor(MAX_ELEMENTS / pairs)));
  const cosTable = new Float32Array(positions * pairs);
  const sinTable = new Float32Array(positions * pairs);
  for (let position = 0; position < positions; position++) {
    for (let i = 0; i < pairs; i++) {
      const angle = position * frequencies[i]!;
      cosTable[position * pairs + i] = cos(angle);
      sinTable[position * pairs + i] = sin(angle);
    }
  }
  return { cos: cosTable, sin: sinTable };
}
