/**
 * A system that ranks run on: which cores a rank has, which chip it sits on, what its share of the memory is, and the
 * fabric between the chips.
 * Ranks fill one chip after another.
 */
import { expectInteger, ModelError } from '../base/errors.ts';
import type { Bytes } from '../base/units.ts';
import { programmableCore } from '../core/operator-clock.ts';
import { ringOrder } from '../fabric/rings.ts';
import { buildTopology, type Topology } from '../fabric/topology.ts';
import type { SystemSpec } from '../hardware/spec.ts';
import { onChipLink } from './cluster.ts';
import { type RankOptions, rankLayout } from './ranks.ts';

export interface Machine {
  readonly system: SystemSpec;
  readonly rank: 'core' | 'chip';
  readonly lnc: number;
  readonly ranks: number;
  readonly ranksPerChip: number;
  /** Chip of each rank. */
  readonly chipOf: Int32Array;
  /** Ranks in an order in which neighbours are near: chips along a ring of the fabric, the ranks of a chip together. */
  readonly ring: Int32Array;
  /** Physical cores of a rank. */
  readonly coresPerRank: number;
  readonly topology: Topology;
}

/**
 * The ranks of a system.
 * @throws RangeError for a wrong option, ModelError if the system has no NeuronCores or no described fabric.
 */
export function createMachine(system: SystemSpec, options: RankOptions = {}): Machine {
  const { chip, chips, fabric } = system;
  if (chip.cores === null) {
    throw new ModelError('UNSUPPORTED', system.id, `expected a system of NeuronCores, got one of ${chip.name}`);
  }
  const { rank, lnc, ranksPerChip } = rankLayout(chip, options);
  if (fabric === null) {
    throw new ModelError('TOPOLOGY', system.id, 'expected a system whose links are published, got none');
  }
  const ranks = expectInteger('ranks', options.ranks ?? chips * ranksPerChip, 1, chips * ranksPerChip);
  programmableCore(chip);
  const usedChips = Math.ceil(ranks / ranksPerChip);
  const chipRing = ringOrder(
    fabric,
    Int32Array.from({ length: usedChips }, (_, i) => i),
  );
  const ring = Array.from(chipRing).flatMap((chipIndex) =>
    Array.from({ length: ranksPerChip }, (_, i) => chipIndex * ranksPerChip + i).filter((r) => r < ranks),
  );
  return {
    system,
    rank,
    lnc,
    ranks,
    ranksPerChip,
    chipOf: Int32Array.from({ length: ranks }, (_, i) => Math.floor(i / ranksPerChip)),
    ring: Int32Array.from(ring),
    coresPerRank: chip.cores / ranksPerChip,
    topology: buildTopology(fabric, chips, onChipLink(system)),
  };
}

/**
 * Bytes of HBM that each chip's ranks take together, checked against the chip.
 * @throws ModelError with code CAPACITY that says what is over and by how much.
 */
export function placeInHbm(
  machine: Pick<Machine, 'system' | 'ranks' | 'ranksPerChip'>,
  bytesPerRank: Bytes,
): { chipBytes: Bytes; capacity: Bytes } {
  const { chip, id } = machine.system;
  const capacity = chip.memory.capacity;
  if (capacity === null) throw new ModelError('CAPACITY', id, `expected ${chip.name} to have a published memory size`);
  const ranks = Math.min(machine.ranksPerChip, machine.ranks);
  const chipBytes = bytesPerRank * ranks;
  if (chipBytes > capacity) {
    const over = `${chipBytes} (${ranks} rank${ranks === 1 ? '' : 's'} of ${bytesPerRank}), ${chipBytes - capacity} too many`;
    throw new ModelError('CAPACITY', `${id}: HBM`, `expected at most ${capacity} bytes on a chip, got ${over}`);
  }
  return { chipBytes, capacity };
}
