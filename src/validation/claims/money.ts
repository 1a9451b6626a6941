/**
 * Claims of cost: dollars for compute and for memory bandwidth at list prices, at equal efficiency, and how cost grows with
 * models. Prices: the newest capacity blocks in September 2026 (see `PRICES_AT`).
 */

import { log } from '../../base/math.ts';
import { breakEvenPrice, type CostMetric, costRow, saving, trainingRun, unitCost } from '../../economics/costs.ts';
import { chipPower } from '../../economics/power.ts';
import { chipPrice } from '../../economics/prices.ts';
import { parameterCounts } from '../../models/parameters.ts';
import { PRICES_AT } from './capacity.ts';
import { type ClaimModel, given } from './claim.ts';
import type { World } from './world.ts';

const TRN2 = 'trn2.48xlarge';

/** Dollars per PFLOP-hour (`bandwidth`: per TB/s-hour) of a system with a public price. */
function cost(world: World, id: string, metric: CostMetric, basis: 'capacity-block' | 'on-demand' = 'capacity-block') {
  const system = world.system(id);
  const price = chipPrice(system, { ...PRICES_AT, basis }, world.prices)!;
  return unitCost(system.chip, price.usdPerChipHour, metric)!;
}

/**
 * What Trainium2 costs less than the reference, in percent; negative is dearer. `basis` is the reference's alone: capacity
 * blocks of Trainium2 are set against it in any case.
 */
function savingPct(world: World, reference: string, metric: CostMetric, basis?: 'on-demand'): number {
  return 100 * saving(cost(world, TRN2, metric), cost(world, reference, metric, basis));
}

/** Compute per dollar, peak against peak. A format or basis other than the statement's changes the figure: all are given. */
const cheaper: ClaimModel = {
  ids: ['49'],
  unit: '%',
  definition: 'saving of Trainium2 over H100 (p5.48xlarge) in $ per dense BF16 PFLOP-hour, capacity blocks of both',
  inputs: [
    'prices/trn2.48xlarge/capacity-block',
    'prices/p5.48xlarge/capacity-block',
    'chips/trn2/peak.bf16',
    'chips/h100-sxm/peak.bf16',
  ],
  compute: (world) => ({
    value: savingPct(world, 'p5.48xlarge', 'bf16'),
    details: {
      trn2UsdPerPflopHour: cost(world, TRN2, 'bf16'),
      h100UsdPerPflopHour: cost(world, 'p5.48xlarge', 'bf16'),
      fp8Pct: savingPct(world, 'p5.48xlarge', 'fp8'),
      bandwidthPct: savingPct(world, 'p5.48xlarge', 'bandwidth'),
      onDemandBf16Pct: savingPct(world, 'p5.48xlarge', 'bf16', 'on-demand'),
    },
    note: 'At equal MFU. Measured serving can invert it: one team paid 7-8 times more a token on Trainium2 than on p5en.',
  }),
};

/** Systems of NVIDIA GPUs with a public price in capacity blocks. */
const PLATFORMS = ['p5.48xlarge', 'p5en.48xlarge', 'p5e.48xlarge', 'p6-b200.48xlarge', 'u-p6e-gb200x72'];

/** "Up to 50 %" holds for one pair of machines and one format, which the definition names; the rest stands in the details. */
const half: ClaimModel = {
  ids: ['95'],
  unit: '%',
  definition: 'saving of Trainium2 over H200 (p5en.48xlarge) in $ per dense FP8 PFLOP-hour, capacity blocks of both',
  inputs: [
    'prices/trn2.48xlarge/capacity-block',
    'prices/p5en.48xlarge/capacity-block',
    'chips/trn2/peak.fp8',
    'chips/h200-sxm/peak.fp8',
  ],
  compute: (world) => {
    const others = PLATFORMS.flatMap((id) =>
      (['bf16', 'fp8', 'bandwidth'] as const).map((metric) => [`${id} ${metric} Pct`, savingPct(world, id, metric)]),
    );
    const trn3 = world.chip('trn3');
    const breakEven = PLATFORMS.map((id) => {
      const { chip } = world.system(id);
      const { usdPerChipHour } = chipPrice(world.system(id), PRICES_AT, world.prices)!;
      return [
        // At half of the reference's cost: the price at which the statement would be true of Trainium3.
        `trn3 break-even at -50 % of ${id} UsdPerChipHour`,
        breakEvenPrice(trn3, { chip, usdPerChipHour }, 'fp8', 0.5)!,
      ];
    });
    return {
      value: savingPct(world, 'p5en.48xlarge', 'fp8'),
      details: {
        ...Object.fromEntries(others),
        'p5.48xlarge on demand fp8 Pct': savingPct(world, 'p5.48xlarge', 'fp8', 'on-demand'),
        ...Object.fromEntries(breakEven),
      },
      note: 'At equal efficiency. Holds against H200 capacity blocks, and against H100 on demand. No price of Trainium3 is public: the break-even prices say what it may cost. Dollars per token, served (claim 80) and trained: `trnsim plan --costs --model llama-3.1-70b`.',
    };
  },
};

/**
 * Power has two readings: what a chip draws with its share of the system, and its TDP. The first can't be had for every
 * platform, so the second stands beside it for more of them.
 */
const perPower: ClaimModel = {
  ids: ['98'],
  unit: 'TFLOPS/W',
  definition: 'dense BF16 peak of Trainium2 / all-in power of a chip in the UltraServer',
  inputs: ['chips/trn2/peak.bf16', 'systems/trn2-ultraserver/power'],
  compute: (world) => {
    const platforms = [
      ['trn2-ultraserver', chipPrice(world.system('trn2-ultraserver'), PRICES_AT, world.prices)],
      ['trn3-ultraserver-gen2', null],
      ['u-p6e-gb200x72', chipPrice(world.system('u-p6e-gb200x72'), PRICES_AT, world.prices)],
    ] as const;
    const details = platforms.flatMap(([id, price]) => {
      const system = world.system(id);
      const watts = chipPower(system, { site: world.site }).system;
      const perWatt = (rate: number) => rate / watts / 1e12;
      const costs = price === null ? null : costRow(system, price);
      return [
        [`${id} bf16TFLOPSPerW`, perWatt(system.chip.peak.bf16!)],
        [`${id} fp8TFLOPSPerW`, perWatt(system.chip.peak.fp8!)],
        [`${id} usdPerHourPerKw`, price === null ? 'unknown: no public price' : (1e3 * price.usdPerChipHour) / watts],
        [`${id} usdPerBf16PflopHour`, costs?.bf16 ?? 'unknown: no public price'],
      ] as const;
    });
    const byTdp = ['trn2', 'trn3', 'h100-sxm', 'h200-sxm', 'b200-sxm', 'gb200-nvl72-gpu'].map((id) => {
      const { peak, power } = world.chip(id);
      return [`${id} bf16TFLOPSPerWOfTdp`, peak.bf16! / power.tdp! / 1e12] as const;
    });
    return { value: details[0]![1] as number, details: Object.fromEntries([...details, ...byTdp]) };
  },
};

/**
 * Compute-optimal training, 20 tokens a parameter: Hoffmann et al., "Training Compute-Optimal Large Language Models" (2022).
 * The exponent is read off the smallest and the largest model, not assumed.
 */
const growth: ClaimModel = {
  ids: ['75'],
  unit: 'USD',
  definition:
    'training a model of 10^12 parameters with 20 tokens for each on Trainium2: 6 x parameters x tokens / (BF16 peak x MFU) x price of a chip-hour',
  inputs: ['models/megatron-1t/hidden', 'chips/trn2/peak.bf16', 'prices/trn2.48xlarge/capacity-block', 'scenario/mfu'],
  compute: (world, scenario) => {
    const price = chipPrice(world.system(TRN2), PRICES_AT, world.prices)!;
    const mfu = given(scenario, 'mfu');
    const presets = ['qwen3-1.7b', 'llama-3.1-8b', 'llama-3.1-70b', 'llama-3.1-405b', 'megatron-1t'];
    const costs = presets.map((id) => {
      const model = world.model(id);
      // Those that a token meets: a mixture of experts costs what it computes.
      const parameters = parameterCounts(model).active;
      const tokens = parameters * given(scenario, 'tokensPerParameter');
      const { chipHours } = trainingRun(model, tokens, world.chip('trn2'), 1, { mfu })!;
      return { id, parameters, usd: chipHours * price.usdPerChipHour };
    });
    const [first, last] = [costs[0]!, costs.at(-1)!];
    return {
      value: last.usd,
      details: {
        ...Object.fromEntries(costs.map(({ id, usd }) => [`${id} Usd`, usd])),
        exponentOfParameters: log(last.usd / first.usd) / log(last.parameters / first.parameters),
      },
      note: 'Cost grows as the square of the parameters: more of them, and more tokens for each.',
    };
  },
};

export const moneyClaims: readonly ClaimModel[] = [cheaper, half, perPower, growth];
