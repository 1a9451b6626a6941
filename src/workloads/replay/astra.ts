/**
 * ASTRA-sim's system layer: the streams (chunks) of collectives in the queues of a rank, and messages between ranks.
 *
 * A collective's streams enter the queue of their first phase behind those of higher or equal priority; a queue runs
 * `active chunks / queues` streams at once; a stream whose phase has ended goes on to the queue of its next. LIFO and FIFO
 * are priorities that count up and down from collective to collective.
 * Where the ranks of a phase run alike and nothing else can be on their links, the phase is one timer (`phase-time.ts`);
 * elsewhere its messages are sent one by one, matched by stream, ring, sender and size, first come first served.
 * see: astra-sim/astra-sim system/Sys.cc (insert_stream, proceed_to_next_vnet_baseline), network_frontend/analytical
 */
import { ModelError } from '../../base/errors.ts';
import type { AstraDimension } from '../../formats/astra-network.ts';
import type { AstraCollective, AstraMemory, AstraSystem } from '../../formats/astra-system.ts';
import type { ChakraCollective } from '../../formats/chakra.ts';
import { type Algorithm, ringAlgorithm } from './algorithms.ts';
import type { RankClasses } from './classes.ts';
import type { EventQueue } from './events.ts';
import { type Machine, need, type RankExecutor } from './executor.ts';
import type { ReplayNode } from './graph.ts';
import { remoteMemory } from './memory.ts';
import type { ReplayNetwork } from './network.ts';
import type { EndpointTime, PhaseTimer } from './phase-time.ts';
import { CollectivePlanner, neighbour, type Phase, positionIn } from './phases.ts';
import { replayedTime } from './roofline.ts';
import { treeAlgorithm } from './tree.ts';

export const ASTRA_COLLECTIVES: Readonly<Partial<Record<ChakraCollective, AstraCollective>>> = {
  ALL_REDUCE: 'all-reduce',
  ALL_GATHER: 'all-gather',
  REDUCE_SCATTER: 'reduce-scatter',
  ALL_TO_ALL: 'all-to-all',
};

interface Stream {
  /** Equal for the same chunk on every rank of the group. */
  readonly key: string;
  readonly phases: readonly Phase[];
  /** Index of the phase it is in, or waits for. */
  at: number;
  readonly priority: number;
  isRunning: boolean;
  readonly finished: () => void;
}

/** Streams of one queue: those that run, then those that wait by priority. */
interface StreamQueue {
  readonly streams: Stream[];
  running: number;
}

interface Streams {
  readonly planner: CollectivePlanner;
  readonly queues: StreamQueue[];
  /** Collectives issued so far, and streams by group. */
  issued: number;
  readonly counts: Map<number, number>;
}

/** Messages of one kind on their way to a rank, and the receives posted for them. */
interface Channel {
  arrived: number;
  readonly awaited: (() => void)[];
}

export interface AstraOptions {
  readonly dimensions: readonly AstraDimension[];
  readonly system: AstraSystem;
  readonly memory: AstraMemory;
  readonly queuesPerDimension: number;
  /** Whose rules cut collectives into chunks. */
  readonly rules: 'astra' | 'trnsim';
  readonly network: ReplayNetwork;
  readonly queue: EventQueue;
  readonly classes: RankClasses;
  readonly endpoint: EndpointTime;
  readonly computeTime: Machine['computeTime'];
  /** Undefined where phases may meet on a link. */
  readonly phaseTime: PhaseTimer | undefined;
}

/** The machine around the ranks, as ASTRA-sim simulates it. */
export function astraMachine(options: AstraOptions): Machine {
  const { dimensions, system, queuesPerDimension, network, queue, classes, endpoint } = options;
  const atOnce = Math.ceil(system.activeChunksPerDimension / queuesPerDimension);
  const streamsOf = new Map<RankExecutor, Streams>();
  const channels = new Map<string, Channel>();
  const uniform = new Map<string, boolean>();

  const stateOf = (rank: RankExecutor): Streams => {
    let state = streamsOf.get(rank);
    if (state === undefined) {
      state = {
        planner: new CollectivePlanner(dimensions, system, queuesPerDimension, options.rules),
        queues: Array.from({ length: dimensions.length * queuesPerDimension }, () => ({ streams: [], running: 0 })),
        issued: 0,
        counts: new Map(),
      };
      streamsOf.set(rank, state);
    }
    return state;
  };
  const channel = (key: string): Channel => {
    let found = channels.get(key);
    if (found === undefined) {
      found = { arrived: 0, awaited: [] };
      channels.set(key, found);
    }
    return found;
  };
  const deliver = (key: string): void => {
    const { awaited } = channel(key);
    const receive = awaited.shift();
    if (receive === undefined) channel(key).arrived++;
    else {
      if (awaited.length === 0) channels.delete(key);
      receive();
    }
  };
  const await_ = (key: string, received: () => void): void => {
    const found = channel(key);
    if (found.arrived === 0) found.awaited.push(received);
    else {
      if (--found.arrived === 0) channels.delete(key);
      queue.at(queue.now, received);
    }
  };

  /** Whether all ranks round the ring are of the class of `rank`, so that they do the same at the same time. */
  const isUniform = (rank: RankExecutor, { ring }: Phase): boolean => {
    if (classes.classes.length === 1) return true;
    const key = `${rank.class.rank} ${ring.key} ${ring.members?.join() ?? ring.ranks}`;
    let answer = uniform.get(key);
    if (answer === undefined) {
      const own = classes.classOf(rank.class.rank);
      answer = true;
      for (let k = 1; k < ring.ranks && answer; k++) {
        answer = classes.classOf(neighbour(ring, rank.class.rank, k)) === own;
      }
      uniform.set(key, answer);
    }
    return answer;
  };

  const runPhase = (rank: RankExecutor, stream: Stream): void => {
    const phase = stream.phases[stream.at]!;
    const exit = () => endPhase(rank, stream);
    if (options.phaseTime !== undefined && phase.algorithm !== 'doubleBinaryTree' && isUniform(rank, phase)) {
      const { duration, tail } = options.phaseTime(phase, rank.class.rank);
      // In two steps, so that the end takes its place among the rank's timers when it would have been set.
      queue.at(queue.now + duration - tail, () => rank.timers.after(tail, exit));
      return;
    }
    runMessages(rank, stream, phase, exit);
  };

  const runMessages = (rank: RankExecutor, { key }: Stream, phase: Phase, exit: () => void): void => {
    const { ring, ranks, isGroup } = phase;
    const own = rank.class.rank;
    const position = positionIn(ring, own);
    // Partners of halving-doubling are told by their distance: the one above and the one below mirror each other.
    const isMirrored = phase.algorithm === 'halvingDoubling';
    const name = (receiver: number, from: number, bytes: number) =>
      `${receiver} ${key} ${ring.key} ${isMirrored ? Math.abs(from) : (from + ranks) % ranks} ${bytes}`;
    const port = {
      local(added: number) {
        const passed = () => algorithm.passed();
        const { timers } = rank;
        const delay = endpoint.delay(isGroup);
        timers.after(delay, added === 0 ? passed : () => timers.after(endpoint.added(added), passed));
      },
      send(offset: number, bytes: number) {
        const to = neighbour(ring, own, offset);
        const message = name(classes.classOf(to), -offset, bytes);
        network.send(own, to, bytes, () => deliver(message));
      },
      receive(offset: number, bytes: number) {
        await_(name(classes.classOf(own), offset, bytes), () => algorithm.received());
      },
      exit,
    };
    const algorithm: Algorithm =
      phase.algorithm === 'doubleBinaryTree'
        ? treeAlgorithm(ranks, phase.bytes, position, phase.isRootLast, port)
        : ringAlgorithm(phase, position, port);
    algorithm.start();
  };

  /** Starts streams of a queue while it may run more. */
  const fill = (rank: RankExecutor, queueState: StreamQueue): void => {
    const { streams } = queueState;
    for (let at = queueState.running; at < streams.length && queueState.running < atOnce; at++) {
      const stream = streams[at]!;
      stream.isRunning = true;
      // Before it is counted, as in ASTRA-sim: a phase never ends while it starts.
      runPhase(rank, stream);
      queueState.running++;
    }
  };

  const enter = (rank: RankExecutor, stream: Stream): StreamQueue => {
    const queueState = stateOf(rank).queues[stream.phases[stream.at]!.queue]!;
    const { streams } = queueState;
    let at = streams.length;
    while (at > 0 && !streams[at - 1]!.isRunning && streams[at - 1]!.priority < stream.priority) at--;
    streams.splice(at, 0, stream);
    return queueState;
  };

  const endPhase = (rank: RankExecutor, stream: Stream): void => {
    const left = stateOf(rank).queues[stream.phases[stream.at]!.queue]!;
    const isLast = stream.at + 1 === stream.phases.length;
    // The node may end here and issue others, before the stream has left its queue: ASTRA-sim's order.
    if (isLast) stream.finished();
    left.streams.splice(left.streams.indexOf(stream), 1);
    if (isLast) {
      left.running--;
      fill(rank, left);
      return;
    }
    stream.at++;
    stream.isRunning = false;
    const entered = enter(rank, stream);
    left.running--;
    fill(rank, left);
    fill(rank, entered);
  };

  const priorityOf = (state: Streams, node: ReplayNode): number => {
    const order = state.issued++;
    if (system.schedulingPolicy === 'EXPLICIT') return node.priority;
    return system.schedulingPolicy === 'LIFO' ? order : -order;
  };

  const pointKey = (source: number, destination: number, node: ReplayNode, bytes: number) =>
    `p ${source} ${destination} ${need(node, 'tag', 'comm_tag')} ${bytes}`;

  return {
    computeTime: options.computeTime,
    collective(rank, node, done) {
      if (node.collective === 'BROADCAST') {
        rank.timers.after(replayedTime(node), done);
        return;
      }
      const collective = ASTRA_COLLECTIVES[node.collective!];
      if (collective === undefined) {
        throw new ModelError('UNSUPPORTED', node.path, `ASTRA-sim has no ${node.collective}`);
      }
      const state = stateOf(rank);
      const communicator = rank.class.communicators[node.slot]!;
      const chunks = state.planner.plan(collective, need(node, 'bytes', 'comm_size'), node, communicator);
      if (chunks.length === 0) {
        rank.timers.after(0, done);
        return;
      }
      const priority = priorityOf(state, node);
      let left = chunks.length;
      const finished = () => {
        if (--left === 0) done();
      };
      for (const phases of chunks) {
        const count = state.counts.get(communicator.key) ?? 0;
        state.counts.set(communicator.key, count + 1);
        const stream = { key: `${communicator.key}.${count}`, phases, at: 0, priority, isRunning: false, finished };
        fill(rank, enter(rank, stream));
      }
    },
    send(rank, node, done) {
      const own = rank.class.rank;
      if ((node.source ?? own) !== own) throw new ModelError('WORKLOAD', node.path, `a send of rank ${node.source}`);
      const destination = otherRank(need(node, 'destination', 'comm_dst'), own, node);
      const bytes = messageSize(node);
      const key = pointKey(own, destination, node, bytes);
      network.send(own, destination, bytes, () => {
        done();
        deliver(key);
      });
    },
    receive(rank, node, done) {
      const own = rank.class.rank;
      if ((node.destination ?? own) !== own) {
        throw new ModelError('WORKLOAD', node.path, `a receive of rank ${node.destination}`);
      }
      const source = otherRank(need(node, 'source', 'comm_src'), own, node);
      await_(pointKey(source, own, node, messageSize(node)), done);
    },
    memory: remoteMemory(options.memory),
  };

  function otherRank(rank: number, own: number, node: ReplayNode): number {
    const ranks = dimensions.reduce((product, { npus }) => product * npus, 1);
    if (rank < ranks && rank !== own) return rank;
    throw new ModelError('WORKLOAD', node.path, `expected another rank below ${ranks}, got ${rank}`);
  }
}

function messageSize(node: ReplayNode): number {
  const bytes = need(node, 'bytes', 'comm_size');
  if (bytes > 0) return bytes;
  throw new ModelError('WORKLOAD', node.path, 'expected a message of at least 1 byte');
}
