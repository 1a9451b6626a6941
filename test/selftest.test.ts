/** The bring-up: passes on the presets, finds what is broken, refuses what it can't test. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { parseFault } from '../src/fabric/faults.ts';
import { findSystem, systemFromJson, systems } from '../src/hardware/catalog.ts';
import { selfTest } from '../src/workloads/selftest/selftest.ts';

describe('the bring-up', () => {
  test.each(systems().map(({ id }) => id))('of %s fails nowhere', (id) => {
    const result = selfTest({ system: findSystem(id) });
    expect(result.checks.filter(({ ok }) => ok === false)).toEqual([]);
    expect(result.ok).toBe(true);
    expect(result.passed + result.failed + result.skipped).toBe(result.checks.length);
    expect(result.timeNs).toBeGreaterThan(0);
    for (const { ok, detail, timeNs } of result.checks) {
      expect(detail).not.toBe('');
      expect(timeNs).toBeGreaterThanOrEqual(0);
      if (ok === true) expect(detail).not.toMatch(/not published/);
    }
  });

  const trn2 = selfTest({ system: findSystem('trn2.48xlarge') });

  test('covers every engine, memory, torus direction and collective of Trainium2', () => {
    const names = trn2.checks.map(({ name }) => name.split(' ')[0]);
    for (const part of [
      'TensorE',
      'VectorE',
      'ScalarE',
      'GpSimdE',
      'DMA',
      'SBUF',
      'PSUM',
      'HBM',
      'x+',
      'y-',
      'all-reduce',
      'all-to-all',
    ]) {
      expect(names).toContain(part);
    }
  });

  test('HBM takes the time of writing and reading the whole memory twice: 4 x 96 GiB / 2.9 TB/s', () => {
    const hbm = trn2.checks.find(({ name }) => name === 'HBM')!;
    expect(hbm.timeNs).toBeCloseTo(((4 * 96 * 2 ** 30) / 2.9e12) * 1e9, 3);
    expect(hbm.energyJ).toBeCloseTo((13_500 * hbm.timeNs) / 1e9, 6);
  });

  test('no link is left out: 64 in each direction of the 4x4x4 torus', () => {
    const links = selfTest({ system: findSystem('trn2-ultraserver') }).checks.filter(({ part }) => part === 'link');
    expect(links.map(({ name, detail }) => `${name} ${detail.split(' ')[0]}`)).toEqual(
      ['x+', 'x-', 'y+', 'y-', 'z+', 'z-'].map((name) => `${name} 64`),
    );
  });
});

describe('what is broken is found', () => {
  const broken = (...faults: string[]) =>
    selfTest({ system: findSystem('trn2.48xlarge'), faults: faults.flatMap(parseFault) });

  test('a dead link, a slow one and a slow chip, by name', () => {
    const { ok, checks } = broken('chip0->chip1', 'chip4<->chip8 slow 0.5', 'chip 5 slow 0.8');
    expect(ok).toBe(false);
    const failed = checks.filter((check) => check.ok === false).map(({ name, detail }) => `${name}: ${detail}`);
    expect(failed).toEqual([
      'chip 5: runs at 80 % of its speed',
      'x+: 1 of 16: chip0->chip1 (x+) is dead',
      'y+: 1 of 16: chip4->chip8 (y+) has 50 % of its rate',
      'y-: 1 of 16: chip8->chip4 (y-) has 50 % of its rate',
    ]);
  });

  test('collectives still give the right sums over a detour', () => {
    const { checks } = broken('chip0<->chip1');
    expect(checks.filter(({ part }) => part === 'collective').every(({ ok }) => ok)).toBe(true);
  });
});

describe('trnsim selftest', () => {
  const command = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
  const selftest = (...args: string[]) =>
    spawnSync(process.execPath, [command, 'selftest', ...args], { encoding: 'utf8' });

  test('--json prints one document and exits with 0', () => {
    const { status, stdout } = selftest('trn2.3xlarge', '--json');
    expect(status).toBe(0);
    const answer = JSON.parse(stdout);
    expect(answer.ok).toBe(true);
    expect(answer.checks[0]).toHaveProperty('energyJ');
  });

  test('a failed check exits with 3', () => {
    const { status, stdout } = selftest('trn2.48xlarge', '--fault', 'chip0<->chip1');
    expect(status).toBe(3);
    expect(stdout).toMatch(/^link +x\+ +FAIL/m);
  });

  test.each([
    [['trn9'], /"system" expected an id that "trnsim systems" lists, got "trn9"/],
    [
      ['trn2.48xlarge', '--fault', 'chip99->chip1'],
      /"fault" expected ends of links of 1 x trn2\.48xlarge, chip0 to chip15, got "chip99"/,
    ],
    [['trn2.48xlarge', '--fault', 'broken'], /"fault" expected one such as/],
  ])('%j is refused in one sentence', (args, message) => {
    const { status, stderr } = selftest(...args);
    expect(status).toBe(2);
    expect(stderr).toMatch(message);
  });

  test('a described system of more chips than can be tested is refused before anything is run', () => {
    const size = (value: number) => ({ value, unit: 'count', source: 'test', kind: 'derived' });
    const rate = { value: 50, unit: 'GB/s', source: 'test', kind: 'derived' };
    const latency = { value: 1, unit: 'us', source: 'test', kind: 'derived' };
    const level = { name: 'all', kind: 'switch', groupSize: size(512), bandwidth: rate, latency };
    const unknown = (unit: string) => ({ value: null, unit, source: 'test', kind: 'unknown' });
    const system = systemFromJson(
      {
        schemaVersion: 1,
        id: 'big',
        name: 'Big',
        aliases: [],
        vendor: 'test',
        chip: 'trn2',
        chips: size(512),
        fabric: { type: 'switched', levels: [level] },
        scaleOut: unknown('Gbit/s'),
        power: unknown('W'),
      },
      'big.json',
    );
    expect(() => selfTest({ system })).toThrow('big: expected a system of at most 256 chips, got 512');
  });
});
