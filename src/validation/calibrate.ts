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
 * A prediction is computed again only when a constant changes that it has read, which the constants' proxy notes.
 * Over-fitting shows in `heldOut`: the rows are dealt into parts, and each is predicted with constants that were fitted
 * without its part. A constant that no other part tells has its initial value there.
 */
import { exp, log, pow } from '../base/math.ts';
import type { Constants, FittedConstant, FittedLayer } from '../hardware/fitted.ts';
import type { Measurement } from './measurement.ts';
import { type Prediction, prepare } from './predict.ts';
import { groupWeights, median } from './statistics.ts';

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

const FOLDS = 5;
const HUBER = 0.05;
const MAX_SWEEPS = 12;
const SCAN_POINTS = 16;
const GOLDEN_STEPS = 12;
const GOLDEN = (Math.sqrt(5) - 1) / 2;
/** A prediction that fails on the way counts as wrong by this factor: the search can't improve by losing rows. */
const FAILED = 100;

/** Whether `row` is of `selector`: kind/family, or kind/family/operator (of inference the metric); `*` is any. */
export function isSelected(selector: string, row: Measurement): boolean {
  const operator = row.kind === 'kernel' || row.kind === 'collective' ? row.case.op : row.observed.metric;
  const names = [row.kind, row.family, operator];
  return selector.split('/').every((part, i) => part === '*' || part === names[i]);
}

function isNamed(row: Measurement, constants: readonly FittedConstant[]): boolean {
  return constants.some(({ rows }) => rows.some((selector) => isSelected(selector, row)));
}

/** One row, and its prediction at the point last accepted. */
interface Sample {
  readonly row: Measurement;
  readonly predict: (constants: Constants) => Prediction;
  /** ln(predicted / observed). */
  residual: number;
  /** The constants that this prediction has read: it depends on no other. */
  reads: ReadonlySet<string>;
}

/** Predictions of a set of rows as a function of the constants, computed where they change. */
class Evaluator {
  readonly samples: readonly Sample[];
  /** The point that the samples' residuals belong to. */
  point: Constants;
  predictions = 0;

  constructor(rows: readonly Measurement[], point: Constants, prepareRow: NonNullable<CalibrateOptions['prepare']>) {
    this.point = point;
    this.samples = rows
      .map((row): Sample => ({ row, predict: prepareRow(row), residual: 0, reads: new Set() }))
      .filter((sample) => {
        Object.assign(sample, this.#evaluate(sample, point));
        return sample.residual < log(FAILED);
      });
  }

  #evaluate({ predict, row }: Sample, point: Constants): Pick<Sample, 'residual' | 'reads'> {
    const reads = new Set<string>();
    const noting = new Proxy(point, {
      get: (target, name) => {
        reads.add(name as string);
        return target[name as string];
      },
    });
    this.predictions++;
    const prediction = predict(noting);
    return { residual: 'value' in prediction ? log(prediction.value / row.observed.value) : log(FAILED), reads };
  }

  #isStale({ reads }: Sample, point: Constants): boolean {
    for (const name of reads) if (point[name] !== this.point[name]) return true;
    return false;
  }

  /** ln(predicted / observed) of the samples at `point`. */
  residuals(point: Constants, samples: readonly Sample[]): number[] {
    return samples.map((s) => (this.#isStale(s, point) ? this.#evaluate(s, point).residual : s.residual));
  }

  /** Makes `point` the one that predictions are kept for. */
  accept(point: Constants): void {
    for (const sample of this.samples) {
      if (this.#isStale(sample, point)) Object.assign(sample, this.#evaluate(sample, point));
    }
    this.point = point;
  }
}

/** Places in the range of a constant as numbers in [0, 1]: by ratio where it spans a decade, else by difference. */
interface Axis {
  readonly name: string;
  readonly toValue: (place: number) => number;
  readonly toPlace: (value: number) => number;
}

function axisOf({ name, lower, upper }: FittedConstant): Axis {
  if (!(upper > lower)) throw new RangeError(`"${name}.upper" expected a number > ${lower}, got ${upper}`);
  if (lower > 0 && upper / lower >= 10) {
    const span = log(upper / lower);
    return { name, toValue: (place) => lower * exp(place * span), toPlace: (value) => log(value / lower) / span };
  }
  return {
    name,
    toValue: (place) => lower + place * (upper - lower),
    toPlace: (value) => (value - lower) / (upper - lower),
  };
}

/** The place in [from, to] where `f` is least: a scan, then a golden section between the neighbours of its best point. */
function minimise(f: (at: number) => number, from: number, to: number): { at: number; value: number } {
  const places = Array.from({ length: SCAN_POINTS + 1 }, (_, i) => from + ((to - from) * i) / SCAN_POINTS);
  const values = places.map(f);
  const least = values.reduce((best, value, i) => (value < values[best]! ? i : best), 0);
  let best = { at: places[least]!, value: values[least]! };
  let low = places[Math.max(0, least - 1)]!;
  let high = places[Math.min(SCAN_POINTS, least + 1)]!;
  const probe = (at: number): number => {
    const value = f(at);
    if (value < best.value) best = { at, value };
    return value;
  };
  let left = high - GOLDEN * (high - low);
  let right = low + GOLDEN * (high - low);
  let ofLeft = probe(left);
  let ofRight = probe(right);
  for (let step = 0; step < GOLDEN_STEPS; step++) {
    if (ofLeft <= ofRight) {
      high = right;
      [right, ofRight] = [left, ofLeft];
      left = high - GOLDEN * (high - low);
      ofLeft = probe(left);
    } else {
      low = left;
      [left, ofLeft] = [right, ofRight];
      right = low + GOLDEN * (high - low);
      ofRight = probe(right);
    }
  }
  return best;
}

function rho(residual: number): number {
  return Math.sqrt(residual * residual + HUBER * HUBER) - HUBER;
}

/**
 * Fits `axes` to `samples` from the evaluator's point on, and leaves the evaluator at the best point. The first two sweeps look as
 * far as `reach` of the range around it.
 */
function fit(evaluator: Evaluator, axes: readonly Axis[], samples: readonly Sample[], reach = 1): void {
  const weights = groupWeights(samples.map(({ row }) => row.group)).map((weight) => Math.sqrt(weight));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const loss = (point: Constants): number =>
    evaluator.residuals(point, samples).reduce((sum, residual, i) => sum + weights[i]! * rho(residual), 0) / total;
  const moved = (places: readonly number[]): Constants => ({
    ...evaluator.point,
    ...Object.fromEntries(axes.map(({ name, toValue }, i) => [name, toValue(Math.min(1, Math.max(0, places[i]!)))])),
  });

  let places = axes.map(({ name, toPlace }) => Math.min(1, Math.max(0, toPlace(evaluator.point[name]!))));
  evaluator.accept(moved(places));
  let least = loss(evaluator.point);
  const search = (direction: readonly number[], from: number, to: number): void => {
    const along = (distance: number) => places.map((place, i) => place + distance * direction[i]!);
    const best = minimise((distance) => loss(moved(along(distance))), from, to);
    if (best.value >= least) return;
    places = along(best.at).map((place) => Math.min(1, Math.max(0, place)));
    least = best.value;
    evaluator.accept(moved(places));
  };
  for (let sweep = 0; sweep < MAX_SWEEPS; sweep++) {
    const before = { least, places };
    const near = sweep > 1 ? reach * pow(0.5, sweep - 1) : reach;
    axes.forEach((_, axis) => {
      const place = places[axis]!;
      const unit = axes.map((_, i) => (i === axis ? 1 : 0));
      search(unit, Math.max(-place, -near), Math.min(1 - place, near));
    });
    if (axes.length > 1)
      search(
        places.map((place, i) => place - before.places[i]!),
        -1,
        4,
      );
    if (sweep > 1 && before.least - least < 1e-4 * before.least) return;
  }
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

/** Every part with constants fitted to the others, near those fitted to all. */
function heldOut(
  evaluator: Evaluator,
  ours: readonly FittedConstant[],
  initial: Constants,
  partOf: (row: Measurement) => string,
): (HeldOutPart & { readonly errors: readonly number[] })[] {
  const { samples, point } = evaluator;
  const parts = [...new Set(samples.map(({ row }) => partOf(row)))].sort();
  return parts.map((part) => {
    const out = samples.filter(({ row }) => partOf(row) === part);
    const rest = samples.filter(({ row }) => partOf(row) !== part);
    evaluator.accept(point);
    const fittedPct = median(out.map(({ residual }) => absErrorPct(residual)));
    const told = ours.filter((constant) => rest.some(({ row }) => isNamed(row, [constant])));
    const untold = ours.filter((constant) => !told.includes(constant)).map(({ name }) => [name, initial[name]!]);
    evaluator.accept({ ...point, ...Object.fromEntries(untold) });
    if (told.length > 0) fit(evaluator, told.map(axisOf), rest, 1 / 4);
    const errors = evaluator.residuals(evaluator.point, out).map(absErrorPct);
    const constants = ours.map((constant) => [
      constant.name,
      told.includes(constant) ? evaluator.point[constant.name]! : null,
    ]);
    return {
      part,
      rows: out.length,
      fittedPct,
      heldOutPct: median(errors),
      constants: Object.fromEntries(constants),
      errors,
    };
  });
}
