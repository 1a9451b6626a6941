/**
 * What the levels of software decide beside the graph (`models/graph.ts`): which program computes attention and experts.
 *
 * `compiler`, as the libraries choose when the compiler generates the layer:
 *
 *     attention  prompts of at least 4096 tokens (1024 on a logical core of two), one sequence at a time, use the flash
 *                kernel; everything else computes scores, softmax and values as operators of their own
 *     experts    a prompt goes through all experts, weighted by 0 where it was not routed; so does a decode step of n
 *                tokens if n x topK >= experts, otherwise the experts of each token are loaded for it alone
 *
 * `library` and `megakernel`: flash attention, and tokens go to their experts only, in a prompt in blocks of 512 rows. Other
 * makers' machines: flash attention and routed tokens, always.
 * see: transformers-neuronx, layers/attention.py (flash_attention) and llama/hlo.py; neuronx-distributed-inference,
 * modules/attention/attention_base.py (get_flash_attention_strategy); neuronx-distributed, modules/moe/expert_mlps.py
 * (forward) and model_utils.py (DEFAULT_BLOCK_SIZE).
 */
import type { Cluster } from '../../fabric/cluster.ts';
import type { Software, Step } from '../../models/graph.ts';
import type { ModelSpec } from '../../models/spec.ts';

const FLASH_FROM = 4096;
const FLASH_FROM_LNC2 = 1024;

export function usesFlash(
  software: Software,
  phase: 'prefill' | 'decode',
  sequences: number,
  seqQ: number,
  { lnc, system }: Cluster,
): boolean {
  if (software !== 'compiler' || system.chip.cores === null || phase === 'decode') return true;
  return sequences === 1 && seqQ >= (lnc === 2 ? FLASH_FROM_LNC2 : FLASH_FROM);
}

/** Rows of a block of the kernel that computes experts of a prompt. */
const EXPERT_BLOCK = 512;

/** How the experts of a step of `tokens` tokens are computed. */
export function expertProgram(
  software: Software,
  phase: 'prefill' | 'decode',
  tokens: number,
  { system }: Cluster,
  model: ModelSpec,
): Pick<Step, 'experts' | 'expertBlock'> {
  if (system.chip.cores === null) return { experts: 'routed', expertBlock: 1 };
  if (software !== 'compiler') return { experts: 'routed', expertBlock: phase === 'prefill' ? EXPERT_BLOCK : 1 };
  const isFew = model.kinds.every(({ mlp }) => mlp.kind !== 'moe' || tokens * mlp.topK < mlp.experts);
  return { experts: phase === 'decode' && isFew ? 'per-token' : 'all', expertBlock: 1 };
}
