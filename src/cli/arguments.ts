/**
 * How arguments are read: numbers as written, and the flags that were given. Whether a number makes sense is the library's
 * business, which says so with the field and the value.
 */
import { InvalidArgumentError } from 'commander';

/** @throws InvalidArgumentError, to which commander adds the flag and the text */
export function wholeNumber(text: string): number {
  if (!/^-?\d{1,16}$/.test(text)) throw new InvalidArgumentError('Expected a whole number.');
  return Number(text);
}

/** @throws InvalidArgumentError, to which commander adds the flag and the text */
export function decimal(text: string): number {
  if (!/^-?\d{1,9}(\.\d{1,12})?$/.test(text)) throw new InvalidArgumentError('Expected a number.');
  return Number(text);
}

/** Of a list, which commander passes on as text. @throws RangeError that names the flag */
export function wholeNumberOf(name: string, text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new RangeError(`"${name}" expected whole numbers, got ${JSON.stringify(text)}`);
  return Number(text);
}

/** The one value of a flag that other uses of the verb take several of. @throws RangeError that names the flag */
export function one<T>(name: string, use: string, value: T | readonly T[] | undefined): T {
  const values = Array.isArray(value) ? (value as readonly T[]) : value === undefined ? [] : [value as T];
  if (values.length !== 1) throw new RangeError(`"${name}" expected one with --${use}, got ${values.length}`);
  return values[0]!;
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** Without what is undefined: an option left out is the library's default. */
export function defined<T extends object>(values: T): Defined<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Defined<T>;
}

/** Those of `keys` that were given. */
export function given<T extends object, K extends keyof T>(flags: T, keys: readonly K[]): Defined<Pick<T, K>> {
  return defined(Object.fromEntries(keys.map((key) => [key, flags[key]])) as Pick<T, K>);
}
