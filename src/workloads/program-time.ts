/**
 * What an operator takes as a part of a program that is compiled as a whole for a NeuronCore: the DMA queues run ahead of the
 * engines, so its latency does not count.
 *
 * - `compiler`: activations of prompts and of training do not fit into SBUF; they spill between operators, and engines wait for
 *   what is loaded again. Weights are known ahead: in inference they are on their way while the operator before computes.
 * - Decoding, and hand-written kernels: all loads and stores run beside the engines.
 */
import type { Seconds } from '../base/units.ts';
import type { OperatorCost } from '../core/operator-case.ts';

/** @param waited part of the loads and stores that engines wait for, 0 to 1 */
export function programTime({ busy }: OperatorCost, waited: number): Seconds {
  let busiest = 0;
  for (const engine in busy) if (engine !== 'DMA') busiest = Math.max(busiest, busy[engine]!);
  const loading = busy.DMA ?? 0;
  return waited * loading + Math.max((1 - waited) * loading, busiest);
}
