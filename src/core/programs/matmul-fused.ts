/**
 * Matmuls fused with what precedes or follows them, so that the rows in between never leave the chip:
 *
 *     rmsnorm-matmul        RMSNorm(A) B             add-rmsnorm-matmul      RMSNorm(A + R) B
 *     matmul-add-rmsnorm    RMSNorm(A B + R)         batched-matmul-softmax  softmax(A B)
 *     matmul-lora           A W + (A P) Q, the product A P as further rows of the contraction
 *
 * Rows are worked on up to 512 at a time: normalised along the free dimension, transposed on TensorE into a panel, multiplied
 * by B as it streams through (`matmul-panel.ts`).
 */
import type { CoreSpec } from '../../hardware/spec.ts';
import type { Index, TileView } from '../access.ts';
import { type Program, type ProgramBuilder, tileProgram } from '../program.ts';
import type { MatmulShape } from './matmul.ts';
import { panelRows, streamMatmul } from './matmul-panel.ts';
import {
  broadcastRow,
  evacuate,
  groupsOf,
  interleaved,
  loadPanel,
  type Matrix,
  MOVING,
  matrixOf,
  P,
  panelTile,
  part,
  transposedDtype,
} from './matrix.ts';
import { epsilonTile, NORM_EPSILON } from './norm.ts';
import { exponentials } from './softmax.ts';
import { transposeIntoPanel } from './transpose.ts';

/**
 * RMSNorm of A [m, k], after adding `residual` to it if there is one, then times B. Inputs `a`, `gamma` [1, k], `b` (and
 * `residual`), output `c`.
 */
export function normMatmulProgram(core: CoreSpec, shape: MatmulShape & { readonly hasResidual?: boolean }): Program {
  const { m, k, n, dtype, outDtype = dtype, hasResidual = false } = shape;
  return tileProgram(hasResidual ? 'add-rmsnorm-matmul' : 'rmsnorm-matmul', core, (nc) => {
    const a = matrixOf(nc.input('a', dtype, [m, k]));
    const residual = hasResidual ? matrixOf(nc.input('residual', dtype, [m, k])) : null;
    const gamma = matrixOf(nc.input('gamma', dtype, [1, k]));
    const b = matrixOf(nc.input('b', dtype, [k, n]));
    const c = matrixOf(nc.output('c', outDtype, [m, n]));
    const rows = panelRows(core, k, m, dtype, 2);
    const panels = nc.sbuf('panel', dtype, P, groupsOf(k) * rows, { slots: 2 });
    const raw = nc.sbuf('a', dtype, P, k, { slots: 2 });
    const added = residual && nc.sbuf('residual', dtype, P, k);
    const work = nc.sbuf('work', 'f32', P, k);
    const scale = nc.sbuf('gamma', dtype, P, k);
    const scalars = nc.sbuf('scalars', 'f32', P, 2, { slots: 2 });
    const bias = epsilonTile(nc, NORM_EPSILON);
    nc.dmaCopy(scale, broadcastRow(gamma, 0, [0, k], P));
    nc.tiles(m, rows, (m0, ml, i) => {
      const panel = panels.slot(i);
      nc.scope(() => {
        const psum = nc.psum('turned', P, P, { slots: 2, dtype: transposedDtype(core, dtype) });
        nc.tiles(ml, P, (row, height, t) => {
          const x = raw.slot(t).rows(0, height);
          const wide = work.rows(0, height);
          nc.dmaCopy(x, part(a, [m0.plus(row), height], [0, k]));
          if (residual && added) {
            nc.dmaCopy(added.rows(0, height), part(residual, [m0.plus(row), height], [0, k]));
            nc.tensorTensor(x, x, 'add', added.rows(0, height));
          }
          writeRmsnorm(nc, x, x, wide, { scale, bias, scalars: scalars.slot(t) });
          transposeIntoPanel(nc, { panel, width: rows, at: row }, x, psum);
        });
      });
      nc.scope(() => streamMatmul(nc, { panel, width: rows, rows: ml, b: [b] }, c, m0));
    });
  });
}

/** out = x / rms(x) * scale along the columns; `work` is as wide as x. */
function writeRmsnorm(
  nc: ProgramBuilder,
  out: TileView,
  x: TileView,
  work: TileView,
  { scale, bias, scalars }: { readonly scale: TileView; readonly bias: TileView; readonly scalars: TileView },
): void {
  const rows = x.partitions;
  const [sum, root] = [scalars.rows(0, rows).columns(0, 1), scalars.rows(0, rows).columns(1, 1)];
  nc.activation(work, 'square', x, { reduced: sum });
  nc.activation(root, 'rsqrt', sum, { scale: 1 / x.length, bias: bias.rows(0, rows) });
  nc.activation(work, 'copy', x, { scale: root });
  nc.tensorTensor(out, work, 'multiply', scale.rows(0, rows));
}

/** A panel of A^T [k, m] for every `rows` rows, then what `write` does with it. */
function overPanels(
  nc: ProgramBuilder,
  aT: Matrix,
  rows: number,
  groups: number,
  write: (panel: TileView, m0: Index, ml: number) => void,
): void {
  const panels = nc.sbuf('panel', aT.tensor.dtype, P, groups * rows, { slots: 2 });
  nc.tiles(aT.columns, rows, (m0, ml, i) => {
    const panel = panels.slot(i);
    loadPanel(nc, panel, rows, aT, [0, aT.rows], [m0, ml]);
    nc.scope(() => write(panel, m0, ml));
  });
}

/** Rows of C held in SBUF beside a panel of as many columns: 512, or as many as leave half of SBUF free. */
function heldRows(core: CoreSpec, m: number, k: number, n: number, dtype: MatmulShape['dtype']): number {
  return Math.min(panelRows(core, k, m, dtype, 2), panelRows(core, n, m, 'f32'));
}

/** Inputs `a` [k, m] (transposed), `b`, `residual` [m, n], `gamma` [1, n], output `c` [m, n]. */
export function matmulNormProgram(core: CoreSpec, { m, k, n, dtype, outDtype = dtype }: MatmulShape): Program {
  return tileProgram('matmul-add-rmsnorm', core, (nc) => {
    const aT = interleaved(matrixOf(nc.input('a', dtype, [k, m])));
    const b = interleaved(matrixOf(nc.input('b', dtype, [k, n])));
    const residual = matrixOf(nc.input('residual', dtype, [m, n]));
    const gamma = matrixOf(nc.input('gamma', dtype, [1, n]));
    const c = matrixOf(nc.output('c', outDtype, [m, n]));
    const rows = heldRows(core, m, k, n, dtype);
    const held = nc.sbuf('sums', 'f32', P, n, { slots: groupsOf(rows) });
    const added = nc.sbuf('residual', dtype, P, n);
    const work = nc.sbuf('work', 'f32', P, n);
    const result = nc.sbuf('c', outDtype, P, n);
    const scale = nc.sbuf('gamma', dtype, P, n);
    const scalars = nc.sbuf('scalars', 'f32', P, 2, { slots: 2 });
    const bias = epsilonTile(nc, NORM_EPSILON);
    nc.dmaCopy(scale, broadcastRow(gamma, 0, [0, n], P));
    overPanels(nc, aT, rows, groupsOf(k), (panel, m0, ml) => {
      const finish = (sum: TileView, row: number, height: number, column: Index, columns: number, turn: number) =>
        evacuate(
          nc,
          held
            .slot(row / P)
            .rows(0, height)
            .columns(column, columns),
          sum,
          turn,
        );
      streamMatmul(nc, { panel, width: rows, rows: ml, b: [b], finish });
      nc.tiles(ml, P, (row, height, t) => {
        const sum = held.slot(t).rows(0, height);
        const [other, out] = [added.rows(0, height), result.rows(0, height)];
        nc.dmaCopy(other, part(residual, [m0.plus(row), height], [0, n]));
        nc.tensorTensor(sum, sum, 'add', other);
        writeRmsnorm(nc, out, sum, work.rows(0, height), { scale, bias, scalars: scalars.slot(t) });
        nc.dmaCopy(part(c, [m0.plus(row), height], [0, n]), out);
      });
    });
  });
}

/** Inputs `a` [batch, k, m] (transposed), `b` [batch, k, n], output `c` [batch, m, n]: softmax over n. */
export function matmulSoftmaxProgram(
  core: CoreSpec,
  { batch, m, k, n, dtype, outDtype = dtype }: MatmulShape & { readonly batch: number },
): Program {
  return tileProgram('batched-matmul-softmax', core, (nc) => {
    const a = nc.input('a', dtype, [batch, k, m]);
    const b = nc.input('b', dtype, [batch, k, n]);
    const c = nc.output('c', outDtype, [batch, m, n]);
    const rows = heldRows(core, m, k, n, dtype);
    const held = nc.sbuf('sums', 'f32', P, n, { slots: groupsOf(rows) });
    const result = nc.sbuf('c', outDtype, P, n);
    const scalars = nc.sbuf('scalars', 'f32', P, 4, { slots: 2 });
    nc.loop(batch, (i) => {
      nc.scope(() => {
        overPanels(nc, interleaved(matrixOf(a, i)), rows, groupsOf(k), (panel, m0, ml) => {
          const finish = (sum: TileView, row: number, height: number, column: Index, columns: number, turn: number) =>
            evacuate(
              nc,
              held
                .slot(row / P)
                .rows(0, height)
                .columns(column, columns),
              sum,
              turn,
            );
          streamMatmul(nc, { panel, width: rows, rows: ml, b: [interleaved(matrixOf(b, i))], finish });
          nc.tiles(ml, P, (row, height, t) => {
            const [sum, out] = [held.slot(t).rows(0, height), result.rows(0, height)];
            const [max, negated, total, inverse] = [0, 1, 2, 3].map((j) =>
              scalars.slot(t).rows(0, height).columns(j, 1),
            );
            nc.tensorReduce(max!, 'max', sum);
            nc.tensorScalar(negated!, max!, 'multiply', -1);
            exponentials(nc, sum, sum, { max: max!, negated: negated!, sum: total! });
            nc.reciprocal(inverse!, total!);
            nc.tensorScalar(out, sum, 'multiply', inverse!);
            nc.dmaCopy(part(matrixOf(c, i), [m0.plus(row), height], [0, n]), out);
          });
        });
      });
    });
  });
}

/** Inputs `a` [k, m] (transposed), `w` [k, n], `p` [k, rank], `q` [rank, n], output `c` [m, n]. */
export function loraProgram(
  core: CoreSpec,
  { m, k, n, rank, dtype, outDtype = dtype }: MatmulShape & { readonly rank: number },
): Program {
  return tileProgram('matmul-lora', core, (nc) => {
    const aT = interleaved(matrixOf(nc.input('a', dtype, [k, m])));
    const w = interleaved(matrixOf(nc.input('w', dtype, [k, n])));
    const p = interleaved(matrixOf(nc.input('p', dtype, [k, rank])));
    const q = matrixOf(nc.input('q', dtype, [rank, n]));
    const c = matrixOf(nc.output('c', outDtype, [m, n]));
    const rows = panelRows(core, k + rank, m, dtype, 2);
    const down = nc.sbuf('p', dtype, P, groupsOf(k) * rank);
    loadPanel(nc, down, rank, p, [0, k], [0, rank]);
    overPanels(nc, aT, rows, groupsOf(k) + groupsOf(rank), (panel, m0, ml) => {
      // (A P)^T = P^T A^T goes below A^T in the panel.
      nc.scope(() => {
        const psum = nc.psum('a p', P, MOVING, { slots: 2 });
        nc.tiles(rank, P, (r0, rl, g) => {
          const sum = psum.slot(g).rows(0, rl).columns(0, ml);
          nc.tiles(k, P, (_row, height, t) => {
            const moving = panelTile(panel, rows, t, height, 0, ml);
            nc.matmul(sum, panelTile(down, rank, t, height, r0, rl), moving, { accumulate: [t] });
          });
          evacuate(nc, panelTile(panel, rows, g.plus(groupsOf(k)), rl, 0, ml), sum, 0);
        });
      });
      streamMatmul(nc, { panel, width: rows, rows: ml, b: [w, q] }, c, m0);
    });
  });
}
