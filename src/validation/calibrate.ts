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
 * Over-fitting shows in `heldOutPct`: the groups are dealt into folds, and each row is predicted with constants that
 * were fitted without its fold.
 */
import { exp, log } from '../base/math.ts';
import type { Constants, FittedConstant, FittedLayer } from '../hardware/fitted.ts';
import type { Measurement } from './measurement.ts';
import { type Prediction, prepare } from './predict.ts';
import { groupWeights, median } from './statistics.ts';

export interface CalibrateOptions {
  /** false leaves the values as they are, and computes their errors only. true if left out. */
  readonly fit?: boolean;
  /** Groups are dealt into this many folds for `heldOutPct`; 0 leaves it out. 5 if left out. */
  readonly folds?: number;
  /** How a row is predicted; by the package's models if left out. */
  readonly prepare?: (row: Measurement) => (constants: Constants) => Prediction;
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
  /** Of predictions with constants fitted without the row's fold. Null without folds, or without a fit. */
  readonly heldOutPct: number | null;
  readonly predictions: number;
}

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

/** Fits `axes` to `samples` from the evaluator's point on, and leaves the evaluator at the best point. */
function fit(evaluator: Evaluator, axes: readonly Axis[], samples: readonly Sample[]): void {
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
  let reach = 1;
  for (let sweep = 0; sweep < MAX_SWEEPS; sweep++) {
    const before = { least, places };
    // The first two sweeps look everywhere, the later ones nearer and nearer.
    if (sweep > 1) reach /= 2;
    axes.forEach((_, axis) => {
      const place = places[axis]!;
      const unit = axes.map((_, i) => (i === axis ? 1 : 0));
      search(unit, Math.max(-place, -reach), Math.min(1 - place, reach));
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
  { fit: isFitted = true, folds = 5, prepare: prepareRow = prepare }: CalibrateOptions = {},
): Calibration {
  const ours = constants.filter((constant) => constant.layer === layer);
  const names = (row: Measurement, list: readonly FittedConstant[]) =>
    list.some(({ rows }) => rows.some((selector) => isSelected(selector, row)));
  const given = Object.fromEntries(constants.map(({ name, value }) => [name, value]));
  const evaluator = new Evaluator(
    measurements.filter((row) => names(row, ours)),
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
    const some = samples.filter(({ row }) => names(row, [constant]));
    return {
      ...constant,
      value: rounded[constant.name]!,
      errorBeforePct: errorPct({ ...rounded, [constant.name]: constant.initial }, some),
      errorAfterPct: errorPct(rounded, some),
    };
  });
  const afterPct = errorPct(rounded)!;
  const heldOutPct = folds === 0 || !isFitted ? null : median(heldOut(evaluator, axes, folds).map(absErrorPct));
  return {
    constants: fitted,
    rows: samples.length,
    initialPct,
    beforePct,
    afterPct,
    heldOutPct,
    predictions: evaluator.predictions,
  };
}

/** ln(predicted / observed) of every sample with constants fitted without the fold of its group. */
function heldOut(evaluator: Evaluator, axes: readonly Axis[], folds: number): number[] {
  const { samples, point } = evaluator;
  const groups = [...new Set(samples.map(({ row }) => row.group))].sort();
  const foldOf = new Map(groups.map((group, i) => [group, i % folds]));
  return Array.from({ length: folds }, (_, fold) => {
    const isOut = ({ row }: Sample) => foldOf.get(row.group) === fold;
    const out = samples.filter(isOut);
    const rest = samples.filter((sample) => !isOut(sample));
    evaluator.accept(point);
    if (rest.length > 0) fit(evaluator, axes, rest);
    return evaluator.residuals(evaluator.point, out);
  }).flat();
}
