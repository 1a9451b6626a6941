/**
 * Weights that stay: a [k, n] matrix kept as the panels that the matmul reads, in its own format, packed once.
 *
 *     block (pc, jc) of terms x NC, in the order of the loops: jc outer, pc inner; in it the panels: [panel][k][width]
 */
import { expectInteger } from '../base/errors.ts';
import type { Arena } from './arena.ts';
import { NC, paddedColumns, panelWidth, termsOfBlocks } from './blocking.ts';
import { DTYPES } from './dtype.ts';
import { expectOperandDType, type OperandDType } from './operands.ts';
import { expectMatrix, type Tensor } from './tensor.ts';

/** The memory that weights and their views share. */
interface Panels {
  readonly offset: number;
  /** Of the whole matrix. */
  readonly rows: number;
  readonly columns: number;
  /** Rows of a block. */
  readonly terms: number;
  isDisposed: boolean;
}

export class PackedWeights {
  readonly arena: Arena;
  readonly dtype: OperandDType;
  readonly shape: readonly [k: number, n: number];
  readonly #panels: Panels;

  private constructor(arena: Arena, dtype: OperandDType, shape: readonly [number, number], panels: Panels) {
    this.arena = arena;
    this.dtype = dtype;
    this.shape = shape;
    this.#panels = panels;
  }

  static pack(b: Tensor): PackedWeights {
    const { arena } = b;
    const [rows, columns] = expectMatrix('b', b);
    const dtype = expectOperandDType('b', b);
    const { bytes } = DTYPES[dtype];
    const width = panelWidth(arena);
    const offset = arena.allocate(rows * paddedColumns(columns, width) * bytes);
    const terms = termsOfBlocks(arena, rows);
    const panels = { offset, rows, columns, terms, isDisposed: false };
    const weights = new PackedWeights(arena, dtype, [rows, columns], panels);
    const [rowStride, colStride] = b.strides as [number, number];
    for (let jc = 0; jc < columns; jc += NC) {
      for (let pc = 0; pc < rows; pc += terms) {
        const from = b.offset + (pc * rowStride + jc * colStride) * bytes;
        const nc = Math.min(NC, columns - jc);
        const to = weights.block(pc, jc);
        arena.kernels.packPanels(bytes, width, weights.panelRows(pc), nc, from, rowStride, colStride, to);
      }
    }
    return weights;
  }

  /** The first `k` rows and `n` columns, as a view: nothing is copied, and its disposal does nothing. */
  prefix(k: number, n: number): PackedWeights {
    expectInteger('k', k, 0, this.shape[0]);
    expectInteger('n', n, 0, this.shape[1]);
    return new PackedWeights(this.arena, this.dtype, [k, n], this.#panels);
  }

  /** Rows of every block but the last. */
  get terms(): number {
    return this.#panels.terms;
  }

  /** Where the block that begins at row `pc`, column `jc` lies. */
  block(pc: number, jc: number): number {
    const { offset, rows, columns, isDisposed } = this.#panels;
    if (isDisposed) throw new TypeError('packed weights expected to be live, got some that were disposed');
    // All blocks before column jc are full in width; in this column of blocks, those above hold pc rows.
    const columnsHere = paddedColumns(Math.min(NC, columns - jc), panelWidth(this.arena));
    return offset + (rows * jc + pc * columnsHere) * DTYPES[this.dtype].bytes;
  }

  /** Rows of a panel of the blocks that begin at row `pc`: those of the whole matrix, also in a view. */
  panelRows(pc: number): number {
    return Math.min(this.terms, this.#panels.rows - pc);
  }

  /** Gives the memory back. */
  dispose(): void {
    const { rows, columns, offset, isDisposed } = this.#panels;
    const isView = this.shape[0] !== rows || this.shape[1] !== columns;
    if (isDisposed || isView) return;
    this.#panels.isDisposed = true;
    this.arena.release(offset);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Packs `b` [k, n], any strides, for use as the second operand of `matmul` again and again. `b` may be disposed after. */
export function packWeights(b: Tensor): PackedWeights {
  return PackedWeights.pack(b);
}
