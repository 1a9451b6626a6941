/**
 * Mesh (direct): all ranks exchange with all others at once, one step a half, p - 1 transfers from each rank.
 *
 * Reduce-scatter: every rank sends part j to position j, which reduces p addends with one rounding. The traffic is the
 * ring's and so is the result but for the rounding; what it saves is steps, what it costs is that links are shared.
 * Single-step mesh all-reduce: everyone sends everything to everyone, (p - 1) times the data from each rank, in one step.
 * All ranks reduce in the order of the positions, so that their results have the same bits.
 * Pairwise all-to-all: the same transfers, but one peer a step, i to i + s: no two of a step share a sender or a receiver.
 * see: aws-neuron-sdk, neuron-runtime/explore/internode-collective-comm.rst. On Trn2's 64 ranks AWS' mesh has two steps
 * (other chips, then own chip): that is `hierarchical` with mesh inside and mesh between.
 */
import { atOnce, cutPart, emitPart, inSequence, type Part, type Phase, singleStep } from '../phase.ts';
import { ADD, COPY } from '../schedule.ts';
import { type Algorithm, type Exchange, inTwoHalves, type Team } from './algorithm.ts';
import { keepOwn } from './ring-exchange.ts';

function reduceScatter({ members }: Team, parts: readonly Part[]): Phase {
  return singleStep((emit) => {
    for (let j = 0; j < members.length; j++) {
      for (const range of parts[j]!) reduceInto(members, j, range, emit);
    }
  });
}

/** All addends of one range one after another: one reduction. */
function reduceInto(
  members: ArrayLike<number>,
  j: number,
  { offset, length }: Part[number],
  emit: Parameters<Phase['emit']>[1],
): void {
  for (let i = 0; i < members.length; i++) {
    if (i !== j) emit(members[i]!, members[j]!, offset, offset, length, ADD);
  }
}

function allGather({ members }: Team, parts: readonly Part[]): Phase {
  return singleStep((emit) => {
    for (let i = 0; i < members.length; i++) {
      for (let j = 0; j < members.length; j++) {
        if (i !== j) emitPart(emit, members[i]!, members[j]!, parts[i]!, COPY);
      }
    }
  });
}

/**
 * Everyone sends to the positions `distances` further on, all in one step. Distance 0 is the own block, which moves inside
 * the rank's memory.
 */
function exchangeWith({ members }: Team, { blocks }: Exchange, distances: readonly number[]): Phase {
  const p = members.length;
  return singleStep((emit) => {
    for (let i = 0; i < p; i++) {
      for (const distance of distances) {
        const j = (i + distance) % p;
        for (const { from, to, length } of blocks(i, j)) emit(members[i]!, members[j]!, from, to, length, COPY);
      }
    }
  });
}

export const mesh: Algorithm = {
  name: 'mesh',
  summary: 'all ranks exchange with all others at once: one step a half, for small data or a full crossbar',
  'reduce-scatter': reduceScatter,
  'all-gather': allGather,
  'all-reduce': inTwoHalves(reduceScatter, allGather, cutPart),
  'all-to-all': (team, exchange) =>
    exchangeWith(
      team,
      exchange,
      Array.from({ length: team.members.length }, (_, distance) => distance),
    ),
  broadcast: ({ members }, data, root) =>
    singleStep((emit) => {
      for (let i = 0; i < members.length; i++) {
        if (i !== root) emitPart(emit, members[root]!, members[i]!, data, COPY);
      }
    }),
  reduce: ({ members }, data, root) =>
    singleStep((emit) => {
      for (const range of data) reduceInto(members, root, range, emit);
    }),
  gather: ({ members }, parts, root) =>
    singleStep((emit) => {
      for (let i = 0; i < members.length; i++) {
        if (i !== root) emitPart(emit, members[i]!, members[root]!, parts[i]!, COPY);
      }
    }),
  scatter: ({ members }, parts, root) =>
    singleStep((emit) => {
      for (let i = 0; i < members.length; i++) {
        if (i !== root) emitPart(emit, members[root]!, members[i]!, parts[i]!, COPY);
      }
    }),
  barrier: ({ members }) =>
    singleStep((emit) => {
      for (let i = 0; i < members.length; i++) {
        for (let j = 0; j < members.length; j++) if (i !== j) emit(members[i]!, members[j]!, 0, 0, 1, COPY);
      }
    }),
};

export const singleStepMesh: Algorithm = {
  name: 'single-step-mesh',
  summary: 'all-reduce in one step: everyone sends everything to everyone and reduces alone; for tiny data',
  'all-reduce': ({ members }, data) =>
    singleStep((emit) => {
      for (let j = 0; j < members.length; j++) {
        for (const { offset, length } of data) {
          for (let i = 0; i < members.length; i++) {
            // The receiver's own data is one of the addends, so that all ranks add in the same order.
            emit(members[i]!, members[j]!, offset, offset, length, i === 0 ? COPY : ADD);
          }
        }
      }
    }),
};

export const pairwise: Algorithm = {
  name: 'pairwise',
  summary: 'all-to-all in p - 1 steps, in step s with the rank s further on',
  'all-to-all': (team, exchange) => {
    const steps = Array.from({ length: team.members.length - 1 }, (_, s) => exchangeWith(team, exchange, [s + 1]));
    return atOnce([keepOwn(team, exchange), inSequence(...steps)]);
  },
};
