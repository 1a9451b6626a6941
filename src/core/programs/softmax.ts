/**
 * softmax along rows: y = exp(x - max) / sum, the sum as a by-product of the exponential. Longer rows keep a running maximum
 * and rescale the sum when it grows (online softmax), and compute the exponentials again in a second pass.
 * NeuronCore-v4 has the exponential with its sum on VectorE.
 * see: Milakov and Gimelshein, Online normalizer calculation for softmax, arXiv:1805.02867.
 */
import type { CoreSpec } from '../../hardware/spec.ts';
import type { DType } from '../../kernels/dtype.ts';
import type { TileView } from '../access.ts';
import { type Program, type ProgramBuilder, tileProgram } from '../program.ts';
import { matrixOf, P } from './matrix.ts';
import { rowPiece, rowTiles } from './row-tiles.ts';

export interface RowOptions {
  readonly rows: number;
  readonly cols: number;
  readonly dtype: DType;
}

/** Below every finite score, and small enough that exp(scale * (it - x)) is 0 without an infinity. */
export const LOWEST: number = -1e30;

/** out = exp(x - max), sum its row sum; on VectorE where it can. `negated` is -max. */
export function exponentials(
  nc: ProgramBuilder,
  out: TileView,
  x: TileView,
  { max, negated, sum }: { readonly max: TileView; readonly negated: TileView; readonly sum?: TileView },
): void {
  if (nc.core.exponentialSpeedup !== null) nc.exponential(out, x, max, sum);
  else nc.activation(out, 'exp', x, { bias: negated, ...(sum && { reduced: sum }) });
}

/** Input `x`, output `y`, both [rows, cols]. */
export function softmaxProgram(core: CoreSpec, { rows, cols, dtype }: RowOptions): Program {
  return tileProgram('softmax', core, (nc) => {
    const x = matrixOf(nc.input('x', dtype, [rows, cols]));
    const y = matrixOf(nc.output('y', dtype, [rows, cols]));
    const piece = rowPiece(core, cols, dtype);
    const isWhole = piece === cols;
    const input = nc.sbuf('x', dtype, P, piece, { slots: 4 });
    const output = nc.sbuf('y', dtype, P, piece, { slots: 2 });
    const powers = nc.sbuf('exp', 'f32', P, piece, { slots: 2 });
    // Columns: maximum, -maximum, sum, sum of a piece, maximum before, its factor, 1 / sum.
    const scalars = nc.sbuf('scalars', 'f32', P, 7, { slots: 4 });
    rowTiles(
      nc,
      { x, y, piece, input, output },
      {
        start: (height, tile) => {
          if (isWhole) return;
          const [max, , sum] = columnsOf(scalars.slot(tile).rows(0, height));
          nc.memset(max!, LOWEST);
          nc.memset(sum!, 0);
        },
        statistics: (data, height, tile) => {
          const [max, negated, sum, pieceSum, before, factor] = columnsOf(scalars.slot(tile).rows(0, height));
          const power = powers.slot(tile).rows(0, height).columns(0, data.length);
          if (isWhole) {
            nc.tensorReduce(max!, 'max', data);
            nc.tensorScalar(negated!, max!, 'multiply', -1);
            exponentials(nc, power, data, { max: max!, negated: negated!, sum: sum! });
            return;
          }
          nc.copy(before!, max!);
          nc.tensorReduce(pieceSum!, 'max', data);
          nc.tensorTensor(max!, before!, 'max', pieceSum!);
          nc.tensorScalar(negated!, max!, 'multiply', -1);
          nc.activation(factor!, 'exp', before!, { bias: negated! });
          exponentials(nc, power, data, { max: max!, negated: negated!, sum: pieceSum! });
          nc.tensorTensor(sum!, sum!, 'multiply', factor!);
          nc.tensorTensor(sum!, sum!, 'add', pieceSum!);
        },
        prepare: (height, tile) => {
          const [, , sum, , , , inverse] = columnsOf(scalars.slot(tile).rows(0, height));
          nc.reciprocal(inverse!, sum!);
        },
        finish: (result, data, height, tile) => {
          const [max, negated, , , , , inverse] = columnsOf(scalars.slot(tile).rows(0, height));
          const power = powers.slot(tile).rows(0, height).columns(0, data.length);
          if (!isWhole) exponentials(nc, power, data, { max: max!, negated: negated! });
          nc.tensorScalar(result, power, 'multiply', inverse!);
        },
      },
    );
  });
}

/** The single columns of a tile of per-row scalars. */
function columnsOf(scalars: TileView): TileView[] {
  return Array.from({ length: scalars.length }, (_, i) => scalars.columns(i, 1));
}
