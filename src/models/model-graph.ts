/**
 * Graphs of whole models: the list of each part (embedding, each kind of layer, head) with how often it occurs. The parts'
 * lists are all there is: their number and length depend on the model and the phase, not on the ranks or the layers.
 */
import { expectInteger, expectKnownKeys, expectOneOf } from '../base/errors.ts';
import { FORMAT_BYTES } from '../core/operator-work.ts';
import { attentionParts } from './attention-graph.ts';
import { type Gradients, GraphBuilder, graphFlops, type Part } from './builder.ts';
import { type Context, contextOf, elementwise, fusesNorm } from './context.ts';
import { embeddingParts, headParts } from './edge-graph.ts';
import { formatsOf } from './formats.ts';
import type { Graph, Phase, Shard, Step } from './graph.ts';
import { mlpParts } from './mlp-graph.ts';
import { kindCounts, type LayerKind, type ModelSpec } from './spec.ts';

/** The phases of a graph of layers; the optimizer's is `optimizerGraph`. */
export type LayerPhase = Exclude<Phase, 'optimizer'>;

const STEP_KEYS: readonly (keyof Step)[] = [
  'sequences',
  'seqQ',
  'seqKv',
  'formats',
  'software',
  'flash',
  'dropout',
  'fusedSoftmax',
  'recompute',
  'absorbed',
  'expertSkew',
  'experts',
  'expertBlock',
];

/**
 * A step from what is given: BF16, hand-written kernels, flash attention, no recomputation, absorbed latent attention and
 * even experts unless said otherwise; seqKv = seqQ.
 */
export function stepOf(options: Partial<Step> & Pick<Step, 'sequences' | 'seqQ'>): Step {
  expectKnownKeys('step', options, STEP_KEYS);
  const seqQ = expectInteger('seqQ', options.seqQ, 1, 2 ** 30);
  const expertSkew = options.expertSkew ?? 1;
  if (!(expertSkew >= 1 && expertSkew <= 2 ** 20)) {
    throw new RangeError(`"expertSkew" expected a number in 1..1048576, got ${expertSkew}`);
  }
  return {
    sequences: expectInteger('sequences', options.sequences, 1, 2 ** 30),
    seqQ,
    seqKv: expectInteger('seqKv', options.seqKv ?? seqQ, seqQ, 2 ** 30),
    formats: options.formats ?? formatsOf('bf16'),
    software: expectOneOf('software', options.software ?? 'library', ['compiler', 'library', 'megakernel']),
    flash: options.flash ?? true,
    dropout: options.dropout ?? false,
    fusedSoftmax: options.fusedSoftmax ?? true,
    recompute: expectOneOf('recompute', options.recompute ?? 'none', ['none', 'selective', 'full']),
    absorbed: options.absorbed ?? true,
    expertSkew,
    experts: expectOneOf('experts', options.experts ?? 'routed', ['routed', 'per-token', 'all']),
    expertBlock: expectInteger('expertBlock', options.expertBlock ?? 1, 1, 2 ** 20),
  };
}

function checked(model: ModelSpec, phase: LayerPhase, shard: Shard, step: Step): Context {
  const isInference = phase === 'prefill' || phase === 'decode';
  if (step.software === 'megakernel' && !isInference) {
    throw new RangeError('"software" expected compiler or library for training, got megakernel');
  }
  if (!isInference && step.seqKv !== step.seqQ) {
    throw new RangeError(`"seqKv" expected seqQ = ${step.seqQ} for training, got ${step.seqKv}`);
  }
  return contextOf(model, shard, step, phase);
}

const FORWARD: readonly LayerPhase[] = ['forward', 'prefill', 'decode'];

function graphOf(parts: readonly Part[], phase: LayerPhase, recompute: boolean): Graph {
  const graph = new GraphBuilder();
  const run = () => {
    for (const part of parts) part.forward(graph);
  };
  if (FORWARD.includes(phase)) {
    run();
    return graph.items;
  }
  const gradients: Gradients = { input: phase !== 'backward-weight', weight: phase !== 'backward-input' };
  if (recompute && gradients.input) {
    graph.recomputing = true;
    run();
    graph.recomputing = false;
  }
  for (const part of [...parts].reverse()) part.backward(graph, gradients);
  return graph.items;
}

/** Of one layer of `kind`, on the fullest rank. */
export function layerGraph(model: ModelSpec, kind: LayerKind, phase: LayerPhase, shard: Shard, step: Step): Graph {
  const context = checked(model, phase, shard, step);
  const residual = (name: string) => elementwise(context, name, 'add', context.localTokens, model.hidden);
  // A fused norm adds the residual of what came before it; the layer's own last sum is then in the next layer.
  const isFused = fusesNorm(context);
  const parts = [
    ...attentionParts(context, kind.attention),
    ...(isFused && kind.mlp.kind === 'dense' ? [] : [residual('attention residual')]),
    ...mlpParts(context, kind.mlp),
    ...(isFused && kind.attention.kind === 'gqa' ? [] : [residual('MLP residual')]),
  ];
  return graphOf(parts, phase, step.recompute === 'full');
}

export function embeddingGraph(model: ModelSpec, phase: LayerPhase, shard: Shard, step: Step): Graph {
  return graphOf(embeddingParts(checked(model, phase, shard, step)), phase, false);
}

export function headGraph(model: ModelSpec, phase: LayerPhase, shard: Shard, step: Step): Graph {
  return graphOf(headParts(checked(model, phase, shard, step)), phase, false);
}

/** Boundary of two pipeline stages: what one sends the next for each micro-batch, per rank. */
export function stageBytes(model: ModelSpec, shard: Shard, step: Step): number {
  const { localTokens } = contextOf(model, shard, step, 'forward');
  return localTokens * model.hidden * FORMAT_BYTES[step.formats.activations];
}

export interface GraphPart {
  readonly name: 'embedding' | 'layer' | 'head';
  /** Index of `model.kinds` for a layer. */
  readonly kind: number | null;
  readonly count: number;
  readonly graph: Graph;
}

/** All parts of the model, without pipeline parallelism. */
export function modelGraph(model: ModelSpec, phase: LayerPhase, shard: Shard, step: Step): GraphPart[] {
  const counts = kindCounts(model);
  return [
    { name: 'embedding', kind: null, count: 1, graph: embeddingGraph(model, phase, shard, step) },
    ...model.kinds.map((kind, index) => ({
      name: 'layer' as const,
      kind: index,
      count: counts[index]!,
      graph: layerGraph(model, kind, phase, shard, step),
    })),
    { name: 'head', kind: null, count: 1, graph: headGraph(model, phase, shard, step) },
  ];
}

/** Operations of a model's graph on one rank. */
export function partsFlops(parts: readonly GraphPart[]): { useful: number; hardware: number } {
  let useful = 0;
  let hardware = 0;
  for (const { count, graph } of parts) {
    const flops = graphFlops(graph);
    useful += count * flops.useful;
    hardware += count * flops.hardware;
  }
  return { useful, hardware };
}
