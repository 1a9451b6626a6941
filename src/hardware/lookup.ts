/**
 * Finding an entry of a catalogue by id or alias. A typing error gets the nearest ids, by edit distance, and the
 * command that lists them all: a wrong id must never fall back to a default machine.
 */
import { show } from '../base/errors.ts';

interface Entry {
  readonly id: string;
  readonly aliases: readonly string[];
}

/** Fewest insertions, deletions and substitutions that turn `a` into `b` (Levenshtein), one row at a time. */
export function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitute = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substitute, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}

/** The entry whose id or alias is `id`, in any case; undefined if there is none. */
export function findEntry<T extends Entry>(entries: readonly T[], id: string): T | undefined {
  const key = id.toLowerCase();
  return entries.find((entry) => entry.id === key || entry.aliases.some((alias) => alias.toLowerCase() === key));
}

/**
 * As `findEntry`, for an id that must exist. `name` is the option, `command` lists the valid ids.
 * @throws TypeError if `id` is no string, RangeError with the three nearest ids if there is no such entry.
 */
export function requireEntry<T extends Entry>(entries: readonly T[], name: string, id: string, command: string): T {
  if (typeof id !== 'string') throw new TypeError(`"${name}" expected an id, got ${show(id)}`);
  const entry = findEntry(entries, id);
  if (entry === undefined) throw noEntry(entries, name, id, command);
  return entry;
}

/** The error that no entry has the id, with the three nearest ids. */
export function noEntry(entries: readonly Entry[], name: string, id: string, command: string): RangeError {
  const key = id.slice(0, 60).toLowerCase();
  const nearest = entries
    .map((candidate) => {
      const spellings = [candidate.id, ...candidate.aliases.map((alias) => alias.toLowerCase())];
      return { id: candidate.id, distance: Math.min(...spellings.map((spelling) => editDistance(key, spelling))) };
    })
    .sort((a, b) => a.distance - b.distance)
    .slice(0, 3)
    .map((candidate) => candidate.id);
  return new RangeError(
    `"${name}" expected an id that "${command}" lists, got ${show(id)}; nearest: ${nearest.join(', ')}`,
  );
}
