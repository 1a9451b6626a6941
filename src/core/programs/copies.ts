/**
 * Programs that only move data: a copy from HBM to SBUF over some DMA engines, and the gather of table rows (embedding).
 *
 * A DMA deals its descriptors to the 16 engines of a core in turn, 8 partitions to each: one that should use fewer engines
 * touches fewer partitions. The rows of a gather are evenly spaced here: its time depends on their number and length alone.
 */
import type { CoreSpec } from '../../hardware/spec.ts';
import type { DType } from '../../kernels/dtype.ts';
import { HbmView, type Index } from '../access.ts';
import { type Program, tileProgram } from '../program.ts';
import { chunks } from './elementwise.ts';
import { bytesOf, matrixOf, P, part } from './matrix.ts';

export interface DmaCopyOptions {
  readonly bytes: number;
  /** All of the core's if left out. */
  readonly engines?: number;
}

const CHUNK = 16384;

/** Input `x` of `bytes` bytes; they end in SBUF. */
export function dmaCopyProgram(core: CoreSpec, { bytes, engines = core.dma!.engines }: DmaCopyOptions): Program {
  return tileProgram('dma-copy', core, (nc) => {
    const x = nc.input('x', 'i8', [1, bytes]);
    const width = Math.min(CHUNK, Math.ceil(bytes / engines));
    const tile = nc.sbuf('x', 'i8', P, width, { slots: 4 });
    const load = (start: Index, partitions: number, length: number, turn: Index) => {
      const from = new HbmView(x, start, length, partitions, [[1, length]]);
      nc.dmaCopy(tile.slot(turn).rows(0, partitions).columns(0, length), from);
    };
    chunks(nc, bytes, width, load, engines);
  });
}

export interface EmbeddingOptions {
  readonly rows: number;
  readonly cols: number;
  readonly dtype: DType;
  /** Row i of the result is row i * stride of the table; 1 if left out. */
  readonly stride?: number;
}

/** Input `table` [rows * stride, cols], output `y` [rows, cols]. */
export function embeddingProgram(core: CoreSpec, { rows, cols, dtype, stride = 1 }: EmbeddingOptions): Program {
  return tileProgram('embedding', core, (nc) => {
    const table = nc.input('table', dtype, [rows * stride, cols]);
    const y = matrixOf(nc.output('y', dtype, [rows, cols]));
    const width = Math.min(cols, CHUNK / bytesOf(dtype));
    const tile = nc.sbuf('rows', dtype, P, width, { slots: 4 });
    nc.tiles(rows, P, (row, count, i) => {
      nc.tiles(cols, width, (column, columns, j) => {
        const data = tile.slot(i.plus(j)).rows(0, count).columns(0, columns);
        // A descriptor for each row, as a gather has, however the rows follow each other in the table.
        nc.dmaCopy(
          data,
          new HbmView(table, row.times(stride * cols).plus(column), stride * cols, count, [[1, columns]]),
        );
        nc.dmaCopy(part(y, [row, count], [column, columns]), data);
      });
    });
  });
}
