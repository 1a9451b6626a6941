/**
 * The same layer on one rank in FP32: what the sharded result is checked against. Weights and input are those of the
 * storage format, widened, so the difference is the rounding of intermediate results and the order of summation.
 * Weights stream through in blocks of rows: a layer of any size needs little memory, and no block has the boundaries of
 * a shard, so a misplaced shard shows.
 */
import {
  type Arena,
  add,
  addBias,
  attention as attend,
  cast,
  type DType,
  matmul,
  rmsnorm,
  rope,
  swiglu,
  type Tensor,
} from '../kernels/index.ts';
import { type LayerWeight, rankWeights, shardLayer, type WeightBlock } from '../models/layer.ts';
import { type LayerProblem, ropeTensors, windowOf } from './sharded-layer.ts';
import { makeInput, makeWeight } from './weights.ts';

/** Elements of a streamed block: 2^22 f32 are 16 MiB. */
const BLOCK_ELEMENTS = 2 ** 22;

/** The tensor in FP32; gives the original back. */
function widen(tensor: Tensor): Tensor {
  if (tensor.dtype === 'f32') return tensor;
  const wide = tensor.arena.tensor('f32', tensor.shape);
  cast(tensor, wide);
  tensor.dispose();
  return wide;
}

/** Output of the layer, [tokens, hidden] f32. */
export function referenceLayer(arena: Arena, problem: LayerProblem): Tensor {
  const { config, tokens, dtype, seed } = problem;
  const { hidden, heads, kvHeads, headDim, normEpsilon: epsilon } = config;
  const blocks = new Map(rankWeights(config, shardLayer(config, 1), 0).map((block) => [block.weight, block]));
  const vector = (weight: LayerWeight): Tensor => widen(makeWeight(arena, blocks.get(weight)!, dtype, seed));

  const norm = (weight: LayerWeight, x: Tensor): Tensor => {
    using gamma = vector(weight);
    const out = arena.tensor('f32', x.shape);
    rmsnorm(x, gamma.slice(0, gamma.length), out, { epsilon });
    return out;
  };

  const project = (weight: LayerWeight, x: Tensor): Tensor => {
    const out = streamedMatmul(x, blocks.get(weight)!, dtype, seed);
    const bias = blocks.get(`${weight}Bias` as LayerWeight);
    if (bias !== undefined) {
      using values = vector(bias.weight);
      addBias(values.slice(0, values.length), out);
    }
    return out;
  };

  const { cos, sin } = ropeTensors(arena, config, tokens);
  const turned = (weight: 'q' | 'k', x: Tensor, count: number): Tensor => {
    using projected = project(weight, x);
    const perHead = projected.reshape([tokens * count, headDim]);
    using normed = config.qkNorm ? norm(`${weight}Norm`, perHead) : perHead;
    const out = arena.tensor('f32', [tokens, count * headDim]);
    rope(normed.reshape([tokens, count, headDim]), cos, sin, out.reshape([tokens, count, headDim]));
    return out;
  };

  const attention = (x: Tensor): Tensor => {
    using h = norm('norm1', x);
    using q = turned('q', h, heads);
    using k = turned('k', h, kvHeads);
    using v = project('v', h);
    using attended = arena.tensor('f32', [tokens, heads * headDim]);
    const perHead = (matrix: Tensor, count: number) => matrix.reshape([tokens, count, headDim]);
    const out = perHead(attended, heads);
    attend(perHead(q, heads), perHead(k, kvHeads), perHead(v, kvHeads), out, windowOf(config));
    return project('o', attended);
  };

  const mlp = (x: Tensor): Tensor => {
    using h = norm('norm2', x);
    using gate = project('gate', h);
    using up = project('up', h);
    using product = arena.tensor('f32', gate.shape);
    swiglu(gate, up, product);
    return project('down', product);
  };

  let state = widen(makeInput(arena, tokens, hidden, dtype, seed));
  for (const half of [attention, mlp]) {
    using before = state;
    using update = half(before);
    state = arena.tensor('f32', before.shape);
    add(before, update, state);
  }
  cos.dispose();
  sin.dispose();
  return state;
}

/** x W with W made in blocks of rows and widened: [rows of x, columns of W] f32. */
function streamedMatmul(x: Tensor, whole: WeightBlock, dtype: DType, seed: number): Tensor {
  const { arena } = x;
  const out = arena.tensor('f32', [x.shape[0]!, whole.columns]);
  const rowsAtOnce = Math.max(1, Math.floor(BLOCK_ELEMENTS / whole.columns));
  for (let row = 0; row < whole.rows; row += rowsAtOnce) {
    const rows = Math.min(rowsAtOnce, whole.rows - row);
    using block = widen(makeWeight(arena, { ...whole, row, rows }, dtype, seed));
    matmul(x.columns(row, row + rows), block, out, { accumulate: row > 0 });
  }
  return out;
}
