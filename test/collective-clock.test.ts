/** The collective clocks: against hand arithmetic, against each other, and against the bounds that no clock may pass. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { collectiveAlgorithms, collectivesOf } from '../src/collectives/algorithms/registry.ts';
import { CollectiveModel, collectiveClock } from '../src/collectives/collective-clock.ts';
import type { CollectiveCase } from '../src/collectives/cost.ts';
import { collectiveEngine } from '../src/collectives/engine.ts';
import { DEFAULT_CHUNK } from '../src/collectives/event.ts';
import { explainCollective } from '../src/collectives/explain.ts';
import { COLLECTIVES, type Collective } from '../src/collectives/schedule.ts';
import type { Cluster } from '../src/fabric/cluster.ts';
import { applyFaults } from '../src/fabric/degrade.ts';
import { parseFault } from '../src/fabric/faults.ts';
import { hops, pathCount } from '../src/fabric/routes.ts';
import { findSystem, systems } from '../src/hardware/catalog.ts';
import { type Constants, fittedConstants } from '../src/hardware/fitted.ts';
import type { SystemSpec } from '../src/hardware/spec.ts';
import { type ClusterOptions, createCluster } from '../src/machine/cluster.ts';

const MiB = 2 ** 20;

function cluster(system: string | SystemSpec, options: ClusterOptions = {}, ...faults: string[]): Cluster {
  const spec = typeof system === 'string' ? findSystem(system) : system;
  return applyFaults(createCluster(spec, options), faults.flatMap(parseFault));
}

function ask(collective: Collective, bytes: number, ranks: number, more: Partial<CollectiveCase> = {}): CollectiveCase {
  return { collective, bytes, group: { ranks, stride: 1 }, ...more };
}

/** An engine with round numbers: no start, channels that never bind. */
const PLAIN: Constants = {
  ...fittedConstants(),
  neuronCollectiveStart: 0,
  neuronDmaShare: 1e6,
  networkEfficiency: 1,
};

describe('hand arithmetic', () => {
  test('a ring all-reduce of 16 chips on a 4 x 4 torus is 30 steps of a hop and a sixteenth on two rings', () => {
    const model = new CollectiveModel(cluster('trn2.48xlarge', { rank: 'chip' }), PLAIN);
    // Two edge-disjoint rings with half of the data each: n / 32 at 128 GB/s, 1.5 us a hop, 2 us a step, and 1 further
    // message: 2500 B.
    const message = 2500 / model.engine.channel;
    const expected = 30 * (3.5e-6 + message + (64 * MiB) / 32 / 128e9);
    for (const fidelity of ['formula', 'flow', 'event'] as const) {
      const { time, steps } = model.time(ask('all-reduce', 64 * MiB, 16, { algorithm: 'ring' }), fidelity);
      // By events the chunks of the two rings wait for each other in the memory, once a step.
      expect(time / expected).toBeCloseTo(1, fidelity === 'event' ? 2 : 9);
      expect(steps).toBe(30);
    }
  });

  test('ranks of one chip pass its memory: a byte is read and written, an added one read twice', () => {
    const model = new CollectiveModel(cluster('trn1.2xlarge'), PLAIN);
    const memory = findSystem('trn1.2xlarge').chip.memory.bandwidth!;
    const start = 1.3e-6;
    // Two ranks exchange halves and add, 3 touches of n / 2 each; then exchange the sums, 2 touches.
    const step = 2e-6;
    const expected = 2 * (start + step) + (64 * MiB * (3 + 2)) / memory;
    const { time } = model.time(ask('all-reduce', 64 * MiB, 2, { algorithm: 'ring' }), 'flow');
    expect(time / expected).toBeCloseTo(1, 6);
  });

  test('KangaRing touches the memory 3 times where the ring does 4, and 4 where it does 6', () => {
    const ring = new CollectiveModel(cluster('trn1.32xlarge'), PLAIN);
    const memoryOf = (collective: Collective, algorithm: string): number =>
      ring
        .time(ask(collective, 32 * MiB, 32, { algorithm }), 'flow')
        .resources.filter(({ kind }) => kind === 'memory')
        .reduce((sum, { bytes }) => sum + bytes, 0);
    // Of the steps round the ring; the pairs' own step before and after is the difference to 3/4 and 4/6.
    expect(memoryOf('all-gather', 'kangaring') / memoryOf('all-gather', 'ring')).toBeCloseTo(3 / 4, 1);
    expect(memoryOf('reduce-scatter', 'kangaring') / memoryOf('reduce-scatter', 'ring')).toBeCloseTo(4 / 6, 0.9);
  });

  test('the start, and the latencies of a node-to-node message, are all that a tiny send takes', () => {
    const two = cluster('trn2.48xlarge', { nodes: 2, rank: 'chip' });
    const model = new CollectiveModel(two);
    const { engine } = model;
    const request: CollectiveCase = { collective: 'send-recv', bytes: 1, group: { ranks: 2, stride: 16 } };
    const expected = engine.protocols[0]!.start + engine.step + two.scaleOut!.tiers[0]!.latency;
    expect(model.cost(request).time / expected).toBeCloseTo(1, 4);
  });

  test('bus bandwidth is 2 (p - 1) / p of the algorithm bandwidth of an all-reduce', () => {
    const cost = collectiveClock(cluster('hgx-h100'))(ask('all-reduce', 256 * MiB, 8));
    expect(cost.busBandwidth / cost.algorithmBandwidth).toBeCloseTo(1.75, 12);
    expect(cost.algorithmBandwidth).toBeCloseTo((256 * MiB) / cost.time, 0);
  });

  test('eager launches hide behind the run before, a framework is before each call', () => {
    const clock = collectiveClock(cluster('trn2.3xlarge'));
    const { launch, dispatch } = collectiveEngine(cluster('trn2.3xlarge'), fittedConstants());
    for (const bytes of [4096, 256 * MiB]) {
      const device = clock(ask('all-reduce', bytes, 4)).time;
      expect(clock(ask('all-reduce', bytes, 4, { timing: 'host' })).time).toBe(Math.max(launch, device));
      expect(clock(ask('all-reduce', bytes, 4, { timing: 'framework' })).time).toBe(dispatch + device);
    }
  });
});

describe('the three fidelities', () => {
  // The last column: transfers that a rank starts in a step beside the first.
  const single: [string, ClusterOptions, Collective, string, number][] = [
    ['trn2.48xlarge', { rank: 'chip' }, 'all-reduce', 'rdh', 0],
    ['trn2.48xlarge', { rank: 'chip' }, 'all-gather', 'bidirectional-ring', 3],
    ['inf2.48xlarge', { rank: 'chip' }, 'reduce-scatter', 'ring', 0],
    ['trn1.32xlarge', { rank: 'chip' }, 'all-reduce', 'ring', 1],
    ['trn2-ultraserver', { rank: 'chip' }, 'all-gather', 'rdh', 0],
    ['hgx-a100', {}, 'all-reduce', 'ring', 0],
  ];
  for (const [system, options, collective, algorithm, sendsBeside] of single) {
    test(`agree where every hop is one link and nothing contends: ${algorithm} ${collective} on ${system}`, () => {
      const machine = cluster(system, options);
      const model = new CollectiveModel(machine);
      const isSwitched = machine.scaleUp.fabric.type === 'switched';
      for (const bytes of [machine.ranks * 4096, 48 * MiB]) {
        const request = ask(collective, bytes, machine.ranks, { algorithm });
        const formula = model.time(request, 'formula').time;
        expect(model.time(request, 'flow').time / formula).toBeCloseTo(1, 8);
        // A switch has a link up and a link down: one chunk of store and forward a step.
        const { time: event, steps } = model.time(request, 'event');
        const chunk = isSwitched ? (steps * DEFAULT_CHUNK) / 200e9 : 0;
        // Several rings at once take turns in memory and channel of both ends, a chunk of each; the slowest is 260 GB/s.
        const turns = (steps * sendsBeside * 4 * DEFAULT_CHUNK) / 250e9;
        // Each server of a path rounds to a picosecond: memories, channels and the link.
        const rounding = steps * (sendsBeside + 1) * 5e-12;
        expect(event).toBeGreaterThan(formula * (1 - 1e-6) - rounding);
        expect(event).toBeLessThan(formula * (1 + 1e-6) + chunk + turns);
      }
    });
  }

  test('over h hops an event takes at most h - 1 chunks longer than a flow', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 63 }), fc.integer({ min: 1, max: 4 * MiB }), (to, bytes) => {
        // With no rank behind `to`, the pair is the only one: nothing contends.
        const machine = cluster('trn2-ultraserver', { rank: 'chip', ranks: to + 1 });
        const model = new CollectiveModel(machine, PLAIN);
        const request: CollectiveCase = { collective: 'send-recv', bytes, group: { ranks: 2, stride: to } };
        const flow = model.time(request, 'flow').time;
        const event = model.time(request, 'event').time;
        const links = hops(machine.scaleUp, 0, to);
        // Times are whole picoseconds, for every chunk on every link.
        // Of two ways the flow has half of the bytes on each; the chunks of the event take turns, and one may be over.
        const most = links - 1 + (pathCount(machine.scaleUp, 0, to) - 1);
        expect(event).toBeGreaterThan(flow * (1 - 1e-6) - DEFAULT_CHUNK / 64e9);
        expect(event - flow).toBeLessThan((most * DEFAULT_CHUNK) / 64e9 + 1e-6 * flow + 2e-10);
      }),
      { numRuns: 60, seed: 5 },
    );
  });

  test('a phase between nodes costs the same in closed form as transfer by transfer', () => {
    for (const system of ['trn2.48xlarge', 'hgx-h100']) {
      for (const nodes of [2, 4, 8]) {
        const machine = cluster(system, { nodes, rank: 'chip' });
        const model = new CollectiveModel(machine);
        for (const collective of ['all-reduce', 'all-gather', 'reduce-scatter', 'all-to-all'] as const) {
          const request = ask(collective, 64 * MiB, machine.ranks, { algorithm: 'hierarchical' });
          expect(model.time(request, 'flow').time / model.time(request, 'formula').time).toBeCloseTo(1, 2);
        }
      }
    }
  });
});

describe('libraries', () => {
  test('rings of older Neuron releases have the pace of their network hop', () => {
    const two = cluster('trn1.32xlarge', { nodes: 2 });
    const model = new CollectiveModel(two, fittedConstants(), undefined, 'neuron-rings');
    const { networkHold } = model.engine;
    for (const bytes of [64 * 1024, MiB, 64 * MiB]) {
      const { time, algorithm, steps } = model.time(ask('all-reduce', bytes, 64), 'formula');
      expect(algorithm).toMatch(/ring$/);
      expect(steps).toBe(126);
      expect(time).toBeGreaterThan(126 * networkHold);
    }
    // Two elements for 64 ranks: nothing is before them that they would have to wait for.
    expect(model.cost(ask('all-reduce', 8, 64, { elementBytes: 4 })).time).toBeLessThan(126 * networkHold);
  });

  test('a message that holds its ring does so by every clock', () => {
    // One chip a node: one ring, of two ranks on each chip.
    const three = cluster('trn1.32xlarge', { nodes: 3 });
    const held = new CollectiveModel(three, fittedConstants(), undefined, 'neuron-rings');
    const free = new CollectiveModel(three, { ...fittedConstants(), neuronRingHold: 0 }, undefined, 'neuron-rings');
    const { networkHold } = held.engine;
    for (const bytes of [192 * 1024, 48 * MiB]) {
      const request: CollectiveCase = {
        collective: 'all-reduce',
        bytes,
        group: { ranks: 6, stride: 1, perNode: 2 },
        algorithm: 'ring',
      };
      const formula = held.time(request, 'formula').time;
      for (const fidelity of ['formula', 'flow', 'event'] as const) {
        const { time, steps } = held.time(request, fidelity);
        const without = free.time(request, fidelity).time;
        // Half of the ring's hops cross the network; each step waits for one hold at most.
        expect(time - without).toBeGreaterThan((steps / 4) * networkHold);
        expect(time - without).toBeLessThan((steps + 2) * networkHold);
        expect(time / formula).toBeGreaterThan(0.9);
        expect(time / formula).toBeLessThan(1.1);
      }
    }
  });

  test('NCCL has only its Simple protocol on a network that delivers out of order, and LL on others', () => {
    const protocol = (system: string): string =>
      new CollectiveModel(cluster(system, { nodes: 2 })).time(ask('all-reduce', 1024, 16), 'formula').protocol;
    expect(protocol('p4d.24xlarge')).toBe('Simple');
    expect(protocol('p5.48xlarge')).toBe('LL');
  });

  test('MSCCL++ exchanges with all peers at once, without the base latency of NCCL', () => {
    const machine = cluster('hgx-h100');
    const time = (library: 'nccl' | 'mscclpp') =>
      new CollectiveModel(machine, fittedConstants(), undefined, library).cost(ask('all-reduce', 8192, 8));
    expect(time('mscclpp').algorithm).toContain('mesh');
    expect(time('nccl').time - time('mscclpp').time).toBeGreaterThan(6.6e-6);
  });

  test('ranks of a chip that take no part leave its adapter to the others', () => {
    const clock = collectiveClock(cluster('trn2.48xlarge', { nodes: 2 }));
    const all = clock(ask('all-reduce', 64 * MiB, 128, { algorithm: 'hierarchical' }));
    const two = clock({ ...ask('all-reduce', 64 * MiB, 4), group: { ranks: 4, stride: 1, perNode: 2 } });
    // 64 MiB leave each node either way: by 16 adapters, or by one.
    expect(two.time).toBeGreaterThan((64 * MiB) / 25e9);
    expect(two.time).toBeGreaterThan(all.time);
    expect(two.time).toBeLessThan((2 * 64 * MiB) / 25e9);
  });

  test('a collective on a chip whose DMA engines nobody describes is an error that names it', () => {
    expect(() => collectiveClock(cluster('inf1.2xlarge'))(ask('all-reduce', MiB, 4))).toThrow('inf1');
  });
});

/** Every algorithm and collective on some small machines, as [machine, request]. */
function everything(): [string, Cluster, CollectiveCase][] {
  const machines: [string, Cluster][] = [
    ['4 chips of trn2', cluster('trn2.48xlarge', { rank: 'chip', ranks: 4 })],
    ['32 cores of trn2', cluster('trn2.48xlarge', { ranks: 32 })],
    ['12 chips of inf2', cluster('inf2.48xlarge', { rank: 'chip' })],
    ['8 GPUs', cluster('hgx-h100')],
    ['2 sleds of trn3', cluster('trn3-ultraserver-gen2', { rank: 'chip', ranks: 8 })],
    ['2 nodes of trn1', cluster('trn1.32xlarge', { nodes: 2, rank: 'chip' })],
    ['2 nodes of GPUs', cluster('hgx-b200', { nodes: 2 })],
  ];
  return machines.flatMap(([name, machine]) =>
    collectiveAlgorithms().flatMap((algorithm) =>
      collectivesOf(algorithm).map((collective): [string, Cluster, CollectiveCase] => [
        name,
        machine,
        ask(collective, 3 * MiB, machine.ranks, { algorithm: algorithm.name }),
      ]),
    ),
  );
}

describe('bounds', () => {
  test('no resource carries more than its rate, in any algorithm', () => {
    const models = new Map<Cluster, CollectiveModel>();
    let ran = 0;
    for (const [name, machine, request] of everything()) {
      const model = models.get(machine) ?? new CollectiveModel(machine);
      models.set(machine, model);
      let timing: ReturnType<CollectiveModel['time']>;
      try {
        timing = model.time(request, 'flow');
      } catch (error) {
        // Not defined there: the error says so and names it.
        expect(String(error)).toContain(request.algorithm);
        continue;
      }
      ran++;
      const what = `${request.algorithm} ${request.collective} on ${name}`;
      expect(Number.isFinite(timing.time), what).toBe(true);
      for (const { peak, utilization } of timing.resources) {
        expect(peak, what).toBeLessThanOrEqual(1 + 1e-9);
        // Where levels overlap, phases are timed one by one and put together: busy may add up to a little more.
        expect(utilization, what).toBeLessThanOrEqual(1 + 1e-6);
      }
    }
    expect(ran).toBeGreaterThan(150);
  });

  test('never faster than the bytes that must leave a rank, or than one latency', () => {
    const machine = cluster('trn2.48xlarge', { rank: 'chip' });
    const egress = 4 * 128e9;
    const model = new CollectiveModel(machine);
    const factor: Partial<Record<Collective, number>> = {
      'all-reduce': 30 / 16,
      'all-gather': 15 / 16,
      'reduce-scatter': 15 / 16,
      'all-to-all': 15 / 16,
    };
    for (const [collective, part] of Object.entries(factor) as [Collective, number][]) {
      for (const bytes of [16, 1 * MiB, 1024 * MiB]) {
        for (const fidelity of ['formula', 'flow'] as const) {
          const { time } = model.time(ask(collective, bytes, 16), fidelity);
          expect(time).toBeGreaterThanOrEqual((part * bytes) / egress);
          expect(time).toBeGreaterThanOrEqual(1.5e-6);
        }
      }
    }
  });

  test('monotone in the size, for every algorithm', () => {
    const machine = cluster('trn2.48xlarge', { ranks: 16 });
    const model = new CollectiveModel(machine);
    for (const algorithm of ['auto', 'ring', 'mesh', 'rdh', 'kangaring', 'hierarchical']) {
      fc.assert(
        fc.property(fc.integer({ min: 0, max: 2 ** 31 }), fc.integer({ min: 0, max: 2 ** 31 }), (a, b) => {
          const [less, more] = [Math.min(a, b), Math.max(a, b)];
          const time = (bytes: number) => model.cost(ask('all-reduce', bytes, 16, { algorithm })).time;
          expect(time(less)).toBeLessThanOrEqual(time(more));
        }),
        { seed: 11 },
      );
    }
  });

  test('monotone in a uniform scaling of the links, for a fixed algorithm', () => {
    const scaled = (factor: number): SystemSpec => {
      const spec = findSystem('trn2.48xlarge');
      if (spec.fabric?.type !== 'torus') throw new Error('expected a torus');
      const dimensions = spec.fabric.dimensions.map((d) => ({ ...d, bandwidth: d.bandwidth * factor }));
      return { ...spec, fabric: { ...spec.fabric, dimensions } };
    };
    for (const algorithm of ['ring', 'mesh', 'rdh', 'single-step-mesh']) {
      const times = [0.25, 0.5, 1, 2, 8].map((factor) => {
        const model = new CollectiveModel(cluster(scaled(factor), { rank: 'chip' }));
        return model.time(ask('all-reduce', 64 * MiB, 16, { algorithm }), 'flow').time;
      });
      for (let i = 1; i < times.length; i++) expect(times[i]).toBeLessThanOrEqual(times[i - 1]! * (1 + 1e-9));
    }
  });

  test('monotone in the ranks of one ring', () => {
    const model = new CollectiveModel(cluster('hgx-a100'));
    let before = 0;
    for (let ranks = 2; ranks <= 8; ranks++) {
      const { time } = model.cost(ask('all-reduce', 64 * MiB, ranks, { algorithm: 'ring' }));
      expect(time).toBeGreaterThan(before);
      before = time;
    }
  });

  test('nothing to move takes the start at most; one rank takes no time', () => {
    const model = new CollectiveModel(cluster('trn2.48xlarge'));
    expect(model.cost(ask('all-reduce', 64 * MiB, 1)).time).toBe(0);
    expect(model.time(ask('all-reduce', 0, 8), 'flow').time).toBeGreaterThan(0);
  });
});

describe('faults', () => {
  const faults: [string, string][] = [
    ['a dead link', 'chip5<->chip6'],
    ['a slow link', 'chip5<->chip6 slow 0.25'],
    ['a slow chip', 'chip 5 slow 0.05'],
    ['a late rank', 'rank 5 late 300us'],
  ];
  for (const [name, fault] of faults) {
    test(`${name} makes no collective faster, and a ring through it slower`, () => {
      const healthy = new CollectiveModel(cluster('trn2.48xlarge', { rank: 'chip' }));
      const faulty = new CollectiveModel(cluster('trn2.48xlarge', { rank: 'chip' }, fault));
      for (const algorithm of ['ring', 'mesh', 'rdh']) {
        for (const fidelity of ['formula', 'flow'] as const) {
          const request = ask('all-reduce', 64 * MiB, 16, { algorithm });
          const before = healthy.time(request, fidelity).time;
          const after = faulty.time(request, fidelity).time;
          expect(after).toBeGreaterThanOrEqual(before * (1 - 1e-9));
          if (algorithm === 'ring') expect(after).toBeGreaterThan(before);
        }
      }
    });
  }

  test('a fault in one node of many slows all, as all wait for it, and costs no more to time', () => {
    const time = (...list: string[]) =>
      new CollectiveModel(cluster('trn2.48xlarge', { nodes: 1000, rank: 'chip' }, ...list)).time(
        ask('all-reduce', 256 * MiB, 16_000, { algorithm: 'hierarchical' }),
        'flow',
      ).time;
    const healthy = time();
    expect(time('chip 7777 slow 0.05')).toBeGreaterThan(healthy);
    expect(time('chip160<->chip161')).toBeGreaterThanOrEqual(healthy);
    expect(time('chip500->tor slow 0.5')).toBeGreaterThan(healthy);
  });
});

describe('groups', () => {
  test('groups side by side share what they meet on: the same group alone is not slower', () => {
    const model = new CollectiveModel(cluster('trn2.48xlarge'));
    const few = new CollectiveModel(cluster('trn2.48xlarge', { ranks: 16 }));
    for (const stride of [1, 4, 16]) {
      const shared = model.cost({ collective: 'all-reduce', bytes: 64 * MiB, group: { ranks: 4, stride } });
      expect(shared.time).toBeGreaterThan(0);
      if (stride === 1) {
        const alone = few.cost({ collective: 'all-reduce', bytes: 64 * MiB, group: { ranks: 4, stride } });
        expect(alone.time).toBeLessThanOrEqual(shared.time * (1 + 1e-9));
      }
    }
  });

  test('a strided group over nodes is timed as one rank of each node, all at once', () => {
    const machine = cluster('trn2.48xlarge', { nodes: 8 });
    const clock = collectiveClock(machine);
    // Data parallelism over 8 nodes: every core sends through its share of the chip's port.
    const data = clock({ collective: 'all-reduce', bytes: 64 * MiB, group: { ranks: 8, stride: 64 } });
    const port = machine.scaleOut!.tiers[0]!.bandwidth;
    expect(data.time).toBeGreaterThan((4 * 64 * MiB * (14 / 8)) / port);
  });

  test('wrong groups and algorithms are errors that name them', () => {
    const clock = collectiveClock(cluster('trn2.48xlarge'));
    const bad: [Partial<CollectiveCase>, string][] = [
      [{ group: { ranks: 0, stride: 1 } }, '"ranks" expected integer in 1..64, got 0'],
      [{ group: { ranks: 65, stride: 1 } }, '"ranks" expected integer in 1..64, got 65'],
      [{ group: { ranks: 8, stride: 0 } }, '"stride" expected integer >= 1, got 0'],
      [{ group: { ranks: 8, stride: 10 } }, '"stride" expected a group within 64 ranks, got 8 at stride 10'],
      [{ bytes: Number.NaN }, '"bytes" expected a number >= 0, got NaN'],
      [{ bytes: -1 }, '"bytes" expected a number >= 0, got -1'],
      [{ algorithm: 'magic' }, '"algorithm" expected one of auto, ring'],
      [{ collective: 'all-to-all', algorithm: 'rdh' }, 'all-to-all over 64 ranks of trn2.48xlarge, got rdh'],
      [{ algorithm: 'switch' }, 'all-reduce over 64 ranks of trn2.48xlarge, got switch'],
    ];
    for (const [part, message] of bad) {
      expect(() => clock({ ...ask('all-reduce', 1024, 64), ...part })).toThrow(message);
    }
  });
});

describe('selection', () => {
  test('auto is the fastest of its candidates at every size, and small and large data choose differently', () => {
    for (const system of ['trn2.48xlarge', 'trn2-ultraserver', 'trn3-ultraserver-gen2', 'hgx-h100']) {
      const machine = cluster(system, system.startsWith('hgx') ? {} : { rank: 'chip' });
      const model = new CollectiveModel(machine);
      const chosen = [64, 64 * 1024, 4 * MiB, 4096 * MiB].map((bytes) => {
        const request = ask('all-reduce', bytes, machine.ranks);
        const { time, algorithm } = model.cost(request);
        const times = model.candidates(request).map((candidate) => candidate.time);
        expect(time).toBe(Math.min(...times));
        return algorithm;
      });
      expect(new Set(chosen).size).toBeGreaterThan(1);
    }
  });

  test('an explanation names the winner first, with rounds that add up to its time', () => {
    const machine = cluster('trn2.48xlarge');
    const model = new CollectiveModel(machine);
    const request = ask('all-reduce', 64 * MiB, 64);
    const { plans, reason } = explainCollective(model, request);
    expect(plans[0]!.name).toBe(model.cost(request).algorithm);
    expect(reason).toContain(plans[0]!.name);
    for (const plan of plans) {
      const atMost = plan.rounds.reduce((t, r) => t + r.steps * (r.latency + request.bytes / r.rate), plan.start);
      // A ring's pace is that of its mean latency, so its rounds are an upper bound.
      expect(plan.time).toBeLessThanOrEqual(atMost * (1 + 1e-9));
      expect(plan.time).toBeGreaterThan(0.5 * atMost);
      expect(plan.steps).toBe(plan.rounds.reduce((sum, { steps }) => sum + steps, 0));
    }
  });
});

describe('every machine', () => {
  test('every system of the catalogue with a fabric times every collective, alone and joined', () => {
    const odd: string[] = [];
    for (const spec of systems()) {
      if (spec.fabric === null) continue;
      for (const nodes of spec.network === null ? [1] : [1, 3]) {
        const machine = createCluster(spec, { nodes, rank: 'chip' });
        const clock = collectiveClock(machine);
        const asked: readonly Collective[] =
          nodes === 1 ? COLLECTIVES : ['all-reduce', 'all-to-all', 'broadcast', 'barrier'];
        for (const collective of asked) {
          const { time } = clock(ask(collective, collective === 'barrier' ? 0 : MiB, machine.ranks));
          if (!(Number.isFinite(time) && (time > 0 || machine.ranks === 1)))
            odd.push(`${spec.id} ${nodes} ${collective}`);
        }
      }
    }
    expect(odd).toEqual([]);
  }, 60_000);

  test('a million chips are timed as one node and its network', () => {
    const machine = cluster('trn2.48xlarge', { nodes: 62_500, rank: 'chip' });
    const model = new CollectiveModel(machine);
    for (const collective of ['all-reduce', 'all-to-all'] as const) {
      const request = ask(collective, 64 * MiB, 1_000_000);
      const formula = model.cost(request);
      const flow = model.time(request, 'flow');
      expect(formula.algorithm).toContain('hierarchical');
      expect(flow.time / formula.time).toBeCloseTo(1, 1);
      // All of it leaves the chip at 25 GB/s at most: 7/8 of it more than once.
      expect(formula.time).toBeGreaterThan((64 * MiB) / 16 / 25e9);
    }
  });

  test('the same question has the same answer, bit for bit, from another model and another order', () => {
    const machine = cluster('trn2-ultraserver', { rank: 'chip' });
    const requests = [1024, MiB, 64 * MiB].flatMap((bytes) =>
      (['all-reduce', 'all-to-all'] as const).map((collective) => ask(collective, bytes, 64)),
    );
    const a = new CollectiveModel(machine);
    const b = new CollectiveModel(machine);
    const first = requests.map((request) => a.time(request, 'flow').time);
    const second = [...requests].reverse().map((request) => b.time(request, 'flow').time);
    expect(second.reverse()).toEqual(first);
  });
});
