/**
 * Fits the constants of one layer to measurements: finds the values within their bounds that minimise
 *
 *     mean over groups of mean over the group's rows of  rho(ln(predicted / observed)),  rho(r) = sqrt(r^2 + d^2) - d
 *
 * over the rows that the constants name. rho (pseudo-Huber, d = 5 %) is quadratic for small errors and linear for large
 * ones, so that a row which the model can't explain doesn't bend the constants. Search by coordinates: a scan of the
 * range, a golden section around its best point, and after each sweep one more along the sweep's displacement (Powell's
 * step), until a sweep gains nothing. No randomness: the same rows give the same constants.
 *
 * Over-fitting shows in `heldOut`: the rows are dealt into parts, and each is predicted with constants that were fitted
 * without its part, on residuals to first order around the fit. A constant that no other part tells has its initial value there.
 */
import { exp } from '../base/math.ts';
import type { Constants, FittedConstant, FittedLayer } from '../hardware/fitted.ts';
import { axisOf, Evaluator, fit, type Sample, Tangent } from './fit.ts';
import type { Measurement } from './measurement.ts';
import { type Prediction, prepare } from './predict.ts';
import { median } from './statistics.ts';

export interface CalibrateOptions {
  /** false leaves the values as they are, and computes their errors only. true if left out. */
  readonly fit?: boolean;
  /**
   * The part that a row is held out with; null holds nothing out. If left out: one of five folds of the groups after a fit, and
   * nothing without one.
   */
  readonly partOf?: ((row: Measurement) => string) | null;
  /** How a row is predicted; by the package's models if left out. */
  readonly prepare?: (row: Measurement) => (constants: Constants) => Prediction;
}

/** Rows predicted with constants that were fitted to all others. */
export interface HeldOutPart {
  readonly part: string;
  readonly rows: number;
  /** Median absolute error in percent with constants fitted to all rows, and to those of the other parts. */
  readonly fittedPct: number;
  readonly heldOutPct: number;
  /** The layer's constants fitted to the other parts; null where these have no rows of the constant. */
  readonly constants: Readonly<Record<string, number | null>>;
}

export interface Calibration {
  /** All constants given, those of the layer with new values and errors. */
  readonly constants: readonly FittedConstant[];
  /** Rows that the layer's constants name and the models predict. */
  readonly rows: number;
  /** Median absolute error of these rows in percent: with the initial values, before, and after. */
  readonly initialPct: number;
  readonly beforePct: number;
  readonly afterPct: number;
  /** Of predictions with constants fitted without the row's part. Null without parts. */
  readonly heldOutPct: number | null;
  /** The same part by part. */
  readonly heldOut: readonly HeldOutPart[];
  readonly predictions: number;
}

/** Folds that groups are dealt into where nothing else is held out. */
const FOLDS = 5;
/** Part of its range that a constant may move by in a refit without a part. */
const REFIT_REACH = 1 / 4;

/** Whether `row` is of `selector`: kind/family, or kind/family/operator (of inference the metric); `*` is any. */
export function isSelected(selector: string, row: Measurement): boolean {
  const operator = row.kind === 'kernel' || row.kind === 'collective' ? row.case.op : row.observed.metric;
  const names = [row.kind, row.family, operator];
  return selector.split('/').every((part, i) => part === '*' || part === names[i]);
}

function isNamed(row: Measurement, constants: readonly FittedConstant[]): boolean {
  return constants.some(({ rows }) => rows.some((selector) => isSelected(selector, row)));
}

function absErrorPct(residual: number): number {
  return Math.abs(exp(residual) - 1) * 100;
}

/**
 * Fits the constants of `layer`; those of other layers keep their values. The errors of a constant are those of its rows: with the
 * constant at its initial value and the others fitted, and with all fitted.
 * @throws RangeError if the layer has no constants, a constant's bounds are none, or no row is predicted.
 */
export function calibrate(
  measurements: readonly Measurement[],
  constants: readonly FittedConstant[],
  layer: FittedLayer,
  { fit: isFitted = true, partOf, prepare: prepareRow = prepare }: CalibrateOptions = {},
): Calibration {
  const ours = constants.filter((constant) => constant.layer === layer);
  const given = Object.fromEntries(constants.map(({ name, value }) => [name, value]));
  const evaluator = new Evaluator(
    measurements.filter((row) => isNamed(row, ours)),
    given,
    prepareRow,
  );
  const { samples } = evaluator;
  if (samples.length === 0) throw new RangeError(`"layer" expected one with constants and rows to fit, got ${layer}`);
  const axes = ours.map(axisOf);
  const errorPct = (point: Constants, some: readonly Sample[] = samples): number | null =>
    some.length === 0 ? null : median(evaluator.residuals(point, some).map(absErrorPct));
  const initial = { ...given, ...Object.fromEntries(ours.map((constant) => [constant.name, constant.initial])) };
  const initialPct = errorPct(initial)!;
  const beforePct = errorPct(given)!;

  if (isFitted) fit(evaluator, axes, samples);
  // Four digits are more than the rows tell.
  const rounded = Object.fromEntries(
    Object.entries(evaluator.point).map(([name, value]) => [
      name,
      isFitted && axes.some((axis) => axis.name === name) ? Number(value.toPrecision(4)) : value,
    ]),
  );
  evaluator.accept(rounded);
  const fitted = constants.map((constant): FittedConstant => {
    if (constant.layer !== layer) return constant;
    const some = samples.filter(({ row }) => isNamed(row, [constant]));
    return {
      ...constant,
      value: rounded[constant.name]!,
      errorBeforePct: errorPct({ ...rounded, [constant.name]: constant.initial }, some),
      errorAfterPct: errorPct(rounded, some),
    };
  });
  const afterPct = errorPct(rounded)!;
  // After a fit, folds are held out unless told otherwise; without one only what is asked for.
  const parts = partOf === undefined ? (isFitted ? foldOf(measurements) : null) : partOf;
  const held = parts === null ? [] : heldOut(evaluator, ours, initial, parts);
  return {
    constants: fitted,
    rows: samples.length,
    initialPct,
    beforePct,
    afterPct,
    heldOutPct: held.length === 0 ? null : median(held.flatMap(({ errors }) => errors)),
    heldOut: held.map(({ errors: _, ...part }) => part),
    predictions: evaluator.predictions,
  };
}

/** Five folds, to which groups are dealt in the order of their names. */
function foldOf(measurements: readonly Measurement[]): (row: Measurement) => string {
  const groups = [...new Set(measurements.map(({ group }) => group))].sort();
  const folds = new Map(groups.map((group, i) => [group, `fold ${i % FOLDS}`]));
  return ({ group }) => folds.get(group)!;
}

/** Every part with constants fitted to the others. */
function heldOut(
  evaluator: Evaluator,
  ours: readonly FittedConstant[],
  initial: Constants,
  partOf: (row: Measurement) => string,
): (HeldOutPart & { readonly errors: readonly number[] })[] {
  const { samples, point } = evaluator;
  const parts = [...new Set(samples.map(({ row }) => partOf(row)))].sort();
  const tangent = new Tangent(evaluator, ours.map(axisOf));
  return parts.map((part) => {
    const out = samples.filter(({ row }) => partOf(row) === part);
    const rest = samples.filter(({ row }) => partOf(row) !== part);
    const told = ours.filter((constant) => rest.some(({ row }) => isNamed(row, [constant])));
    const untold = ours.filter((constant) => !told.includes(constant)).map(({ name }) => [name, initial[name]!]);
    tangent.accept(point);
    if (told.length > 0) fit(tangent, told.map(axisOf), rest, REFIT_REACH);
    const refitted = { ...tangent.point, ...Object.fromEntries(untold) };
    const errors = evaluator.residuals(refitted, out).map(absErrorPct);
    const constants = ours.map((constant) => [
      constant.name,
      told.includes(constant) ? refitted[constant.name]! : null,
    ]);
    return {
      part,
      rows: out.length,
      fittedPct: median(out.map(({ residual }) => absErrorPct(residual))),
      heldOutPct: median(errors),
      constants: Object.fromEntries(constants),
      errors,
    };
  });
}
