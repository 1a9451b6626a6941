/**
 * Operators along rows: rows lie over the partitions, 128 at a time, a row inside one partition. Rows that fit in SBUF beside
 * their double buffers pass once; longer ones pass twice, a piece at a time: first for their statistics, then for the
 * results.
 */
import type { CoreSpec } from '../../hardware/spec.ts';
import type { DType } from '../../kernels/dtype.ts';
import { Index, type TileView } from '../access.ts';
import type { ProgramBuilder } from '../program.ts';
import { bytesOf, groupsOf, type Matrix, P, part, sbufBudget } from './matrix.ts';

/** Elements of a row that are in SBUF at once: 4 loaded, 2 results, 2 for work in FP32, and 2 vectors that all rows share. */
export function rowPiece(core: CoreSpec, cols: number, dtype: DType): number {
  return Math.min(cols, Math.floor(sbufBudget(core) / (8 * bytesOf(dtype) + 8)));
}

export interface RowPieces {
  readonly x: Matrix;
  readonly y: Matrix;
  readonly piece: number;
  /** [128, piece], 4 slots. */
  readonly input: TileView;
  /** [128, piece], 2 slots. */
  readonly output: TileView;
}

export interface RowVisit {
  readonly start?: (rows: number, tile: Index) => void;
  readonly statistics: (x: TileView, rows: number, tile: Index, begin: Index, at: Index) => void;
  readonly prepare: (rows: number, tile: Index) => void;
  readonly finish: (y: TileView, x: TileView, rows: number, tile: Index, begin: Index) => void;
}

/**
 * Visits every 128 rows: `statistics` sees all pieces of the rows in turn, `prepare` follows, then `finish` writes each piece's
 * results. Each gets the tile's number, its rows, and where the piece begins. Whole rows go two tiles at a time: one engine
 * has the statistics of the second to compute while another finishes those of the first.
 */
export function rowTiles(nc: ProgramBuilder, operands: RowPieces, visit: RowVisit): void {
  const { x, y, piece, input, output } = operands;
  if (piece === x.columns) {
    wholeRowTiles(nc, operands, visit);
    return;
  }
  const pieces = Math.ceil(x.columns / piece);
  nc.tiles(x.rows, P, (row, rows, tile) => {
    const load = (begin: Index, length: number, at: Index, pass: number): TileView => {
      const turn = tile
        .times(2 * pieces)
        .plus(at)
        .plus(pass * pieces);
      const data = input.slot(turn).rows(0, rows).columns(0, length);
      nc.dmaCopy(data, part(x, [row, rows], [begin, length]));
      return data;
    };
    visit.start?.(rows, tile);
    nc.tiles(x.columns, piece, (begin, length, at) => {
      visit.statistics(load(begin, length, at, 0), rows, tile, begin, at);
    });
    visit.prepare(rows, tile);
    nc.tiles(x.columns, piece, (begin, length, at) => {
      const data = load(begin, length, at, 1);
      const result = output.slot(tile.times(pieces).plus(at)).rows(0, rows).columns(0, length);
      visit.finish(result, data, rows, tile, begin);
      nc.dmaCopy(part(y, [row, rows], [begin, length]), result);
    });
  });
}

function wholeRowTiles(nc: ProgramBuilder, { x, y, input, output }: RowPieces, visit: RowVisit): void {
  const [first, all] = [new Index(0), [0, x.columns] as const];
  nc.tiles(x.rows, 2 * P, (start, count, pair) => {
    const tiles = Array.from({ length: groupsOf(count) }, (_, half) => {
      const [rows, tile, row] = [Math.min(P, count - half * P), pair.times(2).plus(half), start.plus(half * P)];
      const data = input.slot(tile).rows(0, rows);
      nc.dmaCopy(data, part(x, [row, rows], all));
      visit.start?.(rows, tile);
      visit.statistics(data, rows, tile, first, first);
      return { rows, tile, row, data };
    });
    for (const { rows, tile, row, data } of tiles) {
      visit.prepare(rows, tile);
      const result = output.slot(tile).rows(0, rows);
      visit.finish(result, data, rows, tile, first);
      nc.dmaCopy(part(y, [row, rows], all), result);
    }
  });
}
