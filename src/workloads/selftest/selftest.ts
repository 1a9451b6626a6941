/**
 * Bring-up of a described machine: engines, memories, links and collectives exercised with real data, as JSON-safe rows, with
 * the simulated time of all of it and what the system draws meanwhile.
 *
 * Chips are tested side by side, the checks one after another. A check that is not possible, because something is not
 * published, is neither passed nor failed and says why.
 */
import { expectKnownKeys, ModelError } from '../../base/errors.ts';
import { nodeTopology } from '../../fabric/cluster.ts';
import { applyFaults } from '../../fabric/degrade.ts';
import type { Fault } from '../../fabric/faults.ts';
import type { SystemSpec } from '../../hardware/spec.ts';
import { createArena } from '../../kernels/index.ts';
import { createCluster } from '../../machine/cluster.ts';
import { economics } from '../economics.ts';
import type { Check } from './check.ts';
import { checkCollectives } from './collectives.ts';
import { checkChip } from './engines.ts';
import { checkLinks } from './links.ts';

export interface SelfTestOptions {
  readonly system: SystemSpec;
  /** Broken links and slow chips that the test should find. */
  readonly faults?: readonly Fault[];
}

export interface SelfTestCheck extends Omit<Check, 'time'> {
  readonly timeNs: number;
  /** Null where no power of the system is published. */
  readonly energyJ: number | null;
}

export interface SelfTestResult {
  readonly schemaVersion: 1;
  /** No check failed. */
  readonly ok: boolean;
  readonly system: string;
  readonly chip: string;
  readonly chips: number;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly timeNs: number;
  readonly energyJ: number | null;
  readonly energyReason: string;
  readonly checks: readonly SelfTestCheck[];
}

/**
 * @throws RangeError for a fault that names nothing of the system; ModelError (TOPOLOGY) if faults cut chips off
 */
export function selfTest(options: SelfTestOptions): SelfTestResult {
  expectKnownKeys('options', options, ['system', 'faults']);
  const { system } = options;
  const checks = runChecks(options).map(({ time, ...check }) => ({
    ...check,
    timeNs: time * 1e9,
    energyJ: economics(system, 1, time).energyJ,
  }));
  const timeNs = checks.reduce((sum, check) => sum + check.timeNs, 0);
  const { energyJ, energyReason } = economics(system, 1, timeNs / 1e9);
  const count = (ok: boolean | null) => checks.filter((check) => check.ok === ok).length;
  return {
    schemaVersion: 1,
    ok: count(false) === 0,
    system: system.id,
    chip: system.chip.id,
    chips: system.chips,
    passed: count(true),
    failed: count(false),
    skipped: count(null),
    timeNs,
    energyJ,
    energyReason,
    checks,
  };
}

/** Every pair of chips is routed, every algorithm run: more chips than any scale-up domain has would take minutes. */
const MAX_TESTED_CHIPS = 256;

function runChecks({ system, faults = [] }: SelfTestOptions): Check[] {
  if (system.chips > MAX_TESTED_CHIPS) {
    throw new ModelError(
      'CAPACITY',
      system.id,
      `expected a system of at most ${MAX_TESTED_CHIPS} chips, got ${system.chips}`,
    );
  }
  const arena = createArena({ deterministic: true });
  const chip = checkChip(arena, system.chip);
  if (system.fabric === null) {
    if (faults.length > 0)
      throw new ModelError('TOPOLOGY', system.id, 'expected published links to have faults, got none');
    const detail = `the links of ${system.id} are not published`;
    return [...chip, { part: 'link', name: 'links', ok: null, detail, time: 0, error: null }];
  }
  const healthy = createCluster(system, { rank: 'chip' });
  const cluster = faults.length === 0 ? healthy : applyFaults(healthy, faults);
  const slow = Array.from(
    cluster.slowChips,
    ([index, speed]): Check => ({
      part: 'engine',
      name: `chip ${index}`,
      ok: false,
      detail: `runs at ${(100 * speed).toFixed(0)} % of its speed`,
      time: 0,
      error: null,
    }),
  );
  return [
    ...chip,
    ...slow,
    ...checkLinks(arena, healthy.scaleUp, nodeTopology(cluster, 0)),
    ...checkCollectives(arena, cluster),
  ];
}
