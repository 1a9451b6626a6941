/**
 * Exact numbers of parameters of a dense decoder, as its checkpoint holds them: the checkpoint totals of Llama, Mistral,
 * Qwen2 and Qwen3 come out to the last parameter. A tied output projection is the embedding table, counted once.
 * Leaves out buffers that are no parameters (the rotary frequencies).
 */
import { ModelError } from '../base/errors.ts';
import type { DecoderConfig } from './config.ts';

export interface ParameterCounts {
  /** [vocab, hidden]. */
  readonly embedding: number;
  /** Of one layer: q, k, v and output projections, biases, norms on q and k heads. */
  readonly attention: number;
  /** Of one layer: gate, up and down projections. */
  readonly ffn: number;
  /** Of one layer: the RMSNorm weights before attention and before the feed-forward network. */
  readonly norms: number;
  /** attention + ffn + norms. */
  readonly layer: number;
  readonly finalNorm: number;
  /** [hidden, vocab]; 0 if tied to the embedding. */
  readonly output: number;
  /** Of the whole model: embedding + layers x layer + finalNorm + output. */
  readonly total: number;
}

/**
 * Parameters of one layer and of the whole model.
 * @throws ModelError CAPACITY if the total is beyond 2^53, where it would no longer be exact
 */
export function parameterCounts(config: DecoderConfig): ParameterCounts {
  const { hidden, heads, kvHeads, headDim, vocab } = config;
  const queryWidth = heads * headDim;
  const qkvWidth = (heads + 2 * kvHeads) * headDim;
  const projections = hidden * qkvWidth + queryWidth * hidden;
  const attention = projections + (config.qkvBias ? qkvWidth : 0) + (config.qkNorm ? 2 * headDim : 0);
  const ffn = 3 * hidden * config.ffn;
  const norms = 2 * hidden;
  const layer = attention + ffn + norms;
  const embedding = vocab * hidden;
  const output = config.tieEmbeddings ? 0 : embedding;
  const total = embedding + config.layers * layer + hidden + output;
  if (!Number.isSafeInteger(total)) {
    throw new ModelError('CAPACITY', 'parameters', `expected at most 2^53 in total, got ${total.toExponential(2)}`);
  }
  return { embedding, attention, ffn, norms, layer, finalNorm: hidden, output, total };
}
