/**
 * Causal depthwise convolution along the sequence: y[c, i] = sum over t of w[c, t] x[c, i - taps + 1 + t], zeros before the start.
 * Channels lie over the partitions, so a tap is a product with one number per partition and a shift along the free dimension:
 * ScalarE multiplies, VectorE adds.
 */
import type { CoreSpec } from '../../hardware/spec.ts';
import type { DType } from '../../kernels/dtype.ts';
import type { Index } from '../access.ts';
import { type Program, tileProgram } from '../program.ts';
import { matrixOf, P, part } from './matrix.ts';

export interface Conv1dOptions {
  readonly batch: number;
  readonly channels: number;
  readonly length: number;
  readonly taps: number;
  readonly dtype: DType;
}

const PIECE = 2048;

/** Inputs `x` [batch, channels, length], `w` [channels, taps], output `y` as `x`. */
export function depthwiseConv1dProgram(
  core: CoreSpec,
  { batch, channels, length, taps, dtype }: Conv1dOptions,
): Program {
  return tileProgram('depthwise-conv1d', core, (nc) => {
    const x = nc.input('x', dtype, [batch, channels, length]);
    const w = matrixOf(nc.input('w', dtype, [channels, taps]));
    const y = nc.output('y', dtype, [batch, channels, length]);
    const halo = taps - 1;
    // A piece reaches back into the one before it only.
    const piece = Math.min(Math.max(PIECE, halo), length);
    const data = nc.sbuf('x', dtype, P, halo + piece, { slots: 2 });
    const raw = nc.sbuf('raw w', dtype, P, taps, { slots: 2 });
    const weights = nc.sbuf('w', 'f32', P, taps, { slots: 2 });
    const products = nc.sbuf('products', 'f32', P, piece, { slots: 2 });
    const sums = nc.sbuf('sums', 'f32', P, piece, { slots: 2 });
    const result = nc.sbuf('y', dtype, P, piece, { slots: 2 });
    nc.tiles(channels, P, (c0, rows, c) => {
      const weight = weights.slot(c).rows(0, rows);
      nc.dmaCopy(raw.slot(c).rows(0, rows), part(w, [c0, rows], [0, taps]));
      nc.copy(weight, raw.slot(c).rows(0, rows));
      nc.loop(batch, (i) => {
        const [from, to] = [matrixOf(x, i), matrixOf(y, i)];
        const convolve = (begin: number | Index, columns: number, turn: Index, before: number) => {
          const tile = data.slot(turn).rows(0, rows);
          if (before < halo) nc.memset(tile.columns(0, halo - before), 0);
          const start = typeof begin === 'number' ? begin - before : begin.plus(-before);
          nc.dmaCopy(tile.columns(halo - before, before + columns), part(from, [c0, rows], [start, before + columns]));
          const sum = sums.slot(turn).rows(0, rows).columns(0, columns);
          const product = products.slot(turn).rows(0, rows).columns(0, columns);
          const out = result.slot(turn).rows(0, rows).columns(0, columns);
          for (let t = 0; t < taps; t++) {
            nc.activation(t === 0 ? sum : product, 'copy', tile.columns(t, columns), { scale: weight.columns(t, 1) });
            if (t > 0) nc.tensorTensor(sum, sum, 'add', product);
          }
          nc.copy(out, sum, 'GpSimdE');
          nc.dmaCopy(part(to, [c0, rows], [begin, columns]), out);
        };
        convolve(0, piece, i, 0);
        nc.tiles(length - piece, piece, (at, columns, s) => convolve(at.plus(piece), columns, i.plus(s).plus(1), halo));
      });
    });
  });
}
