/** The text of a fleet: one column for each plan, every figure with its source below; the goodput table. */

import type { FleetPlan } from '../economics/fleet-description.ts';
import type { CostPlan, CostPlanRow } from '../economics/plan-costs.ts';
import type { FleetPlanResult } from '../economics/plan-fleet.ts';
import type { GoodputPlan } from '../economics/plan-goodput.ts';
import type { Ramp } from '../economics/ramp.ts';
import { significant } from './numbers.ts';
import { table } from './table.ts';

/** A row of the table, a column a fleet: one place says in which order and words the figures come. */
type Line = readonly [name: string, value: (plan: FleetPlan) => string];

/** The figure with its unit, or that nobody publishes it. */
function known(value: number | null, unit: string): string {
  return value === null ? 'unknown' : `${large(value)} ${unit}`.trim();
}

function watts(value: number | null): string {
  return value === null ? 'unknown' : `${significant(value)} W`;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** Whole numbers in full up to 10^15, so that a count of chips can be read; others by their digits. */
function large(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return String(value).replace(/\B(?=(\d{3})+$)/g, ' ');
  return significant(value);
}

const LINES: readonly Line[] = [
  ['chips', ({ chips }) => large(chips)],
  [
    'systems',
    ({ system, systems, wholeSystems }) => {
      const part = systems === wholeSystems ? '' : ' and a part of one';
      const kind = system.includes('ultraserver') ? 'UltraServer' : 'system';
      return `${large(wholeSystems)} ${kind}${wholeSystems === 1 ? '' : 's'}${part}`;
    },
  ],
  ['BF16', ({ computeEFLOPS }) => known(computeEFLOPS.bf16 ?? null, 'EFLOPS')],
  ['FP8', ({ computeEFLOPS }) => known(computeEFLOPS.fp8 ?? computeEFLOPS.mxfp8 ?? null, 'EFLOPS')],
  ['HBM', ({ hbmPBps, hbmPB }) => `${known(hbmPBps, 'PB/s')}, ${known(hbmPB, 'PB')}`],
  [
    'power of a chip',
    ({ chipW }) =>
      chipW === null
        ? 'unknown'
        : `${watts(chipW.tdp)}, ${watts(chipW.rest)} of hosts, switches and conversion, ${watts(chipW.building)} with the building`,
  ],
  ['power of a server, or sled', ({ serverKW }) => known(serverKW, 'kW')],
  ['power of a system', ({ systemKW }) => known(systemKW, 'kW')],
  ['power of the machines', ({ itPowerMW }) => known(itPowerMW, 'MW')],
  [
    'power with the building',
    ({ buildingPowerMW, pue }) => `${known(buildingPowerMW, 'MW')}${pue === null ? '' : ` (PUE ${pue})`}`,
  ],
  [
    'cost',
    ({ usdPerHour, breakEvenUsdPerHour }) =>
      usdPerHour === null && breakEvenUsdPerHour !== null
        ? `no public price; as dear as Trainium2 per FP8 PFLOP: ${large(Math.round(breakEvenUsdPerHour))} $/h`
        : known(usdPerHour, '$/h'),
  ],
  ['electricity', ({ energyUsdPerHour }) => known(energyUsdPerHour, '$/h')],
  ['cost of compute', ({ usdPerPflopHour }) => known(usdPerPflopHour, '$ per BF16 PFLOP-hour')],
  ['tokens', ({ tokensPerS }) => known(tokensPerS, 'tokens/s')],
  [
    'tokens for energy',
    ({ tokensPerJ, tokensPerMWh }) => `${known(tokensPerJ, 'tokens/J')}, ${known(tokensPerMWh, 'per MWh')}`,
  ],
  ['cost of tokens', ({ costPerMTokUsd }) => known(costPerMTokUsd, '$ per million')],
  [
    'each model',
    ({ serving }) =>
      serving
        .map(
          ({ model, tp, dp, ep, batch, groups, tpotNs }) =>
            `${model}: ${groups} x (tp ${tp}, dp ${dp}, ep ${ep}, batch ${batch}), ${significant(tpotNs / 1e6)} ms a token`,
        )
        .join('; ') || '-',
  ],
  [
    'carbon',
    ({ carbonKgPerHour }) =>
      carbonKgPerHour === null ? 'give --carbon-intensity' : `${significant(carbonKgPerHour)} kg/h`,
  ],
  [
    'water',
    ({ waterLPerHour }) => (waterLPerHour === null ? 'give --water-intensity' : `${significant(waterLPerHour)} L/h`),
  ],
  [
    'scale-out network',
    ({ network }) =>
      network === null
        ? '-'
        : `${network.tiers.length} tiers, ${large(sum(network.tiers.map((tier) => tier.switches)))} switches of ${network.tiers.map(({ ports, oversubscription }) => `${ports}${oversubscription === 1 ? '' : ` (${oversubscription}:1)`}`).join('/')} ports, bisection ${significant(network.bisectionTBps)} TB/s`,
  ],
];

/** Report of a fleet plan. */
export function fleetReport({ plans, total, mix }: FleetPlanResult): string {
  const isShared = plans.some(({ share }) => share !== null);
  const rows = LINES.map(([name, value]) => [name, ...plans.map(value)]);
  const columns = [
    { title: '', value: (row: readonly string[]) => row[0]! },
    ...plans.map(({ system, share }, i) => ({
      title: isShared ? `${system} (${significant(100 * (share ?? 0))} %)` : system,
      value: (row: readonly string[]) => row[i + 1]!,
    })),
  ];
  // Figures rest on powers, prices and plans that differ in how sure they are: each says where it is from.
  const sources = plans.flatMap(({ system, powerSource, priceReason, throughputReason }) => [
    `${system}: power from ${powerSource}`,
    `${system}: price from ${priceReason}`,
    `${system}: tokens from ${throughputReason}`,
  ]);
  const [first] = plans;
  const site = first === undefined ? '' : `PUE: ${first.pueSource}; price of electricity: ${first.electricitySource}\n`;
  const together =
    total === null
      ? ''
      : `\ntogether: ${known(total.chips, 'chips')}, ${known(total.buildingPowerMW, 'MW')}, ${known(total.usdPerHour, '$/h')}, ${known(total.tokensPerS, 'tokens/s')}\n`;
  const mixed = (mix ?? []).map(
    ({ name, mix: parts, usdPerHour, hhi }) =>
      `${name}: ${parts.map((part) => `${part.name} ${significant(100 * part.share)} %`).join(', ')}; ${significant(usdPerHour)} $/h, concentration (HHI) ${significant(hhi)}\n`,
  );
  return `${table(rows, columns)}${together}${mixed.length > 0 ? '\n' : ''}${mixed.join('')}\n${sources.join('\n')}\n${site}`;
}

/** Report of a goodput plan. */
export function goodputReport({ reliability, note, plans }: GoodputPlan): string {
  const rows = table(plans, [
    { title: 'chips', value: ({ chips }) => large(chips), align: 'right' },
    { title: 'MTBF min', value: ({ mtbfMin }) => mtbfMin.toFixed(2), align: 'right' },
    { title: 'checkpoint s', value: ({ checkpointS }) => significant(checkpointS), align: 'right' },
    { title: 'restart s', value: ({ restartS }) => significant(restartS), align: 'right' },
    { title: 'interval s', value: ({ intervalS }) => significant(intervalS), align: 'right' },
    { title: 'goodput', value: ({ goodput }) => goodput.toFixed(3), align: 'right' },
    {
      title: 'Monte Carlo',
      value: ({ goodputMonteCarlo, standardError }) => `${goodputMonteCarlo.toFixed(3)} +- ${standardError.toFixed(4)}`,
      align: 'right',
    },
    { title: 'elastic', value: ({ goodputElastic }) => goodputElastic.toFixed(3), align: 'right' },
    { title: 'detours', value: ({ goodputRerouted }) => goodputRerouted?.toFixed(3) ?? '-', align: 'right' },
    { title: 'spares', value: ({ spareUnits }) => large(spareUnits), align: 'right' },
    { title: 'straggler x', value: ({ stragglerFactor }) => significant(stragglerFactor), align: 'right' },
  ]);
  // Shares are the same for every size; the times are of the first one.
  const components = table(plans[0]?.mtbfByComponent ?? [], [
    { title: 'stops the job', value: ({ name }) => name },
    { title: 'share', value: ({ sharePct }) => `${sharePct.toFixed(1)} %`, align: 'right' },
    { title: `MTBF min, ${plans[0]?.chips ?? 0} chips`, value: ({ mtbfMin }) => significant(mtbfMin), align: 'right' },
  ]);
  return `${rows}\n${components}\nrates: ${reliability}. ${note}\n`;
}

/** Prices of all systems that have one, what the first of them saves over each, and what a chip without one may cost. */
export function costsReport({ plans, reference, breakEvenChip, workload }: CostPlan): string {
  const money = (value: number | null) => (value === null ? '' : value.toFixed(3));
  // Adding 0 makes the negative zero of a small loss a zero.
  const percent = (value: number | null) => (value === null ? '' : `${Math.round(value) + 0} %`);
  const others = (text: (row: CostPlanRow) => string) => (row: CostPlanRow) =>
    row.system === reference ? '' : text(row);
  const tokens = (kind: 'served' | 'trained') => ({
    title: `${kind} $/Mtok`,
    value: (row: CostPlanRow) => money(row[kind]?.usdPerMTok ?? null) || '-',
    align: 'right' as const,
  });
  const rows = table(plans, [
    { title: 'system', value: ({ system }) => system },
    { title: '$/chip-h', value: ({ usdPerChipHour }) => money(usdPerChipHour), align: 'right' },
    { title: '$/PF-h BF16', value: ({ usdPerBf16PflopHour }) => money(usdPerBf16PflopHour), align: 'right' },
    { title: '$/PF-h FP8', value: ({ usdPerFp8PflopHour }) => money(usdPerFp8PflopHour), align: 'right' },
    { title: '$/(TB/s)-h', value: ({ usdPerTBpsHour }) => money(usdPerTBpsHour), align: 'right' },
    ...(workload === null ? [] : [tokens('served'), tokens('trained')]),
    { title: `${reference} saves BF16`, value: others(({ savingPct }) => percent(savingPct.bf16)), align: 'right' },
    { title: 'FP8', value: others(({ savingPct }) => percent(savingPct.fp8)), align: 'right' },
    { title: 'TB/s', value: others(({ savingPct }) => percent(savingPct.bandwidth)), align: 'right' },
    {
      title: `${breakEvenChip} even at FP8`,
      value: ({ breakEvenUsdPerChipHour }) => money(breakEvenUsdPerChipHour.fp8),
      align: 'right',
    },
    {
      title: 'TB/s',
      value: ({ breakEvenUsdPerChipHour }) => money(breakEvenUsdPerChipHour.bandwidth),
      align: 'right',
    },
    { title: 'price', value: ({ priceReason }) => priceReason },
  ]);
  const unknown = plans.flatMap(({ system, served, trained }) =>
    [served, trained].flatMap((cost) => (cost?.usdPerMTok === null ? [`${system}: ${cost.reason}\n`] : [])),
  );
  const even = `${breakEvenChip} even at: $ for a chip-hour of it at which it costs as much as that system\n`;
  return `${rows}\n${workload === null ? '' : `${workload}\n`}${even}${unknown.join('')}`;
}

/** One line of a ramp: how long it takes. */
export function rampReport({ systems, weeks, systemHours }: Ramp, system: string): string {
  const end =
    weeks === null
      ? `never: ${large(systems.at(-1)!)} systems at most`
      : `after ${weeks} ${weeks === 1 ? 'week' : 'weeks'}`;
  const quarters = systems.filter((_, week) => week % 13 === 0).map(large);
  return `\nramp of ${system}: the target is reached ${end}; ${significant(systemHours)} system-hours until then; by quarter: ${quarters.join(', ')}\n`;
}
