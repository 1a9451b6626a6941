/**
 * Errors and the checks that throw them.
 *
 * A wrong call is a `TypeError` or `RangeError` in one form: `"ranks" expected integer >= 2, got 1`.
 * Bad data (a file, a machine that cannot hold the model) is a `ModelError` with a stable `code` and the `path` to the
 * culprit. The command line turns both into one sentence and exit code 2.
 */

export type ModelErrorCode = 'CONFIG' | 'CAPACITY' | 'TOPOLOGY' | 'WORKLOAD' | 'PROGRAM' | 'UNSUPPORTED';

export class ModelError extends Error {
  readonly code: ModelErrorCode;
  /** Where the bad value is: a file and the key in it, or the name of an option. */
  readonly path: string;

  constructor(code: ModelErrorCode, path: string, message: string, options?: { cause?: unknown }) {
    super(`${path}: ${message}`, options);
    this.name = 'ModelError';
    this.code = code;
    this.path = path;
  }
}

/** How a value is shown in an error: short, and never able to throw. */
export function show(value: unknown): string {
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'number' || value === undefined || typeof value === 'function')
    return String(value).slice(0, 60);
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/** @throws TypeError if `value` is not a number, RangeError if it is not an integer in [min, max]. */
export function expectInteger(
  name: string,
  value: unknown,
  min: number = 0,
  max: number = Number.MAX_SAFE_INTEGER,
): number {
  if (Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max) return value as number;
  const range = max === Number.MAX_SAFE_INTEGER ? `>= ${min}` : `in ${min}..${max}`;
  const message = `"${name}" expected integer ${range}, got ${show(value)}`;
  throw typeof value === 'number' ? new RangeError(message) : new TypeError(message);
}

/** @throws RangeError if `value` is not one of `choices`. */
export function expectOneOf<T extends string>(name: string, value: unknown, choices: readonly T[]): T {
  if (choices.includes(value as T)) return value as T;
  throw new RangeError(`"${name}" expected one of ${choices.join(', ')}, got ${show(value)}`);
}

/** @throws TypeError if `options` has a key that is not in `known`. */
export function expectKnownKeys(name: string, options: object, known: readonly string[]): void {
  const unknown = Object.keys(options).find((key) => !known.includes(key));
  if (unknown !== undefined) {
    throw new TypeError(`"${name}" has no option "${unknown}"; expected ${known.join(', ')}`);
  }
}
