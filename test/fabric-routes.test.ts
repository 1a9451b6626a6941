import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ModelError } from '../src/base/errors.ts';
import { edgeDisjointRings, ringBandwidth } from '../src/fabric/hamiltonian.ts';
import { hypercubeOrder } from '../src/fabric/hypercube.ts';
import { fabricMetrics } from '../src/fabric/metrics.ts';
import { appendRoute, hops, longestRoute, pathCount, route, routes } from '../src/fabric/routes.ts';
import { buildTopology, linkName, type Topology } from '../src/fabric/topology.ts';
import { torusDistance } from '../src/fabric/torus.ts';
import { fabricFromJson, findSystem, withAlternatives } from '../src/hardware/catalog.ts';
import { fabricSize } from '../src/hardware/fabric.ts';
import type { FabricSpec, SystemSpec, TorusDimension } from '../src/hardware/spec.ts';
import { createCluster } from '../src/machine/cluster.ts';

const ON_CHIP = { bandwidth: 1e12, latency: 1e-7 };

function dimensions(sizes: readonly number[], wrap: readonly boolean[]): TorusDimension[] {
  return sizes.map((size, d) => ({
    name: 'xyzw'[d]!,
    size,
    wrap: wrap[d] ?? true,
    bandwidth: (d + 1) * 1e9,
    latency: 1e-6,
  }));
}

function torus(sizes: readonly number[], wrap: readonly boolean[] = []): FabricSpec {
  return { type: 'torus', dimensions: dimensions(sizes, wrap) };
}

function build(fabric: FabricSpec): Topology {
  return buildTopology(fabric, fabricSize(fabric), ON_CHIP);
}

const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const anyTorus = fc.record({
  sizes: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 3 }),
  wrap: fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }),
});

function names(topology: Topology, links: Iterable<number>): string[] {
  return Array.from(links, (link) => linkName(topology, link));
}

/** Follows the links from a vertex and returns where they lead. */
function walk(topology: Topology, from: number, links: Int32Array): number {
  return links.reduce((at, link) => {
    expect(topology.from[link]).toBe(at);
    return topology.to[link]!;
  }, from);
}

describe('both ways round a torus', () => {
  test('half way round a ring of four, each way has half of the bytes', () => {
    const ring = build(torus([4]));
    const paths = routes(ring, 0, 2);
    expect(paths.map(({ share }) => share)).toEqual([0.5, 0.5]);
    expect(names(ring, paths[0]!.links)).toEqual(['chip0->chip1 (x+)', 'chip1->chip2 (x+)']);
    expect(names(ring, paths[1]!.links)).toEqual(['chip0->chip3 (x-)', 'chip3->chip2 (x-)']);
    expect(routes(ring, 0, 1)).toHaveLength(1);
  });

  test('a tie in several dimensions makes two paths, opposite in each of them', () => {
    const grid = build(torus([4, 4]));
    const paths = routes(grid, 0, 10).map(({ links }) => names(grid, links));
    expect(paths[0]!.map((name) => name.slice(-3, -1))).toEqual(['x+', 'x+', 'y+', 'y+']);
    expect(paths[1]!.map((name) => name.slice(-3, -1))).toEqual(['x-', 'x-', 'y-', 'y-']);
  });

  test('a chain and a pair have one way', () => {
    expect(routes(build(torus([4], [false])), 0, 2)).toHaveLength(1);
    expect(routes(build(torus([2])), 0, 1)).toHaveLength(1);
  });

  test('all paths start and end right, are shortest, and carry everything', () => {
    fc.assert(
      fc.property(anyTorus, fc.nat(), fc.nat(), ({ sizes, wrap }, a, b) => {
        const fabric = torus(sizes, wrap);
        const topology = build(fabric);
        const [from, to] = [a % topology.chips, b % topology.chips];
        fc.pre(from !== to);
        const paths = routes(topology, from, to);
        expect(paths.reduce((sum, { share }) => sum + share, 0)).toBe(1);
        for (const { links } of paths) {
          expect(walk(topology, from, links)).toBe(to);
          expect(links.length).toBe(torusDistance(dimensions(sizes, wrap), from, to));
          expect(links.length).toBeLessThanOrEqual(longestRoute(topology));
        }
      }),
    );
  });

  test('when all chips of a closed torus send to all, links of one dimension carry the same', () => {
    const topology = build(torus([4, 3, 2]));
    const load = new Map<string, Set<number>>();
    const sums = new Float64Array(topology.from.length);
    for (const from of upTo(24)) {
      for (const to of upTo(24).filter((chip) => chip !== from)) {
        for (const { links, share } of routes(topology, from, to)) for (const link of links) sums[link]! += share;
      }
    }
    sums.forEach((sum, link) => {
      const dimension = /\((.)/.exec(linkName(topology, link))?.[1];
      if (dimension !== undefined) load.set(dimension, (load.get(dimension) ?? new Set()).add(sum));
    });
    // x+ from each chip: one link for offset 1, two with half of the bytes for offset 2, times 6 places in y and z: 12.
    // y+: one link for offset 1, times 8. z of 2 has 12 links each way for 12 x 12 pairs.
    expect([...load].map(([name, values]) => [name, [...values]])).toEqual([
      ['x', [12]],
      ['y', [8]],
      ['z', [12]],
    ]);
  });

  test('a route is written where the caller says, and nothing else is touched', () => {
    const topology = build(torus([4, 4]));
    const out = new Int32Array(8).fill(-7);
    const end = appendRoute(topology, 0, 5, out, 3);
    expect(end).toBe(5);
    expect(Array.from(out)).toEqual([-7, -7, -7, ...route(topology, 0, 5), -7, -7, -7]);
    expect(pathCount(topology, 0, 5)).toBe(1);
  });
});

describe('a graph', () => {
  const link = (from: number, to: number, latencyNs: number, more: object = {}): object => ({
    from,
    to,
    bandwidthGBps: 10,
    latencyNs,
    ...more,
  });
  // 0 - 1 - 2 - 3 round a square with a slow side, and a switch (4) that joins 0 and 2.
  const square = {
    type: 'graph',
    chips: 4,
    switches: 1,
    links: [link(0, 1, 100), link(1, 2, 100), link(2, 3, 100), link(3, 0, 900), link(0, 4, 50), link(4, 2, 50)],
  };

  test('is routed by least latency, whatever the number of links', () => {
    const topology = build(fabricFromJson(square, 'square.json'));
    expect(names(topology, route(topology, 0, 2))).toEqual(['chip0->switch0', 'switch0->chip2']);
    expect(names(topology, route(topology, 0, 3))).toEqual(['chip0->switch0', 'switch0->chip2', 'chip2->chip3']);
    expect(hops(topology, 3, 0)).toBe(3);
    expect(topology.bandwidth[0]).toBe(10e9);
    expect(topology.latency[0]).toBeCloseTo(1e-7, 15);
  });

  test('of equal latencies the path with fewer links wins, then the lower link numbers', () => {
    const diamond = { type: 'graph', chips: 4, links: [link(0, 1, 1), link(1, 3, 1), link(0, 2, 1), link(2, 3, 1)] };
    const topology = build(fabricFromJson(diamond, 'diamond.json'));
    expect(names(topology, route(topology, 0, 3))).toEqual(['chip0->chip1', 'chip1->chip3']);
    const short = { type: 'graph', chips: 3, links: [link(0, 1, 1), link(1, 2, 1), link(0, 2, 2)] };
    expect(hops(build(fabricFromJson(short, 'short.json')), 0, 2)).toBe(1);
  });

  test('has the routes of a torus if it has its links', () => {
    fc.assert(
      fc.property(anyTorus, ({ sizes, wrap }) => {
        const topology = build(torus(sizes, wrap));
        fc.pre(topology.chips > 1);
        const inside = Array.from(topology.from.keys()).filter((l) => topology.from[l] !== topology.to[l]);
        const links = inside.map((l) => link(topology.from[l]!, topology.to[l]!, 1000, { oneWay: true }));
        const graph = build(fabricFromJson({ type: 'graph', chips: topology.chips, links }, 'torus.json'));
        for (const from of upTo(topology.chips)) {
          for (const to of upTo(topology.chips)) expect(hops(graph, from, to)).toBe(hops(topology, from, to));
        }
      }),
      { numRuns: 20 },
    );
  });

  test.each([
    [{ chips: 3, links: [link(0, 1, 1)] }, 'expected a way from chip 0 to every chip, but there is none to chip 2'],
    [
      { chips: 2, links: [link(0, 1, 1, { oneWay: true })] },
      'expected a way from every chip to chip 0, but there is none from chip 1',
    ],
    [{ chips: 2, links: [link(0, 2, 1)] }, 'expected links between two of the vertices 0..1, not 0 to 2'],
    [{ chips: 2, links: [link(1, 1, 1)] }, 'not 1 to 1'],
    [{ chips: 2, links: [] }, 'links: expected a non-empty array'],
    [{ chips: 2, links: [link(0, 1, 1, { width: 4 })] }, 'links.0.width: unknown key'],
    [
      { chips: 2, links: [{ ...link(0, 1, 1), bandwidthGBps: 0 }] },
      'links.0.bandwidthGBps: expected number > 0, got 0',
    ],
    [{ chips: 1e9, links: [link(0, 1, 1)] }, 'chips: '],
    [{ chips: 2, links: new Array(70_000).fill(link(0, 1, 1)) }, 'links: '],
  ])('%j is refused', (graph, message) => {
    expect(() => fabricFromJson({ type: 'graph', ...graph }, 'mine.json')).toThrow(message);
  });
});

describe('any JSON as a fabric', () => {
  test('is a fabric or one error that names the file', () => {
    const rows = fc.array(
      fc.record({ from: fc.nat(5), to: fc.nat(5), bandwidthGBps: fc.double(), latencyNs: fc.double() }),
    );
    const graph = fc.record({ type: fc.constant('graph'), chips: fc.nat(5), switches: fc.integer(), links: rows });
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), graph), (json) => {
        try {
          buildTopology(fabricFromJson(json, 'any.json'), fabricSize(fabricFromJson(json, 'any.json')), ON_CHIP);
        } catch (error) {
          expect(error).toBeInstanceOf(ModelError);
          expect((error as ModelError).path).toContain('any.json');
        }
      }),
      { numRuns: 500 },
    );
  });

  test('sizes beyond a million chips are refused before anything is built', () => {
    const size = { value: 1024, unit: 'count', source: 'x', kind: 'derived' };
    const rate = { bandwidth: { ...size, unit: 'GB/s' }, latency: { ...size, unit: 'ns' } };
    const cube = ['x', 'y', 'z'].map((name) => ({ name, size, wrap: true, ...rate }));
    expect(() => fabricFromJson({ type: 'torus', dimensions: cube }, 'cube.json')).toThrow('at most 1048576 chips');
    expect(fabricSize(fabricFromJson({ type: 'torus', dimensions: cube.slice(1) }, 'plane.json'))).toBe(2 ** 20);
  });
});

describe('rings without a common link', () => {
  function expectDisjoint(fabric: FabricSpec, rings: readonly Int32Array[]): void {
    const topology = build(fabric);
    const used = new Set<number>();
    for (const ring of rings) {
      expect([...ring].sort((a, b) => a - b)).toEqual(upTo(topology.chips));
      ring.forEach((chip, i) => {
        const next = ring[(i + 1) % ring.length]!;
        expect(hops(topology, chip, next)).toBe(1);
        for (const link of [route(topology, chip, next)[0]!, route(topology, next, chip)[0]!]) {
          expect(used.has(link)).toBe(false);
          used.add(link);
        }
      });
    }
  }

  test.each([
    { sizes: [4, 4], rings: 2 },
    { sizes: [4, 4, 4], rings: 3 },
    { sizes: [12], rings: 1 },
    { sizes: [3, 3], rings: 2 },
    { sizes: [5, 7], rings: 2 },
    { sizes: [6, 4], rings: 2 },
    { sizes: [8, 8], rings: 2 },
    { sizes: [3, 4, 5], rings: 3 },
    { sizes: [4, 4, 2], rings: 2 },
    { sizes: [4, 4, 4, 4], rings: 4 },
  ])('a torus of $sizes has $rings, in both directions', ({ sizes, rings }) => {
    const fabric = torus(sizes);
    const found = edgeDisjointRings(fabric, upTo(fabricSize(fabric)));
    expect(found).toHaveLength(rings);
    expectDisjoint(fabric, found);
  });

  test('every torus of closed dimensions has as many as dimensions', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 3, max: 6 }), { minLength: 2, maxLength: 3 }), (sizes) => {
        const fabric = torus(sizes);
        const rings = edgeDisjointRings(fabric, upTo(fabricSize(fabric)));
        expect(rings).toHaveLength(sizes.length);
        expectDisjoint(fabric, rings);
      }),
      { numRuns: 30 },
    );
  });

  test('the 4x4 torus uses all of its 64 links', () => {
    const rings = edgeDisjointRings(torus([4, 4]), upTo(16));
    expect(2 * 16 * rings.length).toBe(64);
    const topology = createCluster(findSystem('trn2.48xlarge')).scaleUp;
    expect(rings.map((ring) => ringBandwidth(topology, ring))).toEqual([128e9, 128e9]);
  });

  test('half a torus is a box of its own; a few chips without one get one ring', () => {
    expect(edgeDisjointRings(torus([4, 4, 4]), upTo(16))).toHaveLength(2);
    const odd = edgeDisjointRings(torus([4, 4]), [0, 1, 6]);
    expect(odd.map((ring) => [...ring].sort())).toEqual([[0, 1, 6]]);
    expect(edgeDisjointRings(findSystem('trn3-gen2').fabric!, upTo(144))).toHaveLength(1);
  });
});

describe('hypercube order', () => {
  test.each([[[4, 4]], [[4, 4, 4]], [[2, 2, 2]], [[4, 2]]])('in %j places one bit apart are neighbours', (sizes) => {
    const fabric = torus(sizes);
    const topology = build(fabric);
    const order = hypercubeOrder(fabric);
    expect([...order].sort((a, b) => a - b)).toEqual(upTo(topology.chips));
    for (const place of upTo(topology.chips)) {
      for (let bit = 1; bit < topology.chips; bit *= 2) {
        expect(hops(topology, order[place]!, order[place ^ bit]!)).toBe(1);
      }
    }
  });

  test('rings of eight and chains of four are refused, a switch of 2^n is not', () => {
    expect(() => hypercubeOrder(torus([8]))).toThrow('got a ring of 8');
    expect(() => hypercubeOrder(torus([4], [false]))).toThrow('got a chain of 4');
    expect(() => hypercubeOrder(findSystem('gb200-nvl72').fabric!)).toThrow('got 72 chips');
    expect([...hypercubeOrder(findSystem('hgx-h100').fabric!)]).toEqual(upTo(8));
  });
});

describe('what the machines can do at best', () => {
  const of = (system: SystemSpec): ReturnType<typeof fabricMetrics> => fabricMetrics(createCluster(system).scaleUp);

  test('Trn2 UltraServer: 3.05 hops, at most 6; 2.05 TB/s across z; 126 GB/s all-to-all', () => {
    const metrics = of(findSystem('trn2-ultraserver'));
    expect(metrics.diameter).toBe(6);
    expect(metrics.meanHops).toBeCloseTo((3 * 64) / 63, 12); // a mean of 1 link per dimension, over 63 of 64 chips
    expect(metrics.bisection).toBe(2 * 16 * 64e9);
    expect(metrics.allToAllBound).toBeCloseTo((2.048e12 * 63) / (32 * 32), 3);
    expect(metrics.allToAll).toBeCloseTo(126e9, 3);
  });

  test('across x the Trn2 UltraServer carries twice as much', () => {
    const system = findSystem('trn2-ultraserver');
    const fabric = system.fabric as Extract<FabricSpec, { type: 'torus' }>;
    const even = {
      ...system,
      fabric: { type: 'torus', dimensions: fabric.dimensions.map((d) => ({ ...d, bandwidth: 128e9 })) },
    };
    expect(of(even as SystemSpec).bisection).toBe(4.096e12);
  });

  test('Trn3 Gen2: 254 GB/s all-to-all, bound by the direct links, in both readings', () => {
    for (const system of [findSystem('trn3-gen2'), withAlternatives('trn3-gen2', ['official-x8'])]) {
      const metrics = of(system);
      expect(metrics.diameter).toBe(3);
      expect(metrics.bisection).toBe(72 * 128e9);
      expect(metrics.allToAll).toBeCloseTo((128e9 * 143) / 72, 3);
      expect(metrics.allToAllBound).toBeCloseTo((128e9 * 143) / 72, 3);
    }
  });

  test('one Trn3 rack: 334 to 535 GB/s, its rack ports of 320 or 512 carry 68 of 71 parts', () => {
    const rack = (system: SystemSpec): SystemSpec => {
      const { levels } = system.fabric as Extract<FabricSpec, { type: 'switched' }>;
      return { ...system, chips: 72, fabric: { type: 'switched', levels: levels.slice(0, 2) } };
    };
    expect(of(rack(findSystem('trn3-gen2'))).allToAll).toBeCloseTo((512e9 * 71) / 68, 3);
    expect(of(rack(withAlternatives('trn3-gen2', ['official-x8']))).allToAll).toBeCloseTo((320e9 * 71) / 68, 3);
  });

  test('a ring of 12 Inferentia2: bisection of two links', () => {
    const metrics = of(findSystem('inf2.48xlarge'));
    expect(metrics).toMatchObject({ diameter: 6, bisection: 96e9 });
    expect(metrics.meanHops).toBeCloseTo(36 / 11, 12); // 2 x (1+2+3+4+5) + 6
  });

  test('one chip has no bisection, eight on a switch half of their ports', () => {
    expect(of(findSystem('trn2.3xlarge'))).toMatchObject({ bisection: null, allToAll: null, meanHops: 0 });
    expect(of(findSystem('hgx-h100'))).toMatchObject({ bisection: 4 * 450e9, allToAll: 450e9, meanHops: 2 });
  });

  test('the all-to-all rate as routed never exceeds the bound of the bisection', () => {
    fc.assert(
      fc.property(anyTorus, ({ sizes, wrap }) => {
        const { allToAll, allToAllBound, chips } = fabricMetrics(build(torus(sizes, wrap)));
        fc.pre(chips > 1);
        expect(allToAll!).toBeLessThanOrEqual(allToAllBound! * (1 + 1e-12));
      }),
    );
  });
});
