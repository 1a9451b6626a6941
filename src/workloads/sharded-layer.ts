/**
 * One decoder layer on real tensors, cut over tensor-parallel ranks as `models/layer.ts` says: every rank computes with
 * its own buffers and its own shards, and the two sums over the ranks move real bytes by the schedule of the collective.
 * A shard is made when it is needed and dropped after use: no more than one of them stands in memory.
 *
 * Rounding: operands in the storage format, FP32 accumulation, one rounding for each operator's result. With stochastic
 * rounding every result has a random stream of its own, except that the copies of an operator that all ranks repeat
 * (norms, residuals) share one: the replicas of the residual stream must stay equal. The sums of the collective round to
 * nearest even.
 */
import { executeNumeric } from '../collectives/numeric.ts';
import type { Schedule } from '../collectives/schedule.ts';
import {
  type Arena,
  add,
  addBias,
  attention,
  cast,
  type DType,
  matmul,
  type Rounding,
  rmsnorm,
  rope,
  swiglu,
  type Tensor,
} from '../kernels/index.ts';
import type { DecoderConfig } from '../models/config.ts';
import { type LayerShard, type LayerWeight, rankWeights } from '../models/layer.ts';
import { ropeTables } from '../models/rope.ts';
import { makeInput, makeWeight } from './weights.ts';

export interface LayerProblem {
  readonly config: DecoderConfig;
  readonly tokens: number;
  readonly dtype: DType;
  readonly seed: number;
  readonly rounding: 'nearest' | 'stochastic';
  /** Called as work gets done; `done` and `total` count half layers of ranks. */
  readonly onProgress?: (progress: { done: number; total: number }) => void;
}

/** Results that are rounded. Each has 2^24 random streams, one for each copy; the weights have the streams below 2^24. */
const RESULTS = ['norm', 'q', 'k', 'v', 'rope', 'softmax', 'attention', 'partial', 'residual', 'gate', 'up', 'swiglu'];
const COPIES = 2 ** 24;

type Half = 'attention' | 'mlp';

/** One rank at work: its shards, its rounding, its place among the ranks. */
class RankLayer {
  readonly #arena: Arena;
  readonly #problem: LayerProblem;
  readonly #shard: LayerShard;
  readonly #rank: number;
  readonly #blocks: ReturnType<typeof rankWeights>;

  constructor(arena: Arena, problem: LayerProblem, shard: LayerShard, rank: number) {
    this.#arena = arena;
    this.#problem = problem;
    this.#shard = shard;
    this.#rank = rank;
    this.#blocks = rankWeights(problem.config, shard, rank);
  }

  /** The rank's addend to the sum that ends a half of the layer: [tokens, hidden]. */
  partial(half: Half, x: Tensor, tables: RopeTensors): Tensor {
    return half === 'attention' ? this.#attention(x, tables) : this.#mlp(x);
  }

  /** x + sum, the same on all ranks. */
  residual(half: Half, x: Tensor, sum: Tensor): Tensor {
    const out = this.#arena.tensor(x.dtype, x.shape);
    add(x, sum, out, this.#rounding('residual', half === 'attention' ? 0 : 1));
    return out;
  }

  #attention(x: Tensor, tables: RopeTensors): Tensor {
    const { config, tokens, dtype } = this.#problem;
    const { heads, kvHeads } = this.#shard;
    const { headDim } = config;
    using h = this.#norm('norm1', x, 0);
    using q = this.#turned('q', h, heads, tables);
    using k = this.#turned('k', h, kvHeads, tables);
    using v = this.#project('v', h);
    using attended = this.#arena.tensor(dtype, [tokens, heads * headDim]);
    const perHead = (matrix: Tensor, count: number) => matrix.reshape([tokens, count, headDim]);
    attention(perHead(q, heads), perHead(k, kvHeads), perHead(v, kvHeads), perHead(attended, heads), {
      ...windowOf(config),
      rounding: this.#rounding('attention', this.#rank),
      // At most 2^12 blocks of queries, and 2^12 heads over all ranks: inside the 2^24 streams that there are.
      probabilityRounding: (head, block) => this.#rounding('softmax', (this.#rank * heads + head) * 2 ** 12 + block),
    });
    return this.#project('o', attended);
  }

  #mlp(x: Tensor): Tensor {
    using h = this.#norm('norm2', x, 1);
    using gate = this.#project('gate', h);
    using up = this.#project('up', h);
    using product = this.#arena.tensor(gate.dtype, gate.shape);
    swiglu(gate, up, product, this.#rounding('swiglu', this.#rank));
    return this.#project('down', product);
  }

  /** Projection, norm of each head where the model has one, rotary embedding. */
  #turned(weight: 'q' | 'k', x: Tensor, heads: number, { cos, sin }: RopeTensors): Tensor {
    const { config, tokens, dtype } = this.#problem;
    const copy = 2 * this.#rank + (weight === 'q' ? 0 : 1);
    using projected = this.#project(weight, x);
    const perHead = projected.reshape([tokens * heads, config.headDim]);
    using normed = config.qkNorm ? this.#norm(`${weight}Norm`, perHead, 2 + copy) : perHead;
    const out = this.#arena.tensor(dtype, [tokens, heads * config.headDim]);
    const shape = [tokens, heads, config.headDim];
    rope(normed.reshape(shape), cos, sin, out.reshape(shape), this.#rounding('rope', copy));
    return out;
  }

  #norm(weight: LayerWeight, x: Tensor, copy: number): Tensor {
    using gamma = this.#weight(weight);
    const out = this.#arena.tensor(x.dtype, x.shape);
    const rounding = this.#rounding('norm', copy);
    rmsnorm(x, gamma.slice(0, gamma.length), out, { epsilon: this.#problem.config.normEpsilon, rounding });
    return out;
  }

  /** x W, plus the bias where the model has one, rounded once. */
  #project(weight: 'q' | 'k' | 'v' | 'o' | 'gate' | 'up' | 'down', x: Tensor): Tensor {
    using matrix = this.#weight(weight);
    const isPartial = weight === 'o' || weight === 'down';
    const rounding = isPartial
      ? this.#rounding('partial', 2 * this.#rank + (weight === 'o' ? 0 : 1))
      : this.#rounding(weight, this.#rank);
    const out = this.#arena.tensor(x.dtype, [x.shape[0]!, matrix.shape[1]!]);
    const bias = this.#blocks.find((block) => block.weight === `${weight}Bias`);
    if (bias === undefined) {
      matmul(x, matrix, out, { rounding });
      return out;
    }
    using accumulator = this.#arena.tensor('f32', out.shape);
    using vector = this.#weight(bias.weight);
    matmul(x, matrix, accumulator);
    addBias(vector.slice(0, vector.length), accumulator);
    cast(accumulator, out, rounding);
    return out;
  }

  #weight(weight: LayerWeight): Tensor {
    const block = this.#blocks.find((candidate) => candidate.weight === weight)!;
    return makeWeight(this.#arena, block, this.#problem.dtype, this.#problem.seed);
  }

  #rounding(result: string, copy: number): Rounding {
    const { rounding, seed } = this.#problem;
    if (rounding === 'nearest') return 'nearest';
    return { seed, stream: (RESULTS.indexOf(result) + 1) * COPIES + copy };
  }
}

/** The sliding window of the layer, which is the model's first. */
export function windowOf({ slidingLayers, slidingWindow }: DecoderConfig): { window?: number } {
  return slidingLayers[0] && slidingWindow !== null ? { window: slidingWindow } : {};
}

interface RopeTensors {
  readonly cos: Tensor;
  readonly sin: Tensor;
}

/** The tables of the rotary embedding for positions 0 .. tokens - 1: [tokens, headDim / 2], f32. */
export function ropeTensors(arena: Arena, config: DecoderConfig, tokens: number): RopeTensors {
  const { cos, sin } = ropeTables(config, tokens);
  const shape = [tokens, config.headDim / 2];
  return { cos: arena.tensor('f32', shape).set(cos), sin: arena.tensor('f32', shape).set(sin) };
}

/**
 * Runs the layer; the result is every rank's output, [tokens, hidden] in the storage format, which must all be equal.
 * @param schedule all-reduce of tokens x hidden elements over `shard.tp` ranks
 */
export function runShardedLayer(arena: Arena, problem: LayerProblem, shard: LayerShard, schedule: Schedule): Tensor[] {
  const { config, tokens, dtype, seed, onProgress } = problem;
  const ranks = Array.from({ length: shard.tp }, (_, rank) => new RankLayer(arena, problem, shard, rank));
  const tables = ropeTensors(arena, config, tokens);
  let states = ranks.map(() => makeInput(arena, tokens, config.hidden, dtype, seed));
  let done = 0;
  for (const half of ['attention', 'mlp'] as const) {
    const partials = ranks.map((rank, r) => {
      const partial = rank.partial(half, states[r]!, tables);
      onProgress?.({ done: ++done, total: 2 * ranks.length });
      return partial;
    });
    executeNumeric(
      schedule,
      partials.map((partial) => partial.slice(0, partial.length)),
    );
    states = ranks.map((rank, r) => {
      using state = states[r]!;
      using sum = partials[r]!;
      return rank.residual(half, state, sum);
    });
  }
  tables.cos.dispose();
  tables.sin.dispose();
  return states;
}
