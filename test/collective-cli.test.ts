/** `trnsim collective` as a user runs it: the table, the document, the explanation, and one sentence for what is wrong. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';

const command = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'trnsim-collective-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

function run(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [command, 'collective', ...args], {
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

function json(...args: string[]): Record<string, unknown> {
  const { status, stdout, stderr } = run(...args, '--json');
  expect(stderr).toBe('');
  expect(status).toBe(0);
  return JSON.parse(stdout);
}

describe('trnsim collective', () => {
  test('prints the table of nccom-test: a row for each size, and the mean bus bandwidth', () => {
    const { status, stdout } = run(
      'all-reduce',
      '--system',
      'trn2.48xlarge',
      '--rank',
      'chip',
      '--sizes',
      '1KiB:1MiB:32',
    );
    expect(status).toBe(0);
    expect(stdout).toMatch(/size\(B\) +count\(elems\) +type +time:avg\(us\) +algbw\(GB\/s\) +busbw\(GB\/s\)\n/);
    expect(stdout).toMatch(/^ *1024 +512 +bf16 /m);
    expect(stdout).toMatch(/^1048576 +524288 +bf16 /m);
    expect(stdout).toMatch(/^Avg bus bandwidth: \d+\.\d{4}GB\/s$/m);
  });

  test('the document has the keys of the contract, and agrees with itself', () => {
    const result = json('all-reduce', '--system', 'trn2.48xlarge', '--rank', 'chip', '--fidelity', 'flow');
    expect(result).toMatchObject({ schemaVersion: 1, collective: 'all-reduce', fidelity: 'flow', ranks: 16, nodes: 1 });
    const { timeNs, algbwGBps, busbwGBps, sizeBytes, links, results } = result as Record<string, number> & {
      links: { name: string; utilization: number; peakUtilization: number }[];
      results: Record<string, unknown>[];
    };
    expect(sizeBytes).toBe(64 * 2 ** 20);
    expect(algbwGBps).toBeCloseTo(sizeBytes! / timeNs!, 6);
    expect(busbwGBps).toBeCloseTo((algbwGBps! * 30) / 16, 6);
    expect(results).toEqual([
      {
        'size(B)': sizeBytes,
        'count(elems)': sizeBytes! / 2,
        type: 'bf16',
        'time:avg(us)': timeNs! / 1e3,
        'algbw(GB/s)': algbwGBps,
        'busbw(GB/s)': busbwGBps,
      },
    ]);
    expect(links.length).toBeGreaterThan(0);
    for (const link of links) {
      expect(link.name).toMatch(/^chip\d+->chip\d+ \([xy][+-]\)$/);
      expect(link.peakUtilization).toBeLessThanOrEqual(1 + 1e-9);
      expect(link.utilization).toBeLessThanOrEqual(1);
    }
  });

  test('--explain lists the candidates with their formulas, says why one won, and its steps', () => {
    const text = run('all-reduce', '--system', 'trn2.48xlarge', '--explain').stdout;
    for (const name of ['ring', 'mesh', 'rdh', 'kangaring', 'hierarchical(mesh, rdh)'])
      expect(text).toContain(`${name}, DMA`);
    expect(text).toContain('formula, n bytes');
    expect(text).toMatch(/is \d+\.\d % faster than/);
    expect(text).toMatch(/^steps of /m);
    const { explanation } = json('all-reduce', '--system', 'hgx-h100', '--explain') as {
      explanation: { reason: string; candidates: { name: string; timeNs: number }[] };
    };
    expect(explanation.candidates.map(({ name }) => name)).toContain('switch');
    const times = explanation.candidates.map(({ timeNs }) => timeNs);
    expect(times).toEqual([...times].sort((a, b) => a - b));
  });

  test('nodes, groups, networks, alternatives and faults are taken from the flags', () => {
    const base = ['all-reduce', '--system', 'trn2.48xlarge', '--nodes', '4', '--size', '16MiB'];
    const group = json(...base, '--group', '8', '--stride', '32');
    expect(group).toMatchObject({ ranks: 256, group: { ranks: 8, stride: 32 } });
    const time = (...args: string[]) => json(...args).timeNs as number;
    expect(time(...base, '--fault', 'chip 3 slow 0.01')).toBeGreaterThan(time(...base));
    expect(time(...base, '--network', 'efa-v2')).not.toBe(time(...base));
    const gen2 = [
      'all-to-all',
      '--system',
      'trn3-ultraserver-gen2',
      '--rank',
      'chip',
      '--algorithm',
      'mesh',
      '--group',
      '4',
    ];
    expect(time(...gen2, '--alternative', 'official-x8')).toBeGreaterThan(time(...gen2));
  });

  test('a schedule of the user is timed from a file, JSON or the XML of MSCCL', () => {
    const machine = ['--system', 'trn2.48xlarge', '--ranks', '2', '--size', '1MiB'];
    const transfer = (from: number) => ({ from, to: 1 - from, chunk: 0, reduce: true });
    const swap = join(scratch, 'swap.json');
    const head = { schemaVersion: 1, name: 'swap', collective: 'all-reduce', ranks: 2, chunks: 1 };
    writeFileSync(swap, JSON.stringify({ ...head, steps: [[transfer(0), transfer(1)]] }));
    const own = json('all-reduce', ...machine, '--schedule', swap);
    expect(own).toMatchObject({ algorithm: 'swap', steps: 1 });
    // The same bytes as a ring of two, in one step instead of two: 3.3 us less.
    const ring = json('all-reduce', ...machine, '--algorithm', 'ring');
    expect((ring.timeNs as number) - (own.timeNs as number)).toBeCloseTo(3300, -1);

    const xml = join(scratch, 'gather.xml');
    const block = (id: number) => `<gpu id="${id}" i_chunks="1" o_chunks="2" s_chunks="0">
      <tb id="0" send="${1 - id}" recv="${1 - id}" chan="0">
        <step s="0" type="s" srcbuf="o" srcoff="${id}" dstbuf="o" dstoff="${id}" cnt="1" depid="-1" deps="-1" hasdep="0"/>
        <step s="1" type="r" srcbuf="o" srcoff="${1 - id}" dstbuf="o" dstoff="${1 - id}" cnt="1" depid="-1" deps="-1" hasdep="0"/>
      </tb></gpu>`;
    writeFileSync(
      xml,
      `<algo name="pair" proto="Simple" nchannels="1" nchunksperloop="2" ngpus="2" coll="allgather" inplace="1">${block(0)}${block(1)}</algo>`,
    );
    expect(json('all-gather', ...machine, '--schedule', xml, '--fidelity', 'flow')).toMatchObject({
      algorithm: 'pair',
    });

    for (const [args, word] of [
      [['all-gather', ...machine, '--schedule', swap], 'all-reduce of 2'],
      [['all-reduce', ...machine, '--schedule', swap, '--algorithm', 'ring'], 'beside a schedule'],
      [['all-reduce', ...machine, '--schedule', join(scratch, 'none.json')], 'none.json'],
    ] as const) {
      const { status, stdout, stderr } = run(...args);
      expect([status, stdout]).toEqual([2, '']);
      expect(stderr).toContain(word);
    }
  });

  test('a network of the user is read from a file', () => {
    const file = join(scratch, 'net.json');
    const number = (value: number, unit: string) => ({ value, unit, source: 'me', kind: 'derived' });
    writeFileSync(
      file,
      JSON.stringify({
        schemaVersion: 1,
        id: 'mine',
        name: 'mine',
        aliases: [],
        port: number(1000, 'Gbit/s'),
        planes: number(1, 'count'),
        latency: number(1, 'us'),
        routing: 'spray',
        tiers: [
          { name: 'tor', ports: number(64, 'count'), oversubscription: number(1, 'ratio'), latency: number(1, 'us') },
        ],
      }),
    );
    const base = ['all-reduce', '--system', 'hgx-h100', '--nodes', '2', '--size', '1KiB'];
    expect(json(...base, '--network', file).timeNs).toBeLessThan(json(...base).timeNs as number);
  });

  test.each([
    [['frobnicate', '--system', 'trn2.48xlarge'], 'frobnicate'],
    [['all-reduce'], '--system'],
    [['all-reduce', '--system', 'trn9'], 'trn9'],
    [['all-reduce', '--system', 'trn2.48xlarge', '--size', '64XB'], '64XB'],
    [
      ['all-reduce', '--system', 'trn2.48xlarge', '--size', '3'],
      '"size" expected whole elements of 2 bytes (bf16), got 3',
    ],
    [['all-reduce', '--system', 'trn2.48xlarge', '--sizes', '1:2'], '"size" expected whole elements'],
    [['all-reduce', '--system', 'trn2.48xlarge', '--sizes', '4KiB'], '"sizes" expected from:to:factor'],
    [['all-reduce', '--system', 'trn2.48xlarge', '--sizes', '1KiB:1TiB:1.001'], '"sizes" expected 1 to 256 sizes'],
    [['all-reduce', '--system', 'trn2.48xlarge', '--dtype', 'fp7'], '"dtype" expected one of fp32'],
    [['all-to-all', '--system', 'trn2.48xlarge', '--algorithm', 'rdh'], 'got rdh'],
    [['all-reduce', '--system', 'trn2.48xlarge', '--algorithm', 'magic'], 'magic'],
    [['all-reduce', '--system', 'trn2.48xlarge', '--nodes', '1', '--ranks', '65'], '65'],
    [['all-reduce', '--system', 'trn2.48xlarge', '--group', '8', '--stride', '64'], '"stride"'],
    [['all-reduce', '--system', 'trn2.48xlarge', '--stride', '64'], '"stride" expected integer in 1..63, got 64'],
    [['all-reduce', '--system', 'trn2.48xlarge', '--fault', 'chip 99 slow 0.5'], '99'],
    [['all-reduce', '--system', 'trn2.48xlarge', '--fault', 'nonsense'], 'nonsense'],
    [['all-reduce', '--system', 'inf1.24xlarge'], 'inf1.24xlarge'],
    [['all-reduce', '--system', 'inf1.2xlarge'], 'DMA bandwidth'],
    [['all-reduce', '--system', 'inf2.48xlarge', '--nodes', '2'], 'inf2.48xlarge'],
  ])('%j is one sentence that names the culprit, and exit code 2', (args, culprit) => {
    const { status, stdout, stderr } = run(...args);
    expect(stderr).toContain(culprit);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(stdout).toBe('');
    expect(status).toBe(2);
  });
});
