/**
 * ASTRA-sim's network file: the dimensions of an analytical network, the first varying fastest over the ranks.
 *
 *     topology: [ Ring, Switch ]   npus_count: [ 16, 4 ]   bandwidth: [ 50, 25 ]   latency: [ 500, 500 ]
 *
 * Its GB/s is 2^30 B/s, unlike the GB/s of its own system file (10^9). Latency is of one hop in ns, and a switch is two
 * hops. Keys that ASTRA-sim does not read are reported, not refused: its examples carry some.
 * Files of the form above are read here; any other YAML by the `yaml` package, which takes longer to load than ASTRA-sim's
 * answers to compute and is loaded only then.
 * see: astra-sim/astra-network-analytical common/network-parser/NetworkParser.cpp, common/NetworkFunction.cpp
 */
import { ModelError, show } from '../base/errors.ts';
import type { BytesPerSecond } from '../base/units.ts';

const ASTRA_TOPOLOGIES = ['Ring', 'FullyConnected', 'Switch'] as const;
export type AstraTopology = (typeof ASTRA_TOPOLOGIES)[number];

export interface AstraDimension {
  readonly topology: AstraTopology;
  readonly npus: number;
  /** Of one link, one direction. */
  readonly bandwidth: BytesPerSecond;
  /** Of one hop. In ns as written, so that it stays the double that ASTRA-sim adds. */
  readonly latencyNs: number;
}

/** What a file says, and what in it nobody reads. */
export interface AstraFile<T> {
  readonly value: T;
  readonly warnings: readonly string[];
}

const GB = 2 ** 30;
/** Ranks of one simulation: fits 32-bit arithmetic, and is a thousand times the largest cluster. */
const MAX_RANKS = 2 ** 30;
const KEYS = ['topology', 'npus_count', 'bandwidth', 'latency'];

/**
 * Warnings for the keys of `object` that are not in `known`.
 * @throws ModelError if `object` is not a map
 */
export function unknownKeys(object: unknown, known: readonly string[], path: string): string[] {
  if (typeof object !== 'object' || object === null || Array.isArray(object)) {
    throw new ModelError('CONFIG', path, `expected a map of keys to values, got ${show(object)}`);
  }
  const unread = Object.keys(object).filter((key) => !known.includes(key));
  return unread.map((key) => `${path}: key ${show(key)} is not read`);
}

/**
 * The dimensions in the text of a network file.
 * @throws ModelError CONFIG naming the key: no YAML, lists missing or of unequal length, a value out of range
 */
export async function parseAstraNetwork(text: string, path: string): Promise<AstraFile<readonly AstraDimension[]>> {
  return astraNetwork(parseFlowLists(text) ?? (await parseYamlText(text, path)), path);
}

/**
 * The dimensions in a network file that has been parsed already.
 * @throws ModelError as `parseAstraNetwork`
 */
export function astraNetwork(file: unknown, path: string): AstraFile<readonly AstraDimension[]> {
  const warnings = unknownKeys(file, KEYS, path);
  const lists = KEYS.map((key) => {
    const list = (file as Record<string, unknown>)[key];
    if (Array.isArray(list)) return list as unknown[];
    throw new ModelError('CONFIG', `${path}: ${key}`, `expected a list with one entry a dimension, got ${show(list)}`);
  });
  const [topologies, npus, bandwidths, latencies] = lists as [unknown[], unknown[], unknown[], unknown[]];
  const count = topologies.length;
  if (count < 1 || count > 10) {
    throw new ModelError('CONFIG', `${path}: topology`, `expected 1 to 10 dimensions, got ${count}`);
  }
  for (const [index, list] of lists.entries()) {
    if (list.length === count) continue;
    throw new ModelError('CONFIG', `${path}: ${KEYS[index]}`, `expected ${count} entries, got ${list.length}`);
  }
  const dimensions = topologies.map((topology, d): AstraDimension => {
    const at = (key: string) => `${path}: ${key}[${d}]`;
    if (!ASTRA_TOPOLOGIES.includes(topology as AstraTopology)) {
      throw new ModelError('CONFIG', at('topology'), `expected ${ASTRA_TOPOLOGIES.join(', ')}, got ${show(topology)}`);
    }
    const ranks = numberAt(npus[d], at('npus_count'), 'an integer > 1', (n) => Number.isSafeInteger(n) && n > 1);
    const bandwidth = numberAt(bandwidths[d], at('bandwidth'), 'a number of GB/s > 0', (n) => n > 0);
    const latencyNs = numberAt(latencies[d], at('latency'), 'a number of ns >= 0', (n) => n >= 0);
    return { topology: topology as AstraTopology, npus: ranks, bandwidth: bandwidth * GB, latencyNs };
  });
  const total = astraRanks(dimensions);
  if (total > MAX_RANKS) {
    throw new ModelError('CAPACITY', `${path}: npus_count`, `expected at most ${MAX_RANKS} ranks, got ${total}`);
  }
  return { value: dimensions, warnings };
}

/** Ranks of the whole network. */
export function astraRanks(dimensions: readonly AstraDimension[]): number {
  return dimensions.reduce((product, { npus }) => product * npus, 1);
}

const FLOW_LIST = /^([A-Za-z_][\w-]*):[ \t]+\[([\w.,+ \t-]*)\][ \t]*(?:#.*)?$/;
const PLAIN_NUMBER = /^[+-]?\d+(\.\d*)?$/;
const PLAIN_WORD = /^[A-Za-z]\w*$/;

/** `key: [ a, b ]` line by line; undefined if the text is anything more. */
function parseFlowLists(text: string): Record<string, unknown> | undefined {
  const file: Record<string, unknown> = {};
  for (const line of text.split(/\r?\n/)) {
    if (/^[ \t]*(#.*)?$/.test(line)) continue;
    const [, key, list] = FLOW_LIST.exec(line) ?? [];
    const items = list?.split(',').map((item) => item.trim()) ?? [];
    const isPlain = items.every((item) => PLAIN_NUMBER.test(item) || PLAIN_WORD.test(item));
    if (key === undefined || Object.hasOwn(file, key) || !isPlain) return undefined;
    file[key] = items.map((item) => (PLAIN_NUMBER.test(item) ? Number(item) : item));
  }
  return file;
}

async function parseYamlText(text: string, path: string): Promise<unknown> {
  const { parse } = await import('yaml');
  try {
    // Its warnings would go to the process; what matters of them is an error below.
    return parse(text, { logLevel: 'error' });
  } catch (cause) {
    const reason = (cause as Error).message.split('\n')[0]!.replace(/:$/, '');
    throw new ModelError('CONFIG', path, `expected YAML, but ${reason}`, { cause });
  }
}

/** @throws ModelError if `value` is not a finite number that `isValid` accepts */
export function numberAt(value: unknown, path: string, expected: string, isValid: (n: number) => boolean): number {
  if (typeof value === 'number' && Number.isFinite(value) && isValid(value)) return value;
  throw new ModelError('CONFIG', path, `expected ${expected}, got ${show(value)}`);
}
