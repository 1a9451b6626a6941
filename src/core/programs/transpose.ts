/**
 * Transposes of [rows, cols] in HBM. On TensorE: blocks of 128 x 128 pass through PSUM, four of them in a bank, loaded and
 * stored as rows of 2 KiB. By DMA (NeuronCore-v3 on, 2 and 4 byte elements): the engines stay free.
 */
import type { CoreSpec } from '../../hardware/spec.ts';
import type { DType } from '../../kernels/dtype.ts';
import type { Index, TileView } from '../access.ts';
import { type Program, type ProgramBuilder, tileProgram } from '../program.ts';
import { evacuate, type Matrix, matrixOf, P, panelTile, part, transposedDtype } from './matrix.ts';

export interface TransposeOptions {
  readonly rows: number;
  readonly cols: number;
  readonly dtype: DType;
  readonly engine?: 'TensorE' | 'DMA';
}

/** Input `x` [rows, cols], output `y` [cols, rows]. */
export function transposeProgram(core: CoreSpec, { rows, cols, dtype, engine = 'TensorE' }: TransposeOptions): Program {
  return tileProgram(`transpose ${engine}`, core, (nc) => {
    const x = matrixOf(nc.input('x', dtype, [rows, cols]));
    const y = matrixOf(nc.output('y', dtype, [cols, rows]));
    if (engine === 'TensorE') writeTranspose(nc, x, y);
    else writeDmaTranspose(nc, x, y);
  });
}

/** Columns of a block, loaded as rows of 2 KiB in 16-bit formats, and rows, stored as rows of 1 KiB. */
const BLOCK_COLUMNS = 1024;
const BLOCK_ROWS = 4 * P;

/** y = x^T on TensorE. */
export function writeTranspose(nc: ProgramBuilder, x: Matrix, y: Matrix): void {
  const { dtype } = x.tensor;
  nc.scope(() => {
    const raw = nc.sbuf('raw', dtype, P, BLOCK_COLUMNS, { slots: 8 });
    const turned = nc.sbuf('turned', y.tensor.dtype, P, BLOCK_ROWS, { slots: 4 });
    const psum = nc.psum('psum turned', P, BLOCK_ROWS, { slots: 4, dtype: transposedDtype(nc.core, dtype) });
    nc.tiles(x.rows, BLOCK_ROWS, (r0, rl, i) => {
      nc.tiles(x.columns, BLOCK_COLUMNS, (c0, cl, j) => {
        const turn = i.plus(j).times(4);
        nc.tiles(rl, P, (row, rows, t) => {
          nc.dmaCopy(raw.slot(turn.plus(t)).rows(0, rows).columns(0, cl), part(x, [r0.plus(row), rows], [c0, cl]));
        });
        nc.tiles(cl, P, (column, columns, t) => {
          const bank = psum.slot(t).rows(0, columns);
          nc.tiles(rl, P, (row, rows, u) => {
            nc.transpose(bank.columns(row, rows), raw.slot(turn.plus(u)).rows(0, rows).columns(column, columns));
          });
          const result = turned.slot(t).rows(0, columns).columns(0, rl);
          evacuate(nc, result, bank.columns(0, rl), 0);
          nc.dmaCopy(part(y, [c0.plus(column), columns], [r0, rl]), result);
        });
      });
    });
  });
}

function writeDmaTranspose(nc: ProgramBuilder, x: Matrix, y: Matrix): void {
  const turned = nc.sbuf('turned', y.tensor.dtype, P, BLOCK_COLUMNS, { slots: 4 });
  nc.tiles(x.columns, P, (c0, cl, j) => {
    nc.tiles(x.rows, BLOCK_COLUMNS, (r0, rl, i) => {
      const tile = turned.slot(i.plus(j)).rows(0, cl);
      nc.tiles(rl, P, (row, rows) => {
        nc.dmaTranspose(tile.columns(row, rows), part(x, [r0.plus(row), rows], [c0, cl]));
      });
      nc.dmaCopy(part(y, [c0, cl], [r0, rl]), tile.columns(0, rl));
    });
  });
}

/**
 * Panel [columns of x, rows] from `x` [rows, columns] in SBUF: 128 columns at a time through PSUM, into columns `at` and on of
 * each group.
 */
export function transposeIntoPanel(
  nc: ProgramBuilder,
  { panel, width, at }: { readonly panel: TileView; readonly width: number; readonly at: number | Index },
  x: TileView,
  psum: TileView,
): void {
  nc.tiles(x.length, P, (column, columns, t) => {
    const bank = psum.slot(t).rows(0, columns).columns(0, x.partitions);
    nc.transpose(bank, x.columns(column, columns));
    evacuate(nc, panelTile(panel, width, t, columns, at, x.partitions), bank, 1);
  });
}
