/**
 * RMSNorm and LayerNorm along rows.
 *
 *     rmsnorm    y = x / sqrt(mean(x^2) + epsilon) * gamma
 *     layernorm  y = (x - mean) / sqrt(variance + epsilon) * gamma + beta
 *
 * RMSNorm squares and sums on ScalarE, LayerNorm takes mean and variance from bn_stats and bn_aggr of VectorE, 512 elements at
 * a time; the vectors are the same on all partitions, broadcast by DMA.
 *
 * Few rows (token generation) would leave most partitions idle: RMSNorm then lays each row over all of them and sums across
 * partitions by a product with ones.
 */
import type { CoreSpec } from '../../hardware/spec.ts';
import { HbmView, Index, type TileView } from '../access.ts';
import { type Program, type ProgramBuilder, tileProgram } from '../program.ts';
import { broadcastRow, type Matrix, matrixOf, P } from './matrix.ts';
import { rowPiece, rowTiles } from './row-tiles.ts';
import type { RowOptions } from './softmax.ts';

export interface NormOptions extends RowOptions {
  /** 1e-6 if left out. */
  readonly epsilon?: number;
}

/** Elements of one bn_stats, and numbers that it leaves for each. */
const STATS_LENGTH = 512;
const STATS = 6;
export const NORM_EPSILON: number = 1e-6;
/**
 * Up to here the short descriptors of a row over all partitions cost less than idle partitions: each row takes a DMA's least time in
 * and out, and as a row of one partition the time of its columns on ScalarE, twice.
 */
const FEW_ROWS = 8;
const COLUMNS_PER_ROW = 1024;

/** Inputs `x` [rows, cols], `gamma` [1, cols], output `y`. */
export function rmsnormProgram(core: CoreSpec, { rows, cols, dtype, epsilon = NORM_EPSILON }: NormOptions): Program {
  return tileProgram('rmsnorm', core, (nc) => {
    const x = matrixOf(nc.input('x', dtype, [rows, cols]));
    const gamma = matrixOf(nc.input('gamma', dtype, [1, cols]));
    const y = matrixOf(nc.output('y', dtype, [rows, cols]));
    const areFew = rows <= Math.min(FEW_ROWS, cols / COLUMNS_PER_ROW) && cols % P === 0;
    if (areFew) {
      writeFewRows(nc, x, gamma, y, epsilon);
      return;
    }
    const piece = rowPiece(core, cols, dtype);
    const pieces = Math.ceil(cols / piece);
    const input = nc.sbuf('x', dtype, P, piece, { slots: 4 });
    const output = nc.sbuf('y', dtype, P, piece, { slots: 2 });
    const work = nc.sbuf('work', dtype, P, piece, { slots: 2 });
    const squares = nc.sbuf('squares', 'f32', P, pieces, { slots: 2 });
    const root = nc.sbuf('1 / rms', 'f32', P, 1, { slots: 2 });
    const bias = epsilonTile(nc, epsilon);
    const scale = rowVector(nc, gamma, piece, rows);
    rowTiles(
      nc,
      { x, y, piece, input, output },
      {
        statistics: (data, height, tile, _begin, at) => {
          const square = work.slot(tile).rows(0, height).columns(0, data.length);
          const reduced = squares.slot(tile).rows(0, height).columns(at, 1);
          nc.activation(square, 'square', data, { reduced });
        },
        prepare: (height, tile) => {
          const sum = squares.slot(tile).rows(0, height);
          if (pieces > 1) nc.tensorReduce(sum.columns(0, 1), 'add', sum);
          const rms = root.slot(tile).rows(0, height);
          nc.activation(rms, 'rsqrt', sum.columns(0, 1), { scale: 1 / cols, bias: bias.rows(0, height) });
        },
        finish: (result, data, height, tile, begin) => {
          const scaled = work.slot(tile).rows(0, height).columns(0, data.length);
          const factor = root.slot(tile).rows(0, height);
          // ScalarE has squared already, and from NeuronCore-v3 on VectorE scales narrow formats four elements a cycle.
          if (core.version >= 3) nc.tensorScalar(scaled, data, 'multiply', factor);
          else nc.activation(scaled, 'copy', data, { scale: factor });
          nc.tensorTensor(result, scaled, 'multiply', scale(begin, data.length, height));
        },
      },
    );
  });
}

/** Inputs `x` [rows, cols], `gamma` and `beta` [1, cols], output `y`. */
export function layernormProgram(core: CoreSpec, { rows, cols, dtype, epsilon = NORM_EPSILON }: NormOptions): Program {
  return tileProgram('layernorm', core, (nc) => {
    const x = matrixOf(nc.input('x', dtype, [rows, cols]));
    const gamma = matrixOf(nc.input('gamma', dtype, [1, cols]));
    const beta = matrixOf(nc.input('beta', dtype, [1, cols]));
    const y = matrixOf(nc.output('y', dtype, [rows, cols]));
    const piece = rowPiece(core, cols, dtype);
    const groups = Math.ceil(piece / STATS_LENGTH);
    const input = nc.sbuf('x', dtype, P, piece, { slots: 4 });
    const output = nc.sbuf('y', dtype, P, piece, { slots: 2 });
    const work = nc.sbuf('work', dtype, P, piece, { slots: 2 });
    const statistics = nc.sbuf('statistics', 'f32', P, Math.ceil(cols / piece) * groups * STATS, { slots: 2 });
    const moments = nc.sbuf('moments', 'f32', P, 2, { slots: 2 });
    const root = nc.sbuf('1 / deviation', 'f32', P, 1, { slots: 2 });
    const bias = epsilonTile(nc, epsilon);
    const scale = rowVector(nc, gamma, piece, rows);
    const shift = rowVector(nc, beta, piece, rows);
    const used = Math.floor(cols / piece) * groups + Math.ceil((cols % piece) / STATS_LENGTH);
    rowTiles(
      nc,
      { x, y, piece, input, output },
      {
        statistics: (data, height, tile, _begin, at) => {
          nc.tiles(data.length, STATS_LENGTH, (start, length, i) => {
            const column = at.times(groups).plus(i).times(STATS);
            nc.bnStats(statistics.slot(tile).rows(0, height).columns(column, STATS), data.columns(start, length));
          });
        },
        prepare: (height, tile) => {
          const moment = moments.slot(tile).rows(0, height);
          nc.bnAggregate(
            moment,
            statistics
              .slot(tile)
              .rows(0, height)
              .columns(0, used * STATS),
          );
          nc.activation(root.slot(tile).rows(0, height), 'rsqrt', moment.columns(1, 1), { bias: bias.rows(0, height) });
        },
        finish: (result, data, height, tile, begin) => {
          const centred = work.slot(tile).rows(0, height).columns(0, data.length);
          const mean = moments.slot(tile).rows(0, height).columns(0, 1);
          const operand1 = root.slot(tile).rows(0, height);
          nc.tensorScalar(centred, data, 'subtract', mean, { alu1: 'multiply', operand1 });
          nc.tensorTensor(centred, centred, 'multiply', scale(begin, data.length, height));
          nc.tensorTensor(result, centred, 'add', shift(begin, data.length, height));
        },
      },
    );
  });
}

/** Each row over all partitions: row r at columns [r width, (r + 1) width) of a tile. */
function writeFewRows(nc: ProgramBuilder, x: Matrix, gamma: Matrix, y: Matrix, epsilon: number): void {
  const { rows, columns: cols } = x;
  const { dtype } = x.tensor;
  const width = cols / P;
  const spread = ({ tensor }: Matrix) =>
    new HbmView(tensor, new Index(0), width, P, [
      [cols, tensor === gamma.tensor ? 1 : rows],
      [1, width],
    ]);
  const byRow = (tile: TileView, step: number, inner: number) =>
    tile.access(0, [
      [step, rows],
      [inner, width],
    ]);
  const data = nc.sbuf('x', dtype, P, rows * width);
  const scale = nc.sbuf('gamma', dtype, P, width);
  const work = nc.sbuf('work', 'f32', P, rows * width);
  const result = nc.sbuf('y', dtype, P, rows * width);
  const squares = nc.sbuf('squares', 'f32', P, rows);
  const root = nc.sbuf('1 / rms', 'f32', P, rows);
  const ones = nc.sbuf('ones', 'f32', P, P);
  const sum = nc.psum('sum', P, rows);
  const bias = epsilonTile(nc, epsilon);
  nc.memset(ones, 1, 'GpSimdE');
  nc.dmaCopy(data, spread(x));
  nc.dmaCopy(scale, spread(gamma));
  for (let r = 0; r < rows; r++) {
    const row = [r * width, width] as const;
    nc.activation(work.columns(...row), 'square', data.columns(...row), { reduced: squares.columns(r, 1) });
  }
  // Every partition gets the sum over all of them.
  nc.matmul(sum, ones, squares);
  nc.activation(root, 'rsqrt', sum, { scale: 1 / cols, bias });
  nc.tensorTensor(work, byRow(data, width, 1), 'multiply', byRow(root, 1, 0));
  nc.tensorTensor(result, byRow(work, width, 1), 'multiply', byRow(scale, 0, 1));
  nc.dmaCopy(spread(y), result);
}

/** A column that holds epsilon, as an activation's bias is a vector. */
export function epsilonTile(nc: ProgramBuilder, epsilon: number): TileView {
  const tile = nc.sbuf('epsilon', 'f32', P, 1);
  nc.memset(tile, epsilon);
  return tile;
}

/** A vector along the columns, on all partitions that `rows` rows use: loaded once if it fits a piece, else piece by piece. */
function rowVector(
  nc: ProgramBuilder,
  vector: Matrix,
  piece: number,
  rows: number,
): (begin: Index, length: number, rows: number) => TileView {
  const { name, dtype } = vector.tensor;
  const isWhole = piece >= vector.columns;
  const partitions = Math.min(P, rows);
  const tile = nc.sbuf(name, dtype, partitions, piece);
  if (isWhole) nc.dmaCopy(tile, broadcastRow(vector, 0, [0, vector.columns], partitions));
  return (begin, length, height) => {
    const view = tile.rows(0, height).columns(0, length);
    if (!isWhole) nc.dmaCopy(view, broadcastRow(vector, 0, [begin, length], height));
    return view;
  };
}
