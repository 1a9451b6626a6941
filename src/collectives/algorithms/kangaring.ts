/**
 * KangaRing: a ring through every second rank. Ranks pair up that share a chip's memory; of each pair the primary is on
 * the ring and works for both, so that there are half the steps and fewer touches of the memory.
 *
 * All-gather: what a primary receives, the DMA writes to its partner as well: "one read, two writes", 3 touches of the
 * memory for two ranks instead of 4. Reduce-scatter: a primary reduces what it receives with its own and its partner's
 * addend in one pass, 4 touches instead of 6. Before that each pair sums the part that leaves first, and at the end the
 * partner's result is copied over. p/2 + 1 steps for a reduce-scatter, p/2 for an all-gather.
 *
 * Pairs are positions 2k and 2k + 1, of the order if one is given; two orders are the two Hamiltonian cycles of the torus.
 * see: aws-neuron-sdk, neuron-runtime/explore/intranode-collective-comm.rst#KangaRing. What the pair does first and last is
 * our reading: the document shows only the steps of the ring. Leaves out its limit of 256 ranks.
 */
import {
  areEven,
  cutPart,
  type Emit,
  emitPart,
  inSequence,
  joinParts,
  type Part,
  type Phase,
  singleStep,
} from '../phase.ts';
import { ADD, COPY, DUPLICATE } from '../schedule.ts';
import { type Algorithm, inOrder } from './algorithm.ts';
import { type MakeRing, overOrders } from './ring.ts';

/** Two ranks of one chip. The primary is on the ring. */
interface Pair {
  readonly primary: number;
  readonly partner: number;
  /** What the two end up with, or contribute, and the share of the partner in it. */
  readonly part: Part;
  readonly partnerPart: Part;
}

function pairs(ring: Int32Array, own: readonly Part[]): Pair[] {
  return Array.from({ length: ring.length / 2 }, (_, k) => ({
    primary: ring[2 * k]!,
    partner: ring[2 * k + 1]!,
    part: joinParts([own[2 * k]!, own[2 * k + 1]!]),
    partnerPart: own[2 * k + 1]!,
  }));
}

/** The steps round the ring, pair i sending part i + first - s. */
function rounds(
  ring: readonly Pair[],
  first: number,
  emitHop: (emit: Emit, from: Pair, to: Pair, part: Part) => void,
): Phase {
  const m = ring.length;
  const isEven = areEven(ring.map(({ part }) => part));
  return {
    steps: m - 1,
    stepClass: (step) => (isEven ? 0 : step),
    emit: (step, emit) => {
      ring.forEach((pair, i) => {
        emitHop(emit, pair, ring[(i + 1) % m]!, ring[(i + first - step + m) % m]!.part);
      });
    },
  };
}

/** Leaves the sum of each pair's part with its primary. */
function reduceToPrimaries(ring: readonly Pair[]): Phase {
  const m = ring.length;
  // Pair i sends the part of pair i - 1 first, and cannot reduce what it does not receive: its own two addends are summed here.
  const before = singleStep((emit) => {
    ring.forEach(({ primary, partner }, i) => {
      emitPart(emit, partner, primary, ring[(i - 1 + m) % m]!.part, ADD);
    });
  });
  return inSequence(
    before,
    rounds(ring, -1, (emit, from, to, part) => {
      for (const { offset, length } of part) {
        emit(from.primary, to.primary, offset, offset, length, ADD);
        emit(to.partner, to.primary, offset, offset, length, ADD);
      }
    }),
  );
}

const spread = (ring: readonly Pair[]): Phase =>
  rounds(ring, 0, (emit, from, to, part) => {
    for (const { offset, length } of part) {
      emit(from.primary, to.primary, offset, offset, length, COPY);
      emit(to.primary, to.partner, offset, offset, length, DUPLICATE);
    }
  });

/** Copies each pair's sum from the primary to the partner: all of it, or what the partner ends up with. */
function shareWithPartners(ring: readonly Pair[], which: 'part' | 'partnerPart'): Phase {
  return singleStep((emit) => {
    for (const pair of ring) emitPart(emit, pair.primary, pair.partner, pair[which], COPY);
  });
}

const reduceScatter: MakeRing<Part> = (ring, own) => {
  const all = pairs(ring, own);
  return inSequence(reduceToPrimaries(all), shareWithPartners(all, 'partnerPart'));
};

const allGather: MakeRing<Part> = (ring, own) => {
  const all = pairs(ring, own);
  const swap = singleStep((emit) => {
    all.forEach(({ primary, partner }, k) => {
      emitPart(emit, partner, primary, own[2 * k + 1]!, COPY);
      emitPart(emit, primary, partner, own[2 * k]!, COPY);
    });
  });
  return inSequence(swap, spread(all));
};

const allReduce: MakeRing<Part> = (ring, own) => {
  const chunks = cutPart(own[0]!, ring.length);
  const all = pairs(ring, chunks);
  return inSequence(reduceToPrimaries(all), shareWithPartners(all, 'part'), spread(all));
};

export const kangaRing: Algorithm = {
  name: 'kangaring',
  summary: 'a ring through one rank of each pair that shares a chip, which works for both: for the largest data',
  requirement: (_, ranks) =>
    ranks === 1 || ranks % 2 === 0 ? null : `pairs of ranks that share a chip, got ${ranks} ranks`,
  'reduce-scatter': (team, parts, { orders }) =>
    overOrders(team, parts, orders ?? [inOrder(team.members.length)], reduceScatter),
  'all-gather': (team, parts, { orders }) =>
    overOrders(team, parts, orders ?? [inOrder(team.members.length)], allGather),
  'all-reduce': (team, data, { orders }) => {
    const everyPart = Array.from({ length: team.members.length }, () => data);
    return overOrders(team, everyPart, orders ?? [inOrder(team.members.length)], allReduce);
  },
};
