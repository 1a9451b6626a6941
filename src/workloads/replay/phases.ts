/**
 * How ASTRA-sim cuts a collective: into chunks (streams), each a chain of phases, one dimension of the network at a time.
 *
 *     chunk = floor(size / splits), at least one byte a rank except in an all-gather; ceil(size / chunk) equal chunks
 *
 * All-reduce with `localBWAware` reduce-scatters up the dimensions, all-reduces in the last and all-gathers down again;
 * `baseline` all-reduces in each. The others go up, all-gather down. Phases of a dimension take its queues in turn, the
 * way up the first half of them, the way down the second; a second-half queue runs its ring backwards.
 * A communicator group smaller than the machine is one ring in the order of its list, whatever the dimensions.
 * see: astra-sim/astra-sim system/Sys.cc generate_collective, system/QueueLevelHandler.cc, system/CommunicatorGroup.cc
 */
import { ModelError } from '../../base/errors.ts';
import type { AstraDimension } from '../../formats/astra-network.ts';
import type { AstraCollective, AstraImplementation, AstraSystem } from '../../formats/astra-system.ts';
import { bytesAfter, messageBytes, type PhaseShape } from './algorithms.ts';
import type { Communicator } from './classes.ts';
import type { ReplayNode } from './graph.ts';

/** The ranks that run one phase together, as a line of the machine or the list of a group. */
export interface Ring {
  /** Distinguishes the rings that one rank is in: its dimension, or -1 for a group. */
  readonly key: number;
  readonly ranks: number;
  /** Neighbours of a rank in a dimension are so many ranks apart; 0 for a group. */
  readonly stride: number;
  readonly members: readonly number[] | undefined;
}

export interface Phase extends PhaseShape {
  readonly ring: Ring;
  readonly queue: number;
  /** Of a tree: which of the two. */
  readonly isRootLast: boolean;
}

/** Chunks of one collective; more would not fit and no machine cuts so fine. */
const MAX_CHUNKS = 2 ** 18;

/** Position of `rank` round a ring it is in. */
export function positionIn({ members, stride, ranks }: Ring, rank: number): number {
  return members === undefined ? Math.floor(rank / stride) % ranks : members.indexOf(rank);
}

/** The rank `offset` places further round the ring than `rank`. */
export function neighbour(ring: Ring, rank: number, offset: number): number {
  const { members, stride, ranks } = ring;
  const position = positionIn(ring, rank);
  const other = (((position + offset) % ranks) + ranks) % ranks;
  return members === undefined ? rank + (other - position) * stride : members[other]!;
}

/** The order of use of queues and trees, which goes on from collective to collective. */
interface Turns {
  /** Next queue of the first and of the second half of each dimension's, and of all of them. */
  readonly first: number[];
  readonly second: number[];
  readonly all: number[];
  /** Trees handed out, by collective and dimension. */
  readonly trees: Map<string, number>;
}

/** Plans the collectives of one rank. */
export class CollectivePlanner {
  readonly #dimensions: readonly AstraDimension[];
  readonly #system: AstraSystem;
  readonly #queues: number;
  readonly #ranks: number;
  readonly #rules: 'astra' | 'trnsim';
  readonly #turns: Turns;

  constructor(
    dimensions: readonly AstraDimension[],
    system: AstraSystem,
    queuesPerDimension: number,
    rules: 'astra' | 'trnsim',
  ) {
    this.#rules = rules;
    this.#dimensions = dimensions;
    this.#system = system;
    this.#queues = queuesPerDimension;
    this.#ranks = dimensions.reduce((product, { npus }) => product * npus, 1);
    const each = (value: number) => dimensions.map(() => value);
    // The halves of a single queue are that queue.
    this.#turns = { first: each(0), second: each(Math.floor(queuesPerDimension / 2)), all: each(0), trees: new Map() };
  }

  /**
   * Phases of each chunk; none if there is nobody to talk to.
   * @throws ModelError UNSUPPORTED or WORKLOAD naming the node if ASTRA-sim could not run it either
   */
  plan(collective: AstraCollective, bytes: number, node: ReplayNode, { members }: Communicator): Phase[][] {
    const implementations = this.#implementations(collective, members, node);
    const rings = this.#rings(implementations, members);
    // ASTRA-sim forgets which dimensions are involved as soon as a group is named.
    const steps = this.#steps(collective, rings, members === undefined ? node.dimensions : undefined);
    if (steps.length === 0) {
      if (this.#rules === 'trnsim') return [];
      throw new ModelError('WORKLOAD', node.path, 'a collective of one rank: in ASTRA-sim it never ends');
    }
    const { chunk, chunks } = this.#cut(collective, bytes, members?.length ?? this.#ranks, node);
    return Array.from({ length: chunks }, () => {
      let data = chunk;
      return steps.map(({ collective: part, ring, half }): Phase => {
        const phase = this.#phase(collective, part, rings[ring]!, implementations[ring]!, data, half, members);
        this.#check(phase, node);
        data = bytesAfter(phase);
        return phase;
      });
    });
  }

  #cut(collective: AstraCollective, bytes: number, ranks: number, { path }: ReplayNode) {
    const splits = this.#system.preferredDatasetSplits;
    let chunk = Math.floor(bytes / splits);
    let chunks = splits;
    if (this.#rules === 'trnsim') {
      // A byte to each rank at least, in fewer chunks if need be.
      chunk = Math.max(Math.ceil(bytes / splits), collective === 'all-gather' ? 1 : ranks);
      chunks = Math.max(1, Math.ceil(bytes / chunk));
    } else if (collective !== 'all-gather' && this.#ranks > chunk) chunk = this.#ranks;
    else if (chunk > 0) chunks = Math.ceil(bytes / chunk);
    else throw new ModelError('WORKLOAD', path, `${bytes} bytes cannot be gathered in ${splits} chunks`);
    if (chunks > MAX_CHUNKS) throw new ModelError('CAPACITY', path, `${chunks} chunks are more than ${MAX_CHUNKS}`);
    return { chunk, chunks };
  }

  #implementations(collective: AstraCollective, members: readonly number[] | undefined, node: ReplayNode) {
    const native = this.#system.implementations[collective];
    if (native === undefined) {
      throw new ModelError('WORKLOAD', node.path, `the system file has no ${collective}-implementation`);
    }
    if (native.length > this.#dimensions.length) {
      throw new ModelError('CONFIG', node.path, `${collective}-implementation has more entries than the network`);
    }
    if (members === undefined || members.length === this.#ranks) return native;
    return native.length > 1 ? [{ algorithm: 'ring', spansAll: false } as const] : native;
  }

  #rings(implementations: readonly AstraImplementation[], members: readonly number[] | undefined): Ring[] {
    if (members !== undefined && members.length < this.#ranks) {
      return [{ key: -1, ranks: members.length, stride: 0, members }];
    }
    const rings: Ring[] = [];
    let stride = 1;
    for (const [dimension, { spansAll }] of implementations.entries()) {
      const { npus } = this.#dimensions[dimension]!;
      // One that spans all ranks is the last.
      if (spansAll) {
        rings.push({ key: dimension, ranks: this.#ranks, stride: 1, members: undefined });
        break;
      }
      rings.push({ key: dimension, ranks: npus, stride, members: undefined });
      stride *= npus;
    }
    return rings;
  }

  /** Which part of the collective runs on which ring, in order. */
  #steps(collective: AstraCollective, rings: readonly Ring[], involved: readonly boolean[] | undefined) {
    type Step = { collective: AstraCollective; ring: number; half: 'first' | 'second' | 'all' };
    const active = [...rings.keys()].filter(
      (ring) => rings[ring]!.ranks > 1 && (involved === undefined || involved[ring] === true),
    );
    if (collective === 'all-reduce' && this.#system.collectiveOptimization === 'localBWAware') {
      const last = active.at(-1);
      if (last === undefined) return [];
      const below = active.slice(0, -1);
      const up = below.map((ring): Step => ({ collective: 'reduce-scatter', ring, half: 'first' }));
      const down = below.reverse().map((ring): Step => ({ collective: 'all-gather', ring, half: 'second' }));
      return [...up, { collective, ring: last, half: 'first' } as Step, ...down];
    }
    const order = collective === 'all-gather' ? active.reverse() : active;
    return order.map((ring): Step => ({ collective, ring, half: 'all' }));
  }

  #phase(
    whole: AstraCollective,
    part: AstraCollective,
    ring: Ring,
    { algorithm, window }: AstraImplementation,
    bytes: number,
    half: 'first' | 'second' | 'all',
    members: readonly number[] | undefined,
  ): Phase {
    const { queue, direction } = this.#takeQueue(Math.max(0, ring.key), half);
    return {
      collective: part,
      algorithm,
      window,
      ranks: ring.ranks,
      bytes,
      direction,
      isGroup: members !== undefined && ring.members !== undefined,
      ring,
      queue,
      isRootLast: algorithm === 'doubleBinaryTree' && this.#takeTree(whole, ring.key),
    };
  }

  #takeQueue(dimension: number, half: 'first' | 'second' | 'all'): { queue: number; direction: 1 | -1 } {
    const turn = this.#turns[half];
    const middle = Math.floor(this.#queues / 2);
    const taken = turn[dimension]!;
    const end = half === 'first' ? middle : this.#queues;
    turn[dimension] = taken + 1 >= end ? (half === 'second' ? middle : 0) : taken + 1;
    const isBackwards = half === 'second' || (half === 'all' && this.#queues > 1 && taken >= middle);
    return { queue: dimension * this.#queues + taken, direction: isBackwards ? -1 : 1 };
  }

  /** Whether the next tree is the one whose root is the last rank. */
  #takeTree(collective: AstraCollective, dimension: number): boolean {
    const key = `${collective} ${dimension}`;
    const count = this.#turns.trees.get(key) ?? 0;
    this.#turns.trees.set(key, count + 1);
    return count % 2 === 0;
  }

  #check(phase: Phase, { path }: ReplayNode): void {
    const { algorithm, collective, ranks, bytes, isGroup } = phase;
    const isPowerOfTwo = Number.isInteger(ranks) && (ranks & (ranks - 1)) === 0;
    if (algorithm === 'halvingDoubling' || algorithm === 'doubleBinaryTree') {
      if (!isPowerOfTwo) throw new ModelError('UNSUPPORTED', path, `${algorithm} needs 2^n ranks, got ${ranks}`);
      if (isGroup && algorithm === 'doubleBinaryTree') {
        throw new ModelError('UNSUPPORTED', path, 'a tree within a communicator group: ASTRA-sim has none');
      }
      if (collective === 'all-to-all' && algorithm === 'halvingDoubling') {
        throw new ModelError('UNSUPPORTED', path, 'halvingDoubling has no all-to-all');
      }
    }
    const least = algorithm === 'halvingDoubling' && collective !== 'all-gather' ? Math.floor(bytes / ranks) : 1;
    if (least < 1 || messageBytes(phase) < 1) {
      throw new ModelError('WORKLOAD', path, `${bytes} bytes leave a message empty among ${ranks} ranks`);
    }
  }
}
