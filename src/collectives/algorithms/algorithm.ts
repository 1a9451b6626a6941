/**
 * What an algorithm is: for each collective that it defines, the phase that carries it out on one group of ranks.
 *
 * All of them work in place: the buffer of every rank is the whole of the data, and each rank's part lies where it
 * belongs in the whole. All-to-all alone has its output apart, since every block of it moves.
 */
import { ModelError } from '../../base/errors.ts';
import { inSequence, NOTHING, type Part, type Phase } from '../phase.ts';
import type { Collective } from '../schedule.ts';

/** The ranks of one group. Everything else names them by their position here. */
export interface Team {
  readonly members: ArrayLike<number>;
  /** The endpoint that is the group's switch, if it has one; further switches are numbered from there. */
  readonly firstSwitch: number;
}

/** A piece of an all-to-all: elements of the sender's buffer, and where they end up in the receiver's. */
export interface Block {
  readonly from: number;
  readonly to: number;
  readonly length: number;
}

export interface Exchange {
  /** What position i has for position j; i = j stays in the memory of the rank. */
  readonly blocks: (i: number, j: number) => readonly Block[];
  /** First element of the scratch of every buffer. */
  readonly scratch: number;
}

export interface AlgorithmOptions {
  /**
   * Permutations of the positions in the group. Rings: one ring for each order, the data split over them; edge-disjoint
   * orders add up their links. RDH: the first order puts the positions on the corners of the hypercube. In order of position
   * if left out.
   */
  readonly orders?: readonly ArrayLike<number>[];
  /** Pieces that follow one another through a chain, a tree or a switch. */
  readonly slices?: number;
  /** Hierarchical: the group is cut into nodes of this many consecutive positions. */
  readonly groupSize?: number;
  /** Hierarchical: what runs inside the nodes, and between the ranks with the same place in their nodes. */
  readonly intra?: Algorithm;
  readonly inter?: Algorithm;
  /** Hierarchical: the orders between nodes; `orders` are those inside a node. */
  readonly interOrders?: readonly ArrayLike<number>[];
}

type Whole = (team: Team, data: Part, options: AlgorithmOptions) => Phase;
type Rooted = (team: Team, data: Part, root: number, options: AlgorithmOptions) => Phase;
/** `parts[i]` is what position i contributes, or ends up with. */
type Parted = (team: Team, parts: readonly Part[], options: AlgorithmOptions) => Phase;
type RootedParted = (team: Team, parts: readonly Part[], root: number, options: AlgorithmOptions) => Phase;

export interface Algorithm {
  readonly name: string;
  /** One sentence on how it works and when it is used. */
  readonly summary: string;
  /** What `ranks` ranks lack to run it, as in `"rdh" needs ...`; null if nothing. */
  readonly requirement?: (collective: Collective, ranks: number, options: AlgorithmOptions) => string | null;
  readonly 'all-reduce'?: Whole;
  readonly 'reduce-scatter'?: Parted;
  readonly 'all-gather'?: Parted;
  readonly 'all-to-all'?: (team: Team, exchange: Exchange, options: AlgorithmOptions) => Phase;
  readonly broadcast?: Rooted;
  readonly reduce?: Rooted;
  readonly gather?: RootedParted;
  readonly scatter?: RootedParted;
  /** Each pair sends the range `data` to where `target` begins. */
  readonly permute?: (team: Team, pairs: readonly (readonly [number, number])[], data: Part, target: number) => Phase;
  readonly 'send-recv'?: Algorithm['permute'];
  readonly barrier?: (team: Team) => Phase;
}

/** All-reduce in the two halves that most algorithms have. */
export function inTwoHalves(
  reduceScatter: Parted,
  allGather: Parted,
  cut: (data: Part, pieces: number) => Part[],
): Whole {
  return (team, data, options) => {
    if (team.members.length === 1) return NOTHING;
    const parts = cut(data, team.members.length);
    return inSequence(reduceScatter(team, parts, options), allGather(team, parts, options));
  };
}

/** 0, 1, ... count - 1: the order of the positions when none is given. */
export function inOrder(count: number): Int32Array {
  return Int32Array.from({ length: count }, (_, i) => i);
}

/** Most pairs of ranks that an all-to-all keeps a table of: 256 MiB of numbers. */
const MAX_PAIRS = 2 ** 25;

/** A table of zeros with a row for each of `rows` ranks. */
export function pairTable(rows: number, columns: number): Float64Array {
  if (rows * columns <= MAX_PAIRS) return new Float64Array(rows * columns);
  throw new ModelError(
    'CAPACITY',
    'all-to-all',
    `expected at most ${MAX_PAIRS} pairs of ranks, got ${rows} x ${columns}`,
  );
}
