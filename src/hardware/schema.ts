/**
 * The grammar that all data files share.
 *
 * A number stands in a quantity: `{ "value": 2.9, "unit": "TB/s", "source": "...", "kind": "official" }`, with a `note`
 * and named `alternatives` where sources disagree. Parsing checks the unit's dimension and answers in SI base units;
 * provenance stays in the JSON (`catalogueEntry`). `value` is null exactly where `kind` is "unknown".
 * Unknown keys are errors, so that a misspelt one can't be ignored silently.
 */
import { z } from 'zod';
import { ModelError, show } from '../base/errors.ts';

export type Dimension =
  | 'count'
  | 'cycles'
  | 'perCycle'
  | 'ratio'
  | 'rate'
  | 'size'
  | 'bandwidth'
  | 'frequency'
  | 'time'
  | 'power'
  | 'energyPrice';

/** Value in SI base units = value x 10^`exponent` x `factor`. Bits become bytes, GiB is 2^30, GB is 10^9. */
interface Unit {
  readonly dimension: Dimension;
  readonly exponent: number;
  readonly factor: number;
}

const unit = (dimension: Dimension, exponent = 0, factor = 1): Unit => ({ dimension, exponent, factor });

const UNITS: Readonly<Record<string, Unit>> = {
  count: unit('count'),
  cycles: unit('cycles'),
  'elements/cycle': unit('perCycle'),
  'flop/cycle': unit('perCycle'),
  ratio: unit('ratio'),
  TFLOPS: unit('rate', 12),
  PFLOPS: unit('rate', 15),
  TOPS: unit('rate', 12),
  B: unit('size'),
  KiB: unit('size', 0, 2 ** 10),
  MiB: unit('size', 0, 2 ** 20),
  GiB: unit('size', 0, 2 ** 30),
  MB: unit('size', 6),
  GB: unit('size', 9),
  TB: unit('size', 12),
  'GB/s': unit('bandwidth', 9),
  'TB/s': unit('bandwidth', 12),
  'PB/s': unit('bandwidth', 15),
  'GiB/s': unit('bandwidth', 0, 2 ** 30),
  'Gbit/s': unit('bandwidth', 9, 1 / 8),
  'Tbit/s': unit('bandwidth', 12, 1 / 8),
  GHz: unit('frequency', 9),
  ns: unit('time', -9),
  us: unit('time', -6),
  s: unit('time'),
  d: unit('time', 0, 86_400),
  W: unit('power'),
  kW: unit('power', 3),
  // Dollars per joule: 1 kWh is 3.6e6 J.
  'USD/kWh': unit('energyPrice', 0, 1 / 3.6e6),
};

const unitsOf = (dimension: Dimension): string[] => Object.keys(UNITS).filter((u) => UNITS[u]!.dimension === dimension);

/**
 * `value` in SI base units. The power of ten is applied to the decimal digits, so 4.35 TB/s is exactly 4.35e12 B/s
 * (a product of doubles can miss it by one unit in the last place).
 * @throws RangeError if `unitName` is no unit of the data files.
 */
export function toBase(value: number, unitName: string): number {
  const known = UNITS[unitName];
  if (known === undefined) {
    throw new RangeError(`"unit" expected one of ${Object.keys(UNITS).join(', ')}, got ${show(unitName)}`);
  }
  const [digits, exponent] = value.toExponential().split('e');
  return Number(`${digits}e${Number(exponent) + known.exponent}`) * known.factor;
}

/** A strict object: an unknown key is an error that lists the known ones. */
export function record<S extends z.ZodRawShape>(shape: S): z.ZodObject<S, z.core.$strict> {
  const keys = Object.keys(shape).join(', ');
  return z.strictObject(shape, {
    error: (issue) => (issue.code === 'unrecognized_keys' ? `unknown key, expected one of ${keys}` : undefined),
  });
}

export const text: z.ZodString = z.string().min(1);
/** Ids are lower case, so that looking them up needs no locale. */
const idText: z.ZodString = z.string().regex(/^[a-z0-9][a-z0-9._-]*$/, 'expected an id of a-z 0-9 . _ -');

const knownKind = z.enum(['official', 'third-party', 'derived', 'fitted', 'projected']);
const provenance = { source: text, kind: knownKind, note: z.exactOptional(text) };

/** What times are divided by: 0 would make them infinite. An ideal latency of 0 is allowed. */
const DIVISORS: ReadonlySet<Dimension> = new Set(['rate', 'bandwidth', 'frequency', 'perCycle']);

function knownFile(dimension: Dimension) {
  const value = dimension === 'count' ? z.int().min(0) : DIVISORS.has(dimension) ? z.number().gt(0) : z.number().min(0);
  const unitName = z.enum(unitsOf(dimension));
  const alternative = record({ name: text, value, unit: z.exactOptional(unitName), ...provenance });
  return record({
    value,
    unit: unitName,
    ...provenance,
    alternatives: z.exactOptional(z.array(alternative).min(1)),
  });
}

function unknownFile(dimension: Dimension) {
  return record({
    value: z.null(),
    unit: z.enum(unitsOf(dimension)),
    source: text,
    kind: z.literal('unknown'),
    note: z.exactOptional(text),
  });
}

/** A quantity that has a value, parsed to SI base units. */
export function known(dimension: Dimension): z.ZodType<number> {
  return knownFile(dimension).transform(({ value, unit }) => toBase(value, unit));
}

/** A quantity that may be unknown: then null, and its source says where it was looked for. */
export function quantity(dimension: Dimension): z.ZodType<number | null> {
  return z.union([unknownFile(dimension).transform(() => null), known(dimension)]);
}

/** As `quantity`, with its kind and source beside the value, for reports that must name them. */
export function sourced(dimension: Dimension): z.ZodType<{ value: number | null; source: string }> {
  return z.union([
    unknownFile(dimension).transform(({ kind, source }) => ({ value: null, source: `${kind}: ${source}` })),
    knownFile(dimension).transform(({ value, unit, kind, source, note }) => ({
      value: toBase(value, unit),
      // A number that was derived from others says how in its note, not in its source.
      source: `${kind}: ${source === kind && note !== undefined ? note : source}`,
    })),
  ]);
}

/** Something that is no number, such as a process node, with the same provenance. */
export const fact: z.ZodType<{ value: string | null }> = z.union([
  record({ value: z.null(), source: text, kind: z.literal('unknown'), note: z.exactOptional(text) }),
  record({ value: text, ...provenance }),
]);

/** The keys that open every file of the catalogue. */
export const head: {
  readonly schemaVersion: z.ZodLiteral<1>;
  readonly id: z.ZodString;
  readonly name: z.ZodString;
  readonly aliases: z.ZodArray<z.ZodString>;
  readonly note: z.ZodExactOptional<z.ZodString>;
} = {
  schemaVersion: z.literal(1),
  id: idText,
  name: text,
  aliases: z.array(text),
  note: z.exactOptional(text),
};

function valueAt(json: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce((value, key) => (value as Record<PropertyKey, unknown> | undefined)?.[key], json);
}

/** The issue to report: a misspelt key explains the missing one beside it; in a union, the branch that was meant. */
function firstIssue(issues: readonly z.core.$ZodIssue[], json: unknown): z.core.$ZodIssue {
  const issue = issues.find((i) => i.code === 'unrecognized_keys') ?? issues[0]!;
  if (issue.code !== 'invalid_union' || issue.errors.length === 0) return issue;
  const value = valueAt(json, issue.path);
  const isObject = typeof value === 'object' && value !== null;
  // Unions here are [id, object] or [unknown quantity, known quantity].
  const isUnknown = isObject && (value as { kind?: unknown }).kind === 'unknown';
  const branch = issue.errors[isObject && !isUnknown ? issue.errors.length - 1 : 0]!;
  const inner = firstIssue(branch, value);
  return { ...inner, path: [...issue.path, ...inner.path] };
}

function expectation(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return `expected ${issue.expected === 'int' ? 'integer' : issue.expected}`;
    case 'too_small':
      return issue.origin === 'number' || issue.origin === 'int'
        ? `expected number ${issue.inclusive ? '>=' : '>'} ${issue.minimum}`
        : `expected a non-empty ${issue.origin}`;
    case 'invalid_value':
      return `expected ${issue.values.length > 1 ? 'one of ' : ''}${issue.values.map(String).join(', ')}`;
    case 'invalid_union':
      return `expected one of ${(issue as { options?: unknown[] }).options?.join(', ')}`;
    default:
      return issue.message;
  }
}

/**
 * `json` as `schema` describes it, quantities in SI base units.
 * `path` names the file in the error.
 * @throws ModelError CONFIG that names the file, the key, the value and what was expected.
 */
export function parseData<T>(schema: z.ZodType<T>, json: unknown, path: string): T {
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const issue = firstIssue(result.error.issues, json);
  const isUnknownKey = issue.code === 'unrecognized_keys';
  const keys = [...issue.path, ...(isUnknownKey ? issue.keys.slice(0, 1) : [])];
  const value = valueAt(json, keys);
  const got = isUnknownKey ? '' : value === undefined ? ', but it is missing' : `, got ${show(value)}`;
  const where = keys.length === 0 ? path : `${path}: ${keys.map(String).join('.')}`;
  throw new ModelError('CONFIG', where, expectation(issue) + got, { cause: result.error });
}
