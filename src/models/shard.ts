/**
 * How a layer is cut over ranks. Heads, widths and vocabulary that a degree doesn't divide are padded, as compilers do.
 *
 * Experts lie on ep x expertTp ranks. inner = tp / expertTp of the ep parts are ranks of the same tensor-parallel group,
 * the other ep / inner are in data parallelism, whose ranks hold other tokens. So ep = 1, expertTp = tp cuts each expert
 * over the group (NxD Inference, Megatron's default), expertTp = 1, ep >= tp gives each rank whole experts (DeepSeek).
 * see: Megatron-LM, docs/user-guide of mixtures of experts ("MoE parallel folding").
 */
import { expectInteger, expectKnownKeys, expectOneOf } from '../base/errors.ts';
import type { Shard } from './graph.ts';
import { embeddingParameters, headParameters, normParameters } from './parameters.ts';
import type { ModelSpec } from './spec.ts';

const KEYS = ['tp', 'sp', 'cp', 'cpMode', 'ep', 'expertTp'];

/**
 * A shard from what is given: 1 by default, sequence parallelism where tp > 1, whole experts on a
 * rank where ep is a multiple of tp, experts cut over tp otherwise.
 * @throws RangeError for a degree that is no positive integer, or degrees of experts that do not fit into each other
 */
export function parallelism(options: Partial<Shard> = {}): Shard {
  expectKnownKeys('shard', options, KEYS);
  const degree = (name: 'tp' | 'cp' | 'ep' | 'expertTp', fallback: number) =>
    expectInteger(name, options[name] ?? fallback, 1, 2 ** 24);
  const tp = degree('tp', 1);
  const ep = degree('ep', 1);
  const expertTp = degree('expertTp', ep % tp === 0 ? 1 : tp);
  if (tp % expertTp !== 0) throw new RangeError(`"expertTp" expected a divisor of tp = ${tp}, got ${expertTp}`);
  if (ep % (tp / expertTp) !== 0) {
    throw new RangeError(`"ep" expected a multiple of tp / expertTp = ${tp / expertTp}, got ${ep}`);
  }
  return {
    tp,
    sp: (options.sp ?? true) && tp > 1,
    cp: degree('cp', 1),
    cpMode: expectOneOf('cpMode', options.cpMode ?? 'ring', ['ring', 'all-to-all']),
    ep,
    expertTp,
  };
}

/** Of the embedding and of the head with its norm, cut over the vocabulary; a tied table is on both ends of a pipeline. */
export function rankEdgeParameters(model: ModelSpec, tp: number): { embedding: number; head: number } {
  const { vocab, hidden } = model;
  const slice = Math.ceil(vocab / tp) * hidden;
  const table = vocab * hidden;
  const untied = model.tied ? 0 : table;
  const hasLogits = model.head !== 'pooler';
  return {
    embedding: embeddingParameters(model) - table + slice,
    head:
      headParameters(model) -
      (hasLogits ? untied : 0) +
      (hasLogits ? slice : 0) +
      (model.finalNorm ? normParameters(model, hidden) : 0),
  };
}
