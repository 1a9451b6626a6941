/**
 * Which ranks run alike: one of them is simulated for all.
 *
 * Ranks start in one class if their traces have one signature, and are split until every class looks the same from each
 * of its members: at every distance round each communicator group, a neighbour of the same class, as far away in the
 * network. (The coarsest equitable partition, by refinement.) Then a message to a neighbour can be given to the member
 * that stands for the neighbour's class, and the run of few is the run of all. The groups on which the ranks of a class
 * meet those of others become one quotient group, `key`.
 * Ranks that name others (send, receive) or queue for one memory are alone in their class.
 * see: Paige, Tarjan, Three partition refinement algorithms, SIAM J. Comput. 16 (1987)
 */
import { ModelError, show } from '../../base/errors.ts';
import type { AstraDimension } from '../../formats/astra-network.ts';
import { type AstraGroups, expectMembers } from '../../formats/astra-system.ts';
import type { ReplayGraph } from './graph.ts';
import { firstDifference, hopsWithin } from './network.ts';

/** A communicator group as one class sees it. */
export interface Communicator {
  /** Equal for the same group seen by different classes; 0 is all ranks. */
  readonly key: number;
  /** In the order of the ring; undefined: all ranks, by dimension. */
  readonly members: readonly number[] | undefined;
}

export interface RankClass {
  /** The member that is simulated: the first. */
  readonly rank: number;
  readonly size: number;
  readonly graph: ReplayGraph;
  /** By slot of the graph. */
  readonly communicators: readonly Communicator[];
}

export interface RankClasses {
  readonly classes: readonly RankClass[];
  readonly classOf: (rank: number) => number;
}

export interface FoldOptions {
  readonly dimensions: readonly AstraDimension[];
  readonly ranks: number;
  /** One for each rank, or one for all. */
  readonly graphs: readonly ReplayGraph[];
  readonly groups: AstraGroups;
  /** Ranks with different answers are never alike: their place in a tree, their memory. */
  readonly placeOf: ((rank: number) => number) | undefined;
  /** Only a single class is of use, as on links that fill up: every link then has the same load. */
  readonly oneOrAll: boolean;
  /** Of use also where communicator groups are used. */
  readonly foldsGroups: boolean;
}

/** Neighbours looked at in one refinement; beyond, and short of one class, every rank is simulated. */
const MAX_NEIGHBOURS = 2 ** 25;
/** Nodes times classes: what is held in memory. */
const MAX_SIMULATED_NODES = 2 ** 25;

function graphOf({ graphs }: FoldOptions, rank: number): ReplayGraph {
  return graphs[graphs.length === 1 ? 0 : rank]!;
}

/** Group members by slot of each rank, each list one object however often it is used. */
function groupResolver(options: FoldOptions) {
  const { groups, ranks } = options;
  const interned = new Map<string, readonly number[]>();
  return (rank: number, slot: number): readonly number[] => {
    const graph = graphOf(options, rank);
    const name = graph.slots[slot]!;
    let members = groups.get(name);
    const declared = graph.declaredGroups.get(name);
    if (declared !== undefined) {
      const all = declared.length === 0;
      const key = `${name}:${declared.join()}`;
      members = interned.get(key);
      if (members === undefined) {
        members = all ? Array.from({ length: ranks }, (_, i) => i) : expectMembers(declared, ranks, graph.path);
        interned.set(key, members);
      }
    }
    if (members === undefined) {
      throw new ModelError('WORKLOAD', graph.path, `communicator group ${show(name)} is not in the group file`);
    }
    if (!members.includes(rank)) {
      throw new ModelError('WORKLOAD', graph.path, `rank ${rank} is not in its communicator group ${show(name)}`);
    }
    return members;
  };
}

/** Small integers for keys, in order of first sight. */
function numbering(): (key: string) => number {
  const numbers = new Map<string, number>();
  return (key) => {
    const number = numbers.get(key) ?? numbers.size;
    numbers.set(key, number);
    return number;
  };
}

/**
 * The classes of the ranks.
 * @throws ModelError WORKLOAD if a trace uses a group that does not exist or that its rank is not in, CAPACITY if more
 * nodes would have to be simulated than fit
 */
export function rankClasses(options: FoldOptions): RankClasses {
  const { ranks, graphs, placeOf, oneOrAll, foldsGroups } = options;
  const [only] = graphs;
  if (graphs.length === 1 && placeOf === undefined && only!.slots.length === 1 && !only!.isAbsolute) {
    // One trace that speaks of all ranks alike: nothing to compare.
    const communicators = [{ key: 0, members: undefined }];
    return { classes: [{ rank: 0, size: ranks, graph: only!, communicators }], classOf: () => 0 };
  }
  const membersOf = groupResolver(options);
  const bySignature = numbering();
  const kinds = new Map(graphs.map((graph) => [graph, bySignature(graph.signature)]));
  const byKind = numbering();
  const colours = Int32Array.from({ length: ranks }, (_, rank) => {
    const graph = graphOf(options, rank);
    return byKind(`${graph.isAbsolute ? `rank ${rank}` : placeOf?.(rank)} ${kinds.get(graph)}`);
  });
  let count = refine(options, membersOf, colours);
  const hasGroups = graphs.some(({ slots }) => slots.length > 1);
  if ((oneOrAll && count > 1) || (hasGroups && !foldsGroups)) count = separate(colours);
  return collect(options, membersOf, colours, count);
}

/** Gives every rank its own colour. */
function separate(colours: Int32Array): number {
  for (let rank = 0; rank < colours.length; rank++) colours[rank] = rank;
  return colours.length;
}

/** Splits colours until they are equitable; the number of colours. */
function refine(
  options: FoldOptions,
  membersOf: (rank: number, slot: number) => readonly number[],
  colours: Int32Array,
): number {
  const { dimensions, ranks } = options;
  const around = dimensions.reduce((sum, { npus }) => sum + npus - 1, 0);
  let neighbours = ranks * around;
  for (let rank = 0; rank < ranks; rank++) {
    for (let slot = 1; slot < graphOf(options, rank).slots.length; slot++) neighbours += membersOf(rank, slot).length;
  }
  if (neighbours > MAX_NEIGHBOURS) return separate(colours);
  for (let count = new Set(colours).size; ; ) {
    const next = numbering();
    const isMixed = count > 1;
    const refined = Int32Array.from(colours, (colour, rank) => {
      let key = `${colour}`;
      const slots = graphOf(options, rank).slots.length;
      // Among ranks of one colour the whole machine looks the same from everywhere.
      if (isMixed) key += `;${lineColours(dimensions, rank, colours)}`;
      for (let slot = 1; slot < slots; slot++) {
        const members = membersOf(rank, slot);
        const position = members.indexOf(rank);
        key += `;${members.length}`;
        for (let k = 1; k < members.length; k++) {
          const member = members[(position + k) % members.length]!;
          const { dimension, from, to } = firstDifference(dimensions, rank, member);
          key += `,${colours[member]}.${dimension}.${hopsWithin(dimensions[dimension]!, from, to)}`;
        }
      }
      return next(key);
    });
    colours.set(refined);
    const refinedCount = new Set(refined).size;
    if (refinedCount === count) return count;
    count = refinedCount;
  }
}

/** Colours round each dimension, from `rank` on. */
function lineColours(dimensions: readonly AstraDimension[], rank: number, colours: Int32Array): string {
  let key = '';
  let stride = 1;
  for (const { npus } of dimensions) {
    const position = Math.floor(rank / stride) % npus;
    for (let k = 1; k < npus; k++) key += `,${colours[rank + (((position + k) % npus) - position) * stride]}`;
    stride *= npus;
  }
  return key;
}

function collect(
  options: FoldOptions,
  membersOf: (rank: number, slot: number) => readonly number[],
  colours: Int32Array,
  count: number,
): RankClasses {
  const { ranks } = options;
  const sizes = new Array<number>(count).fill(0);
  const representatives = new Array<number>(count);
  for (let rank = ranks - 1; rank >= 0; rank--) {
    sizes[colours[rank]!]!++;
    representatives[colours[rank]!] = rank;
  }
  const nodes = representatives.reduce((sum, rank) => sum + graphOf(options, rank).nodes.length, 0);
  if (nodes > MAX_SIMULATED_NODES) {
    throw new ModelError('CAPACITY', 'replay', `${count} ranks that differ have ${nodes} nodes, more than fit`);
  }
  // Union-find over (class, slot): a group joins the slots by which its members know it.
  const base: number[] = [];
  let total = 0;
  for (const rank of representatives) {
    base.push(total);
    total += graphOf(options, rank).slots.length;
  }
  const parent = Array.from({ length: total }, (_, i) => i);
  const find = (i: number): number => {
    while (parent[i] !== i) i = parent[i] = parent[parent[i]!]!;
    return i;
  };
  for (const [c, rank] of representatives.entries()) {
    for (let slot = 1; slot < graphOf(options, rank).slots.length; slot++) {
      const members = membersOf(rank, slot);
      for (const member of members) {
        const other = graphOf(options, member);
        for (let t = 1; t < other.slots.length; t++) {
          if (membersOf(member, t) === members) parent[find(base[c]! + slot)] = find(base[colours[member]!]! + t);
        }
      }
    }
  }
  const classes = representatives.map((rank, c): RankClass => {
    const graph = graphOf(options, rank);
    const communicators = graph.slots.map((_, slot): Communicator => {
      if (slot === 0) return { key: 0, members: undefined };
      return { key: find(base[c]! + slot) + 1, members: membersOf(rank, slot) };
    });
    return { rank, size: sizes[c]!, graph, communicators };
  });
  return { classes, classOf: (rank) => colours[rank]! };
}
