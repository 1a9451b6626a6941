/**
 * Pipeline schedules as data: for each device the passes that it runs, in order. The engine (`engine.ts`) knows no schedule.
 *
 * | schedule    | order on device d of p, m micro-batches                                                     |
 * |-------------|---------------------------------------------------------------------------------------------|
 * | gpipe       | m forward, then m backward passes                                                           |
 * | 1f1b        | p - d - 1 forward, then forward and backward in turn                                        |
 * | interleaved | the same over v chunks, 2 (p - d - 1) + (v - 1) p forward passes first, micro-batches by p   |
 * | zb-h1       | 1f1b whose weight gradients fill the gaps; at most p micro-batches wait for theirs           |
 * | dualpipe    | two pipelines in opposite directions; forward and backward passes of different ones overlap   |
 *
 *
 * see: GPipe, arXiv:1811.06965; Narayanan et al., arXiv:2104.04473, section 2.2; Qi et al., Zero Bubble, arXiv:2401.10241,
 * section 2.2; DeepSeek-V3, arXiv:2412.19437, section 3.2.1.
 */
import { expectInteger, expectOneOf } from '../../base/errors.ts';
import { type PipelineSchedule, SCHEDULES } from '../../models/in-flight.ts';
import { dualPipePasses } from './dual-pipe.ts';
import { BACKWARD, FORWARD, type Pass } from './pass.ts';
import { zeroBubblePasses } from './zero-bubble.ts';

export interface PipelineOrder {
  readonly schedule: PipelineSchedule;
  readonly devices: number;
  /** Virtual stages that a micro-batch goes through: devices x chunks, except that both pipelines of dualpipe have `devices`. */
  readonly stages: number;
  readonly microBatches: number;
  /** By device. */
  readonly passes: readonly (readonly Pass[])[];
}

export interface PipelineShape {
  readonly schedule: PipelineSchedule;
  readonly devices: number;
  /** Chunks of a device; 1 except for `interleaved`. */
  readonly chunks: number;
  readonly microBatches: number;
}

/** Why a schedule does not exist for a shape; null if it does. */
export function whyNoSchedule({ schedule, devices, chunks, microBatches }: PipelineShape): string | null {
  if (chunks > 1 && schedule !== 'interleaved') return `"interleave" expected 1 with ${schedule}, got ${chunks}`;
  if (schedule === 'interleaved' && devices > 1 && microBatches % devices !== 0) {
    return `"microBatches" expected a multiple of pp = ${devices} for interleaved, got ${microBatches}`;
  }
  if (schedule !== 'dualpipe' || devices === 1) return null;
  if (devices % 2 === 1) return `"pp" expected an even number for dualpipe, got ${devices}`;
  if (microBatches % 2 === 1 || microBatches < 2 * devices) {
    return `"microBatches" expected an even number >= 2 pp = ${2 * devices} for dualpipe, got ${microBatches}`;
  }
  return null;
}

/** More passes than this are not written out; a steady state is found in less (`makespan`). */
const MAX_PASSES = 2 ** 24;

/**
 * The order of a schedule.
 * @throws RangeError for a shape that the schedule does not exist for, or of more than 2^24 passes
 */
export function pipelineOrder(shape: PipelineShape): PipelineOrder {
  const { schedule, devices, chunks, microBatches } = shape;
  expectOneOf('schedule', schedule, SCHEDULES);
  expectInteger('devices', devices, 1, 2 ** 16);
  expectInteger('chunks', chunks, 1, 2 ** 10);
  expectInteger('microBatches', microBatches, 1, Math.floor(MAX_PASSES / (devices * chunks)));
  const reason = whyNoSchedule(shape);
  if (reason !== null) throw new RangeError(reason);
  return { schedule, devices, stages: devices * chunks, microBatches, passes: passesOf(shape) };
}

function passesOf(shape: PipelineShape): Pass[][] {
  const { schedule, devices, chunks, microBatches } = shape;
  const each = (of: (device: number) => Pass[]) => Array.from({ length: devices }, (_, device) => of(device));
  switch (schedule) {
    case 'gpipe':
      return each((stage) =>
        alternating(microBatches, microBatches, (kind, microBatch) => ({ kind, stage, microBatch })),
      );
    case '1f1b':
      return each((stage) =>
        alternating(devices - stage - 1, microBatches, (kind, microBatch) => ({ kind, stage, microBatch })),
      );
    case 'interleaved':
      return each((device) => interleaved(device, devices, chunks, microBatches));
    case 'zb-h1':
      return each((device) => zeroBubblePasses(device, devices, microBatches));
    case 'dualpipe':
      // One device has nothing to overlap with.
      return devices === 1 ? passesOf({ ...shape, schedule: '1f1b' }) : dualPipePasses(devices, microBatches);
  }
}

/** `ahead` forward passes, then forward and backward in turn, then the backward passes that are left. */
function alternating(
  ahead: number,
  count: number,
  pass: (kind: typeof FORWARD | typeof BACKWARD, index: number) => Pass,
): Pass[] {
  const passes: Pass[] = [];
  const first = Math.min(ahead, count);
  for (let i = 0; i < first; i++) passes.push(pass(FORWARD, i));
  for (let i = 0; i < count; i++) {
    if (first + i < count) passes.push(pass(FORWARD, first + i));
    passes.push(pass(BACKWARD, i));
  }
  return passes;
}

/** Groups of p micro-batches go through chunk 0, then through chunk 1 ..., backwards from the last chunk. */
function interleaved(device: number, devices: number, chunks: number, microBatches: number): Pass[] {
  // A single group has all its forward passes before the first backward pass of the first device.
  const ahead = 2 * (devices - device - 1) + (chunks - 1) * devices;
  return alternating(ahead, microBatches * chunks, (kind, index) => {
    const group = Math.floor(index / (devices * chunks));
    const inGroup = index % (devices * chunks);
    const turn = Math.floor(inGroup / devices);
    const chunk = kind === FORWARD ? turn : chunks - 1 - turn;
    return { kind, stage: chunk * devices + device, microBatch: group * devices + (inGroup % devices) };
  });
}
