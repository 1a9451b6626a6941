/** The text of the catalogue: lists of machines and models, and one entry with the source of every number. */
import type { ChipSpec, FabricSpec, SystemSpec } from '../hardware/spec.ts';
import type { ModelPreset } from '../models/presets.ts';
import { formatBytes, significant } from './numbers.ts';
import { table } from './table.ts';

/** Null and undefined: nobody publishes it, or the chip has no such thing. */
function optional(value: number | null | undefined, text: (value: number) => string): string {
  return value === null || value === undefined ? '-' : text(value);
}

/** The shape of a fabric in a few words; links and rates are in `trnsim show`. */
function fabricName(fabric: FabricSpec | null): string {
  if (fabric === null) return 'unknown';
  if (fabric.type === 'single') return 'one chip';
  if (fabric.type === 'switched') return `switched (${fabric.levels.map(({ groupSize }) => groupSize).join(', ')})`;
  if (fabric.type === 'graph') return `graph of ${fabric.vertices}`;
  const [first] = fabric.dimensions;
  if (fabric.dimensions.length === 1) return `${first!.wrap ? 'ring' : 'chain'} of ${first!.size}`;
  return `torus ${fabric.dimensions.map(({ size }) => size).join('x')}`;
}

/** A line a system; memory is that of all its chips, power that of the whole system. */
export function systemsReport(systems: readonly SystemSpec[]): string {
  return table(systems, [
    { title: 'id', value: ({ id }) => id },
    { title: 'chips', value: ({ chips }) => String(chips), align: 'right' },
    { title: 'chip', value: ({ chip }) => chip.id },
    { title: 'fabric', value: ({ fabric }) => fabricName(fabric) },
    {
      title: 'memory',
      value: ({ chip, chips }) => optional(chip.memory.capacity, (b) => formatBytes(b * chips)),
      align: 'right',
    },
    {
      title: 'power',
      value: ({ power }) => optional(power, (watts) => `${significant(watts / 1e3)} kW`),
      align: 'right',
    },
  ]);
}

/** A line a chip: dense peaks in TFLOP/s, memory and its bandwidth in GB/s, TDP. */
export function chipsReport(chips: readonly ChipSpec[]): string {
  const peak = (name: 'bf16' | 'fp8' | 'mxfp8') => (chip: ChipSpec) =>
    optional(chip.peak[name], (f) => significant(f / 1e12));
  return table(chips, [
    { title: 'id', value: ({ id }) => id },
    { title: 'name', value: ({ name }) => name },
    { title: 'maker', value: ({ vendor }) => vendor },
    { title: 'status', value: ({ status }) => status },
    { title: 'cores', value: ({ cores }) => optional(cores, String), align: 'right' },
    { title: 'BF16 TFLOP/s', value: peak('bf16'), align: 'right' },
    { title: 'FP8 TFLOP/s', value: peak('fp8'), align: 'right' },
    { title: 'memory', value: ({ memory }) => optional(memory.capacity, formatBytes), align: 'right' },
    { title: 'GB/s', value: ({ memory }) => optional(memory.bandwidth, (b) => significant(b / 1e9)), align: 'right' },
    { title: 'TDP', value: ({ power }) => optional(power.tdp, (watts) => `${significant(watts)} W`), align: 'right' },
  ]);
}

/** A line a model; parameters of the whole model, in billions. */
export function modelsReport(models: readonly ModelPreset[]): string {
  return table(models, [
    { title: 'id', value: ({ id }) => id },
    { title: 'name', value: ({ name }) => name },
    { title: 'family', value: ({ config }) => String(config.model_type ?? '-') },
    { title: 'parameters', value: ({ parameters }) => `${significant(parameters / 1e9)} B`, align: 'right' },
  ]);
}

interface EntryLine {
  readonly path: string;
  readonly text: string;
}

/** An entry of the catalogue, a line for each value, numbers with their kind and source, then the sources. */
export function entryReport(spec: object, sources: Readonly<Record<string, string>>): string {
  const cited = Object.entries(sources).map(([key, text]) => `  ${key}: ${text}\n`);
  const lines = table(entryLines(spec, ''), [
    { title: 'field', value: ({ path }) => path },
    { title: 'value, kind and source', value: ({ text }) => text },
  ]);
  return cited.length > 0 ? `${lines}\nsources\n${cited.join('')}` : lines;
}

/** Walks the entry as its file has it. A quantity is one line with kind and source, and its alternatives follow by name. */
function entryLines(value: unknown, path: string): EntryLine[] {
  if (typeof value !== 'object' || value === null) return [{ path, text: String(value) }];
  if (isQuantity(value)) {
    const { value: number, unit, kind, source, note, alternatives = [] } = value;
    const shown = number === null ? 'unknown' : `${number}${unit && unit !== 'count' ? ` ${unit}` : ''}`;
    const others = alternatives.flatMap((other) => entryLines({ unit, ...other }, `${path} (${other.name})`));
    return [{ path, text: `${shown}  [${kind}: ${source}${note ? `; ${note}` : ''}]` }, ...others];
  }
  if (Array.isArray(value) && value.every((item) => typeof item !== 'object'))
    return [{ path, text: value.join(', ') }];
  return Object.entries(value).flatMap(([key, item]) => entryLines(item, path === '' ? key : `${path}.${key}`));
}

/** A number of a data file (data/README.md). */
interface QuantityFile {
  readonly name?: string;
  readonly value: number | string | null;
  readonly unit?: string;
  readonly kind: string;
  readonly source: string;
  readonly note?: string;
  readonly alternatives?: readonly QuantityFile[];
}

function isQuantity(value: object): value is QuantityFile {
  return 'value' in value && 'source' in value && 'kind' in value;
}
