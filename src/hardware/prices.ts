/**
 * Prices of systems, and what a building adds: power usage effectiveness, electricity and cooling.
 *
 * A price row is one reading of one price; several rows of a system differ in basis, region or date. At most one is the
 * default. A null price records that nobody publishes one, and where it was looked for.
 */
import { z } from 'zod';
import { type Dimension, head, record, sourced, text } from './schema.ts';
import type { FacilitySpec, PriceRow } from './spec.ts';

/** A price row as the file has it: `default` marks the one that costs are computed with. */
export interface PriceData {
  readonly row: PriceRow;
  readonly isDefault: boolean;
}

const priceRow = record({
  system: text,
  usdPerHour: z.number().min(0).nullable(),
  basis: z.enum(['on-demand', 'capacity-block', 'reserved', 'spot', 'list', 'unknown']),
  region: text.nullable(),
  date: z
    .string()
    .regex(/^\d{4}(-\d{2}){1,2}$/, 'expected a date such as 2026-09 or 2026-09-19')
    .nullable(),
  source: text,
  kind: z.enum(['official', 'third-party', 'derived', 'fitted', 'projected', 'unknown']),
  note: z.exactOptional(text),
  default: z.exactOptional(z.literal(true)),
})
  .refine((row) => (row.usdPerHour === null) === (row.kind === 'unknown'), {
    path: ['usdPerHour'],
    message: 'expected null exactly where kind is "unknown"',
  })
  .transform(({ default: isDefault, ...row }): PriceData => ({ row, isDefault: isDefault ?? false }));

export const priceSchema: z.ZodType<{ rows: PriceData[] }> = record({
  schemaVersion: head.schemaVersion,
  rows: z.array(priceRow),
});

/** A quantity that somebody knows, with its source. */
function certain(dimension: Dimension): z.ZodType<{ value: number; source: string }> {
  return sourced(dimension).transform(({ value, source }, context) => {
    if (value !== null) return { value, source };
    context.addIssue({ code: 'custom', path: ['value'], message: 'expected number, but it is null' });
    return z.NEVER;
  });
}

export const facilitySchema: z.ZodType<FacilitySpec> = record({
  schemaVersion: head.schemaVersion,
  note: head.note,
  pue: certain('ratio'),
  electricity: certain('energyPrice'),
  airLimit: certain('power'),
}).transform(({ pue, electricity, airLimit }) => ({
  pue: pue.value,
  electricity: electricity.value,
  airLimit: airLimit.value,
  sources: { pue: pue.source, electricity: electricity.source, airLimit: airLimit.source },
}));

export const sourceSchema: z.ZodType<{ sources: Record<string, string> }> = record({
  schemaVersion: head.schemaVersion,
  sources: z.record(text, text),
});
