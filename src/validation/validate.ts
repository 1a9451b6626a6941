/**
 * Published measurements beside the model's predictions, and how far apart they are.
 *
 *     error = predicted / observed - 1, in percent of the observed value
 *
 * A row that can't be predicted says why and counts against the coverage. Medians are over rows; as rows of one experiment
 * are correlated, the group-weighted median stands beside, where every group weighs the same.
 */
import { expectKnownKeys, expectOneOf, ModelError } from '../base/errors.ts';
import { findSystem } from '../hardware/catalog.ts';
import { type Constants, type FittedConstant, fittedConstants, fittedList } from '../hardware/fitted.ts';
import { baseline } from './baseline.ts';
import { MEASUREMENT_KINDS, type Measurement, type MeasurementKind, questionOf } from './measurement.ts';
import { attempt, prepare } from './predict.ts';
import { groupWeights, median, quantile, weightedMedian } from './statistics.ts';

export interface ValidateOptions {
  readonly kind?: MeasurementKind;
  readonly family?: string;
  /** In place of those of data/fitted.json. */
  readonly constants?: Constants;
}

export interface ValidatedRow {
  readonly id: string;
  readonly group: string;
  readonly kind: MeasurementKind;
  readonly family: string;
  /** Who makes the system's chips; `unknown` for a system that is not in the catalogue. */
  readonly vendor: string;
  /** Which rows it is summed up with: the operator and program, the size, the metric. */
  readonly part: string;
  readonly metric: string;
  /** Of `observed`, `predicted` and `baseline`. */
  readonly unit: 's' | 'tokens/s';
  readonly observed: number;
  readonly predicted: number | null;
  readonly errorPct: number | null;
  readonly baseline: number | null;
  readonly baselineErrorPct: number | null;
  readonly trust: 'A' | 'B';
  readonly source: string;
  /** Why there is no prediction. */
  readonly unsupported?: string;
}

/** Errors of some rows. Null where none of them is predicted. */
export interface ErrorSummary {
  readonly rows: number;
  /** Predicted rows / rows. */
  readonly coverage: number;
  readonly medianAbsErrorPct: number | null;
  /** As the median, every group weighing the same. */
  readonly groupMedianAbsErrorPct: number | null;
  readonly p90AbsErrorPct: number | null;
  /** Median of the signed errors: above 0 the model is too slow (or, of rates, too fast). */
  readonly biasPct: number | null;
  readonly baselineMedianAbsErrorPct: number | null;
}

/** `family` `all` sums up the kind. */
export interface KindSummary extends ErrorSummary {
  readonly kind: MeasurementKind;
  readonly family: string;
}

/** A finer cut: one operator and program of a family, one vendor, one range of sizes. */
export interface PartSummary extends KindSummary {
  readonly part: string;
}

export interface ValidatedConstant extends Pick<FittedConstant, 'name' | 'value' | 'unit' | 'mechanism' | 'rows'> {
  readonly layer: string;
  readonly source: string;
  readonly errorBeforePct: number | null;
  readonly errorAfterPct: number | null;
}

export interface Validation {
  readonly rows: readonly ValidatedRow[];
  readonly summary: readonly KindSummary[];
  readonly breakdown: readonly PartSummary[];
  readonly fitted: readonly ValidatedConstant[];
}

/** Above this size a collective is bound by bandwidth. */
const LARGE_COLLECTIVE = 16 * 2 ** 20;

function partOf(row: Measurement): string {
  switch (row.kind) {
    case 'kernel':
      return `${row.case.op} ${row.case.dtype} ${row.case.implementation}`;
    case 'collective':
      return `${row.case.op} ${row.case.bytes > LARGE_COLLECTIVE ? '> 16 MiB' : '<= 16 MiB'}`;
    case 'training':
      return row.case.model.experts === undefined ? 'dense' : 'mixture of experts';
    case 'inference':
      return row.observed.metric;
  }
}

function errorPct(value: number | null, observed: number): number | null {
  return value === null ? null : (value / observed - 1) * 100;
}

function validateRow(row: Measurement, constants: Constants): ValidatedRow {
  const { id, group, kind, family, observed, trust, source } = row;
  const prediction = prepare(row)(constants);
  const predicted = 'value' in prediction ? prediction.value : null;
  const envelope = attempt(() => baseline(questionOf(row)));
  const simple = 'value' in envelope ? envelope.value : null;
  const vendor = attempt(() => findSystem(row.system.id).chip.vendor);
  return {
    id,
    group,
    kind,
    family,
    vendor: 'value' in vendor ? vendor.value : 'unknown',
    part: partOf(row),
    metric: observed.metric,
    unit: observed.metric === 'outputTokensPerS' ? 'tokens/s' : 's',
    observed: observed.value,
    predicted,
    errorPct: errorPct(predicted, observed.value),
    baseline: simple,
    baselineErrorPct: errorPct(simple, observed.value),
    trust,
    source,
    ...('unsupported' in prediction && { unsupported: prediction.unsupported }),
  };
}

/** Coverage and errors of the rows given. */
export function summarise(rows: readonly ValidatedRow[]): ErrorSummary {
  const predicted = rows.filter((row) => row.errorPct !== null);
  const signed = predicted.map((row) => row.errorPct!);
  const errors = signed.map(Math.abs);
  const simple = rows.flatMap((row) => (row.baselineErrorPct === null ? [] : [Math.abs(row.baselineErrorPct)]));
  const isEmpty = predicted.length === 0;
  return {
    rows: rows.length,
    coverage: rows.length === 0 ? 0 : predicted.length / rows.length,
    medianAbsErrorPct: isEmpty ? null : median(errors),
    groupMedianAbsErrorPct: isEmpty ? null : weightedMedian(errors, groupWeights(predicted.map(({ group }) => group))),
    p90AbsErrorPct: isEmpty ? null : quantile(errors, 0.9),
    biasPct: isEmpty ? null : median(signed),
    baselineMedianAbsErrorPct: simple.length === 0 ? null : median(simple),
  };
}

/** The rows by a key, in the order in which the keys first appear. */
function groupBy<T>(rows: readonly T[], key: (row: T) => string): [string, T[]][] {
  const groups = new Map<string, T[]>();
  for (const row of rows) {
    const group = groups.get(key(row));
    if (group === undefined) groups.set(key(row), [row]);
    else group.push(row);
  }
  return [...groups];
}

function sortedBy<T>(rows: readonly T[], key: (row: T) => string): [string, T[]][] {
  return groupBy(rows, key).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}

function fittedReport(): ValidatedConstant[] {
  return fittedList().map(({ name, layer, value, unit, mechanism, rows, errorBeforePct, errorAfterPct }) => ({
    name,
    layer,
    value,
    unit,
    mechanism,
    source: 'fitted: npm run calibrate, on the rows named of data/validation',
    rows,
    errorBeforePct,
    errorAfterPct,
  }));
}

/**
 * Predicts every row and sums the errors up by kind and family, and by finer parts.
 * @throws RangeError if an option names a kind, or a family that no row has.
 */
export function validate(measurements: readonly Measurement[], options: ValidateOptions = {}): Validation {
  expectKnownKeys('options', options, ['kind', 'family', 'constants']);
  const { kind, family, constants = fittedConstants() } = options;
  if (kind !== undefined) expectOneOf('kind', kind, MEASUREMENT_KINDS);
  const ofKind = measurements.filter((row) => kind === undefined || row.kind === kind);
  if (family !== undefined) expectOneOf('family', family, [...new Set(ofKind.map((row) => row.family))].sort());
  const chosen = ofKind.filter((row) => family === undefined || row.family === family);
  if (chosen.length === 0)
    throw new ModelError('CONFIG', 'measurements', 'expected rows of the kind asked for, got none');

  const rows = chosen.map((row) => validateRow(row, constants));
  const byKind = MEASUREMENT_KINDS.map((name) => ({ name, rows: rows.filter((row) => row.kind === name) })).filter(
    (entry) => entry.rows.length > 0,
  );
  return {
    rows,
    summary: byKind.flatMap(({ name, rows: ofName }) => [
      { kind: name, family: 'all', ...summarise(ofName) },
      ...sortedBy(ofName, (row) => row.family).map(([key, some]) => ({ kind: name, family: key, ...summarise(some) })),
    ]),
    breakdown: byKind.flatMap(({ name, rows: ofName }) => [
      ...sortedBy(ofName, (row) => row.vendor).map(([part, some]) => ({
        kind: name,
        family: 'all',
        part,
        ...summarise(some),
      })),
      ...sortedBy(ofName, (row) => row.family).flatMap(([key, ofFamily]) =>
        sortedBy(ofFamily, (row) => row.part).map(([part, some]) => ({
          kind: name,
          family: key,
          part,
          ...summarise(some),
        })),
      ),
    ]),
    fitted: fittedReport(),
  };
}
