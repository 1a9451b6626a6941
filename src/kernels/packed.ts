/**
 * Weights that stay: a [k, n] matrix kept as the panels that the matmul reads, in its own format, packed once.
 *
 *     block (pc, jc) of KC x NC, in the order of the loops: jc outer, pc inner; in it the panels: [panel][k][width]
 */
import type { Arena } from './arena.ts';
import { KC, NC, paddedColumns, panelWidth } from './blocking.ts';
import { DTYPES } from './dtype.ts';
import { expectOperandDType, type OperandDType } from './operands.ts';
import { expectMatrix, type Tensor } from './tensor.ts';

export class PackedWeights {
  readonly arena: Arena;
  readonly dtype: OperandDType;
  readonly shape: readonly [k: number, n: number];
  readonly #offset: number;
  readonly #width: number;
  #isDisposed = false;

  constructor(b: Tensor) {
    const [k, n] = expectMatrix('b', b);
    this.arena = b.arena;
    this.dtype = expectOperandDType('b', b);
    this.shape = [k, n];
    this.#width = panelWidth(b.arena);
    const { bytes } = DTYPES[b.dtype];
    this.#offset = this.arena.allocate(k * paddedColumns(n, this.#width) * bytes);
    const [rowStride, colStride] = b.strides as [number, number];
    for (let jc = 0; jc < n; jc += NC) {
      for (let pc = 0; pc < k; pc += KC) {
        const from = b.offset + (pc * rowStride + jc * colStride) * bytes;
        const [kc, nc] = [Math.min(KC, k - pc), Math.min(NC, n - jc)];
        const to = this.block(pc, jc);
        this.arena.kernels.packPanels(bytes, this.#width, kc, nc, from, rowStride, colStride, to);
      }
    }
  }

  /** Where the block that begins at row `pc`, column `jc` lies. */
  block(pc: number, jc: number): number {
    if (this.#isDisposed) throw new TypeError('packed weights expected to be live, got some that were disposed');
    const [k, n] = this.shape;
    // All blocks before column jc are full in width; in this column of blocks, those above hold pc rows.
    const columnsHere = paddedColumns(Math.min(NC, n - jc), this.#width);
    return this.#offset + (k * jc + pc * columnsHere) * DTYPES[this.dtype].bytes;
  }

  /** Gives the memory back. */
  dispose(): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    this.arena.release(this.#offset);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Packs `b` [k, n], any strides, for use as the second operand of `matmul` again and again. `b` may be disposed after. */
export function packWeights(b: Tensor): PackedWeights {
  return new PackedWeights(b);
}
