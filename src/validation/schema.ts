/**
 * Measurements in: the rows that the package ships, and a user's file in the same form.
 *
 * Keys are strict and every number is checked, so a misspelt field can't change a prediction unseen; the error names
 * the row, the field, the value and what was expected. Names that only a model can judge (system, family, operator,
 * number format) are any text: the row is then reported as not predicted.
 */
import { z } from 'zod';
import { parseJson } from '../base/json.ts';
import { parseData } from '../hardware/schema.ts';
import type { Measurement } from './measurement.ts';
import { measurementsText } from './measurements.gen.ts';

/** A file of 100 times the shipped rows; more is something else. */
const MAX_ROWS = 100_000;

/** Dimensions of the measured operators, by name. */
const DIMENSIONS: Readonly<Record<string, readonly string[]>> = {
  matmul: ['m', 'k', 'n'],
  'batched-matmul': ['batch', 'm', 'k', 'n'],
  'batched-matmul-softmax': ['batch', 'm', 'k', 'n'],
  'rmsnorm-matmul': ['m', 'k', 'n'],
  'add-rmsnorm-matmul': ['m', 'k', 'n'],
  'matmul-add-rmsnorm': ['m', 'k', 'n'],
  'matmul-lora': ['m', 'k', 'n', 'rank'],
  'gated-mlp': ['rows', 'hidden', 'ffn'],
  attention: ['batch', 'heads', 'kvHeads', 'headDim', 'seqQ', 'seqKv'],
  'selective-scan': ['batch', 'channels', 'seq', 'state'],
  'depthwise-conv1d': ['batch', 'channels', 'length', 'taps'],
  'dma-copy': ['bytes', 'engines'],
  ...Object.fromEntries(
    ['softmax', 'rmsnorm', 'layernorm', 'gelu', 'silu', 'swiglu', 'add', 'rope', 'transpose', 'adamw', 'embedding'].map(
      (op) => [op, ['rows', 'cols']],
    ),
  ),
};

// Names, counts and settings that several kinds of rows share.
const name = z.string().min(1);
const count = z.int().min(1);
const lnc = z.union([z.literal(1), z.literal(2), z.null()]);
const timing = z.enum(['device', 'host', 'unknown']);
const optional = z.exactOptional;

/**
 * The dimensions must be the operator's, all and no others: a swapped or missing one would be another problem. An operator
 * that is not in the list keeps its dimensions as they are, and no model predicts it.
 */
const kernelCase = z
  .strictObject({
    op: name,
    dims: z.record(z.string(), count),
    dtype: name,
    outDtype: optional(name),
    accumulate: optional(name),
    cores: count,
    lnc,
    copies: count,
    implementation: z.enum(['optimised', 'compiler', 'naive', 'library']),
    timing,
    operandsIn: optional(z.enum(['hbm', 'sbuf'])),
    causal: optional(z.boolean()),
    phase: optional(z.enum(['prefill', 'decode'])),
  })
  .superRefine(({ op, dims }, context) => {
    const refuse = (path: string[], message: string) => context.addIssue({ code: 'custom', path, message });
    const dimensions = Object.hasOwn(DIMENSIONS, op) ? DIMENSIONS[op]! : Object.keys(dims);
    for (const key of dimensions) if (dims[key] === undefined) refuse(['dims', key], 'expected integer >= 1');
    for (const key of Object.keys(dims)) {
      if (!dimensions.includes(key)) refuse(['dims', key], `expected the dimensions ${dimensions.join(', ')} of ${op}`);
    }
  });

const collectiveCase = z.strictObject({
  op: name,
  ranks: z.int().min(2),
  ranksPerNode: count,
  ranksPerAccelerator: count,
  lnc,
  bytes: count,
  dtype: name.nullable(),
  timing,
  software: name,
  algorithm: optional(name),
});

const model = z
  .strictObject({
    name,
    layers: count,
    hidden: count,
    heads: count,
    kvHeads: count,
    headDim: count,
    ffn: optional(count),
    gatedMlp: z.boolean(),
    vocab: count,
    attention: z.enum(['causal', 'bidirectional']),
    experts: optional(count),
    topK: optional(count),
    moeFfn: optional(count),
    sharedExperts: optional(z.int().min(0)),
    denseLayers: optional(z.int().min(0)),
    mla: optional(
      z.strictObject({
        qLoraRank: count,
        kvLoraRank: count,
        qkNopeHeadDim: count,
        qkRopeHeadDim: count,
        vHeadDim: count,
      }),
    ),
    slidingWindow: optional(count),
    slidingWindowLayers: optional(count),
  })
  // What a model needs depends on what it is: a dense one its width, a mixture its experts, a window its layers.
  .superRefine((fields, context) => {
    const needed = (keys: readonly (keyof typeof fields)[]) =>
      keys
        .filter((key) => fields[key] === undefined)
        .map((key) => context.addIssue({ code: 'custom', path: [key], message: 'expected integer' }));
    if (fields.experts === undefined) needed(['ffn']);
    else needed(['topK', 'moeFfn', 'sharedExperts', 'denseLayers']);
    if (fields.slidingWindow !== undefined) needed(['slidingWindowLayers']);
  });

const trainingCase = z.strictObject({
  model,
  tp: count,
  pp: count,
  dp: count,
  cp: count,
  ep: count,
  interleave: count,
  sequenceParallel: z.boolean().nullable(),
  zeroStage: z.int().min(0).max(3).nullable(),
  recompute: z.enum(['none', 'selective', 'full', 'unknown']),
  seqLen: count,
  microBatch: count,
  globalBatch: count,
  dtype: name,
  optimizer: name,
  optimizerDtype: name.nullable(),
  expertLoad: optional(z.enum(['balanced', 'unknown'])),
  lnc,
  software: name,
});

const inferenceCase = z.strictObject({
  model,
  tp: count,
  pp: count,
  ep: count,
  dp: count,
  batch: count,
  compiled: z
    .strictObject({
      batch: count,
      promptBucket: optional(count),
      contextBucket: optional(count),
      maxLen: count,
    })
    .nullable(),
  inputLen: count,
  outputLen: count,
  prefillChunk: count.nullable(),
  weightDtype: name,
  kvDtype: name.nullable(),
  computeDtype: name,
  lnc,
  phase: z.enum(['prefill', 'decode', 'end-to-end']),
  serving: z.enum(['static', 'continuous']),
  speculation: z.strictObject({ method: name, draftModel: model, draftTokens: count }).nullable(),
  software: name,
});

/** A row of one kind. The metrics are given, so that a kernel can't be observed in tokens per second. */
function row<K extends string, C extends z.ZodType>(kind: K, ran: C, metrics: readonly string[]) {
  return z.strictObject({
    id: name,
    group: name,
    kind: z.literal(kind),
    family: name,
    system: z.strictObject({ id: name, nodes: count, accelerators: count }),
    case: ran,
    observed: z.strictObject({
      metric: z.enum(metrics),
      value: z.number().gt(0),
      statistic: z.enum(['p50', 'p99', 'mean', 'single', 'unknown']),
      relativeUncertainty: optional(z.number().gt(0)),
    }),
    trust: z.enum(['A', 'B']),
    assumed: optional(z.array(name)),
    counters: optional(z.record(z.string(), z.number().min(0))),
    source: name,
    notes: optional(z.string()),
    derivation: optional(name),
  });
}

const rows = z
  .array(
    // By kind, so that an error is about the fields of this kind and not about all four.
    z.discriminatedUnion('kind', [
      row('kernel', kernelCase, ['timeS']),
      row('collective', collectiveCase, ['timeS']),
      row('training', trainingCase, ['stepTimeS']),
      row('inference', inferenceCase, ['ttftS', 'tpotS', 'outputTokensPerS']),
    ]),
  )
  .max(MAX_ROWS);
const file = z.strictObject({ schemaVersion: z.literal(1), rows });

/**
 * The measurements in the text of a JSON file: an array of rows, or `{ "schemaVersion": 1, "rows": [...] }`.
 * @throws ModelError CONFIG that names the row's index, the field, the value and what was expected.
 */
export function parseMeasurements(text: string, path: string): readonly Measurement[] {
  const json = parseJson(text, path);
  // The schema's output has the fields of `Measurement`, with enumerations that zod types as text.
  return (Array.isArray(json) ? parseData(rows, json, path) : parseData(file, json, path).rows) as Measurement[];
}

// Parsed when first asked for: most verbs read no measurement.
let shipped: readonly Measurement[] | undefined;

/** The published measurements that the package ships (data/validation/measurements.json). */
export function measurements(): readonly Measurement[] {
  shipped ??= parseMeasurements(measurementsText, 'data/validation/measurements.json');
  return shipped;
}
