/**
 * down(silu(x gate) * (x up)), the MLP of Llama.
 *
 *     h^T[f, rows] = silu(gate^T x^T) * (up^T x^T)      stationary gate and up [hidden, 128 f], moving x^T [hidden, <= 512 rows]
 *     y[rows, hidden] = h down                          stationary h^T [f, 128 rows], moving down [f, 512]
 *
 * The first product leaves h transposed, as the second wants it, and needs no layout change. Token generation keeps h^T in SBUF
 * as a panel, each weight passes once; many rows write h^T to HBM and multiply by blocks.
 */
import type { CoreSpec } from '../../hardware/spec.ts';
import type { DType } from '../../kernels/dtype.ts';
import type { Index, TileView } from '../access.ts';
import { type Program, type ProgramBuilder, tileProgram } from '../program.ts';
import { writeMatmul } from './matmul.ts';
import { PANEL_ROWS, panelFits, panelRows, streamMatmul } from './matmul-panel.ts';
import {
  bytesOf,
  groupsOf,
  interleaved,
  loadPanel,
  type Matrix,
  matrixOf,
  P,
  panelTile,
  part,
  sbufBudget,
} from './matrix.ts';

export interface GatedMlpOptions {
  readonly rows: number;
  readonly hidden: number;
  readonly ffn: number;
  readonly dtype: DType;
  /** Storage of the weights, `dtype` if left out. */
  readonly weightDtype?: DType;
}

/** Inputs `xT` [hidden, rows], `gate` and `up` [hidden, ffn], `down` [ffn, hidden], output `y` [rows, hidden]. */
export function gatedMlpProgram(
  core: CoreSpec,
  { rows, hidden, ffn, dtype, weightDtype = dtype }: GatedMlpOptions,
): Program {
  return tileProgram('gated-mlp', core, (nc) => {
    const xT = interleaved(matrixOf(nc.input('xT', dtype, [hidden, rows])));
    const gate = interleaved(matrixOf(nc.input('gate', weightDtype, [hidden, ffn])));
    const up = interleaved(matrixOf(nc.input('up', weightDtype, [hidden, ffn])));
    const down = matrixOf(nc.input('down', weightDtype, [ffn, hidden]));
    const y = matrixOf(nc.output('y', dtype, [rows, hidden]));
    const isShort = rows <= PANEL_ROWS && panelFits(core, hidden + 2 * ffn, rows, dtype);
    if (isShort) {
      const panel = nc.sbuf('hT', dtype, P, groupsOf(ffn) * rows);
      nc.scope(() => {
        writeGated(nc, { xT, gate, up }, (h, group) =>
          nc.copy(panelTile(panel, rows, group, h.partitions, 0, rows), h, 'GpSimdE'),
        );
      });
      nc.scope(() => streamMatmul(nc, { panel, width: rows, rows, b: [down] }, y));
      return;
    }
    const hT = matrixOf(nc.scratch('hT', dtype, [ffn, rows]));
    nc.scope(() => {
      writeGated(nc, { xT, gate, up }, (h, group, row) => {
        nc.dmaCopy(part(hT, [group.times(P), h.partitions], [row, h.length]), h);
      });
    });
    nc.scope(() => writeMatmul(nc, { aT: hT, b: down, c: y }, 'blocked'));
  });
}

/** Columns of gate and up that one DMA brings: as wide as a quarter of SBUF holds twice, 128 at least. */
function weightColumns(core: CoreSpec, hidden: number, ffn: number, dtype: DType): number {
  const fitting = Math.floor(sbufBudget(core) / 4 / (2 * groupsOf(hidden) * bytesOf(dtype)) / P) * P;
  return Math.min(Math.max(P, fitting), 1024, groupsOf(ffn) * P);
}

/** Products of gate and up for all rows; `store` gets 128 of ffn x up to 512 rows of h^T: number of the group, first row. */
function writeGated(
  nc: ProgramBuilder,
  { xT, gate, up }: { readonly xT: Matrix; readonly gate: Matrix; readonly up: Matrix },
  store: (h: TileView, group: Index, row: Index) => void,
): void {
  const { rows: hidden, columns: rows } = xT;
  const { dtype } = xT.tensor;
  const width = panelRows(nc.core, hidden, rows, dtype);
  const columns = weightColumns(nc.core, hidden, gate.columns, dtype);
  const panels = nc.sbuf('xT', dtype, P, groupsOf(hidden) * width);
  const [gates, ups] = ['gate', 'up'].map((name) =>
    nc.sbuf(name, gate.tensor.dtype, P, groupsOf(hidden) * columns, { slots: 2 }),
  );
  const work = nc.sbuf('silu', 'f32', P, width, { slots: 2 });
  const results = nc.sbuf('h', dtype, P, width, { slots: 4 });
  const [psumGate, psumUp] = ['gate', 'up'].map((name) => nc.psum(name, P, width, { slots: 2 }));
  nc.tiles(rows, width, (row, length, i) => {
    loadPanel(nc, panels, width, xT, [0, hidden], [row, length]);
    nc.tiles(gate.columns, columns, (f0, fl, j) => {
      const turn = i.plus(j);
      const [g, u] = [gates!.slot(turn), ups!.slot(turn)];
      loadPanel(nc, g, columns, gate, [0, hidden], [f0, fl]);
      loadPanel(nc, u, columns, up, [0, hidden], [f0, fl]);
      nc.tiles(fl, P, (column, height, t) => {
        const [sumGate, sumUp] = [psumGate!, psumUp!].map((psum) => psum.slot(t).rows(0, height).columns(0, length));
        for (const [sum, weights] of [
          [sumGate!, g],
          [sumUp!, u],
        ] as const) {
          nc.tiles(hidden, P, (_row, depth, k) => {
            const stationary = panelTile(weights, columns, k, depth, column, height);
            const moving = panelTile(panels, width, k, depth, 0, length);
            nc.matmul(sum, stationary, moving, { accumulate: [k], fastWeightLoad: true });
          });
        }
        const activated = work.slot(t).rows(0, height).columns(0, length);
        const h = results.slot(t).rows(0, height).columns(0, length);
        nc.activation(activated, 'silu', sumGate!);
        nc.tensorTensor(h, activated, 'multiply', sumUp!);
        store(h, j.times(columns / P).plus(t), row);
      });
    });
  });
}
