/**
 * Claims of serving: tokens per joule and per dollar of a model at one limit on the time per output token, each platform
 * with its best plan (`bestServing`). The clocks are those of `trnsim infer`; the limit decides much, so it is part of the row.
 */
import { chipPower, JOULES_PER_MWH } from '../../economics/power.ts';
import { chipPrice } from '../../economics/prices.ts';
import { type ServingPoint, servingRows, servingWithin } from '../../economics/serving.ts';
import type { SystemSpec } from '../../hardware/spec.ts';
import { formatsOf } from '../../models/formats.ts';
import type { Formats } from '../../models/graph.ts';
import { PRICES_AT } from './capacity.ts';
import { type ClaimModel, given, type Scenario } from './claim.ts';
import type { World } from './world.ts';

/** No service takes longer for a token: the points up to it serve every limit. */
const SLOWEST = 0.1;
/** Points found, by what they rest on: prices and powers change nothing in them. */
const found = new Map<string, readonly (readonly ServingPoint[])[]>();

/** The best point of a system within a limit, that of the scenario if left out. */
function serving(
  world: World,
  system: SystemSpec,
  model: string,
  formats: Formats,
  scenario: Scenario,
  tpotMs: number = given(scenario, 'tpotMs'),
): ServingPoint | null {
  const [input, output] = [given(scenario, 'inputTokens'), given(scenario, 'outputTokens')];
  const { chip, chips, id } = system;
  const key = JSON.stringify([id, model, formats, chips, chip.peak, chip.memory, input, output]);
  let rows = found.get(key);
  if (rows === undefined) {
    const options = {
      model: world.model(model),
      formats,
      input,
      output,
      tpot: SLOWEST,
      software: 'megakernel',
    } as const;
    rows = servingRows(system, options);
    found.set(key, rows);
  }
  return servingWithin(rows, tpotMs / 1e3);
}

const BF16 = formatsOf('bf16');

const MXFP4 = formatsOf('bf16', { expertWeights: 'mxfp4' });

const efficiency: ClaimModel = {
  ids: ['23', '67'],
  unit: 'x',
  definition:
    'tokens per MWh of the machines, gpt-oss-120b decoded within one limit on the time per token: MXFP4 on the Trn3 Gen2 UltraServer / BF16 on the Trn2 UltraServer',
  inputs: ['systems/trn2-ultraserver/power', 'systems/trn3-ultraserver-gen2/power'],
  compute: (world, scenario) => {
    const perMwh = (id: string, formats: Formats, tpotMs?: number) => {
      const system = world.system(id);
      const point = serving(world, system, 'gpt-oss-120b', formats, scenario, tpotMs);
      const watts = chipPower(system, { site: world.site }).system;
      return { point, tokens: ((point?.tokensPerSecondPerChip ?? 0) / watts) * JOULES_PER_MWH, watts };
    };
    const old = perMwh('trn2-ultraserver', BF16);
    const new_ = perMwh('trn3-ultraserver-gen2', MXFP4);
    const limits = [10, 15, 20, 30, 50, 100].map((ms) => {
      const ratio = perMwh('trn3-ultraserver-gen2', MXFP4, ms).tokens / perMwh('trn2-ultraserver', BF16, ms).tokens;
      return [`within${ms}Ms`, Number.isFinite(ratio) ? ratio : 'Trainium2 cannot'];
    });
    const [trn2, trn3] = [world.chip('trn2'), world.chip('trn3')];
    const perWatt = (rate: (chip: typeof trn2) => number) =>
      rate(trn3) / trn3.power.tdp! / (rate(trn2) / trn2.power.tdp!);
    return {
      value: new_.tokens / old.tokens,
      details: {
        tpotLimitMs: given(scenario, 'tpotMs'),
        trn2TokensPerMWh: old.tokens,
        trn3TokensPerMWh: new_.tokens,
        trn2TokensPerSPerChip: old.point?.tokensPerSecondPerChip ?? 'none within the limit',
        trn3TokensPerSPerChip: new_.point?.tokensPerSecondPerChip ?? 'none within the limit',
        ...Object.fromEntries(limits),
        peakFp8PerW: perWatt(({ peak }) => peak.fp8!),
        bandwidthPerW: perWatt(({ memory }) => memory.bandwidth!),
        weightStreamPerW: perWatt(({ memory }) => memory.bandwidth!) * (16 / 4.25),
      },
      note: 'A claim about this workload at 100 tokens/s for each user, not about peaks: FP8 per watt is 1.4 times (the other official figure, 40 %). It falls as the limit loosens and Trainium2 can batch as well. The experts are stored in MXFP4 and multiplied in BF16 here. TDP 500 W and 700 W, third-party.',
    };
  },
};

/** Dollars and joules for a million tokens of a platform. */
function perMillion(world: World, id: string, formats: Formats, scenario: Scenario) {
  const system = world.system(id);
  const point = serving(world, system, 'llama-3.1-70b', formats, scenario);
  const price = chipPrice(system, PRICES_AT, world.prices)!;
  const rate = point?.tokensPerSecondPerChip ?? 0;
  return {
    usd: rate === 0 ? Infinity : ((price.usdPerChipHour / 3600) * 1e6) / rate,
    kwh: system.power === null || rate === 0 ? null : (system.power / system.chips / rate) * (1e6 / 3.6e6),
  };
}

const PLATFORMS = ['trn2.48xlarge', 'p5.48xlarge', 'p5en.48xlarge', 'p6-b200.48xlarge', 'u-p6e-gb200x72'] as const;
const INPUTS = ['prices/trn2.48xlarge/capacity-block', 'prices/p5en.48xlarge/capacity-block'];

const servingCost: ClaimModel = {
  ids: ['7', '80'],
  unit: '%',
  definition:
    'saving in $ per million output tokens of Llama 3.1 70B in BF16 at one limit on the time per token, Trainium2 over H200 (p5en), capacity blocks',
  inputs: INPUTS,
  compute: (world, scenario) => {
    const rows = PLATFORMS.map((id) => [id, perMillion(world, id, BF16, scenario)] as const);
    const usd = Object.fromEntries(rows.map(([id, { usd }]) => [id, usd]));
    const known = (value: number) => (Number.isFinite(value) ? value : 'none within the limit');
    const details = rows.flatMap(([id, { usd, kwh }]) => [
      [`${id} usdPerMTok`, known(usd)],
      [`${id} kWhPerMTok`, kwh ?? 'unknown: no published power'],
    ]);
    const value = 100 * (1 - usd['trn2.48xlarge']! / usd['p5en.48xlarge']!);
    return {
      value: Number.isFinite(value) ? value : -100,
      details: { tpotLimitMs: given(scenario, 'tpotMs'), ...Object.fromEntries(details) },
      note: 'By the clocks of this package. Per peak PFLOP Trainium2 is half the price (claim 95): what is lost is lost in the efficiency of decoding.',
    };
  },
};

const apiPrices: ClaimModel = {
  ids: ['57'],
  unit: 'USD/Mtok',
  definition:
    'price of the chips / tokens served of Llama 3.1 70B in BF16, H200 (p5en), which falls in step with the price of a chip-hour',
  inputs: ['prices/p5en.48xlarge/capacity-block'],
  compute: (world, scenario) => {
    const { usd } = perMillion(world, 'p5en.48xlarge', BF16, scenario);
    const half = createHalfPrice(world);
    return {
      value: usd,
      details: { atHalfPriceUsdPerMTok: perMillion(half, 'p5en.48xlarge', BF16, scenario).usd },
      note: 'Cost of machines alone, without training, margin, network and staff.',
    };
  },
};

function createHalfPrice(world: World): World {
  const rows = world.prices.map((row) => (row.usdPerHour === null ? row : { ...row, usdPerHour: row.usdPerHour / 2 }));
  return { ...world, prices: rows };
}

export const servingClaims: readonly ClaimModel[] = [efficiency, servingCost, apiPrices];
