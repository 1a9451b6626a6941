/**
 * What on-chip memory holds and how it is reached: formats, partitions, banks and capacity, checked when a tile is declared or an
 * access is written.
 * see: Neuron SDK, nki/guides/architecture; hardware facts of the core in data/cores.
 */
import { ModelError, show } from '../base/errors.ts';
import type { CoreSpec } from '../hardware/spec.ts';
import { DTYPES, type DType } from '../kernels/dtype.ts';
import type { Tile, View } from './access.ts';

const QUADRANT = 32;
const MAX_SBUF_ACCESS = 65536;
const MAX_PSUM_ACCESS = 4096;
const MAX_PATTERN_DIMENSIONS = 4;

/** f4e2m1 is addressed four elements at a time. */
const F4_GROUP = 4;
export const FP8: readonly DType[] = ['f8e4m3', 'f8e4m3fn', 'f8e5m2', 'f8e3m4'];

/** @throws ModelError (PROGRAM) */
export function refuse(where: string, expected: string, got: unknown): never {
  throw new ModelError('PROGRAM', where, `expected ${expected}, got ${show(got)}`);
}

/** @throws ModelError (PROGRAM) */
export function expectDtype(where: string, name: string, dtype: DType, allowed: readonly DType[]): void {
  if (!allowed.includes(dtype)) refuse(where, `${name} in one of ${allowed.join(', ')}`, dtype);
}

/** The formats that engines of this core read and write. */
function coreDtypes({ version }: CoreSpec): readonly DType[] {
  const fp8: readonly DType[] =
    version >= 4
      ? FP8
      : version >= 3
        ? ['f8e4m3', 'f8e5m2', 'f8e3m4']
        : version >= 2
          ? ['f8e4m3', 'f8e5m2', 'f8e3m4']
          : [];
  const mx: readonly DType[] = version >= 4 ? ['f4e2m1', 'e8m0'] : [];
  return ['f32', 'bf16', 'f16', 'i8', 'i32', ...fp8, ...mx];
}

/** @throws ModelError (PROGRAM) if rows of `length` elements don't begin and end with a group of the format */
export function checkRows(where: string, dtype: DType, length: number): void {
  if (dtype === 'f4e2m1' && length % F4_GROUP !== 0) refuse(where, `rows of whole groups of ${F4_GROUP}`, length);
}

/** @throws ModelError (PROGRAM) for a tile that the buffer doesn't hold */
export function checkTile(core: CoreSpec, where: string, tile: Tile): void {
  const { buffer, partitions, free, slots, startPartition, dtype } = tile;
  const integer = (name: string, value: number, min: number, max: number) => {
    if (!(Number.isInteger(value) && value >= min && value <= max)) refuse(where, `${name} in ${min}..${max}`, value);
  };
  integer('partitions', partitions, 1, core.partitions);
  integer('free', free, 1, Number.MAX_SAFE_INTEGER);
  integer('slots', slots, 1, 1 << 20);
  expectDtype(where, 'dtype', dtype, coreDtypes(core));
  checkRows(where, dtype, free);
  if (startPartition % QUADRANT !== 0 || startPartition < 0 || startPartition + partitions > core.partitions) {
    refuse(where, `a start partition of 0, 32, 64 or 96 with room for ${partitions} partitions`, startPartition);
  }
  const perPartition = (buffer === 'sbuf' ? core.sbuf! : core.psum!) / core.partitions;
  if (buffer === 'psum') {
    const bank = perPartition / core.psumBanks;
    const bytes = free * DTYPES[dtype].bytes;
    expectDtype(where, 'dtype', dtype, core.version >= 3 ? ['f32', 'bf16', 'f16', 'i32'] : ['f32', 'i32']);
    if (bytes > perPartition) refuse(where, `at most ${perPartition} bytes per partition of PSUM`, bytes);
    if (bytes > bank && (bytes % bank !== 0 || slots > 1)) {
      // A larger tile is addressed bank by bank; it has to end where a bank does.
      if (bytes % bank !== 0) refuse(where, `a PSUM tile within a bank of ${bank} bytes, or of whole banks`, bytes);
    }
  }
  const end = tile.address + slots * tile.slotBytes;
  if (end > perPartition) {
    const capacity = `at most ${perPartition} bytes per partition in ${buffer.toUpperCase()}`;
    refuse(where, capacity, `${end}, of which ${tile.address} are taken`);
  }
}

/** @throws ModelError (PROGRAM) if an element of an output is written twice */
export function checkOutput(where: string, view: View): void {
  const isRepeated = view.pattern.some(([step, count]) => step === 0 && count > 1);
  if (isRepeated || (view.kind === 'hbm' && view.partitionStep === 0 && view.partitions > 1)) {
    refuse(where, 'an output without steps of 0', view.kind === 'tile' ? view.tile.name : view.tensor.name);
  }
}

/** @throws ModelError (PROGRAM) for an access that the hardware can't make */
export function checkView({ version }: CoreSpec, where: string, view: View): void {
  if (view.pattern.length > MAX_PATTERN_DIMENSIONS) {
    refuse(where, `access patterns of at most ${MAX_PATTERN_DIMENSIONS} dimensions`, view.pattern.length);
  }
  if (view.dtype === 'f4e2m1') checkGroups(where, view);
  if (view.kind !== 'tile') return;
  const start = view.tile.startPartition + view.partition;
  // Version 2 and later address partitions from 0, 32, 64 and 96; a start in between only for a whole-tile slice of one quadrant.
  if (start % QUADRANT !== 0) refuse(where, 'a start partition of 0, 32, 64 or 96', `${start} in ${view.tile.name}`);
  if (start % (2 * QUADRANT) === QUADRANT && view.partitions > QUADRANT) {
    refuse(where, 'at most 32 partitions from start partition 32 or 96', view.partitions);
  }
  const limit = view.tile.buffer === 'sbuf' ? MAX_SBUF_ACCESS : MAX_PSUM_ACCESS;
  if (view.length > limit) refuse(where, `at most ${limit} elements per partition`, view.length);
  if (version < 2) refuse(where, 'NeuronCore-v2 or later: v1 is too little documented to be programmed', `v${version}`);
}

function checkGroups(where: string, view: View): void {
  const inner = view.pattern.at(-1) ?? [1, 1];
  const outer = view.pattern.slice(0, -1).map(([step]) => step);
  const starts = [view.offset.constant, ...view.offset.terms.map(({ factor }) => factor)];
  const rowStep = view.kind === 'tile' ? view.tile.free : view.partitionStep;
  const isWhole = [inner[1], rowStep, ...outer, ...starts].every((size) => size % F4_GROUP === 0);
  if (!isWhole || inner[0] !== 1) refuse(where, 'f4e2m1 in whole groups of 4 elements', view.pattern);
}
