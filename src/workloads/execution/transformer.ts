/**
 * The training step of a dense decoder as a program: layers cut Megatron-style over `tp` ranks, the batch over `dp`.
 *
 *     x1 = x  + sum over tp of attention(rope(norm(x) Wq), rope(norm(x) Wk), norm(x) Wv) Wo
 *     y  = x1 + sum over tp of silu(norm(x1) Wgate) * (norm(x1) Wup) Wdown
 *
 * With cross-entropy the embedding stands before the layers, and a norm and the output projection after them; with squared
 * error the layers stand alone between an input and a target. A layer's gradients are summed over dp as soon as its
 * backward pass has written them.
 *
 * Leaves out: sequence parallelism, pipelines, recomputation, dropout, gradient clipping.
 */
import type { DType } from '../../kernels/index.ts';
import type { DecoderConfig } from '../../models/config.ts';
import { shardLayer } from '../../models/layer.ts';
import { crossEntropy, embedding, squaredError } from './losses.ts';
import {
  attention,
  linear,
  parallelInput,
  type RopeTables,
  residual,
  rmsNorm,
  rope,
  sumPartials,
  swiglu,
} from './operators.ts';
import { addOptimizer, type Optimizer } from './optimizer.ts';
import { addParameters, type Bucket, BucketParts, type Parameters } from './parameters.ts';
import { type Program, ProgramBuilder, type Value } from './program.ts';
import { Tape } from './tape.ts';

export interface StepOptions {
  readonly config: DecoderConfig;
  readonly layers: number;
  readonly tp: number;
  readonly dp: number;
  /** Of each data-parallel rank. */
  readonly sequences: number;
  /** Of each sequence. */
  readonly tokens: number;
  readonly dtype: DType;
  readonly loss: 'cross-entropy' | 'squared-error';
  /** Forward pass only, or with gradients. */
  readonly backward: boolean;
  /** Null: the weights stay as they are. */
  readonly optimizer: Optimizer | null;
}

export interface StepProgram {
  readonly options: StepOptions;
  readonly program: Program;
  readonly parameters: Parameters;
  readonly rope: RopeTables;
  /** Token ids and targets, i32 [rows], or activations, [rows, hidden]. */
  readonly input: Value;
  readonly target: Value;
  /** f32 [1], the same on all ranks. */
  readonly loss: Value;
}

/** @throws RangeError if the layer cannot be cut over `tp` ranks */
export function buildStep(options: StepOptions): StepProgram {
  const { config, layers, tp, dp, sequences, tokens, dtype, backward, optimizer } = options;
  const { hidden, headDim, vocab, tieEmbeddings, normEpsilon: epsilon } = config;
  const shard = shardLayer(config, tp);
  const program = new ProgramBuilder(tp, dp);
  const tape = new Tape(program, dtype);
  const rows = sequences * tokens;
  const isText = options.loss === 'cross-entropy';
  const parameters = addParameters(program, config, { shard, layers, dtype, hasEdges: isText });
  const table = (name: string) => program.persistent(name, 'f32', [rows, headDim / 2], 'dp');
  const ropeTables = { cos: table('rope cosines'), sin: table('rope sines') };
  const data = (name: string) =>
    isText ? program.persistent(name, 'i32', [rows], 'tp') : program.persistent(name, dtype, [rows, hidden], 'tp');
  const [input, target] = [data('input'), data('target')];

  const edges = parameters.edges && new BucketParts(program, parameters.edges);
  if (parameters.edges) onBucketDone(tape, parameters.edges);
  let x = edges ? sumPartials(tape, embedding(tape, input, edges.get('embedding')), 'all-reduce of embedding') : input;
  parameters.layers.forEach((bucket, layer) => {
    x = decoderLayer(tape, bucket, x, { ...options, shard, ropeTables, layer });
  });
  let loss: Value;
  if (edges) {
    const norm = rmsNorm(tape, x, edges.get('finalNorm'), { name: 'final norm', epsilon, copies: 'tp' });
    const weight = edges.get(tieEmbeddings ? 'embedding' : 'head');
    const logits = linear(tape, parallelInput(tape, norm), weight, { name: 'logits', transposed: true });
    loss = crossEntropy(tape, logits, target, vocab, rows * dp);
  } else loss = squaredError(tape, x, target, rows * dp * hidden);

  if (backward) tape.backward();
  program.pass = 'optimizer';
  if (backward && optimizer) {
    for (const bucket of [...parameters.layers, ...(parameters.edges ? [parameters.edges] : [])].reverse()) {
      addOptimizer(program, bucket, optimizer);
    }
  }
  return { options, program, parameters, rope: ropeTables, input, target, loss };
}

/** Once everything that the tape records after this has had its backward turn, the bucket's gradients are summed over dp. */
function onBucketDone(tape: Tape, { name, gradients }: Bucket): void {
  tape.onBackward(() => tape.program.allReduce(`gradients of ${name} over dp`, gradients, 'dp'));
}

interface LayerContext extends StepOptions {
  readonly shard: ReturnType<typeof shardLayer>;
  readonly ropeTables: RopeTables;
  readonly layer: number;
}

function decoderLayer(tape: Tape, bucket: Bucket, x: Value, context: LayerContext): Value {
  const { config, shard, sequences, ropeTables, layer } = context;
  const { headDim, normEpsilon: epsilon, slidingLayers, slidingWindow, qkvBias, qkNorm, kvHeads } = config;
  const parts = new BucketParts(tape.program, bucket);
  onBucketDone(tape, bucket);
  // Ranks with copies of one KV head, or of the norm of all heads, each have the gradient through their own query heads.
  tape.onBackward(() => {
    const copies = Math.max(1, shard.tp / kvHeads);
    tape.program.allReduceNeighbours('gradients of KV copies', parts.gradientsOf('k', 'v'), copies);
    if (qkvBias) {
      tape.program.allReduceNeighbours('gradients of KV biases', parts.gradientsOf('kBias', 'vBias'), copies);
    }
    if (qkNorm) tape.program.allReduce('gradients of QK norm', parts.gradientsOf('qNorm', 'kNorm'), 'tp');
  });

  const norm1 = rmsNorm(tape, x, parts.get('norm1'), { name: 'input norm', epsilon, copies: 'tp' });
  const h = parallelInput(tape, norm1);
  const project = (weight: 'q' | 'k' | 'v'): Value =>
    linear(tape, h, parts.get(weight), { name: weight, ...(qkvBias && { bias: parts.get(`${weight}Bias`) }) });
  const turned = (weight: 'q' | 'k'): Value => {
    const projected = project(weight);
    const name = `${weight} norm`;
    const normed = qkNorm
      ? rmsNorm(tape, projected, parts.get(`${weight}Norm`), { name, epsilon, copies: 'none' })
      : projected;
    return rope(tape, normed, ropeTables, `rotary embedding of ${weight}`);
  };
  const window = slidingLayers[layer] && slidingWindow !== null ? { window: slidingWindow } : {};
  const attended = attention(tape, [turned('q'), turned('k'), project('v')], {
    heads: shard.heads,
    kvHeads: shard.kvHeads,
    headDim,
    sequences,
    ...window,
  });
  const output = linear(tape, attended, parts.get('o'), { name: 'output' });
  const x1 = residual(tape, x, sumPartials(tape, output, 'all-reduce of attention'));

  const norm2 = rmsNorm(tape, x1, parts.get('norm2'), { name: 'post-attention norm', epsilon, copies: 'tp' });
  const h2 = parallelInput(tape, norm2);
  const gate = linear(tape, h2, parts.get('gate'), { name: 'gate' });
  const up = linear(tape, h2, parts.get('up'), { name: 'up' });
  const down = linear(tape, swiglu(tape, gate, up), parts.get('down'), { name: 'down' });
  return residual(tape, x1, sumPartials(tape, down, 'all-reduce of MLP'));
}
