/**
 * Seeded weights and activations of one layer, made where and when they are needed. An element depends on the seed, the
 * matrix and its place in the whole matrix alone, so ranks make their shards apart and the reference makes the whole.
 *
 * Matrices are uniform with variance 1 / (input width), so that a layer keeps the size of what flows through it; norm
 * weights are 1 +- 0.1, biases +- 0.1. The input has the size of an embedding, small beside what the layer adds to it: an
 * error inside the layer then shows in the output and is not hidden by the residual.
 */
import { type Arena, type DType, fillUniform, type Tensor } from '../kernels/index.ts';
import { LAYER_WEIGHTS, type WeightBlock } from '../models/layer.ts';

const INPUT_STREAM = LAYER_WEIGHTS.length;
const INPUT_SCALE = 0.05;
const SPREAD = 0.1;

/** The block as a fresh tensor: a [rows, columns] matrix, or a vector of one row. */
export function makeWeight(arena: Arena, block: WeightBlock, dtype: DType, seed: number): Tensor {
  const { weight, rows, columns, totalRows, totalColumns, row, column } = block;
  const stream = LAYER_WEIGHTS.indexOf(weight);
  const isNorm = weight.endsWith('1') || weight.endsWith('2') || weight.endsWith('Norm');
  const scale = isNorm || weight.endsWith('Bias') ? SPREAD : Math.sqrt(3 / totalRows);
  const tensor = arena.tensor(dtype, [rows, columns]);
  fillUniform(tensor, { seed, stream, scale, columns: totalColumns, row, column });
  if (isNorm) tensor.set(tensor.toFloat32().map((x) => 1 + x));
  return tensor;
}

/** The layer's input: [tokens, hidden]. */
export function makeInput(arena: Arena, tokens: number, hidden: number, dtype: DType, seed: number): Tensor {
  const tensor = arena.tensor(dtype, [tokens, hidden]);
  fillUniform(tensor, { seed, stream: INPUT_STREAM, scale: INPUT_SCALE });
  return tensor;
}
