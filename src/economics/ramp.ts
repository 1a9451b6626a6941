/**
 * A fleet over time: racks or UltraServers come every week, more each week, until the target or the site is full.
 *
 *     delivered in week w = perWeek x (1 + growth)^w, rounded to whole systems
 *
 * Chip-hours count a system from the end of its week. Leaves out: time to install and test, and machines that retire.
 */
import { expectInteger } from '../base/errors.ts';
import { expectFinite } from './expect.ts';

export interface RampOptions {
  /** Systems there at the start. */
  readonly start?: number;
  /** Systems that come in the first week. */
  readonly perWeek: number;
  /** How much more come each week than in the one before: 0.05 is 5 %. */
  readonly growth?: number;
  /** Systems wanted. */
  readonly target: number;
  /** Systems that the site takes by power and cooling. */
  readonly limit?: number;
}

export interface Ramp {
  /** Systems at the end of each week, week 0 is the start. */
  readonly systems: readonly number[];
  /** Null if the limit of the site is below the target, or the supply never gets there within 20 years. */
  readonly weeks: number | null;
  /** System-hours until then. */
  readonly systemHours: number;
}

const HOURS_PER_WEEK = 168;
const MAX_WEEKS = 1040;

export function ramp(options: RampOptions): Ramp {
  const start = expectInteger('start', options.start ?? 0);
  const target = expectInteger('target', options.target, 1);
  const limit = expectInteger('limit', options.limit ?? Number.MAX_SAFE_INTEGER);
  const growth = expectFinite('growth', options.growth ?? 0, { min: -1 });
  let rate = expectFinite('per-week', options.perWeek, { min: 0 });
  const full = Math.min(target, limit);
  const systems = [Math.min(start, full)];
  let delivered = start;
  let systemHours = 0;
  while (systems.at(-1)! < full && systems.length <= MAX_WEEKS) {
    systemHours += systems.at(-1)! * HOURS_PER_WEEK;
    delivered += rate;
    rate *= 1 + growth;
    systems.push(Math.min(full, Math.floor(delivered + 1e-9)));
  }
  const isThere = systems.at(-1)! >= target;
  return { systems, weeks: isThere ? systems.length - 1 : null, systemHours };
}
