/**
 * From a request to a schedule: which ranks take part, where each one's data lies, which algorithm moves it.
 *
 * Buffers. Everything but all-to-all, permute and send-recv works in place on the whole of the data, `elements` long, in
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
import { expectInteger, expectKnownKeys, expectOneOf } from '../base/errors.ts';
import type { Algorithm, AlgorithmOptions, Exchange, Team } from './algorithms/algorithm.ts';
import { collectivesOf, findAlgorithm } from './algorithms/registry.ts';
import { checkGroups, checkOrder, checkPairs } from './groups.ts';
import { atOnce, classNumbers, cutPart, NOTHING, type Part, type Phase } from './phase.ts';
import {
  COLLECTIVES,
  type Collective,
  type RankRanges,
  type Schedule,
  TransferList,
  wholeBuffers,
} from './schedule.ts';

/** A guard against a typing error: a step of a mesh of that many ranks would not fit in memory. */
const MAX_RANKS = 2 ** 20;

export interface ScheduleOptions {
  readonly collective: Collective;
  /** Name of an algorithm: `collectiveAlgorithms()`. */
  readonly algorithm: string;
  readonly ranks: number;
  /** Elements of the whole: of a rank's input in all-reduce, reduce-scatter, all-to-all; of its output in all-gather. */
  readonly elements?: number;
  /**
   * Instead of `elements`: what each rank contributes (all-gather, gather) or gets (reduce-scatter, scatter), by rank; for
   * all-to-all the matrix of what rank i sends to rank j, at i * ranks + j.
   */
  readonly counts?: ArrayLike<number>;
  /** Replica groups, which run the collective side by side: ranks in the order of their positions. One group of all if left out. */
  readonly groups?: readonly ArrayLike<number>[];
  /** Position of the root in every group; 0 if left out. */
  readonly root?: number;
  /** permute, send-recv: source and destination positions; none more than once as either. */
  readonly pairs?: readonly (readonly [number, number])[];
  readonly orders?: AlgorithmOptions['orders'];
  readonly slices?: number;
  readonly groupSize?: number;
  readonly intra?: string;
  readonly inter?: string;
  readonly interOrders?: AlgorithmOptions['interOrders'];
}

const KNOWN: readonly (keyof ScheduleOptions)[] = [
  'collective',
  'algorithm',
  'ranks',
  'elements',
  'counts',
  'groups',
  'root',
  'pairs',
  'orders',
  'slices',
  'groupSize',
  'intra',
  'inter',
  'interOrders',
];

/**
 * The schedule of a collective. One rank, or no elements: a schedule without steps.
 * @throws RangeError or TypeError for a wrong option, or one that says what the algorithm lacks for this collective
 */
export function buildSchedule(options: ScheduleOptions): Schedule {
  expectKnownKeys('options', options, KNOWN);
  const collective = expectOneOf('collective', options.collective, COLLECTIVES);
  const algorithm = findAlgorithm('algorithm', options.algorithm);
  const ranks = expectInteger('ranks', options.ranks, 1, MAX_RANKS);
  const groups = checkGroups(options.groups, ranks);
  const layout = layOut(collective, options, ranks, groups);
  const phases: Phase[] = [];
  let endpoints = ranks;
  groups.forEach((members, g) => {
    const team = { members, firstSwitch: endpoints };
    const resolved = resolveOptions(options, members.length);
    checkDefined(algorithm, collective, members.length, resolved);
    const phase = layout.isEmpty ? NOTHING : layout.phase(algorithm, team, g, resolved);
    endpoints = Math.max(endpoints, phase.endpoints ?? 0);
    phases.push(phase);
  });
  const phase = phases.length === 0 ? NOTHING : atOnce(phases);
  const classes = classNumbers();
  const { elements, input, output } = layout;
  const groupSize = new Int32Array(ranks);
  for (const members of groups) for (const rank of members) groupSize[rank] = members.length;
  return {
    collective,
    algorithm: algorithm.name,
    ranks,
    endpoints,
    elements: elements + (phase.scratch ?? 0),
    input,
    output,
    groupSize,
    steps: phase.steps,
    stepClass: Int32Array.from({ length: phase.steps }, (_, step) => classes(String(phase.stepClass(step)))),
    transfers: (step) => {
      expectInteger('step', step, 0, phase.steps - 1);
      const list = new TransferList();
      phase.emit(step, list.add.bind(list));
      return list.build();
    },
  };
}

/** The ring all-reduce over the ranks in ring order: `order[i]` sends to `order[i + 1]`, the last to the first. */
export function ringAllReduce(order: ArrayLike<number>, elements: number): Schedule {
  return buildSchedule({ collective: 'all-reduce', algorithm: 'ring', ranks: order.length, elements, orders: [order] });
}

/** Why `algorithm` can't run `collective` on `ranks` ranks, as a sentence; null if it can. */
export function whyNot(
  algorithm: Algorithm,
  collective: Collective,
  ranks: number,
  options: AlgorithmOptions,
): string | null {
  if (algorithm[collective] === undefined) {
    return `expected an algorithm that defines ${collective}, got ${algorithm.name}, which defines ${collectivesOf(algorithm).join(', ')}`;
  }
  const missing = algorithm.requirement?.(collective, ranks, options) ?? null;
  return missing === null ? null : `${algorithm.name} expected ${missing}`;
}

function checkDefined(algorithm: Algorithm, collective: Collective, ranks: number, options: AlgorithmOptions): void {
  const why = whyNot(algorithm, collective, ranks, options);
  if (why !== null) throw new RangeError(`"algorithm" ${why}`);
}

/** Checks the options of the algorithm against the size of a group, and looks up the algorithms that they name. */
function resolveOptions(options: ScheduleOptions, members: number): AlgorithmOptions {
  const { orders, slices, groupSize, intra, inter, interOrders } = options;
  const places = groupSize === undefined ? members : expectInteger('groupSize', groupSize, 1, members);
  const check = (name: string, given: AlgorithmOptions['orders'], count: number) => {
    if (given !== undefined && given.length === 0)
      throw new RangeError(`"${name}" expected at least one order, got none`);
    for (const [i, order] of (given ?? []).entries()) checkOrder(`${name}[${i}]`, order, count);
  };
  check('orders', orders, places);
  check('interOrders', interOrders, Math.floor(members / places));
  return {
    ...(orders && { orders }),
    ...(slices !== undefined && { slices: expectInteger('slices', slices, 1, 2 ** 20) }),
    ...(groupSize !== undefined && { groupSize }),
    ...(intra !== undefined && { intra: findAlgorithm('intra', intra) }),
    ...(inter !== undefined && { inter: findAlgorithm('inter', inter) }),
    ...(interOrders && { interOrders }),
  };
}

/** Where the data of a collective lies, and the phase that moves the data of one group. */
interface Layout {
  readonly elements: number;
  readonly input: RankRanges;
  readonly output: RankRanges;
  readonly isEmpty: boolean;
  readonly phase: (algorithm: Algorithm, team: Team, group: number, options: AlgorithmOptions) => Phase;
}

function layOut(
  collective: Collective,
  options: ScheduleOptions,
  ranks: number,
  groups: readonly Int32Array[],
): Layout {
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

function layOutBarrier(options: ScheduleOptions, ranks: number): Layout {
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
  { elements, counts, root: givenRoot }: ScheduleOptions,
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
function layOutExchange({ elements, counts }: ScheduleOptions, ranks: number, groups: readonly Int32Array[]): Layout {
  if (counts !== undefined) checkCounts(counts, ranks * ranks);
  const input = wholeBuffers(ranks, 0);
  const output = wholeBuffers(ranks, 0);
  const tables = groups.map((members) => {
    const p = members.length;
    const chunks = elements === undefined ? [] : cutPart(whole(elements), p).map((chunk) => chunk[0]?.length ?? 0);
    const count = (i: number, j: number): number => (counts ? counts[members[i]! * ranks + members[j]!]! : chunks[j]!);
    const from = new Float64Array(p * p);
    const to = new Float64Array(p * p);
    for (let i = 0; i < p; i++) {
      let sent = 0;
      let received = 0;
      for (let j = 0; j < p; j++) {
        from[i * p + j] = sent;
        to[j * p + i] = received;
        sent += count(i, j);
        received += count(j, i);
      }
      input.length[members[i]!] = sent;
      output.length[members[i]!] = received;
    }
    return { count, from, to };
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
      const p = team.members.length;
      const { count, from, to } = tables[g]!;
      const exchange: Exchange = {
        scratch,
        blocks: (i, j) => {
          const length = count(i, j);
          return length === 0 ? [] : [{ from: from[i * p + j]!, to: behind + to[i * p + j]!, length }];
        },
      };
      return algorithm['all-to-all']!(team, exchange, options);
    },
  };
}

/** permute: everybody has input and output, zeros where nothing arrives. send-recv: only those who send or receive. */
function layOutPairs(
  collective: 'permute' | 'send-recv',
  { elements = 0, pairs = [] }: ScheduleOptions,
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
