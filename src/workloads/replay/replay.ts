/**
 * Replays Chakra traces on an ASTRA-sim network and system: when each rank ends.
 *
 * Timing `astra` gives ASTRA-sim's own answer, to the nanosecond, from its congestion-unaware backend or, in one
 * dimension, its congestion-aware one. Timing `trnsim` runs the same graphs on links that no message overdraws
 * (`physical.ts`). Ranks that run alike are simulated once (`classes.ts`), so that 64 and 1,000,000 cost the same.
 * A run that stops before every node has ended (a receive without a send, a group whose ranks disagree) is an error that
 * names a rank and the node it waits for.
 */
import { expectInteger, expectOneOf, ModelError, show } from '../../base/errors.ts';
import { type AstraDimension, astraRanks } from '../../formats/astra-network.ts';
import type { AstraGroups, AstraMemory, AstraSystem } from '../../formats/astra-system.ts';
import type { ChakraTrace } from '../../formats/chakra.ts';
import { ASTRA_COLLECTIVES, astraMachine } from './astra.ts';
import { type RankClasses, rankClasses } from './classes.ts';
import { EventQueue } from './events.ts';
import { type Machine, RankExecutor } from './executor.ts';
import { type ReplayGraph, replayGraph } from './graph.ts';
import { isShared } from './memory.ts';
import { awareNetwork, unawareNetwork } from './network.ts';
import { type EndpointTime, phaseTimer } from './phase-time.ts';
import { physicalComputeTime, physicalNetwork } from './physical.ts';
import { astraComputeTime } from './roofline.ts';

export interface ReplayTrace {
  /** Of the file, for errors. */
  readonly path: string;
  readonly trace: ChakraTrace;
}

export interface ReplayInputs {
  /** One for each rank, or one for all. Ranks with equal traces may share one object. */
  readonly traces: readonly ReplayTrace[];
  readonly network: readonly AstraDimension[];
  readonly system: AstraSystem;
  /** No remote memory if left out. */
  readonly memory?: AstraMemory;
  /** By the names that the traces use; none if left out. */
  readonly groups?: AstraGroups;
}

export interface ReplayOptions {
  readonly timing?: 'astra' | 'trnsim';
  /** Of timing `astra`: messages queue for links, in one dimension. */
  readonly congestion?: 'unaware' | 'aware';
  /** ASTRA-sim's --num-queues-per-dim. */
  readonly queuesPerDimension?: number;
  /** ASTRA-sim's --injection-scale: of the endpoint delay. */
  readonly injectionScale?: number;
  /** Whether control dependencies hold, as in ASTRA-sim's present feeder. */
  readonly controlDependencies?: boolean;
  /** Simulate one rank for all that run alike. */
  readonly fold?: boolean;
}

export interface RankTime {
  readonly rank: number;
  /** When the rank's last node ended. */
  readonly timeNs: number;
  /** Of it, not covered by computation. */
  readonly exposedCommNs: number;
}

export interface ReplayResult {
  readonly timing: 'astra' | 'trnsim';
  readonly ranks: number;
  readonly timeNs: number;
  /** One row for each class of ranks that run alike, `size` of them, the first of them named. */
  readonly classes: readonly (RankTime & { readonly size: number })[];
  /** The row of any rank. */
  readonly rankTime: (rank: number) => RankTime;
}

const NO_MEMORY: AstraMemory = { type: 'none', nodes: 0, npusPerNode: 0, latencyNs: 0, bytesPerNs: 0 };

/**
 * When each rank ends.
 * @throws ModelError that names file and node if a trace cannot run, RangeError for an option out of range
 */
export function replay(inputs: ReplayInputs, options: ReplayOptions = {}): ReplayResult {
  const timing = expectOneOf('timing', options.timing ?? 'trnsim', ['astra', 'trnsim']);
  const congestion = expectOneOf('congestion', options.congestion ?? 'unaware', ['unaware', 'aware']);
  const queuesPerDimension = expectInteger('queuesPerDimension', options.queuesPerDimension ?? 1, 1, 1024);
  const { network: dimensions, system, memory = NO_MEMORY, groups = new Map() } = inputs;
  const ranks = astraRanks(dimensions);
  const graphs = graphsOf(inputs.traces, ranks, options.controlDependencies ?? true);
  const isPhysical = timing === 'trnsim';
  const isAware = !isPhysical && congestion === 'aware';
  const hasLinks = isPhysical || isAware;
  const isSerial = Math.max(system.activeChunksPerDimension, queuesPerDimension) === 1;
  // Windows of several streams on one link: there ranks that are alike end apart, by the order of equal times.
  const isTied =
    isAware &&
    !isSerial &&
    Object.values(system.implementations)
      .flat()
      .some(({ window }) => window);
  const classes = rankClasses({
    dimensions,
    ranks,
    graphs,
    groups,
    placeOf: options.fold === false || isTied ? (rank) => rank : placesThatDiffer(inputs, graphs, hasLinks),
    // Partners of halving-doubling mirror each other: one is like the other only if all are alike.
    oneOrAll: hasLinks || uses(system, 'halvingDoubling'),
    // Where ASTRA-sim's order on a link has to be met to the ns, all ranks must be in every collective.
    foldsGroups: !isAware,
  });
  const queue = new EventQueue();
  const isFolded = classes.classes.length < ranks;
  const network = (on: EventQueue, folded: boolean) => {
    if (isPhysical) return physicalNetwork(dimensions, on, folded);
    return isAware ? awareNetwork(dimensions, on, folded) : unawareNetwork(dimensions, on);
  };
  const endpoint = endpointTime(system, options.injectionScale ?? 1);
  // On links that fill up a phase is alone only if one rank stands for all and runs one stream at a time.
  const isAlone = !hasLinks || (isFolded && isSerial);
  const machine: Machine = astraMachine({
    dimensions,
    system,
    memory,
    queuesPerDimension,
    rules: timing,
    computeTime: isPhysical ? physicalComputeTime(system) : astraComputeTime(system),
    network: network(queue, isFolded),
    queue,
    classes,
    endpoint,
    phaseTime: isAlone ? phaseTimer(endpoint, (on) => network(on, true)) : undefined,
  });
  return run(classes, system.replayOnly, machine, queue, timing, ranks);
}

function uses({ implementations }: AstraSystem, algorithm: string): boolean {
  return Object.values(implementations).some((list) => list.some((one) => one.algorithm === algorithm));
}

function graphsOf(traces: readonly ReplayTrace[], ranks: number, control: boolean): ReplayGraph[] {
  if (traces.length !== 1 && traces.length !== ranks) {
    throw new RangeError(`"traces" expected one for all or one for each of ${ranks} ranks, got ${traces.length}`);
  }
  const known = new Map<ChakraTrace, ReplayGraph>();
  return traces.map(({ path, trace }) => {
    const graph = known.get(trace) ?? replayGraph(trace, path, control);
    known.set(trace, graph);
    return graph;
  });
}

/**
 * What sets ranks apart whose traces do not: memory that they queue for; their place in a tree; and where links fill up,
 * their place on a ring whose partners are not all at one distance the same way round (halving-doubling), or that winds
 * through several dimensions.
 */
function placesThatDiffer(
  { network, system, memory }: ReplayInputs,
  graphs: readonly ReplayGraph[],
  hasLinks: boolean,
): ((rank: number) => number) | undefined {
  const nodes = [...new Set(graphs)].flatMap((graph) => graph.nodes);
  if (memory !== undefined && isShared(memory) && nodes.some(({ kind }) => kind === 'memory')) return (rank) => rank;
  const used = new Set(nodes.flatMap(({ collective }) => (collective && ASTRA_COLLECTIVES[collective]) ?? []));
  const implementations = [...used].map((collective) => system.implementations[collective] ?? []);
  if (hasLinks && network.length > 1 && implementations.flat().some(({ spansAll }) => spansAll)) return (rank) => rank;
  const setsApart = network.map(({ topology, npus }, dimension) =>
    implementations.some((list) => {
      const algorithm = list[dimension]?.algorithm;
      const isMirrored = hasLinks && algorithm === 'halvingDoubling' && topology === 'Ring' && npus > 2;
      return algorithm === 'doubleBinaryTree' || isMirrored;
    }),
  );
  if (!setsApart.includes(true)) return undefined;
  return (rank) => {
    let place = 0;
    let rest = rank;
    for (const [dimension, { npus }] of network.entries()) {
      if (setsApart[dimension]) place = place * npus + (rest % npus);
      rest = Math.floor(rest / npus);
    }
    return place;
  };
}

function endpointTime(system: AstraSystem, injectionScale: number): EndpointTime {
  if (!(Number.isFinite(injectionScale) && injectionScale >= 0)) {
    throw new RangeError(`"injectionScale" expected a number >= 0, got ${show(injectionScale)}`);
  }
  const delay = Math.floor(system.endpointDelayNs * injectionScale);
  const bandwidth = system.localMemoryBandwidth;
  return {
    // The endpoint of a ring of its own is a constant of ASTRA-sim's (MemBus.cc, Transmition::Fast).
    delay: (isGroup) => (isGroup ? 10 : delay),
    added(bytes) {
      if (bandwidth === 0) throw new ModelError('CONFIG', 'system', 'a reduction needs local-mem-bw > 0');
      // One write and two reads, each cut to whole ns.
      return 3 * Math.floor((bytes / bandwidth) * 1e9);
    },
  };
}

function run(
  classes: RankClasses,
  replayOnly: boolean,
  machine: Machine,
  queue: EventQueue,
  timing: 'astra' | 'trnsim',
  ranks: number,
): ReplayResult {
  const executors = classes.classes.map((rankClass) => new RankExecutor(rankClass, replayOnly, machine, queue));
  for (const executor of executors) executor.start();
  queue.run();
  const rows = executors.map((executor) => {
    const { finishedAt, computeTime } = executor;
    const { rank, size } = executor.class;
    if (finishedAt === undefined) {
      throw new ModelError(
        'WORKLOAD',
        executor.stuck()!.path,
        `rank ${rank} waits here for something that never comes`,
      );
    }
    return { rank, size, timeNs: finishedAt, exposedCommNs: finishedAt - computeTime };
  });
  return {
    timing,
    ranks,
    timeNs: rows.reduce((latest, { timeNs }) => Math.max(latest, timeNs), 0),
    classes: rows,
    rankTime(rank) {
      expectInteger('rank', rank, 0, ranks - 1);
      const { timeNs, exposedCommNs } = rows[classes.classOf(rank)]!;
      return { rank, timeNs, exposedCommNs };
    },
  };
}
