/**
 * Matmuls in 8-bit formats.
 *
 *   fp8    NeuronCore-v3 on, double row: two rows of the contraction in each partition, twice the rate of BF16
 *   mxfp8  NeuronCore-v4: four rows in each partition, blocks of 32 along K share an E8M0 scale, four times the rate;
 *          BF16 activations are quantised on the way in (quantize_mx), weights come quantised
 *
 * Packed operands keep the 2 or 4 rows of a partition innermost: a matrix [K, M] is stored [K / packing, M packing], its scales
 * [K / 32, M], as the SDK's x4 formats are. Panels of up to 512 rows of A stay in SBUF, B streams in rows as wide as PSUM allows.
 * see: Neuron SDK, nki.isa nc_matmul and nc_matmul_mx; nki/guides/architecture/trainium3_arch.
 */
import type { CoreSpec } from '../../hardware/spec.ts';
import type { DType } from '../../kernels/dtype.ts';
import type { Index, TileView } from '../access.ts';
import { MX_PARTITIONS, PACKING } from '../constraints.ts';
import { type Program, tileProgram } from '../program.ts';
import { streamColumns } from './matmul-panel.ts';
import {
  evacuate,
  groupsOf,
  interleaved,
  loadPanel,
  type Matrix,
  MOVING,
  matrixOf,
  P,
  part,
  sbufBudget,
} from './matrix.ts';

export interface QuantisedMatmulOptions {
  readonly m: number;
  /** A multiple of 2 for fp8, of 32 for mxfp8. */
  readonly k: number;
  readonly n: number;
  readonly format: 'fp8' | 'mxfp8';
  readonly outDtype?: DType;
  /** mxfp8: whether A comes in BF16 and is quantised here, or packed with its scales. */
  readonly quantise?: boolean;
}

/** Tiles of the contraction that one visit multiplies; partial sums stay in PSUM for all of K. */
const PANEL_ROWS = 512;

/**
 * Inputs `a` [K / packing, M packing] (transposed and packed; BF16 where it is quantised here), `b` [K / packing, N packing],
 * for mxfp8 also `aScales` (unless quantised here) and `bScales`; output `c` [M, N].
 */
export function quantisedMatmulProgram(core: CoreSpec, options: QuantisedMatmulOptions): Program {
  const { m, k, n, format, outDtype = 'bf16', quantise = true } = options;
  const isMx = format === 'mxfp8';
  const mode = isMx ? 'mx' : 'double-row';
  const packing = PACKING[mode];
  const block = isMx ? packing * MX_PARTITIONS : packing;
  if (k % block !== 0) throw new RangeError(`"k" expected a multiple of ${block} for ${format}, got ${k}`);
  const dtype: DType = isMx || core.version >= 4 ? 'f8e4m3fn' : 'f8e4m3';
  return tileProgram(`matmul ${format}`, core, (nc) => {
    const packed = k / packing;
    const isQuantised = isMx && quantise;
    const a = matrixOf(nc.input('a', isQuantised ? 'bf16' : dtype, [packed, m * packing]));
    const b = matrixOf(nc.input('b', dtype, [packed, n * packing]));
    const aScales = isMx && !quantise ? matrixOf(nc.input('aScales', 'e8m0', [k / block, m])) : null;
    const bScales = isMx ? matrixOf(nc.input('bScales', 'e8m0', [k / block, n])) : null;
    const c = matrixOf(nc.output('c', outDtype, [m, n]));
    const groups = groupsOf(packed);
    const scaleRows = P / MX_PARTITIONS;
    // The panel of A takes at most a third of SBUF, with the BF16 rows that it is made from.
    const perRow = groups * packing + (isMx ? groups : 0);
    const rows = Math.min(m, PANEL_ROWS, Math.max(P, Math.floor(sbufBudget(core) / 3 / perRow / P) * P));
    const panels = nc.sbuf('a', dtype, P, groups * rows * packing);
    const panelScales = isMx ? nc.sbuf('scales of a', 'e8m0', scaleRows, groups * rows) : null;
    const raw = isQuantised ? nc.sbuf('raw a', 'bf16', P, rows * packing, { slots: 2 }) : null;
    const tiles = groupsOf(rows);
    const wide = streamColumns(rows, n, packing);
    const strips = wide / MOVING;
    const streamed = nc.sbuf('b', dtype, P, wide * packing, { slots: 4 });
    const streamedScales = isMx ? nc.sbuf('scales of b', 'e8m0', scaleRows, wide, { slots: 4 }) : null;
    const out = nc.sbuf('c', outDtype, P, wide, { slots: 2 * tiles });
    const psum = nc.psum('psum', P, MOVING, { slots: tiles * strips });
    const scalesOf = (partitions: number) => Math.ceil(partitions / MX_PARTITIONS);

    /** The panel of A, as one DMA where nothing has to be done to its parts. Blocks with a scale must stay together. */
    const loadRows = (m0: Index, ml: number) => {
      if (!raw) {
        const source = isMx ? a : interleaved(a);
        loadPanel(nc, panels, rows * packing, source, [0, packed], [m0.times(packing), ml * packing]);
      }
      nc.tiles(packed, P, (k0, kl, g) => {
        const scales = panelScales?.rows(0, scalesOf(kl)).columns(g.times(rows), ml);
        if (raw && scales) {
          const tile = panels.rows(0, kl).columns(g.times(rows * packing), ml * packing);
          const source = raw
            .slot(g)
            .rows(0, kl)
            .columns(0, ml * packing);
          nc.dmaCopy(source, part(a, [k0, kl], [m0.times(packing), ml * packing]));
          nc.quantizeMx(tile, scales, source);
        } else if (aScales && scales) nc.dmaCopy(scales, scaleBlock(aScales, g, kl, m0, ml));
      });
    };

    nc.tiles(m, rows, (m0, ml) => {
      loadRows(m0, ml);
      nc.tiles(n, wide, (n0, nl, j) => {
        const each = (visit: (sum: TileView, t: number, height: number, column: number, columns: number) => void) => {
          for (let t = 0; t * P < ml; t++) {
            for (let strip = 0; strip * MOVING < nl; strip++) {
              const [height, column] = [Math.min(P, ml - t * P), strip * MOVING];
              const columns = Math.min(MOVING, nl - column);
              const bank = psum.slot(t * strips + strip);
              visit(bank.rows(0, height).columns(0, columns), t, height, column, columns);
            }
          }
        };
        nc.tiles(packed, P, (_row, kl, g) => {
          const turn = j.times(groups).plus(g);
          const moving = streamed.slot(turn);
          const source = isMx ? b : interleaved(b);
          loadPanel(nc, moving, wide * packing, source, [g.times(P), kl], [n0.times(packing), nl * packing]);
          const movingScales = streamedScales?.slot(turn).rows(0, scalesOf(kl));
          if (movingScales && bScales) {
            nc.dmaCopy(movingScales.columns(0, nl), scaleBlock(bScales, g, kl, n0, nl));
          }
          each((sum, t, height, column, columns) => {
            const row = g.times(rows).plus(t * P);
            const stationary = panels.rows(0, kl).columns(row.times(packing), height * packing);
            const scales = panelScales?.rows(0, scalesOf(kl)).columns(row, height);
            nc.matmul(sum, stationary, moving.rows(0, kl).columns(column * packing, columns * packing), {
              accumulate: [g],
              mode,
              ...(scales && movingScales && { scales: [scales, movingScales.columns(column, columns)] as const }),
            });
          });
        });
        const resultOf = (t: number, height: number) => out.slot(j.times(tiles).plus(t)).rows(0, height);
        each((sum, t, height, column, columns) => {
          evacuate(nc, resultOf(t, height).columns(column, columns), sum, t + column / MOVING);
        });
        for (let t = 0; t * P < ml; t++) {
          const height = Math.min(P, ml - t * P);
          nc.dmaCopy(part(c, [m0.plus(t * P), height], [n0, nl]), resultOf(t, height).columns(0, nl));
        }
      });
    });
  });
}

/** The scales of group `group` of a packed operand, `partitions` of its rows. */
function scaleBlock(scales: Matrix, group: Index, partitions: number, column: Index, columns: number) {
  const rows = Math.ceil(partitions / MX_PARTITIONS);
  return part(scales, [group.times(P / MX_PARTITIONS), rows], [column, columns]);
}
