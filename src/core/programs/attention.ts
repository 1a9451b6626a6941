/**
 * Flash attention: softmax(Q K^T / sqrt(d)) V with an online softmax, nothing but Q, K, V and the result in HBM.
 *
 *     for 512 queries of a head              Q transposed and scaled once
 *       for 1024 keys                        K^T and V double-buffered
 *         for 4 x 128 queries
 *           S = Q K^T, 512 keys a PSUM bank; running maximum m and sum l of exp(S - m)
 *           O = O exp(m before - m) + P V    P transposed on TensorE, 128 keys at a time
 *
 * Two tiles of queries are ahead of the one that is multiplied by V, so that TensorE has scores to compute while VectorE and ScalarE
 * exponentiate and move P.
 *
 * Grouped heads share K and V; without a mask their queries are packed into the same tiles. A causal mask leaves out the keys
 * above the diagonal, in bands of 512 queries (longer ones beyond 16,384, so that the text stays bounded), and masks what
 * remains by affine_select. Few queries take `attention-decode.ts` instead.
 * see: Dao et al., FlashAttention, arXiv:2205.14135; Neuron nki/kernels flash_fwd, whose layouts these are.
 */
import type { CoreSpec } from '../../hardware/spec.ts';
import type { DType } from '../../kernels/dtype.ts';
import type { Index, TileView } from '../access.ts';
import { type Program, type ProgramBuilder, tileProgram } from '../program.ts';
import { decodeFits, writeDecode } from './attention-decode.ts';
import { type AttentionOptions, checkAttention, keyGroups, loadValues } from './attention-keys.ts';
import {
  evacuate,
  groupsOf,
  loadPanel,
  type Matrix,
  MOVING,
  matrixOf,
  P,
  panelTile,
  part,
  transposedDtype,
} from './matrix.ts';
import { exponentials, LOWEST } from './softmax.ts';

const SECTION = 1024;
const BLOCKS = SECTION / MOVING;
const QUERIES = 512;
/** Tiles of 128 queries that are under way at once. */
const LANES = 2;
/** Bands of a causal mask. */
const MOST_BANDS = 32;

/** A stretch of keys, and what masks it. */
interface KeyRange {
  readonly from: number;
  readonly to: number;
  readonly isDiagonal: boolean;
  readonly isWindowEdge: boolean;
}

/** Queries [row, row + rows) and the keys that they see. */
interface Band {
  readonly row: number;
  readonly rows: number;
  readonly ranges: readonly KeyRange[];
}

/** Inputs `q` [batch heads, seqQ, d], `kT` [batch kvHeads, d, seqKv], `v` [batch kvHeads, seqKv, d]; output `y` as `q`. */
export function attentionProgram(core: CoreSpec, options: AttentionOptions): Program {
  checkAttention(options);
  const { batch = 1, heads, kvHeads, headDim, seqQ, seqKv, dtype, causal = false, window = seqKv } = options;
  const compute = options.mixedPrecision === true && dtype === 'f32' ? 'bf16' : dtype;
  return tileProgram('attention', core, (nc) => {
    const q = nc.input('q', dtype, [batch * heads, seqQ, headDim]);
    const kT = nc.input('kT', dtype, [batch * kvHeads, headDim, seqKv]);
    const v = nc.input('v', dtype, [batch * kvHeads, seqKv, headDim]);
    const y = nc.output('y', dtype, [batch * heads, seqQ, headDim]);
    const sharing = heads / kvHeads;
    // One query at the end sees everything, or the last `window` keys: no mask.
    const first = seqQ === 1 && causal ? Math.max(0, seqKv - window) : 0;
    const isMasked = seqQ > 1 && causal;
    const packed = isMasked ? 1 : sharing;
    const rowsOf = (tensor: typeof q, head: Index): Matrix => ({
      tensor,
      offset: head.times(seqQ * headDim),
      rows: packed * seqQ,
      columns: headDim,
    });
    if (!isMasked && decodeFits(core, packed * seqQ, seqKv - first, headDim)) {
      writeDecode(nc, batch * kvHeads, (i) => {
        const head = i.times(sharing);
        return { q: rowsOf(q, head), kT: matrixOf(kT, i), v: matrixOf(v, i), y: rowsOf(y, head), first };
      });
      return;
    }
    const write = flash(nc, headDim, dtype, compute);
    nc.loop(batch * kvHeads, (i) => {
      nc.loop(sharing / packed, (h) => {
        const head = i.times(sharing).plus(h);
        const operands = { q: rowsOf(q, head), kT: matrixOf(kT, i), v: matrixOf(v, i), y: rowsOf(y, head) };
        const whole = { from: first, to: seqKv, isDiagonal: false, isWindowEdge: false };
        const bands = isMasked ? causalBands(seqQ, seqKv, window) : [{ row: 0, rows: packed * seqQ, ranges: [whole] }];
        for (const band of bands) write(operands, band, { shift: seqKv - seqQ, window });
      });
    });
  });
}

/** Cuts the queries into bands, and the keys of each into stretches with and without a mask, in steps of 128 keys. */
export function causalBands(seqQ: number, seqKv: number, window: number): Band[] {
  const shift = seqKv - seqQ;
  const height = Math.ceil(seqQ / MOST_BANDS / QUERIES) * QUERIES;
  const bands: Band[] = [];
  for (let row = 0; row < seqQ; row += height) {
    const rows = Math.min(height, seqQ - row);
    const to = shift + row + rows;
    const down = (key: number) => Math.floor(Math.max(0, key) / P) * P;
    const from = down(shift + row - window + 1);
    // Keys that all queries of the band see: from where the last one's window begins, to where the first one stands.
    const diagonal = Math.max(from, down(shift + row + 1));
    const edge = Math.min(to, Math.ceil(Math.max(0, to - window) / P) * P);
    const cuts = [...new Set([from, Math.min(edge, to), diagonal, to])]
      .filter((cut) => cut >= from)
      .sort((a, b) => a - b);
    const ranges = cuts.slice(1).map((end, i) => ({
      from: cuts[i]!,
      to: end,
      isDiagonal: cuts[i]! >= diagonal,
      isWindowEdge: cuts[i]! < edge,
    }));
    bands.push({ row, rows, ranges });
  }
  return bands;
}

interface HeadOperands {
  readonly q: Matrix;
  readonly kT: Matrix;
  readonly v: Matrix;
  readonly y: Matrix;
}

/** 128 queries against a section of keys. */
interface QueryTile {
  readonly t: number;
  readonly rows: number;
  /** Of the section, the first so many. */
  readonly keys: number;
  /** Bases of the masks; null without one. */
  readonly masks: { readonly diagonal: Index | null; readonly edge: Index | null; readonly isInterleaved: boolean };
}

/** Columns of the scalars of 128 queries: negated maxima of all keys so far and of each block, sums, what rescales them. */
const LOWER = 0;
const MINIMA = 1;
const PARTIAL = MINIMA + BLOCKS;
const SUM = PARTIAL + BLOCKS;
const ADDED = SUM + 1;
const BEFORE = SUM + 2;
const FACTOR = SUM + 3;
const MAX = SUM + 4;
const COLUMNS = SUM + 5;

/** Lengths of the blocks of `keys` keys. */
function blocksOf(keys: number): number[] {
  return Array.from({ length: Math.ceil(keys / MOVING) }, (_, b) => Math.min(MOVING, keys - b * MOVING));
}

/** Declares the tiles of the flash loop; answers what writes one band with them. */
function flash(
  nc: ProgramBuilder,
  d: number,
  outDtype: DType,
  dtype: DType,
): (operands: HeadOperands, band: Band, mask: { readonly shift: number; readonly window: number }) => void {
  const tilesQ = QUERIES / P;
  const depth = groupsOf(d);
  const raw = nc.sbuf('q', dtype, P, d, { slots: 2 });
  const qT = nc.sbuf('qT', dtype, P, depth * P, { slots: tilesQ });
  const keys = nc.sbuf('kT', dtype, P, depth * SECTION, { slots: 2 });
  const values = nc.sbuf('v', dtype, P, (SECTION / P + 1) * d, { slots: 2 });
  const masked = nc.sbuf('masked', 'f32', P, MOVING, { slots: LANES * BLOCKS });
  const powers = nc.sbuf('p', dtype, P, MOVING, { slots: LANES * BLOCKS });
  const turned = nc.sbuf('pT', dtype, P, MOVING, { slots: 2 * BLOCKS });
  const sums = nc.sbuf('o', 'f32', P, d, { slots: tilesQ });
  const scalars = nc.sbuf('scalars', 'f32', P, COLUMNS, { slots: tilesQ });
  const result = nc.sbuf('y', outDtype, P, d, { slots: 2 });
  const scores = nc.psum('scores', P, MOVING, { slots: LANES * BLOCKS });
  const psumTurned = nc.psum('turned', P, MOVING, { slots: 2, dtype: transposedDtype(nc.core, dtype) });
  const psumO = nc.psum('o', P, d, { slots: LANES });
  const scale = 1 / Math.sqrt(d);

  const start = (q: Matrix, row: Index, rows: number, t: Index) => {
    const tile = raw.slot(t).rows(0, rows);
    nc.dmaCopy(tile, part(q, [row, rows], [0, d]));
    nc.tiles(d, P, (column, columns, g) => {
      const bank = psumTurned.slot(g).rows(0, columns).columns(0, rows);
      nc.transpose(bank, tile.columns(column, columns));
      nc.activation(panelTile(qT.slot(t), P, g, columns, 0, rows), 'copy', bank, { scale });
    });
    const state = scalars.slot(t).rows(0, rows);
    nc.memset(state.columns(LOWER, 1), -LOWEST, 'GpSimdE');
    nc.memset(state.columns(SUM, 1), 0, 'GpSimdE');
    nc.memset(sums.slot(t).rows(0, rows), 0, 'GpSimdE');
  };

  /** S = Q K^T of one tile, masked where it has to be: 512 keys in each view. */
  const score = ({ t, rows, keys: count, masks }: QueryTile, k: TileView): TileView[] =>
    blocksOf(count).map((columns, b) => {
      const slot = t * BLOCKS + b;
      const bank = scores.slot(slot).rows(0, rows).columns(0, columns);
      nc.tiles(d, P, (_row, height, g) => {
        const moving = panelTile(k, SECTION, g, height, b * MOVING, columns);
        nc.matmul(bank, panelTile(qT.slot(t), P, g, height, 0, rows), moving, { accumulate: [g] });
      });
      if (!masks.diagonal && !masks.edge) return bank;
      const source = masked.slot(slot).rows(0, rows).columns(0, columns);
      evacuate(nc, source, bank, 1);
      if (masks.diagonal) {
        const base = masks.diagonal.plus(-b * MOVING);
        nc.affineSelect(source, source, { base, partitionStep: 1, freeStep: -1, fill: LOWEST });
      }
      if (masks.edge) {
        const base = masks.edge.plus(b * MOVING);
        nc.affineSelect(source, source, { base, partitionStep: -1, freeStep: 1, fill: LOWEST });
      }
      return source;
    });

  /** P = exp(S - m), and what the sums so far are to be multiplied with. */
  const exponentiate = ({ t, rows }: QueryTile, sources: readonly TileView[]) => {
    const state = scalars.slot(t).rows(0, rows);
    const [lower, before, factor] = [LOWER, BEFORE, FACTOR].map((column) => state.columns(column, 1));
    const blocks = sources.length;
    const partial = state.columns(PARTIAL, blocks);
    sources.forEach((source, b) => {
      nc.tensorReduce(state.columns(MINIMA + b, 1), 'max', source, { negate: true });
    });
    // The running maximum is kept negated, beside those of the blocks: one minimum updates it, and it is the bias of exp.
    nc.copy(before!, lower!, 'GpSimdE');
    nc.tensorReduce(lower!, 'min', state.columns(LOWER, 1 + blocks));
    nc.activation(factor!, 'exp', before!, { scale: -1, bias: lower! });
    const max = state.columns(MAX, 1);
    if (nc.core.exponentialSpeedup !== null) nc.tensorScalar(max, lower!, 'multiply', -1);
    sources.forEach((source, b) => {
      const power = powers
        .slot(t * BLOCKS + b)
        .rows(0, rows)
        .columns(0, source.length);
      exponentials(nc, power, source, { max, negated: lower!, sum: partial.columns(b, 1) });
    });
    const held = sums.slot(t).rows(0, rows);
    nc.tensorScalar(held, held, 'multiply', factor!, { engine: 'GpSimdE' });
  };

  /** P^T, 128 keys at a time. */
  const turn = ({ t, rows, keys: count, masks }: QueryTile) => {
    blocksOf(count).forEach((columns, b) => {
      const power = powers
        .slot(t * BLOCKS + b)
        .rows(0, rows)
        .columns(0, columns);
      const groups = keyGroups(columns, masks.isInterleaved);
      const [bank, pT] = [psumTurned.slot(b), turned.slot(t * BLOCKS + b)];
      groups.forEach(({ partitions, first, step }, g) => {
        nc.transpose(bank.rows(0, partitions).columns(g * P, rows), power.access(first, [[step, partitions]]));
      });
      const whole = groups.filter(({ partitions }) => partitions === P).length;
      const written = (tile: TileView) =>
        tile.access(0, [
          [P, whole],
          [1, rows],
        ]);
      if (whole > 0) evacuate(nc, written(pT), written(bank), b);
      if (whole === groups.length) return;
      const last = (tile: TileView) => tile.rows(0, groups.at(-1)!.partitions).columns(whole * P, rows);
      evacuate(nc, last(pT), last(bank), b);
    });
  };

  /** O = O + P V, and the sum of P. */
  const accumulate = ({ t, rows, keys: count, masks }: QueryTile, v: TileView) => {
    const o = psumO.slot(t).rows(0, rows);
    blocksOf(count).forEach((columns, b) => {
      keyGroups(columns, masks.isInterleaved).forEach(({ partitions }, g) => {
        const stationary = turned
          .slot(t * BLOCKS + b)
          .rows(0, partitions)
          .columns(g * P, rows);
        const moving = v.rows(0, partitions).columns(((b * MOVING) / P + g) * d, d);
        nc.matmul(o, stationary, moving, { accumulate: b + g > 0 });
      });
    });
    const state = scalars.slot(t).rows(0, rows);
    const [sum, added, factor] = [SUM, ADDED, FACTOR].map((column) => state.columns(column, 1));
    const partial = state.columns(PARTIAL, Math.ceil(count / MOVING));
    if (partial.length > 1) nc.tensorReduce(added!, 'add', partial);
    const operand1 = partial.length > 1 ? added! : partial;
    nc.tensorScalar(sum!, sum!, 'multiply', factor!, { alu1: 'add', operand1 });
    const held = sums.slot(t).rows(0, rows);
    nc.tensorTensor(held, held, 'add', o);
  };

  return ({ q, kT, v, y }, { row, rows, ranges }, { shift, window }) => {
    nc.tiles(rows, QUERIES, (q0, ql) => {
      const top = q0.plus(row);
      nc.tiles(ql, P, (r, height, t) => start(q, top.plus(r), height, t));
      for (const { from, to, isDiagonal, isWindowEdge } of ranges) {
        nc.tiles(to - from, SECTION, (k0, length, s) => {
          const slot = s.plus(Math.floor(from / P));
          const [k, value] = [keys.slot(slot), values.slot(slot)];
          const key = k0.plus(from);
          // Where the diagonal crosses, each 128 queries leave out the keys that none of them sees.
          const isCut = isDiagonal && rows <= QUERIES;
          loadPanel(nc, k, SECTION, kT, [0, d], [key, length]);
          for (let b = 0; b * MOVING < length; b++) {
            const [at, count] = [b * MOVING, Math.min(MOVING, length - b * MOVING)];
            loadValues(nc, value, (at / P) * d, v, key.plus(at), count, !isCut);
          }
          const tiles = Array.from({ length: groupsOf(ql) }, (_, t): QueryTile => {
            const height = Math.min(P, ql - t * P);
            const position = top.plus(t * P + shift);
            return {
              t,
              rows: height,
              keys: isCut ? Math.min(length, shift + row + t * P + height - from - k0.constant) : length,
              masks: {
                diagonal: isDiagonal ? position.plus(key.times(-1)) : null,
                edge: isWindowEdge
                  ? position
                      .times(-1)
                      .plus(key)
                      .plus(window - 1)
                  : null,
                isInterleaved: !isCut,
              },
            };
          }).filter((tile) => tile.keys > 0);
          for (const tile of tiles.slice(0, LANES)) exponentiate(tile, score(tile, k));
          tiles.forEach((tile, i) => {
            turn(tile);
            const ahead = tiles[i + LANES];
            if (ahead) exponentiate(ahead, score(ahead, k));
            accumulate(tile, value);
          });
        });
      }
      nc.tiles(ql, P, (r, height, t) => {
        const sum = scalars.slot(t).rows(0, height).columns(SUM, 1);
        nc.reciprocal(sum, sum);
        const out = result.slot(t).rows(0, height);
        nc.tensorScalar(out, sums.slot(t).rows(0, height), 'multiply', sum);
        nc.dmaCopy(part(y, [top.plus(r), height], [0, d]), out);
      });
    });
  };
}
