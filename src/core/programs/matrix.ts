/**
 * What the shipped programs share: matrices in HBM, how they are laid out over the partitions of SBUF, and the tile sizes
 * of the engines.
 *
 * A panel holds the rows of a matrix over partitions in groups of 128: row 128 i + p is at partition p, in columns
 * [i width, (i + 1) width) of the tile. Contractions run over rows, so both operands of a matmul are panels.
 *
 * A sum does not care for its order: where both operands come from HBM their rows may be interleaved. Of G whole groups, partition p
 * then holds the neighbours p G ... p G + G - 1, one in each group, and where they are loaded together and at full width they
 * are one descriptor: the few columns of a token's activations don't become a descriptor of some bytes each.
 */
import type { CoreSpec } from '../../hardware/spec.ts';
import { DTYPES, type DType } from '../../kernels/dtype.ts';
import { type HbmTensor, HbmView, Index, type TileView } from '../access.ts';
import type { ProgramBuilder } from '../program.ts';

/** Partitions, and stationary columns of TensorE. */
export const P: number = 128;
/** Moving columns of one nc_matmul, which fill a PSUM bank in FP32. */
export const MOVING: number = 512;
/** Banks of PSUM. */
export const BANKS: number = 8;

/** A row-major matrix in HBM: a tensor of two dimensions, or one matrix of a tensor of more. */
export interface Matrix {
  readonly tensor: HbmTensor;
  /** Element of the tensor at which it begins. */
  readonly offset: Index;
  readonly rows: number;
  readonly columns: number;
  /** Whether panels take neighbouring rows to the same partition. */
  readonly isInterleaved?: boolean;
}

export function interleaved(matrix: Matrix): Matrix {
  return { ...matrix, isInterleaved: true };
}

/** Matrix number `index` of a tensor: its last two dimensions. */
export function matrixOf(tensor: HbmTensor, index: number | Index = 0): Matrix {
  const [rows, columns] = [tensor.shape.at(-2)!, tensor.shape.at(-1)!];
  return { tensor, offset: Index.from(index).times(rows * columns), rows, columns };
}

/** Rows [row, row + rows) over the partitions, columns [column, column + columns) in each. */
export function part(
  { tensor, offset, columns: width }: Matrix,
  [row, rows]: readonly [number | Index, number],
  [column, columns]: readonly [number | Index, number],
): HbmView {
  const start = offset.plus(Index.from(row).times(width)).plus(column);
  return new HbmView(tensor, start, width, rows, [[1, columns]]);
}

/** Columns of one row, the same on each of `partitions`. */
export function broadcastRow(
  { tensor, offset, columns: width }: Matrix,
  row: number | Index,
  [column, columns]: readonly [number | Index, number],
  partitions: number,
): HbmView {
  return new HbmView(tensor, offset.plus(Index.from(row).times(width)).plus(column), 0, partitions, [[1, columns]]);
}

/** Most elements of a partition that one instruction reaches. */
const MOST_ELEMENTS = 65536;

/**
 * Loads a panel, or the groups of it from row `row` on: as one DMA for all whole groups of 128 rows (several where that is more
 * than an instruction reaches), and one for the rows that remain. `panel` is a slot of a tile whose groups are `width` elements apart.
 */
export function loadPanel(
  nc: ProgramBuilder,
  panel: TileView,
  width: number,
  { tensor, offset, columns: stride, rows: all, isInterleaved = false }: Matrix,
  [row, rows]: readonly [number | Index, number],
  [column, columns]: readonly [number | Index, number],
): void {
  const at = (first: Index) => offset.plus(first.times(stride)).plus(column);
  const first = Index.from(row);
  const whole = Math.floor(rows / P);
  const rest = rows - whole * P;
  if (whole > 0) {
    const [start, partitionStep, groupStep] = isInterleaved
      ? [at(first.over(P)), Math.floor(all / P) * stride, stride]
      : [at(first), stride, P * stride];
    const most = Math.floor(MOST_ELEMENTS / columns);
    for (let group = 0; group < whole; group += most) {
      const pattern = (step: number) =>
        [
          [step, Math.min(most, whole - group)],
          [1, columns],
        ] as const;
      const from = new HbmView(tensor, start.plus(group * groupStep), partitionStep, P, pattern(groupStep));
      nc.dmaCopy(panel.access(group * width, pattern(width)), from);
    }
  }
  if (rest > 0) {
    const from = new HbmView(tensor, at(first.plus(whole * P)), stride, rest, [[1, columns]]);
    nc.dmaCopy(panel.rows(0, rest).columns(whole * width, columns), from);
  }
}

/** Columns [column, column + columns) of row group `group` of a panel, `rows` of it. */
export function panelTile(
  panel: TileView,
  width: number,
  group: Index,
  rows: number,
  column: number | Index,
  columns: number,
): TileView {
  return panel.rows(0, rows).columns(group.times(width).plus(column), columns);
}

/** Copies results out of PSUM, VectorE and ScalarE by turns, so that neither holds TensorE up. */
export function evacuate(nc: ProgramBuilder, out: TileView, psum: TileView, turn: number): void {
  nc.copy(out, psum, turn % 2 === 0 ? 'VectorE' : 'ScalarE');
}

export function groupsOf(rows: number): number {
  return Math.ceil(rows / P);
}

export function bytesOf(dtype: DType): number {
  return DTYPES[dtype].bytes;
}

/** Bytes per partition that a program may plan with: SBUF without the share that the runtime keeps. */
export function sbufBudget(core: CoreSpec): number {
  // see: hardware facts 2.2: 245,752 of 262,144 and 212,984 of 229,376 bytes are usable by kernels.
  return core.sbuf! / core.partitions - 16384;
}

/** What TensorE writes when it transposes: as wide as the input from NeuronCore-v3 on, FP32 before and for 8 bits. */
export function transposedDtype(core: CoreSpec, dtype: DType): DType {
  return core.version >= 3 && bytesOf(dtype) > 1 ? dtype : 'f32';
}
