import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ModelError } from '../src/base/errors.ts';
import { ringOrder } from '../src/fabric/rings.ts';
import { hops, route } from '../src/fabric/routes.ts';
import { buildTopology, linkName, onChipLink, type Topology, vertexName } from '../src/fabric/topology.ts';
import type { FabricSpec } from '../src/hardware/spec.ts';

const ON_CHIP = { bandwidth: 1e12, latency: 1e-7 };

function torus(sizes: readonly number[], wrap: readonly boolean[] = sizes.map(() => true)): FabricSpec {
  const names = ['x', 'y', 'z', 'w'];
  return {
    type: 'torus',
    dimensions: sizes.map((size, d) => ({
      name: names[d]!,
      size,
      wrap: wrap[d]!,
      bandwidth: (d + 1) * 1e9,
      latency: (d + 1) * 1e-6,
    })),
  };
}

/** Trn3 Gen2 in shape: sleds of 4, racks of 72, two racks joined chip by chip. */
const POD: FabricSpec = {
  type: 'switched',
  levels: [
    { name: 'sled', kind: 'switch', groupSize: 4, reduces: false, bandwidth: 256e9, latency: 1e-6 },
    { name: 'rack', kind: 'switch', groupSize: 72, reduces: false, bandwidth: 320e9, latency: 2e-6 },
    { name: 'pod', kind: 'direct', groupSize: 144, reduces: false, bandwidth: 128e9, latency: 0.5e-6 },
  ],
};

function build(fabric: FabricSpec, chips: number): Topology {
  return buildTopology(fabric, chips, ON_CHIP);
}

function product(sizes: readonly number[]): number {
  return sizes.reduce((a, b) => a * b, 1);
}

function names(topology: Topology, from: number, to: number): string[] {
  return Array.from(route(topology, from, to), (link) => linkName(topology, link));
}

function neighbors(topology: Topology, chip: number): number[] {
  const found = new Set<number>();
  topology.from.forEach((from, link) => {
    if (from === chip && topology.to[link] !== chip) found.add(topology.to[link]!);
  });
  return [...found].sort((a, b) => a - b);
}

/** Breadth-first distances from one chip over the links themselves: an oracle that knows nothing of coordinates. */
function distances(topology: Topology, start: number): number[] {
  const distance = new Array<number>(topology.vertices).fill(-1);
  distance[start] = 0;
  const queue = [start];
  for (const vertex of queue) {
    topology.from.forEach((from, link) => {
      const to = topology.to[link]!;
      if (from !== vertex || distance[to] !== -1) return;
      distance[to] = distance[vertex]! + 1;
      queue.push(to);
    });
  }
  return distance;
}

function expectWalk(topology: Topology, from: number, to: number): void {
  let at = from;
  for (const link of route(topology, from, to)) {
    expect(topology.from[link]).toBe(at);
    at = topology.to[link]!;
  }
  expect(at).toBe(to);
}

/** Links of each hop of a ring, the closing one last. */
function ringHops(fabric: FabricSpec, chips: number, ring: ArrayLike<number>): number[] {
  const topology = build(fabric, chips);
  return Array.from(ring, (chip, i) => hops(topology, chip, ring[(i + 1) % ring.length]!));
}

describe('torus', () => {
  test('a 4x4 torus has the neighbours that the Neuron driver lists for trn1.32xlarge', () => {
    // aws-neuron-driver v2/neuron_dhal_v2.c:645
    const table = [
      [12, 3, 4, 1],
      [13, 0, 5, 2],
      [14, 1, 6, 3],
      [15, 2, 7, 0],
      [0, 7, 8, 5],
      [1, 4, 9, 6],
      [2, 5, 10, 7],
      [3, 6, 11, 4],
      [4, 11, 12, 9],
      [5, 8, 13, 10],
      [6, 9, 14, 11],
      [7, 10, 15, 8],
      [8, 15, 0, 13],
      [9, 12, 1, 14],
      [10, 13, 2, 15],
      [11, 14, 3, 12],
    ];
    const topology = build(torus([4, 4]), 16);
    table.forEach((row, chip) => {
      expect(neighbors(topology, chip)).toEqual([...row].sort((a, b) => a - b));
    });
    expect(topology.from.length).toBe(16 * 4 + 16);
  });

  test('a chain has no link between its ends', () => {
    const topology = build(torus([6], [false]), 6);
    expect(neighbors(topology, 0)).toEqual([1]);
    expect(neighbors(topology, 5)).toEqual([4]);
    expect(topology.from.length).toBe(2 * 5 + 6);
    expect(hops(topology, 5, 0)).toBe(5);
  });

  test('two chips in a wrapped dimension share one link each way', () => {
    const topology = build(torus([2, 1]), 2);
    expect(topology.from.length).toBe(2 + 2);
    expect(names(topology, 0, 1)).toEqual(['chip0->chip1 (x+)']);
    expect(names(topology, 1, 0)).toEqual(['chip1->chip0 (x-)']);
  });

  test('links carry the rate of their dimension and link names name it', () => {
    const topology = build(torus([4, 4, 4]), 64);
    expect(names(topology, 3, 48)).toEqual(['chip3->chip0 (x+)', 'chip0->chip48 (z-)']);
    expect(names(topology, 5, 4)).toEqual(['chip5->chip4 (x-)']);
    const [x, z] = route(topology, 3, 48);
    expect([topology.bandwidth[x!], topology.bandwidth[z!]]).toEqual([1e9, 3e9]);
    expect([topology.latency[x!], topology.latency[z!]]).toEqual([1e-6, 3e-6]);
  });

  test('a tie half way round a ring goes in the positive direction', () => {
    const topology = build(torus([4]), 4);
    expect(names(topology, 3, 1)).toEqual(['chip3->chip0 (x+)', 'chip0->chip1 (x+)']);
  });

  test('every route of a 4x4x4 torus is a walk, 6 links at most and 3.05 on average', () => {
    const topology = build(torus([4, 4, 4]), 64);
    let total = 0;
    let longest = 0;
    for (let from = 0; from < 64; from++) {
      for (let to = 0; to < 64; to++) {
        expectWalk(topology, from, to);
        total += hops(topology, from, to);
        longest = Math.max(longest, hops(topology, from, to));
      }
    }
    expect(longest).toBe(6);
    // Mean offset of a ring of 4 is (0 + 1 + 2 + 1) / 4 = 1, so 3 over all 64 destinations, 3 * 64 / 63 over the other 63.
    expect(total / (64 * 63)).toBeCloseTo(192 / 63, 12);
  });

  test('on any torus every route is a walk of the shortest length', () => {
    const dimension = fc.tuple(fc.integer({ min: 1, max: 5 }), fc.boolean());
    fc.assert(
      fc.property(fc.array(dimension, { minLength: 1, maxLength: 3 }), fc.nat(), fc.nat(), (dimensions, a, b) => {
        const sizes = dimensions.map(([size]) => size);
        const chips = product(sizes);
        const fabric = torus(
          sizes,
          dimensions.map(([, wrap]) => wrap),
        );
        const topology = build(fabric, chips);
        const [from, to] = [a % chips, b % chips];
        expectWalk(topology, from, to);
        expect(hops(topology, from, to)).toBe(distances(topology, from)[to]);
      }),
      { numRuns: 200 },
    );
  });

  test('no two links of a torus join the same chips in the same direction', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 3 }), (sizes) => {
        const topology = build(torus(sizes), product(sizes));
        const pairs = Array.from(topology.from, (from, link) => `${from} ${topology.to[link]}`);
        expect(new Set(pairs).size).toBe(pairs.length);
      }),
      { numRuns: 50 },
    );
  });
});

describe('switched fabric', () => {
  const pod = build(POD, 144);

  test('it has a port per chip and level, and a switch per group', () => {
    expect(pod.vertices).toBe(144 + 36 + 2);
    // Two switch levels with 2 links per chip, one direct link, one on-chip link.
    expect(pod.from.length).toBe(144 * (2 + 2 + 1 + 1));
    expect(vertexName(pod, 143)).toBe('chip143');
    expect(vertexName(pod, 144 + 35)).toBe('sled35');
    expect(vertexName(pod, 144 + 36 + 1)).toBe('rack1');
  });

  test('a route takes the innermost level that holds both chips', () => {
    expect(names(pod, 1, 2)).toEqual(['chip1->sled0', 'sled0->chip2']);
    expect(names(pod, 3, 4)).toEqual(['chip3->rack0', 'rack0->chip4']);
  });

  test('a route to the other rack crosses to the same position first and then moves inside that rack', () => {
    expect(names(pod, 3, 75)).toEqual(['chip3->chip75']);
    expect(names(pod, 3, 72)).toEqual(['chip3->chip75', 'chip75->sled18', 'sled18->chip72']);
    expect(names(pod, 80, 71)).toEqual(['chip80->chip8', 'chip8->rack0', 'rack0->chip71']);
    expect(names(pod, 3, 80)).toEqual(['chip3->chip75', 'chip75->rack1', 'rack1->chip80']);
  });

  test('a level is charged its latency once, half on each link of a switch', () => {
    const latencies = (from: number, to: number): number[] => Array.from(route(pod, from, to), (l) => pod.latency[l]!);
    expect(latencies(1, 2)).toEqual([0.5e-6, 0.5e-6]);
    expect(latencies(3, 80)).toEqual([0.5e-6, 1e-6, 1e-6]);
  });

  test('every route of the pod is a walk of at most three links', () => {
    for (let from = 0; from < 144; from++) {
      for (let to = 0; to < 144; to++) {
        expectWalk(pod, from, to);
        expect(hops(pod, from, to)).toBeLessThanOrEqual(3);
      }
    }
  });

  test('a direct level of one group per chip joins every pair and splits the port over the links', () => {
    const level = {
      name: 'mesh',
      kind: 'direct',
      groupSize: 8,
      reduces: false,
      bandwidth: 448e9,
      latency: 1e-6,
    } as const;
    const mesh = build({ type: 'switched', levels: [level] }, 8);
    expect(neighbors(mesh, 5)).toEqual([0, 1, 2, 3, 4, 6, 7]);
    expect(names(mesh, 5, 2)).toEqual(['chip5->chip2']);
    expect(mesh.bandwidth[route(mesh, 5, 2)[0]!]).toBe(64e9);
  });
});

describe('any fabric', () => {
  test('two ranks of one chip use its on-chip link, which is no hop', () => {
    for (const topology of [build({ type: 'single' }, 1), build(torus([4]), 4), build(POD, 144)]) {
      const last = topology.chips - 1;
      expect(Array.from(route(topology, last, last))).toEqual([onChipLink(topology, last)]);
      expect(names(topology, last, last)).toEqual([`chip${last} on-chip`]);
      expect(hops(topology, last, last)).toBe(0);
      expect(topology.bandwidth[onChipLink(topology, last)]).toBe(ON_CHIP.bandwidth);
    }
  });

  test('link names are unique', () => {
    for (const topology of [build(torus([4, 4, 4]), 64), build(torus([3, 2]), 6), build(POD, 144)]) {
      const all = Array.from(topology.from, (_, link) => linkName(topology, link));
      expect(new Set(all).size).toBe(all.length);
    }
  });

  test('a fabric for another number of chips is an error that gives both', () => {
    expect(() => build(torus([4, 4]), 12)).toThrow('fabric: expected dimensions that multiply to 12 chips, not 16');
    expect(() => build({ type: 'single' }, 2)).toThrow(ModelError);
  });

  test('levels that do not nest and rates that cannot be are errors that name the place', () => {
    const [sled, rack] = POD.levels as [(typeof POD.levels)[0], (typeof POD.levels)[0]];
    const broken = { ...rack, groupSize: 70 };
    expect(() => build({ type: 'switched', levels: [sled, broken] }, 70)).toThrow('fabric.levels[1].groupSize');
    expect(() => build({ type: 'switched', levels: [{ ...sled, bandwidth: 0 }] }, 4)).toThrow(
      'fabric.levels[0].bandwidth: expected a rate > 0, got 0',
    );
    expect(() => buildTopology(torus([4]), 4, { bandwidth: 1, latency: Number.NaN })).toThrow('onChip.latency');
  });

  test('a chip outside the topology is an error', () => {
    const topology = build(torus([4]), 4);
    expect(() => route(topology, 0, 4)).toThrow('"to" expected integer in 0..3, got 4');
    expect(() => route(topology, -1, 0)).toThrow(RangeError);
  });
});

describe('ring order', () => {
  const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

  test.each([
    ['4x4', [4, 4], 16],
    ['4x4x4', [4, 4, 4], 64],
    ['a ring of 12', [12], 12],
    ['the first 8 chips of 4x4', [4, 4], 8],
    ['the first 4 chips of 4x4', [4, 4], 4],
    ['the first 12 chips of 4x4, which close only through x', [4, 4], 12],
    ['the first 32 chips of 4x4x4', [4, 4, 4], 32],
    ['the first 48 chips of 4x4x4', [4, 4, 4], 48],
    ['a pair', [4, 4], 2],
  ])('in %s every hop is one link', (_, sizes, used) => {
    const ring = ringOrder(torus(sizes), upTo(used));
    expect(Array.from(ring).sort((a, b) => a - b)).toEqual(upTo(used));
    expect(ringHops(torus(sizes), product(sizes), ring)).toEqual(new Array(used).fill(1));
  });

  test('4x4 is a snake through x that closes through y', () => {
    expect(Array.from(ringOrder(torus([4, 4]), upTo(16)))).toEqual([
      0, 1, 2, 3, 7, 6, 5, 4, 8, 9, 10, 11, 15, 14, 13, 12,
    ]);
  });

  test('a block away from chip 0 is a ring of single links too', () => {
    const block = [5, 6, 9, 10, 13, 14, 1, 2]; // x in 1..2, y all round
    const ring = ringOrder(torus([4, 4]), block);
    expect(ringHops(torus([4, 4]), 16, ring)).toEqual(new Array(8).fill(1));
  });

  test('a chain closes with a hop over its whole length', () => {
    expect(ringHops(torus([6], [false]), 6, ringOrder(torus([6], [false]), upTo(6)))).toEqual([1, 1, 1, 1, 1, 5]);
  });

  test('in a torus of odd sizes only the closing hop is longer', () => {
    const ring = ringOrder(torus([3, 3]), upTo(9));
    expect(ringHops(torus([3, 3]), 9, ring)).toEqual([...new Array(8).fill(1), 2]);
  });

  test('on any whole torus with an even closed dimension every hop is one link', () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(
        sizes.filter((s) => s.some((n) => n % 2 === 0)),
        (s) => {
          const ring = ringOrder(torus(s), upTo(product(s)));
          expect(ringHops(torus(s), product(s), ring)).toEqual(new Array(product(s)).fill(1));
        },
      ),
      { numRuns: 100 },
    );
  });

  test('a switched fabric keeps chip order', () => {
    expect(Array.from(ringOrder(POD, [7, 3, 80]))).toEqual([3, 7, 80]);
  });

  test('a chip given twice or not in the fabric is an error', () => {
    expect(() => ringOrder(torus([4]), [0, 1, 1])).toThrow('"chips" expected each chip once, got 0,1,1');
    expect(() => ringOrder(torus([4]), [0, 4])).toThrow('"chips[1]" expected integer in 0..3, got 4');
  });
});
