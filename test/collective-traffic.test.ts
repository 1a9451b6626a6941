/** What the schedules move, against what theory says they move: in all, for each rank, and between which pairs. */
import { describe, expect, test } from 'vitest';
import { collectiveAlgorithms, collectivesOf } from '../src/collectives/algorithms/registry.ts';
import { inOrderTree } from '../src/collectives/algorithms/tree.ts';
import { buildSchedule, type ScheduleOptions } from '../src/collectives/build.ts';
import { circularPairs } from '../src/collectives/groups.ts';
import { areEven, cutPart, joinParts } from '../src/collectives/phase.ts';
import type { Collective } from '../src/collectives/schedule.ts';
import { theoreticalEffort, theoryText } from '../src/collectives/theory.ts';
import { trafficOf } from '../src/collectives/traffic.ts';

const RANKS = [1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 60, 64, 144];

/** Divisible by everything that an algorithm of `ranks` ranks cuts it into: powers of two below, ranks, 8 slices, 2 trees. */
function elementsFor(ranks: number): number {
  return ranks * 128 * 16;
}

function optionsFor(collective: Collective, algorithm: string, ranks: number): ScheduleOptions[] {
  const base: ScheduleOptions = {
    collective,
    algorithm,
    ranks,
    ...(collective !== 'barrier' && { elements: elementsFor(ranks) }),
    ...((collective === 'permute' || collective === 'send-recv') && { pairs: circularPairs(ranks) }),
  };
  if (algorithm !== 'hierarchical') return [base];
  return [1, 2, 4]
    .filter((groupSize) => ranks % groupSize === 0)
    .flatMap((groupSize) =>
      (
        [
          ['ring', 'ring'],
          ['mesh', 'mesh'],
          ['mesh', 'rdh'],
          ['kangaring', 'single-step-mesh'],
          ['ring', 'double-binary-tree'],
          ['switch', 'bidirectional-ring'],
        ] as const
      ).map(([intra, inter]) => ({ ...base, groupSize, intra, inter })),
    );
}

describe.each(collectiveAlgorithms())('$name', (algorithm) => {
  test.each(collectivesOf(algorithm))('%s takes the steps and moves the bytes of its closed form', (collective) => {
    let checked = 0;
    for (const ranks of RANKS) {
      for (const options of optionsFor(collective, algorithm.name, ranks)) {
        let schedule: ReturnType<typeof buildSchedule>;
        try {
          schedule = buildSchedule(options);
        } catch (error) {
          expect(String(error)).toContain(algorithm.name); // not defined there, which other tests look at
          continue;
        }
        const { steps, volume } = theoreticalEffort(options);
        const { total, sent, received, pairs } = trafficOf(schedule, 2);
        expect({ options, steps: schedule.steps, total }).toEqual({ options, steps, total: 2 * volume });
        expect(sent.reduce((a, b) => a + b, 0)).toBe(total);
        expect(received.reduce((a, b) => a + b, 0)).toBe(total);
        expect([...pairs.values()].reduce((a, b) => a + b, 0)).toBe(total);
        checked++;
      }
    }
    expect(checked).toBeGreaterThan(4);
  });
});

describe('each rank', () => {
  const traffic = (options: Partial<ScheduleOptions>) =>
    trafficOf(buildSchedule({ collective: 'all-reduce', algorithm: 'ring', ranks: 16, elements: 1600, ...options }), 1);

  test('of a ring, a mesh or RDH sends 2(p - 1)/p of the data, which is the least that there is', () => {
    for (const algorithm of ['ring', 'bidirectional-ring', 'mesh', 'rdh']) {
      const { sent, received } = traffic({ algorithm });
      expect([...sent]).toEqual(new Array(16).fill((2 * 15 * 1600) / 16));
      expect(received).toEqual(sent);
    }
  });

  test('of a bidirectional ring sends as much to its predecessor as to its successor', () => {
    const { pairs } = traffic({ algorithm: 'bidirectional-ring' });
    expect(new Set(pairs.values())).toEqual(new Set([1500]));
    expect(pairs.size).toBe(32);
  });

  test('of two rings sends half of the data along each', () => {
    const order = Array.from({ length: 16 }, (_, i) => (i * 3) % 16);
    const { pairs } = traffic({ orders: [Array.from({ length: 16 }, (_, i) => i), order] });
    expect(pairs.get(0 * 16 + 1)).toBe(1500);
    expect(pairs.get(0 * 16 + 3)).toBe(1500);
  });

  test('under a switch sends the data once and a part of it again', () => {
    const { sent, received } = traffic({ algorithm: 'switch' });
    expect([...sent.subarray(0, 16)]).toEqual(new Array(16).fill(1700));
    expect([...received.subarray(0, 16)]).toEqual(new Array(16).fill(1700));
    expect(sent[16]).toBe(16 * 1700);
  });

  test('of a double binary tree sends and receives at most twice the data, and no rank has children in both trees', () => {
    const { sent, received } = traffic({ algorithm: 'double-binary-tree' });
    expect(Math.max(...sent, ...received)).toBeLessThanOrEqual(2 * 1600);
    for (const ranks of [2, 3, 5, 8, 16, 63, 64, 144]) {
      const parents = [0, 1].map((shift) => new Set(inOrderTree(ranks, shift).parent));
      for (let rank = 0; rank < ranks; rank++) {
        expect(parents[0]!.has(rank) && parents[1]!.has(rank)).toBe(false);
      }
    }
  });

  test('of RDH exchanges only along the edges of the hypercube that the order spans', () => {
    // Corner i is rank order[i]: ranks whose corners differ in one bit.
    const order = [0, 1, 3, 2, 6, 7, 5, 4];
    const { pairs } = traffic({ algorithm: 'rdh', ranks: 8, elements: 80, orders: [order] });
    for (const pair of pairs.keys()) {
      const difference = order.indexOf(Math.floor(pair / 8)) ^ order.indexOf(pair % 8);
      expect(difference & (difference - 1)).toBe(0);
    }
  });

  test('that is no primary of a KangaRing sends nothing to other pairs', () => {
    const { pairs } = traffic({ algorithm: 'kangaring' });
    for (const pair of pairs.keys()) {
      const [from, to] = [Math.floor(pair / 16), pair % 16];
      if (from >> 1 !== to >> 1) expect([from % 2, to]).toEqual([0, (from + 2) % 16]);
    }
  });

  test('of a hierarchy sends to other nodes only what a rank with its place needs', () => {
    const { pairs } = traffic({ algorithm: 'hierarchical', groupSize: 4, intra: 'mesh', inter: 'ring' });
    for (const pair of pairs.keys()) {
      const [from, to] = [Math.floor(pair / 16), pair % 16];
      if (from >> 2 !== to >> 2) expect(from % 4).toBe(to % 4);
    }
  });
});

describe('parts', () => {
  test('a part is cut into pieces that differ by one element at most and are the part again', () => {
    const part = [
      { offset: 3, length: 4 },
      { offset: 10, length: 7 },
    ];
    expect(cutPart(part, 3)).toEqual([
      [{ offset: 3, length: 4 }],
      [{ offset: 10, length: 4 }],
      [{ offset: 14, length: 3 }],
    ]);
    expect(joinParts(cutPart(part, 3).reverse())).toEqual(part);
    expect(cutPart([], 2)).toEqual([[], []]);
    expect(cutPart([{ offset: 0, length: 1 }], 3)).toEqual([[{ offset: 0, length: 1 }], [], []]);
  });

  test('parts are even if none is empty and their ranges differ by one element at most', () => {
    const of = (...lengths: number[]) => lengths.map((length) => (length === 0 ? [] : [{ offset: 0, length }]));
    expect(areEven(of(3, 3, 2))).toBe(true);
    expect(areEven(of(3, 1))).toBe(false);
    expect(areEven(of(1, 1, 0))).toBe(false);
  });
});

test('theory has words for every algorithm and collective, but for pairs and hierarchies', () => {
  for (const algorithm of collectiveAlgorithms()) {
    if (algorithm.name === 'hierarchical' || algorithm.name === 'direct') continue;
    for (const collective of collectivesOf(algorithm)) {
      expect(theoryText(algorithm.name, collective)).toEqual({ steps: expect.any(String), volume: expect.any(String) });
    }
  }
  expect(theoryText('hierarchical', 'all-reduce')).toBeNull();
  expect(() => theoreticalEffort({ collective: 'all-gather', algorithm: 'ring', ranks: 2, counts: [1, 2] })).toThrow(
    'counts: expected equal parts',
  );
});
