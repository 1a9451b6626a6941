/** Prices, power, costs and fleets: the published tables to their digits, limits by hand, bad input in one sentence. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { breakEvenPrice, costRow, saving, trainingRun, unitCost } from '../src/economics/costs.ts';
import { type FleetTarget, sizeFleet, splitFleet, sumFleets } from '../src/economics/fleet.ts';
import { goodput } from '../src/economics/goodput.ts';
import { planFleet } from '../src/economics/plan-fleet.ts';
import { planGoodput } from '../src/economics/plan-goodput.ts';
import { bestMix, shocked } from '../src/economics/portfolio.ts';
import { chipPower, footprint, throttledSpeed } from '../src/economics/power.ts';
import { chipPrice, choosePrice, givenPrice } from '../src/economics/prices.ts';
import { ramp } from '../src/economics/ramp.ts';
import { findReliability, jobMtbf } from '../src/economics/reliability.ts';
import { detourSlowdown, reroutedGoodput } from '../src/economics/reroute.ts';
import { bestServing, servingRows, servingWithin } from '../src/economics/serving.ts';
import { findChip, findSystem } from '../src/hardware/catalog.ts';
import { createCluster } from '../src/machine/cluster.ts';
import { formatsOf } from '../src/models/formats.ts';
import { modelSpec } from '../src/models/presets.ts';
import { inferencePlanMemory, rankCapacity } from '../src/workloads/inference/infer.ts';
import { inferencePlan } from '../src/workloads/inference/plan.ts';

/** Basis and date of each row of the published table: dollars per chip-hour, per BF16 and FP8 PFLOP-hour, per TB/s-hour. */
const COSTS = [
  ['trn1.32xlarge', 'on-demand', '2026-09', 1.344, 7.072, 7.072, 1.526],
  ['trn2.48xlarge', 'capacity-block', '2026-09', 2.235, 3.351, 1.721, 0.771],
  ['trn2.48xlarge', 'on-demand', '2026-09', 5.373, 8.055, 4.136, 1.853],
  ['inf2.48xlarge', 'on-demand', '2026-09', 1.082, 5.693, 5.693, 1.229],
  ['p5.48xlarge', 'on-demand', '2026-09', 6.88, 6.953, 3.477, 2.054],
  ['p5.48xlarge', 'capacity-block', '2026-09', 5.191, 5.246, 2.623, 1.55],
  ['p5en.48xlarge', 'on-demand', '2026-09', 7.912, 7.996, 3.998, 1.648],
  ['p5en.48xlarge', 'capacity-block', '2026-07', 6.865, 6.938, 3.469, 1.43],
  ['p5e.48xlarge', 'capacity-block', '2026-09', 5.97, 6.033, 3.017, 1.244],
  ['p6-b200.48xlarge', 'on-demand', '2026-09', 14.242, 6.33, 3.165, 1.78],
  ['p6-b200.48xlarge', 'capacity-block', '2026-09', 12.355, 5.491, 2.746, 1.544],
  ['p6-b300.48xlarge', 'on-demand', '2026-09', 17.802, 7.912, 3.956, 2.225],
  ['p6-b300.48xlarge', 'capacity-block', '2026-09', 14.04, 6.24, 3.12, 1.755],
  ['u-p6e-gb200x72', 'capacity-block', '2026-09', 10.582, 4.233, 2.116, 1.323],
] as const;

describe('prices', () => {
  test.each(COSTS)('%s, %s, %s: the published row', (id, basis, date, price, bf16, fp8, bandwidth) => {
    const system = findSystem(id);
    const chosen = chipPrice(system, { basis, date })!;
    const row = costRow(system, chosen);
    const digits = (value: number | null) => Math.round(value! * 1000) / 1000;
    expect([digits(chosen.usdPerChipHour), digits(row.bf16), digits(row.bandwidth)]).toEqual([price, bf16, bandwidth]);
    expect(digits(row.fp8)).toBe(fp8);
  });

  test('the newest reading at the date or before counts, later ones do not', () => {
    const at = (date: string) => choosePrice('p5en.48xlarge', { basis: 'capacity-block', date })?.usdPerHour;
    expect(at('2026-06')).toBeUndefined();
    expect(at('2026-07')).toBe(54.92);
    expect(at('2026-07-15')).toBe(54.92);
    expect(at('2026-07-14')).toBeUndefined();
    expect(at('2026-10')).toBe(63.158);
  });

  test('an UltraServer is priced by the instance with its chips, a chip without a price has none', () => {
    const price = chipPrice(findSystem('trn2-ultraserver'), { basis: 'capacity-block', date: '2026-09' })!;
    expect(price.usdPerChipHour).toBeCloseTo(35.7608 / 16, 12);
    expect(price.reason).toMatch(/trn2\.48xlarge \(16 chips\), capacity-block, us-east-2, 2026-07-15/);
    expect(chipPrice(findSystem('trn3-ultraserver-gen2'))).toBeNull();
  });

  test('spot prices are only taken when asked for', () => {
    expect(choosePrice('trn2.48xlarge', { date: '2026-11' })?.basis).not.toBe('spot');
    expect(choosePrice('trn2.48xlarge', { basis: 'spot' })?.usdPerHour).toBe(14.56);
  });

  test('savings and break-even prices of the published comparison', () => {
    const cost = (
      id: string,
      metric: 'bf16' | 'fp8' | 'bandwidth',
      basis: 'capacity-block' | 'on-demand' = 'capacity-block',
    ) => {
      const system = findSystem(id);
      return unitCost(system.chip, chipPrice(system, { basis, date: '2026-09' })!.usdPerChipHour, metric)!;
    };
    const percent = (id: string, basis?: 'on-demand') =>
      (['bf16', 'fp8', 'bandwidth'] as const).map(
        (m) => -Math.round(100 * saving(cost('trn2.48xlarge', m), cost(id, m, basis))),
      );
    expect(percent('p5.48xlarge')).toEqual([-36, -34, -50]);
    expect(percent('p5e.48xlarge')).toEqual([-44, -43, -38]);
    expect(percent('p5en.48xlarge')).toEqual([-52, -50, -46]);
    expect(percent('p5.48xlarge', 'on-demand').slice(0, 2)).toEqual([-52, -51]);
    const breakEven = (id: string) => {
      const { chip } = findSystem(id);
      const { usdPerChipHour } = chipPrice(findSystem(id), { basis: 'capacity-block', date: '2026-09' })!;
      return breakEvenPrice(findChip('trn3'), { chip, usdPerChipHour }, 'fp8', 0.5)!;
    };
    // Printed to three decimals, from a price rounded before.
    const published = { 'p5.48xlarge': 3.301, 'p5en.48xlarge': 4.366, 'p5e.48xlarge': 3.797, 'u-p6e-gb200x72': 2.663 };
    for (const [id, usd] of Object.entries(published)) expect(Math.abs(breakEven(id) - usd)).toBeLessThan(1e-3);
    const mi355x = findChip('mi355x');
    expect(breakEvenPrice(findChip('trn3'), { chip: mi355x, usdPerChipHour: 8.6 }, 'fp8', 0.5)).toBeCloseTo(2.165, 3);
  });

  test('a training run by hand: 6 P D / (N peak MFU)', () => {
    const run = trainingRun(modelSpec('llama-3.1-405b'), 15.6e12, findChip('trn2'), 16384, { mfu: 0.4 })!;
    expect(run.flops / 6 / 15.6e12).toBe(405_853_388_800);
    expect(run.time / 86400).toBeCloseTo((6 * 405_853_388_800 * 15.6e12) / (16384 * 667e12 * 0.4) / 86400, 9);
    expect(run.chipHours).toBeCloseTo((16384 * run.time) / 3600, 6);
  });
});

describe('power', () => {
  test('a Trainium2 chip draws 750 W of its UltraServer, 855 W of its building', () => {
    const power = chipPower(findSystem('trn2-ultraserver'));
    expect(power.tdp).toBe(500);
    expect(power.system).toBe(750);
    expect(power.building).toBeCloseTo(855, 9);
  });

  test('air holds a chip at its limit and slows its compute by the cube root, liquid does not', () => {
    expect(throttledSpeed(1200, 1000)).toBeCloseTo((1000 / 1200) ** (1 / 3), 12);
    const gb200 = findSystem('gb200-nvl72');
    const air = chipPower(gb200, { cooling: 'air' });
    expect(air.speed).toBeCloseTo(0.941, 3);
    expect(air.tdp).toBe(1000);
    expect(chipPower(gb200, { cooling: 'liquid' }).speed).toBe(1);
    expect(chipPower(findSystem('trn2-ultraserver'), { cooling: 'air' }).speed).toBe(1);
  });

  test('a TDP that the user gives scales the rest of the server: 1,000 W gives 1,500 W all-in', () => {
    expect(chipPower(findSystem('trn3-ultraserver-gen2'), { chipPower: 1000 }).system).toBeCloseTo(1500, 9);
  });

  test('a kilowatt-hour at 0.4 kg and 0.15 litres, PUE 1.2', () => {
    expect(footprint(3.6e6, 1.2, 0.4, 0.15)).toEqual({ carbonKg: 0.48, waterL: 0.15 });
    expect(footprint(3.6e6, 1.2)).toEqual({ carbonKg: null, waterL: null });
  });
});

describe('serving', () => {
  const options = { model: modelSpec('llama-3.1-8b'), formats: formatsOf('bf16'), input: 1000, output: 500 };

  test('the largest batch is one that memory holds, and one more is not', () => {
    const system = findSystem('trn2.3xlarge');
    const capacity = rankCapacity(createCluster(system, { rank: 'chip' }));
    const row = servingRows(system, { ...options, tpot: 1 })[0]!;
    const memory = (batch: number) =>
      inferencePlanMemory(inferencePlan({ ...options, batch, serving: 'continuous' })).total;
    const most = row.at(-1)!.batch;
    expect(memory(most)).toBeLessThanOrEqual(capacity);
    expect(memory(most + 1)).toBeGreaterThan(capacity);
    // Powers of four before it.
    expect(row.slice(0, -1).map(({ batch }) => batch)).toEqual(row.slice(0, -1).map((_, i) => 4 ** i));
  });
});

describe('fleets', () => {
  const power = (id: string, watts: number, chipWatts?: number) =>
    sizeFleet(findSystem(id), { type: 'power', watts }, { pue: 1.14, ...(chipWatts && { chipPower: chipWatts }) });

  test('2 GW: 1.67 M Trainium3 at 700 W, 1.17 M at 1,000 W, 2.34 M Trainium2', () => {
    expect(power('trn3-ultraserver-gen2', 2e9).chips).toBe(Math.floor(2e9 / (1050 * 1.14)));
    expect(power('trn3-ultraserver-gen2', 2e9, 1000).chips).toBe(Math.floor(2e9 / (1500 * 1.14)));
    expect(power('trn2-ultraserver', 2e9).chips).toBe(Math.floor(2e9 / (750 * 1.14)));
  });

  test('Project Rainier: 500,000 Trainium2 are 7,812.5 UltraServers, 333.5 EFLOPS BF16, 649.5 FP8, 428 MW', () => {
    const fleet = sizeFleet(findSystem('trn2-ultraserver'), { type: 'chips', chips: 500_000 }, { pue: 1.14 });
    expect(fleet.systems).toBe(7812.5);
    expect(fleet.wholeSystems).toBe(7812);
    expect(fleet.compute.bf16).toBeCloseTo(333.5e18, -10);
    expect(fleet.compute.fp8).toBeCloseTo(649.5e18, -10);
    expect(fleet.buildingPower! / 1e6).toBeCloseTo(427.5, 6);
  });

  test('$10 billion: 511 thousand Trainium2 chip-years', () => {
    const price = chipPrice(findSystem('trn2.48xlarge'), { basis: 'capacity-block', date: '2026-09' });
    const fleet = sizeFleet(findSystem('trn2.48xlarge'), { type: 'budget', usd: 10e9, hours: 8760 }, { price });
    expect(fleet.chips).toBe(Math.floor(10e9 / (2.23505 * 8760)));
    expect(fleet.usdPerHour! * 8760).toBeLessThanOrEqual(10e9);
  });

  test('a fleet never takes more than its target, and one chip more would', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 2e3, max: 1e10, noNaN: true }),
        fc.double({ min: 1, max: 2, noNaN: true }),
        (watts, pue) => {
          const fleet = sizeFleet(findSystem('trn2-ultraserver'), { type: 'power', watts }, { pue });
          expect(fleet.buildingPower!).toBeLessThanOrEqual(watts * (1 + 1e-12));
          expect((fleet.chips + 1) * 750 * pue).toBeGreaterThan(watts * (1 - 1e-12));
        },
      ),
    );
  });

  test('a sum with an unknown part is unknown', () => {
    const chips = (id: string) => sizeFleet(findSystem(id), { type: 'chips', chips: 1000 });
    const sum = sumFleets([chips('trn1.32xlarge'), chips('trn2-ultraserver')]);
    expect(sum.chips).toBe(2000);
    expect(sum.buildingPower).toBeNull();
    expect(sum.bf16).toBeCloseTo(1000 * (190e12 + 667e12), -6);
  });

  test('a ramp delivers week by week, stops at the target or at the limit of the site', () => {
    expect(ramp({ perWeek: 10, target: 35 })).toEqual({
      systems: [0, 10, 20, 30, 35],
      weeks: 4,
      systemHours: 60 * 168,
    });
    expect(ramp({ perWeek: 10, growth: 1, target: 70 }).systems).toEqual([0, 10, 30, 70]);
    const limited = ramp({ perWeek: 10, target: 35, limit: 25 });
    expect(limited.systems.at(-1)).toBe(25);
    expect(limited.weeks).toBeNull();
    expect(ramp({ perWeek: 0, target: 5 }).weeks).toBeNull();
  });
});

describe('mixes of suppliers', () => {
  const a = { name: 'a', cost: 1, available: 60 };
  const b = { name: 'b', cost: 2 };

  test('the cheap one first, as far as it goes', () => {
    const { mix, usdPerHour, hhi } = bestMix([a, b], 100);
    expect(mix.map(({ throughput }) => throughput)).toEqual([60, 40]);
    expect(usdPerHour).toBeCloseTo(60 + 80, 9);
    expect(hhi).toBeCloseTo(0.36 + 0.16, 12);
  });

  test('concentration falls when a second supplier is used, and no supplier is above its most', () => {
    expect(bestMix([{ name: 'a', cost: 1 }], 10).hhi).toBe(1);
    const limited = bestMix([{ name: 'a', cost: 1 }, b], 10, 0.5);
    expect(limited.hhi).toBeCloseTo(0.5, 9);
  });

  test('after a shock, moving is never dearer than staying', () => {
    const cost = fc.double({ min: 0.1, max: 10, noNaN: true });
    fc.assert(
      fc.property(fc.array(cost, { minLength: 2, maxLength: 6 }), cost, (costs, factor) => {
        const suppliers = costs.map((c, i) => ({ name: `s${i}`, cost: c }));
        const before = bestMix(suppliers, 100, 0.8);
        const after = shocked(suppliers, new Map([['s0', { price: factor }]]));
        const staying = before.mix.reduce((sum, { throughput }, i) => sum + throughput * after[i]!.cost, 0);
        expect(bestMix(after, 100, 0.8).usdPerHour).toBeLessThanOrEqual(staying * (1 + 1e-6));
        expect(before.mix.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 6);
      }),
    );
  });

  test('too little supply is an error', () => {
    expect(() => bestMix([a], 100)).toThrow('suppliers: expected supply for 100 of load, got less');
  });
});

describe('serving within a limit', () => {
  const options = { model: modelSpec('llama-3.1-8b'), formats: formatsOf('bf16'), input: 500, output: 100, tpot: 0.1 };

  test('a looser limit never serves less, and the limit is kept', () => {
    const rows = servingRows(findSystem('p5.48xlarge'), options);
    let last = 0;
    for (const limit of [0.005, 0.008, 0.01, 0.02, 0.03, 0.05, 0.1]) {
      const point = servingWithin(rows, limit);
      if (point !== null) expect(point.tpot).toBeLessThanOrEqual(limit);
      expect(point?.tokensPerSecond ?? 0).toBeGreaterThanOrEqual(last);
      last = point?.tokensPerSecond ?? 0;
    }
    expect(last).toBeGreaterThan(0);
  });

  test('a limit that nobody meets is null, not zero tokens', () => {
    expect(bestServing(findSystem('p5.48xlarge'), { ...options, tpot: 1e-6 })).toBeNull();
  });
});

describe('detours round broken links', () => {
  test('a dead link slows the all-reduce of the torus, and a job without communication not at all', () => {
    const slowdown = detourSlowdown(findSystem('trn2.48xlarge'));
    expect(slowdown).toBeGreaterThanOrEqual(1);
    expect(slowdown).toBeLessThan(10);
    const job = {
      chips: 1e5,
      reliability: findReliability('llama-3-405b'),
      write: 10,
      restart: 120,
      repair: 3600,
      slowdown,
    };
    const free = reroutedGoodput({ ...job, communication: 0 });
    // Failures of links, 35 of 419, no longer stop the job.
    const mtbf = jobMtbf(job.reliability, 1e5) / (1 - 35 / 419);
    expect(free).toBeCloseTo(goodput({ mtbf, write: 10, restart: 120 }), 12);
    expect(reroutedGoodput({ ...job, communication: 0.5 })).toBeLessThanOrEqual(free);
  });
});

describe('plans', () => {
  const load: FleetTarget = { type: 'load', tokensPerSecond: 1e6 };
  const systems = ['trn2.48xlarge', 'p5en.48xlarge'].map(findSystem);

  test('the load decides the chips, the price the rank, and the mix takes the cheapest first', () => {
    const { plans, mix } = planFleet({
      target: load,
      systems,
      tokensPerSecondPerChip: 100,
      price: { date: '2026-09', basis: 'capacity-block' },
    });
    expect(plans.map(({ system, chips }) => [system, chips])).toEqual([
      ['trn2.48xlarge', 10_000],
      ['p5en.48xlarge', 10_000],
    ]);
    expect(plans[0]!.costPerMTokUsd).toBeCloseTo((2.23505 / 3600 / 100) * 1e6, 9);
    expect(mix![0]!.mix.map(({ share }) => share)).toEqual([1, 0]);
  });

  test('a shock moves the mix: staying is dearer than moving', () => {
    const { mix } = planFleet({
      target: load,
      systems,
      tokensPerSecondPerChip: 100,
      price: { date: '2026-09', basis: 'capacity-block' },
      shocks: new Map([['trn2.48xlarge', { price: 4 }]]),
    });
    const [, staying, moving] = mix!;
    expect(moving!.usdPerHour).toBeLessThan(staying!.usdPerHour);
    expect(moving!.mix[1]!.share).toBe(1);
  });

  test('shares of a mixed fleet', () => {
    const { plans, total } = planFleet({
      target: { type: 'chips', chips: 1000 },
      systems,
      shares: new Map([
        ['trn2.48xlarge', 0.75],
        ['p5en.48xlarge', 0.25],
      ]),
    });
    expect(plans.map(({ chips }) => chips)).toEqual([750, 250]);
    expect(total!.chips).toBe(1000);
    expect(splitFleet(10, new Map([['a', 0.3]])).get('a')).toBe(3);
  });

  test('a checkpoint of a model takes 14 bytes a parameter over the bandwidth of the storage', () => {
    const { plans, checkpointBytes } = planGoodput({
      chips: [16384],
      model: modelSpec('llama-3.1-405b'),
      storage: 2e12,
    });
    expect(checkpointBytes).toBe(14 * 405_853_388_800);
    expect(plans[0]!.checkpointS).toBeCloseTo(2.841, 3);
  });
});

describe('bad input', () => {
  const trn2 = findSystem('trn2-ultraserver');
  test.each([
    [() => givenPrice(-1), '"chip-price" expected a finite number >= 0, got -1'],
    [() => chipPower(trn2, { pue: 0.9 }), '"pue" expected a finite number >= 1, got 0.9'],
    [
      () => choosePrice('trn2.48xlarge', { region: 'mars-1' }),
      /"price-region" expected one of .*us-east-1.*, got "mars-1"/,
    ],
    [
      () => choosePrice('trn2.48xlarge', { date: 'yesterday' }),
      '"price-date" expected a date such as 2026-09 or 2026-09-19, got "yesterday"',
    ],
    [() => sizeFleet(trn2, { type: 'power', watts: -5 }), '"power" expected a finite number > 0, got -5'],
    [
      () => sizeFleet(trn2, { type: 'power', watts: 5 }),
      '"power" expected what 1 to 1000000000 chips take, got that of 0',
    ],
    [
      () => sizeFleet(trn2, { type: 'load', tokensPerSecond: 1 }),
      'trn2-ultraserver: expected a throughput of a chip to divide by, got none; give --model',
    ],
    [
      () =>
        splitFleet(
          10,
          new Map([
            ['a', 0.7],
            ['b', 0.5],
          ]),
        ),
      '"share" expected shares of at most 1 together, got 1.2',
    ],
    [
      () =>
        planFleet({
          target: { type: 'chips', chips: 10 },
          systems: [trn2],
          shares: new Map([['trn2-ultraserver', 1.5]]),
        }),
      '"share of trn2-ultraserver" expected a finite number > 0 and <= 1, got 1.5',
    ],
    [() => shocked([{ name: 'a', cost: 1 }], new Map([['b', {}]])), '"shock" expected one of a, got b'],
    [
      () => sizeFleet(findSystem('inf2.48xlarge'), { type: 'power', watts: 1e6 }),
      /inf2\.48xlarge: expected a published power/,
    ],
  ])('%#', (call, message) => {
    expect(call).toThrow(message);
  });
});

describe('trnsim plan', () => {
  const command = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
  const plan = (...args: string[]) => spawnSync(process.execPath, [command, 'plan', ...args], { encoding: 'utf8' });

  test('2 GW of Trainium3: chips, UltraServers and the sources of the figures', () => {
    const { status, stdout } = plan('--power', '2GW', '--chip', 'trn3', '--pue', '1.14');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^chips +1 670 843$/m);
    expect(stdout).toMatch(/power from derived: 144 chips x 1.05 kW all-in/);
    expect(stdout).toMatch(/price from no public price of AWS Trainium3/);
    expect(stdout).toMatch(/^PUE: as given; price of electricity: official: eia$/m);
  });

  test('--json prints one document', () => {
    const { status, stdout } = plan(
      '--budget',
      '10B',
      '--system',
      'trn2.48xlarge',
      '--price-date',
      '2026-09',
      '--price-basis',
      'capacity-block',
      '--json',
    );
    expect(status).toBe(0);
    const answer = JSON.parse(stdout);
    expect(answer.schemaVersion).toBe(1);
    expect(answer.plans[0].chips).toBe(510_750);
  });

  test('power is told apart: chip, the rest of its server, sled, system, building', () => {
    const { plans } = planFleet({
      target: { type: 'chips', chips: 1000 },
      systems: [findSystem('trn3-ultraserver-gen2')],
    });
    const [{ chipW, serverKW, systemKW }] = plans as [(typeof plans)[number]];
    expect(chipW).toEqual({ tdp: 700, rest: 350, allIn: 1050, building: 1050 * 1.14 });
    expect([serverKW, systemKW]).toEqual([4.2, 151.2]);
  });

  test('--costs --model prices a million tokens, served and trained, by the chip-hour over the tokens of a chip', () => {
    const { status, stdout } = plan(
      ...['--costs', '--price-date', '2026-09', '--price-basis', 'capacity-block'],
      ...['--model', 'llama-3.1-8b', '--system', 'trn2.3xlarge,p5.48xlarge', '--tpot', '50', '--json'],
    );
    expect(status).toBe(0);
    const { plans } = JSON.parse(stdout);
    expect(plans.map((row: { system: string }) => row.system)).toEqual(['p5.48xlarge', 'trn2.3xlarge']);
    for (const { usdPerChipHour, served, trained } of plans) {
      for (const { usdPerMTok, tokensPerSPerChip } of [served, trained]) {
        expect(usdPerMTok).toBeCloseTo((usdPerChipHour / 3600 / tokensPerSPerChip) * 1e6, 9);
      }
      // Training cannot be faster than 6 FLOPs a parameter and token at the peak.
      expect(6 * 8.03e9 * trained.tokensPerSPerChip).toBeLessThan(989.5e12);
    }
  });

  test('--costs prints the table of prices and savings', () => {
    const { status, stdout } = plan('--costs', '--price-date', '2026-09', '--price-basis', 'capacity-block');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^p5en\.48xlarge +6\.865 +6\.938 +3\.469 +1\.430 +52 % +50 % +46 % +8\.731 /m);
    // The same price as the reference's, a little rounded: no negative zero.
    expect(stdout).not.toContain('-0 %');
    // 10.582 x 2517 / 5000: a chip-hour of Trainium3 that costs per FP8 PFLOP what GB200 does.
    expect(stdout).toMatch(/^u-p6e-gb200x72 .* 5\.327 +\S+ +761/m);
  });

  test('stragglers, replicas and repairs are options of the goodput table', () => {
    const options = '--goodput 100000 --slow-share 1e-5 --slowdown 1.2 --replicas 500 --resize 2 --repair 3600';
    const { status, stdout } = plan(...options.split(' '), '--json');
    expect(status).toBe(0);
    const [row] = JSON.parse(stdout).plans;
    // 1 - (1 - 1e-5)^1e5 = 0.63212
    expect(row.stragglerFactor).toBeCloseTo(1 + 0.2 * 0.63212, 5);
    expect(row.spareUnits).toBe(7);
  });

  test('failure rates of a file of the user', () => {
    const folder = mkdtempSync(join(tmpdir(), 'trnsim-'));
    const file = join(folder, 'rates.json');
    const quantity = (value: number, unit: string) => ({ value, unit, source: 'logs', kind: 'official' });
    const rates = { id: 'mine', name: 'mine', aliases: [], chips: quantity(1000, 'count'), time: quantity(10, 'd') };
    writeFileSync(file, JSON.stringify({ ...rates, components: [{ name: 'all', events: quantity(3, 'ratio') }] }));
    const { stdout } = plan('--goodput', '1000', '--reliability', file, '--json');
    // 3 failures of 1,000 chips in 10 days: one in 80 hours.
    expect(JSON.parse(stdout).plans[0].mtbfMin).toBeCloseTo(80 * 60, 9);
    writeFileSync(file, JSON.stringify({ ...rates, components: [] }));
    expect(plan('--goodput', '1000', '--reliability', file).status).toBe(2);
    rmSync(folder, { recursive: true });
  });

  test('a power of the user takes the place of one that nobody publishes', () => {
    const { stdout } = plan('--chips', '1000', '--system', 'p5.48xlarge', '--all-in-power', '1300', '--json');
    expect(JSON.parse(stdout).plans[0].itPowerMW).toBeCloseTo(1.3, 12);
  });

  test('the goodput table of a million chips', () => {
    const { status, stdout } = plan('--goodput', '16384,1000000', '--checkpoint', '1', '--restart', '30');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^1 000 000 +3\.04 .* 0\.763 +0\.7/m);
  });

  test.each([
    [['--power', '2XW'], /Expected a number such as 2000 or 1.5MW/],
    [['--power', '1MW', '--load', '5'], /"plan" expected one of --power, --budget, --load, --chips, got 2/],
    [['--chips', '10', '--chip', 'trn9'], /"chip" expected an id that "trnsim chips" lists, got "trn9"/],
    [['--chips', '1000', '--pue', '0.5'], /"pue" expected a finite number >= 1, got 0.5/],
    [
      ['--chips', '1000', '--system', 'p5.48xlarge', '--all-in-power', '300'],
      /"all-in-power" expected a finite number >= 700, got 300/,
    ],
    [['--chips', '1000', '--chip-price', '-3'], /"chip-price" expected a finite number >= 0, got -3/],
    [['--chips', '1000', '--share', 'trn2=0.9,trn3=0.9'], /"share" expected shares of at most 1 together, got 1.8/],
    [['--chips', '1000', '--price-region', 'mars'], /"price-region" expected one of/],
    [['--goodput', '0'], /"goodput" expected integer in 1..1000000000, got 0/],
    [['--goodput', '1000', '--interval', '1e9'], /"mtbf" expected a job that makes progress, got a failure every/],
    [['--goodput', '1000', '--tp', '4'], /"tp" expected with --train or --infer, got it with --goodput/],
    [['--chips', '1000', '--batch', 'x'], /"batch" expected with --infer, got it with --chips/],
    [['--train', '--max-ttft', '9'], /"max-ttft" expected with --infer, got it with --train/],
    [['--train', '--infer'], /"plan" expected one question, got --train with --infer/],
    [['--chips', '1000', '--years', '3'], /"years" expected with --budget, got 3 without one/],
    [['--chips', '1000', '--ramp-limit', '3'], /"ramp-per-week" expected with --ramp-growth, --ramp-limit and/],
    [['--chips', '1000', '--max-share', '2'], /"max-share" expected a finite number > 0 and <= 1, got 2/],
    [['--chips', '1000', '--input', '0.5', '--model', 'qwen3-0.6b'], /"input" expected integer >= 1, got 0.5/],
  ])('%j is refused in one sentence', (args, message) => {
    const { status, stdout, stderr } = plan(...args);
    expect(status).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toMatch(message);
    expect(stderr.trim().split('\n').length).toBe(1);
  });
});
