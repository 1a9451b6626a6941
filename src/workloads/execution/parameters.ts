/**
 * The weights of a decoder on each rank, in buckets: a layer's blocks one after another in one flat value, and their
 * gradients likewise. One sum over the data-parallel ranks and one update serve a whole bucket.
 *
 * A weight depends on the seed, its matrix and its place in it alone, so that ranks and the single-rank reference agree.
 * Matrices are uniform with variance 1 / (input width), those that write to the residual stream over sqrt(2 layers) more;
 * the embedding's variance is 1 / hidden; norm weights are 1 +- 0.1, biases +- 0.1.
 * see: Radford et al.: Language Models are Unsupervised Multitask Learners (2019), section 2.3, for the scaling by depth.
 */
import { type DType, fillUniform, type Tensor } from '../../kernels/index.ts';
import type { DecoderConfig } from '../../models/config.ts';
import { blockElements, type LayerShard, rankWeights, type WeightBlock } from '../../models/layer.ts';
import type { ProgramBuilder, Value } from './program.ts';
import type { Parameter } from './tape.ts';

/** A block of a layer's weights, or of the matrices around the layers. */
export interface ParameterBlock extends Omit<WeightBlock, 'weight'> {
  readonly weight: string;
  /** Number of its stream of random numbers. */
  readonly stream: number;
  readonly scale: number;
  /** Added to the random number. */
  readonly mean: number;
}

export interface Bucket {
  readonly name: string;
  /** Of rank `tpRank`; the same names, shapes and order on all. */
  readonly blocks: (tpRank: number) => readonly ParameterBlock[];
  readonly weights: Value;
  readonly gradients: Value;
  /** FP32 copies of the weights, where the optimizer keeps them. */
  readonly masters: Value[];
}

const SPREAD = 0.1;
/** Streams of a bucket; no bucket has as many blocks. */
const STREAMS = 32;

function layerBlocks(config: DecoderConfig, shard: LayerShard, layer: number, layers: number, tpRank: number) {
  return rankWeights(config, shard, tpRank).map((block, i): ParameterBlock => {
    const { weight, totalRows } = block;
    const isNorm = /norm/i.test(weight);
    const depth = weight === 'o' || weight === 'down' ? 2 * layers : 1;
    const scale = isNorm || weight.endsWith('Bias') ? SPREAD : Math.sqrt(3 / (totalRows * depth));
    return { ...block, stream: layer * STREAMS + i, scale, mean: isNorm ? 1 : 0 };
  });
}

/** Embedding table and output projection are [vocabulary, hidden], cut by rows; the last rank's may be padded. */
function edgeBlocks(config: DecoderConfig, tp: number, layers: number, tpRank: number): ParameterBlock[] {
  const { hidden, vocab, tieEmbeddings } = config;
  const rows = Math.ceil(vocab / tp);
  const whole = { column: 0, columns: hidden, totalColumns: hidden };
  const table = { ...whole, row: tpRank * rows, rows, totalRows: rows * tp, scale: Math.sqrt(3 / hidden), mean: 0 };
  const stream = layers * STREAMS;
  return [
    { weight: 'embedding', stream, ...table },
    { weight: 'finalNorm', stream: stream + 1, ...whole, row: 0, rows: 1, totalRows: 1, scale: SPREAD, mean: 1 },
    ...(tieEmbeddings ? [] : [{ weight: 'head', stream: stream + 2, ...table }]),
  ];
}

export interface Parameters {
  readonly layers: readonly Bucket[];
  /** Embedding, final norm and output projection; null without them. */
  readonly edges: Bucket | null;
}

export function addParameters(
  program: ProgramBuilder,
  config: DecoderConfig,
  options: { readonly shard: LayerShard; readonly layers: number; readonly dtype: DType; readonly hasEdges: boolean },
): Parameters {
  const { shard, layers, dtype, hasEdges } = options;
  const bucket = (name: string, blocks: Bucket['blocks']): Bucket => {
    const length = blockElements(blocks(0) as readonly WeightBlock[]);
    return {
      name,
      blocks,
      weights: program.persistent(`weights of ${name}`, dtype, [length], 'dp'),
      gradients: program.persistent(`gradients of ${name}`, dtype, [length], 'none'),
      masters: [],
    };
  };
  return {
    layers: Array.from({ length: layers }, (_, layer) =>
      bucket(`layer ${layer}`, (tpRank) => layerBlocks(config, shard, layer, layers, tpRank)),
    ),
    edges: hasEdges ? bucket('embedding and head', (tpRank) => edgeBlocks(config, shard.tp, layers, tpRank)) : null,
  };
}

/** The parts of a bucket by the names of their blocks; a run of adjacent blocks has the gradient of all. */
export class BucketParts {
  readonly #program: ProgramBuilder;
  readonly #bucket: Bucket;
  readonly #parts = new Map<string, Parameter>();

  constructor(program: ProgramBuilder, bucket: Bucket) {
    this.#program = program;
    this.#bucket = bucket;
    let offset = 0;
    for (const { weight, rows, columns, totalRows } of bucket.blocks(0)) {
      const shape = totalRows === 1 ? [columns] : [rows, columns];
      this.#parts.set(weight, {
        weight: program.partOf(bucket.weights, weight, offset, shape),
        gradient: program.partOf(bucket.gradients, `gradient of ${weight}`, offset, shape),
      });
      offset += rows * columns;
    }
  }

  has(weight: string): boolean {
    return this.#parts.has(weight);
  }

  get(weight: string): Parameter {
    return this.#parts.get(weight)!;
  }

  /** The gradients of the blocks from `first` to `last`. */
  gradientsOf(first: string, last: string): Value {
    const [from, to] = [this.get(first).gradient, this.get(last).gradient];
    const end = to.part!.offset + to.shape.reduce((product, size) => product * size, 1);
    const { offset } = from.part!;
    return this.#program.partOf(this.#bucket.gradients, `gradients of ${first} to ${last}`, offset, [end - offset]);
  }
}

/** Fills `out`, [rows, columns] of any format, with the block. */
export function fillBlock(out: Tensor, block: ParameterBlock, seed: number): void {
  const { stream, scale, totalColumns, row, column, mean } = block;
  fillUniform(out, { seed, stream, scale, columns: totalColumns, row, column });
  if (mean !== 0) out.set(out.toFloat32().map((value) => mean + value));
}
