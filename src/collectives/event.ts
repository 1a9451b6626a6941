/**
 * The event clock: transfers in chunks, chunk by chunk through first-in-first-out servers, in whole picoseconds.
 *
 *     link               serves a chunk for bytes / bandwidth and passes it on when it has all of it (store and forward)
 *     channel, memory    serve it for as long as they take, but pass it on at once (cut-through)
 *     next chunk         of a transfer enters when the one before has left its first server, so that transfers that start
 *                        together take turns
 *
 * So over h links it takes (h - 1) chunks longer than the flow clock where nothing contends, and over one link as long.
 * Events of one instant are in the order in which they were made, which is that of the transfers.
 * Leaves out: finite buffers and what they hold up.
 */
import { type Bytes, PICOSECONDS_PER_SECOND, type Picoseconds, toPicoseconds } from '../base/units.ts';
import type { Drive } from './drive.ts';
import { EventQueue } from './event-queue.ts';
import { type ExecutionResult, loadOf } from './flow.ts';
import type { Program, Stages } from './program.ts';
import type { Wires } from './wires.ts';

/** Largest packet of a collective's DMA. see: aws-neuron-sdk, neuron-runtime/explore/compute-comm-overlap.rst */
export const DEFAULT_CHUNK: Bytes = 65_536;
/** Chunks are made larger where there would be more than this many events. */
const MAX_EVENTS = 2 ** 22;

export interface EventResult extends ExecutionResult {
  /** The chunk that was used. */
  readonly chunk: Bytes;
}

/** Time of the program. `scale`, `ready`: as in `runFlow`. */
export function runEvents(
  program: Program,
  wires: Wires,
  capacity: Float64Array,
  drive: Drive,
  scale: number,
  chunk: Bytes = DEFAULT_CHUNK,
  ready?: Float64Array,
): EventResult {
  const bytes = program.bytes.map((b) => b * scale);
  const size = Math.max(chunk, smallestChunk(program.path, bytes, wires));
  const run = new EventRun(program, bytes, wires, capacity, drive, size);
  run.run(ready);
  return {
    time: run.last / PICOSECONDS_PER_SECOND,
    earliest: run.earliest / PICOSECONDS_PER_SECOND,
    // A server is idle or works at its full rate.
    peak: loadOf(program, wires).map((load) => (load > 0 ? 1 : 0)),
    chunk: size,
  };
}

/** A power of two times the default, such that all chunks together pass MAX_EVENTS servers at most. */
function smallestChunk(path: Int32Array, bytes: Float64Array, { paths }: Wires): Bytes {
  const { ways, entries } = paths;
  for (let size = DEFAULT_CHUNK; ; size *= 2) {
    let events = 0;
    for (let t = 0; t < path.length; t++) {
      const first = ways[path[t]!]!;
      events += Math.ceil(bytes[t]! / size) * (entries[first + 1]! - entries[first]!);
    }
    // Below one chunk for each transfer there is nothing to gain.
    if (events <= MAX_EVENTS || bytes.every((b) => b <= size)) return size;
  }
}

/** Kinds of events: a chunk meets a server, a transfer is sent, has arrived, an endpoint begins. */
const SERVE = 0;
const SENT = 1;
const ARRIVE = 2;
const ENTER = 3;

class EventRun {
  readonly #program: Program;
  readonly #bytes: Float64Array;
  readonly #wires: Wires;
  readonly #latency: Float64Array;
  /** Of a transfer, in the first link of the network that it passes. */
  readonly #hold: Float64Array | undefined;
  readonly #capacity: Float64Array;
  readonly #isLink: Uint8Array;
  /** When a server has done what it was given so far. */
  readonly #free: Float64Array;
  readonly #stages: Stages;
  readonly #entered: Uint8Array;
  /** Of a transfer: its chunks, of equal size, those that have not entered, those that have not passed all servers. */
  readonly #chunks: Int32Array;
  readonly #toEnter: Int32Array;
  readonly #toPass: Int32Array;
  readonly #passed: Float64Array;
  readonly #queue: EventQueue;
  readonly #ends: Float64Array;
  last: Picoseconds = 0;

  constructor(program: Program, bytes: Float64Array, wires: Wires, capacity: Float64Array, drive: Drive, chunk: Bytes) {
    const transfers = program.path.length;
    this.#program = program;
    this.#bytes = bytes;
    this.#wires = wires;
    this.#latency = drive.latency.map(toPicoseconds);
    this.#hold = drive.hold?.map(toPicoseconds);
    this.#capacity = capacity.map((rate) => rate * drive.efficiency);
    this.#isLink = Uint8Array.from(capacity, (_, r) => (wires.isLink(r) ? 1 : 0));
    this.#free = new Float64Array(capacity.length);
    this.#stages = { ...program.stages, open: program.stages.open.slice() };
    this.#entered = new Uint8Array(this.#stages.open.length);
    // At least one for each way, so that all carry their share.
    this.#chunks = Int32Array.from(bytes, (size, t) => {
      const ways = wayCount(wires, program.path[t]!);
      return Math.ceil(size / chunk / ways) * ways;
    });
    this.#toEnter = this.#chunks.slice();
    this.#toPass = this.#chunks.slice();
    this.#passed = new Float64Array(transfers);
    this.#queue = new EventQueue(transfers + program.endpoints);
    this.#ends = new Float64Array(program.endpoints);
  }

  run(ready: Float64Array | undefined): void {
    const queue = this.#queue;
    const { first, sentIn, receivedIn } = this.#stages;
    for (let e = 0; e < this.#program.endpoints; e++) queue.push(toPicoseconds(ready?.[e] ?? 0), ENTER, e, 0, 0);
    while (queue.size > 0) {
      queue.pop();
      const { time, kind, subject } = queue;
      this.last = time;
      if (kind === SERVE) this.#serve(time, subject, queue.detail, queue.tail);
      else if (kind === SENT) this.#settle(sentIn[subject]!, time);
      else if (kind === ARRIVE) this.#settle(receivedIn[subject]!, time);
      else this.#enter(first[subject]!, subject, time);
    }
  }

  /** End of the first endpoint to end, of those that take part. */
  get earliest(): Picoseconds {
    const { first } = this.#stages;
    return this.#ends.reduce((least, end, e) => (first[e]! < first[e + 1]! ? Math.min(least, end) : least), this.last);
  }

  /** The endpoint begins a stage: the first chunks of its sends enter. */
  #enter(from: number, endpoint: number, time: Picoseconds): void {
    const { first, firstSend, sends, open } = this.#stages;
    this.#ends[endpoint] = time;
    for (let stage = from; stage < first[endpoint + 1]!; stage++) {
      this.#entered[stage] = 1;
      for (let i = firstSend[stage]!; i < firstSend[stage + 1]!; i++) {
        this.#inject(sends[i]!, time);
      }
      if (open[stage] !== 0) return;
    }
  }

  #settle(stage: number, time: Picoseconds): void {
    const { open, owner } = this.#stages;
    open[stage]!--;
    if (open[stage] === 0 && this.#entered[stage]) this.#enter(stage + 1, owner[stage]!, time);
  }

  /** The next chunk of a transfer goes to its first server; chunks take the ways of the path in turn. */
  #inject(transfer: number, time: Picoseconds): void {
    if (this.#toEnter[transfer] === 0) return;
    const { ways, entries } = this.#wires.paths;
    const path = this.#program.path[transfer]!;
    const way = ways[path]! + (this.#toEnter[transfer]! % wayCount(this.#wires, path));
    this.#toEnter[transfer]!--;
    this.#queue.push(time, SERVE, transfer, entries[way]!, 0);
  }

  /** Part of a transfer's hold that a chunk has at this server. */
  #held(transfer: number, entry: number, server: number): Picoseconds {
    const hold = this.#hold?.[transfer] ?? 0;
    if (hold === 0) return 0;
    const { resource } = this.#wires.paths;
    const isFirst = this.#wires.kind(server) === 'network' && this.#wires.kind(resource[entry - 1]!) !== 'network';
    return isFirst ? Math.round(hold / this.#chunks[transfer]!) : 0;
  }

  /** A chunk meets a server; its last byte has left the server before at `tail`. */
  #serve(time: Picoseconds, transfer: number, entry: number, tail: Picoseconds): void {
    const { resource, weight, ways, entries } = this.#wires.paths;
    const server = resource[entry]!;
    let way = ways[this.#program.path[transfer]!]!;
    while (entry >= entries[way + 1]!) way++;
    const bytes = this.#bytes[transfer]! / this.#chunks[transfer]!;
    const start = Math.max(time, this.#free[server]!);
    const end =
      start + toPicoseconds((bytes * weight[entry]!) / this.#capacity[server]!) + this.#held(transfer, entry, server);
    this.#free[server] = end;
    if (entry === entries[way]) this.#inject(transfer, end);
    // A server faster than the one before is done when the last byte has come.
    const left = Math.max(end, tail);
    if (entry + 1 < entries[way + 1]!) {
      const isStored = this.#isLink[server] === 1 && this.#isLink[resource[entry + 1]!] === 1;
      this.#queue.push(isStored ? left : start, SERVE, transfer, entry + 1, left);
      return;
    }
    this.#passed[transfer] = Math.max(this.#passed[transfer]!, left);
    this.#toPass[transfer]!--;
    if (this.#toPass[transfer] === 0) {
      const passed = this.#passed[transfer]!;
      this.#queue.push(passed, SENT, transfer, 0, 0);
      this.#queue.push(passed + this.#latency[transfer]!, ARRIVE, transfer, 0, 0);
    }
  }
}

function wayCount({ paths }: Wires, path: number): number {
  return paths.ways[path + 1]! - paths.ways[path]!;
}
