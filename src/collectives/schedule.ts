/**
 * A collective as a program: steps of transfers between ranks, each a copy or an add of a range of elements.
 *
 * One schedule serves two executors: `numeric.ts` moves the real bytes, `execute.ts` charges the same transfers to links.
 * All transfers of a step happen at once: each reads what was there before the step.
 * Every rank has one buffer of `elements`; its input and its output are ranges of it, the rest is scratch.
 *
 * A step is made when it is asked for, never stored: a ring of 512 ranks has half a million transfers, but one step of it
 * is 512, and all steps of a class load the links alike. So a clock looks at one step of each class.
 */
import { expectInteger, ModelError } from '../base/errors.ts';

export const COLLECTIVES = [
  'all-reduce',
  'all-gather',
  'reduce-scatter',
  'all-to-all',
  'broadcast',
  'reduce',
  'gather',
  'scatter',
  'permute',
  'send-recv',
  'barrier',
] as const;
export type Collective = (typeof COLLECTIVES)[number];

/** The destination overwrites with what arrives. */
export const COPY = 0;
/**
 * The destination reduces what arrives with what it holds. Transfers listed one after another that write the same range are
 * one reduction with one rounding; if the first of them is a COPY, what the destination held is not part of it.
 */
export const ADD = 1;
/**
 * The receiving side's DMA writes what the transfer listed before has just written once more, into a buffer on the same
 * chip: no read and no start of its own (KangaRing's "one read, two writes"). `source` is where that transfer wrote.
 */
export const DUPLICATE = 2;
export type Action = typeof COPY | typeof ADD | typeof DUPLICATE;

/** The transfers of one step, in columns. */
export interface Transfers {
  /** Endpoints. Where the two are equal, the transfer stays inside the rank's memory and crosses no link. */
  readonly source: Int32Array;
  readonly destination: Int32Array;
  readonly sourceOffset: Float64Array;
  readonly destinationOffset: Float64Array;
  /** Elements, > 0. */
  readonly length: Float64Array;
  readonly action: Uint8Array;
}

/** One range of each rank's buffer. */
export interface RankRanges {
  readonly offset: Float64Array;
  readonly length: Float64Array;
}

export interface Schedule {
  readonly collective: Collective;
  readonly algorithm: string;
  readonly ranks: number;
  /** The ranks and, numbered after them, switches that reduce and copy on the way; these have a buffer as well. */
  readonly endpoints: number;
  /** Length of every endpoint's buffer. */
  readonly elements: number;
  readonly input: RankRanges;
  readonly output: RankRanges;
  /** Ranks in the group of each rank, itself included; 0 for a rank that takes no part. */
  readonly groupSize: Int32Array;
  readonly steps: number;
  /**
   * Class of each step, 0 and up in order of appearance. Steps of one class have the same transfers between the same
   * endpoints, but for which of their ranges is one element longer where a buffer does not divide evenly.
   */
  readonly stepClass: Int32Array;
  /** The transfers of step 0 .. steps - 1. Made anew on each call. */
  readonly transfers: (step: number) => Transfers;
}

export interface Transfer {
  readonly source: number;
  readonly destination: number;
  readonly sourceOffset: number;
  readonly destinationOffset: number;
  readonly length: number;
  readonly action: Action;
}

/** A mesh of 2896 ranks: columns of 0.5 GB while they are collected. */
const MAX_STEP_TRANSFERS = 2 ** 23;

/** Collects the transfers of a step in columns. Empty transfers are left out: they cost nothing. */
export class TransferList {
  readonly #source: number[] = [];
  readonly #destination: number[] = [];
  readonly #sourceOffset: number[] = [];
  readonly #destinationOffset: number[] = [];
  readonly #length: number[] = [];
  readonly #action: number[] = [];

  add(
    source: number,
    destination: number,
    sourceOffset: number,
    destinationOffset: number,
    length: number,
    action: Action,
  ): void {
    if (length === 0) return;
    if (this.#length.length === MAX_STEP_TRANSFERS) {
      throw new ModelError('CAPACITY', 'step', `expected at most ${MAX_STEP_TRANSFERS} transfers, got more`);
    }
    this.#source.push(source);
    this.#destination.push(destination);
    this.#sourceOffset.push(sourceOffset);
    this.#destinationOffset.push(destinationOffset);
    this.#length.push(length);
    this.#action.push(action);
  }

  build(): Transfers {
    return {
      source: Int32Array.from(this.#source),
      destination: Int32Array.from(this.#destination),
      sourceOffset: Float64Array.from(this.#sourceOffset),
      destinationOffset: Float64Array.from(this.#destinationOffset),
      length: Float64Array.from(this.#length),
      action: Uint8Array.from(this.#action),
    };
  }
}

/** What a schedule of given steps is beside them. Input and output are the whole buffer of every rank if left out. */
export interface StoredHeader extends Pick<Schedule, 'collective' | 'algorithm' | 'ranks' | 'elements'> {
  readonly endpoints?: number;
  readonly input?: RankRanges;
  readonly output?: RankRanges;
}

/** The schedule of steps that are given one by one, each a class of its own. Steps without transfers are left out. */
export function storedSchedule(header: StoredHeader, steps: readonly (readonly Transfer[])[]): Schedule {
  const stored = steps
    .map((step) => {
      const list = new TransferList();
      for (const t of step) list.add(t.source, t.destination, t.sourceOffset, t.destinationOffset, t.length, t.action);
      return list.build();
    })
    .filter((step) => step.length.length > 0);
  return {
    endpoints: header.ranks,
    groupSize: new Int32Array(header.ranks).fill(header.ranks),
    input: wholeBuffers(header.ranks, header.elements),
    output: wholeBuffers(header.ranks, header.elements),
    ...header,
    steps: stored.length,
    stepClass: Int32Array.from(stored, (_, step) => step),
    transfers: (step) => stored[expectInteger('step', step, 0, stored.length - 1)]!,
  };
}

export function wholeBuffers(ranks: number, elements: number): RankRanges {
  return { offset: new Float64Array(ranks), length: new Float64Array(ranks).fill(elements) };
}

/**
 * First element of chunk `index` of `elements` cut into `chunks`: the first `elements % chunks` are one longer.
 * Chunk i is [chunkStart(i), chunkStart(i + 1)).
 */
export function chunkStart(elements: number, chunks: number, index: number): number {
  return index * Math.floor(elements / chunks) + Math.min(index, elements % chunks);
}

/**
 * Transfers of a step that read a range which a transfer of the same step writes.
 * For them the order inside the step would matter, so an executor has to save their source first. A DUPLICATE, which
 * reads what was just written, is not among them.
 */
export function stepConflicts(transfers: Transfers): number[] {
  const { source, destination, sourceOffset, destinationOffset, length, action } = transfers;
  // What is written, by endpoint: ranges by their begin, with how far any of them up to there reaches.
  const order = Array.from(length, (_, t) => t);
  order.sort((a, b) => destination[a]! - destination[b]! || destinationOffset[a]! - destinationOffset[b]!);
  const writes = new Map<number, { begin: number[]; reach: number[] }>();
  for (const t of order) {
    const known = writes.get(destination[t]!) ?? { begin: [], reach: [] };
    writes.set(destination[t]!, known);
    known.begin.push(destinationOffset[t]!);
    known.reach.push(Math.max(known.reach.at(-1) ?? 0, destinationOffset[t]! + length[t]!));
  }
  const conflicts: number[] = [];
  for (let t = 0; t < length.length; t++) {
    const known = writes.get(source[t]!);
    if (known === undefined || action[t] === DUPLICATE) continue;
    const before = countBelow(known.begin, sourceOffset[t]! + length[t]!);
    if (before > 0 && known.reach[before - 1]! > sourceOffset[t]!) conflicts.push(t);
  }
  return conflicts;
}

/** How many of the ascending `values` are below `limit`. */
export function countBelow(values: readonly number[], limit: number): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle]! < limit) low = middle + 1;
    else high = middle;
  }
  return low;
}
