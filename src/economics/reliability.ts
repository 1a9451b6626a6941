/**
 * How often a job is stopped by its machines: failure rates by component, from observed events in an exposure.
 *
 *     rate of a component = events / (chips x time)          per chip
 *     MTBF of a job       = 1 / (chips x sum of the rates)   any failure stops a synchronous job
 *
 * Failures are independent and memoryless. Leaves out: failures that come in groups, infant mortality, and that small
 * jobs fail less often per chip than large ones. see: data/reliability.json for the observations and their sources
 */
import { z } from 'zod';
import { expectInteger } from '../base/errors.ts';
import type { Seconds } from '../base/units.ts';
import { requireEntry } from '../hardware/lookup.ts';
import { known, parseData, record, text } from '../hardware/schema.ts';
import * as data from './data.gen.ts';

/** One cause of failures that stop the job. */
export interface FailureComponent {
  readonly name: string;
  /** Failures per chip and second. */
  readonly rate: number;
}

/** What was observed on one machine, as rates. */
export interface ReliabilityProfile {
  readonly id: string;
  readonly name: string;
  readonly aliases: readonly string[];
  readonly components: readonly FailureComponent[];
}

/** Events in an exposure of chips x time, in the file; rates everywhere else. */
const profileFile = record({
  id: text,
  name: text,
  aliases: z.array(text),
  chips: known('count'),
  time: known('time'),
  components: z.array(record({ name: text, events: known('ratio') })).min(1),
}).transform(
  ({ id, name, aliases, chips, time, components }): ReliabilityProfile => ({
    id,
    name,
    aliases,
    components: components.map(({ name, events }) => ({ name, rate: events / (chips * time) })),
  }),
);

const file = record({ schemaVersion: z.literal(1), note: text, profiles: z.array(profileFile).min(1) });

let parsed: readonly ReliabilityProfile[] | undefined;

/** All observed failure profiles; the first is the one computed with where none is named. */
export function reliabilityProfiles(): readonly ReliabilityProfile[] {
  parsed ??= parseData(file, data.reliability, 'data/reliability.json').profiles;
  return parsed;
}

/** A profile of the user's own: an entry like those of data/reliability.json. @throws ModelError that names the key */
export function reliabilityFromJson(json: unknown, path: string): ReliabilityProfile {
  return parseData(profileFile, json, path);
}

/** @throws RangeError with the nearest ids if there is no such profile */
export function findReliability(id: string): ReliabilityProfile {
  return requireEntry(reliabilityProfiles(), 'reliability', id, 'trnsim plan --goodput 1');
}

/** Failures per second of one chip's share of the machine. */
export function failureRate({ components }: ReliabilityProfile): number {
  return components.reduce((sum, { rate }) => sum + rate, 0);
}

/** Mean time between the failures that stop a job of `chips`. */
export function jobMtbf(profile: ReliabilityProfile, chips: number): Seconds {
  return 1 / (expectInteger('chips', chips, 1) * failureRate(profile));
}

/** The same for each component alone. */
export function componentMtbf(
  profile: ReliabilityProfile,
  chips: number,
): { readonly name: string; readonly mtbf: Seconds; readonly share: number }[] {
  const total = failureRate(profile);
  return profile.components.map(({ name, rate }) => ({ name, mtbf: 1 / (chips * rate), share: rate / total }));
}
