/**
 * A schedule made ready for a clock: its transfers with bytes and paths, and for each endpoint the stages in which it sends
 * and receives. Groups of ranks that run the same collective side by side are one program.
 *
 * An endpoint is in one stage at a time: the stage starts its sends when all that the endpoint sent before is out and all
 * that was for it before has arrived. So ranks run ahead of each other as far as the data lets them; there is no barrier.
 */
import { expectInteger } from '../base/errors.ts';
import type { Bytes } from '../base/units.ts';
import { ADD, DUPLICATE, type Schedule, type Transfers } from './schedule.ts';
import type { Wires } from './wires.ts';

/** Transfers in columns, in the order of the steps. */
export interface Program {
  readonly endpoints: number;
  readonly source: Int32Array;
  readonly destination: Int32Array;
  readonly bytes: Float64Array;
  /** Path of each transfer in the table of the wires. */
  readonly path: Int32Array;
  readonly step: Int32Array;
  readonly stages: Stages;
}

/** The stages of all endpoints, one endpoint after another. */
export interface Stages {
  /** Of an endpoint: [endpoints + 1] first stages. */
  readonly first: Int32Array;
  /** Of a stage: its endpoint, the transfers sent or received in it, and [stages + 1] where its sends begin in `sends`. */
  readonly owner: Int32Array;
  readonly open: Int32Array;
  readonly firstSend: Int32Array;
  readonly sends: Int32Array;
  /** Of a transfer: the stage that it is sent in, and that it is received in. */
  readonly sentIn: Int32Array;
  readonly receivedIn: Int32Array;
}

/** More would need gigabytes. */
const MAX_TRANSFERS = 2 ** 21;

/**
 * The program of some steps of a schedule for groups of ranks.
 * @param groups for each group the rank of the cluster that each rank of the schedule is
 * @throws RangeError if that is more than 2^21 transfers
 */
export function compileSteps(
  schedule: Schedule,
  steps: readonly number[],
  groups: readonly ArrayLike<number>[],
  bytesPerElement: Bytes,
  wires: Wires,
): Program {
  const made = steps.map((step) => schedule.transfers(step));
  const size = groups.length * made.reduce((sum, { length }) => sum + length.length, 0);
  expectInteger('transfers', size, 0, MAX_TRANSFERS);
  const program = {
    endpoints: groups.length * schedule.endpoints,
    source: new Int32Array(size),
    destination: new Int32Array(size),
    bytes: new Float64Array(size),
    path: new Int32Array(size),
    step: new Int32Array(size),
  };
  let at = 0;
  made.forEach((transfers, index) => {
    const touches = receiverTouches(transfers);
    for (let g = 0; g < groups.length; g++) {
      const members = groups[g]!;
      // A switch of the schedule is the switch of the fabric that the group hangs on.
      const rankOf = (endpoint: number): number => members[endpoint] ?? wires.cluster.ranks;
      for (let t = 0; t < touches.length; t++) {
        if (touches[t] === RIDES_ALONG) continue;
        const source = transfers.source[t]!;
        const destination = transfers.destination[t]!;
        program.source[at] = g * schedule.endpoints + source;
        program.destination[at] = g * schedule.endpoints + destination;
        program.bytes[at] = transfers.length[t]! * bytesPerElement;
        // Only copies are duplicated.
        const copies = transfers.action[t] === ADD ? 1 : touches[t]!;
        program.path[at] = wires.path(rankOf(source), rankOf(destination), touches[t]!, copies);
        program.step[at] = steps[index]!;
        at++;
      }
    }
  });
  const transfers = {
    endpoints: program.endpoints,
    source: program.source.subarray(0, at),
    destination: program.destination.subarray(0, at),
    bytes: program.bytes.subarray(0, at),
    path: program.path.subarray(0, at),
    step: program.step.subarray(0, at),
  };
  let stages: Stages | undefined;
  return {
    ...transfers,
    // The formula needs none.
    get stages() {
      stages ??= stagesOf(transfers);
      return stages;
    },
  };
}

/** Of the memory of the receiver by each byte: written; or the other addend read, and the sum written. */
export const COPY_TOUCHES: number = 1;
export const ADD_TOUCHES: number = 2;
const RIDES_ALONG = 255;

/**
 * How often each byte of a transfer touches the memory of the receiver: a copy once (written), an add twice (the other
 * addend read, the sum written). Further addends of the same sum, listed one after another, are in the same pass of the DMA:
 * their read at the source is all. A duplicate is one more write of the transfer before it.
 * see: aws-neuron-sdk, neuron-runtime/explore/intranode-collective-comm.rst#KangaRing for the counts of ring and KangaRing
 */
function receiverTouches({ destination, destinationOffset, length, action }: Transfers): Uint8Array {
  const touches = new Uint8Array(length.length);
  let owner = 0;
  for (let t = 0; t < touches.length; t++) {
    if (action[t] === DUPLICATE) {
      touches[owner]!++;
      touches[t] = RIDES_ALONG;
      continue;
    }
    const isSameSum =
      t > 0 &&
      action[t] === ADD &&
      destination[t] === destination[t - 1] &&
      destinationOffset[t] === destinationOffset[t - 1] &&
      length[t] === length[t - 1];
    touches[t] = isSameSum ? 0 : action[t] === ADD ? ADD_TOUCHES : COPY_TOUCHES;
    owner = t;
  }
  return touches;
}

/** Cuts the program into stages. */
function stagesOf({ endpoints, source, destination, step }: Omit<Program, 'stages'>): Stages {
  const transfers = step.length;
  // Stages of an endpoint are the steps in which it takes part, in order: counted first, then numbered.
  const count = new Int32Array(endpoints + 1);
  const lastStep = new Int32Array(endpoints).fill(-1);
  const sentIn = new Int32Array(transfers);
  const receivedIn = new Int32Array(transfers);
  const stageOf = (endpoint: number, at: number): number => {
    if (lastStep[endpoint] !== at) {
      lastStep[endpoint] = at;
      count[endpoint + 1]!++;
    }
    return count[endpoint + 1]! - 1;
  };
  for (let t = 0; t < transfers; t++) {
    sentIn[t] = stageOf(source[t]!, step[t]!);
    receivedIn[t] = stageOf(destination[t]!, step[t]!);
  }
  for (let e = 0; e < endpoints; e++) count[e + 1]! += count[e]!;
  const stages = count[endpoints]!;
  const owner = new Int32Array(stages);
  const open = new Int32Array(stages);
  const firstSend = new Int32Array(stages + 1);
  for (let e = 0; e < endpoints; e++) owner.fill(e, count[e], count[e + 1]);
  for (let t = 0; t < transfers; t++) {
    sentIn[t]! += count[source[t]!]!;
    receivedIn[t]! += count[destination[t]!]!;
    open[sentIn[t]!]!++;
    open[receivedIn[t]!]!++;
    firstSend[sentIn[t]! + 1]!++;
  }
  for (let s = 0; s < stages; s++) firstSend[s + 1]! += firstSend[s]!;
  const sends = new Int32Array(transfers);
  const next = firstSend.slice();
  for (let t = 0; t < transfers; t++) sends[next[sentIn[t]!]!++] = t;
  return { first: count, owner, open, firstSend, sends, sentIn, receivedIn };
}
