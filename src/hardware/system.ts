/**
 * System files: an instance, a server or an UltraServer as chips joined by a fabric.
 *
 * Chip numbers follow the fabric: dimension 0 of a torus is the fastest-varying, and each level of a switched fabric
 * groups consecutive chips. So the sizes must multiply to (torus) or end at (switched) the number of chips; a file that
 * contradicts itself is refused here, before any route is computed.
 */
import { z } from 'zod';
import { type Lookup, peaks, scaleUp } from './chip.ts';
import { fact, head, known, quantity, record, sourced, text } from './schema.ts';
import type { ChipSpec, FabricSpec, SystemSpec } from './spec.ts';

// One link (torus) or one chip's port (switched), one direction.
const link = { bandwidth: known('bandwidth'), latency: known('time') };
const fabricNote = { note: z.exactOptional(text) };

const fabric = z.discriminatedUnion('type', [
  record({ type: z.literal('single') }),
  record({
    type: z.literal('torus'),
    dimensions: z.array(record({ name: text, size: known('count'), wrap: z.boolean(), ...link })).min(1),
    ...fabricNote,
  }),
  record({
    type: z.literal('switched'),
    levels: z
      .array(record({ name: text, kind: z.enum(['switch', 'direct']), groupSize: known('count'), ...link }))
      .min(1),
    ...fabricNote,
  }),
  record({ type: z.literal('unknown'), source: text, kind: z.literal('unknown'), ...fabricNote }),
]);

function toFabric(data: z.infer<typeof fabric>): FabricSpec | null {
  if (data.type === 'unknown') return null;
  if (data.type === 'single') return data;
  const { note: _, ...spec } = data;
  return spec;
}

/** Why `fabric` can't join `chips` chips, or null if it can. */
function mismatch(fabric: FabricSpec, chips: number): string | null {
  switch (fabric.type) {
    case 'single':
      return chips === 1 ? null : `expected a fabric for ${chips} chips`;
    case 'torus': {
      const product = fabric.dimensions.reduce((n, dimension) => n * dimension.size, 1);
      return product === chips ? null : `expected dimensions that multiply to ${chips} chips, not ${product}`;
    }
    case 'switched': {
      // groupSize 1, 4, 72, 144: each level is made of whole groups of the one inside it.
      const sizes = [1, ...fabric.levels.map((level) => level.groupSize), chips];
      const ok = sizes.every((size, i) => i === 0 || size % sizes[i - 1]! === 0) && sizes.at(-2) === chips;
      return ok ? null : `expected group sizes that divide each other and end at ${chips} chips`;
    }
  }
}

/** A system file, parsed to a `SystemSpec`. Its chip is the id of a shipped one, or written out. */
export function systemSchema(findChip: Lookup<ChipSpec>, chip: z.ZodType<ChipSpec>): z.ZodType<SystemSpec> {
  return record({
    ...head,
    vendor: text,
    chip: z.union([text, chip]),
    chips: known('count').refine((chips) => chips >= 1, 'expected at least 1 chip'),
    fabric,
    scaleOut: quantity('bandwidth'),
    host: z.exactOptional(
      record({
        vcpu: quantity('count'),
        memory: quantity('size'),
        storage: z.exactOptional(quantity('size')),
        processor: z.exactOptional(fact),
      }),
    ),
    power: sourced('power'),
    // As the source prints them, to compare with chips x chip.
    totals: z.exactOptional(
      record({
        peak: z.exactOptional(peaks),
        memory: z.exactOptional(
          record({ capacity: quantity('size'), bandwidth: z.exactOptional(quantity('bandwidth')) }),
        ),
      }),
    ),
    // Per chip, as the instance tables print it; the fabric is what counts.
    scaleUp: z.exactOptional(scaleUp),
    layout: z.exactOptional(
      record({
        racks: z.exactOptional(quantity('count')),
        servers: z.exactOptional(quantity('count')),
        chipsPerServer: z.exactOptional(quantity('count')),
        chipsPerTray: z.exactOptional(quantity('count')),
        switches: z.exactOptional(quantity('count')),
      }),
    ),
    cooling: z.exactOptional(fact),
  }).transform((data, context): SystemSpec => {
    const refuse = (key: 'chip' | 'fabric', message: string): never => {
      context.issues.push({ code: 'custom', path: [key], input: data[key], message });
      return z.NEVER;
    };
    const chip = typeof data.chip === 'string' ? findChip(data.chip) : data.chip;
    if (chip === undefined) return refuse('chip', 'expected a chip that "trnsim chips" lists');
    const fabric = toFabric(data.fabric);
    const problem = fabric === null ? null : mismatch(fabric, data.chips);
    if (problem !== null) return refuse('fabric', problem);
    return {
      id: data.id,
      name: data.name,
      vendor: data.vendor,
      aliases: data.aliases,
      chip,
      chips: data.chips,
      fabric,
      scaleOut: data.scaleOut,
      power: data.power.value,
      powerSource: data.power.source,
    };
  });
}
