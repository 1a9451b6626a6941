/**
 * Systems joined to a cluster that ranks run on: of every maker, from one chip to a million.
 *
 * On NeuronCores a rank is a logical core (`lnc` physical cores) or a whole chip; on other makers' chips it is the chip.
 * Ranks fill one chip after another, chips one node after another.
 */
import { expectInteger, expectKnownKeys, ModelError } from '../base/errors.ts';
import { buildClos, type Clos } from '../fabric/clos.ts';
import type { Cluster } from '../fabric/cluster.ts';
import { buildTopology, type LinkRate, type Topology } from '../fabric/topology.ts';
import { MAX_CHIPS } from '../hardware/fabric.ts';
import type { NetworkSpec, SystemSpec } from '../hardware/spec.ts';
import { type RankOptions, rankLayout } from './ranks.ts';

export interface ClusterOptions extends RankOptions {
  /** Systems of this kind; as many as `chips` or `ranks` need, or one, if left out. */
  readonly nodes?: number;
  /** Uses the first `chips` only, the last system in part. */
  readonly chips?: number;
  /** The network between the systems, in place of the system's own. */
  readonly network?: NetworkSpec;
}

/**
 * The cluster of `nodes` systems.
 * @throws RangeError or TypeError for a wrong option; ModelError if the system's links are not published, or if it has no
 * network and one is needed, or if the network does not hold that many chips
 */
export function createCluster(system: SystemSpec, options: ClusterOptions = {}): Cluster {
  expectKnownKeys('options', options, ['nodes', 'chips', 'ranks', 'rank', 'lnc', 'network']);
  const { rank, lnc, ranksPerChip } = rankLayout(system.chip, options);
  const { fabric, chips: chipsPerNode } = system;
  if (fabric === null) {
    throw new ModelError('TOPOLOGY', system.id, 'expected a system whose links are published, got none');
  }
  const needed = expectInteger('ranks', options.ranks ?? 1, 1, MAX_CHIPS * ranksPerChip);
  const wanted = options.chips ?? Math.ceil(needed / ranksPerChip);
  const mostNodes = Math.max(1, Math.floor(MAX_CHIPS / chipsPerNode));
  const nodes = expectInteger('nodes', options.nodes ?? Math.ceil(wanted / chipsPerNode), 1, mostNodes);
  const present = nodes * chipsPerNode;
  const inUse = expectInteger('chips', options.chips ?? present, 1, present);
  const ranks = expectInteger('ranks', options.ranks ?? inUse * ranksPerChip, 1, inUse * ranksPerChip);
  let topology: Topology | undefined;
  return {
    system,
    nodes,
    chipsPerNode,
    chips: Math.ceil(ranks / ranksPerChip),
    rank,
    lnc,
    ranksPerChip,
    ranks,
    chipOf: (r) => Math.floor(r / ranksPerChip),
    get scaleUp() {
      topology ??= buildTopology(fabric, chipsPerNode, onChipLink(system));
      return topology;
    },
    faultyNodes: new Map(),
    scaleOut: nodes === 1 ? null : scaleOut(system, present, options.network),
    substitutes: new Map(),
    slowChips: new Map(),
    lateRanks: new Map(),
  };
}

function scaleOut(system: SystemSpec, chips: number, network: NetworkSpec | null = system.network): Clos {
  const bandwidth = network?.bandwidth ?? (system.scaleOut === null ? null : system.scaleOut / system.chips);
  if (network === null || bandwidth === null) {
    throw new ModelError(
      'UNSUPPORTED',
      system.id,
      'expected a system with a scale-out network to join several, got none',
    );
  }
  return buildClos(network, chips, bandwidth);
}

/**
 * Latency of a transfer between two ranks of one chip: the DMA's semaphore-to-start, which every transfer has at least.
 * Its bandwidth is half of the chip's HBM bandwidth, shared by the chip's ranks: each byte is read once and written once.
 */
export function onChipLink({ chip }: SystemSpec): LinkRate {
  return { latency: chip.core?.dmaStart ?? 0, bandwidth: (chip.memory.bandwidth ?? 0) / 2 };
}
