/**
 * Attention of a few queries (token generation): keys lie on the partitions, so that all 128 lanes work however few queries
 * there are, and no probability needs a transpose.
 *
 *     S[keys, queries] = K Q^T          stationary K^T [d, 128 keys], moving Q^T [d, queries]
 *     maximum over keys                 along the free dimension, then across partitions by two small transposes
 *     O[queries, d] = P^T V             stationary P [128 keys, queries], moving V [128 keys, d]; all keys in one accumulation
 *
 * All scores of a head stay in SBUF, so K and V pass once, in DMAs of 4 KiB rows and more: the program is bound by HBM.
 * see: Neuron nki-library, attention_tkg (the same arrangement).
 */
import type { CoreSpec } from '../../hardware/spec.ts';
import { Index, type TileView } from '../access.ts';
import type { ProgramBuilder } from '../program.ts';
import { type KeyGroup, keyGroups, loadValues } from './attention-keys.ts';
import {
  evacuate,
  groupsOf,
  loadPanel,
  type Matrix,
  MOVING,
  P,
  panelTile,
  part,
  sbufBudget,
  transposedDtype,
} from './matrix.ts';
import { exponentials, LOWEST } from './softmax.ts';

const SECTION = 4096;
const MOST_QUERIES = 32;

/** Keys of a section: their scores for all queries fit in a PSUM bank. */
function sectionKeys(queries: number): number {
  return Math.min(SECTION, Math.floor(MOVING / queries) * P);
}

/** Whether queries by keys on the partitions is the better program: each query costs steps of its own, which many keys repay. */
export function decodeFits(core: CoreSpec, queries: number, keys: number, headDim: number): boolean {
  // Scores in FP32 and probabilities, both double-buffered.
  const scores = 2 * queries * (groupsOf(keys) + 1) * 8;
  const pays = queries === 1 || queries * P <= keys;
  return pays && queries <= MOST_QUERIES && headDim <= 512 && scores <= sbufBudget(core) / 3;
}

export interface DecodeOperands {
  /** [queries, d]. */
  readonly q: Matrix;
  readonly kT: Matrix;
  readonly v: Matrix;
  readonly y: Matrix;
  /** The first key that is seen. */
  readonly first: number;
}

/** `count` heads (of keys) one after another, all of one shape. */
export function writeDecode(nc: ProgramBuilder, count: number, operandsOf: (head: Index) => DecodeOperands): void {
  const { q: shape, kT: keyShape, first } = operandsOf(new Index(0));
  const [queries, d, dtype] = [shape.rows, shape.columns, shape.tensor.dtype];
  const keys = keyShape.columns - first;
  const length = sectionKeys(queries);
  const sections = Array.from({ length: Math.ceil(keys / length) }, (_, s) => {
    const begin = s * length;
    const groups = keyGroups(Math.min(length, keys - begin));
    return { begin, groups, length: Math.min(length, keys - begin), tile: s * (length / P) };
  });
  const tiles = sections.reduce((sum, { groups }) => sum + groups.length, 0);
  const depth = groupsOf(d);
  const turnedDtype = transposedDtype(nc.core, dtype);
  const raw = nc.sbuf('q', dtype, P, d, { slots: 2 });
  const qT = nc.sbuf('qT', dtype, P, depth * queries, { slots: 2 });
  const keyTiles = nc.sbuf('kT', dtype, P, depth * length, { slots: 2 });
  const valueTiles = nc.sbuf('v', dtype, P, (length / P + 1) * d, { slots: 2 });
  // Scores and probabilities of query r at [r tiles, (r + 1) tiles).
  const scores = nc.sbuf('scores', 'f32', P, queries * tiles, { slots: 2 });
  const powers = nc.sbuf('p', dtype, P, queries * tiles, { slots: 2 });
  // Columns by query: maximum, -maximum, sum.
  const scalars = nc.sbuf('scalars', 'f32', P, 3 * queries, { slots: 2 });
  const across = nc.sbuf('across', 'f32', P, P, { slots: 2 });
  const totals = nc.sbuf('totals', 'f32', P, 2, { slots: 2 });
  const ones = nc.sbuf('ones', 'f32', P, 1);
  const result = nc.sbuf('y', dtype, P, d, { slots: 2 });
  const psum = nc.psum('scores', P, MOVING, { slots: 2 });
  const psumQ = nc.psum('turned q', P, P, { dtype: turnedDtype });
  const psumAcross = nc.psum('across', P, P, { slots: 2 });
  const psumO = nc.psum('o', P, d, { slots: 2 });
  const psumTotal = nc.psum('total', P, 1);
  nc.memset(ones, 1);

  nc.loop(count, (head) => {
    const { q, kT, v, y } = operandsOf(head);
    const tile = raw.slot(head).rows(0, queries);
    nc.dmaCopy(tile, part(q, [0, queries], [0, d]));
    nc.tiles(d, P, (column, columns, g) => {
      const bank = psumQ.rows(0, columns).columns(0, queries);
      nc.transpose(bank, tile.columns(column, columns));
      nc.activation(panelTile(qT.slot(head), queries, g, columns, 0, queries), 'copy', bank, {
        scale: 1 / Math.sqrt(d),
      });
    });
    const [score, power, scalar] = [scores.slot(head), powers.slot(head), scalars.slot(head)];
    // The last group may leave partitions without a key.
    if (keys % P !== 0) nc.memset(score.access(tiles - 1, [[tiles, queries]]), LOWEST, 'GpSimdE');
    sections.forEach((section, s) => {
      const turn = head.times(sections.length).plus(s);
      const k = keyTiles.slot(turn);
      loadPanel(nc, k, length, kT, [0, d], [first + section.begin, section.length]);
      const bank = psum.slot(turn);
      section.groups.forEach((group, g) => {
        nc.tiles(d, P, (_row, height, i) => {
          const stationary = k
            .rows(0, height)
            .access(i.times(length).plus(group.first), [[group.step, group.partitions]]);
          const moving = panelTile(qT.slot(head), queries, i, height, 0, queries);
          const out = bank.rows(0, group.partitions).access(g, [[section.groups.length, queries]]);
          nc.matmul(out, stationary, moving, { accumulate: [i] });
        });
      });
      copyScores(nc, score, tiles, section, bank, queries, s);
    });
    writeMaximum(nc, { score, scalar, across: across.slot(head), psum: psumAcross, queries, tiles });
    for (let r = 0; r < queries; r++) {
      const [max, negated, sum] = [r, queries + r, 2 * queries + r].map((column) => scalar.columns(column, 1));
      const ofQuery = [r * tiles, tiles] as const;
      exponentials(nc, power.columns(...ofQuery), score.columns(...ofQuery), {
        max: max!,
        negated: negated!,
        sum: sum!,
      });
    }
    const total = psumTotal.rows(0, queries);
    nc.matmul(total, scalar.columns(2 * queries, queries), ones);
    const o = psumO.slot(head).rows(0, queries);
    sections.forEach((section, s) => {
      const value = valueTiles.slot(head.times(sections.length).plus(s));
      loadValues(nc, value, 0, v, new Index(first + section.begin), section.length);
      section.groups.forEach(({ partitions }, g) => {
        const stationary = power.rows(0, partitions).access(section.tile + g, [[tiles, queries]]);
        nc.matmul(o, stationary, value.rows(0, partitions).columns(g * d, d), { accumulate: s + g > 0 });
      });
    });
    const inverse = totals.slot(head).rows(0, queries).columns(0, 1);
    nc.reciprocal(inverse, total);
    nc.tensorScalar(result.slot(head).rows(0, queries), o, 'multiply', inverse);
    nc.dmaCopy(part(y, [0, queries], [0, d]), result.slot(head).rows(0, queries));
  });
}

/** Moves the scores of a section from PSUM to their places: whole groups at once, a group of fewer keys by itself. */
function copyScores(
  nc: ProgramBuilder,
  score: TileView,
  tiles: number,
  { groups, tile }: { readonly groups: readonly KeyGroup[]; readonly tile: number },
  bank: TileView,
  queries: number,
  turn: number,
): void {
  const copy = (partitions: number, from: number, count: number) => {
    const at = (view: TileView, start: number, step: number) =>
      view.rows(0, partitions).access(start, [
        [step, queries],
        [1, count],
      ]);
    evacuate(nc, at(score, tile + from, tiles), at(bank, from, groups.length), turn);
  };
  const isPartial = groups.at(-1)!.partitions < P;
  const whole = groups.length - (isPartial ? 1 : 0);
  if (whole > 0) copy(P, 0, whole);
  if (isPartial) copy(groups.at(-1)!.partitions, whole, 1);
}

/** The maximum of each query over all keys, on every partition, and its negative. */
function writeMaximum(
  nc: ProgramBuilder,
  {
    score,
    scalar,
    across,
    psum,
    queries,
    tiles,
  }: {
    readonly score: TileView;
    readonly scalar: TileView;
    readonly across: TileView;
    readonly psum: TileView;
    readonly queries: number;
    readonly tiles: number;
  },
): void {
  const max = scalar.columns(0, queries);
  for (let r = 0; r < queries; r++) nc.tensorReduce(max.columns(r, 1), 'max', score.columns(r * tiles, tiles));
  const byQuery = psum.slot(0).rows(0, queries);
  nc.transpose(byQuery, max);
  const one = across.rows(0, queries);
  nc.tensorReduce(one.columns(0, 1), 'max', byQuery);
  nc.copy(one.columns(1, P - 1), one.access(0, [[0, P - 1]]));
  const spread = psum.slot(1).columns(0, queries);
  nc.transpose(spread, one);
  nc.copy(max, spread);
  nc.tensorScalar(scalar.columns(queries, queries), spread, 'multiply', -1);
}
