/**
 * Matmuls in 8-bit formats.
 *
 *   fp8    NeuronCore-v3 on, double row: two rows of the contraction in each partition, twice the rate of BF16
 *   mxfp8  NeuronCore-v4: four rows in each partition, blocks of 32 along K share an E8M0 scale, four times the rate;
 *          BF16 activations are quantised on the way in (quantize_mx), weights come quantised
 *
 * Packed operands keep the 2 or 4 rows of a partition innermost: a matrix [K, M] is stored [K / packing, M packing], its scales
 * [K / 32, M], as the SDK's x4 formats are. Panels of up to 512 rows of A stay in SBUF, B streams.
 * see: Neuron SDK, nki.isa nc_matmul and nc_matmul_mx; nki/guides/architecture/trainium3_arch.
 */
import type { CoreSpec } from '../../hardware/spec.ts';
import type { DType } from '../../kernels/dtype.ts';
import type { Index, TileView } from '../access.ts';
import { MX_PARTITIONS, PACKING } from '../constraints.ts';
import { type Program, tileProgram } from '../program.ts';
import { evacuate, groupsOf, type Matrix, MOVING, matrixOf, P, part, sbufBudget } from './matrix.ts';

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
    const streamed = nc.sbuf('b', dtype, P, MOVING * packing, { slots: 8 });
    const streamedScales = isMx ? nc.sbuf('scales of b', 'e8m0', scaleRows, MOVING, { slots: 8 }) : null;
    const tiles = groupsOf(rows);
    const out = nc.sbuf('c', outDtype, P, MOVING, { slots: 2 * tiles });
    const psum = nc.psum('psum', P, MOVING, { slots: 2 * tiles });
    const scalesOf = (partitions: number) => Math.ceil(partitions / MX_PARTITIONS);

    nc.tiles(m, rows, (m0, ml) => {
      nc.tiles(packed, P, (k0, kl, g) => {
        const tile = panels.rows(0, kl).columns(g.times(rows * packing), ml * packing);
        const source = part(a, [k0, kl], [m0.times(packing), ml * packing]);
        const scales = panelScales?.rows(0, scalesOf(kl)).columns(g.times(rows), ml);
        if (raw && scales) {
          const wide = raw
            .slot(g)
            .rows(0, kl)
            .columns(0, ml * packing);
          nc.dmaCopy(wide, source);
          nc.quantizeMx(tile, scales, wide);
        } else nc.dmaCopy(tile, source);
        if (aScales && scales) nc.dmaCopy(scales, scaleBlock(aScales, g, kl, m0, ml));
      });
      nc.tiles(n, MOVING, (n0, nl, j) => {
        const sumOf = (t: number, height: number): TileView =>
          psum.slot(j.times(tiles).plus(t)).rows(0, height).columns(0, nl);
        const each = (visit: (t: number, height: number) => void) => {
          for (let t = 0; t * P < ml; t++) visit(t, Math.min(P, ml - t * P));
        };
        nc.tiles(packed, P, (k0, kl, g) => {
          const turn = j.times(groups).plus(g);
          const moving = streamed
            .slot(turn)
            .rows(0, kl)
            .columns(0, nl * packing);
          nc.dmaCopy(moving, part(b, [k0, kl], [n0.times(packing), nl * packing]));
          const movingScales = streamedScales?.slot(turn).rows(0, scalesOf(kl)).columns(0, nl);
          if (movingScales && bScales) nc.dmaCopy(movingScales, scaleBlock(bScales, g, kl, n0, nl));
          each((t, height) => {
            const column = g.times(rows).plus(t * P);
            const stationary = panels.rows(0, kl).columns(column.times(packing), height * packing);
            const scales = panelScales?.rows(0, scalesOf(kl)).columns(column, height);
            nc.matmul(sumOf(t, height), stationary, moving, {
              accumulate: [g],
              mode,
              ...(scales && movingScales && { scales: [scales, movingScales] as const }),
            });
          });
        });
        each((t, height) => {
          const result = out.slot(j.times(tiles).plus(t)).rows(0, height).columns(0, nl);
          evacuate(nc, result, sumOf(t, height), t);
          nc.dmaCopy(part(c, [m0.plus(t * P), height], [n0, nl]), result);
        });
      });
    });
  });
}

/** The scales of group `group` of a packed operand, `partitions` of its rows. */
function scaleBlock(scales: Matrix, group: Index, partitions: number, column: Index, columns: number) {
  const rows = Math.ceil(partitions / MX_PARTITIONS);
  return part(scales, [group.times(P / MX_PARTITIONS), rows], [column, columns]);
}
