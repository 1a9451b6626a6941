/**
 * The shipped models: Hugging Face configurations with their sizes, embedded from data/models and checked once, on first
 * use. An entry keeps its `config` as published. `modelSpec` turns any of them into the form that costs are computed from;
 * `parseModelConfig` one of a dense family into a decoder that can be run.
 */
import { z } from 'zod';
import { type CatalogueEntry, catalogueEntry, chips, citedSources, systems } from '../hardware/catalog.ts';
import { findEntry, noEntry, requireEntry } from '../hardware/lookup.ts';
import { head, known, parseData, record, text } from '../hardware/schema.ts';
import { parseModelSpec } from './families.ts';
import * as data from './presets.gen.ts';
import type { ModelSpec } from './spec.ts';

const presetSchema = record({
  ...head,
  source: text,
  kind: z.enum(['official', 'third-party']),
  status: text,
  published: text,
  parameters: known('count'),
  activeParameters: known('count'),
  kvElementsPerToken: known('count'),
  config: z.record(z.string(), z.unknown()),
});

/** One model of the catalogue. */
export interface ModelPreset {
  readonly id: string;
  readonly name: string;
  readonly aliases: readonly string[];
  /** The size as its maker states it, such as "8.03B". */
  readonly published: string;
  /** Parameters of the whole model. */
  readonly parameters: number;
  /** Parameters that one token meets; fewer than `parameters` in a mixture of experts. */
  readonly activeParameters: number;
  /** Elements cached per token, all layers. */
  readonly kvElementsPerToken: number;
  /** The model's `config.json`. */
  readonly config: Readonly<Record<string, unknown>>;
}

/** An entry as its file has it. `sources` spells out the source keys that it uses. */
export interface ModelEntry {
  readonly spec: Readonly<Record<string, unknown>>;
  readonly sources: Readonly<Record<string, string>>;
}

let presets: readonly ModelPreset[] | undefined;

/** All shipped models, in the order of their ids. */
export function models(): readonly ModelPreset[] {
  presets ??= parseData(z.array(presetSchema), data.models, 'data/models');
  return presets;
}

/**
 * The model with this id or alias, in any case.
 * @throws RangeError with the nearest ids if there is none.
 */
export function findModel(id: string): ModelPreset {
  return requireEntry(models(), 'model', id, 'trnsim models');
}

/**
 * The shape of the model with this id or alias.
 * @throws RangeError with the nearest ids if there is none.
 */
export function modelSpec(id: string): ModelSpec {
  const preset = findModel(id);
  return parseModelSpec(preset.config, `models/${preset.id}.json: config`, preset.id);
}

/** The file of a model with units and provenance, by id or alias; undefined if there is none. */
export function modelEntry(id: string): ModelEntry | undefined {
  const preset = findEntry(models(), id);
  const spec = (data.models as ModelEntry['spec'][]).find((file) => file.id === preset?.id);
  return spec && { spec, sources: citedSources(spec) };
}

/**
 * The file of a system, chip, core or model, by id or alias.
 * @throws RangeError with the nearest ids if there is none.
 */
export function findEntryOfAny(id: string): CatalogueEntry | (ModelEntry & { readonly type: 'model' }) {
  const model = modelEntry(id);
  if (model !== undefined) return { type: 'model', ...model };
  const entry = catalogueEntry(id);
  if (entry !== undefined) return entry;
  const all = [...systems(), ...chips(), ...models()];
  throw noEntry(all, 'id', id, 'trnsim systems, chips and models');
}
