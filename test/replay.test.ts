/** Reading ASTRA-sim's files, what broken inputs are told, timing `trnsim`, and the verb. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import {
  type AstraTopology,
  ModelError,
  parseAstraGroups,
  parseAstraMemory,
  parseAstraNetwork,
  parseAstraSystem,
  replay,
  replayRows,
  writeChakra,
} from '../src/replay.ts';
import { EventQueue } from '../src/workloads/replay/events.ts';
import { type LinkLoad, physicalNetwork } from '../src/workloads/replay/physical.ts';
import { chakraNode, chakraTrace, collectiveNode, computeNode, memoryNode, pointNode } from './fixtures/chakra.ts';
import { inputsOf, networkOf, systemOf } from './fixtures/replay.ts';

const NETWORK =
  'topology: [ Ring, Switch ]  # two\nnpus_count: [ 4, 2 ]\nbandwidth: [ 50.0, 25 ]  # GB/s\nlatency: [ 500, 0 ]\n';

describe('the network file', () => {
  const dimensions = [
    { topology: 'Ring', npus: 4, bandwidth: 50 * 2 ** 30, latencyNs: 500 },
    { topology: 'Switch', npus: 2, bandwidth: 25 * 2 ** 30, latencyNs: 0 },
  ];

  test('its GB is 2^30 bytes', async () => {
    expect(await parseAstraNetwork(NETWORK, 'n.yml')).toEqual({ value: dimensions, warnings: [] });
  });

  test('any YAML will do: block lists, quotes, JSON', async () => {
    const block = 'topology:\n  - Ring\n  - "Switch"\nnpus_count: [4, 2]\nbandwidth: [5.0e1, 25]\nlatency: [500, 0]\n';
    const json = '{"topology":["Ring","Switch"],"npus_count":[4,2],"bandwidth":[50,25],"latency":[500,0]}';
    for (const text of [block, json]) expect((await parseAstraNetwork(text, 'n.yml')).value).toEqual(dimensions);
  });

  test('a key that nobody reads is reported', async () => {
    const { warnings } = await parseAstraNetwork(`${NETWORK}hops: [ 1, 2 ]\n`, 'n.yml');
    expect(warnings).toEqual(['n.yml: key "hops" is not read']);
  });

  test.each([
    ['', 'n.yml: topology: expected a list'],
    ['- Ring', 'n.yml: expected a map'],
    ['a: [', 'n.yml: expected YAML, but'],
    [NETWORK.replace('[ 4, 2 ]', '4'), 'n.yml: npus_count: expected a list with one entry a dimension, got 4'],
    [NETWORK.replace('[ 4, 2 ]', '[ 4 ]'), 'n.yml: npus_count: expected 2 entries, got 1'],
    [NETWORK.replace('[ 4, 2 ]', '[ 4, 1 ]'), 'n.yml: npus_count[1]: expected an integer > 1, got 1'],
    [NETWORK.replace('Switch', 'Torus'), 'n.yml: topology[1]: expected Ring, FullyConnected, Switch, got "Torus"'],
    [NETWORK.replace('25', '0'), 'n.yml: bandwidth[1]: expected a number of GB/s > 0, got 0'],
    [NETWORK.replace('500', '-1'), 'n.yml: latency[0]: expected a number of ns >= 0, got -1'],
    [NETWORK.replace('[ 4, 2 ]', '[ 100000, 100000 ]'), 'n.yml: npus_count: expected at most 1073741824 ranks'],
  ])('%j is refused', async (text, message) => {
    await expect(parseAstraNetwork(text, 'n.yml')).rejects.toThrow(ModelError);
    await expect(parseAstraNetwork(text, 'n.yml')).rejects.toThrow(message);
  });
});

describe('the other files', () => {
  test('the system file: its GB is 10^9 bytes, its algorithms by name', () => {
    const { value, warnings } = parseAstraSystem(
      JSON.stringify({
        'local-mem-bw': 1600,
        'peak-perf': 900,
        'all-reduce-implementation': ['ring', 'oneDirect7', 'halvingDoubling'],
        'boost-mode': 0,
      }),
      's.json',
    );
    expect(value).toMatchObject({
      localMemoryBandwidth: 1.6e12,
      peakFlops: 9e14,
      endpointDelayNs: 10,
      preferredDatasetSplits: 1,
      roofline: false,
    });
    expect(value.implementations['all-reduce']).toEqual([
      { algorithm: 'ring', spansAll: false },
      { algorithm: 'direct', spansAll: true, window: 7 },
      { algorithm: 'halvingDoubling', spansAll: false },
    ]);
    expect(warnings).toEqual(['s.json: key "boost-mode" is not read']);
  });

  test.each([
    ['[]', 's.json: expected a map of keys to values, got []'],
    ['{', 's.json: expected JSON'],
    ['{"scheduling-policy":"RANDOM"}', 's.json: scheduling-policy: expected one of LIFO, FIFO, EXPLICIT, got "RANDOM"'],
    ['{"endpoint-delay":-1}', 's.json: endpoint-delay: expected a number >= 0, got -1'],
    ['{"all-gather-implementation":["ring3"]}', 's.json: all-gather-implementation[0]: expected one of ring,'],
    ['{"all-gather-implementation":["constructor"]}', 's.json: all-gather-implementation[0]: expected one of'],
    ['{"all-gather-implementation":"ring"}', 's.json: all-gather-implementation: expected a list'],
    ['{"model-shared-bus":1}', 's.json: model-shared-bus: the LogGP model'],
    ['{"all-reduce-implementation-custom":["x"]}', 's.json: all-reduce-implementation-custom: custom collectives'],
  ])('the system %s is refused', (text, message) => {
    expect(() => parseAstraSystem(text, 's.json')).toThrow(ModelError);
    expect(() => parseAstraSystem(text, 's.json')).toThrow(message);
  });

  test('remote memory counts whole bytes per ns', () => {
    const file = { 'memory-type': 'MEMORY_POOL', 'remote-mem-latency': 100.7, 'remote-mem-bw': 2.9 };
    expect(parseAstraMemory(JSON.stringify(file), 'm.json').value).toMatchObject({
      type: 'pool',
      latencyNs: 100,
      bytesPerNs: 2,
    });
    expect(() => parseAstraMemory('{"memory-type":"MEMORY_POOL"}', 'm.json')).toThrow('m.json: remote-mem-bw');
    expect(() => parseAstraMemory('{"memory-type":"RAM"}', 'm.json')).toThrow('m.json: memory-type: expected one of');
  });

  test('communicator groups', () => {
    expect(parseAstraGroups('{"1":[0,2]}', 'g.json', 4).get('1')).toEqual([0, 2]);
    expect(() => parseAstraGroups('{"0":[0,2]}', 'g.json', 4)).toThrow('g.json: "0": expected a group id');
    expect(() => parseAstraGroups('{"1":[0,4]}', 'g.json', 4)).toThrow('g.json: "1": expected different ranks below 4');
    expect(() => parseAstraGroups('{"1":[2,2]}', 'g.json', 4)).toThrow('g.json: "1": expected different ranks');
  });

  test('any text gives a value or a ModelError', async () => {
    const survives = async (parse: () => unknown) => {
      try {
        await parse();
      } catch (error) {
        if (!(error instanceof ModelError)) throw error;
      }
    };
    await fc.assert(
      fc.asyncProperty(fc.string(), fc.nat(NETWORK.length), async (noise, at) => {
        await survives(() =>
          parseAstraNetwork(NETWORK.slice(0, at) + noise + NETWORK.slice(at + noise.length), 'n.yml'),
        );
        await survives(() => parseAstraSystem(noise, 's.json'));
      }),
      { numRuns: 300 },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.json(),
        fc.dictionary(fc.constantFrom('topology', 'npus_count', 'peak-perf', 'memory-type', '1'), fc.jsonValue()),
        async (text, file) => {
          for (const json of [text, JSON.stringify(file)]) {
            await survives(() => parseAstraNetwork(json, 'n.yml'));
            await survives(() => parseAstraSystem(json, 's.json'));
            await survives(() => parseAstraMemory(json, 'm.json'));
            await survives(() => parseAstraGroups(json, 'g.json', 4));
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe('traces that cannot run', () => {
  const ring = networkOf(['Ring', 2, 1, 100]);
  const system = systemOf(['ring'], { 'roofline-enabled': 1, 'peak-perf': 1 });
  const refusal = (...lists: Parameters<typeof inputsOf>[2][]) => {
    try {
      replay(inputsOf(ring, system, ...lists), { timing: 'astra' });
    } catch (error) {
      if (error instanceof ModelError) return error.message;
      throw error;
    }
    return 'none';
  };
  const after = (id: number, ...before: number[]) => chakraNode(id, { dataDependencies: before });

  test('each is one sentence that names file and node', () => {
    expect(refusal([])).toBe('workload.0.et: expected nodes, got none');
    expect(refusal([after(1), after(2, 3), after(3, 2)])).toBe(
      'workload.0.et: node 2 ("node 2") is in or behind a cycle of dependencies',
    );
    expect(refusal([after(1, 1)])).toContain('node 1 ("node 1") is in or behind a cycle');
    expect(refusal([after(1, 7)])).toBe('workload.0.et: node 1 ("node 1") waits for 7, which is no node');
    expect(refusal([after(1), after(1)])).toBe('workload.0.et: node 1 occurs twice');
    expect(refusal([computeNode(1, 1, 1)], [chakraNode(4)])).toBe(
      'workload.1.et: node 4 ("node 4"): expected the attribute tensor_size',
    );
    expect(refusal([collectiveNode(1, 'all_reduce', 100, { group: '5' })])).toBe(
      'workload.0.et: communicator group "5" is not in the group file',
    );
    expect(refusal([memoryNode(1, 100)])).toContain('the memory file says NO_MEMORY_EXPANSION');
    const barrier = chakraNode(1, { type: 'COMM_COLL', attributes: [{ name: 'comm_type', kind: 'int64', value: 9 }] });
    expect(refusal([barrier])).toBe('workload.0.et: node 1 ("node 1"): ASTRA-sim has no BARRIER');
    const unknown = chakraNode(1, { type: 'COMM_COLL', attributes: [{ name: 'comm_type', kind: 'int64', value: 77 }] });
    expect(refusal([unknown])).toContain('expected comm_type to be a collective, got 77');
  });

  test('what waits for ever is named', () => {
    const alone = refusal([pointNode(3, 'COMM_RECV', 1, 10)], [computeNode(1, 1, 1)]);
    expect(alone).toBe('workload.0.et: node 3 ("node 3"): rank 0 waits here for something that never comes');
    expect(refusal([collectiveNode(1, 'all_reduce', 100)], [computeNode(1, 1, 1)])).toContain('rank 0 waits here');
    expect(refusal([pointNode(1, 'COMM_SEND', 0, 10)])).toContain('expected another rank below 2, got 0');
    expect(refusal([pointNode(1, 'COMM_SEND', 9, 10)])).toContain('expected another rank below 2, got 9');
  });

  test('as many traces as ranks, or one', () => {
    const three = [[chakraNode(1)], [chakraNode(1)], [chakraNode(1)]];
    expect(() => replay(inputsOf(ring, system, ...three))).toThrow(
      '"traces" expected one for all or one for each of 2 ranks, got 3',
    );
  });

  test('algorithms that need a power of two say so', () => {
    const six = networkOf(['Switch', 6, 1, 100]);
    for (const name of ['halvingDoubling', 'doubleBinaryTree']) {
      const inputs = inputsOf(six, systemOf([name]), [collectiveNode(1, 'all_reduce', 6000)]);
      expect(() => replay(inputs)).toThrow(`${name} needs 2^n ranks, got 6`);
    }
  });

  test('control dependencies hold, or do not', () => {
    const nodes = [
      chakraNode(1, { durationMicros: 3 }),
      chakraNode(2, {
        durationMicros: 5,
        controlDependencies: [1],
        attributes: [{ name: 'is_cpu_op', kind: 'int32', value: 1 }],
      }),
    ];
    const inputs = inputsOf(ring, systemOf(['ring']), nodes);
    expect(replay(inputs, { timing: 'astra' }).timeNs).toBe(8000);
    expect(replay(inputs, { timing: 'astra', controlDependencies: false }).timeNs).toBe(5000);
  });
});

describe('timing trnsim', () => {
  test('direct on a switch moves no more than the links carry, where ASTRA-sim moves all at once', () => {
    // 144 ranks at 200 GB/s (2^30): 143 messages of 64 MiB / 144 leave each rank by one link.
    const system = systemOf(['direct'], { 'preferred-dataset-splits': 1 });
    const inputs = inputsOf(networkOf(['Switch', 144, 200, 500]), system, [collectiveNode(1, 'all_to_all', 2 ** 26)]);
    const bound = ((143 * Math.floor(2 ** 26 / 144)) / (200 * 2 ** 30)) * 1e9;
    expect(replay(inputs, { timing: 'astra' }).timeNs).toBeLessThan(bound / 90);
    const { timeNs } = replay(inputs);
    expect(timeNs).toBeGreaterThanOrEqual(bound);
    expect(timeNs).toBeLessThan(bound * 1.02 + 2000);
  });

  test('a ring gives what the closed form of single links gives', () => {
    const system = systemOf(['ring'], { 'preferred-dataset-splits': 1, 'endpoint-delay': 0 });
    const inputs = inputsOf(networkOf(['Ring', 8, 50, 500]), system, [collectiveNode(1, 'all_gather', 2 ** 20)]);
    expect(replay(inputs).timeNs).toBe(7 * (500 + Math.ceil(2 ** 20 / ((50 * 2 ** 30) / 1e9))));
  });

  test('a message through two dimensions goes at the rate of the slower, after the latencies of both', () => {
    const queue = new EventQueue();
    const network = physicalNetwork(networkOf(['Ring', 4, 1, 100], ['Ring', 4, 4, 1000]), queue, false);
    let arrival = 0;
    network.send(0, 5, 10_000, () => {
      arrival = queue.now;
    });
    queue.run();
    expect(arrival).toBe(100 + 1000 + Math.ceil(10_000 / 1.073741824));
  });

  test('no link carries more than its rate while it is busy, whatever is sent', () => {
    const shapes = fc.array(
      fc.tuple(
        fc.constantFrom<AstraTopology>('Ring', 'Switch', 'FullyConnected'),
        fc.integer({ min: 2, max: 5 }),
        fc.integer({ min: 1, max: 100 }),
        fc.integer({ min: 0, max: 900 }),
      ),
      { minLength: 1, maxLength: 3 },
    );
    const messages = fc.array(fc.tuple(fc.nat(), fc.nat(), fc.integer({ min: 1, max: 1e6 }), fc.nat(5000)), {
      maxLength: 40,
    });
    fc.assert(
      fc.property(shapes, messages, (dimensions, list) => {
        const network = networkOf(...dimensions);
        const ranks = network.reduce((product, { npus }) => product * npus, 1);
        const queue = new EventQueue();
        const loads = new Map<string, LinkLoad>();
        const { send } = physicalNetwork(network, queue, false, loads);
        for (const [from, to, bytes, time] of list) {
          if (from % ranks !== to % ranks) queue.at(time, () => send(from % ranks, to % ranks, bytes, () => {}));
        }
        queue.run();
        for (const [link, { bytes, busyNs }] of loads) {
          const { bandwidth } = network[Number(link[0])]!;
          expect(bytes).toBeLessThanOrEqual((bandwidth / 1e9) * busyNs);
          expect(busyNs).toBeLessThanOrEqual(queue.now);
        }
      }),
    );
  });

  test('work without bytes takes its time at the peak, and a group of one costs nothing', () => {
    const system = systemOf(['ring'], { 'roofline-enabled': 1, 'peak-perf': 1 });
    const network = networkOf(['Ring', 2, 1, 100]);
    const compute = inputsOf(network, system, [computeNode(1, 5_000_000, 0)]);
    expect(replay(compute).timeNs).toBe(5000);
    expect(replay(compute, { timing: 'astra' }).timeNs).toBe(0);
    const nodes = (group: string) => [
      computeNode(1, 5_000_000, 10),
      collectiveNode(2, 'all_reduce', 100, { group, after: [1] }),
    ];
    const inputs = {
      ...inputsOf(network, system, nodes('1'), nodes('2')),
      groups: new Map([
        ['1', [0]],
        ['2', [1]],
      ]),
    };
    expect(replay(inputs).timeNs).toBe(5000);
    expect(() => replay(inputs, { timing: 'astra' })).toThrow('a collective of one rank: in ASTRA-sim it never ends');
  });

  test('more data never takes less time', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('ring', 'direct'),
        fc.integer({ min: 1, max: 1e7 }),
        fc.integer({ min: 1, max: 1e6 }),
        (name, bytes, more) => {
          const time = (size: number) =>
            replay(
              inputsOf(networkOf(['Ring', 4, 50, 500], ['Switch', 3, 20, 700]), systemOf([name, name]), [
                collectiveNode(1, 'all_reduce', size),
              ]),
            ).timeNs;
          // Chunks are rounded up to whole bytes: a few ns of them.
          expect(time(bytes + more)).toBeGreaterThanOrEqual(time(bytes) - 64);
        },
      ),
      { numRuns: 100 },
    );
  });
});

describe('trnsim replay', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'trnsim-replay-'));
  afterAll(() => rmSync(scratch, { recursive: true, force: true }));
  const command = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
  const write = (name: string, content: string | Uint8Array) => {
    const path = join(scratch, name);
    writeFileSync(path, content);
    return path;
  };
  const network = write('network.yml', 'topology: [ Ring ]\nnpus_count: [ 8 ]\nbandwidth: [ 50 ]\nlatency: [ 500 ]\n');
  const keys = { 'preferred-dataset-splits': 4, 'local-mem-bw': 50, 'all-reduce-implementation': ['ring'] };
  const system = write('system.json', JSON.stringify(keys));
  const et = writeChakra(chakraTrace([collectiveNode(1, 'all_reduce', 2 ** 20)]));
  const single = write('all.et', et);
  const run = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [command, 'replay', '--network', network, '--system', system, ...args],
      { encoding: 'utf8' },
    );
    return { status, stdout, stderr };
  };

  test("the golden, in ASTRA-sim's words", () => {
    const { status, stdout, stderr } = run('--workload', single, '--timing', 'astra');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const lines = stdout.trimEnd().split('\n');
    expect(lines.length).toBe(8);
    expect(lines[0]).toBe('sys[0] finished, 117780 cycles, exposed communication 117780 cycles.');
  });

  test('one JSON document, from a file for each rank, some of them compressed', () => {
    for (let rank = 0; rank < 8; rank++) write(`w.${rank}.et`, rank % 2 === 0 ? et : gzipSync(et));
    const { status, stdout } = run('--workload', join(scratch, 'w'), '--timing', 'astra', '--json');
    expect(status).toBe(0);
    const perRank = Array.from({ length: 8 }, (_, rank) => ({ rank, timeNs: 117780, exposedCommNs: 117780 }));
    expect(JSON.parse(stdout)).toEqual({
      schemaVersion: 1,
      timing: 'astra',
      ranks: 8,
      timeNs: 117780,
      perRank,
      warnings: [],
    });
  });

  test('bad input ends with 2 and one sentence that names the file', () => {
    rmSync(join(scratch, 'w.5.et'), { force: true });
    const missing = run('--workload', join(scratch, 'w'));
    expect(missing.status).toBe(2);
    expect(missing.stderr).toBe(`trnsim: ${join(scratch, 'w.5.et')}: expected a Chakra trace to read, got ENOENT\n`);
    const cut = write('cut.et', Uint8Array.from([...et.subarray(0, 8), 0x80]));
    expect(run('--workload', cut)).toEqual({
      status: 2,
      stdout: '',
      stderr: `trnsim: ${cut}: truncated varint at byte 8\n`,
    });
    const broken = write('broken.et', gzipSync(et).subarray(0, 20));
    expect(run('--workload', broken).stderr).toContain(`${broken}: expected a Chakra trace to read, got`);
    expect(run('--workload', single, '--congestion', 'some').status).toBe(2);
  });

  test('above 4096 ranks a row stands for all that are alike', () => {
    const inputs = inputsOf(networkOf(['Ring', 128, 50, 500], ['Ring', 64, 50, 500]), systemOf(['ring', 'ring']), [
      collectiveNode(1, 'all_reduce', 2 ** 20),
    ]);
    const rows = replayRows(replay(inputs));
    expect(rows.length).toBe(1);
    expect(rows[0]).toMatchObject({ rank: 0, ranks: 8192 });
  });
});
