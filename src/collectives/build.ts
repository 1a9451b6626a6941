/**
 * From a request to a schedule: which ranks take part, where each one's data lies, which algorithm moves it.
 *
 * `layout.ts` says where each rank's data lies.
 */
import { expectInteger, expectKnownKeys, expectOneOf } from '../base/errors.ts';
import type { Algorithm, AlgorithmOptions } from './algorithms/algorithm.ts';
import { collectivesOf, findAlgorithm } from './algorithms/registry.ts';
import { checkGroups, checkOrder } from './groups.ts';
import { layOut } from './layout.ts';
import { atOnce, classNumbers, NOTHING, type Phase } from './phase.ts';
import { COLLECTIVES, type Collective, type Schedule, TransferList } from './schedule.ts';

/** A guard against a typing error. More ranks are a matter of folding them into classes, not of listing transfers. */
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
  const phase = atOnce(phases);
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
