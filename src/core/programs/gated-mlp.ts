/**
 * down(silu(x gate) * (x up)), the MLP of Llama.
 *
 *   many rows         h^T[f, rows] = silu(gate^T x^T) * (up^T x^T)      stationary gate and up [hidden, 128 f], moving x^T
 *                     y[rows, hidden] = h down                            by blocks, with h^T through HBM
 *   token generation  h[rows, f] = silu(x gate) * (x up)                  stationary x^T [hidden, rows]: a panel; weights stream
 *                     y[rows, hidden] = h down                            h transposed on TensorE into the next panel
 *
 * The first leaves h transposed, as the second product wants it. With few rows the time is that of the weights, which pass
 * once each in the longest rows that DMA can have.
 */
import type { CoreSpec } from '../../hardware/spec.ts';
import type { DType } from '../../kernels/dtype.ts';
import type { Index, TileView } from '../access.ts';
import { type Program, type ProgramBuilder, tileProgram } from '../program.ts';
import { writeMatmul } from './matmul.ts';
import { PANEL_ROWS, panelRows, type StreamedMatmul, streamMatmul } from './matmul-panel.ts';
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
  transposedDtype,
} from './matrix.ts';
import { transposeIntoPanel } from './transpose.ts';

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
    if (rows <= PANEL_ROWS && shortFits(core, { rows, hidden, ffn, dtype })) {
      writeShort(nc, { xT, gate, up, down, y });
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

interface MlpOperands {
  readonly xT: Matrix;
  readonly gate: Matrix;
  readonly up: Matrix;
  readonly down: Matrix;
  readonly y: Matrix;
}

/** Whether panels and h of all rows take at most half of SBUF, and streamed weights have the rest. */
function shortFits(core: CoreSpec, { rows, hidden, ffn, dtype }: GatedMlpOptions): boolean {
  const bytes = bytesOf(dtype);
  const panels = (groupsOf(hidden) + groupsOf(ffn)) * rows * bytes;
  return panels + groupsOf(rows) * ffn * (4 + bytes) <= sbufBudget(core) / 2;
}

function writeShort(nc: ProgramBuilder, { xT, gate, up, down, y }: MlpOperands): void {
  const { rows: hidden, columns: rows, tensor } = xT;
  const { dtype } = tensor;
  const ffn = gate.columns;
  const slots = groupsOf(rows);
  const panel = nc.sbuf('xT', dtype, P, groupsOf(hidden) * rows);
  const panelH = nc.sbuf('hT', dtype, P, groupsOf(ffn) * rows);
  const activated = nc.sbuf('silu', 'f32', P, ffn, { slots });
  const h = nc.sbuf('h', dtype, P, ffn, { slots });
  const rowsOf = (tile: TileView, row: number, height: number) => tile.slot(row / P).rows(0, height);
  loadPanel(nc, panel, rows, xT, [0, hidden], [0, rows]);
  const stream = (weights: Matrix, finish: NonNullable<StreamedMatmul['finish']>) =>
    nc.scope(() => streamMatmul(nc, { panel, width: rows, rows, b: [weights], finish }));
  stream(gate, (sum, row, height, column, columns) => {
    nc.activation(rowsOf(activated, row, height).columns(column, columns), 'silu', sum);
  });
  stream(up, (sum, row, height, column, columns) => {
    const factor = rowsOf(activated, row, height).columns(column, columns);
    nc.tensorTensor(rowsOf(h, row, height).columns(column, columns), factor, 'multiply', sum);
  });
  nc.scope(() => {
    const psum = nc.psum('turned', P, P, { slots: 2, dtype: transposedDtype(nc.core, dtype) });
    for (let t = 0; t < slots; t++) {
      const x = rowsOf(h, t * P, Math.min(P, rows - t * P));
      transposeIntoPanel(nc, { panel: panelH, width: rows, at: t * P }, x, psum);
    }
  });
  nc.scope(() => streamMatmul(nc, { panel: panelH, width: rows, rows, b: [down] }, y));
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
