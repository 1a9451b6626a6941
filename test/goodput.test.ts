/** Goodput: the published table to its last digit, the formulas against Monte Carlo, and the limits by hand. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { uniformStream } from '../src/base/random.ts';
import {
  bestInterval,
  elasticGoodput,
  goodput,
  segmentTime,
  sparesFor,
  stragglerFactor,
} from '../src/economics/goodput.ts';
import { simulateElasticGoodput, simulateGoodput } from '../src/economics/goodput-simulation.ts';
import { componentMtbf, findReliability, jobMtbf } from '../src/economics/reliability.ts';
import { philox } from '../src/kernels/reference/random.ts';

/** chips, profile, MTBF in minutes, write, restart, best interval, goodput: as printed. */
const TABLE = `
16384 llama-3-405b 185.58 60 600 1118 0.853
16384 llama-3-405b 185.58 10 120 465 0.948
16384 llama-3-405b 185.58 1 30 148 0.984
16384 rsc-2 300.48 60 600 1432 0.89
16384 rsc-2 300.48 10 120 593 0.961
16384 rsc-2 300.48 1 30 189 0.988
100000 llama-3-405b 30.41 60 600 429 0.551
100000 llama-3-405b 30.41 10 120 185 0.842
100000 llama-3-405b 30.41 1 30 60 0.951
100000 rsc-2 49.23 60 600 556 0.663
100000 rsc-2 49.23 10 120 237 0.883
100000 rsc-2 49.23 1 30 76 0.964
500000 llama-3-405b 6.08 60 600 171 0.102
500000 llama-3-405b 6.08 10 120 79 0.564
500000 llama-3-405b 6.08 1 30 26 0.855
500000 rsc-2 9.85 60 600 228 0.222
500000 rsc-2 9.85 10 120 102 0.675
500000 rsc-2 9.85 1 30 34 0.896
1000000 llama-3-405b 3.04 60 600 111 0.015
1000000 llama-3-405b 3.04 10 120 54 0.365
1000000 llama-3-405b 3.04 1 30 18 0.763
1000000 rsc-2 4.92 60 600 151 0.064
1000000 rsc-2 4.92 10 120 70 0.508
1000000 rsc-2 4.92 1 30 24 0.831
`
  .trim()
  .split('\n')
  .map((line) => line.split(' '));

describe('the table of one synchronous job', () => {
  test.each(TABLE)('%s chips at the rate of %s: MTBF %s min, write %s s, restart %s s', (...row) => {
    const [chips, profile, minutes, write, restart, interval, printed] = row as [string, string, ...string[]];
    const mtbf = jobMtbf(findReliability(profile), Number(chips));
    const job = { mtbf, write: Number(write), restart: Number(restart) };
    expect((mtbf / 60).toFixed(2)).toBe(minutes);
    // The printed interval was found on a grid: within 0.5 % of the exact one, and no better.
    expect(Math.abs(bestInterval(job) - Number(interval))).toBeLessThan(0.5 + 0.005 * Number(interval));
    expect(goodput(job)).toBeGreaterThanOrEqual(goodput(job, Number(interval)));
    expect(Number(goodput(job).toFixed(3))).toBe(Number(printed));
    expect(Number(goodput(job, Number(interval)).toFixed(3))).toBe(Number(printed));
  });

  test.each(TABLE)('%s chips at the rate of %s: Monte Carlo agrees within 2 %%', (...row) => {
    const [chips, profile, , write, restart] = row;
    const mtbf = jobMtbf(findReliability(profile!), Number(chips));
    const job = { mtbf, write: Number(write), restart: Number(restart) };
    const simulated = simulateGoodput(job);
    expect(Math.abs(simulated.goodput / goodput(job) - 1)).toBeLessThan(0.02);
    expect(Math.abs(simulated.goodput - goodput(job))).toBeLessThan(4 * simulated.standardError);
  });
});

describe('the formula', () => {
  const job = fc.record({
    mtbf: fc.double({ min: 10, max: 1e7, noNaN: true }),
    write: fc.double({ min: 0.01, max: 100, noNaN: true }),
    restart: fc.double({ min: 0, max: 1000, noNaN: true }),
  });

  test('the best interval is better than its neighbours and than the first-order one', () => {
    fc.assert(
      fc.property(job, (j) => {
        const best = bestInterval(j);
        const time = (interval: number) => segmentTime(j, interval) / interval;
        const least = time(best) * (1 - 1e-9);
        for (const other of [0.9 * best, 1.1 * best, Math.sqrt(2 * j.write * j.mtbf)]) {
          expect(time(other)).toBeGreaterThanOrEqual(least);
        }
      }),
    );
  });

  test('without failures only the checkpoints cost: D / (D + w)', () => {
    expect(goodput({ mtbf: 1e12, write: 60, restart: 600 }, 540)).toBeCloseTo(0.9, 6);
  });

  test('more chips, slower checkpoints and slower restarts never help', () => {
    fc.assert(
      fc.property(job, fc.double({ min: 1, max: 10, noNaN: true }), (j, k) => {
        const base = goodput(j);
        expect(goodput({ ...j, mtbf: j.mtbf / k })).toBeLessThanOrEqual(base + 1e-12);
        expect(goodput({ ...j, write: j.write * k })).toBeLessThanOrEqual(base + 1e-12);
        expect(goodput({ ...j, restart: j.restart * k })).toBeLessThanOrEqual(base + 1e-12);
        expect(base).toBeLessThan(1);
      }),
    );
  });

  test('a job that can never restart has goodput 0, not NaN', () => {
    expect(goodput({ mtbf: 1, write: 1, restart: 1e6 })).toBe(0);
  });

  test('the rates of the components add up to the rate of the job', () => {
    const profile = findReliability('llama3');
    const rates = componentMtbf(profile, 16384).map(({ mtbf }) => 1 / mtbf);
    expect(rates.reduce((a, b) => a + b, 0)).toBeCloseTo(1 / jobMtbf(profile, 16384), 12);
    expect(rates[0]! * 54 * 86400).toBeCloseTo(148, 9);
  });
});

describe('elastic data parallelism and spares', () => {
  test.each([
    { mtbf: 365, replicas: 64, repair: 3600, resize: 5 },
    { mtbf: 182, replicas: 500, repair: 86400, resize: 2 },
    { mtbf: 11135, replicas: 8, repair: 7200, resize: 30 },
  ])('formula and Monte Carlo agree: %o', (job) => {
    const simulated = simulateElasticGoodput(job);
    expect(Math.abs(simulated.goodput / elasticGoodput(job) - 1)).toBeLessThan(0.02);
  });

  test('goes on at a million chips where checkpoints of a minute cannot', () => {
    const mtbf = jobMtbf(findReliability('llama-3-405b'), 1e6);
    expect(elasticGoodput({ mtbf, replicas: 1000, repair: 3600, resize: 1 })).toBeGreaterThan(0.9);
    expect(goodput({ mtbf, write: 60, restart: 600 })).toBeLessThan(0.02);
  });

  test('spares: the Poisson tail by hand', () => {
    // Mean 1: P(>= 1) = 0.632, P(>= 2) = 0.264, P(>= 3) = 0.0803, P(>= 4) = 0.01899, P(>= 5) = 0.00366.
    expect(sparesFor(100, 100, 0.3)).toBe(2);
    expect(sparesFor(100, 100, 0.02)).toBe(4);
    expect(sparesFor(100, 100, 0.01)).toBe(5);
    expect(sparesFor(100, 0, 0.01)).toBe(0);
    // Mean 480: about 480 + 2.33 sqrt(480).
    expect(sparesFor(180, 86400, 0.01)).toBe(533);
  });

  test('with enough spares nobody waits, with one that takes long almost everybody does', () => {
    const job = { mtbf: 3600, write: 10, restart: 60 };
    const repair = 36_000;
    const enough = simulateGoodput(job, { spares: { units: sparesFor(3600, repair, 1e-6), repair } });
    expect(enough.spareWait).toBeLessThan(1);
    expect(enough.goodput).toBeCloseTo(simulateGoodput(job).goodput, 3);
    const one = simulateGoodput(job, { spares: { units: 1, repair }, events: 5000 });
    expect(one.goodput).toBeLessThan(0.2);
  });

  test('a synchronous step waits for the slowest chip', () => {
    expect(stragglerFactor(1, 0.1, 2)).toBeCloseTo(1.1, 12);
    // 1 - 0.99^100 = 0.63397
    expect(stragglerFactor(100, 0.01, 1.5)).toBeCloseTo(1 + 0.5 * 0.6339676587, 9);
    expect(stragglerFactor(1e6, 1e-4, 1.2)).toBeCloseTo(1.2, 9);
  });
});

describe('bad input', () => {
  test.each([
    [() => goodput({ mtbf: 0, write: 1, restart: 1 }), '"mtbf" expected a finite number > 0, got 0'],
    [() => goodput({ mtbf: 1, write: 1, restart: -1 }), '"restart" expected a finite number >= 0, got -1'],
    [() => goodput({ mtbf: 1, write: 1, restart: 1 }, Number.NaN), '"interval" expected a finite number > 0, got NaN'],
    [() => jobMtbf(findReliability('rsc-1'), 0), '"chips" expected integer >= 1, got 0'],
    [() => findReliability('rsc-9'), /"reliability" expected .* nearest: rsc-1/],
    [
      () => simulateGoodput({ mtbf: 1, write: 1, restart: 60 }),
      /"mtbf" expected a job that makes progress, got a failure every 1 s beside .* and 1 s of checkpoint/,
    ],
    [() => elasticGoodput({ mtbf: 1, replicas: 1, repair: 1, resize: 1 }), /"replicas" expected integer >= 2/],
  ])('%#', (call, message) => {
    expect(call).toThrow(message);
  });
});

describe('random numbers', () => {
  test('are those of Philox4x32-10', () => {
    const next = uniformStream(2 ** 32 + 7, 5);
    const words = [0, 1].flatMap((counter) => philox([counter, 0, 5, 0], [7, 1]));
    for (const word of words) expect(next()).toBe((word + 0.5) / 2 ** 32);
  });
});
