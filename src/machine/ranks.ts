/**
 * What a rank is: a logical NeuronCore, as the Neuron SDK counts (1 or 2 physical cores, `lnc`), or a whole chip.
 * On other makers' chips it is always the chip.
 */
import { expectInteger, expectOneOf } from '../base/errors.ts';
import type { ChipSpec } from '../hardware/spec.ts';

export interface RankOptions {
  /** What a rank is; 'core' (a logical NeuronCore) by default, 'chip' on chips without NeuronCores. */
  readonly rank?: 'core' | 'chip';
  /** Physical cores of a logical core, 1 or 2; the chip's default if left out. */
  readonly lnc?: number;
  /** Uses the first `ranks` only; the others idle. */
  readonly ranks?: number;
}

export interface RankLayout {
  readonly rank: 'core' | 'chip';
  readonly lnc: number;
  readonly ranksPerChip: number;
  /** Physical cores of a rank; 1 where the chip has no NeuronCores. */
  readonly coresPerRank: number;
}

/** @throws RangeError or TypeError for an option that the chip does not have */
export function rankLayout(chip: ChipSpec, options: RankOptions): RankLayout {
  const { cores, logicalCoreSize } = chip;
  const rank = expectOneOf('rank', options.rank ?? (cores === null ? 'chip' : 'core'), ['core', 'chip']);
  if (cores === null && rank === 'core') throw new RangeError(`"rank" expected chip on ${chip.name}, got "core"`);
  const lnc = expectInteger('lnc', options.lnc ?? logicalCoreSize, 1, 2);
  if ((cores !== null && cores % lnc !== 0) || (lnc === 2 && logicalCoreSize === 1)) {
    throw new RangeError(`"lnc" expected 1 on ${chip.name}, got ${lnc}`);
  }
  const ranksPerChip = cores === null || rank === 'chip' ? 1 : cores / lnc;
  return { rank, lnc, ranksPerChip, coresPerRank: (cores ?? 1) / ranksPerChip };
}
