/**
 * The data that claims are computed from, with any datum changed: so that a report can say what a figure is sensitive to,
 * and a test that it is computed and not stored.
 *
 *     chips/trn3/peak.fp8             systems/trn2-ultraserver/power       prices/trn2.48xlarge/capacity-block
 *     site/pue                        reliability/llama-3-405b             models/llama-3.1-405b/hidden
 *     constants/neuronHostSequence
 */
import { findReliability, type ReliabilityProfile } from '../../economics/reliability.ts';
import { facility, findChip, findSystem, prices } from '../../hardware/catalog.ts';
import { type Constants, fittedConstants } from '../../hardware/fitted.ts';
import type { ChipSpec, FacilitySpec, PriceRow, SystemSpec } from '../../hardware/spec.ts';
import { modelSpec } from '../../models/presets.ts';
import type { ModelSpec } from '../../models/spec.ts';

/** A datum and the factor on it. */
export interface Change {
  readonly datum: string;
  readonly factor: number;
}

/** What a model of a claim may read. Each entry comes with the changes already in it. */
export interface World {
  readonly chip: (id: string) => ChipSpec;
  readonly system: (id: string) => SystemSpec;
  readonly model: (id: string) => ModelSpec;
  readonly prices: readonly PriceRow[];
  readonly site: FacilitySpec;
  /** Fitted constants of the clocks. */
  readonly constants: Constants;
  readonly reliability: (id: string) => ReliabilityProfile;
}

/**
 * `value` with the number at the dotted `path` multiplied by `factor`.
 * @throws RangeError if there is no number
 */
function scaledAt<T>(value: T, path: readonly string[], factor: number, datum: string): T {
  const [key, ...rest] = path;
  if (key === undefined) {
    if (typeof value !== 'number') throw new RangeError(`"datum" expected the path of a number, got ${datum}`);
    return (value * factor) as T;
  }
  if (typeof value !== 'object' || value === null || !(key in value)) {
    throw new RangeError(`"datum" expected the path of a number, got ${datum}`);
  }
  const inner = (value as Record<string, unknown>)[key];
  const changed = scaledAt(inner, rest, factor, datum);
  return (
    Array.isArray(value) ? value.map((item, i) => (i === Number(key) ? changed : item)) : { ...value, [key]: changed }
  ) as T;
}

/**
 * The shipped data with `changes` on it; without any, the data as they are.
 * @throws RangeError, here or when the entry is asked for, if the path of a change leads to no number; of an unknown profile
 */
export function createWorld(changes: readonly Change[] = []): World {
  const parts = changes.map(({ datum, factor }) => {
    // Ids have dots, and so has the path inside an entry: slashes part them.
    const [kind = '', id = '', path = ''] = datum.split('/');
    return { kind, id, path: path === '' ? [] : path.split('.'), factor, datum };
  });
  for (const { kind, id } of parts) if (kind === 'reliability') findReliability(id);
  const apply = <T>(kind: string, id: string, value: T): T =>
    parts
      .filter((part) => part.kind === kind && part.id === id)
      .reduce((changed, { path, factor, datum }) => scaledAt(changed, path, factor, datum), value);
  const chip = (id: string): ChipSpec => apply('chips', id, findChip(id));
  return {
    chip,
    system: (id) => {
      const system = apply('systems', id, findSystem(id));
      // A system holds its chip by value: a change of the chip has to reach it here too.
      return { ...system, chip: apply('chips', system.chip.id, system.chip) };
    },
    model: (id) => apply('models', id, modelSpec(id)),
    prices: parts
      .filter(({ kind }) => kind === 'prices')
      .reduce<readonly PriceRow[]>((rows, { id, path, factor, datum }) => {
        const isMeant = (row: PriceRow) => row.system === id && row.basis === path.join('.');
        if (!rows.some(isMeant)) throw new RangeError(`"datum" expected a price that is listed, got ${datum}`);
        return rows.map((row) =>
          isMeant(row) && row.usdPerHour !== null ? { ...row, usdPerHour: row.usdPerHour * factor } : row,
        );
      }, prices()),
    site: parts
      .filter(({ kind }) => kind === 'site')
      .reduce<FacilitySpec>((site, { id, factor, datum }) => scaledAt(site, [id], factor, datum), facility()),
    constants: parts
      .filter(({ kind }) => kind === 'constants')
      .reduce<Constants>(
        (constants, { id, factor, datum }) => scaledAt(constants, [id], factor, datum),
        fittedConstants(),
      ),
    reliability: (id) => {
      const profile = findReliability(id);
      // A profile is one datum: the factor is on the rates of all of its components.
      const factor = parts
        .filter((part) => part.kind === 'reliability' && part.id === profile.id)
        .reduce((product, part) => product * part.factor, 1);
      return { ...profile, components: profile.components.map((c) => ({ ...c, rate: c.rate * factor })) };
    },
  };
}
