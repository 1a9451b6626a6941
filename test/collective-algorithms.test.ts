/**
 * Every collective by every algorithm that defines it, on real tensors, against the definition in double precision.
 *
 * The values are small whole numbers of which at most seven are not zero at one place, so that every partial sum is exact in
 * every format and every order: the comparison is for equality. Rounding is tested apart, with fractions and a bound.
 */
import { afterAll, describe, expect, test } from 'vitest';
import { collectiveAlgorithms, collectivesOf, findAlgorithm } from '../src/collectives/algorithms/registry.ts';
import { buildSchedule, type ScheduleOptions, whyNot } from '../src/collectives/build.ts';
import { reductionErrorBound, roundingDepth } from '../src/collectives/error-bound.ts';
import { circularPairs, stridedGroups } from '../src/collectives/groups.ts';
import {
  type CollectiveRunOptions,
  executeNumeric,
  type Reduction,
  runCollective,
} from '../src/collectives/numeric.ts';
import { referenceOutputs } from '../src/collectives/reference.ts';
import { type Collective, type Schedule, stepConflicts } from '../src/collectives/schedule.ts';
import { createArena } from '../src/kernels/arena.ts';
import type { DType } from '../src/kernels/dtype.ts';
import type { Tensor } from '../src/kernels/tensor.ts';
import { pairwise } from './fixtures/pairwise.ts';

const RANKS = [1, 2, 3, 4, 5, 7, 8, 16, 60, 64, 144];
const FORMATS: readonly DType[] = ['f32', 'bf16', 'f16', 'f8e4m3', 'f8e4m3fn', 'f8e5m2', 'f8e3m4', 'i8', 'i32'];
const OPERATORS: readonly Reduction[] = ['sum', 'prod', 'max', 'min', 'average'];
const REDUCING: readonly Collective[] = ['all-reduce', 'reduce-scatter', 'reduce'];
const WITH_COUNTS: readonly Collective[] = ['all-gather', 'reduce-scatter', 'gather', 'scatter', 'all-to-all'];
const ROOTED: readonly Collective[] = ['broadcast', 'reduce', 'gather', 'scatter'];

const arena = createArena();
let ran = 0;
afterAll(() => {
  expect(arena.usedBytes).toBeLessThan(1e7); // the kernels' own scratch: no tensor is kept
  expect(ran).toBeGreaterThan(4000);
});

function upTo(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i);
}

/** A fixed order that is not the identity. */
function shuffled(p: number): number[] {
  const factor = [7, 11, 5, 1].find((f) => p % f !== 0)!;
  return upTo(p).map((k) => (k * factor + 1) % p);
}

/** Whole numbers of which few are not 0 (not 1 for a product), different from rank to rank and place to place. */
function valueAt(rank: number, i: number, ranks: number, operator: Reduction): number {
  const busy = (rank + i) % Math.ceil(ranks / 6) === 0;
  if (operator === 'prod') return busy ? [1, -1, 1][(rank * 7 + i) % 3]! : 1;
  return busy ? ((rank * 7 + i) % 3) - 1 : 0;
}

interface Outcome {
  readonly outputs: Float32Array[];
  /** As the definition has them, from the inputs as they were stored. */
  readonly expected: (readonly number[])[];
}

/** Runs the schedule on tensors, apart or in place, and returns what came out beside the definition. */
function run(
  schedule: Schedule,
  options: ScheduleOptions,
  dtype: DType,
  isInPlace: boolean,
  value: (rank: number, i: number) => number,
  runOptions: CollectiveRunOptions = {},
): Outcome {
  ran++;
  const { ranks, input, output } = schedule;
  const owned: Tensor[] = [];
  const tensor = (length: number): Tensor => {
    const made = arena.tensor(dtype, [length]);
    owned.push(made);
    made.bytesView().fill(0x55); // garbage that shows
    return made;
  };
  const inputs: Tensor[] = [];
  const outputs: Tensor[] = [];
  for (let rank = 0; rank < ranks; rank++) {
    const [givenAt, gotAt] = [input.offset[rank]!, output.offset[rank]!];
    const [given, got] = [input.length[rank]!, output.length[rank]!];
    if (isInPlace) {
      // One tensor that holds both: where they lie in the whole if they overlap there, else both from its beginning.
      const begin =
        gotAt < givenAt + given || gotAt + got <= givenAt ? Math.min(givenAt, gotAt) : Math.max(givenAt, gotAt);
      const [at, to] = [Math.max(0, givenAt - begin), Math.max(0, gotAt - begin)];
      const memory = tensor(Math.max(at + given, to + got));
      inputs.push(memory.slice(at, at + given));
      outputs.push(memory.slice(to, to + got));
    } else {
      inputs.push(tensor(given));
      outputs.push(tensor(got));
    }
    inputs[rank]!.set(Float32Array.from({ length: given }, (_, i) => value(rank, i)));
  }
  const stored = inputs.map((tensorOf) => tensorOf.toFloat32());
  runCollective(schedule, inputs, outputs, runOptions);
  if (!isInPlace) {
    // What went in is still there.
    for (const [rank, given] of inputs.entries()) {
      expect(firstDifference(given.toFloat32(), stored[rank]!)).toBe(-1);
    }
  }
  const results = outputs.map((tensorOf) => tensorOf.toFloat32());
  for (const made of owned) made.dispose();
  return { outputs: results, expected: referenceOutputs(options, stored, runOptions.operator) };
}

function firstDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  for (let i = 0; i < Math.max(a.length, b.length); i++) if (a[i] !== b[i] && !(a[i] === 0 && b[i] === 0)) return i;
  return -1;
}

/** `x` in the format. */
function stored(values: readonly number[], dtype: DType): Float32Array {
  using tensor = arena.tensor(dtype, [values.length]).set(values.map(dtype.startsWith('i') ? Math.trunc : (x) => x));
  return tensor.toFloat32();
}

function sizesOf(size: string, ranks: number): number {
  switch (size) {
    case 'none':
      return 0;
    case 'one':
      return 1;
    case 'odd':
      return 37;
    case 'uneven':
      return 2 * ranks + 1;
    default:
      return ranks > 16 ? 2003 : 20011;
  }
}

/** Lengths that are far from even, some of them 0. */
function unevenCounts(count: number, elements: number): number[] {
  return upTo(count).map((i) => (i % 3 === 1 ? 0 : (i * 7 + elements) % 11));
}

const COMMON = {
  ranks: RANKS,
  dtype: FORMATS,
  size: ['none', 'one', 'odd', 'uneven', 'large'],
  isInPlace: [false, true],
  group: ['all', 'strided', 'unequal'],
  order: ['given', 'shuffled', 'two'],
};

/** The rest of the options, by what the algorithm takes. */
function optionsOf(collective: Collective, algorithm: string, row: Record<string, unknown>): ScheduleOptions {
  const ranks = row.ranks as number;
  const groups =
    row.group === 'strided' && ranks % 2 === 0
      ? stridedGroups(ranks, ranks / 2, 2)
      : row.group === 'unequal' && ranks > 2
        ? [shuffled(ranks).slice(0, Math.ceil(ranks / 3)), shuffled(ranks).slice(Math.ceil(ranks / 3), ranks - 1)]
        : undefined;
  const members = groups?.map((group) => group.length) ?? [ranks];
  const isEqual = members.every((count) => count === members[0]);
  const smallest = Math.min(...members);
  const elements = sizesOf(row.size as string, ranks);
  const places = algorithm === 'hierarchical' ? (row.groupSize as number) : smallest;
  const orders =
    isEqual && row.order !== 'given'
      ? { orders: row.order === 'two' ? [upTo(places), shuffled(places).reverse()] : [shuffled(places)] }
      : {};
  const counted = row.counts === true && WITH_COUNTS.includes(collective);
  const length = collective === 'all-to-all' ? ranks * ranks : ranks;
  return {
    collective,
    algorithm,
    ranks,
    ...(groups && { groups }),
    ...(collective !== 'barrier' && (counted ? { counts: unevenCounts(length, elements) } : { elements })),
    ...(ROOTED.includes(collective) && { root: row.root === 'last' ? smallest - 1 : 0 }),
    ...((collective === 'permute' || collective === 'send-recv') && {
      pairs: row.root === 'last' ? circularPairs(smallest, -1) : circularPairs(smallest, 3 % smallest).slice(1),
    }),
    ...orders,
    ...(row.slices !== undefined && { slices: row.slices as number }),
    ...(algorithm === 'hierarchical' && {
      groupSize: places,
      intra: row.intra as string,
      inter: row.inter as string,
    }),
  };
}

function factorsOf(collective: Collective, algorithm: string): Record<string, readonly unknown[]> {
  return {
    ...COMMON,
    ...(REDUCING.includes(collective) && { operator: OPERATORS }),
    ...(WITH_COUNTS.includes(collective) && { counts: [false, true] }),
    ...((ROOTED.includes(collective) || collective === 'permute' || collective === 'send-recv') && {
      root: ['first', 'last'],
    }),
    ...(['double-binary-tree', 'switch', 'ring'].includes(algorithm) && { slices: [undefined, 1, 3] }),
    ...(algorithm === 'hierarchical' && {
      groupSize: [1, 2, 4, 12],
      intra: levelsOf(collective, ['reduce-scatter', 'all-gather']),
      inter: levelsOf(collective, ['all-reduce']),
    }),
  };
}

function levelsOf(collective: Collective, forAllReduce: readonly Collective[]): string[] {
  const needed = collective === 'all-reduce' ? forAllReduce : [collective];
  return collectiveAlgorithms()
    .filter((algorithm) => algorithm.name !== 'hierarchical')
    .filter((algorithm) => needed.every((part) => algorithm[part] !== undefined))
    .map(({ name }) => name);
}

/** Why the options can't be: what the test expects the error to say. */
function expectedError(options: ScheduleOptions): string | null {
  const sizes = options.groups?.map((group) => group.length) ?? [options.ranks];
  const { groupSize } = options;
  for (const size of sizes) {
    if (groupSize !== undefined && groupSize > size) return 'groupSize';
    const why = whyNot(findAlgorithm('algorithm', options.algorithm), options.collective, size, {
      ...(groupSize !== undefined && { groupSize }),
      ...(options.intra !== undefined && { intra: findAlgorithm('intra', options.intra) }),
      ...(options.inter !== undefined && { inter: findAlgorithm('inter', options.inter) }),
    });
    if (why !== null) return options.algorithm;
  }
  return null;
}

const moving = collectiveAlgorithms().filter((algorithm) => collectivesOf(algorithm)[0] !== 'barrier');

describe.each(moving.map(({ name }) => name))('%s', (name) => {
  const collectives = collectivesOf(findAlgorithm('algorithm', name)).filter((collective) => collective !== 'barrier');

  test.each(collectives)('%s gives what the definition says', (collective) => {
    for (const row of pairwise(factorsOf(collective, name))) {
      const options = optionsOf(collective, name, row);
      const wrong = expectedError(options);
      if (wrong !== null) {
        expect(() => buildSchedule(options)).toThrow(wrong);
        continue;
      }
      const schedule = buildSchedule(options);
      const operator = (row.operator ?? 'sum') as Reduction;
      const dtype = row.dtype as DType;
      const value = (rank: number, i: number): number => valueAt(rank, i, options.ranks, operator);
      const { outputs, expected } = run(schedule, options, dtype, row.isInPlace as boolean, value, { operator });
      outputs.forEach((output, rank) => {
        // An average is a fraction, which the format rounds.
        const right = operator === 'average' ? stored(expected[rank]!, dtype) : expected[rank]!;
        const at = firstDifference(output, right);
        if (at >= 0) {
          const what = `${JSON.stringify({ ...options, dtype, operator, isInPlace: row.isInPlace })}: rank ${rank}`;
          expect(`${what}: element ${at} is ${output[at]}`).toBe(`${what}: element ${at} is ${right[at]}`);
        }
      });
    }
  });
});

describe('rounding', () => {
  const fractions = (rank: number, i: number): number => (((rank + 1) * 7919 + i * 104729) % 9973) / 9973 - 0.4;

  test.each(['f32', 'bf16', 'f16', 'f8e5m2'] as const)(
    'sums of fractions in %s are within the bound of their order, and the same on all ranks',
    (dtype) => {
      for (const { ranks, algorithm, wire } of pairwise({
        ranks: [2, 3, 8, 16, 60],
        algorithm: [
          'ring',
          'bidirectional-ring',
          'mesh',
          'single-step-mesh',
          'rdh',
          'kangaring',
          'double-binary-tree',
          'switch',
        ],
        wire: [dtype, 'bf16'] as readonly DType[],
      })) {
        const options: ScheduleOptions = { collective: 'all-reduce', algorithm, ranks, elements: 401 };
        if (expectedError(options) !== null) continue;
        const schedule = buildSchedule(options);
        const { outputs, expected } = run(schedule, options, dtype, false, fractions, { wire });
        const bound = reductionErrorBound(schedule, 'sum', dtype, wire);
        for (let i = 0; i < 401; i++) {
          const size = upTo(ranks).reduce((sum, rank) => sum + Math.abs(fractions(rank, i)), 0);
          const error = outputs.reduce((most, output) => Math.max(most, Math.abs(output[i]! - expected[0]![i]!)), 0);
          // Of the input's own rounding, the definition knows: it is of what was stored. `size` is of what was to be stored.
          expect(error).toBeLessThanOrEqual(bound * size * 1.25);
        }
        if (wire === dtype) expect(outputs.every((output) => firstDifference(output, outputs[0]!) < 0)).toBe(true);
      }
    },
  );

  test('the fewer roundings an order has, the smaller its bound: ring p - 1, RDH log2 p, mesh 1', () => {
    const depth = (algorithm: string): number =>
      roundingDepth(buildSchedule({ collective: 'all-reduce', algorithm, ranks: 64, elements: 6400 }));
    expect(depth('ring')).toBe(63);
    expect(depth('kangaring')).toBe(32);
    expect(depth('rdh')).toBe(6);
    expect(depth('mesh')).toBe(1);
    expect(depth('single-step-mesh')).toBe(1);
    expect(depth('switch')).toBe(1);
  });

  test('bf16 sums what a ring loses: 256 ones are 256 ones in one step and in a tree, and in a ring as well', () => {
    // 257 ones: 256 + 1 rounds to 256 in bf16. Only orders that add the last one to a smaller partial sum can see it.
    const results = Object.fromEntries(
      ['ring', 'mesh'].map((algorithm) => {
        const options: ScheduleOptions = { collective: 'all-reduce', algorithm, ranks: 300, elements: 300 };
        return [algorithm, run(buildSchedule(options), options, 'bf16', true, () => 1).outputs[0]![0]];
      }),
    );
    expect(results).toEqual({ ring: 256, mesh: 300 });
  });

  test('reduced in FP32 with BF16 on the wire, a sum of many is nearer than reduced in BF16', () => {
    const options: ScheduleOptions = { collective: 'all-reduce', algorithm: 'ring', ranks: 64, elements: 640 };
    const schedule = buildSchedule(options);
    const worst = (runOptions: CollectiveRunOptions): number => {
      const { outputs, expected } = run(schedule, options, 'bf16', false, fractions, runOptions);
      return Math.max(...outputs[0]!.map((y, i) => Math.abs(y - expected[0]![i]!)));
    };
    // The mesh rounds each addend once on the wire; the ring each partial sum.
    const single = worst({});
    const mixed = worst({ accumulator: 'f32' });
    expect(mixed).toBeLessThan(single / 4);
  });

  test('what comes back has been through the wire: FP8 on the wire gives FP8 values', () => {
    const options: ScheduleOptions = { collective: 'broadcast', algorithm: 'ring', ranks: 4, elements: 100 };
    const { outputs } = run(buildSchedule(options), options, 'f32', false, fractions, { wire: 'f8e4m3' });
    expect(outputs[1]).toEqual(stored([...outputs[0]!], 'f8e4m3'));
    expect(outputs[1]).not.toEqual(outputs[0]);
  });

  test('stochastic rounding of a ring is right on average and the same with the same seed', () => {
    // 64 x 1/64 in bf16 partial sums: each rounding to nearest keeps multiples; a tiny addend to a large sum is lost.
    const options: ScheduleOptions = { collective: 'reduce', algorithm: 'ring', ranks: 64, elements: 4096 };
    const schedule = buildSchedule(options);
    const value = (rank: number): number => (rank === 63 ? 256 : 2 ** -2);
    const mean = (rounding: CollectiveRunOptions['rounding']): number => {
      const { outputs } = run(schedule, options, 'bf16', false, value, rounding === undefined ? {} : { rounding });
      return outputs[0]!.reduce((a, b) => a + b, 0) / 4096;
    };
    const exact = 256 + 63 / 4;
    const stochastic = mean({ seed: 5, stream: 0 });
    expect(Math.abs(stochastic - exact)).toBeLessThan(0.2);
    expect(mean({ seed: 5, stream: 0 })).toBe(stochastic);
    expect(mean(undefined)).toBe(256); // the chain starts at rank 63
  });

  test('integers wrap around, and averages of them are rounded towards 0', () => {
    const options: ScheduleOptions = { collective: 'all-reduce', algorithm: 'rdh', ranks: 4, elements: 3 };
    const schedule = buildSchedule(options);
    expect([...run(schedule, options, 'i8', true, () => 100).outputs[0]!]).toEqual([-112, -112, -112]); // 400 - 512
    const average = run(schedule, options, 'i32', true, (rank) => -rank, { operator: 'average' });
    expect([...average.outputs[3]!]).toEqual([-1, -1, -1]); // -6 / 4
  });
});

test('formats without arithmetic move as they are: scales of MX blocks, and pairs of 4-bit numbers', () => {
  const schedule = buildSchedule({ collective: 'all-gather', algorithm: 'ring', ranks: 3, elements: 12 });
  for (const dtype of ['e8m0', 'f4e2m1'] as const) {
    const inputs = upTo(3).map(() => arena.tensor(dtype, [4]));
    const outputs = upTo(3).map(() => arena.tensor(dtype, [12]));
    inputs.forEach((input, rank) => {
      input.bytesView().forEach((_, i, bytes) => {
        bytes[i] = 16 * rank + i + 1;
      });
    });
    runCollective(schedule, inputs, outputs);
    const all = inputs.flatMap((input) => [...input.bytesView()]);
    for (const output of outputs) expect([...output.bytesView()]).toEqual(all);
    for (const tensor of [...inputs, ...outputs]) tensor.dispose();
  }
});

describe('barrier', () => {
  test.each(['dissemination', 'mesh'])('after a %s barrier everybody has heard of everybody', (algorithm) => {
    for (const ranks of RANKS) {
      const schedule = buildSchedule({ collective: 'barrier', algorithm, ranks });
      let heard = upTo(ranks).map((rank) => new Set([rank]));
      for (let step = 0; step < schedule.steps; step++) {
        const { source, destination } = schedule.transfers(step);
        const before = heard.map((set) => new Set(set));
        heard = heard.map((set) => new Set(set));
        source.forEach((from, t) => {
          for (const rank of before[from]!) heard[destination[t]!]!.add(rank);
        });
      }
      expect(heard.every((set) => set.size === ranks)).toBe(true);
    }
  });
});

describe('options', () => {
  const build = (options: Partial<ScheduleOptions>) => () =>
    buildSchedule({ collective: 'all-reduce', algorithm: 'ring', ranks: 4, elements: 8, ...options });

  test('a combination that an algorithm does not define is an error that names it', () => {
    expect(build({ collective: 'all-to-all', algorithm: 'rdh' })).toThrow(
      '"algorithm" expected an algorithm that defines all-to-all, got rdh, which defines all-reduce, all-gather, reduce-scatter',
    );
    expect(build({ collective: 'all-gather', algorithm: 'rdh', ranks: 6 })).toThrow(
      '"algorithm" rdh expected a power of two of ranks for all-gather, got 6',
    );
    expect(build({ algorithm: 'kangaring', ranks: 5 })).toThrow('"algorithm" kangaring expected pairs of ranks');
    expect(build({ algorithm: 'hierarchical' })).toThrow('hierarchical expected "groupSize", "intra" and "inter"');
    const levels = { algorithm: 'hierarchical', groupSize: 2, intra: 'ring', inter: 'ring' };
    expect(build({ ...levels, groupSize: 3 })).toThrow('hierarchical expected nodes of 3 ranks each, got 4 ranks');
    expect(build({ ...levels, intra: 'double-binary-tree' })).toThrow('an "intra" that defines reduce-scatter');
    expect(build({ ...levels, inter: 'hierarchical' })).toThrow('levels that are not hierarchical themselves');
    expect(build({ algorithm: 'butterfly' })).toThrow('"algorithm" expected one of ring, bidirectional-ring');
  });

  test('wrong options are errors that name the option', () => {
    expect(build({ ranks: 0 })).toThrow('"ranks" expected integer in 1..1048576, got 0');
    expect(build({ elements: -1 })).toThrow('"elements"');
    expect(build({ elements: 2 ** 50 })).toThrow('"elements"');
    expect(() => buildSchedule({ collective: 'all-reduce', algorithm: 'ring', ranks: 4 })).toThrow(
      '"elements" or "counts"',
    );
    expect(build({ counts: [1, 2, 3, 4] })).toThrow('"counts" expected one of all-gather');
    expect(() => buildSchedule({ collective: 'all-gather', algorithm: 'ring', ranks: 4, counts: [1, 2] })).toThrow(
      '"counts" expected 4 numbers, got 2',
    );
    expect(build({ root: 1 })).toThrow('"root" expected one of broadcast, reduce, gather, scatter, got all-reduce');
    expect(build({ collective: 'broadcast', root: 4 })).toThrow('"root" expected integer in 0..3, got 4');
    expect(build({ orders: [[0, 1, 2]] })).toThrow('"orders[0]" expected 4 positions, got 3');
    expect(build({ orders: [] })).toThrow('"orders" expected at least one order, got none');
    expect(
      build({
        groups: [
          [0, 1],
          [1, 2],
        ],
      }),
    ).toThrow('"groups[1]" expected ranks in no other group, got 1 again');
    expect(build({ groups: [[]] })).toThrow('"groups[0]" expected at least one rank');
    expect(build({ groups: [[0, 4]] })).toThrow('"groups[0][1]" expected integer in 0..3, got 4');
    expect(build({ slices: 0 })).toThrow('"slices"');
    expect(
      build({
        collective: 'permute',
        algorithm: 'direct',
        pairs: [
          [0, 1],
          [2, 1],
        ],
      }),
    ).toThrow('"pairs[1]" expected each destination once, got 1 again');
    expect(build({ chunk: 3 } as Partial<ScheduleOptions>)).toThrow('"options" has no option "chunk"');
    expect(() => stridedGroups(10, 4, 2)).toThrow('"ranks" expected a multiple of 4 x 2, got 10');
  });

  test('what would not fit in memory is an error', () => {
    const mesh = buildSchedule({ collective: 'all-gather', algorithm: 'mesh', ranks: 4096, elements: 4096 });
    expect(() => mesh.transfers(0)).toThrow('step: expected at most 8388608 transfers, got more');
    expect(build({ collective: 'all-to-all', ranks: 2 ** 20 })).toThrow('all-to-all: expected at most');
  });

  test('wrong tensors are errors that name the culprit', () => {
    const schedule = buildSchedule({ collective: 'all-gather', algorithm: 'ring', ranks: 2, elements: 4 });
    const half = () => arena.tensor('f32', [2]);
    const full = () => arena.tensor('f32', [4]);
    const [a, b, x, y] = [half(), half(), full(), full()];
    expect(() => runCollective(schedule, [a], [x, y])).toThrow('"inputs" expected one per rank, 2, got 1');
    expect(() => runCollective(schedule, [a, x], [x, y])).toThrow('"inputs[1].length" expected 2, got 4');
    expect(() => runCollective(schedule, [a, b], [x, b])).toThrow('"outputs[1].length" expected 4, got 2');
    expect(() => runCollective(schedule, [a, b], [x, x])).toThrow('expected memory of its own');
    expect(() => runCollective(schedule, [y.slice(0, 2), b], [x, y])).toThrow('expected memory of its own');
    using whole = arena.tensor('bf16', [4]);
    expect(() => runCollective(schedule, [a, b], [whole, whole])).toThrow('"outputs[0]" expected dtype f32');
    expect(() => executeNumeric(schedule, [x, y], { operator: 'mean' as Reduction })).toThrow('"operator"');
    for (const tensor of [a, b, x, y]) tensor.dispose();
  });
});

describe('schedules', () => {
  test('steps of one class have the same transfers, but for an element more or less', () => {
    for (const algorithm of collectiveAlgorithms()) {
      for (const collective of collectivesOf(algorithm).filter(
        (c) => !['permute', 'send-recv', 'barrier'].includes(c),
      )) {
        for (const elements of [16, 160, 1003]) {
          const schedule = buildSchedule({
            collective,
            algorithm: algorithm.name,
            ranks: 16,
            elements,
            ...(algorithm.name === 'hierarchical' && {
              groupSize: 4,
              intra: levelsOf(collective, ['reduce-scatter', 'all-gather'])[0]!,
              inter: levelsOf(collective, ['all-reduce'])[0]!,
            }),
          });
          const first = new Map<number, number>();
          schedule.stepClass.forEach((stepClass, step) => {
            expect(stepClass).toBeLessThanOrEqual(first.size); // numbered in order of appearance
            const like = first.get(stepClass) ?? step;
            first.set(stepClass, like);
            const [a, b] = [schedule.transfers(like), schedule.transfers(step)];
            expect([b.source, b.destination, b.action]).toEqual([a.source, a.destination, a.action]);
            b.length.forEach((length, t) => {
              expect(Math.abs(length - a.length[t]!)).toBeLessThanOrEqual(1);
            });
          });
        }
      }
    }
  });

  test('a ring of 18432 ranks is two classes of steps', () => {
    const schedule = buildSchedule({ collective: 'all-reduce', algorithm: 'ring', ranks: 18432, elements: 2 ** 30 });
    expect(schedule.steps).toBe(2 * 18431);
    expect(new Set(schedule.stepClass).size).toBe(2);
    expect(schedule.transfers(20000).length.length).toBe(18432);
  });

  test('no step of any algorithm reads what it writes, but for the single-step mesh', () => {
    for (const algorithm of collectiveAlgorithms()) {
      for (const collective of collectivesOf(algorithm)) {
        if (algorithm.name === 'single-step-mesh' || algorithm.name === 'hierarchical' || collective === 'barrier')
          continue;
        const isPairs = collective === 'permute' || collective === 'send-recv';
        const schedule = buildSchedule({
          collective,
          algorithm: algorithm.name,
          ranks: 8,
          elements: 100,
          ...(isPairs && { pairs: circularPairs(8) }),
        });
        for (let step = 0; step < schedule.steps; step++) {
          // The owner of a part sends it to the switch and gets it back with the others: the same bytes.
          if (algorithm.name !== 'switch') expect(stepConflicts(schedule.transfers(step))).toEqual([]);
        }
      }
    }
  });
});
