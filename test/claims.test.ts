/** The public claims: computed, not stored; every disagreement explained; the page of the documentation current. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, test } from 'vitest';
import { claimsMarkdown } from '../src/report/claims.ts';
import { publicClaims } from '../src/validation/claims/claim.ts';
import { type ClaimRow, evaluateClaims } from '../src/validation/claims/claims.ts';
import { createWorld } from '../src/validation/claims/world.ts';

let rows: readonly ClaimRow[] = [];
beforeAll(() => {
  rows = evaluateClaims();
});
const row = (id: string) => rows.find((candidate) => candidate.id === id)!;

describe('the rows', () => {
  test('are all of the statements that are computed or shown', () => {
    expect(rows.map(({ id }) => id)).toEqual(publicClaims().map(({ id }) => id));
    expect(rows.filter(({ kind }) => kind === 'CALC').length).toBe(37);
    expect(rows.filter(({ kind }) => kind === 'CHK').length).toBe(26);
  });

  test('have a figure with a unit and a definition, or a command', () => {
    for (const { id, kind, computed, unit, definition, command } of rows) {
      expect(definition, id).not.toBe('');
      if (kind === 'CHK' && command === '') expect(row(id).explanation, id).toMatch(/^Not built/);
      else expect(command, id).toMatch(/^trnsim \w+/);
      if (kind === 'CALC') expect([typeof computed, typeof unit], id).toEqual(['number', 'string']);
      if (computed !== null) expect(Number.isFinite(computed), id).toBe(true);
    }
  });

  test('explain every disagreement', () => {
    for (const { id, agrees, explanation } of rows) if (agrees === false) expect(explanation, id).not.toBe('');
  });

  test('are computed: doubling any datum that a figure names as its input changes the figure', () => {
    for (const { id, kind, sensitivity } of rows) {
      if (kind === 'CALC') expect(sensitivity.length, id).toBeGreaterThan(0);
      for (const { input, doubled } of sensitivity) expect(doubled, `${id} ${input}`).not.toBe(row(id).computed);
    }
  });

  test('no figure that is computed stands in the data of the claims', () => {
    const data = readFileSync(new URL('../data/claims.json', import.meta.url), 'utf8');
    for (const { id, computed, claimed, kind } of rows) {
      if (kind === 'CHK' || computed === null || computed === claimed || Number.isInteger(computed)) continue;
      expect(data.includes(String(computed)), id).toBe(false);
    }
  });
});

describe('figures with a published definition', () => {
  test.each([
    ['22', 4.36, 0.005],
    ['66', 4.36, 0.005],
    ['24', 1.69, 0.005],
    ['26', 72, 0],
    ['27', 10, 0],
    ['28', 2.44, 0.005],
    ['3', 510_762, 20],
    ['44', 2.554e6, 1e3],
    ['40', 650, 0.5],
    ['47', 3.31, 0.01],
    ['49', 36, 0.5],
    ['71', 3.04, 0.005],
    ['84', 1.67e6, 0.005e6],
    ['86', 1.4e6, 0],
    ['87', 667, 0.5],
    ['95', 50, 0.5],
    // 192 / 63 hops of 1.5 us; 72 of 143 chips are one traversal away, 71 in the other rack two.
    ['97', (1.5 * (192 / 63)) / ((72 * 1.5 + 71 * 3) / 143), 1e-9],
    ['116', 427.5, 0.5],
    ['117', 6.08, 0.005],
    ['34', 6.36, 0.05],
  ])('claim %s computes %f', (id, expected, within) => {
    expect(Math.abs(row(id).computed! - expected)).toBeLessThanOrEqual(within);
  });

  test.each([
    ['22', 'chipFp8', 1.938],
    ['22', 'chipBf16', 1.006],
    ['22', 'ultraServerBf16', 2.264],
    ['24', 'ultraServer', 3.802],
    ['24', 'ultraServerCapacity', 3.375],
    ['23', 'peakFp8PerW', 1.384],
    ['23', 'bandwidthPerW', 1.207],
    ['23', 'weightStreamPerW', 4.544],
    ['27', 'portsNeeded', 2e6],
    ['27', 'portsOfClos', 4_194_304],
    ['70', 'ultraServers', 6944.444],
    ['70', 'fp8EFLOPS', 2517],
    ['97', 'torusMeanHops', 3.048],
    ['97', 'torusBisectionTBps', 2.048],
    ['97', 'switchedAllToAllGBps', 254.2],
    ['97', 'allToAllRatio', 254.2 / 126],
    ['117', 'minAtTheRateOfRsc2', 9.85],
    ['105', 'kvTransferMs', 139.4],
    ['116', 'shareOfSiteMW', 513.3],
    ['9', 'fp8PFLOPS', 362.448],
    ['9', 'hbmTBps', 705.6],
    ['9', 'hbmGiB', 20_736],
  ])('claim %s also gives %s = %f', (id, name, expected) => {
    const value = row(id).details[name] as number;
    expect(Math.abs(value / expected - 1)).toBeLessThan(5e-4);
  });

  test('4.4x agrees, 144 a rack does not', () => {
    expect(row('22').agrees).toBe(true);
    expect(row('26').agrees).toBe(false);
    expect(row('26').explanation).toMatch(/two racks/);
  });

  test('sensitivities of a ratio are 1 and -1', () => {
    const of = (input: string) => row('22').sensitivity.find((entry) => entry.input === input)!.elasticity;
    expect(of('chips/trn3/peak.fp8')).toBeCloseTo(1, 9);
    expect(of('chips/trn2/peak.fp8')).toBeCloseTo(-1, 9);
  });
});

describe('claims of serving', () => {
  const detail = (id: string, name: string) => row(id).details[name] as number;

  test('the saving is that of the prices of a token, each the price of a chip-hour over the tokens of a chip', () => {
    const usd = (id: string) => detail('7', `${id} usdPerMTok`);
    const perHour = { 'trn2.48xlarge': 35.7608 / 16, 'p5en.48xlarge': 54.92 / 8 };
    for (const [id, price] of Object.entries(perHour)) {
      expect(usd(id)).toBeCloseTo((price / 3600 / detail('7', `${id} tokensPerSPerChip`)) * 1e6, 9);
    }
    expect(row('7').computed).toBeCloseTo(100 * (1 - usd('trn2.48xlarge') / usd('p5en.48xlarge')), 9);
  });

  test('the host explains part of what Trainium2 loses, and its weight is listed', () => {
    expect(detail('7', 'hostHiddenPct')).toBeGreaterThan(row('7').computed!);
    expect(row('7').sensitivity.map(({ input }) => input)).toContain('constants/neuronHostSequence');
  });

  test('tokens for energy: those of a chip over 750 W and 1,050 W', () => {
    const ratio = detail('23', 'trn3TokensPerSPerChip') / 1050 / (detail('23', 'trn2TokensPerSPerChip') / 750);
    expect(row('23').computed).toBeCloseTo(ratio, 9);
  });

  test('an API price is serving and a part of training: half the price of a chip-hour halves it', () => {
    // 6 x 70.55e9 x 15e12 / (989.5e12 x 0.4) chip-seconds at 6.865 USD an hour, over 1e14 tokens.
    expect(detail('57', 'trainingUsdPerMTok')).toBeCloseTo(0.306, 3);
    expect(row('57').computed).toBeCloseTo(detail('57', 'servingUsdPerMTok') + detail('57', 'trainingUsdPerMTok'), 12);
    expect(detail('57', 'atHalfThePriceUsdPerMTok')).toBeCloseTo(row('57').computed! / 2, 12);
  });
});

describe('what a statement gives', () => {
  test('is told apart from what was assumed', () => {
    expect(row('117').stated).toEqual({ chips: 500_000 });
    expect(row('117').assumed).toEqual({ writeS: 1, restartS: 30 });
    for (const claim of publicClaims()) {
      for (const name of claim.stated) expect(claim.scenario, claim.id).toHaveProperty(name);
    }
  });
});

describe('changed data', () => {
  test('a chip, a system, a price, a site and a failure rate reach the figure', () => {
    const computed = (id: string, datum: string, factor = 2) =>
      evaluateClaims({ id, changes: [{ datum, factor }], withSensitivity: false })[0]!.computed!;
    expect(computed('22', 'chips/trn3/peak.fp8') / row('22').computed!).toBeCloseTo(2, 9);
    expect(computed('3', 'prices/trn2.48xlarge/capacity-block') / row('3').computed!).toBeCloseTo(0.5, 9);
    expect(computed('116', 'systems/trn2-ultraserver/power') / row('116').computed!).toBeCloseTo(2, 9);
    expect(computed('84', 'site/pue') / row('84').computed!).toBeCloseTo(0.5, 5);
    expect(computed('117', 'reliability/llama-3-405b') / row('117').computed!).toBeCloseTo(0.5, 9);
    expect(computed('47', 'scenario/tokens') / row('47').computed!).toBeCloseTo(2, 9);
  });

  test('memory bandwidth reaches tokens for energy', () => {
    const [slow] = evaluateClaims({
      id: '23',
      changes: [{ datum: 'chips/trn3/memory.bandwidth', factor: 0.25 }],
      withSensitivity: false,
    });
    expect(slow!.computed!).toBeLessThan(row('23').computed!);
  });

  test('a datum that is no number is an error', () => {
    const world = () => createWorld([{ datum: 'chips/trn3/peak.fp9', factor: 2 }]).chip('trn3');
    expect(world).toThrow('"datum" expected the path of a number, got chips/trn3/peak.fp9');
    expect(() => createWorld([{ datum: 'chips/trn3/name', factor: 2 }]).chip('trn3')).toThrow('"datum" expected');
  });

  test('a price or a reliability profile that does not exist is an error too', () => {
    const datum = 'prices/trn2.48xlarge/lottery';
    expect(() => createWorld([{ datum, factor: 2 }])).toThrow(`"datum" expected a price that is listed, got ${datum}`);
    expect(() => createWorld([{ datum: 'reliability/nobody', factor: 2 }])).toThrow('got "nobody"');
  });

  test('a changed model is computed anew, also where the unchanged one was computed before', () => {
    expect(row('23').computed).toBeGreaterThan(0);
    const [other] = evaluateClaims({
      id: '23',
      changes: [{ datum: 'models/gpt-oss-120b/hidden', factor: 2 }],
      withSensitivity: false,
    });
    expect(other!.computed).not.toBe(row('23').computed);
  });
});

describe('trnsim claims', () => {
  const command = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
  const claims = (...args: string[]) => spawnSync(process.execPath, [command, 'claims', ...args], { encoding: 'utf8' });

  test('--json prints one document with the keys of the contract', () => {
    const { status, stdout } = claims('--json', '--id', '22');
    expect(status).toBe(0);
    const answer = JSON.parse(stdout);
    expect(answer.schemaVersion).toBe(1);
    for (const key of ['id', 'quote', 'claimed', 'computed', 'unit', 'definition'])
      expect(answer.claims[0]).toHaveProperty(key);
  });

  test('--id prints one claim with all that comes out', () => {
    expect(claims('--id', '22').stdout).toMatch(/^chipFp8 +1\.938$/m);
  });

  test('an unknown id is one sentence', () => {
    const { status, stderr } = claims('--id', '999');
    expect(status).toBe(2);
    expect(stderr).toMatch(/^trnsim: "id" expected one of 1, 3, 6, .*, got "999"\n$/);
  });

  test('docs/claims.md is what the command prints', () => {
    const page = readFileSync(new URL('../docs/claims.md', import.meta.url), 'utf8');
    expect(page, 'run: npm run claims').toBe(claimsMarkdown(rows));
  });
});
