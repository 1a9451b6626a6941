/**
 * Time of a pipeline in closed form, without allocating: what a search evaluates instead of running the events.
 *
 *     time = m x work of the slowest device + bubble + hops
 *
 * | schedule    | bubble                                                        | hops                      |
 * |-------------|---------------------------------------------------------------|---------------------------|
 * | gpipe, 1f1b | sum(F + B) of the other devices                               | 2 (p - 1)                 |
 * | interleaved | sum(F + B) / v of the other devices                           | 2 (p v - 1)               |
 * | zb-h1       | sum(F + I - W) of the other devices                           | 4 (p - 1)                 |
 * | dualpipe    | (p/2 - 1)(F&B - 2 W) + max((p/2 - 1) F, (p/2 - 1)(I + hop) - F) | m - ceil((m - 2) / p) + 3 (p/2 - 1) |
 *
 * F, B = I + W are a device's forward and backward work for one micro-batch, F&B the two at the same time. In 1f1b a device waits for
 * the return of a micro-batch after it has sent p: each wave of p takes a round trip, sum(F + B) + 2 (p - 1) hops, if that is longer;
 * in zb-h1 likewise, sum(F + I) + W + 2 (p - 1) hops, from W < 2 hops on. The papers give zb-h1 and dualpipe without hops, and
 * dualpipe where F = I: there its bubble is DeepSeek's (p/2 - 1)(F&B + B - 3 W), of the middle devices, which overlap most.
 *
 * Equal stages: exactly the events, as long as a hop is shorter than a pass, W than F and I, and F&B longer than F and B alone. Unequal ones of
 * at most 1.3 times another's work: within 5 % in nine of ten, 7 % below and 13 % above at most (tests).
 * see: the papers named in order.ts.
 */
import type { Seconds } from '../../base/units.ts';
import type { PipelineSchedule } from '../../models/in-flight.ts';

/** Work of the stages and of a hop between devices; written by the caller, and used again. */
export interface PipelineWork {
  /** By virtual stage, as `StageTimes`. */
  readonly forward: Float64Array;
  readonly input: Float64Array;
  readonly weight: Float64Array;
  readonly backward: Float64Array;
  readonly pair: Float64Array;
  hop: Seconds;
  /** From the first forward pass to the last backward pass: written by `pipelineTime`, as a returned number is allocated. */
  time: Seconds;
}

export function pipelineWork(stages: number): PipelineWork {
  const times = () => new Float64Array(stages);
  return { forward: times(), input: times(), weight: times(), backward: times(), pair: times(), hop: 0, time: 0 };
}

/** Writes the time of the work into it. */
export function pipelineTime(
  schedule: PipelineSchedule,
  devices: number,
  chunks: number,
  microBatches: number,
  work: PipelineWork,
): void {
  const { forward, input, weight, backward, hop } = work;
  if (devices > 1 && schedule === 'dualpipe') {
    dualPipeTime(devices, microBatches, work);
    return;
  }
  const isSplit = schedule === 'zb-h1';
  let slowest = 0;
  let slowestWeight = 0;
  let slowestBubble = 0;
  let slowestBackward = 0;
  let all = 0;
  let bubble = 0;
  let mostForward = 0;
  for (let device = 0; device < devices; device++) {
    let f = 0;
    let b = 0;
    let w = 0;
    for (let stage = device; stage < devices * chunks; stage += devices) {
      f += forward[stage]!;
      b += isSplit ? input[stage]! : backward[stage]!;
      w += isSplit ? weight[stage]! : 0;
    }
    all += f + b;
    bubble += f + b - w;
    if (f > mostForward) mostForward = f;
    if (b > slowestBackward) slowestBackward = b;
    if (f + b + w > slowest) {
      slowest = f + b + w;
      slowestWeight = w;
      slowestBubble = f + b - w;
    }
  }
  const hops = 2 * (devices - 1) * hop;
  if (devices === 1) {
    work.time = microBatches * slowest;
    return;
  }
  if (schedule === 'gpipe') {
    // Two flow shops, one after the other, whose slowest devices need not be the same.
    work.time = all + (microBatches - 1) * (mostForward + slowestBackward) + hops;
    return;
  }
  const rest = bubble - slowestBubble;
  if (chunks > 1) {
    work.time = microBatches * slowest + rest / chunks + 2 * (devices * chunks - 1) * hop;
    return;
  }
  const waves = Math.floor((microBatches - 1) / devices);
  const left = (microBatches - 1) % devices;
  const leftHops = 2 * Math.max(0, left - 1) * hop;
  // Of the weight gradients that zb-h1 has put off, the ways back.
  const returns = !isSplit ? 0 : waves === 0 ? leftHops : hops;
  const steady = microBatches * slowest + rest + hops + returns;
  const weights = slowestWeight * (1 + waves + Math.min(1, waves, left));
  const roundTrips = (all + hops) * (1 + waves) + left * (all / devices) + leftHops + weights;
  work.time = Math.max(steady, roundTrips);
}

function dualPipeTime(devices: number, microBatches: number, work: PipelineWork): void {
  const { forward, input, weight, backward, pair, hop } = work;
  const half = devices / 2;
  // Blocks four and five of the order on the middle devices.
  const pairs = microBatches - devices - 1;
  let slowest = 0;
  let overlap = 0;
  let f = 0;
  let i = 0;
  for (let place = 0; place < half; place++) {
    const mirror = devices - 1 - place;
    const both = forward[place]! + backward[place]! + forward[mirror]! + backward[mirror]!;
    const overlapped = (pair[place]! + pair[mirror]!) / 2;
    slowest = Math.max(slowest, (microBatches / 2) * both - pairs * (both / 2 - overlapped));
    overlap += (overlapped - weight[place]! - weight[mirror]!) / half;
    f += (forward[place]! + forward[mirror]!) / devices;
    i += (input[place]! + input[mirror]!) / devices;
  }
  const bubble = (half - 1) * overlap + Math.max((half - 1) * f, (half - 1) * (i + hop) - f);
  const hops = microBatches - Math.ceil((microBatches - 2) / devices) + 3 * (half - 1);
  work.time = slowest + bubble + hops * hop;
}
