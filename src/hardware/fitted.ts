/**
 * The fitted constants of the models: physical parameters that no source prints, found by `npm run calibrate` on the rows
 * of `data/validation`. Each stands for one mechanism. They live in one file, so that they can be counted, listed beside
 * the rows that they were fitted on, and refitted by one command.
 *
 * A model takes `Constants` as an argument and reads its own by name; `fittedConstants()` is what it gets by default.
 */
import { z } from 'zod';
import * as data from './data.gen.ts';
import { parseData } from './schema.ts';

/** Which model a constant belongs to; calibration fits one layer at a time, in this order. */
export type FittedLayer = 'kernel' | 'collective' | 'llm';

export interface FittedConstant {
  readonly name: string;
  readonly layer: FittedLayer;
  /** In `unit`, which is an SI base unit, `cycles` or `ratio`. */
  readonly value: number;
  readonly unit: string;
  /** The physical effect that it stands for. */
  readonly mechanism: string;
  /** Calibration searches between these, both included. */
  readonly lower: number;
  readonly upper: number;
  /** Which rows it was fitted on, in words that `calibrate` can repeat: kind/family[/op]. */
  readonly rows: readonly string[];
  /** Median absolute error of those rows in percent with `initial`, and with `value`. */
  readonly errorBeforePct: number | null;
  readonly errorAfterPct: number | null;
  /** Where the search began: a documented neighbour, or 0 = without the mechanism. */
  readonly initial: number;
}

/** Values by name, in the units of `FittedConstant`. */
export type Constants = Readonly<Record<string, number>>;

const schema = z.strictObject({
  schemaVersion: z.literal(1),
  constants: z.array(
    z.strictObject({
      name: z.string(),
      layer: z.enum(['kernel', 'collective', 'llm']),
      value: z.number(),
      unit: z.string(),
      mechanism: z.string(),
      lower: z.number(),
      upper: z.number(),
      rows: z.array(z.string()),
      errorBeforePct: z.number().nullable(),
      errorAfterPct: z.number().nullable(),
      initial: z.number(),
    }),
  ),
});

let parsed: readonly FittedConstant[] | undefined;
let values: Constants | undefined;

/** All fitted constants, with what they stand for. */
export function fittedList(): readonly FittedConstant[] {
  parsed ??= parseData(schema, data.fitted, 'data/fitted.json').constants;
  return parsed;
}

/** Their values by name. */
export function fittedConstants(): Constants {
  values ??= Object.fromEntries(fittedList().map(({ name, value }) => [name, value]));
  return values;
}
