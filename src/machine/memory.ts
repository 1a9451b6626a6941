/** The memory of the chips: whether what the ranks hold fits. */
import { ModelError } from '../base/errors.ts';
import type { Bytes } from '../base/units.ts';
import type { Cluster } from '../fabric/cluster.ts';

/**
 * Bytes of HBM that each chip's ranks take together, checked against the chip.
 * @throws ModelError with code CAPACITY that says what is over and by how much.
 */
export function placeInHbm(
  { system, ranks, ranksPerChip }: Pick<Cluster, 'system' | 'ranks' | 'ranksPerChip'>,
  bytesPerRank: Bytes,
): { chipBytes: Bytes; capacity: Bytes } {
  const { chip, id } = system;
  const capacity = chip.memory.capacity;
  if (capacity === null) throw new ModelError('CAPACITY', id, `expected ${chip.name} to have a published memory size`);
  const sharing = Math.min(ranksPerChip, ranks);
  const chipBytes = bytesPerRank * sharing;
  if (chipBytes > capacity) {
    const over = `${chipBytes} (${sharing} rank${sharing === 1 ? '' : 's'} of ${bytesPerRank}), ${chipBytes - capacity} too many`;
    throw new ModelError('CAPACITY', `${id}: HBM`, `expected at most ${capacity} bytes on a chip, got ${over}`);
  }
  return { chipBytes, capacity };
}
