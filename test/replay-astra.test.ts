/** Timing `astra` against ASTRA-sim's own answers, its documented goldens, and hand arithmetic. */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  astraNetwork,
  type ChakraAttribute,
  type ChakraNodeType,
  type ChakraTrace,
  parseAstraGroups,
  parseAstraMemory,
  parseAstraNetwork,
  parseAstraSystem,
  type ReplayInputs,
  type ReplayOptions,
  readChakra,
  replay,
} from '../src/replay.ts';
import {
  type CollectiveName,
  chakraNode,
  chakraTrace,
  collectiveNode,
  computeNode,
  memoryNode,
  pointNode,
} from './fixtures/chakra.ts';
import { inputsOf, networkOf, systemOf } from './fixtures/replay.ts';

const astra = (inputs: ReplayInputs, options: ReplayOptions = {}) =>
  replay(inputs, { timing: 'astra', ...options }).timeNs;

const folder = new URL('../data/validation/astra/', import.meta.url);
interface Case {
  readonly case: string;
  readonly congestion: 'unaware' | 'aware';
  readonly topology: readonly string[];
  readonly npus: readonly number[];
  readonly bandwidthGiBps: readonly number[];
  readonly latencyNs: readonly number[];
  readonly implementations: readonly string[];
  readonly allToAllImplementations: readonly string[];
  readonly collective: CollectiveName;
  readonly sizeBytes: number;
  readonly splits: number;
  readonly timeNs: number;
}
interface Training {
  readonly case: string;
  readonly ranks: number;
  readonly network: string;
  readonly system: object;
  readonly timeNs: number;
  readonly exposedCommNs: number;
}
const reference: {
  readonly commonSystem: object;
  readonly cases: readonly Case[];
  readonly training: readonly Training[];
} = JSON.parse(readFileSync(new URL('cases.json', folder), 'utf8'));

describe("ASTRA-sim's answers", () => {
  const inputsOfCase = async (row: Case): Promise<ReplayInputs> => {
    const network = `topology: [ ${row.topology} ]\nnpus_count: [ ${row.npus} ]\nbandwidth: [ ${row.bandwidthGiBps} ]\nlatency: [ ${row.latencyNs} ]\n`;
    const file: Record<string, unknown> = { ...reference.commonSystem, 'preferred-dataset-splits': row.splits };
    for (const name of ['all-reduce', 'all-gather', 'reduce-scatter'])
      file[`${name}-implementation`] = row.implementations;
    file['all-to-all-implementation'] = row.allToAllImplementations;
    const { value: dimensions } = await parseAstraNetwork(network, 'network.yml');
    const { value: system } = parseAstraSystem(JSON.stringify(file), 'system.json');
    return inputsOf(dimensions, system, [collectiveNode(1, row.collective, row.sizeBytes)]);
  };

  test.each(reference.cases)('$case, congestion-$congestion: $timeNs ns', async (row) => {
    const inputs = await inputsOfCase(row);
    const result = replay(inputs, { timing: 'astra', congestion: row.congestion });
    expect(result.timeNs).toBe(row.timeNs);
    expect(result.rankTime(result.ranks - 1)).toEqual({
      rank: result.ranks - 1,
      timeNs: row.timeNs,
      exposedCommNs: row.timeNs,
    });
  });

  test('message by message, with every rank simulated, the answers are the same', async () => {
    const small = reference.cases.filter(({ npus, splits }) => npus.reduce((a, b) => a * b) <= 64 && splits <= 16);
    expect(small.length).toBeGreaterThan(20);
    for (const row of small) {
      const { timeNs } = replay(await inputsOfCase(row), { timing: 'astra', congestion: row.congestion, fold: false });
      expect(timeNs, row.case).toBe(row.timeNs);
    }
  }, 60_000);

  /** The traces of a training step: rank 0's, with the groups of rank r in place of its own. */
  const trainingInputs = async (row: Training, groupsOf: (rank: number) => Record<string, string>, groups: object) => {
    const file = gunzipSync(readFileSync(new URL(`${row.case}.et.gz`, folder)));
    const first = readChakra(file, row.case);
    const traces = Array.from({ length: row.ranks }, (_, rank) => {
      const names = groupsOf(rank);
      const nodes = first.nodes.map((node) => ({
        ...node,
        attributes: node.attributes.map((attribute) =>
          attribute.name === 'pg_name' ? { ...attribute, value: names[String(attribute.value)]! } : attribute,
        ),
      }));
      const trace: ChakraTrace = { ...first, nodes };
      return { path: `${row.case}.${rank}.et`, trace };
    });
    const { value: network } = await parseAstraNetwork(row.network, 'network.yml');
    const { value: system } = parseAstraSystem(JSON.stringify(row.system), 'system.json');
    return { traces, network, system, groups: parseAstraGroups(JSON.stringify(groups), 'groups.json', row.ranks) };
  };
  const range = (count: number, at: (i: number) => number) => Array.from({ length: count }, (_, i) => at(i));

  test.each([true, false])('a training step of 16 ranks, data and tensor parallel, folded: %s', async (fold) => {
    const row = reference.training.find(({ ranks }) => ranks === 16)!;
    const lines = Object.fromEntries(range(4, (i) => i).map((i) => [`${1 + i}`, range(4, (k) => 4 * i + k)]));
    const columns = Object.fromEntries(range(4, (i) => i).map((i) => [`${5 + i}`, range(4, (k) => i + 4 * k)]));
    const groupsOf = (rank: number) => ({ 1: `${1 + Math.floor(rank / 4)}`, 5: `${5 + (rank % 4)}` });
    const inputs = await trainingInputs(row, groupsOf, { ...lines, ...columns });
    const result = replay(inputs, { timing: 'astra', fold });
    expect(result.classes.length).toBe(fold ? 1 : 16);
    for (let rank = 0; rank < 16; rank++) {
      expect(result.rankTime(rank)).toEqual({ rank, timeNs: row.timeNs, exposedCommNs: row.exposedCommNs });
    }
  });

  test('a training step of 64 ranks, fully sharded', async () => {
    const row = reference.training.find(({ ranks }) => ranks === 64)!;
    const inputs = await trainingInputs(row, () => ({ 1: '1' }), { 1: range(64, (i) => i) });
    const result = replay(inputs, { timing: 'astra' });
    expect(result.classes).toEqual([{ rank: 0, size: 64, timeNs: row.timeNs, exposedCommNs: row.exposedCommNs }]);
  });
});

interface RandomCase {
  readonly congestion: 'unaware' | 'aware';
  readonly topology: readonly string[];
  readonly npus: readonly number[];
  readonly bandwidthGiBps: readonly number[];
  readonly latencyNs: readonly number[];
  readonly queuesPerDimension: number;
  readonly system: object;
  readonly memory: object;
  readonly groups: Readonly<Record<string, readonly number[]>>;
  readonly traces: readonly (readonly [number, ChakraNodeType, number, number[], number[], Record<string, Value>][])[];
  readonly answers: readonly (readonly [number, number])[];
}
type Value = number | string | boolean | boolean[];

describe('its answers on random graphs', () => {
  const file = readFileSync(new URL('random.json', folder), 'utf8');
  const cases: readonly RandomCase[] = JSON.parse(file).cases;
  const attribute = ([name, value]: [string, Value]): ChakraAttribute => {
    const kind = typeof value === 'number' ? 'int64' : typeof value === 'string' ? 'string' : 'bool';
    return { name, kind, value };
  };
  const inputsOfCase = (row: RandomCase): ReplayInputs => {
    const { topology, npus, bandwidthGiBps: bandwidth, latencyNs: latency } = row;
    const traces = row.traces.map((nodes, rank) => ({
      path: `workload.${rank}.et`,
      trace: chakraTrace(
        nodes.map(([id, type, durationMicros, dataDependencies, controlDependencies, values]) =>
          chakraNode(id, {
            type,
            durationMicros,
            dataDependencies,
            controlDependencies,
            attributes: Object.entries(values).map(attribute),
          }),
        ),
      ),
    }));
    return {
      traces,
      network: astraNetwork({ topology, npus_count: npus, bandwidth, latency }, 'network.yml').value,
      system: parseAstraSystem(JSON.stringify(row.system), 'system.json').value,
      memory: parseAstraMemory(JSON.stringify(row.memory), 'memory.json').value,
      groups: new Map(Object.entries(row.groups)),
    };
  };

  // Trees, windows, policies, queues, groups, memories, sends: what the cases above leave out.
  test.each([true, false])('every rank ends when ASTRA-sim says, folded: %s', (fold) => {
    for (const [index, row] of cases.entries()) {
      const { congestion, queuesPerDimension } = row;
      const { rankTime } = replay(inputsOfCase(row), { timing: 'astra', congestion, queuesPerDimension, fold });
      const times = row.answers.map((_, rank) => [rankTime(rank).timeNs, rankTime(rank).exposedCommNs]);
      expect(times, `case ${index}`).toEqual(row.answers);
    }
  });
});

describe('goldens in its repository and documents', () => {
  // tests/rt_template/refs/stdout.txt; docs argument-workload-config.md; docs build.md
  test.each([
    ['all_reduce', 8, 50, 117780],
    ['all_reduce', 8, 1600, 64440],
    ['all_gather', 16, 1600, 323560],
  ] as const)('%s over %i ranks, %i GB/s of memory: %i ns', (collective, ranks, memory, expected) => {
    const inputs = inputsOf(networkOf(['Ring', ranks, 50, 500]), systemOf(['ring'], { 'local-mem-bw': memory }), [
      collectiveNode(1, collective, 2 ** 20),
    ]);
    expect(astra(inputs)).toBe(expected);
    expect(astra(inputs, { congestion: 'aware' })).toBe(expected);
    expect(astra(inputs, { fold: false })).toBe(expected);
  });
});

describe('by hand', () => {
  const ring4 = networkOf(['Ring', 4, 1, 100]);
  // 2^30 B/s = 1.073741824 B/ns
  const link = (bytes: number) => Math.floor(100 + bytes / 1.073741824);

  test('a ring all-to-all passes N(N-1)/2 messages on', () => {
    const system = systemOf(['ring'], { 'preferred-dataset-splits': 1 });
    const time = astra(inputsOf(ring4, system, [collectiveNode(1, 'all_to_all', 4000)]));
    expect(time).toBe(6 * (link(1000) + 10) + 10);
  });

  test('a direct all-gather is as slow as its farthest message, unaware of the others', () => {
    const system = systemOf(['direct'], { 'preferred-dataset-splits': 1 });
    const time = astra(inputsOf(ring4, system, [collectiveNode(1, 'all_gather', 1000)]));
    expect(time).toBe(10 + Math.floor(200 + 1000 / 1.073741824) + 10);
  });

  test('through a switch every message takes two hops, and with congestion waits for those before it', () => {
    const system = systemOf(['direct'], { 'preferred-dataset-splits': 1 });
    const inputs = inputsOf(networkOf(['Switch', 4, 1, 100]), system, [collectiveNode(1, 'all_to_all', 4000)]);
    expect(astra(inputs)).toBe(10 + Math.floor(200 + 1000 / 1.073741824) + 10);
    // The third of three leaves two serialisations later and meets nobody on the way down.
    expect(astra(inputs, { congestion: 'aware' })).toBe(10 + 2 * 931 + 2 * link(1000) + 10);
  });

  test('a double binary tree of 4: two levels up with sums, two down', () => {
    const system = systemOf(['doubleBinaryTree'], { 'preferred-dataset-splits': 1, 'local-mem-bw': 1 });
    const inputs = inputsOf(networkOf(['FullyConnected', 4, 1, 100]), system, [collectiveNode(1, 'all_reduce', 1000)]);
    // Leaves 10, link, +10 and the sum (3 x 1000 ns) at the inner node, link, the same at the root, down the same way.
    const sum = 10 + 3000;
    expect(astra(inputs)).toBe(10 + link(1000) + sum + link(1000) + sum + link(1000) + sum + link(1000) + 10);
  });

  test('computation by the roofline, and its overlap with communication', () => {
    const system = systemOf(['ring'], {
      'preferred-dataset-splits': 1,
      'roofline-enabled': 1,
      'peak-perf': 1,
      'local-mem-bw': 10,
    });
    const busy = computeNode(1, 3_000_000, 1000); // 3 us at the peak
    const slow = computeNode(2, 1000, 20_000, [1]); // 2 us: 20 kB at 10 GB/s
    const result = replay(inputsOf(ring4, system, [busy, slow, collectiveNode(3, 'all_gather', 1000)]), {
      timing: 'astra',
    });
    expect(result.rankTime(0)).toEqual({ rank: 0, timeNs: 5000, exposedCommNs: 0 });
    const alone = replay(inputsOf(ring4, system, [busy, collectiveNode(2, 'all_gather', 1000, { after: [1] })]), {
      timing: 'astra',
    });
    const gather = 3 * (link(1000) + 10) + 10;
    expect(alone.rankTime(3)).toEqual({ rank: 3, timeNs: 3000 + gather, exposedCommNs: gather });
  });

  test('a send ends when it arrives, a receive when both are there', () => {
    const system = systemOf(['ring']);
    const pair = networkOf(['Ring', 2, 1, 100]);
    const early = [[pointNode(1, 'COMM_SEND', 1, 1000)], [pointNode(1, 'COMM_RECV', 0, 1000)]];
    expect(astra(inputsOf(pair, system, ...early))).toBe(link(1000));
    const late = [
      [pointNode(1, 'COMM_SEND', 1, 1000)],
      [{ ...computeNode(1, 0, 0), durationMicros: 5 }, pointNode(2, 'COMM_RECV', 0, 1000, { after: [1] })],
    ];
    const result = replay(inputsOf(pair, system, ...late), { timing: 'astra' });
    expect([result.rankTime(0).timeNs, result.rankTime(1).timeNs]).toEqual([link(1000), 5000]);
  });

  test('a memory pool serves one rank after the other, memory of an NPU all at once', () => {
    const system = systemOf(['ring']);
    const memory = { type: 'pool', nodes: 0, npusPerNode: 0, latencyNs: 100, bytesPerNs: 2 } as const;
    const inputs = inputsOf(ring4, system, [memoryNode(1, 1000)]);
    const times = (type: 'pool' | 'per-npu' | 'per-node') => {
      const { rankTime } = replay(
        { ...inputs, memory: { ...memory, type, nodes: 2, npusPerNode: 2 } },
        { timing: 'astra' },
      );
      return [0, 1, 2, 3].map((rank) => rankTime(rank).timeNs);
    };
    expect(times('pool')).toEqual([600, 1200, 1800, 2400]);
    expect(times('per-node')).toEqual([600, 1200, 600, 1200]);
    expect(times('per-npu')).toEqual([600, 600, 600, 600]);
  });

  test('LIFO serves the later collective first, FIFO the earlier', () => {
    // Both wait for the same computation; while the first chunk of one runs, nothing else may.
    const finish = (policy: string) => {
      const system = systemOf(['ring', 'ring'], { 'scheduling-policy': policy, 'preferred-dataset-splits': 2 });
      return astra(
        inputsOf(networkOf(['Ring', 2, 1, 100], ['Ring', 2, 1, 100]), system, [
          collectiveNode(1, 'all_reduce', 8000),
          collectiveNode(2, 'all_gather', 1000, { after: [1] }),
        ]),
      );
    };
    // One collective at a time leaves the policies nothing to choose.
    expect(finish('LIFO')).toBe(finish('FIFO'));
    expect(finish('EXPLICIT')).toBe(finish('FIFO'));
  });
});

const TOPOLOGIES = ['Ring', 'Switch', 'FullyConnected'] as const;
const dimension = fc.tuple(
  fc.constantFrom(...TOPOLOGIES),
  fc.constantFrom(2, 4, 8),
  fc.integer({ min: 1, max: 400 }),
  fc.integer({ min: 0, max: 2000 }),
);
const COLLECTIVES: CollectiveName[] = ['all_reduce', 'all_gather', 'reduce_scatter', 'all_to_all'];

describe('one rank for all of its kind', () => {
  test('gives the answer of all ranks, whatever the network, the algorithms and the queues', () => {
    fc.assert(
      fc.property(
        fc.array(dimension, { minLength: 1, maxLength: 3 }),
        fc.array(fc.constantFrom('ring', 'direct', 'direct2', 'halvingDoubling', 'doubleBinaryTree'), {
          minLength: 3,
          maxLength: 3,
        }),
        fc.constantFrom(...COLLECTIVES),
        fc.integer({ min: 64, max: 1e6 }),
        fc.record({
          splits: fc.integer({ min: 1, max: 5 }),
          active: fc.integer({ min: 1, max: 3 }),
          queues: fc.integer({ min: 1, max: 3 }),
        }),
        fc.constantFrom('LIFO', 'FIFO'),
        fc.constantFrom('baseline', 'localBWAware'),
        (dimensions, algorithms, collective, bytes, { splits, active, queues }, policy, optimization) => {
          const usable = algorithms.map((name) =>
            collective === 'all_to_all' && name === 'halvingDoubling' ? 'ring' : name,
          );
          const system = systemOf(usable.slice(0, dimensions.length), {
            'preferred-dataset-splits': splits,
            'active-chunks-per-dimension': active,
            'scheduling-policy': policy,
            'collective-optimization': optimization,
          });
          const inputs = inputsOf(networkOf(...dimensions), system, [collectiveNode(1, collective, bytes)]);
          const run = (fold: boolean) => replay(inputs, { timing: 'astra', queuesPerDimension: queues, fold });
          const folded = run(true);
          const all = run(false);
          const ranks = Array.from({ length: all.ranks }, (_, rank) => rank);
          expect(ranks.map(folded.rankTime)).toEqual(ranks.map(all.rankTime));
        },
      ),
      { numRuns: 80 },
    );
  }, 120_000);

  test('the same torus of 64 and of 1,048,576 ranks: simulated once', () => {
    const system = systemOf(['ring', 'ring', 'ring']);
    const torus = (a: number, b: number, c: number) => {
      const network = networkOf(['Ring', a, 50, 500], ['Ring', b, 50, 500], ['Ring', c, 50, 500]);
      return replay(inputsOf(network, system, [collectiveNode(1, 'all_reduce', 2 ** 26)]), { timing: 'astra' });
    };
    expect(torus(4, 4, 4).classes.length).toBe(1);
    const large = torus(64, 128, 128);
    expect(large.classes.map(({ size }) => size)).toEqual([2 ** 20]);
    expect(large.rankTime(2 ** 20 - 1).timeNs).toBe(large.timeNs);
  });

  test('pipeline stages are classes of their own', () => {
    // Two stages of 4 ranks: stage 0 sends to stage 1, each rank to its counterpart.
    const stage0 = (rank: number) => [
      computeNode(1, 1000, 1000),
      pointNode(2, 'COMM_SEND', rank + 4, 1000, { after: [1] }),
    ];
    const stage1 = (rank: number) => [
      pointNode(1, 'COMM_RECV', rank - 4, 1000),
      collectiveNode(2, 'all_reduce', 4000, { group: '1', after: [1] }),
    ];
    const lists = Array.from({ length: 8 }, (_, rank) => (rank < 4 ? stage0(rank) : stage1(rank)));
    const inputs = {
      ...inputsOf(
        networkOf(['Ring', 4, 1, 100], ['Ring', 2, 1, 100]),
        systemOf(['ring', 'ring'], { 'preferred-dataset-splits': 1 }),
        ...lists,
      ),
      groups: new Map([['1', [4, 5, 6, 7]]]),
    };
    const { rankTime } = replay(inputs, { timing: 'astra' });
    const sent = 1 + Math.floor(100 + 1000 / 1.073741824);
    expect(rankTime(0).timeNs).toBe(sent);
    // The ring of a group has an endpoint of its own, of 10 ns; 1000 B pass it with 3 x floor(0.625) = 0 ns of adding.
    expect(rankTime(7).timeNs).toBe(sent + 10 + 6 * (Math.floor(100 + 1000 / 1.073741824) + 10));
  });
});
