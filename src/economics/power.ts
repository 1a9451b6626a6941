/**
 * Power of machines and of the building around them.
 *
 *     system   = chips at their TDP + the rest (hosts, switches, fans, conversion), as published for the whole system
 *     building = system x PUE
 *     carbon   = energy of the building x grid intensity; water likewise. Both are inputs: they differ by site and hour
 *
 * Cooling: air takes at most `airLimit` from a chip. A chip that would draw more is held at the limit by its clock. Power
 * goes as the cube of the clock, as voltage follows it (P = C V^2 f), so compute runs at (limit / TDP)^(1/3); memory is not
 * slowed. That is the kindest reading: at constant voltage it would be limit / TDP.
 * Leaves out: idle power, load below the TDP, leakage, and power caps of racks.
 */
import { ModelError } from '../base/errors.ts';
import { exp, log } from '../base/math.ts';
import type { Joules, Watts } from '../base/units.ts';
import { facility } from '../hardware/catalog.ts';
import type { FacilitySpec, SystemSpec } from '../hardware/spec.ts';
import { expectFinite } from './expect.ts';

export const JOULES_PER_MWH = 3.6e9;

export interface PowerOptions {
  /** Power of the building / power of the machines; the shipped one if left out. */
  readonly pue?: number;
  /** TDP of a chip, in place of the data's: the rest of the system scales with it. */
  readonly chipPower?: Watts;
  /** A chip with its share of hosts, switches, fans and conversion, in place of the data's. */
  readonly allInPower?: Watts;
  /** How chips are cooled; as the system's data says, or else liquid. */
  readonly cooling?: 'air' | 'liquid';
  readonly site?: FacilitySpec;
}

/** Of one chip: its own power, its share of the system's and of the building's. */
export interface ChipPower {
  /** Null where only the whole system's power is known. */
  readonly tdp: Watts | null;
  readonly system: Watts;
  readonly building: Watts;
  readonly pue: number;
  readonly cooling: 'air' | 'liquid';
  /** Speed of compute under the limit of the cooling, 1 if it does not bind. */
  readonly speed: number;
  /** Where the figures come from. */
  readonly source: string;
}

/**
 * @throws RangeError for a PUE below 1 or a power that is not positive; ModelError UNSUPPORTED if nobody publishes the power
 */
export function chipPower(system: SystemSpec, options: PowerOptions = {}): ChipPower {
  const { chip } = system;
  const site = options.site ?? facility();
  const pue = expectFinite('pue', options.pue ?? site.pue, { min: 1 });
  const published = chip.power.tdp;
  const tdp = options.chipPower === undefined ? published : expectFinite('chip-power', options.chipPower, { above: 0 });
  const whole = options.allInPower === undefined ? scaledPower(system, tdp) : givenPower(options.allInPower, tdp);
  if (whole === null) {
    throw new ModelError(
      'UNSUPPORTED',
      system.id,
      `expected a published power of the system or of a chip with its share of the system, or --all-in-power, got none (${system.powerSource})`,
    );
  }
  const cooling = options.cooling ?? system.cooling ?? 'liquid';
  const limit = cooling === 'air' ? site.airLimit : Infinity;
  const speed = tdp === null ? 1 : throttledSpeed(tdp, limit);
  const saved = tdp === null ? 0 : Math.max(0, tdp - limit);
  const scaled = options.chipPower === undefined ? '' : `scaled to ${options.chipPower} W a chip; `;
  return {
    tdp: tdp === null ? null : tdp - saved,
    system: whole - saved,
    building: (whole - saved) * pue,
    pue,
    cooling,
    speed,
    source:
      options.allInPower === undefined
        ? `${scaled}${system.powerSource}`
        : `${options.allInPower} W a chip all-in, as given`,
  };
}

/** Share of the system's power of a chip: the rest of it scales with a TDP that differs from the published one. */
function scaledPower({ power, chips, chip }: SystemSpec, tdp: Watts | null): Watts | null {
  const allIn = power === null ? chip.power.allIn : power / chips;
  const published = chip.power.tdp;
  return allIn === null || published === null ? allIn : (allIn * tdp!) / published;
}

function givenPower(allIn: Watts, tdp: Watts | null): Watts {
  return expectFinite('all-in-power', allIn, tdp === null ? { above: 0 } : { min: tdp });
}

/** Clock of a chip held at `limit`, relative to the clock at which it draws `demand`. */
export function throttledSpeed(demand: Watts, limit: Watts): number {
  return demand <= limit ? 1 : exp(log(limit / demand) / 3);
}

/** What energy brings with it, per joule at the machines; null where the intensity was not given. */
export interface Footprint {
  readonly carbonKg: number | null;
  readonly waterL: number | null;
}

/**
 * @param carbonPerKwh kg CO2e per kWh of the grid
 * @param waterPerKwh litres per kWh of the machines (WUE is stated per kWh of IT energy)
 */
export function footprint(it: Joules, pue: number, carbonPerKwh?: number, waterPerKwh?: number): Footprint {
  const kwh = it / 3.6e6;
  return {
    carbonKg:
      carbonPerKwh === undefined ? null : kwh * pue * expectFinite('carbon-intensity', carbonPerKwh, { min: 0 }),
    waterL: waterPerKwh === undefined ? null : kwh * expectFinite('water-intensity', waterPerKwh, { min: 0 }),
  };
}
