/**
 * System files: an instance, a server or an UltraServer as chips joined by a fabric.
 * Its fabric must join as many chips as it says to have: a file that contradicts itself is refused here, before any
 * route is computed.
 */
import { z } from 'zod';
import { type Lookup, peaks, scaleUp } from './chip.ts';
import { fabricProblem, fabricSchema } from './fabric.ts';
import { fact, head, known, quantity, record, sourced, text } from './schema.ts';
import type { ChipSpec, NetworkSpec, SystemSpec } from './spec.ts';

const cooling = fact.pipe(z.object({ value: z.enum(['air', 'liquid']).nullable() }));

/** A system file, parsed to a `SystemSpec`. Its chip and its network are ids of shipped ones, or written out. */
export function systemSchema(
  findChip: Lookup<ChipSpec>,
  chip: z.ZodType<ChipSpec>,
  findNetwork: Lookup<NetworkSpec>,
  network: z.ZodType<NetworkSpec>,
): z.ZodType<SystemSpec> {
  return record({
    ...head,
    vendor: text,
    chip: z.union([text, chip]),
    chips: known('count').refine((chips) => chips >= 1, 'expected at least 1 chip'),
    fabric: fabricSchema,
    scaleOut: quantity('bandwidth'),
    network: z.exactOptional(z.union([text, network])),
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
    cooling: z.exactOptional(cooling),
  }).transform((data, context): SystemSpec => {
    const refuse = (key: 'chip' | 'fabric' | 'network', message: string): never => {
      context.issues.push({ code: 'custom', path: [key], input: data[key], message });
      return z.NEVER;
    };
    const chip = typeof data.chip === 'string' ? findChip(data.chip) : data.chip;
    if (chip === undefined) return refuse('chip', 'expected a chip that "trnsim chips" lists');
    const problem = data.fabric === null ? null : fabricProblem(data.fabric, data.chips);
    if (problem !== null) return refuse('fabric', problem);
    const network = typeof data.network === 'string' ? findNetwork(data.network) : (data.network ?? null);
    if (network === undefined) return refuse('network', 'expected a network of data/fabrics');
    return {
      id: data.id,
      name: data.name,
      vendor: data.vendor,
      aliases: data.aliases,
      chip,
      chips: data.chips,
      fabric: data.fabric,
      scaleOut: data.scaleOut,
      network,
      power: data.power.value,
      powerSource: data.power.source,
      layout: {
        racks: data.layout?.racks ?? null,
        servers: data.layout?.servers ?? null,
        chipsPerServer: data.layout?.chipsPerServer ?? null,
      },
      cooling: data.cooling?.value ?? null,
    };
  });
}
