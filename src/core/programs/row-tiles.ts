/**
 * Operators along rows: rows lie over the partitions, 128 at a time, a row inside one partition. Rows that fit in SBUF beside
 * their double buffers pass once; longer ones pass twice, a piece at a time: first for their statistics, then for the
 * results.
 */
import type { CoreSpec } from '../../hardware/spec.ts';
import type { Index, TileView } from '../access.ts';
import type { ProgramBuilder } from '../program.ts';
import { type Matrix, P, part, sbufBudget } from './matrix.ts';

/** Buffers of a row, in FP32: two loaded, two results, two for work, and two vectors that all rows share. */
const BUFFERS = 8;

/** Elements of a row that are in SBUF at once. */
export function rowPiece(core: CoreSpec, cols: number): number {
  return Math.min(cols, Math.floor(sbufBudget(core) / (4 * BUFFERS)));
}

export interface RowPieces {
  readonly x: Matrix;
  readonly y: Matrix;
  readonly piece: number;
  /** Two slots each, [128, piece]. */
  readonly input: TileView;
  readonly output: TileView;
}

/**
 * Visits every 128 rows: `statistics` sees all pieces of the rows in turn, `prepare` follows, then `finish` writes each piece's
 * results. Each gets the tile's number, its rows, and where the piece begins.
 */
export function rowTiles(
  nc: ProgramBuilder,
  { x, y, piece, input, output }: RowPieces,
  visit: {
    readonly start?: (rows: number, tile: Index) => void;
    readonly statistics: (x: TileView, rows: number, tile: Index, begin: Index, at: Index) => void;
    readonly prepare: (rows: number, tile: Index) => void;
    readonly finish: (y: TileView, x: TileView, rows: number, tile: Index, begin: Index) => void;
  },
): void {
  const pieces = Math.ceil(x.columns / piece);
  const loads = pieces === 1 ? 1 : 2 * pieces;
  nc.tiles(x.rows, P, (row, rows, tile) => {
    const load = (begin: Index, length: number, at: Index, pass: number): TileView => {
      const turn = tile
        .times(loads)
        .plus(at)
        .plus(pass * pieces);
      const data = input.slot(turn).rows(0, rows).columns(0, length);
      nc.dmaCopy(data, part(x, [row, rows], [begin, length]));
      return data;
    };
    visit.start?.(rows, tile);
    let only: TileView | null = null;
    nc.tiles(x.columns, piece, (begin, length, at) => {
      const data = load(begin, length, at, 0);
      if (pieces === 1) only = data;
      visit.statistics(data, rows, tile, begin, at);
    });
    visit.prepare(rows, tile);
    nc.tiles(x.columns, piece, (begin, length, at) => {
      const data = only ?? load(begin, length, at, 1);
      const result = output.slot(tile.times(pieces).plus(at)).rows(0, rows).columns(0, length);
      visit.finish(result, data, rows, tile, begin);
      nc.dmaCopy(part(y, [row, rows], [begin, length]), result);
    });
  });
}
