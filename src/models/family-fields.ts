/** What the readers of all families share: sizes within bounds, and names of activations. */
import { type Fields, integer, LIMITS, oneOf } from './fields.ts';
import type { DenseMlp, ModelSpec } from './spec.ts';

export type Family = (config: Fields, name: string) => ModelSpec;

const ACTIVATIONS: Readonly<Record<string, DenseMlp['activation']>> = {
  silu: 'silu',
  swish: 'silu',
  gelu: 'gelu',
  gelu_new: 'gelu',
  gelu_fast: 'gelu',
  gelu_pytorch_tanh: 'gelu',
  relu: 'relu',
  relu2: 'relu2',
};

export function activationOf(config: Fields, key: string, fallback: string): DenseMlp['activation'] {
  return ACTIVATIONS[oneOf(config, key, Object.keys(ACTIVATIONS), fallback)]!;
}

export const sizes = {
  hidden: (config: Fields, key: string = 'hidden_size'): number => integer(config, key, 1, LIMITS.hidden),
  layers: (config: Fields, key: string = 'num_hidden_layers'): number => integer(config, key, 1, LIMITS.layers),
  heads: (config: Fields, key: string = 'num_attention_heads'): number => integer(config, key, 1, LIMITS.heads),
  ffn: (config: Fields, key: string = 'intermediate_size'): number => integer(config, key, 1, LIMITS.ffn),
  vocab: (config: Fields): number => integer(config, 'vocab_size', 1, LIMITS.vocab),
  positions: (config: Fields, fallback: number, key: string = 'max_position_embeddings'): number =>
    integer(config, key, 1, LIMITS.positions, fallback),
};
