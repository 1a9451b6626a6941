/**
 * Time of a phase whose ranks all run alike and start together, with nothing else on their links.
 *
 * Then one rank stands for all: what it sends `k` places up arrives, at the same moment, from `k` places below. The ring
 * has a closed form; the others run their messages once for that one rank, and the result is remembered.
 *
 *     ring   t = ep + S * (link(m) + ep) + (N - 1) * added(m)     S messages, the last term in reductions only
 *
 * see: astra-sim/astra-sim .../collective_algorithm/Ring.cc, system/PacketBundle.cc
 */
import { type Algorithm, messageBytes, messageCount, ringAlgorithm } from './algorithms.ts';
import { EventQueue } from './events.ts';
import type { ReplayNetwork } from './network.ts';
import { neighbour, type Phase, positionIn } from './phases.ts';

/** Ns of a pass through the endpoint. */
export interface EndpointTime {
  delay(isGroup: boolean): number;
  /** Adding a part of so many bytes to what is there. */
  added(bytes: number): number;
}

/** A phase's duration, and how long before its end its last message arrived: when its end became certain. */
interface PhaseTime {
  readonly duration: number;
  readonly tail: number;
}

export type PhaseTimer = (phase: Phase, rank: number) => PhaseTime;

/** `network` makes a network of which the one rank is all ranks. */
export function phaseTimer(endpoint: EndpointTime, network: (queue: EventQueue) => ReplayNetwork): PhaseTimer {
  const known = new Map<string, PhaseTime>();
  return (phase, rank) => {
    const { collective, algorithm, window, bytes, direction, ring } = phase;
    // Members of one group look alike from `rank`, so two groups of a rank differ by their ranks only.
    const place = ring.members === undefined ? ring.key : `${rank} of ${ring.members.join()}`;
    const key = `${collective} ${algorithm} ${window} ${bytes} ${direction} ${place} ${ring.ranks}`;
    let time = known.get(key);
    if (time === undefined) {
      time = algorithm === 'ring' ? ringTime(phase, rank, endpoint, network) : soloTime(phase, rank, endpoint, network);
      known.set(key, time);
    }
    return time;
  };
}

function ringTime(
  phase: Phase,
  rank: number,
  endpoint: EndpointTime,
  network: (queue: EventQueue) => ReplayNetwork,
): PhaseTime {
  const { collective, ranks, direction, isGroup, ring } = phase;
  const bytes = messageBytes(phase);
  const queue = new EventQueue();
  network(queue).send(rank, neighbour(ring, rank, direction), bytes, () => {});
  queue.run();
  const delay = endpoint.delay(isGroup);
  const added = endpoint.added(bytes);
  const reduces = collective === 'all-reduce' || collective === 'reduce-scatter';
  return {
    duration: delay + messageCount(phase) * (queue.now + delay) + (reduces ? (ranks - 1) * added : 0),
    tail: collective === 'reduce-scatter' ? added : delay,
  };
}

/** Runs the messages of one rank. */
function soloTime(
  phase: Phase,
  rank: number,
  endpoint: EndpointTime,
  network: (queue: EventQueue) => ReplayNetwork,
): PhaseTime {
  const queue = new EventQueue();
  const net = network(queue);
  const { ranks, ring, isGroup, algorithm: name } = phase;
  const arrived = new Map<number, number>();
  const awaited = new Map<number, number>();
  let end = 0;
  let tail = 0;
  const take = (counts: Map<number, number>, channel: number): boolean => {
    const count = counts.get(channel) ?? 0;
    if (count > 0) counts.set(channel, count - 1);
    return count > 0;
  };
  const add = (counts: Map<number, number>, channel: number) => counts.set(channel, (counts.get(channel) ?? 0) + 1);
  // What I send up by k comes to me from k below. Partners of halving-doubling are each other's mirror image.
  const channel = (offset: number) => (name === 'halvingDoubling' ? Math.abs(offset) : (offset + ranks) % ranks);
  const algorithm: Algorithm = ringAlgorithm(phase, positionIn(ring, rank), {
    local(added) {
      const pass = (delay: number, then: () => void) =>
        queue.at(queue.now + delay, () => {
          tail = delay;
          then();
        });
      const passed = () => algorithm.passed();
      pass(endpoint.delay(isGroup), added === 0 ? passed : () => pass(endpoint.added(added), passed));
    },
    send(offset, bytes) {
      const to = channel(offset);
      net.send(rank, neighbour(ring, rank, offset), bytes, () => {
        if (take(awaited, to)) algorithm.received();
        else add(arrived, to);
      });
    },
    receive(offset) {
      const from = channel(-offset);
      if (take(arrived, from)) queue.at(queue.now, () => algorithm.received());
      else add(awaited, from);
    },
    exit() {
      end = queue.now;
    },
  });
  algorithm.start();
  queue.run();
  return { duration: end, tail };
}
