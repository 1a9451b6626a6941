/**
 * A matmul whose stationary operand, up to 512 rows of A, lies in SBUF as a panel [K, rows], while B streams through once:
 * C[rows, N] = panel^T B. The whole contraction accumulates in PSUM, 128 x 512 in each bank, all banks of PSUM at once. It
 * serves few rows (token generation), and whatever makes its own panel on chip (a norm, an activation) or wants the
 * results on chip (`finish`).
 */
import type { CoreSpec } from '../../hardware/spec.ts';
import type { DType } from '../../kernels/dtype.ts';
import { Index, type TileView } from '../access.ts';
import type { ProgramBuilder } from '../program.ts';
import {
  BANKS,
  bytesOf,
  evacuate,
  groupsOf,
  loadPanel,
  type Matrix,
  MOVING,
  P,
  panelTile,
  part,
  sbufBudget,
} from './matrix.ts';

/** Most rows of a panel: at four row tiles, two banks wide, each weight tile that DMA brings serves 512 rows. */
export const PANEL_ROWS: number = 512;
/** Bytes of a row of B that pass at once, as long as DMA likes its descriptors, and of each partition in a DMA; two DMAs are ahead. */
const ROW_BYTES = 4096;
const STREAM_BYTES = 4 * ROW_BYTES;
const STREAM_SLOTS = 3;

/** Whether [k, rows] takes at most half of SBUF. */
export function panelFits(core: CoreSpec, k: number, rows: number, dtype: DType): boolean {
  return groupsOf(k) * rows * bytesOf(dtype) <= sbufBudget(core) / 2;
}

/** Rows of a panel [K, rows] of which `slots` leave half of SBUF to what streams: at most 512, and `m`. */
export function panelRows(core: CoreSpec, k: number, m: number, dtype: DType, slots: number = 1): number {
  let rows = Math.min(PANEL_ROWS, m);
  while (rows > P && !panelFits(core, k, slots * rows, dtype)) rows = Math.floor(rows / 2 / P) * P || P;
  return rows;
}

export interface StreamedMatmul {
  /** A slot of a tile [128, groups of K x width]. */
  readonly panel: TileView;
  readonly width: number;
  /** Rows of C, from column 0 of each group of the panel. */
  readonly rows: number;
  /** [K, N]; several are one above the other, each from a new group of the panel on. */
  readonly b: readonly Matrix[];
  /** What becomes of results [row, row + rows) x [column, column + columns), a PSUM tile of up to 128 x 512. */
  readonly finish?: (sum: TileView, row: number, rows: number, column: Index, columns: number, turn: number) => void;
}

/** Columns of B, of `bytes` each, that pass at once: as many as PSUM has room for, for all row tiles. */
export function streamColumns(rows: number, columns: number, bytes: number): number {
  const tiles = groupsOf(rows);
  return Math.min(
    Math.max(MOVING, ROW_BYTES / bytes),
    Math.floor(BANKS / tiles) * MOVING,
    Math.ceil(columns / MOVING) * MOVING,
  );
}

/** Streams B; results go to `finish`, or to `c` (row `cRow` on). Tiles live in the scope of the caller. */
export function streamMatmul(
  nc: ProgramBuilder,
  { panel, width, rows, b, finish }: StreamedMatmul,
  c?: Matrix,
  cRow: number | Index = 0,
): void {
  const n = b[0]!.columns;
  const bytes = bytesOf(b[0]!.tensor.dtype);
  const wide = Math.min(n, streamColumns(rows, n, bytes));
  const fitting = Math.max(1, Math.floor(STREAM_BYTES / (wide * bytes)));
  const depth = Math.min(fitting, Math.max(...b.map((matrix) => groupsOf(matrix.rows)))) * P;
  // Where each matrix begins in the panel, in groups, and in the turns of the stream.
  const begin = b.map((_, i) => b.slice(0, i).reduce((sum, matrix) => sum + groupsOf(matrix.rows), 0));
  const turns = b.map((_, i) => b.slice(0, i).reduce((sum, matrix) => sum + Math.ceil(matrix.rows / depth), 0));
  const chunks = turns.at(-1)! + Math.ceil(b.at(-1)!.rows / depth);
  const tiles = groupsOf(rows);
  const strips = Math.ceil(wide / MOVING);
  const banks = tiles * strips;
  const rhs = nc.sbuf('rhs', b[0]!.tensor.dtype, P, (depth / P) * wide, { slots: STREAM_SLOTS });
  const psum = nc.psum('psum', P, MOVING, { slots: banks * Math.min(2, Math.floor(BANKS / banks)) });
  const out = c === undefined ? null : nc.sbuf('out', c.tensor.dtype, P, wide, { slots: 2 * tiles });
  nc.tiles(n, wide, (n0, nl, j) => {
    const each = (visit: (tile: number, strip: number, sum: TileView, rows: number, columns: number) => void) => {
      for (let tile = 0; tile < tiles; tile++) {
        for (let strip = 0; strip * MOVING < nl; strip++) {
          const [height, columns] = [Math.min(P, rows - tile * P), Math.min(MOVING, nl - strip * MOVING)];
          const bank = psum.slot(j.times(banks).plus(tile * strips + strip));
          visit(tile, strip, bank.rows(0, height).columns(0, columns), height, columns);
        }
      }
    };
    b.forEach((matrix, part) => {
      nc.tiles(matrix.rows, depth, (k0, kl, i) => {
        const slot = rhs.slot(j.times(chunks).plus(i).plus(turns[part]!));
        loadPanel(nc, slot, wide, matrix, [k0, kl], [n0, nl]);
        nc.tiles(kl, P, (_row, height, t) => {
          const group = i
            .times(depth / P)
            .plus(t)
            .plus(begin[part]!);
          each((tile, strip, sum, tileRows, columns) => {
            const stationary = panelTile(panel, width, group, height, tile * P, tileRows);
            const moving = panelTile(slot, wide, t, height, strip * MOVING, columns);
            nc.matmul(sum, stationary, moving, { accumulate: [group] });
          });
        });
      });
    });
    each((tile, strip, sum, tileRows, columns) => {
      finish?.(sum, tile * P, tileRows, n0.plus(strip * MOVING), columns, tile + strip);
      if (out !== null) {
        const turn = j.times(tiles).plus(tile);
        evacuate(
          nc,
          out
            .slot(turn)
            .rows(0, tileRows)
            .columns(strip * MOVING, columns),
          sum,
          tile + strip,
        );
      }
    });
    if (c === undefined || out === null) return;
    for (let tile = 0; tile < tiles; tile++) {
      const tileRows = Math.min(P, rows - tile * P);
      const result = out.slot(j.times(tiles).plus(tile)).rows(0, tileRows).columns(0, nl);
      nc.dmaCopy(part(c, [Index.from(cRow).plus(tile * P), tileRows], [n0, nl]), result);
    }
  });
}
