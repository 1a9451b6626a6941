/** The text of a training run: the time table, the totals, the losses and the checks. */
import type { TrainingRunResult } from '../workloads/training-run.ts';
import { formatBytes, formatTime, significant } from './numbers.ts';
import { table } from './table.ts';

/** Report of `trnsim run --backward`; `model` is how the user called it. */
export function trainingRunReport(model: string, result: TrainingRunResult): string {
  const { layers, sequences, tokens, tp, dp, coresPerRank, memory } = result;
  const where = `TP ${tp} x DP ${dp} on ${result.system} (${coresPerRank} core${coresPerRank === 1 ? '' : 's'} a rank)`;
  const what = `${layers} layer${layers === 1 ? '' : 's'} of ${model}, ${dp} x ${sequences} x ${tokens} tokens, ${result.dtype}`;
  const rows = table(result.breakdown, [
    { title: 'operator', value: (row) => row.name },
    { title: 'pass', value: (row) => row.pass },
    { title: 'times', value: (row) => String(row.count), align: 'right' },
    { title: 'time', value: (row) => formatTime(row.timeNs), align: 'right' },
    { title: 'bound by', value: (row) => row.bound },
    {
      title: 'TFLOP/s',
      value: (row) => (row.flops > 0 ? significant(row.flops / row.timeNs / 1e3) : ''),
      align: 'right',
    },
    { title: 'HBM', value: (row) => (row.hbmBytes > 0 ? formatBytes(row.hbmBytes) : ''), align: 'right' },
  ]);
  const { persistentBytesPerRank, activationBytesPerRank, chipBytes, chipCapacityBytes } = memory;
  const totals: (readonly [string, string])[] = [
    ['step', `${formatTime(result.timeNs)}, ${formatTime(result.exposedNs)} of it waiting for collectives`],
    [
      'HBM',
      `${formatBytes(chipBytes)} of ${formatBytes(chipCapacityBytes)} on a chip; a rank has ${formatBytes(persistentBytesPerRank)} of weights, gradients and states and ${formatBytes(activationBytesPerRank)} of activations`,
    ],
    ['energy', known(result.energyJ, 'J a step', result.energyReason)],
    ['cost', known(result.costUsd, 'USD a step', result.costReason)],
    ['loss', lossText(result)],
    ['check', checkText(result)],
    ...(result.finiteDifference ? ([['slope', slopeText(result.finiteDifference)]] as const) : []),
    ...(result.flip ? ([['flipped bit', flipText(result.flip)]] as const) : []),
  ];
  const lines = table(totals, [
    { title: '', value: ([name]) => name },
    { title: '', value: ([, text]) => text },
  ]);
  return `${what}, ${where}\n\n${rows}${lines}`;
}

/** The first, the last, and a few between. */
function lossText({ losses, loss, referenceLoss }: TrainingRunResult): string {
  const every = Math.ceil(losses.length / 8);
  const shown = losses.filter((_, i) => i % every === 0 || i === losses.length - 1);
  const numbers = shown.map((value) => (value === null ? 'not finite' : significant(value))).join(', ');
  return `${numbers} (${loss}; ${significant(referenceLoss)} at first in FP32 on one rank)`;
}

/** How far the first step is off the reference, in which matrix most (without gradients: the loss), and the bound on it. */
function checkText({ ok, maxRelError, errorBound, worstMatrix, ranksAgree }: TrainingRunResult): string {
  const error = maxRelError === null ? 'not finite' : significant(maxRelError);
  const copies = ranksAgree ? '' : '; copies of the weights differ';
  return `${ok ? 'ok' : 'FAILED'}: max relative error ${error} (${worstMatrix}) against FP32 on one rank, bound ${significant(errorBound)}${copies}`;
}

/** The gradient along one direction against the loss itself, moved a little both ways. */
function slopeText({ predicted, measured, relError }: NonNullable<TrainingRunResult['finiteDifference']>): string {
  return `${significant(predicted)} along the gradient, ${significant(measured)} by finite differences, relative error ${significant(relError)}`;
}

/** What the flipped bit did, and which check of the machine would have noticed. */
function flipText({ target, rank, element, bit, step, ...flip }: NonNullable<TrainingRunResult['flip']>): string {
  const effect = flip.weightError === null ? 'weights not finite' : `weights off by ${significant(flip.weightError)}`;
  const found =
    flip.detectedBy === null
      ? 'no check of the machine itself notices'
      : flip.detectedBy === 'replicas'
        ? 'copies of the weights differ'
        : 'a number is not finite';
  return `bit ${bit} of ${target} ${element} on rank ${rank} in step ${step}: ${effect}, last loss ${significant(flip.lossWithout)} without it; ${found}`;
}

/** The figure with its unit and what it rests on, or why it is not known. */
function known(value: number | null, unit: string, reason: string): string {
  return value === null ? `unknown: ${reason}` : `${significant(value)} ${unit} (${reason})`;
}
