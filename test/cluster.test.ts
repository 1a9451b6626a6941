import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { clusterClasses, fabricClasses, linkClasses, nodeClasses } from '../src/fabric/classes.ts';
import { buildClos, closSize, meetingTier } from '../src/fabric/clos.ts';
import {
  appendClusterRoute,
  type Cluster,
  clusterLinks,
  clusterPathCount,
  linkBandwidth,
  linkLatency,
  longestClusterRoute,
} from '../src/fabric/cluster.ts';
import { applyFaults, degradeTopology } from '../src/fabric/degrade.ts';
import { parseFault } from '../src/fabric/faults.ts';
import { networkBisection } from '../src/fabric/metrics.ts';
import { clusterLinkName, findLinks } from '../src/fabric/names.ts';
import { randomDeadLinks } from '../src/fabric/random-faults.ts';
import { route, routes } from '../src/fabric/routes.ts';
import { alternativeNames, chooseAlternatives } from '../src/hardware/alternatives.ts';
import {
  catalogueEntry,
  findNetwork,
  findSystem,
  networkFromJson,
  networks,
  systems,
  withAlternatives,
} from '../src/hardware/catalog.ts';
import type { FabricSpec, NetworkSpec } from '../src/hardware/spec.ts';
import { type ClusterOptions, createCluster } from '../src/machine/cluster.ts';

function cluster(system: string, options?: ClusterOptions): Cluster {
  return createCluster(findSystem(system), options);
}

function path(c: Cluster, from: number, to: number, way = 0): string[] {
  const out = new Int32Array(longestClusterRoute(c));
  return Array.from(out.subarray(0, appendClusterRoute(c, from, to, out, 0, way)), (link) => clusterLinkName(c, link));
}

function withFaults(c: Cluster, ...texts: string[]): Cluster {
  return applyFaults(
    c,
    texts.flatMap((text) => parseFault(text)),
  );
}

/** Names without the torus dimension in brackets, joined end to end: every link starts where the last one ended. */
function expectJoined(names: readonly string[], from: number, to: number): void {
  const ends = names.map((name) => name.replace(/ \(.*/, '').split('->') as [string, string]);
  expect(ends[0]![0]).toBe(`chip${from}`);
  expect(ends.at(-1)![1]).toBe(`chip${to}`);
  ends.slice(1).forEach(([start], i) => {
    const strip = (name: string): string => name.replace(/\(.*/, '').replace(/^(tor|leaf|spine|core)\d*$/, '$1');
    expect(strip(start)).toBe(strip(ends[i]![1]));
  });
}

const ECMP: NetworkSpec = { ...findNetwork('efa-v3'), routing: 'ecmp' };

describe('the size of a Clos', () => {
  test.each([
    [128, 8_192, 524_288],
    [256, 32_768, 4_194_304],
    [512, 131_072, 33_554_432],
  ])('of %i ports holds k^2/2 and k^3/4', (k, two, three) => {
    expect(closSize(two, k)).toMatchObject({ capacity: two, tiers: [{ switches: k }, { switches: k / 2 }] });
    expect(closSize(two + 1, k).capacity).toBe(three);
    const full = closSize(three, k);
    // k^2/2 switches in the lower tiers, half as many on top; every port of the lower tiers has its link.
    expect(full.tiers.map(({ switches }) => switches)).toEqual([(k * k) / 2, (k * k) / 2, (k * k) / 4]);
    expect(full.links).toBe(3 * three);
    expect(closSize(k, k)).toMatchObject({ capacity: k, tiers: [{ switches: 1, uplinks: 0 }], links: k });
  });

  test('with 3:1 oversubscription holds more with fewer uplinks', () => {
    const size = closSize(96 * 128, 128, 3);
    expect(size.capacity).toBe(96 * 128);
    expect(size.tiers).toEqual([
      { switches: 128, down: 96, up: 32, uplinks: 4096 },
      { switches: 32, down: 128, up: 0, uplinks: 0 },
    ]);
  });

  test('never has fewer ports than endpoints', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1e5 }),
        fc.constantFrom(8, 32, 64, 128),
        fc.constantFrom(1, 2, 3),
        (n, k, o) => {
          const { capacity, tiers, links } = closSize(n, k, o);
          expect(capacity).toBeGreaterThanOrEqual(n);
          expect(tiers.at(-1)!.uplinks).toBe(0);
          expect(links).toBe(tiers.reduce((sum, { uplinks }) => sum + uplinks, n));
          tiers.forEach(({ switches, down }, t) => {
            expect(switches * down).toBeGreaterThanOrEqual(t === 0 ? n : tiers[t - 1]!.uplinks);
          });
        },
      ),
    );
  });

  test('what it cannot hold is an error that says how much it can', () => {
    expect(() => closSize(8193, [128, 128])).toThrow('expected at most 8192 ports on 2 tiers of switches, got 8193');
    expect(() => closSize(0, 128)).toThrow(RangeError);
    expect(() => closSize(1000, 4, 0.5)).toThrow('"oversubscription" expected a ratio >= 1, got 0.5');
    expect(() => closSize(Number.NaN, 4)).toThrow(RangeError);
  });
});

describe('a cluster', () => {
  test.each([
    ['trn2.48xlarge', { nodes: 2 }, 32, 128],
    ['trn2.48xlarge', { nodes: 2, lnc: 1 }, 32, 256],
    ['trn2.48xlarge', { chips: 20 }, 20, 80],
    ['trn1.32xlarge', { nodes: 2 }, 32, 64],
    ['trn3-gen2', { nodes: 3, rank: 'chip' }, 432, 432],
    ['hgx-h100', { nodes: 4 }, 32, 32],
    ['gb200-nvl72', { nodes: 2 }, 144, 144],
    ['hgx-h100', { ranks: 12 }, 12, 12],
  ] as const)('of %s with %o has %i chips and %i ranks', (system, options, chips, ranks) => {
    const c = cluster(system, options);
    expect(c).toMatchObject({ chips, ranks, ranksPerChip: ranks / chips });
    expect(c.chipOf(ranks - 1)).toBe(chips - 1);
    expect(c.nodes).toBe(Math.ceil(chips / c.chipsPerNode));
  });

  test('of one node needs no network', () => {
    expect(cluster('inf2.48xlarge').scaleOut).toBeNull();
    expect(() => cluster('inf2.48xlarge', { nodes: 2 })).toThrow(
      'inf2.48xlarge: expected a system with a scale-out network to join several, got none',
    );
  });

  test('every system that has a network can be joined to a million chips', () => {
    for (const system of systems().filter(({ network }) => network !== null)) {
      const c = createCluster(system, { chips: 1_000_000 });
      expect(c.scaleOut!.tiers.at(-1)).toMatchObject({ groups: 1 });
      // Each tier gives a chip what it sends, as the networks of data/fabrics do not block.
      for (const { bandwidth } of c.scaleOut!.tiers)
        expect(bandwidth).toBeGreaterThanOrEqual(system.scaleOut! / system.chips);
    }
  });

  test.each([
    [{ nodes: 0 }, '"nodes" expected integer in 1..65536, got 0'],
    [{ nodes: 1e6 }, '"nodes" expected integer in 1..65536, got 1000000'],
    [{ nodes: 2, chips: 33 }, '"chips" expected integer in 1..32, got 33'],
    [{ nodes: 1, ranks: 65 }, '"ranks" expected integer in 1..64, got 65'],
    [{ lnc: 3 }, '"lnc" expected integer in 1..2, got 3'],
    [{ node: 2 }, '"options" has no option "node"'],
  ])('with %o is refused', (options, message) => {
    expect(() => cluster('trn2.48xlarge', options as ClusterOptions)).toThrow(message);
  });

  test("other makers' chips have no cores to rank", () => {
    expect(() => cluster('hgx-h100', { rank: 'core' })).toThrow('"rank" expected chip on');
    expect(() => cluster('hgx-h100', { lnc: 2 })).toThrow('"lnc" expected 1 on');
  });

  test('Trn2: 25 GB/s a chip into the network, 15 us below one switch and 2 us more for each tier above', () => {
    const { tiers } = cluster('trn2.48xlarge', { nodes: 62_500 }).scaleOut!;
    expect(tiers.map(({ bandwidth }) => bandwidth)).toEqual([25e9, 25e9, 25e9]);
    expect(tiers.map(({ latency }) => Math.round(latency * 1e9))).toEqual([15_000, 17_000, 19_000]);
    // 64 ports of 100 Gbit/s down: 32 chips of two ports each
    expect(tiers.map(({ groupChips }) => groupChips)).toEqual([32, 4096, 1_000_000]);
    expect(tiers.map(({ switches }) => switches)).toEqual([31_250, 15_625, 7_813]);
  });

  test('an oversubscribed network gives each chip its part', () => {
    const [tor, ...rest] = ECMP.tiers;
    const network = { ...ECMP, tiers: [{ ...tor!, oversubscription: 3 }, ...rest] };
    const { scaleOut } = cluster('trn2.48xlarge', { nodes: 64, network });
    expect(scaleOut!.tiers.map(({ bandwidth }) => bandwidth)).toEqual([25e9, 25e9 / 3]);
    expect(networkBisection(scaleOut!)).toBeCloseTo((1024 / 2) * (25e9 / 3), 0);
  });
});

describe('routes through a cluster', () => {
  test('inside a node are those of its fabric, between nodes go up and down', () => {
    const c = cluster('trn2.48xlarge', { nodes: 16 });
    expect(path(c, 17, 18)).toEqual(['chip17->chip18 (x+)']);
    expect(path(c, 17, 33)).toEqual(['chip17->tor', 'tor0->leaf', 'leaf->tor1', 'tor->chip33']);
    expect(path(c, 0, 16)).toEqual(['chip0->tor', 'tor->chip16']);
    expect(clusterPathCount(c, 16, 18)).toBe(2);
  });

  test('have the latency of the tier where the two chips meet', () => {
    const c = cluster('trn2-ultraserver', { chips: 1_000_000 });
    const out = new Int32Array(longestClusterRoute(c));
    for (const [from, to] of [
      [0, 64],
      [0, 5000],
      [0, 999_999],
    ] as const) {
      const end = appendClusterRoute(c, from, to, out, 0);
      const latency = out.subarray(0, end).reduce((sum, link) => sum + linkLatency(c, link), 0);
      expect(latency).toBeCloseTo(c.scaleOut!.tiers[meetingTier(c.scaleOut!, from, to)]!.latency, 12);
    }
  });

  test('by hash are joined end to end, the same every time, in every plane', () => {
    const network = { ...ECMP, planes: 2 };
    const c = cluster('trn2.48xlarge', { nodes: 1024, network });
    expect(clusterPathCount(c, 0, 16)).toBe(2);
    fc.assert(
      fc.property(fc.nat(c.chips - 1), fc.nat(c.chips - 1), fc.nat(1), (from, to, way) => {
        fc.pre(Math.floor(from / 16) !== Math.floor(to / 16));
        const names = path(c, from, to, way);
        expectJoined(names, from, to);
        expect(path(c, from, to, way)).toEqual(names);
        expect(names[0]).toBe(`chip${from}->tor(${way})`);
        expect(names.length % 2).toBe(0);
      }),
    );
  });

  test('by hash spread evenly over the uplinks', () => {
    const { scaleOut } = cluster('trn2.48xlarge', { nodes: 64, network: ECMP });
    const load = new Map<string, number>();
    const c = cluster('trn2.48xlarge', { nodes: 64, network: ECMP });
    // Chip 0 to each of the 992 chips below other switches, over 64 uplinks: 15.5 each on average, Poisson.
    for (let to = 32; to < 1024; to++) {
      const up = path(c, 0, to)[1]!;
      load.set(up, (load.get(up) ?? 0) + 1);
    }
    expect(scaleOut!.tiers[1]!.ways).toBe(64);
    expect(load.size).toBe(64);
    expect(Math.max(...load.values())).toBeLessThan(15.5 + 5 * Math.sqrt(15.5));
  });

  test('every link has one name, which finds it again', () => {
    const faults = { network: { ...ECMP, planes: 2 } };
    for (const c of [cluster('trn3-gen2', { nodes: 2 }), cluster('trn2.48xlarge', { nodes: 5, ...faults })]) {
      const seen = new Set<string>();
      for (let link = 0; link < clusterLinks(c); link++) {
        const name = clusterLinkName(c, link);
        expect(seen.has(name)).toBe(false);
        seen.add(name);
        if (name.includes('on-chip')) continue;
        const [from, to] = name.replace(/ \(.*/, '').split('->') as [string, string];
        expect(findLinks(c, from, to).map((found) => found.link)).toContain(link);
        expect(linkBandwidth(c, link)).toBeGreaterThan(0);
      }
    }
  });
});

describe('faults as users write them', () => {
  test.each([
    ['chip3->chip4', [{ type: 'link', from: 'chip3', to: 'chip4', remaining: 0 }]],
    ['chip3->chip4 dead', [{ type: 'link', from: 'chip3', to: 'chip4', remaining: 0 }]],
    [
      ' chip3<->sled0 slow 25% ',
      [
        { type: 'link', from: 'chip3', to: 'sled0', remaining: 0.25 },
        { type: 'link', from: 'sled0', to: 'chip3', remaining: 0.25 },
      ],
    ],
    ['tor2->leaf(17) lossy 0.01', [{ type: 'link', from: 'tor2', to: 'leaf(17)', remaining: 0.99 }]],
    ['chip 5 slow 0.8', [{ type: 'chip', chip: 5, speed: 0.8 }]],
    ['rank 17 late 2us', [{ type: 'rank', rank: 17, late: 2e-6 }]],
    ['rank17 late 1.5ms', [{ type: 'rank', rank: 17, late: 1.5e-3 }]],
  ])('%s', (text, faults) => {
    expect(parseFault(text)).toEqual(faults);
  });

  test.each([
    'chip3',
    'chip3->',
    'chip3->chip4 slow',
    'chip3->chip4 slow 0',
    'chip3->chip4 slow 1',
    'chip3->chip4 lossy 100%',
    'chip3->chip4 dead 0.5',
    'chip 5 slow -1',
    'rank 17 late 2',
    'rank x late 2us',
    '',
  ])('%j is refused', (text) => {
    expect(() => parseFault(text)).toThrow(/^"fault" expected /);
  });

  test('any text is a fault or one error', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 200 }), (text) => {
        try {
          parseFault(text);
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      }),
    );
  });
});

describe('a cluster with faults', () => {
  test('takes the other of two equally short ways', () => {
    const c = withFaults(cluster('trn2.48xlarge'), 'chip0->chip1');
    expect(path(c, 0, 2)).toEqual(['chip0->chip3 (x-)', 'chip3->chip2 (x-)']);
    expect(clusterPathCount(c, 0, 2)).toBe(1);
    expect(clusterPathCount(c, 4, 6)).toBe(2);
  });

  test('detours by the shortest live path where the rule of the fabric meets a dead link', () => {
    const c = withFaults(cluster('trn2.48xlarge', { nodes: 2 }), 'chip16<->chip17');
    expect(path(c, 16, 17)).toHaveLength(3);
    expect(path(c, 0, 1)).toEqual(['chip0->chip1 (x+)']); // the other node is whole
    expectJoined(path(c, 16, 17), 16, 17);
  });

  test('on a Trn3 UltraServer reaches a chip with a dead sled port through the rack switch', () => {
    const c = withFaults(cluster('trn3-gen2'), 'chip5->sled1');
    expect(path(c, 5, 6)).toEqual(['chip5->rack0', 'rack0->chip6']);
    expect(path(c, 6, 5)).toEqual(['chip6->sled1', 'sled1->chip5']);
  });

  test('never routes over a dead link and always arrives', () => {
    const { scaleUp } = cluster('trn2-ultraserver');
    fc.assert(
      fc.property(fc.array(fc.nat(383), { minLength: 1, maxLength: 8 }), fc.nat(63), fc.nat(63), (dead, from, to) => {
        fc.pre(from !== to);
        const topology = degradeTopology(scaleUp, new Map(dead.map((link) => [link, 0])));
        const paths = routes(topology, from, to);
        expect(paths.reduce((sum, { share }) => sum + share, 0)).toBe(1);
        for (const { links } of paths) {
          let at = from;
          for (const link of links) {
            expect(dead).not.toContain(link);
            expect(topology.from[link]).toBe(at);
            at = topology.to[link]!;
          }
          expect(at).toBe(to);
        }
      }),
    );
  });

  test('says which links cut which chips off', () => {
    expect(() =>
      withFaults(cluster('trn2.48xlarge'), 'chip5->chip4', 'chip5->chip6', 'chip5->chip1', 'chip5->chip9'),
    ).toThrow(
      'chip5->chip6 (x+), chip5->chip4 (x-), chip5->chip9 (y+), chip5->chip1 (y-): expected live paths between all chips, but these dead links cut off chip5',
    );
    expect(() => withFaults(cluster('hgx-h100', { nodes: 2 }), 'chip9->nvlink1')).toThrow('cut off chip9');
    expect(() => withFaults(cluster('trn2.48xlarge', { nodes: 16 }), 'tor2->leaf')).toThrow('cut off chips 64 to 95');
  });

  test('slow and lossy links keep their routes and lose bandwidth', () => {
    const c = withFaults(cluster('trn2.48xlarge', { nodes: 16 }), 'chip0->chip1 slow 0.5', 'chip0->chip1 lossy 10%');
    const [link] = findLinks(c, 'chip0', 'chip1');
    expect(linkBandwidth(c, link!.link)).toBeCloseTo(128e9 * 0.5 * 0.9, 0);
    expect(path(c, 0, 1)).toEqual(['chip0->chip1 (x+)']);
    const bundle = withFaults(c, 'tor0->leaf(3)', 'tor0->leaf(4)');
    const [uplinks] = findLinks(bundle, 'tor0', 'leaf');
    expect(linkBandwidth(bundle, uplinks!.link)).toBeCloseTo((800e9 * 62) / 64, 0);
  });

  test('sends for a chip without a way into the network through the nearest one that has one', () => {
    const c = withFaults(cluster('trn2.48xlarge', { nodes: 16 }), 'chip17->tor');
    expect(path(c, 17, 33)).toEqual(['chip17->chip16 (x-)', 'chip16->tor', 'tor0->leaf', 'leaf->tor1', 'tor->chip33']);
    expect(path(c, 33, 17).slice(-2)).toEqual(['tor->chip16', 'chip16->chip17 (x+)']);
    const all = Array.from({ length: 16 }, (_, chip) => `chip${chip}->tor`);
    expect(() => withFaults(cluster('trn2.48xlarge', { nodes: 2 }), ...all)).toThrow(
      'node 0: expected a live way into the network, but all of its chips have lost theirs',
    );
  });

  test('by hash avoids the dead ways', () => {
    const healthy = cluster('trn2.48xlarge', { nodes: 64, network: ECMP });
    const taken = path(healthy, 0, 100)[1]!;
    const detour = path(withFaults(healthy, taken), 0, 100);
    expect(detour).not.toContain(taken);
    expectJoined(detour, 0, 100);
  });

  test('refuses faults of parts that it does not have', () => {
    const c = cluster('trn2.48xlarge');
    expect(() => withFaults(c, 'chip0->chip2')).toThrow(
      '"fault" expected a link of 1 x trn2.48xlarge, got "chip0->chip2"; from chip0 there are some to chip1, chip3, chip4, chip12',
    );
    expect(() => withFaults(c, 'chip0->chip16')).toThrow(
      '"fault" expected ends of links of 1 x trn2.48xlarge, chip0 to chip15, got "chip16" in "chip0->chip16"',
    );
    expect(() => withFaults(cluster('trn2.48xlarge', { nodes: 4 }), 'chip0->leaf9')).toThrow(/, tor, got "leaf9" in /);
    expect(() => withFaults(c, 'chip0->tor')).toThrow(RangeError);
    expect(() => withFaults(c, 'chip 16 slow 0.5')).toThrow('"fault.chip" expected integer in 0..15, got 16');
    expect(() => withFaults(c, 'rank 64 late 1us')).toThrow('"fault.rank" expected integer in 0..63, got 64');
  });

  test('a hundred dead cables drawn at random: the same for the same seed, all chips still reach each other', () => {
    const c = cluster('trn2-ultraserver', { chips: 1_000_000 });
    const faults = randomDeadLinks(c, 100, 7);
    expect(faults).toHaveLength(200);
    expect(randomDeadLinks(c, 100, 7)).toEqual(faults);
    expect(randomDeadLinks(c, 100, 8)).not.toEqual(faults);
    const hurt = applyFaults(c, faults);
    expect(hurt.faultyNodes.size + hurt.scaleOut!.remaining.size).toBeGreaterThan(100);
    for (const node of hurt.faultyNodes.keys())
      expectJoined(path(hurt, node * 64, node * 64 + 63), node * 64, node * 64 + 63);
  });
});

describe('classes', () => {
  test('a million chips are six classes of links in the nodes and six in the network', () => {
    const c = cluster('trn2-ultraserver', { chips: 1_000_000 });
    const { nodes, links, ranks } = clusterClasses(c);
    expect(nodes).toEqual([{ nodes: 15_625, example: 0, chips: 64, faulty: null }]);
    expect(links.map(({ name }) => name)).toEqual([
      ...['x+', 'x-', 'y+', 'y-', 'z+', 'z-'],
      ...['chip->tor', 'tor->chip', 'tor->leaf', 'leaf->tor', 'leaf->spine', 'spine->leaf'],
    ]);
    expect(links.slice(0, 8).every((row) => row.links === 1_000_000)).toBe(true);
    expect(ranks).toEqual([{ ranks: 4_000_000, example: 0, speed: 1, late: 0 }]);
  });

  test.each(['trn2-ultraserver', 'trn3-gen2', 'trn3-ultraserver-gen1', 'inf2.24xlarge', 'gb200-nvl72'])(
    'of %s count every link once, with its rates',
    (id) => {
      const { scaleUp } = cluster(id);
      const classes = fabricClasses(findSystem(id).fabric!);
      const tally = (rows: Iterable<readonly [number, number, number]>): Map<string, number> => {
        const sums = new Map<string, number>();
        for (const [bandwidth, latency, count] of rows) {
          sums.set(`${bandwidth} ${latency}`, (sums.get(`${bandwidth} ${latency}`) ?? 0) + count);
        }
        return sums;
      };
      const inside = Array.from(scaleUp.from.keys()).filter((link) => scaleUp.from[link] !== scaleUp.to[link]);
      expect(tally(classes.map(({ bandwidth, latency, links }) => [bandwidth, latency, links] as const))).toEqual(
        tally(inside.map((link) => [scaleUp.bandwidth[link]!, scaleUp.latency[link]!, 1] as const)),
      );
    },
  );

  test('a fault splits the class that it is in, nodes with the same faults stay together', () => {
    const c = withFaults(
      cluster('trn2.48xlarge', { nodes: 100, rank: 'chip' }),
      ...['chip0->chip1', 'chip16->chip17', 'chip40->chip41 slow 0.5'],
      ...['chip 7 slow 0.9', 'rank 8 late 1us', 'tor0->leaf(3)'],
    );
    expect(nodeClasses(c).map(({ nodes, example }) => [nodes, example])).toEqual([
      [97, 3],
      [2, 0],
      [1, 2],
    ]);
    const { links, ranks } = clusterClasses(c);
    expect(ranks).toEqual([
      { ranks: 1598, example: 0, speed: 1, late: 0 },
      { ranks: 1, example: 8, speed: 1, late: 1e-6 },
      { ranks: 1, example: 7, speed: 0.9, late: 0 },
    ]);
    // 97 x 64 together, 2 x 63 live ones, 64 one by one, of which one is slow
    const inside = links.filter(({ name }) => !/tor|leaf/.test(name));
    expect(inside.reduce((sum, row) => sum + row.links, 0)).toBe(97 * 64 + 2 * 63 + 64);
    expect(inside.find(({ name }) => name === 'chip40->chip41 (x+)')).toMatchObject({ links: 1, bandwidth: 64e9 });
    expect(links.find(({ name }) => name === 'tor0->leaf')).toMatchObject({ links: 1, bandwidth: (800e9 * 63) / 64 });
    expect(linkClasses(c)).toEqual(links);
  });

  test('a last node that is used in part is a class of its own', () => {
    expect(nodeClasses(cluster('hgx-h100', { chips: 20 }))).toEqual([
      { nodes: 2, example: 0, chips: 8, faulty: null },
      { nodes: 1, example: 2, chips: 4, faulty: null },
    ]);
  });

  test('a torus of a million chips needs no topology', () => {
    const dimension = { size: 1024, wrap: true, bandwidth: 1e9, latency: 1e-6 };
    const classes = fabricClasses({
      type: 'torus',
      dimensions: [
        { name: 'x', ...dimension },
        { name: 'y', ...dimension },
      ],
    });
    expect(classes.map(({ name, links }) => [name, links])).toEqual([
      ['x+', 2 ** 20],
      ['x-', 2 ** 20],
      ['y+', 2 ** 20],
      ['y-', 2 ** 20],
    ]);
  });
});

describe('networks as data', () => {
  const valid = catalogueEntry('efa-v3')!.spec;

  test('the shipped ones are found by id and alias, and named by the systems', () => {
    expect(networks().map(({ id }) => id)).toEqual([
      ...['efa-v1', 'efa-v2', 'efa-v3', 'efa-v4', 'infiniband-hdr', 'infiniband-ndr', 'infiniband-xdr'],
    ]);
    expect(findNetwork('10P10U')).toBe(findNetwork('efa-v3'));
    expect(() => findNetwork('efa-v9')).toThrow('nearest: efa-v1, efa-v2, efa-v3');
    expect(findSystem('trn3-gen2').network?.id).toBe('efa-v4');
  });

  test("a user's own is used in place of the system's", () => {
    const network = networkFromJson(
      { ...valid, bandwidth: { value: 50, unit: 'GB/s', source: 'me', kind: 'derived' } },
      'n.json',
    );
    expect(cluster('inf2.48xlarge', { nodes: 3, network }).scaleOut!.tiers[0]!.bandwidth).toBe(50e9);
  });

  test.each([
    [{ planes: { value: 0, unit: 'count', source: 'x', kind: 'derived' } }, 'planes: expected 1 to 64 planes'],
    [{ tiers: [] }, 'tiers: expected a non-empty array'],
    [{ routing: 'adaptive' }, 'routing: expected one of spray, ecmp, got "adaptive"'],
    [{ radix: 4 }, 'radix: unknown key'],
    [{ port: undefined }, 'port: '],
  ])('%j is refused', (change, message) => {
    expect(() => networkFromJson({ ...valid, ...change }, 'n.json')).toThrow(message);
  });

  test('a network that is too small says so', () => {
    const small = { ...ECMP, tiers: ECMP.tiers.slice(0, 2) };
    // 64 x 256 ports of 100 Gbit/s, two to a chip
    expect(buildClos(small, 8192, 25e9).tiers).toHaveLength(2);
    expect(() => buildClos(small, 8193, 25e9)).toThrow(
      'expected at most 16384 ports on 2 tiers of switches, got 16386',
    );
  });
});

describe('alternatives', () => {
  test('of one name change together: the links of Trn3 read as x8', () => {
    const rates = (system: ReturnType<typeof findSystem>): number[] =>
      (system.fabric as Extract<FabricSpec, { type: 'switched' }>).levels.map(({ bandwidth }) => bandwidth / 1e9);
    expect(rates(findSystem('trn3-gen2'))).toEqual([512, 512, 128]);
    expect(rates(withAlternatives('trn3-gen2', ['official-x8']))).toEqual([256, 320, 128]);
    expect(withAlternatives('trn3-gen2', [])).toEqual(findSystem('trn3-gen2'));
  });

  test('reach into the chip, the core and the network, and keep the unit of the default', () => {
    const system = withAlternatives('trn3-gen2', ['all-12.8t', '1000-watt', 'nki-guide']);
    expect(system.network!.tiers.map(({ ports }) => ports)).toEqual([128, 128, 128, 256]);
    expect(system.chip.power.tdp).toBe(1000);
    expect(system.chip.memory.bandwidth).toBe(4.7e12);
    expect(system.chip.id).toBe('trn3');
  });

  test('that nobody gave are an error that lists those there are', () => {
    expect(() => withAlternatives('trn2-ultraserver', ['x16'])).toThrow(
      /^"alternative" expected one of .*ultraserver-table.*, got "x16"$/,
    );
    expect(() => withAlternatives('trn9', [])).toThrow('nearest');
  });

  test('every shipped alternative passes the schema', () => {
    for (const { id } of systems()) {
      for (const name of alternativeNames(catalogueEntry(id)!.spec)) {
        expect(withAlternatives(id, [name]).id).toBe(id);
      }
    }
  });

  test('leave JSON without quantities alone', () => {
    expect(chooseAlternatives([1, 'a', null, { b: [] }], [])).toEqual([1, 'a', null, { b: [] }]);
  });

  test('of the scale-out rate change what the chips send', () => {
    const table = createCluster(withAlternatives('trn2-ultraserver', ['ultraserver-table']), { nodes: 2 });
    expect(table.scaleOut!.tiers[0]!.bandwidth).toBe(400e9 / 64);
  });
});

test('the route of a cluster of one is that of its fabric', () => {
  const c = cluster('trn2-ultraserver');
  const out = new Int32Array(longestClusterRoute(c));
  expect(out.subarray(0, appendClusterRoute(c, 3, 41, out, 0))).toEqual(route(c.scaleUp, 3, 41));
});
