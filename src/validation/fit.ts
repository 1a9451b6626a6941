/**
 * The search behind `calibrate`: the constants for which a set of rows is predicted best.
 *
 * A prediction is computed again only when a constant changes that it has read, which the constants' proxy notes.
 */
import { exp, log, pow } from '../base/math.ts';
import type { Constants, FittedConstant } from '../hardware/fitted.ts';
import type { Measurement } from './measurement.ts';
import type { Prediction } from './predict.ts';
import { groupWeights } from './statistics.ts';

const HUBER = 0.05;
const MAX_SWEEPS = 12;
const SCAN_POINTS = 16;
const GOLDEN_STEPS = 12;
const GOLDEN = (Math.sqrt(5) - 1) / 2;
/** A prediction that fails on the way counts as wrong by this factor: the search can't improve by losing rows. */
const FAILED = 100;

/** One row, and its prediction at the point last accepted. */
export interface Sample {
  readonly row: Measurement;
  readonly predict: (constants: Constants) => Prediction;
  /** ln(predicted / observed). */
  residual: number;
  /** The constants that this prediction has read: it depends on no other. */
  reads: ReadonlySet<string>;
}

/** How far off rows are as a function of the constants. */
export interface Residuals {
  readonly point: Constants;
  /** ln(predicted / observed) of the samples at `point`. */
  residuals(point: Constants, samples: readonly Sample[]): number[];
  accept(point: Constants): void;
}

/** Predictions of a set of rows as a function of the constants, computed where they change. */
export class Evaluator implements Residuals {
  readonly samples: readonly Sample[];
  /** The point that the samples' residuals belong to. */
  point: Constants;
  predictions = 0;

  constructor(
    rows: readonly Measurement[],
    point: Constants,
    prepareRow: (row: Measurement) => (constants: Constants) => Prediction,
  ) {
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
export interface Axis {
  readonly name: string;
  readonly toValue: (place: number) => number;
  readonly toPlace: (value: number) => number;
}

export function axisOf({ name, lower, upper }: FittedConstant): Axis {
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

/** Step of a constant's place that its slopes are measured with. */
const SLOPE_STEP = 0.02;

/** Residuals to first order around an evaluator's point: what a refit to other rows costs is arithmetic only. */
export class Tangent implements Residuals {
  point: Constants;
  readonly #axes: readonly Axis[];
  readonly #places: readonly number[];
  readonly #slopes: ReadonlyMap<Sample, readonly number[]>;

  constructor(evaluator: Evaluator, axes: readonly Axis[]) {
    const { point, samples } = evaluator;
    this.point = point;
    this.#axes = axes;
    this.#places = axes.map(({ name, toPlace }) => toPlace(point[name]!));
    const columns = axes.map(({ name, toValue }, axis) => {
      const place = this.#places[axis]!;
      const step = place + SLOPE_STEP > 1 ? -SLOPE_STEP : SLOPE_STEP;
      const moved = evaluator.residuals({ ...point, [name]: toValue(place + step) }, samples);
      return moved.map((residual, i) => (residual - samples[i]!.residual) / step);
    });
    this.#slopes = new Map(samples.map((sample, i) => [sample, columns.map((column) => column[i]!)]));
  }

  residuals(point: Constants, samples: readonly Sample[]): number[] {
    const moves = this.#axes.map(({ name, toPlace }, axis) => toPlace(point[name]!) - this.#places[axis]!);
    return samples.map((sample) => {
      const slopes = this.#slopes.get(sample)!;
      return moves.reduce((sum, move, axis) => sum + move * slopes[axis]!, sample.residual);
    });
  }

  accept(point: Constants): void {
    this.point = point;
  }
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
export function fit(evaluator: Residuals, axes: readonly Axis[], samples: readonly Sample[], reach = 1): void {
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
