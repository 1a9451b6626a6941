/**
 * What a job draws and costs: the power and the price of whole systems, ranks that idle included, for its time.
 * A quantity nobody publishes is null, with the reason.
 */
import type { Dollars, Joules, Seconds } from '../base/units.ts';
import { defaultPrice } from '../hardware/catalog.ts';
import type { PriceRow, SystemSpec } from '../hardware/spec.ts';

export interface Economics {
  readonly energyJ: Joules | null;
  readonly energyReason: string;
  readonly costUsd: Dollars | null;
  readonly costReason: string;
}

/** Energy and cost of `nodes` systems for that time. */
export function economics(system: SystemSpec, nodes: number, time: Seconds): Economics {
  const price = defaultPrice(system.id);
  const usdPerHour = price?.usdPerHour ?? null;
  const { power, powerSource, chips, id } = system;
  const each = nodes === 1 ? '' : `${nodes} systems, each `;
  return {
    energyJ: power === null ? null : nodes * power * time,
    energyReason:
      power === null
        ? `no power of ${id} is published (${powerSource})`
        : `${each}${power} W for all ${chips} chips with hosts and conversion, without the building's PUE; ${powerSource}`,
    costUsd: usdPerHour === null ? null : (nodes * usdPerHour * time) / 3600,
    costReason:
      usdPerHour === null || price === null ? `no public price of ${id}` : `${each}${priceReason(price, usdPerHour)}`,
  };
}

function priceReason({ basis, region, date, source }: PriceRow, usdPerHour: number): string {
  const where = [region, date].filter((part) => part !== null).join(', ');
  return `${usdPerHour} USD per hour for the whole system, ${basis}${where ? ` (${where})` : ''}, source ${source}`;
}
