/** Calibration on models whose constants are known. */
import { describe, expect, test } from 'vitest';
import type { Constants, FittedConstant } from '../src/hardware/fitted.ts';
import { calibrate, isSelected } from '../src/validation/calibrate.ts';
import type { Measurement } from '../src/validation/measurement.ts';

function constant(name: string, lower: number, upper: number, initial: number): FittedConstant {
  return {
    name,
    layer: 'kernel',
    value: initial,
    unit: 's',
    mechanism: 'a test',
    lower,
    upper,
    rows: ['kernel/trn1/matmul'],
    errorBeforePct: null,
    errorAfterPct: null,
    initial,
  };
}

/** A row of `work`, observed at `value`. */
function row(index: number, group: string, work: number, value: number): Measurement {
  return {
    id: `${index}`,
    group,
    kind: 'kernel',
    family: 'trn1',
    system: { id: 'trn1.2xlarge', nodes: 1, accelerators: 1 },
    case: {
      op: 'matmul',
      dims: { work },
      dtype: 'bf16',
      cores: 1,
      lnc: null,
      copies: 1,
      implementation: 'optimised',
      timing: 'device',
    },
    observed: { metric: 'timeS', value, statistic: 'mean' },
    trust: 'A',
    source: 'a test',
  };
}

const workOf = (measurement: Measurement): number => (measurement.kind === 'kernel' ? measurement.case.dims.work! : 0);

/** time = start + work / rate */
const linear = (measurement: Measurement) => (constants: Constants) => ({
  value: constants.start! + workOf(measurement) / constants.rate!,
});

const rows = Array.from({ length: 24 }, (_, i) => {
  const work = 2 ** i;
  return row(i, `g${i % 8}`, work, 3e-6 + work / 4e9);
});
const model = [constant('start', 1e-8, 1e-3, 1e-4), constant('rate', 1e8, 1e12, 1e10)];

describe('calibration', () => {
  test('recovers the constants that made the observations', () => {
    const result = calibrate(rows, model, 'kernel', { prepare: linear });
    const [start, rate] = result.constants;
    expect(start!.value / 3e-6).toBeCloseTo(1, 2);
    expect(rate!.value / 4e9).toBeCloseTo(1, 2);
    expect(result.rows).toBe(24);
    expect(result.initialPct).toBeGreaterThan(50);
    expect(result.afterPct).toBeLessThan(0.5);
    expect(result.heldOutPct).toBeLessThan(1);
    expect(start!.errorBeforePct).toBeGreaterThan(start!.errorAfterPct!);
  });

  test('is not bent by rows that the model can not explain', () => {
    const wrong = [3, 9, 15].map((i) => row(100 + i, `wrong${i}`, 2 ** i, 1));
    const [start, rate] = calibrate([...rows, ...wrong], model, 'kernel', { prepare: linear, partOf: null }).constants;
    expect(start!.value / 3e-6).toBeCloseTo(1, 1);
    expect(rate!.value / 4e9).toBeCloseTo(1, 1);
  });

  test('gives the same constants for the same rows, and none better when run again', () => {
    const first = calibrate(rows, model, 'kernel', { prepare: linear, partOf: null });
    expect(calibrate(rows, model, 'kernel', { prepare: linear, partOf: null })).toEqual(first);
    const again = calibrate(rows, first.constants, 'kernel', { prepare: linear, partOf: null });
    expect(again.afterPct).toBeLessThanOrEqual(first.afterPct + 0.1);
  });

  test('says how far off each part is with constants that know nothing of it', () => {
    // Two machines of different rates and one constant for both: each is predicted from the other.
    const two = rows.map((each, i) =>
      i % 2 === 0 ? each : { ...each, family: 'trn2', observed: { ...each.observed, value: 2 * each.observed.value } },
    );
    const both = model.map((each) => ({ ...each, rows: ['kernel/*'] }));
    const partOf = ({ family }: Measurement) => family;
    const fitted = calibrate(two, both, 'kernel', { prepare: linear, partOf }).constants;
    const { heldOut } = calibrate(two, fitted, 'kernel', { prepare: linear, partOf, fit: false });
    expect(heldOut.map(({ part, rows: count }) => [part, count])).toEqual([
      ['trn1', 12],
      ['trn2', 12],
    ]);
    // The refit is to first order around the fit to both.
    expect(Math.abs(heldOut[0]!.heldOutPct - 100)).toBeLessThan(10);
    expect(Math.abs(heldOut[1]!.heldOutPct - 50)).toBeLessThan(5);
    expect(Math.abs(heldOut[0]!.constants.rate! / 2e9 - 1)).toBeLessThan(0.1);
    // Without trn1 no row is left that these constants name.
    const alone = calibrate(rows, model, 'kernel', { prepare: linear, partOf, fit: false });
    expect(alone.heldOut[0]!.constants).toEqual({ start: null, rate: null });
    expect(alone.heldOut[0]!.heldOutPct).toBe(alone.initialPct);
  });

  test('stays within the bounds and leaves the other layers alone', () => {
    const bounded = [constant('start', 1e-8, 1e-6, 1e-7), constant('rate', 1e8, 1e12, 1e10)];
    const other: FittedConstant = { ...constant('other', 0, 1, 0.5), layer: 'llm' };
    const { constants } = calibrate(rows, [...bounded, other], 'kernel', { prepare: linear, partOf: null });
    expect(constants[0]!.value).toBeLessThanOrEqual(1e-6);
    expect(constants[2]).toBe(other);
  });

  test('predicts a row again only when a constant changes that it reads', () => {
    let calls = 0;
    const prepare = (measurement: Measurement) => (constants: Constants) => {
      calls++;
      // The small rows depend on `start` alone, the large ones on `rate` alone.
      const work = workOf(measurement);
      return { value: work < 2 ** 12 ? constants.start! : work / constants.rate! };
    };
    const result = calibrate(rows, model, 'kernel', { prepare, partOf: null });
    expect(result.predictions).toBe(calls);
    const trials = calibrate(rows, model, 'kernel', {
      partOf: null,
      // The same answers, but every row reads both.
      prepare: (measurement) => (constants) => {
        const both = { ...constants };
        return prepare(measurement)(both);
      },
    });
    expect(trials.constants).toEqual(result.constants);
    expect(result.predictions).toBeLessThan(0.7 * trials.predictions);
  });

  test('does not improve by losing rows', () => {
    const failing = (measurement: Measurement) => (constants: Constants) =>
      constants.start! < 1e-5 ? { unsupported: 'too small' } : linear(measurement)(constants);
    const { constants } = calibrate(rows, model, 'kernel', { prepare: failing, partOf: null });
    expect(constants[0]!.value).toBeGreaterThanOrEqual(1e-5);
  });

  test('a layer without constants or rows is an error', () => {
    expect(() => calibrate(rows, model, 'llm', { prepare: linear })).toThrow('"layer" expected');
    expect(() => calibrate([], model, 'kernel', { prepare: linear })).toThrow('"layer" expected');
  });
});

test('a selector names kind, family and operator, with * for any', () => {
  const [measurement] = rows;
  for (const selector of ['kernel', 'kernel/trn1', 'kernel/trn1/matmul', 'kernel/*/matmul', '*']) {
    expect(isSelected(selector, measurement!)).toBe(true);
  }
  for (const selector of ['training', 'kernel/trn2', 'kernel/trn1/attention']) {
    expect(isSelected(selector, measurement!)).toBe(false);
  }
});
