/** The text of a training step: where the time goes, throughput, memory of the fullest rank, energy and cost. */
import type { TrainingBreakdown, TrainingResult } from '../workloads/training/train.ts';
import { formatBytes, formatTime, significant } from './numbers.ts';
import { table } from './table.ts';

/**
 * Parts of a step in the order of the table; one that takes no time is left out. Exchanges count
 * only as far as nothing hides them.
 */
const PARTS: readonly (readonly [keyof TrainingBreakdown, string])[] = [
  ['computeNs', 'computing'],
  ['tensorParallelNs', 'tensor parallelism, exposed'],
  ['contextParallelNs', 'context parallelism, exposed'],
  ['expertParallelNs', 'expert parallelism, exposed'],
  ['stallNs', 'passes waiting for exchanges and host'],
  ['bubbleNs', 'pipeline bubble and hops'],
  ['gradientsNs', 'gradients, exposed'],
  ['weightsNs', 'weights, exposed'],
  ['optimizerNs', 'optimizer'],
  ['hostNs', 'host'],
];

/** A plan in a few words: `tp 8, pp 4 (interleaved, 2 chunks), dp 16, ...` */
export function planText(plan: TrainingResult['plan']): string {
  const { tp, sp, pp, dp, cp, cpMode, ep, expertTp, zero, schedule, interleave, microBatch, microBatches, recompute } =
    plan;
  const chunks = interleave > 1 ? `, ${interleave} chunks` : '';
  return [
    `tp ${tp}${sp ? ' with sequence parallelism' : ''}`,
    pp > 1 ? `pp ${pp} (${schedule}${chunks})` : 'pp 1',
    `dp ${dp}`,
    ...(cp > 1 ? [`cp ${cp} (${cpMode})`] : []),
    ...(ep > 1 ? [`ep ${ep}${expertTp > 1 ? ` x ${expertTp}` : ''}`] : []),
    `ZeRO ${zero}`,
    `${microBatches} micro-batches of ${microBatch}`,
    `recompute ${recompute}`,
    ...(plan.placement === 'tp-cp-dp-pp' ? [] : [plan.placement]),
  ].join(', ');
}

/** Report of `trnsim train`. */
export function trainReport(result: TrainingResult): string {
  const { model, ranks, system, nodes, breakdown, memory, stepTimeNs } = result;
  const where = nodes === 1 ? system : `${nodes} x ${system}`;
  const title = `One training step of ${model} on ${ranks} rank${ranks === 1 ? '' : 's'} of ${where} (model: ${result.fidelity})\n${planText(result.plan)}\n\n`;
  const rows = [
    ...PARTS.map(([key, name]) => ({ name, time: breakdown[key] })).filter(({ time }) => time > 0),
    { name: 'step', time: stepTimeNs },
  ];
  const times = table(rows, [
    { title: '', value: ({ name }) => name },
    { title: 'time', value: ({ time }) => formatTime(time), align: 'right' },
    { title: 'share', value: ({ time }) => `${((100 * time) / stepTimeNs).toFixed(1)} %`, align: 'right' },
  ]);
  const held = (
    [
      ['weights', memory.weightsBytes],
      ['gradients', memory.gradientsBytes],
      ['optimizer', memory.optimizerBytes],
      ['activations', memory.activationsBytes],
      ['buffers', memory.buffersBytes],
    ] as const
  ).map(([name, bytes]) => `${name} ${formatBytes(bytes)}`);
  // An unknown figure is left out: the reason that follows says that it is.
  const perMTok = (value: number | null, unit: string) =>
    value === null ? '' : `${significant(value)} ${unit} per million tokens; `;
  const totals = table(
    [
      [
        'throughput',
        `${significant(result.tokensPerS)} tokens/s, ${significant(result.sequencesPerS)} sequences/s of ${result.seq}`,
      ],
      [
        'MFU',
        result.mfu === null
          ? `unknown: ${result.mfuReason}`
          : `${(100 * result.mfu).toFixed(1)} % (${result.mfuReason})`,
      ],
      [
        'memory',
        `${formatBytes(memory.totalBytes)} of ${formatBytes(memory.capacityBytes)} on a rank of stage ${memory.stage}: ${held.join(', ')}`,
      ],
      ['energy', `${perMTok(result.energyPerMTokJ, 'J')}${result.energyReason}`],
      ['cost', `${perMTok(result.costPerMTokUsd, 'USD')}${result.costReason}`],
    ] as const,
    [
      { title: '', value: ([name]) => name },
      { title: '', value: ([, text]) => text },
    ],
  );
  return `${title}${times}\n${totals}`;
}
