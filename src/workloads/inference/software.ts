/**
 * What the levels of software decide beside the graph (`models/graph.ts`): which program computes attention and experts.
 *
 * `compiler`, as the libraries choose when the compiler generates the layer:
 *
 *     attention  prompts of at least 4096 tokens (1024 on a logical core of two), one sequence at a time, use the flash
 *                kernel; everything else computes scores, softmax and values as operators of their own
 *     experts    a prompt goes through all experts, weighted by 0 where it was not routed; so does a decode step of n
 *                tokens if n x topK >= experts, otherwise the experts of each token are loaded
 *
 * `library` and `megakernel`: flash attention, and tokens go to their experts only. Other makers' machines: the same, always.
 * see: transformers-neuronx, layers/attention.py (flash_attention) and llama/hlo.py; neuronx-distributed-inference,
 * modules/attention/attention_base.py (get_flash_attention_strategy); neuronx-distributed, modules/moe/expert_mlps.py (forward).
 */
import type { Cluster } from '../../fabric/cluster.ts';
import type { Software } from '../../models/graph.ts';
import type { ModelSpec } from '../../models/spec.ts';

const FLASH_FROM = 4096;
const FLASH_FROM_LNC2 = 1024;

export function usesFlash(
  { software }: { readonly software: Software },
  phase: 'prefill' | 'decode',
  sequences: number,
  seqQ: number,
  { lnc, system }: Cluster,
): boolean {
  if (software !== 'compiler' || system.chip.cores === null) return true;
  return phase === 'prefill' && sequences === 1 && seqQ >= (lnc === 2 ? FLASH_FROM_LNC2 : FLASH_FROM);
}

/** The model as the software routes `tokens` tokens: through all experts means topK = experts. */
export function routedModel(
  model: ModelSpec,
  software: Software,
  { system }: Cluster,
  phase: 'prefill' | 'decode',
  tokens: number,
): ModelSpec {
  if (software !== 'compiler' || system.chip.cores === null) return model;
  const kinds = model.kinds.map((kind) => {
    const { mlp } = kind;
    if (mlp.kind !== 'moe' || (phase === 'decode' && tokens * mlp.topK < mlp.experts)) return kind;
    return { ...kind, mlp: { ...mlp, topK: mlp.experts } };
  });
  return { ...model, kinds };
}
