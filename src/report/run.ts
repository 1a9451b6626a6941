/** The text of a layer's run: the time table, the collective, the totals and the check. */
import type { RunResult } from '../workloads/run.ts';
import { formatBytes, formatTime, significant } from './numbers.ts';
import { table } from './table.ts';

/** Report of `trnsim run`; `model` is how the user called it. */
export function runReport(model: string, result: RunResult): string {
  const { tp, rank, coresPerRank, collective, memory } = result;
  const ranks = `${tp} ranks (${rank === 'chip' ? 'a chip each, ' : ''}${coresPerRank} core${coresPerRank === 1 ? '' : 's'} a rank)`;
  const title = `One decoder layer of ${model}, ${result.tokens} tokens, ${result.dtype}, on ${ranks} of ${result.system}\n\n`;
  const rows = table(result.breakdown, [
    { title: 'operator', value: (row) => row.name },
    { title: 'time', value: (row) => formatTime(row.timeNs), align: 'right' },
    { title: 'share', value: (row) => `${((100 * row.timeNs) / result.timeNs).toFixed(1)} %`, align: 'right' },
    { title: 'bound by', value: (row) => row.bound },
    {
      title: 'TFLOP/s',
      value: (row) => (row.flops > 0 ? significant(row.flops / row.timeNs / 1e3) : ''),
      align: 'right',
    },
    { title: 'HBM', value: (row) => (row.hbmBytes > 0 ? formatBytes(row.hbmBytes) : ''), align: 'right' },
  ]);
  const bandwidth =
    collective.algbwGBps === null || collective.busbwGBps === null
      ? 'nothing to move'
      : `algbw ${significant(collective.algbwGBps)} GB/s, busbw ${significant(collective.busbwGBps)} GB/s`;
  const totals = [
    ['layer', `${formatTime(result.timeNs)} (model: ${result.fidelity})`],
    [
      'all-reduce',
      `${collective.algorithm}, ${formatBytes(collective.bytes)}, ${collective.steps} steps, ${bandwidth}`,
    ],
    ['HBM', `${formatBytes(memory.chipBytes)} of ${formatBytes(memory.chipCapacityBytes)} on a chip`],
    ['energy', known(result.energyJ, 'J', result.energyReason)],
    ['cost', known(result.costUsd, 'USD', result.costReason)],
    [
      'check',
      `${result.ok ? 'ok' : 'FAILED'}: max relative error ${significant(result.maxRelError)} against FP32 on one rank, bound ${significant(result.errorBound)}${result.ranksAgree ? '' : '; the ranks disagree'}`,
    ],
  ] as const;
  const lines = table(totals, [
    { title: '', value: ([name]) => name },
    { title: '', value: ([, text]) => text },
  ]);
  return `${title}${rows}${lines}`;
}

/** The figure with its unit and what it rests on, or why it is not known. */
function known(value: number | null, unit: string, reason: string): string {
  return value === null ? `unknown: ${reason}` : `${significant(value)} ${unit} (${reason})`;
}
