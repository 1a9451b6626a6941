/**
 * A collective as data: steps of transfers between ranks, each a copy or an add of a range of elements.
 *
 * One schedule serves two executors: `numeric.ts` moves the real bytes, `clock.ts` charges the same transfers to links.
 * All transfers of a step happen at once: each reads what was there before the step.
 * Transfers are held in typed arrays, step by step (compressed rows): step s is transfers stepStart[s] .. stepStart[s+1]-1.
 * Ranks keep their input in place, so offsets are element positions in one buffer of `elements` per rank.
 */
import { expectInteger } from '../base/errors.ts';
import type { Bytes } from '../base/units.ts';

export type Collective = 'all-reduce' | 'all-gather' | 'reduce-scatter' | 'all-to-all' | 'send-recv';

export interface Schedule {
  readonly collective: Collective;
  readonly algorithm: 'ring';
  readonly ranks: number;
  /** Length of every rank's buffer. */
  readonly elements: number;
  readonly steps: number;
  /** steps + 1 entries. */
  readonly stepStart: Int32Array;
  /** One entry per transfer from here on: ranks, first elements, and number of elements (> 0). */
  readonly source: Int32Array;
  readonly destination: Int32Array;
  readonly sourceOffset: Float64Array;
  readonly destinationOffset: Float64Array;
  readonly length: Float64Array;
  /** 1: the destination adds to what it holds; 0: it overwrites. */
  readonly reduce: Uint8Array;
}

export interface Transfer {
  readonly source: number;
  readonly destination: number;
  readonly sourceOffset: number;
  readonly destinationOffset: number;
  readonly length: number;
  readonly reduce: boolean;
}

/**
 * Collects transfers step by step. Empty transfers, and steps with no other, are left out: they cost nothing.
 * Columns, not a list of objects, as a ring of 512 ranks has half a million transfers.
 */
export class ScheduleBuilder {
  readonly #stepStart: number[] = [0];
  readonly #source: number[] = [];
  readonly #destination: number[] = [];
  readonly #sourceOffset: number[] = [];
  readonly #destinationOffset: number[] = [];
  readonly #length: number[] = [];
  readonly #reduce: number[] = [];

  add({ source, destination, sourceOffset, destinationOffset, length, reduce }: Transfer): void {
    if (length === 0) return;
    this.#source.push(source);
    this.#destination.push(destination);
    this.#sourceOffset.push(sourceOffset);
    this.#destinationOffset.push(destinationOffset);
    this.#length.push(length);
    this.#reduce.push(reduce ? 1 : 0);
  }

  endStep(): void {
    const transfers = this.#length.length;
    if (transfers > this.#stepStart.at(-1)!) this.#stepStart.push(transfers);
  }

  /** The schedule so far; ends the last step if `endStep` has not. */
  build(header: Pick<Schedule, 'collective' | 'algorithm' | 'ranks' | 'elements'>): Schedule {
    this.endStep();
    return {
      ...header,
      steps: this.#stepStart.length - 1,
      stepStart: new Int32Array(this.#stepStart),
      source: new Int32Array(this.#source),
      destination: new Int32Array(this.#destination),
      sourceOffset: new Float64Array(this.#sourceOffset),
      destinationOffset: new Float64Array(this.#destinationOffset),
      length: new Float64Array(this.#length),
      reduce: new Uint8Array(this.#reduce),
    };
  }
}

/**
 * First element of chunk `index` of `elements` cut into `chunks`: the first `elements % chunks` are one longer.
 * Chunk i is [chunkStart(i), chunkStart(i + 1)).
 */
export function chunkStart(elements: number, chunks: number, index: number): number {
  return index * Math.floor(elements / chunks) + Math.min(index, elements % chunks);
}

/** Bytes that leave each rank. Float64Array[ranks]. */
export function bytesSent(schedule: Schedule, bytesPerElement: number): Float64Array {
  return bytesPerRank(schedule, schedule.source, bytesPerElement);
}

/** Bytes that arrive at each rank. Float64Array[ranks]. */
export function bytesReceived(schedule: Schedule, bytesPerElement: number): Float64Array {
  return bytesPerRank(schedule, schedule.destination, bytesPerElement);
}

/** Bytes of all transfers together. */
export function totalBytes(schedule: Schedule, bytesPerElement: number): Bytes {
  return schedule.length.reduce((sum, length) => sum + length, 0) * bytesPerElement;
}

/**
 * Transfers of step `step` that read a range which a transfer of the same step writes.
 * For them the order inside the step would matter, so an executor has to save their source first.
 * @throws RangeError if the schedule has no such step
 */
export function stepConflicts(schedule: Schedule, step: number): number[] {
  expectInteger('step', step, 0, schedule.steps - 1);
  const { source, destination, sourceOffset, destinationOffset, length } = schedule;
  const begin = schedule.stepStart[step]!;
  const end = schedule.stepStart[step + 1]!;
  const writesTo = new Map<number, number[]>();
  for (let t = begin; t < end; t++) {
    const writes = writesTo.get(destination[t]!);
    if (writes) writes.push(t);
    else writesTo.set(destination[t]!, [t]);
  }
  const conflicts: number[] = [];
  for (let t = begin; t < end; t++) {
    const readBegin = sourceOffset[t]!;
    const readEnd = readBegin + length[t]!;
    const overlaps = (w: number): boolean =>
      destinationOffset[w]! < readEnd && readBegin < destinationOffset[w]! + length[w]!;
    if (writesTo.get(source[t]!)?.some(overlaps)) conflicts.push(t);
  }
  return conflicts;
}

function bytesPerRank(schedule: Schedule, rankOf: Int32Array, bytesPerElement: number): Float64Array {
  const bytes = new Float64Array(schedule.ranks);
  schedule.length.forEach((length, t) => {
    bytes[rankOf[t]!]! += length * bytesPerElement;
  });
  return bytes;
}
