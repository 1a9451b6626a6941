/** Measurements in, errors out: the schema, the statistics, the envelope beside the models, and what models may know. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ModelError } from '../src/base/errors.ts';
import { toJson } from '../src/base/json.ts';
import { findChip } from '../src/hardware/catalog.ts';
import { baseline, weightCounts } from '../src/validation/baseline.ts';
import { type Measurement, questionOf } from '../src/validation/measurement.ts';
import { prepare } from '../src/validation/predict.ts';
import { measurements, parseMeasurements } from '../src/validation/schema.ts';
import { groupWeights, median, quantile, weightedMedian } from '../src/validation/statistics.ts';
import { summarise, type ValidatedRow, validate } from '../src/validation/validate.ts';

const MATMUL = {
  id: 'a',
  group: 'g',
  kind: 'kernel',
  family: 'trn1',
  system: { id: 'trn1.2xlarge', nodes: 1, accelerators: 1 },
  case: {
    op: 'matmul',
    dims: { m: 4096, k: 8192, n: 8192 },
    dtype: 'bf16',
    cores: 1,
    lnc: null,
    copies: 1,
    implementation: 'optimised',
    timing: 'device',
  },
  observed: { metric: 'timeS', value: 0.00697, statistic: 'mean' },
  trust: 'A',
  source: 'a test',
} as const;

const LLAMA = {
  name: 'Llama-2-7B',
  layers: 32,
  hidden: 4096,
  heads: 32,
  kvHeads: 32,
  headDim: 128,
  ffn: 11008,
  gatedMlp: true,
  vocab: 32000,
  attention: 'causal',
} as const;

const DECODE = {
  id: 'd',
  group: 'g',
  kind: 'inference',
  family: 'inf2',
  system: { id: 'inf2.48xlarge', nodes: 1, accelerators: 12 },
  case: {
    model: LLAMA,
    tp: 24,
    pp: 1,
    ep: 1,
    dp: 1,
    batch: 1,
    compiled: { batch: 1, maxLen: 4096 },
    inputLen: 128,
    outputLen: 128,
    prefillChunk: null,
    weightDtype: 'bf16',
    kvDtype: null,
    computeDtype: 'bf16',
    lnc: null,
    phase: 'decode',
    serving: 'static',
    speculation: null,
    software: 'a test',
  },
  observed: { metric: 'tpotS', value: 0.008, statistic: 'p50' },
  trust: 'B',
  source: 'a test',
} as const;

/** `MATMUL` with the value at a path replaced; undefined deletes it. */
function changed(path: string, value: unknown): unknown {
  const row = structuredClone(MATMUL) as Record<string, unknown>;
  const keys = path.split('.');
  const last = keys.pop()!;
  const parent = keys.reduce((object, key) => object[key] as Record<string, unknown>, row);
  if (value === undefined) delete parent[last];
  else parent[last] = value;
  return row;
}

const parse = (rows: unknown): readonly Measurement[] => parseMeasurements(JSON.stringify(rows), 'mine.json');
const one = (row: unknown): Measurement => parse([row])[0]!;

describe('the file', () => {
  test('the shipped measurements are 707 rows of four kinds with unique ids', () => {
    const rows = measurements();
    expect(rows.length).toBe(707);
    expect(new Set(rows.map(({ id }) => id)).size).toBe(707);
    expect(new Set(rows.map(({ kind }) => kind)).size).toBe(4);
  });

  test('is an array, or an object with a version and rows', () => {
    expect(parse([MATMUL])).toEqual([MATMUL]);
    expect(parse({ schemaVersion: 1, rows: [MATMUL, DECODE] })).toEqual([MATMUL, DECODE]);
  });

  test.each([
    ['case.dims.m', 0, 'mine.json: 1.case.dims.m: expected number >= 1, got 0'],
    ['case.dims.m', undefined, 'mine.json: 1.case.dims.m: expected integer >= 1, but it is missing'],
    ['case.dims.rows', 5, 'mine.json: 1.case.dims.rows: expected the dimensions m, k, n of matmul, got 5'],
    ['case.dtpye', 'bf16', 'mine.json: 1.case.dtpye: '],
    ['case.timing', 'guess', 'mine.json: 1.case.timing: expected one of device, host, unknown, got "guess"'],
    ['observed.value', -1, 'mine.json: 1.observed.value: expected number > 0, got -1'],
    ['observed.metric', 'tpotS', 'mine.json: 1.observed.metric: expected timeS, got "tpotS"'],
    ['system.nodes', 1.5, 'mine.json: 1.system.nodes: expected integer, got 1.5'],
    ['kind', 'guess', 'mine.json: 1.kind: '],
    ['source', undefined, 'mine.json: 1.source: expected string, but it is missing'],
  ])('a row whose %s is %s is an error with its index, field and value', (path, value, message) => {
    expect(() => parse([MATMUL, changed(path, value)])).toThrow(message);
  });

  test.each([
    ['', 'expected JSON'],
    ['{"schemaVersion":2,"rows":[]}', 'schemaVersion: expected 1, got 2'],
    ['{"rows":[]}', 'schemaVersion: expected 1, but it is missing'],
    ['7', 'mine.json: expected object, got 7'],
  ])('the text %j is an error', (text, message) => {
    expect(() => parseMeasurements(text, 'mine.json')).toThrow(message);
  });

  test('a model without the fields that its experts need is an error', () => {
    const row = structuredClone(DECODE) as { case: { model: Record<string, unknown> } };
    row.case.model.experts = 8;
    expect(() => parse([row])).toThrow('0.case.model.topK: expected integer, but it is missing');
  });

  test('what only a model can judge is accepted, and reported as not predicted', () => {
    const rows = [
      changed('system.id', 'trn9.metal'),
      changed('case.op', 'fft'),
      changed('case.op', 'constructor'),
      changed('case.dtype', 'posit8'),
      changed('family', 'trn9'),
      MATMUL,
    ];
    const result = validate(parse(rows));
    expect(result.rows.map((row) => row.predicted !== null)).toEqual([false, false, false, false, true, true]);
    expect(result.rows[0]!.unsupported).toContain('trn9.metal');
    expect(result.rows[1]!.unsupported).toContain('fft');
    expect(result.rows[3]!.unsupported).toContain('posit8');
    expect(result.summary[0]).toMatchObject({ kind: 'kernel', family: 'all', rows: 6, coverage: 2 / 6 });
  });
});

describe('any other content', () => {
  /** Paths of all leaves of a JSON value. */
  const leaves = (value: unknown, path: readonly string[] = []): (readonly string[])[] =>
    typeof value === 'object' && value !== null
      ? Object.entries(value).flatMap(([key, member]) => leaves(member, [...path, key]))
      : [path];
  const paths = [MATMUL, DECODE].flatMap((row, which) => leaves(row).map((path) => ({ which, path })));
  const content = fc.oneof(
    fc.jsonValue({ maxDepth: 2 }),
    fc.constantFrom(1, 2 ** 31, 2 ** 53 - 1, 'constructor', '__proto__'),
  );

  test('in place of any field is one clear error, or a row with a prediction or a reason', () => {
    fc.assert(
      fc.property(fc.constantFrom(...paths), content, ({ which, path }, value) => {
        const row = structuredClone([MATMUL, DECODE][which]!) as unknown as Record<string, unknown>;
        const parent = path.slice(0, -1).reduce((object, key) => object[key] as Record<string, unknown>, row);
        parent[path.at(-1)!] = value;
        let rows: readonly Measurement[];
        try {
          rows = parse([row]);
        } catch (error) {
          expect(error).toBeInstanceOf(ModelError);
          expect((error as Error).message).toContain(`mine.json: 0.${path[0]}`);
          return;
        }
        const [answer] = validate(rows).rows;
        expect(answer!.predicted !== null).toBe(answer!.unsupported === undefined);
        toJson(answer);
      }),
      { numRuns: 1000, seed: 1 },
    );
  });
});

describe('statistics, by hand', () => {
  test('quantiles are linear between the sorted values', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    // Position 0.9 * 4 = 3.6 in 10 20 30 40 50: 40 + 0.6 * 10.
    expect(quantile([50, 40, 30, 20, 10], 0.9)).toBeCloseTo(46, 12);
    expect(quantile([7], 0.9)).toBe(7);
  });

  test('the weighted median splits the weight, not the count', () => {
    // Weights 1/3 1/3 1/3 1 1: the half of 3 is 1.5, reached at the fourth value.
    const weights = groupWeights(['a', 'a', 'a', 'b', 'c']);
    expect(weights).toEqual([1 / 3, 1 / 3, 1 / 3, 1, 1]);
    expect(weightedMedian([1, 2, 3, 10, 20], weights)).toBe(10);
    // Half of 2 is reached exactly at 3, with rounding in the thirds.
    expect(weightedMedian([1, 2, 3, 10], groupWeights(['a', 'a', 'a', 'b']))).toBe(6.5);
    expect(weightedMedian([5], [0.1])).toBe(5);
  });

  const row = (group: string, errorPct: number | null, baselineErrorPct: number | null): ValidatedRow =>
    ({ group, errorPct, baselineErrorPct }) as ValidatedRow;

  test('a summary has the errors of the predicted rows and the coverage of all', () => {
    const rows = [row('a', -10, 50), row('a', -20, null), row('b', 30, -70), row('b', null, 90), row('c', 40, -20)];
    expect(summarise(rows)).toEqual({
      rows: 5,
      coverage: 0.8,
      medianAbsErrorPct: 25, // of 10 20 30 40
      // Weights 1/2 1/2 1 1: half of 3 is 1.5, passed at 30.
      groupMedianAbsErrorPct: 30,
      p90AbsErrorPct: 37, // position 2.7: 30 + 0.7 * 10
      biasPct: 10, // of -20 -10 30 40
      baselineMedianAbsErrorPct: 60, // of 20 50 70 90
    });
  });

  test('a summary without predictions has no errors', () => {
    expect(summarise([row('a', null, null)])).toMatchObject({ rows: 1, coverage: 0, medianAbsErrorPct: null });
  });
});

describe('the envelope, by hand', () => {
  test('a kernel is bound by arithmetic or by memory, with the share of its cores', () => {
    // 2 * 4096 * 8192 * 8192 operations on one core of 128 x 128 at 2.8 GHz.
    const flops = 2 * 4096 * 8192 * 8192;
    expect(baseline(questionOf(one(MATMUL)))).toBeCloseTo(flops / (2 * 128 * 128 * 2.8e9), 12);
    // One row: 2 * (8192 + 8192^2 + 8192) bytes over half of the chip's bandwidth.
    const thin = one(changed('case.dims.m', 1));
    const bandwidth = findChip('trn1').memory.bandwidth! / 2;
    expect(baseline(questionOf(thin))).toBeCloseTo((2 * (2 * 8192 + 8192 * 8192)) / bandwidth, 12);
  });

  test('a decode step reads the weights once', () => {
    const perLayer = 4 * 4096 * 4096 + 3 * 4096 * 11008;
    const weights = 32 * perLayer + 32000 * 4096;
    expect(weightCounts(LLAMA)).toEqual({ activated: weights, all: weights });
    const bandwidth = 12 * findChip('inf2').memory.bandwidth!;
    expect(baseline(questionOf(one(DECODE)))).toBeCloseTo((2 * weights) / bandwidth, 12);
  });

  test('of experts, a token passes through some', () => {
    const moe = { ...LLAMA, experts: 64, topK: 4, moeFfn: 1024, sharedExperts: 1, denseLayers: 2 };
    const always = 32 * 4 * 4096 * 4096 + 2 * 3 * 4096 * 11008 + 32000 * 4096;
    const expert = 30 * 3 * 4096 * 1024;
    expect(weightCounts(moe)).toEqual({ activated: always + 5 * expert, all: always + 65 * expert });
  });

  const roofline = (family: string, part: string) =>
    validate(measurements(), { kind: 'kernel', family }).breakdown.find((entry) => entry.part === part);

  // Medians that the documentation of the measurements states for a plain roofline.
  test.each([
    ['trn3', 'matmul bf16 optimised', 7.05],
    ['trn1', 'matmul bf16 optimised', 13.97],
    ['trn2', 'matmul bf16 compiler', 41.29],
  ])('the roofline is off by a known median on %s %s', (family, part, expected) => {
    expect(roofline(family, part)!.baselineMedianAbsErrorPct).toBeCloseTo(expected, 2);
  });
});

describe('predictions', () => {
  test('know the system, the case and the metric of a row, and nothing else', () => {
    for (const row of measurements()) {
      const disguised = {
        ...row,
        id: 'x',
        group: 'x',
        family: 'x',
        source: 'x',
        trust: 'B',
        observed: { metric: row.observed.metric, value: 1, statistic: 'unknown' },
      } as Measurement;
      expect(questionOf(disguised)).toEqual(questionOf(row));
      expect(Object.keys(questionOf(row)).sort()).toEqual(['case', 'kind', 'metric', 'system']);
    }
  });

  test('are the same for a row in disguise', () => {
    const constants = {};
    const disguised = one({ ...MATMUL, id: 'x', group: 'x', source: 'x', observed: { ...MATMUL.observed, value: 1 } });
    expect(prepare(disguised)(constants)).toEqual(prepare(one(MATMUL))(constants));
  });

  test('of every shipped row are a positive number or a reason', () => {
    for (const row of validate(measurements()).rows) {
      if (row.unsupported === undefined) expect(row.predicted).toBeGreaterThan(0);
      else expect(row.unsupported).toMatch(/^[^\n]{10,200}$/);
    }
  });
});

describe('validate', () => {
  test('filters by kind and family, and refuses those that are not there', () => {
    const { rows, summary } = validate(measurements(), { kind: 'kernel', family: 'trn3' });
    expect(rows.length).toBe(47);
    expect(summary.map(({ kind, family }) => [kind, family])).toEqual([
      ['kernel', 'all'],
      ['kernel', 'trn3'],
    ]);
    expect(() => validate(measurements(), { family: 'trn9' })).toThrow('"family" expected one of a100,');
    expect(() => validate([])).toThrow('expected rows');
  });

  test('errors are in percent of the observed value, as sums over kind, family and part', () => {
    const { rows, summary, breakdown } = validate(measurements());
    for (const { observed, predicted, errorPct } of rows) {
      if (predicted !== null) expect(errorPct).toBe((predicted / observed - 1) * 100);
    }
    const total = (list: readonly { rows: number }[]) => list.reduce((sum, entry) => sum + entry.rows, 0);
    expect(total(summary.filter(({ family }) => family === 'all'))).toBe(707);
    expect(total(summary.filter(({ family }) => family !== 'all'))).toBe(707);
    expect(total(breakdown.filter(({ family }) => family !== 'all'))).toBe(707);
  });
});
