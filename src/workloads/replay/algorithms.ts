/**
 * ASTRA-sim's native collective algorithms, message by message: what a rank sends and waits for in one phase.
 *
 * Every message is preceded by a pass through the endpoint (`Port.local`): a fixed delay, and for a part that was
 * received to be added, one write and two reads of local memory. Peers are offsets round the ring of the phase.
 *
 *     ring              always to the next: 2(N-1) messages of n/N (all-reduce), N-1 (all-gather of n, reduce-scatter)
 *                       or N(N-1)/2 (all-to-all: parts are passed on step by step)
 *     direct            to every other rank at once, or `window` at a time; all-reduce waits for all before it gathers
 *     halvingDoubling   with the rank 1, 2, 4 ... away and parts of n/2, n/4 ..., and back for the gathering
 *
 * The bookkeeping (which parts are charged for the addition) is that of ASTRA-sim, quirks included, because its times are
 * to be met to the nanosecond: e.g. the last part of a halving-doubling reduce-scatter is not charged.
 * see: astra-sim/astra-sim system/astraccl/native_collectives/collective_algorithm/
 */
import type { AstraCollective } from '../../formats/astra-system.ts';

/** The rank and the network as an algorithm sees them. */
export interface Port {
  /** Through the endpoint; `Algorithm.passed` is called after it. `added`: bytes of a received part to add, or 0. */
  local(added: number): void;
  send(offset: number, bytes: number): void;
  /** `Algorithm.received` is called when the message from `offset` is there. */
  receive(offset: number, bytes: number): void;
  exit(): void;
}

export interface Algorithm {
  start(): void;
  passed(): void;
  received(): void;
}

/** One phase of a collective, as every rank of its ring runs it. */
export interface PhaseShape {
  readonly collective: AstraCollective;
  readonly algorithm: 'ring' | 'direct' | 'halvingDoubling' | 'doubleBinaryTree';
  readonly window: number | undefined;
  /** Ranks round the ring. */
  readonly ranks: number;
  /** A rank's data at the start. */
  readonly bytes: number;
  /** Round the ring upwards or downwards. */
  readonly direction: 1 | -1;
  /** The ring of a communicator group smaller than the machine: its endpoint delay is fixed. */
  readonly isGroup: boolean;
}

/** A rank's data at the end of a phase. A tree always all-reduces. */
export function bytesAfter({ collective, algorithm, ranks, bytes }: PhaseShape): number {
  if (algorithm === 'doubleBinaryTree') return bytes;
  if (collective === 'all-gather') return bytes * ranks;
  return collective === 'reduce-scatter' ? Math.floor(bytes / ranks) : bytes;
}

/** Bytes of a message of `ring` and `direct`. */
export function messageBytes({ collective, ranks, bytes }: PhaseShape): number {
  return collective === 'all-gather' ? bytes : Math.floor(bytes / ranks);
}

/** Messages that a rank sends in `ring` and `direct`. */
export function messageCount({ collective, algorithm, ranks }: PhaseShape): number {
  if (collective === 'all-reduce') return 2 * (ranks - 1);
  return collective === 'all-to-all' && algorithm === 'ring' ? ((ranks - 1) * ranks) / 2 : ranks - 1;
}

/**
 * Whether the next part is added when it passes the endpoint. Parts come in rounds: own ones first, which are not, then
 * received ones, which are in a reduction; the second round of an all-reduce is its gathering.
 */
class Rounds {
  readonly #own: number;
  readonly #received: number;
  readonly #collective: AstraCollective;
  #ownLeft = 0;
  #receivedLeft = 0;
  #isFirst = false;

  constructor(collective: AstraCollective, own: number, received: number) {
    this.#collective = collective;
    this.#own = own;
    this.#received = received;
  }

  isAdded(): boolean {
    if (this.#ownLeft === 0 && this.#receivedLeft === 0) {
      this.#ownLeft = this.#own;
      this.#receivedLeft = this.#received;
      this.#isFirst = !this.#isFirst;
    }
    if (this.#ownLeft > 0) {
      this.#ownLeft--;
      return false;
    }
    this.#receivedLeft--;
    return this.#collective === 'reduce-scatter' || (this.#collective === 'all-reduce' && this.#isFirst);
  }
}

/** `ring` and `direct`: equal messages, `parallel` of them under way. */
class EqualMessages implements Algorithm {
  readonly #shape: PhaseShape;
  readonly #port: Port;
  readonly #bytes: number;
  readonly #parallel: number;
  readonly #rounds: Rounds;
  #left: number;
  /** Passes through the endpoint begun, and messages sent. */
  #begun = 0;
  #sent = 0;
  #passed = 0;
  #received = 0;

  constructor(shape: PhaseShape, port: Port) {
    const { algorithm, ranks, window, isGroup, collective } = shape;
    this.#shape = shape;
    this.#port = port;
    this.#bytes = messageBytes(shape);
    this.#left = messageCount(shape);
    const isDirect = algorithm === 'direct';
    this.#parallel = isDirect ? Math.min(window ?? ranks - 1, ranks - 1) : 1;
    const perRound = isDirect && !isGroup ? 1 : ranks - 1;
    this.#rounds = new Rounds(collective, this.#parallel, perRound * this.#parallel);
  }

  start(): void {
    for (let i = 0; i < this.#parallel; i++) this.#begin();
  }

  received(): void {
    this.#received++;
    this.#begin();
  }

  passed(): void {
    const { algorithm, collective, ranks } = this.#shape;
    this.#passed++;
    const isGathering = algorithm === 'direct' && collective === 'all-reduce' && this.#left <= ranks - 1;
    if (isGathering && this.#received < ranks - 1) return;
    const turns = isGathering ? this.#parallel : 1;
    for (let i = 0; i < turns; i++) this.#sendNext();
    if (this.#left === 0 && this.#passed - this.#sent === this.#parallel) this.#port.exit();
  }

  #begin(): void {
    this.#port.local(this.#rounds.isAdded() ? this.#bytes : 0);
    this.#begun++;
  }

  #sendNext(): void {
    if (this.#begun === this.#sent || this.#left === 0 || this.#passed === this.#sent) return;
    const { algorithm, direction, ranks } = this.#shape;
    const distance = algorithm === 'direct' ? (this.#sent % (ranks - 1)) + 1 : 1;
    this.#left--;
    this.#sent++;
    this.#port.send(direction * distance, this.#bytes);
    this.#port.receive(-direction * distance, this.#bytes);
  }
}

/** `halvingDoubling`: one message at a time, the partner the same both ways. */
class HalvingDoubling implements Algorithm {
  readonly #collective: AstraCollective;
  readonly #ranks: number;
  readonly #port: Port;
  readonly #rounds: Rounds;
  /** Position in the ring: decides on which side the partner is. */
  readonly #position: number;
  #left: number;
  #distance: number;
  #bytes: number;
  /** What distance is multiplied by from message to message, and bytes divided. */
  #factor: number;
  readonly #pending: { offset: number; bytes: number }[] = [];

  constructor({ collective, ranks, bytes }: PhaseShape, position: number, port: Port) {
    const rounds = 31 - Math.clz32(ranks);
    const gathers = collective === 'all-gather';
    this.#collective = collective;
    this.#ranks = ranks;
    this.#port = port;
    this.#position = position;
    this.#rounds = new Rounds(collective, 1, rounds - 1);
    this.#left = collective === 'all-reduce' ? 2 * rounds : rounds;
    this.#distance = gathers ? ranks / 2 : 1;
    this.#bytes = gathers ? bytes : Math.floor(bytes / 2);
    this.#factor = gathers ? 0.5 : 2;
  }

  start(): void {
    this.#begin();
  }

  received(): void {
    this.#begin();
  }

  passed(): void {
    const next = this.#pending.shift();
    if (this.#left === 0 || next === undefined) {
      this.#port.exit();
      return;
    }
    this.#left--;
    this.#port.send(next.offset, next.bytes);
    this.#port.receive(next.offset, next.bytes);
  }

  #begin(): void {
    const isAbove = this.#distance === 0 || Math.floor(this.#position / this.#distance) % 2 === 0;
    this.#pending.push({ offset: isAbove ? this.#distance : -this.#distance, bytes: this.#bytes });
    this.#port.local(this.#rounds.isAdded() ? this.#bytes : 0);
    this.#step();
    if (this.#distance === this.#ranks && this.#collective === 'all-reduce') {
      this.#factor = 0.5;
      this.#step();
    }
  }

  #step(): void {
    this.#distance = Math.floor(this.#distance * this.#factor);
    this.#bytes = Math.floor(this.#bytes / this.#factor);
  }
}

/**
 * The algorithm of a phase for the rank at `position` of its ring; trees are in `tree.ts`.
 * Calls nothing until `start`.
 */
export function ringAlgorithm(shape: PhaseShape, position: number, port: Port): Algorithm {
  return shape.algorithm === 'halvingDoubling'
    ? new HalvingDoubling(shape, position, port)
    : new EqualMessages(shape, port);
}
