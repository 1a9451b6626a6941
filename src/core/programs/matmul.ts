/**
 * C[M, N] = A[M, K] B[K, N] in the steps of the NKI tutorial, each with what the one before lacks:
 *
 *   tiled         128 x 512 results, one at a time; both operands loaded for every 128 of K
 *   hoisted       the stationary operand of 128 rows is loaded once for all columns
 *   blocked-free  results in blocks of 256 x 1024: each loaded tile is used twice and twice as wide
 *   blocked       all three dimensions in blocks that fill SBUF, partial sums kept on chip: bound by TensorE
 *
 * A comes transposed, [K, M], as TensorE wants it: layout `kernel`. `row-major` takes it as [M, K], `framework` as [M, K] and B
 * as [N, K], as frameworks store weights; they pass through HBM once more, transposed on TensorE. Few rows (up to 512) take
 * `matmul-panel.ts` instead of `matmul-blocked.ts`: A stays in SBUF and B streams through once.
 *
 * see: Neuron SDK, nki/guides/tutorials/matrix_multiplication.
 */
import type { CoreSpec } from '../../hardware/spec.ts';
import type { DType } from '../../kernels/dtype.ts';
import type { HbmTensor } from '../access.ts';
import { type Program, type ProgramBuilder, tileProgram } from '../program.ts';
import { writeBlockedMatmul } from './matmul-blocked.ts';
import { PANEL_ROWS, panelFits, streamMatmul } from './matmul-panel.ts';
import {
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
} from './matrix.ts';
import { writeTranspose } from './transpose.ts';

export type MatmulStep = 'tiled' | 'hoisted' | 'blocked-free' | 'blocked';
export const MATMUL_STEPS: readonly MatmulStep[] = ['tiled', 'hoisted', 'blocked-free', 'blocked'];

export interface MatmulShape {
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly dtype: DType;
  readonly outDtype?: DType;
}

/** Operands of a matmul in HBM. */
export interface MatmulOperands {
  /** [K, M]. */
  readonly aT: Matrix;
  readonly b: Matrix;
  readonly c: Matrix;
}

export type MatmulLayout = 'kernel' | 'row-major' | 'framework';

export interface MatmulOptions extends MatmulShape {
  /** `blocked` if left out. */
  readonly step?: MatmulStep;
  /** `kernel` if left out. */
  readonly layout?: MatmulLayout;
  /** Storage of B, `dtype` if left out. */
  readonly weightDtype?: DType;
  /** Independent problems, one after another. */
  readonly batch?: number;
}

/** Inputs `a` and `b`, oriented as `layout` says, output `c` [M, N]; with a batch all have one more dimension, the first. */
export function matmulProgram(core: CoreSpec, options: MatmulOptions): Program {
  const {
    m,
    k,
    n,
    dtype,
    outDtype = dtype,
    weightDtype = dtype,
    step = 'blocked',
    layout = 'kernel',
    batch = 1,
  } = options;
  return tileProgram(`matmul ${step}`, core, (nc) => {
    const lead = batch > 1 ? [batch] : [];
    const [turnsA, turnsB] = [layout !== 'kernel', layout === 'framework'];
    const a = nc.input('a', dtype, [...lead, ...(turnsA ? [m, k] : [k, m])]);
    const b = nc.input('b', weightDtype, [...lead, ...(turnsB ? [n, k] : [k, n])]);
    const c = nc.output('c', outDtype, [...lead, m, n]);
    const turned = (x: HbmTensor, shape: readonly number[]): HbmTensor => {
      const xT = nc.scratch(`${x.name} transposed`, x.dtype, [...lead, ...shape]);
      nc.loop(batch, (i) => nc.scope(() => writeTranspose(nc, matrixOf(x, i), matrixOf(xT, i))));
      return xT;
    };
    const aT = turnsA ? turned(a, [k, m]) : a;
    const bK = turnsB ? turned(b, [k, n]) : b;
    nc.loop(batch, (i) => {
      writeMatmul(nc, { aT: matrixOf(aT, i), b: matrixOf(bK, i), c: matrixOf(c, i) }, step);
    });
  });
}

/** One matmul, by the tutorial's step. */
export function writeMatmul(nc: ProgramBuilder, operands: MatmulOperands, step: MatmulStep): void {
  const { aT, b } = operands;
  if (step === 'tiled') writeTiled(nc, operands);
  else if (step === 'hoisted') writeHoisted(nc, operands);
  else if (step === 'blocked-free') writeBlockedFree(nc, operands);
  else if (aT.columns <= PANEL_ROWS && panelFits(nc.core, aT.rows, aT.columns, aT.tensor.dtype)) {
    nc.scope(() => {
      const { rows: k, columns: m } = aT;
      const panel = nc.sbuf('lhs', aT.tensor.dtype, P, groupsOf(k) * m);
      loadPanel(nc, panel, m, interleaved(aT), [0, k], [0, m]);
      streamMatmul(nc, { panel, width: m, rows: m, b: [interleaved(b)] }, operands.c);
    });
  } else writeBlockedMatmul(nc, operands);
}

/** Every operand tile is loaded where it is used. */
function writeTiled(nc: ProgramBuilder, { aT, b, c }: MatmulOperands): void {
  const { rows: k, columns: m } = aT;
  const lhs = nc.sbuf('lhs', aT.tensor.dtype, P, P, { slots: 2 });
  const rhs = nc.sbuf('rhs', b.tensor.dtype, P, MOVING, { slots: 2 });
  const out = nc.sbuf('out', c.tensor.dtype, P, MOVING, { slots: 2 });
  const psum = nc.psum('psum', P, MOVING, { slots: 2 });
  nc.tiles(m, P, (m0, ml) => {
    nc.tiles(b.columns, MOVING, (n0, nl, j) => {
      const sum = psum.slot(j).rows(0, ml).columns(0, nl);
      nc.tiles(k, P, (k0, kl, i) => {
        const stationary = lhs.slot(i).rows(0, kl).columns(0, ml);
        const moving = rhs.slot(i).rows(0, kl).columns(0, nl);
        nc.dmaCopy(stationary, part(aT, [k0, kl], [m0, ml]));
        nc.dmaCopy(moving, part(b, [k0, kl], [n0, nl]));
        nc.matmul(sum, stationary, moving, { accumulate: [i] });
      });
      const result = out.slot(j).rows(0, ml).columns(0, nl);
      evacuate(nc, result, sum, 0);
      nc.dmaCopy(part(c, [m0, ml], [n0, nl]), result);
    });
  });
}

/** The stationary operand of 128 rows of C is loaded once; the moving one still for every 512 columns. */
function writeHoisted(nc: ProgramBuilder, { aT, b, c }: MatmulOperands): void {
  const { rows: k, columns: m } = aT;
  const lhs = nc.sbuf('lhs', aT.tensor.dtype, P, groupsOf(k) * P, { slots: 2 });
  const rhs = nc.sbuf('rhs', b.tensor.dtype, P, MOVING, { slots: 8 });
  const out = nc.sbuf('out', c.tensor.dtype, P, MOVING, { slots: 2 });
  const psum = nc.psum('psum', P, MOVING, { slots: 2 });
  nc.tiles(m, P, (m0, ml, block) => {
    const panel = lhs.slot(block);
    nc.tiles(k, P, (k0, kl, i) => {
      nc.dmaCopy(panelTile(panel, P, i, kl, 0, ml), part(aT, [k0, kl], [m0, ml]));
    });
    nc.tiles(b.columns, MOVING, (n0, nl, j) => {
      const sum = psum.slot(j).rows(0, ml).columns(0, nl);
      nc.tiles(k, P, (k0, kl, i) => {
        const moving = rhs.slot(i).rows(0, kl).columns(0, nl);
        nc.dmaCopy(moving, part(b, [k0, kl], [n0, nl]));
        nc.matmul(sum, panelTile(panel, P, i, kl, 0, ml), moving, { accumulate: [i] });
      });
      const result = out.slot(j).rows(0, ml).columns(0, nl);
      evacuate(nc, result, sum, 0);
      nc.dmaCopy(part(c, [m0, ml], [n0, nl]), result);
    });
  });
}

/**
 * Results in blocks of 256 x 1024: each loaded tile serves twice (stationary) or for two row tiles (moving). Both blocks
 * cover all of K, so that a long contraction exceeds SBUF.
 */
function writeBlockedFree(nc: ProgramBuilder, { aT, b, c }: MatmulOperands): void {
  const { rows: k, columns: m } = aT;
  const [blockM, blockN] = [2 * P, 2 * MOVING];
  const groups = groupsOf(k);
  const lhs = nc.sbuf('lhs', aT.tensor.dtype, P, groups * blockM);
  // A slot is a tile of 128 x 512, as the tutorial loads them.
  const rhs = nc.sbuf('rhs', b.tensor.dtype, P, MOVING, { slots: 2 * groups });
  const out = nc.sbuf('out', c.tensor.dtype, P, MOVING, { slots: 2 });
  const psum = nc.psum('psum', P, MOVING, { slots: 4 });
  nc.tiles(m, blockM, (m0, ml) => {
    nc.tiles(k, P, (k0, kl, i) => {
      nc.dmaCopy(panelTile(lhs, blockM, i, kl, 0, ml), part(aT, [k0, kl], [m0, ml]));
    });
    nc.tiles(b.columns, blockN, (n0, nl) => {
      const strips = Array.from({ length: Math.ceil(nl / MOVING) }, (_, strip) => {
        const column = strip * MOVING;
        return { strip, column, columns: Math.min(MOVING, nl - column) };
      });
      for (const { strip, column, columns } of strips) {
        nc.tiles(k, P, (k0, kl, i) => {
          const moving = rhs
            .slot(i.plus(strip * groups))
            .rows(0, kl)
            .columns(0, columns);
          nc.dmaCopy(moving, part(b, [k0, kl], [n0.plus(column), columns]));
        });
      }
      nc.tiles(ml, P, (row, rows, r) => {
        for (const { strip, column, columns } of strips) {
          const slot = r.times(2).plus(strip);
          const sum = psum.slot(slot).rows(0, rows).columns(0, columns);
          nc.tiles(k, P, (_k0, kl, i) => {
            const moving = rhs
              .slot(i.plus(strip * groups))
              .rows(0, kl)
              .columns(0, columns);
            nc.matmul(sum, panelTile(lhs, blockM, i, kl, row, rows), moving, { accumulate: [i] });
          });
          const result = out.slot(slot).rows(0, rows).columns(0, columns);
          evacuate(nc, result, sum, strip);
          nc.dmaCopy(part(c, [m0.plus(row), rows], [n0.plus(column), columns]), result);
        }
      });
    });
  });
}
