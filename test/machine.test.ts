import { describe, expect, test } from 'vitest';
import type { Cluster } from '../src/fabric/cluster.ts';
import { findSystem, systems } from '../src/hardware/catalog.ts';
import type { SystemSpec } from '../src/hardware/spec.ts';
import { type ClusterOptions, createCluster } from '../src/machine/cluster.ts';
import { placeInHbm } from '../src/machine/memory.ts';
import { rankLayout } from '../src/machine/ranks.ts';

function machine(system: string, options?: ClusterOptions): Cluster {
  return createCluster(findSystem(system), options);
}

function chipsOf({ ranks, chipOf }: Cluster): number[] {
  return Array.from({ length: ranks }, (_, rank) => chipOf(rank));
}

function refusal(system: SystemSpec, options?: ClusterOptions): unknown {
  try {
    createCluster(system, options);
  } catch (error) {
    return error;
  }
  throw new Error(`${system.id} made a machine`);
}

describe('ranks', () => {
  test.each([
    // 16 chips of 2 cores, no logical pairs
    { system: 'trn1.32xlarge', options: {}, ranks: 32, perChip: 2, cores: 1 },
    // 16 chips of 8 cores in pairs
    { system: 'trn2.48xlarge', options: {}, ranks: 64, perChip: 4, cores: 2 },
    { system: 'trn2.48xlarge', options: { lnc: 1 }, ranks: 128, perChip: 8, cores: 1 },
    { system: 'trn2.48xlarge', options: { lnc: 2 }, ranks: 64, perChip: 4, cores: 2 },
    { system: 'trn2.48xlarge', options: { rank: 'chip' }, ranks: 16, perChip: 1, cores: 8 },
    { system: 'trn1.32xlarge', options: { rank: 'chip' }, ranks: 16, perChip: 1, cores: 2 },
    { system: 'trn3-ultraserver-gen2', options: {}, ranks: 576, perChip: 4, cores: 2 },
    { system: 'inf2.24xlarge', options: {}, ranks: 12, perChip: 2, cores: 1 },
    { system: 'trn2.3xlarge', options: { rank: 'chip' }, ranks: 1, perChip: 1, cores: 8 },
  ] as const)('$system with $options has $ranks of $cores cores', ({ system, options, ranks, perChip, cores }) => {
    const m = machine(system, options);
    expect(m.ranks).toBe(ranks);
    expect(m.ranksPerChip).toBe(perChip);
    expect(rankLayout(m.system.chip, options).coresPerRank).toBe(cores);
    expect(chipsOf(m)).toEqual(Array.from({ length: ranks }, (_, rank) => Math.floor(rank / perChip)));
  });

  test('the first ranks of a system fill one chip after another', () => {
    const m = machine('trn2.48xlarge', { ranks: 6 });
    expect(chipsOf(m)).toEqual([0, 0, 0, 0, 1, 1]);
    expect(m.scaleUp.chips).toBe(16); // idle chips still carry traffic
  });

  test.each([
    [{ ranks: 0 }, '"ranks" expected integer in 1..4194304, got 0'],
    [{ ranks: 1.5 }, '"ranks" expected integer in 1..4194304, got 1.5'],
    [{ ranks: 65, nodes: 1 }, '"ranks" expected integer in 1..64, got 65'],
    [{ rank: 'chip', ranks: 17, nodes: 1 }, '"ranks" expected integer in 1..16, got 17'],
    [{ lnc: 3 }, '"lnc" expected integer in 1..2, got 3'],
    [{ rank: 'node' }, '"rank" expected one of core, chip, got "node"'],
  ])('%o is refused on trn2.48xlarge', (options, message) => {
    expect(refusal(findSystem('trn2.48xlarge'), options as ClusterOptions)).toEqual(new RangeError(message));
  });

  test('cores of Trainium1 do not pair', () => {
    const message = /^"lnc" expected 1 on .*Trainium.*, got 2$/;
    expect(refusal(findSystem('trn1.32xlarge'), { lnc: 2 })).toMatchObject({
      name: 'RangeError',
      message: expect.stringMatching(message),
    });
  });
});

describe('HBM', () => {
  test('the ranks of a chip share its memory', () => {
    // 4 ranks of 24 GiB fill the 96 GiB of a Trainium2.
    const m = machine('trn2.48xlarge');
    expect(placeInHbm(m, 24 * 2 ** 30)).toEqual({ chipBytes: 96 * 2 ** 30, capacity: 96 * 2 ** 30 });
    expect(placeInHbm(machine('trn2.48xlarge', { ranks: 2 }), 48 * 2 ** 30).chipBytes).toBe(96 * 2 ** 30);
    expect(placeInHbm(machine('trn2.48xlarge', { rank: 'chip' }), 96 * 2 ** 30).chipBytes).toBe(96 * 2 ** 30);
  });

  test('one byte too many is an error that says where, how much and how much too many', () => {
    const bytes = 24 * 2 ** 30 + 1; // 25769803777, times 4 is 4 more than 96 GiB = 103079215104
    expect(() => placeInHbm(machine('trn2.48xlarge'), bytes)).toThrow(
      expect.objectContaining({
        code: 'CAPACITY',
        path: 'trn2.48xlarge: HBM',
        message:
          'trn2.48xlarge: HBM: expected at most 103079215104 bytes on a chip, got 103079215108 (4 ranks of 25769803777), 4 too many',
      }),
    );
  });

  test('the error counts the ranks that are in use, not those that the chip could have', () => {
    const m = machine('trn2.48xlarge', { ranks: 1 });
    expect(() => placeInHbm(m, 2 ** 40)).toThrow(/got 1099511627776 \(1 rank of 1099511627776\)/);
  });

  test('a chip of unknown memory is refused', () => {
    const system = findSystem('trn2.48xlarge');
    const chip = { ...system.chip, memory: { ...system.chip.memory, capacity: null } };
    expect(() => placeInHbm(createCluster({ ...system, chip }), 1)).toThrow(/published memory size/);
  });
});

describe('the catalogue', () => {
  test('refuses systems without published links', () => {
    expect(refusal(findSystem('inf1.24xlarge'))).toMatchObject({ code: 'TOPOLOGY', path: 'inf1.24xlarge' });
  });

  const complete = systems().filter(
    ({ chip, fabric }) => chip.cores !== null && chip.core?.dma != null && fabric !== null,
  );

  test('describes the fabric and engines of all Trainium and Inferentia2 systems', () => {
    const expected = systems().filter(({ id }) => /^(trn|inf2)/.test(id));
    expect(complete.map(({ id }) => id)).toEqual(expected.map(({ id }) => id));
    expect(complete.length).toBeGreaterThanOrEqual(14);
  });

  test.each(complete.map(({ id }) => id))('%s makes a machine, of cores and of chips', (id) => {
    for (const rank of ['core', 'chip'] as const) {
      const m = machine(id, { rank });
      expect(new Set(chipsOf(m)).size).toBe(m.system.chips);
      const { coresPerRank } = rankLayout(m.system.chip, { rank });
      expect(m.ranks * coresPerRank).toBe(m.system.chips * m.system.chip.cores!);
    }
  });
});
