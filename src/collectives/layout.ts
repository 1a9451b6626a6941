/**
 * Where each rank's input and output lie in its buffer.
 *
 * Everything but all-to-all, permute and send-recv works in place on the whole of the data, `elements` long, in
 * which the part of position i of its group is chunk i:
 *
 *     all-reduce      whole -> whole           broadcast   whole of the root -> whole
 *     all-gather      own chunk -> whole       reduce      whole -> whole of the root
 *     reduce-scatter  whole -> own chunk       gather      own chunk -> whole of the root
 *     barrier         a flag in scratch        scatter     whole of the root -> own chunk
 *     all-to-all      what is for each position, in order -> what is from each, in order; permute, send-recv: whole -> whole
 *
 * In the last row the output lies behind the input. Chunks are as even as they can be, or of the `counts` given (the
 * collectives with a v at the end of their names). Ranks in no group, senders that receive nothing and so on have an input
 * or output of length 0.
 */
import { expectInteger } from '../base/errors.ts';
import type { Algorithm, AlgorithmOptions, Exchange, Team } from './algorithms/algorithm.ts';
import type { ScheduleOptions } from './build.ts';
import { checkPairs } from './groups.ts';
import { cutPart, NOTHING, type Part, type Phase } from './phase.ts';
import { type Collective, chunkStart, type RankRanges, wholeBuffers } from './schedule.ts';

/** What of the options says where the data lies. */
type Sizes = Pick<ScheduleOptions, 'elements' | 'counts' | 'root' | 'pairs'>;

/** Where the data of a collective lies, and the phase that moves the data of one group. */
export interface Layout {
  readonly elements: number;
  readonly input: RankRanges;
  readonly output: RankRanges;
  readonly isEmpty: boolean;
  readonly phase: (algorithm: Algorithm, team: Team, group: number, options: AlgorithmOptions) => Phase;
}

/** Checks sizes, root and pairs, and says where everything lies. */
export function layOut(collective: Collective, options: Sizes, ranks: number, groups: readonly Int32Array[]): Layout {
  const only = (name: 'counts' | 'root' | 'pairs', choices: readonly Collective[]) => {
    if (options[name] !== undefined && !choices.includes(collective)) {
      throw new RangeError(`"${name}" expected one of ${choices.join(', ')}, got ${collective}`);
    }
  };
  only('counts', ['all-gather', 'reduce-scatter', 'gather', 'scatter', 'all-to-all']);
  only('root', ['broadcast', 'reduce', 'gather', 'scatter']);
  only('pairs', ['permute', 'send-recv']);
  if (collective === 'barrier') return layOutBarrier(options, ranks);
  if ((options.elements === undefined) === (options.counts === undefined)) {
    throw new TypeError('"options" expected either "elements" or "counts", got both or none');
  }
  if (options.elements !== undefined) expectInteger('elements', options.elements, 0, 2 ** 48);
  if (collective === 'all-to-all') return layOutExchange(options, ranks, groups);
  if (collective === 'permute' || collective === 'send-recv') return layOutPairs(collective, options, ranks, groups);
  return layOutWhole(collective, options, ranks, groups);
}

function layOutBarrier(options: Sizes, ranks: number): Layout {
  if (options.elements !== undefined) throw new RangeError('"elements" expected nothing for barrier, got a number');
  return {
    elements: 1,
    input: wholeBuffers(ranks, 0),
    output: wholeBuffers(ranks, 0),
    isEmpty: false,
    phase: (algorithm, team) => (team.members.length === 1 ? NOTHING : algorithm.barrier!(team)),
  };
}

type WholeCollective = Exclude<Collective, 'all-to-all' | 'permute' | 'send-recv' | 'barrier'>;

/** What each rank has before and after, of the whole of its group. */
const ENDS: Readonly<Record<WholeCollective, readonly [End, End]>> = {
  'all-reduce': ['whole', 'whole'],
  'all-gather': ['chunk', 'whole'],
  'reduce-scatter': ['whole', 'chunk'],
  broadcast: ['root', 'whole'],
  reduce: ['whole', 'root'],
  gather: ['chunk', 'root'],
  scatter: ['root', 'chunk'],
};
type End = 'whole' | 'chunk' | 'root';

function layOutWhole(
  collective: WholeCollective,
  { elements, counts, root: givenRoot }: Sizes,
  ranks: number,
  groups: readonly Int32Array[],
): Layout {
  const input = wholeBuffers(ranks, 0);
  const output = wholeBuffers(ranks, 0);
  if (counts !== undefined) checkCounts(counts, ranks);
  const chunksOf = groups.map((members) => {
    if (counts === undefined) return cutPart(whole(elements!), members.length);
    let offset = 0;
    return Array.from(members, (rank): Part => {
      const chunk = { offset, length: counts[rank]! };
      offset += chunk.length;
      return chunk.length === 0 ? [] : [chunk];
    });
  });
  const totals = chunksOf.map((chunks) => chunks.flat().reduce((sum, { length }) => sum + length, 0));
  const smallest = groups.reduce((least, { length }) => Math.min(least, length), ranks);
  const root = expectInteger('root', givenRoot ?? 0, 0, smallest - 1);
  groups.forEach((members, g) => {
    members.forEach((rank, i) => {
      ENDS[collective].forEach((end, which) => {
        const ranges = which === 0 ? input : output;
        const chunk = chunksOf[g]![i]![0];
        if (end === 'chunk') {
          ranges.offset[rank] = chunk?.offset ?? 0;
          ranges.length[rank] = chunk?.length ?? 0;
        } else if (end === 'whole' || i === root) ranges.length[rank] = totals[g]!;
      });
    });
  });
  return {
    elements: totals.reduce((most, total) => Math.max(most, total), 0),
    input,
    output,
    isEmpty: totals.every((total) => total === 0),
    phase: (algorithm, team, g, options) => {
      const data = whole(totals[g]!);
      if (team.members.length === 1 || data.length === 0) return NOTHING;
      switch (collective) {
        case 'all-reduce':
          return algorithm['all-reduce']!(team, data, options);
        case 'all-gather':
        case 'reduce-scatter':
          return algorithm[collective]!(team, chunksOf[g]!, options);
        case 'broadcast':
        case 'reduce':
          return algorithm[collective]!(team, data, root, options);
        case 'gather':
        case 'scatter':
          return algorithm[collective]!(team, chunksOf[g]!, root, options);
      }
    },
  };
}

function whole(elements: number): Part {
  return elements === 0 ? [] : [{ offset: 0, length: elements }];
}

/** All-to-all: the output lies behind the longest input. */
function layOutExchange({ elements, counts }: Sizes, ranks: number, groups: readonly Int32Array[]): Layout {
  if (counts !== undefined) checkCounts(counts, ranks * ranks);
  const input = wholeBuffers(ranks, 0);
  const output = wholeBuffers(ranks, 0);
  const tables = groups.map((members) => {
    const table = counts ? countedBlocks(members, counts, ranks) : evenBlocks(members.length, elements!);
    members.forEach((rank, i) => {
      input.length[rank] = table.sent(i);
      output.length[rank] = table.received(i);
    });
    return table;
  });
  const most = (ranges: RankRanges): number => ranges.length.reduce((a, b) => Math.max(a, b), 0);
  const behind = most(input);
  output.offset.fill(behind);
  const scratch = behind + most(output);
  return {
    elements: scratch,
    input,
    output,
    isEmpty: scratch === 0,
    phase: (algorithm, team, g, options) => {
      const { count, from, to } = tables[g]!;
      const exchange: Exchange = {
        scratch,
        blocks: (i, j) => {
          const length = count(i, j);
          return length === 0 ? [] : [{ from: from(i, j), to: behind + to(i, j), length }];
        },
      };
      return algorithm['all-to-all']!(team, exchange, options);
    },
  };
}

/** Of the block that position i sends to j: its length, and where it lies in i's input and in j's output. */
interface BlockTable {
  readonly count: (i: number, j: number) => number;
  readonly from: (i: number, j: number) => number;
  readonly to: (i: number, j: number) => number;
  /** Elements of a position's whole input, and output. */
  readonly sent: (i: number) => number;
  readonly received: (j: number) => number;
}

function evenBlocks(p: number, elements: number): BlockTable {
  const start = (j: number): number => chunkStart(elements, p, j);
  const count = (j: number): number => start(j + 1) - start(j);
  return {
    count: (_, j) => count(j),
    from: (_, j) => start(j),
    to: (i, j) => i * count(j),
    sent: () => elements,
    received: (j) => p * count(j),
  };
}

function countedBlocks(members: Int32Array, counts: ArrayLike<number>, ranks: number): BlockTable {
  const p = members.length;
  const count = (i: number, j: number): number => counts[members[i]! * ranks + members[j]!]!;
  // Sums along the rows and down the columns, with the total behind the last.
  const row = p + 1;
  const from = new Float64Array(p * row);
  const to = new Float64Array(p * row);
  for (let i = 0; i < p; i++) {
    for (let j = 0; j < p; j++) {
      from[i * row + j + 1] = from[i * row + j]! + count(i, j);
      to[i * row + j + 1] = to[i * row + j]! + count(j, i);
    }
  }
  return {
    count,
    from: (i, j) => from[i * row + j]!,
    to: (i, j) => to[j * row + i]!,
    sent: (i) => from[i * row + p]!,
    received: (j) => to[j * row + p]!,
  };
}

/** permute: everybody has input and output, zeros where nothing arrives. send-recv: only those who send or receive. */
function layOutPairs(
  collective: 'permute' | 'send-recv',
  { elements = 0, pairs = [] }: Sizes,
  ranks: number,
  groups: readonly Int32Array[],
): Layout {
  const input = wholeBuffers(ranks, 0);
  const output = wholeBuffers(ranks, 0);
  output.offset.fill(elements);
  for (const members of groups) {
    checkPairs(pairs, members.length);
    const everyone = Array.from(members, (_, i) => [i, i] as const);
    for (const [source, destination] of collective === 'permute' ? everyone : pairs) {
      input.length[members[source]!] = elements;
      output.length[members[destination]!] = elements;
    }
  }
  return {
    elements: 2 * elements,
    input,
    output,
    isEmpty: elements === 0 || pairs.length === 0,
    phase: (algorithm, team) => algorithm[collective]!(team, pairs, whole(elements), elements),
  };
}

function checkCounts(counts: ArrayLike<number>, length: number): void {
  if (counts.length !== length) throw new RangeError(`"counts" expected ${length} numbers, got ${counts.length}`);
  let total = 0;
  for (let i = 0; i < length; i++) total += expectInteger(`counts[${i}]`, counts[i]);
  expectInteger('the sum of "counts"', total, 0, 2 ** 48);
}
