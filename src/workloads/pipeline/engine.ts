/**
 * The event engine of pipelines: when each pass of an order starts and ends.
 *
 * A device runs its passes in order. A pass waits for its input: a forward pass for the stage before, a backward pass for
 * the stage after (the last stage's for its own forward pass), a weight gradient for its input gradient. What a neighbour
 * sends arrives `hop` after the pass, and no sooner than `hop` after the send before it in the same direction: sends are a
 * queue beside the computation.
 * Two passes that run together start when both can and take `pair` of their stages.
 */
import { ModelError } from '../../base/errors.ts';
import type { Seconds } from '../../base/units.ts';
import { type PipelineOrder, type PipelineShape, pipelineOrder } from './order.ts';
import { BACKWARD, FORWARD, INPUT, type Pass } from './pass.ts';

/** By virtual stage. */
export interface StageTimes {
  readonly forward: ArrayLike<Seconds>;
  /** Of the gradients of a stage's input, and of its weights. */
  readonly input: ArrayLike<Seconds>;
  readonly weight: ArrayLike<Seconds>;
  /** Both gradients in one piece; less than their sum where communication of one hides behind the other. */
  readonly backward: ArrayLike<Seconds>;
  /** A forward and a backward pass at the same time; their sum if left out. */
  readonly pair?: ArrayLike<Seconds>;
  /** From one device to the next. */
  readonly hop: Seconds;
}

export interface TimedPass extends Pass {
  readonly start: Seconds;
  readonly end: Seconds;
}

export interface PipelineRun {
  readonly time: Seconds;
  /** By device. */
  readonly passes: readonly (readonly TimedPass[])[];
  /** How long each device computes. */
  readonly busy: readonly Seconds[];
}

/** Ends of passes by stage and micro-batch; NaN: not yet. `arrived` is when a neighbour has the result. */
class Progress {
  readonly microBatches: number;
  readonly #forward: Float64Array;
  readonly #input: Float64Array;
  readonly forwardArrival: Float64Array;
  readonly inputArrival: Float64Array;
  readonly #stages: number;

  constructor(stages: number, microBatches: number) {
    const empty = () => new Float64Array(stages * microBatches).fill(Number.NaN);
    this.#stages = stages;
    this.microBatches = microBatches;
    this.#forward = empty();
    this.#input = empty();
    this.forwardArrival = empty();
    this.inputArrival = empty();
  }

  /** When the pass has all it waits for; NaN: nobody knows yet. */
  ready({ kind, stage, microBatch }: Pass): Seconds {
    const at = stage * this.microBatches + microBatch;
    if (kind === FORWARD) return stage === 0 ? 0 : this.forwardArrival[at - this.microBatches]!;
    const own = this.#forward[at]!;
    if (kind === BACKWARD || kind === INPUT) {
      return stage === this.#stages - 1 ? own : Math.max(own, this.inputArrival[at + this.microBatches]!);
    }
    return this.#input[at]!;
  }

  finish({ kind, stage, microBatch }: Pass, end: Seconds): void {
    const at = stage * this.microBatches + microBatch;
    if (kind === FORWARD) this.#forward[at] = end;
    else if (kind === BACKWARD || kind === INPUT) this.#input[at] = end;
  }
}

function duration(times: StageTimes, { kind, stage }: Pass): Seconds {
  if (kind === FORWARD) return times.forward[stage]!;
  return (kind === BACKWARD ? times.backward : kind === INPUT ? times.input : times.weight)[stage]!;
}

/** Both of a pair: half of each stage's own overlapped time. */
function pairDuration(times: StageTimes, first: Pass, second: Pass): Seconds {
  const { pair } = times;
  if (pair === undefined) return duration(times, first) + duration(times, second);
  return (pair[first.stage]! + pair[second.stage]!) / 2;
}

/**
 * Runs an order.
 * @throws ModelError PROGRAM if passes wait for each other in a circle
 */
export function runPipeline(order: PipelineOrder, times: StageTimes): PipelineRun {
  const { devices, stages, microBatches } = order;
  const progress = new Progress(stages, microBatches);
  const free = new Float64Array(devices);
  const busy = new Float64Array(devices);
  const sendFree = { forward: new Float64Array(devices), input: new Float64Array(devices) };
  const next = new Int32Array(devices);
  const timed: TimedPass[][] = order.passes.map(() => []);

  const send = (device: number, pass: Pass, end: Seconds): void => {
    const isForward = pass.kind === FORWARD;
    const queue = isForward ? sendFree.forward : sendFree.input;
    const hop = devices === 1 ? 0 : times.hop;
    const at = pass.stage * microBatches + pass.microBatch;
    const isEnd = pass.stage === (isForward ? stages - 1 : 0);
    const arrival = isEnd ? end : Math.max(end, queue[device]!) + hop;
    if (!isEnd) queue[device] = arrival;
    (isForward ? progress.forwardArrival : progress.inputArrival)[at] = arrival;
  };
  const record = (device: number, pass: Pass, start: Seconds, end: Seconds): void => {
    progress.finish(pass, end);
    if (pass.kind <= INPUT) send(device, pass, end);
    timed[device]!.push({ ...pass, start, end });
    free[device] = end;
  };
  /** Runs the device's next pass, or pair, if it can. */
  const advance = (device: number): boolean => {
    const pass = order.passes[device]![next[device]!];
    if (pass === undefined) return false;
    const other = pass.together ? order.passes[device]![next[device]! + 1] : undefined;
    const ready = Math.max(progress.ready(pass), other === undefined ? 0 : progress.ready(other));
    if (Number.isNaN(ready)) return false;
    const start = Math.max(free[device]!, ready);
    const length = other === undefined ? duration(times, pass) : pairDuration(times, pass, other);
    record(device, pass, start, start + length);
    if (other !== undefined) record(device, other, start, start + length);
    busy[device]! += length;
    next[device]! += other === undefined ? 1 : 2;
    return true;
  };

  for (let isMoving = true; isMoving; ) {
    isMoving = false;
    for (let device = 0; device < devices; device++) {
      while (advance(device)) isMoving = true;
    }
  }
  const stuck = order.passes.findIndex((passes, device) => next[device]! < passes.length);
  if (stuck >= 0) {
    throw new ModelError(
      'PROGRAM',
      'order',
      `expected an order without circles, got one that stops on device ${stuck}`,
    );
  }
  return { time: free.reduce((latest, end) => Math.max(latest, end), 0), passes: timed, busy: [...busy] };
}

/** Rounds that are run at most; what is left of a steady state that sets in later is an error below its change in one round. */
const MAX_ROUNDS = 256;

/**
 * Time of a schedule for any number of micro-batches: past the start each further round of `devices` micro-batches
 * (`2 devices` of dualpipe) takes the same time, which is measured, and multiplied. The start is over when a round takes as
 * long as the one before, and no less than the slowest device works on it.
 */
export function makespan(shape: PipelineShape, times: StageTimes): Seconds {
  const { devices, microBatches, schedule } = shape;
  const round = (schedule === 'dualpipe' ? 2 : 1) * devices;
  const run = (count: number) => runPipeline(pipelineOrder({ ...shape, microBatches: count }), times);
  let last = Number.NaN;
  for (let rounds = 4; ; rounds = Math.min(2 * rounds, MAX_ROUNDS)) {
    const count = (microBatches % round) + rounds * round;
    if (count >= microBatches) return run(microBatches).time;
    const [before, after] = [run(count - round), run(count)];
    const difference = after.time - before.time;
    const work = after.busy.reduce((most, busy, device) => Math.max(most, busy - before.busy[device]!), 0);
    const isSteady = Math.abs(difference - last) <= 1e-12 * difference && difference >= work * (1 - 1e-12);
    if (isSteady || rounds === MAX_ROUNDS) return after.time + ((microBatches - count) / round) * difference;
    last = difference;
  }
}
