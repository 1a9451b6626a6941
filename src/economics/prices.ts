/**
 * Which of the published prices a job is billed at: the newest reading of the basis and region asked for, at the date
 * asked for or before.
 *
 * UltraServers have no price of their own: the price of a chip is then that of the largest other system with the same chip,
 * and the answer names it. A chip without any public price has none here either: give it as an input, or ask for the
 * break-even price (`costs.ts`). Leaves out: discounts under contract, storage, network and support fees.
 */
import { expectOneOf, show } from '../base/errors.ts';
import type { Dollars } from '../base/units.ts';
import { defaultPrice, prices, systems } from '../hardware/catalog.ts';
import type { PriceRow, SystemSpec } from '../hardware/spec.ts';
import { expectFinite } from './expect.ts';

/** Ways to pay, as the rows of data/prices.json name them. */
export const PRICE_BASES = ['on-demand', 'capacity-block', 'reserved', 'spot', 'list'] as const;
export type PriceBasis = (typeof PRICE_BASES)[number];

export interface PriceQuery {
  /** ISO year-month or year-month-day: readings after it do not count. */
  readonly date?: string;
  readonly basis?: PriceBasis;
  readonly region?: string;
}

export interface ChipPrice {
  readonly usdPerChipHour: Dollars;
  /** What it was read from; null for a price that the user gave. */
  readonly row: PriceRow | null;
  /** The price in one line, with what it was taken from. */
  readonly reason: string;
}

/** @throws RangeError for a basis or region that no price has, or a date that is none */
function checkPriceQuery({ date, basis, region }: PriceQuery, rows: readonly PriceRow[] = prices()): void {
  if (basis !== undefined) expectOneOf('price-basis', basis, PRICE_BASES);
  if (date !== undefined && !/^\d{4}-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?$/.test(date)) {
    throw new RangeError(`"price-date" expected a date such as 2026-09 or 2026-09-19, got ${show(date)}`);
  }
  const regions = [...new Set(rows.flatMap(regionsOf))].sort();
  if (region !== undefined) expectOneOf('price-region', region, regions);
}

/** A row may hold for several regions, as one text. */
function regionsOf({ region }: PriceRow): string[] {
  return region?.split(', ') ?? [];
}

/** The reading to use for a system or chip; null if there is none. Dated readings go before undated ones. */
export function choosePrice(id: string, query: PriceQuery = {}, rows: readonly PriceRow[] = prices()): PriceRow | null {
  checkPriceQuery(query, rows);
  const { date, basis, region } = query;
  const known = rows.filter(
    (row) =>
      row.system === id &&
      row.usdPerHour !== null &&
      (basis === undefined ? row.basis !== 'spot' : row.basis === basis) &&
      (region === undefined || regionsOf(row).includes(region)) &&
      (date === undefined || row.date === null || row.date.slice(0, date.length) <= date),
  );
  const usual = defaultPrice(id);
  // With nothing asked for, the row that `trnsim run` bills; equal dates keep the order of the file.
  if (date === undefined && basis === undefined && usual !== null) {
    const same = known.find(
      (row) => row.basis === usual.basis && row.date === usual.date && row.region === usual.region,
    );
    if (same !== undefined) return same;
  }
  return [...known].sort((a, b) => compare(b.date ?? '', a.date ?? ''))[0] ?? null;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Price of one chip of a system for an hour; null if none is public. */
export function chipPrice(
  system: SystemSpec,
  query: PriceQuery = {},
  rows: readonly PriceRow[] = prices(),
): ChipPrice | null {
  const { chip } = system;
  const others = systems()
    .filter((other) => other.chip.id === chip.id && other.id !== system.id)
    .sort((a, b) => b.chips - a.chips);
  // The system itself, then the largest with the chip, then the chip: some makers' prices are of a chip.
  for (const { id, chips } of [system, ...others, { id: chip.id, chips: 1 }]) {
    const row = choosePrice(id, query, rows);
    if (row === null) continue;
    const where = [row.region, row.date].filter((part) => part !== null).join(', ');
    const of = `${row.usdPerHour} USD/h of ${id} (${chips} chip${chips === 1 ? '' : 's'})`;
    return {
      usdPerChipHour: row.usdPerHour! / chips,
      row,
      reason: `${of}, ${row.basis}${where === '' ? '' : `, ${where}`}, source ${row.source}`,
    };
  }
  return null;
}

/** A price that the user gives. */
export function givenPrice(usdPerChipHour: Dollars): ChipPrice {
  return {
    usdPerChipHour: expectFinite('chip-price', usdPerChipHour, { min: 0 }),
    row: null,
    reason: `${usdPerChipHour} USD per chip-hour, given`,
  };
}
