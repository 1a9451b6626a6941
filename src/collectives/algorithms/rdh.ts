/**
 * RDH, recursive halving and doubling: log2 p steps a half, with the traffic of a ring.
 *
 * Reduce-scatter: in the first step positions that differ in the highest bit exchange the halves of the data that the other
 * keeps, then quarters with the next bit, and so on down. All-gather runs the same way back. The positions are the corners
 * of a hypercube, and a 4x4 torus is one of four dimensions (orders[0] says which corner a rank has), so there the
 * exchanges are with neighbours.
 * Off powers of two only all-reduce is defined, with the usual fold: the first 2r positions pair up, the odd of a pair adds
 * its data to the even and waits, and gets the result at the end; r = p - 2^floor(log2 p).
 * see: Thakur, Rabenseifner and Gropp, "Optimization of collective communication operations in MPICH", 2005;
 * aws-neuron-sdk, neuron-runtime/explore/intranode-collective-comm.rst.
 */
import { cutPart, emitPart, inSequence, joinParts, NOTHING, type Part, type Phase, singleStep } from '../phase.ts';
import { ADD, COPY } from '../schedule.ts';
import { type Algorithm, type AlgorithmOptions, inOrder, type Team } from './algorithm.ts';

type Corner = { readonly rank: number; readonly part: Part };

function corners({ members }: Team, parts: readonly Part[], { orders }: AlgorithmOptions): Corner[] {
  return Array.from(orders?.[0] ?? inOrder(members.length)).map((position) => ({
    rank: members[position]!,
    part: parts[position]!,
  }));
}

/** What corner v's block of `width` corners holds, for every block. */
function blocksOf(cube: readonly Corner[], width: number): Part[] {
  return Array.from({ length: cube.length / width }, (_, b) =>
    joinParts(cube.slice(b * width, (b + 1) * width).map(({ part }) => part)),
  );
}

/** Halving: each corner sends what its partner keeps. Doubling: each corner sends what it has. */
function exchanges(cube: readonly Corner[], isHalving: boolean): Phase {
  const dimensions = 31 - Math.clz32(cube.length);
  return {
    steps: dimensions,
    stepClass: (step) => step,
    emit: (step, emit) => {
      const width = 1 << (isHalving ? dimensions - 1 - step : step);
      const blocks = blocksOf(cube, width);
      cube.forEach(({ rank }, v) => {
        const block = Math.floor(v / width);
        const partner = cube[v ^ width]!.rank;
        if (isHalving) emitPart(emit, rank, partner, blocks[block ^ 1]!, ADD);
        else emitPart(emit, rank, partner, blocks[block]!, COPY);
      });
    },
  };
}

function isPowerOfTwo(p: number): boolean {
  return (p & (p - 1)) === 0;
}

export const rdh: Algorithm = {
  name: 'rdh',
  summary: 'recursive halving and doubling: log2 p steps a half along the dimensions of a hypercube; for middle sizes',
  requirement: (collective, ranks) =>
    collective === 'all-reduce' || isPowerOfTwo(ranks)
      ? null
      : `a power of two of ranks for ${collective}, got ${ranks}`,
  'reduce-scatter': (team, parts, options) => exchanges(corners(team, parts, options), true),
  'all-gather': (team, parts, options) => exchanges(corners(team, parts, options), false),
  'all-reduce': (team, data, options) => {
    const p = team.members.length;
    if (p === 1) return NOTHING;
    const everyPart = Array.from({ length: p }, () => data);
    const order = corners(team, everyPart, options).map(({ rank }) => rank);
    const power = 1 << (31 - Math.clz32(p));
    const folded = p - power;
    const kept = [...order.slice(0, 2 * folded).filter((_, i) => i % 2 === 0), ...order.slice(2 * folded)];
    const parts = cutPart(data, power);
    const cube = kept.map((rank, i) => ({ rank, part: parts[i]! }));
    const fold = (isBefore: boolean): Phase =>
      folded === 0
        ? NOTHING
        : singleStep((emit) => {
            for (let i = 0; i < folded; i++) {
              const [even, odd] = [order[2 * i]!, order[2 * i + 1]!];
              if (isBefore) emitPart(emit, odd, even, data, ADD);
              else emitPart(emit, even, odd, data, COPY);
            }
          });
    return inSequence(fold(true), exchanges(cube, true), exchanges(cube, false), fold(false));
  },
};
