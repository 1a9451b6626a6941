/** The text of an inference run: latencies, where they go, memory of the fullest rank, energy and cost. */
import type { BreakdownNs, InferenceResult } from '../workloads/inference/infer.ts';
import { formatBytes, formatTime, significant } from './numbers.ts';
import { table } from './table.ts';

/** Parts of a step in the order of the table; one that takes no time is left out. */
const PARTS: readonly (readonly [keyof BreakdownNs | 'interruptionNs', string])[] = [
  ['matmulNs', 'matmuls with weights'],
  ['attentionNs', 'attention'],
  ['elementwiseNs', 'element-wise'],
  ['synchroniseNs', 'cores of a rank'],
  ['communicationNs', 'communication'],
  ['hostNs', 'host'],
  ['interruptionNs', "others' prefills"],
];

/** Report of `trnsim infer`. */
export function inferReport(result: InferenceResult): string {
  const { model, system, nodes, ranks, memory, breakdown } = result;
  const where = nodes === 1 ? system : `${nodes} x ${system}`;
  const title = `${model} on ${ranks} rank${ranks === 1 ? '' : 's'} of ${where} (model: ${result.fidelity})\n\n`;
  const parts = PARTS.map(([key, name]) => ({
    name,
    prefill: key === 'interruptionNs' ? 0 : breakdown.prefill[key],
    decode: breakdown.decode[key],
  })).filter(({ prefill, decode }) => prefill > 0 || decode > 0);
  const rows = table(
    [...parts, { name: 'together', prefill: result.ttftNs, decode: result.tpotNs }],
    [
      { title: '', value: ({ name }) => name },
      { title: 'first token', value: ({ prefill }) => formatTime(prefill), align: 'right' },
      { title: 'each token', value: ({ decode }) => formatTime(decode), align: 'right' },
    ],
  );
  const { weightsBytes, kvCacheBytes, activationsBytes, buffersBytes, totalBytes, capacityBytes } = memory;
  const held = [
    ['weights', weightsBytes],
    ['KV cache', kvCacheBytes],
    ['activations', activationsBytes],
    ['buffers', buffersBytes],
  ] as const;
  const perMTok = (value: number | null, unit: string) =>
    value === null ? '' : `${significant(value)} ${unit} per million tokens; `;
  const totals = table(
    [
      [
        'throughput',
        `${significant(result.tokensPerS)} tokens/s, ${significant(result.tokensPerSPerSequence)} a sequence${result.tokensPerStep > 1 ? `, ${significant(result.tokensPerStep)} a step` : ''}`,
      ],
      [
        'memory',
        `${formatBytes(totalBytes)} of ${formatBytes(capacityBytes)} on the fullest rank: ${held.map(([name, bytes]) => `${name} ${formatBytes(bytes)}`).join(', ')}`,
      ],
      ['energy', `${perMTok(result.energyPerMTokJ, 'J')}${result.energyReason}`],
      ['cost', `${perMTok(result.costPerMTokUsd, 'USD')}${result.costReason}`],
    ] as const,
    [
      { title: '', value: ([name]) => name },
      { title: '', value: ([, text]) => text },
    ],
  );
  return `${title}${rows}\n${totals}`;
}
