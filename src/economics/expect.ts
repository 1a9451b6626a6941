/** The check of a quantity that the user gave: one sentence that says what was expected. */
import { show } from '../base/errors.ts';

/** Bounds of a quantity, each included unless it says otherwise; without any, finite is enough. */
export interface Range {
  readonly min?: number;
  /** Greater than this. */
  readonly above?: number;
  readonly max?: number;
}

/** @throws TypeError if `value` is no number, RangeError if it is not finite or out of range */
export function expectFinite(name: string, value: number, { min, above, max }: Range = {}): number {
  const isIn =
    Number.isFinite(value) &&
    (min === undefined || value >= min) &&
    (above === undefined || value > above) &&
    (max === undefined || value <= max);
  if (isIn) return value;
  const bounds = [
    min === undefined ? '' : ` >= ${min}`,
    above === undefined ? '' : ` > ${above}`,
    max === undefined ? '' : `${min === undefined && above === undefined ? '' : ' and'} <= ${max}`,
  ].join('');
  const message = `"${name}" expected a finite number${bounds}, got ${show(value)}`;
  throw typeof value === 'number' ? new RangeError(message) : new TypeError(message);
}
