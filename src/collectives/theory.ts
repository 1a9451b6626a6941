/**
 * What theory says that an algorithm takes, as closed forms: the steps, and the volume, which is the elements that cross from
 * one endpoint to another over all ranks. Every schedule is held against it, and `--explain` shows it.
 *
 * p ranks, n elements of the whole (`ScheduleOptions.elements`), k slices; exact where n divides into the algorithm's pieces.
 * The forms are properties of the algorithms and know nothing of links: two schedules of one volume can differ in time by how
 * their transfers share a link. Where each comes from stands at the head of its algorithm.
 * DUPLICATE writes are no part of the volume; KangaRing's transfers inside a pair are.
 */
import { expectInteger, ModelError } from '../base/errors.ts';
import { findAlgorithm } from './algorithms/registry.ts';
import { DEFAULT_SLICES } from './algorithms/tree.ts';
import type { ScheduleOptions } from './build.ts';
import type { Collective } from './schedule.ts';

export interface Effort {
  readonly steps: number;
  readonly volume: number;
}

/** A closed form, as text and as a function: of the ranks and the slices for steps; volume per element of the whole. */
interface Form {
  readonly steps: readonly [string, (p: number, k: number) => number];
  readonly volume: readonly [string, (p: number) => number];
}

type Forms = Partial<Record<Collective, Form>>;

const floorLog2 = (p: number): number => 31 - Math.clz32(p);
const ceilLog2 = (p: number): number => (p === 1 ? 0 : 1 + floorLog2(p - 1));

/** Bits set in 0 .. p - 1: the hops of a binomial tree from all its ranks to the root. */
function bitsBelow(p: number): number {
  let bits = 0;
  for (let i = 0; i < p; i++) for (let rest = i; rest > 0; rest &= rest - 1) bits++;
  return bits;
}

/** `chain`: k slices follow each other through p - 1 hops, the last one k - 1 steps behind the first. */
const STEPS = {
  one: ['1', () => 1],
  two: ['2', () => 2],
  around: ['p - 1', (p) => p - 1],
  twiceAround: ['2(p - 1)', (p) => 2 * (p - 1)],
  chain: ['k + p - 2', (p, k) => k + p - 2],
  log: ['ceil(log2 p)', (p) => ceilLog2(p)],
} satisfies Record<string, Form['steps']>;

/**
 * Without duplicate writes an all-gather moves at least (p - 1) n, since every rank lacks all but its own n / p, and an
 * all-reduce as much again for its reduce-scatter: what exceeds `all` and `twice` buys fewer steps.
 */
const VOLUME = {
  all: ['(p - 1) n', (p) => p - 1],
  twice: ['2(p - 1) n', (p) => 2 * (p - 1)],
  part: ['(p - 1) n / p', (p) => (p - 1) / p],
  half: ['(p - 1) n / 2', (p) => (p - 1) / 2],
  viaSwitch: ['(p + 1) n', (p) => p + 1],
  bits: ['n / p x bits set in 0 .. p - 1', (p) => bitsBelow(p) / p],
} satisfies Record<string, Form['volume']>;

function form(steps: Form['steps'], volume: Form['volume']): Form {
  return { steps, volume };
}

/** A ring both ways differs in its all-to-all alone: parts go the shorter way round. */
function ringForms(allToAll: Form): Forms {
  return {
    'all-reduce': form(STEPS.twiceAround, VOLUME.twice),
    'all-gather': form(STEPS.around, VOLUME.all),
    'reduce-scatter': form(STEPS.around, VOLUME.all),
    'all-to-all': allToAll,
    broadcast: form(STEPS.chain, VOLUME.all),
    reduce: form(STEPS.chain, VOLUME.all),
    gather: form(STEPS.around, VOLUME.half),
    scatter: form(STEPS.around, VOLUME.half),
  };
}

const ONE_WAY = ringForms(form(STEPS.around, ['p(p - 1) n / 2', (p) => (p * (p - 1)) / 2]));

const FORMS: Readonly<Record<string, Forms>> = {
  ring: ONE_WAY,
  'flat-ring': ONE_WAY,
  'bidirectional-ring': ringForms(
    form(['floor(p / 2)', (p) => Math.floor(p / 2)], ['floor(p^2 / 4) n', (p) => Math.floor((p * p) / 4)]),
  ),
  mesh: {
    'all-reduce': form(STEPS.two, VOLUME.twice),
    'all-gather': form(STEPS.one, VOLUME.all),
    'reduce-scatter': form(STEPS.one, VOLUME.all),
    'all-to-all': form(STEPS.one, VOLUME.all),
    broadcast: form(STEPS.one, VOLUME.all),
    reduce: form(STEPS.one, VOLUME.all),
    gather: form(STEPS.one, VOLUME.part),
    scatter: form(STEPS.one, VOLUME.part),
    barrier: form(STEPS.one, ['p(p - 1)', (p) => p * (p - 1)]),
  },
  'single-step-mesh': { 'all-reduce': form(STEPS.one, ['p(p - 1) n', (p) => p * (p - 1)]) },
  pairwise: { 'all-to-all': form(STEPS.around, VOLUME.all) },
  rdh: {
    'all-reduce': form(
      [
        '2 floor(log2 p), and 2 more off powers of two',
        (p) => 2 * floorLog2(p) + (floorLog2(p) === ceilLog2(p) ? 0 : 2),
      ],
      VOLUME.twice,
    ),
    'all-gather': form(STEPS.log, VOLUME.all),
    'reduce-scatter': form(STEPS.log, VOLUME.all),
  },
  kangaring: {
    'all-reduce': form(['p', (p) => p], ['(3p / 2 - 1) n', (p) => 1.5 * p - 1]),
    'all-gather': form(['p / 2', (p) => p / 2], ['p n / 2', (p) => p / 2]),
    'reduce-scatter': form(['p / 2 + 1', (p) => p / 2 + 1], ['(p - 1/2) n', (p) => p - 0.5]),
  },
  'double-binary-tree': {
    'all-reduce': form(['2 floor(log2 p) + k - 1', (p, k) => 2 * floorLog2(p) + k - 1], VOLUME.twice),
    broadcast: form(['floor(log2(p - 1)) + k', (p, k) => floorLog2(p - 1) + k], VOLUME.all),
    reduce: form(['floor(log2(p - 1)) + k', (p, k) => floorLog2(p - 1) + k], VOLUME.all),
  },
  'binomial-tree': {
    broadcast: form(STEPS.log, VOLUME.all),
    reduce: form(STEPS.log, VOLUME.all),
    gather: form(STEPS.log, VOLUME.bits),
    scatter: form(STEPS.log, VOLUME.bits),
  },
  switch: {
    'all-reduce': form(['k + 3', (_, k) => k + 3], ['2(p + 1) n', (p) => 2 * (p + 1)]),
    'all-gather': form(['k + 1', (_, k) => k + 1], VOLUME.viaSwitch),
    'reduce-scatter': form(['k + 1', (_, k) => k + 1], VOLUME.viaSwitch),
    broadcast: form(['k + 1', (_, k) => k + 1], VOLUME.viaSwitch),
    reduce: form(['k + 1', (_, k) => k + 1], VOLUME.viaSwitch),
  },
  dissemination: { barrier: form(STEPS.log, ['p ceil(log2 p)', (p) => p * ceilLog2(p)]) },
};

/** Steps and volume in words; null for permute and send-recv (one step, n for each pair) and for hierarchical. */
export function theoryText(algorithm: string, collective: Collective): { steps: string; volume: string } | null {
  const found = FORMS[findAlgorithm('algorithm', algorithm).name]?.[collective];
  return found === undefined ? null : { steps: found.steps[0], volume: found.volume[0] };
}

/**
 * Steps and volume of the collective in one group of `options.ranks` ranks.
 * @throws ModelError UNSUPPORTED where the sizes are given as `counts`: they have no closed form
 */
export function theoreticalEffort(options: ScheduleOptions): Effort {
  const { collective, ranks, pairs = [], counts } = options;
  if (counts !== undefined) throw new ModelError('UNSUPPORTED', 'counts', 'expected equal parts, for a closed form');
  const n = collective === 'barrier' ? 1 : expectInteger('elements', options.elements ?? 0);
  if (n === 0) return { steps: 0, volume: 0 };
  if (collective === 'permute' || collective === 'send-recv') {
    return { steps: Math.min(1, pairs.length), volume: n * pairs.filter(([from, to]) => from !== to).length };
  }
  if (options.algorithm === 'hierarchical') return hierarchical(options, n);
  if (ranks === 1) return { steps: collective === 'all-to-all' ? 1 : 0, volume: 0 };
  return flat(options, n);
}

function flat({ collective, algorithm, ranks, slices }: ScheduleOptions, n: number): Effort {
  const found = FORMS[algorithm]?.[collective];
  if (found === undefined) throw new ModelError('UNSUPPORTED', algorithm, `expected a closed form for ${collective}`);
  // A chain takes a slice for each rank if nothing is said.
  const k = slices ?? (found.steps === STEPS.chain ? ranks : DEFAULT_SLICES);
  return { steps: found.steps[1](ranks, k), volume: n * found.volume[1](ranks) };
}

/** The levels one after another: g places in m nodes, each inter group on its share of the data. */
function hierarchical(options: ScheduleOptions, n: number): Effort {
  const { collective, ranks, groupSize: g = 1, intra = '', inter = '' } = options;
  const m = ranks / g;
  const level = (algorithm: string, part: Collective, size: number, elements: number, copies: number): Effort => {
    const { steps, volume } = theoreticalEffort({
      collective: part,
      algorithm,
      ranks: size,
      elements,
      ...(options.slices !== undefined && { slices: options.slices }),
    });
    return { steps, volume: copies * volume };
  };
  const inside = (part: Collective): Effort => level(intra, part, g, n, m);
  const between = (part: Collective): Effort => level(inter, part, m, n / g, g);
  const add = (...efforts: readonly Effort[]): Effort => ({
    steps: efforts.reduce((sum, { steps }) => sum + steps, 0),
    volume: efforts.reduce((sum, { volume }) => sum + volume, 0),
  });
  if (collective === 'all-reduce') return add(inside('reduce-scatter'), between('all-reduce'), inside('all-gather'));
  // The data of a rank passes both levels whole in an all-to-all; a rooted one has a single inter group.
  if (collective === 'all-to-all') return add(inside(collective), level(inter, collective, m, n, g));
  if (collective === 'broadcast' || collective === 'reduce')
    return add(inside(collective), level(inter, collective, m, n, 1));
  return add(inside(collective), between(collective));
}
