/**
 * Typed reading of a configuration file: each function returns a checked value or throws a ModelError that names file,
 * key, value and what was expected. A missing key and null are the same, and take the fallback.
 */
import { ModelError, show } from '../base/errors.ts';

/** An object of the file with the place it stands at, for errors. */
export interface Fields {
  readonly path: string;
  readonly prefix: string;
  readonly values: Readonly<Record<string, unknown>>;
}

/** Bounds of sizes: far above any real model, low enough that a typing error cannot exhaust the memory. */
export const LIMITS: Readonly<
  Record<'hidden' | 'layers' | 'heads' | 'headDim' | 'ffn' | 'vocab' | 'positions' | 'experts', number>
> = {
  hidden: 2 ** 20,
  layers: 2 ** 12,
  heads: 2 ** 14,
  headDim: 2 ** 14,
  ffn: 2 ** 22,
  vocab: 2 ** 24,
  positions: 2 ** 30,
  experts: 2 ** 14,
};

/** @throws ModelError CONFIG if `json` is no object */
export function fieldsOf(json: unknown, path: string): Fields {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new ModelError('CONFIG', path, `expected an object, got ${show(json)}`);
  }
  return { path, prefix: '', values: json as Record<string, unknown> };
}

export function fail(fields: Fields, key: string, expected: string, code: 'CONFIG' | 'UNSUPPORTED' = 'CONFIG'): never {
  const value = fields.values[key];
  const got = value === undefined ? 'but it is missing' : `got ${show(value)}`;
  throw new ModelError(code, `${fields.path}: ${fields.prefix}${key}`, `expected ${expected}, ${got}`);
}

export function has(fields: Fields, key: string): boolean {
  return (fields.values[key] ?? null) !== null;
}

export function integer(fields: Fields, key: string, min: number, max: number, fallback?: number): number {
  const value = fields.values[key] ?? fallback;
  if (!Number.isInteger(value) || (value as number) < min || (value as number) > max) {
    fail(fields, key, `integer in ${min}..${max}`);
  }
  return value as number;
}

export function number(fields: Fields, key: string, min: number, max: number, fallback?: number): number {
  const value = fields.values[key] ?? fallback;
  if (typeof value !== 'number' || !(value >= min && value <= max)) fail(fields, key, `number in ${min}..${max}`);
  return value;
}

/** A switch; off unless the file, or the family's default, turns it on. */
export function flag(fields: Fields, key: string, fallback: boolean = false): boolean {
  const value = fields.values[key] ?? fallback;
  if (typeof value !== 'boolean') fail(fields, key, 'true or false');
  return value;
}

export function objectAt(fields: Fields, key: string): Fields {
  const value = fields.values[key] ?? {};
  if (typeof value !== 'object' || Array.isArray(value)) fail(fields, key, 'an object or null');
  return { path: fields.path, prefix: `${fields.prefix}${key}.`, values: value as Record<string, unknown> };
}

/** @throws ModelError UNSUPPORTED unless the value, or the fallback for a missing one, is among `choices` */
export function oneOf<T extends string | number | boolean>(
  fields: Fields,
  key: string,
  choices: readonly T[],
  fallback: T,
): T {
  const value = (fields.values[key] ?? fallback) as T;
  if (!choices.includes(value)) {
    fail(fields, key, choices.length === 1 ? String(choices[0]) : `one of ${choices.join(', ')}`, 'UNSUPPORTED');
  }
  return value;
}
