/**
 * The shipped machines: chips, systems, networks, prices. The files of `data/` are embedded (`data.gen.ts`), parsed and checked
 * once, on first use. A user's own JSON goes through the same schema and works like a shipped one.
 *
 * Specs hold the default of every quantity in SI base units; units, sources and alternatives are in `catalogueEntry`.
 */
import type { z } from 'zod';
import { chooseAlternatives } from './alternatives.ts';
import { chipSchema, coreSchema } from './chip.ts';
import * as data from './data.gen.ts';
import { knownFabricSchema, networkSchema } from './fabric.ts';
import { findEntry, requireEntry } from './lookup.ts';
import { facilitySchema, type PriceData, priceSchema, sourceSchema } from './prices.ts';
import { parseData } from './schema.ts';
import type { ChipSpec, FabricSpec, FacilitySpec, NetworkSpec, PriceRow, SystemSpec } from './spec.ts';
import { systemSchema } from './system.ts';

/** An entry as its file has it. `sources` spells out the source keys that it uses. */
export interface CatalogueEntry {
  readonly type: 'chip' | 'core' | 'system' | 'network';
  readonly spec: Readonly<Record<string, unknown>>;
  readonly sources: Readonly<Record<string, string>>;
}

type CatalogueFile = Readonly<Record<string, unknown>> & { readonly id: string; readonly aliases: readonly string[] };

function lazy<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

interface Folder<T> {
  readonly files: readonly CatalogueFile[];
  readonly parse: (file: CatalogueFile) => T;
  readonly all: () => readonly T[];
}

/** One folder of data/. A file is parsed when it is first asked for: who needs one machine doesn't wait for all. */
function folder<T extends object>(name: string, embedded: unknown, schema: z.ZodType<T>): Folder<T> {
  const files = embedded as readonly CatalogueFile[];
  const parsed = new Map<string, T>();
  const parse = (file: CatalogueFile): T => {
    const entry = parsed.get(file.id) ?? parseData(schema, file, `data/${name}/${file.id}.json`);
    parsed.set(file.id, entry);
    return entry;
  };
  return { files, parse, all: lazy(() => files.map(parse)) };
}

function find<T>({ files, parse }: Folder<T>, id: string): T | undefined {
  const file = findEntry(files, id);
  return file && parse(file);
}

const coreFolder = folder('cores', data.cores, coreSchema);
const chipFile = chipSchema((id) => find(coreFolder, id));
const chipFolder = folder('chips', data.chips, chipFile);
const networkFolder = folder('fabrics', data.fabrics, networkSchema);
const systemFile = systemSchema(
  (id) => find(chipFolder, id),
  chipFile,
  (id) => find(networkFolder, id),
  networkSchema,
);
const systemFolder = folder('systems', data.systems, systemFile);
const priceData = lazy((): readonly PriceData[] => parseData(priceSchema, data.prices, 'data/prices.json').rows);
const sources = lazy(() => parseData(sourceSchema, data.sources, 'data/sources.json').sources);

/** All shipped chips, in the order of their ids. */
export const chips: () => readonly ChipSpec[] = chipFolder.all;

/** All shipped systems, in the order of their ids. */
export const systems: () => readonly SystemSpec[] = systemFolder.all;

/** All shipped networks between systems, in the order of their ids. */
export const networks: () => readonly NetworkSpec[] = networkFolder.all;

/** All price readings, the defaults among them. */
export const prices: () => readonly PriceRow[] = lazy(() => priceData().map(({ row }) => row));

/** Power usage effectiveness and price of electricity of the building around the systems. */
export const facility: () => FacilitySpec = lazy(() => parseData(facilitySchema, data.power, 'data/power.json'));

/**
 * The chip with this id or alias, in any case.
 * @throws RangeError with the nearest ids if there is none.
 */
export function findChip(id: string): ChipSpec {
  return chipFolder.parse(requireEntry(chipFolder.files, 'chip', id, 'trnsim chips'));
}

/**
 * The system with this id or alias, in any case.
 * @throws RangeError with the nearest ids if there is none.
 */
export function findSystem(id: string): SystemSpec {
  return systemFolder.parse(requireEntry(systemFolder.files, 'system', id, 'trnsim systems'));
}

/**
 * The system with this id, with named alternatives in place of the defaults: of its own file and of those of its chip,
 * core and network. `withAlternatives('trn3-gen2', ['official-x8'])` reads the documented links as x8.
 * @throws RangeError if there is no such system or no alternative of that name
 */
export function withAlternatives(id: string, names: readonly string[]): SystemSpec {
  const file = requireEntry(systemFolder.files, 'system', id, 'trnsim systems');
  const chip = inline(chipFolder, file.chip);
  const whole = {
    ...file,
    chip: { ...chip, ...('core' in chip && { core: inline(coreFolder, chip.core) }) },
    ...('network' in file && { network: inline(networkFolder, file.network) }),
  };
  return parseData(systemFile, chooseAlternatives(whole, names), `data/systems/${file.id}.json`);
}

/** The file that an id refers to, or the entry itself if it is written out. */
function inline<T>({ files }: Folder<T>, entry: unknown): object {
  return (typeof entry === 'string' ? findEntry(files, entry) : entry) as object;
}

/**
 * The network with this id or alias, in any case.
 * @throws RangeError with the nearest ids if there is none.
 */
export function findNetwork(id: string): NetworkSpec {
  return networkFolder.parse(requireEntry(networkFolder.files, 'network', id, 'trnsim systems'));
}

/**
 * The chip that a user's JSON describes; `path` is its file, for errors.
 * @throws ModelError that names the key, the value and what was expected.
 */
export function chipFromJson(json: unknown, path: string): ChipSpec {
  return parseData(chipFile, json, path);
}

/**
 * The system that a user's JSON describes; `path` is its file, for errors. Its `chip` is the id of a shipped chip or
 * a chip of its own.
 * @throws ModelError that names the key, the value and what was expected.
 */
export function systemFromJson(json: unknown, path: string): SystemSpec {
  return parseData(systemFile, json, path);
}

/**
 * The network between systems that a user's JSON describes; `path` is its file, for errors.
 * @throws ModelError that names the key, the value and what was expected.
 */
export function networkFromJson(json: unknown, path: string): NetworkSpec {
  return parseData(networkSchema, json, path);
}

/**
 * The fabric that a user's JSON describes: a torus, switch levels or a graph; `path` is its file, for errors.
 * @throws ModelError that names the key, the value and what was expected.
 */
export function fabricFromJson(json: unknown, path: string): FabricSpec {
  return parseData(knownFabricSchema, json, path);
}

/** The price that costs are computed with, or null if no price of the system is public. */
export function defaultPrice(systemId: string): PriceRow | null {
  const id = findEntry(systemFolder.files, systemId)?.id ?? systemId;
  return priceData().find(({ row, isDefault }) => isDefault && row.system === id)?.row ?? null;
}

/** The source keys in `json`: each `source` is `key` or `key: place`, several joined by `; `. */
function sourceKeys(json: unknown): string[] {
  if (typeof json !== 'object' || json === null) return [];
  return Object.entries(json).flatMap(([key, value]) =>
    key === 'source' && typeof value === 'string'
      ? value.split('; ').map((part) => part.split(':')[0]!)
      : sourceKeys(value),
  );
}

/** The keys that `json` cites as sources, spelt out. */
export function citedSources(json: unknown): Record<string, string> {
  const cited = new Set(sourceKeys(json));
  return Object.fromEntries(Object.entries(sources()).filter(([key]) => cited.has(key)));
}

/**
 * The file of a chip, core, system or network with units, provenance and alternatives, by id or alias; undefined if there is none.
 */
export function catalogueEntry(id: string): CatalogueEntry | undefined {
  for (const [type, { files }] of [
    ['system', systemFolder],
    ['chip', chipFolder],
    ['core', coreFolder],
    ['network', networkFolder],
  ] as const) {
    const spec = findEntry(files, id);
    if (spec !== undefined) return { type, spec, sources: citedSources(spec) };
  }
  return undefined;
}
