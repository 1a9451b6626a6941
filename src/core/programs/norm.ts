/**
 * RMSNorm and LayerNorm along rows.
 *
 *     rmsnorm    y = x / sqrt(mean(x^2) + epsilon) * gamma
 *     layernorm  y = (x - mean) / sqrt(variance + epsilon) * gamma + beta
 *
 * RMSNorm squares and sums on ScalarE, LayerNorm takes mean and variance from bn_stats and bn_aggr of VectorE, 512 elements at
 * a time; the vectors are the same on all partitions, broadcast by DMA.
 */
import type { CoreSpec } from '../../hardware/spec.ts';
import type { DType } from '../../kernels/dtype.ts';
import type { Index, TileView } from '../access.ts';
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

/** Inputs `x` [rows, cols], `gamma` [1, cols], output `y`. */
export function rmsnormProgram(core: CoreSpec, { rows, cols, dtype, epsilon = NORM_EPSILON }: NormOptions): Program {
  return tileProgram('rmsnorm', core, (nc) => {
    const x = matrixOf(nc.input('x', dtype, [rows, cols]));
    const gamma = matrixOf(nc.input('gamma', dtype, [1, cols]));
    const y = matrixOf(nc.output('y', dtype, [rows, cols]));
    const piece = rowPiece(core, cols);
    const pieces = Math.ceil(cols / piece);
    const input = nc.sbuf('x', dtype, P, piece, { slots: 2 });
    const output = nc.sbuf('y', dtype, P, piece, { slots: 2 });
    const work = nc.sbuf('work', 'f32', P, piece, { slots: 2 });
    const squares = nc.sbuf('squares', 'f32', P, pieces, { slots: 2 });
    const root = nc.sbuf('1 / rms', 'f32', P, 1, { slots: 2 });
    const bias = epsilonTile(nc, epsilon);
    const scale = rowVector(nc, gamma, piece);
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
          nc.activation(scaled, 'copy', data, { scale: root.slot(tile).rows(0, height) });
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
    const piece = rowPiece(core, cols);
    const groups = Math.ceil(piece / STATS_LENGTH);
    const input = nc.sbuf('x', dtype, P, piece, { slots: 2 });
    const output = nc.sbuf('y', dtype, P, piece, { slots: 2 });
    const work = nc.sbuf('work', 'f32', P, piece, { slots: 2 });
    const statistics = nc.sbuf('statistics', 'f32', P, Math.ceil(cols / piece) * groups * STATS, { slots: 2 });
    const moments = nc.sbuf('moments', 'f32', P, 2, { slots: 2 });
    const root = nc.sbuf('1 / deviation', 'f32', P, 1, { slots: 2 });
    const bias = epsilonTile(nc, epsilon);
    const scale = rowVector(nc, gamma, piece);
    const shift = rowVector(nc, beta, piece);
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

/** A column that holds epsilon, as an activation's bias is a vector. */
export function epsilonTile(nc: ProgramBuilder, epsilon: number): TileView {
  const tile = nc.sbuf('epsilon', 'f32', P, 1);
  nc.memset(tile, epsilon);
  return tile;
}

/** A vector along the columns, on all partitions: loaded once if it fits a piece, else piece by piece. */
export function rowVector(
  nc: ProgramBuilder,
  vector: Matrix,
  piece: number,
): (begin: Index, length: number, rows: number) => TileView {
  const { name, dtype } = vector.tensor;
  const isWhole = piece >= vector.columns;
  const tile = nc.sbuf(name, dtype as DType, P, piece);
  if (isWhole) nc.dmaCopy(tile, broadcastRow(vector, 0, [0, vector.columns], P));
  return (begin, length, rows) => {
    const view = tile.rows(0, rows).columns(0, length);
    if (!isWhole) nc.dmaCopy(view, broadcastRow(vector, 0, [begin, length], rows));
    return view;
  };
}
