/**
 * Rotary embedding of [rows, cols], halves convention: with x = [x1, x2] and tables of [rows, cols / 2],
 *
 *     y1 = x1 cos - x2 sin        y2 = x2 cos + x1 sin
 *
 * Several rows share a partition, so that DMA moves 4 KiB at a time and an instruction has more than half a row to work on.
 * VectorE turns the first half, GpSimdE the second.
 */
import type { CoreSpec } from '../../hardware/spec.ts';
import { type HbmTensor, HbmView, type Index, type TileView } from '../access.ts';
import { type Program, tileProgram } from '../program.ts';
import { bytesOf, P } from './matrix.ts';
import type { RowOptions } from './softmax.ts';

const PARTITION_BYTES = 4096;

/** Inputs `x` [rows, cols], `cos` and `sin` [rows, cols / 2], output `y`. `cols` is even. */
export function ropeProgram(core: CoreSpec, { rows, cols, dtype }: RowOptions): Program {
  if (cols % 2 !== 0) throw new RangeError(`"cols" expected an even number, got ${cols}`);
  return tileProgram('rope', core, (nc) => {
    const half = cols / 2;
    const x = nc.input('x', dtype, [rows, cols]);
    const cos = nc.input('cos', dtype, [rows, half]);
    const sin = nc.input('sin', dtype, [rows, half]);
    const y = nc.output('y', dtype, [rows, cols]);
    const together = Math.max(1, Math.min(Math.floor(PARTITION_BYTES / (cols * bytesOf(dtype))), Math.floor(rows / P)));
    const data = nc.sbuf('x', dtype, P, together * cols, { slots: 2 });
    const tables = [cos, sin].map(({ name }) => nc.sbuf(name, dtype, P, together * half, { slots: 2 }));
    const work = nc.sbuf('work', dtype, P, together * half, { slots: 8 });
    const result = nc.sbuf('y', dtype, P, together * cols, { slots: 2 });
    const turnRows = (first: Index, partitions: number, each: number, turn: Index) => {
      const rowsOf = (tensor: HbmTensor, width: number) =>
        new HbmView(tensor, first.times(width), each * width, partitions, [[1, each * width]]);
      const halfOf = (tile: TileView, side: 0 | 1) =>
        tile.access(side * half, [
          [cols, each],
          [1, half],
        ]);
      const whole = (tile: TileView, width: number) =>
        tile
          .slot(turn)
          .rows(0, partitions)
          .columns(0, each * width);
      const [xs, ys] = [whole(data, cols), whole(result, cols)];
      const [c, s] = tables.map((tile) => whole(tile, half)) as [TileView, TileView];
      nc.dmaCopy(xs, rowsOf(x, cols));
      nc.dmaCopy(c, rowsOf(cos, half));
      nc.dmaCopy(s, rowsOf(sin, half));
      const scratch = (i: number) =>
        work
          .slot(turn.times(4).plus(i))
          .rows(0, partitions)
          .columns(0, each * half);
      const [x1, x2] = [halfOf(xs, 0), halfOf(xs, 1)];
      nc.tensorTensor(scratch(0), x1, 'multiply', c);
      nc.tensorTensor(scratch(1), x2, 'multiply', s);
      nc.tensorTensor(halfOf(ys, 0), scratch(0), 'subtract', scratch(1));
      nc.tensorTensor(scratch(2), x2, 'multiply', c, 'GpSimdE');
      nc.tensorTensor(scratch(3), x1, 'multiply', s, 'GpSimdE');
      nc.tensorTensor(halfOf(ys, 1), scratch(2), 'add', scratch(3), 'GpSimdE');
      nc.dmaCopy(rowsOf(y, cols), ys);
    };
    const tile = P * together;
    const wholes = Math.floor(rows / tile);
    nc.loop(wholes, (i) => turnRows(i.times(tile), P, together, i));
    const rest = rows - wholes * tile;
    nc.tiles(rest, P, (row, count, i) => turnRows(row.plus(wholes * tile), count, 1, i.plus(wholes)));
  });
}
