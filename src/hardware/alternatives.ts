/**
 * Taking what another source says: the named `alternatives` of a data file in place of the defaults.
 *
 * A name stands for one reading of the sources and may occur at several quantities, which then change together
 * (`official-x8` sets all link rates of a Trn3 UltraServer). Works on the JSON, before the schema checks it.
 */
import { show } from '../base/errors.ts';

type Json = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null;
}

/** Names of all alternatives in `json`, each once, in the order in which they come. */
export function alternativeNames(json: unknown): string[] {
  if (!isObject(json)) return [];
  const own = Array.isArray(json.alternatives) ? (json.alternatives as Json[]) : [];
  const names = own.map(({ name }) => name).filter((name): name is string => typeof name === 'string');
  return [...new Set([...names, ...Object.values(json).flatMap(alternativeNames)])];
}

/**
 * `json` with each quantity that has one of the named alternatives set to it; where several are named, the first in the file.
 * An alternative without a unit has that of the default.
 * @throws RangeError that lists the names if one occurs nowhere
 */
export function chooseAlternatives(json: unknown, names: readonly string[]): unknown {
  const known = alternativeNames(json);
  const stranger = names.find((name) => !known.includes(name));
  if (stranger !== undefined) {
    const expected = known.length === 0 ? 'none, there are no alternatives' : `one of ${known.join(', ')}`;
    throw new RangeError(`"alternative" expected ${expected}, got ${show(stranger)}`);
  }
  return choose(json, names);
}

function choose(json: unknown, names: readonly string[]): unknown {
  if (Array.isArray(json)) return json.map((item) => choose(item, names));
  if (!isObject(json)) return json;
  const { alternatives, ...quantity } = json;
  if (!Array.isArray(alternatives)) {
    return Object.fromEntries(Object.entries(json).map(([key, value]) => [key, choose(value, names)]));
  }
  const chosen = (alternatives as unknown[]).find((other) => isObject(other) && names.includes(String(other.name)));
  if (!isObject(chosen)) return json;
  const { name: _, ...reading } = chosen;
  // The note explains the default: it goes with it.
  const { note: __, ...rest } = quantity;
  return { ...rest, ...reading };
}
