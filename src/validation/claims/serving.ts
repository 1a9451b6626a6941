/**
 * Claims of serving: tokens per joule and per dollar of a model at one limit on the time per output token, each platform
 * with its best plan (`bestServing`). The clocks are those of `trnsim infer`; the limit decides much, so it is part of the row.
 */

import { trainingRun } from '../../economics/costs.ts';
import { chipPower, JOULES_PER_MWH } from '../../economics/power.ts';
import { chipPrice } from '../../economics/prices.ts';
import { type ServingPoint, servingRows, servingWithin } from '../../economics/serving.ts';
import type { SystemSpec } from '../../hardware/spec.ts';
import { createCluster } from '../../machine/cluster.ts';
import { formatsOf } from '../../models/formats.ts';
import type { Formats } from '../../models/graph.ts';
import { inferenceTables, type MachineClocks, machineClocks } from '../../workloads/inference/tables.ts';
import { PRICES_AT } from './capacity.ts';
import { type ClaimModel, given, type Scenario } from './claim.ts';
import type { World } from './world.ts';

/** No service takes longer for a token: the points up to it serve every limit. */
const SLOWEST = 0.1;
/** Points found, by what they rest on: prices and powers change nothing in them. */
const found = new Map<string, readonly (readonly ServingPoint[])[]>();
/** Clocks by what they rest on, which the host is no part of. */
const clocks = new Map<string, MachineClocks>();
/** Fitted constants of the host of a NeuronCore, at zero: a step's launch, and the logits of each sequence. */
const NO_HOST = { neuronHostStep: 0, neuronHostSequence: 0 } as const;

/** A world in which the host of a NeuronCore takes no time, as is assumed of other makers' machines (CUDA graphs). */
function withoutHost(world: World): World {
  return { ...world, constants: { ...world.constants, ...NO_HOST } };
}

/** The clocks of a system with chips as ranks, made once. `key` names all that they rest on but the host. */
function clocksOf(system: SystemSpec, key: string, { constants }: World): MachineClocks {
  const machine = clocks.get(key) ?? machineClocks(createCluster(system, { rank: 'chip' }), constants);
  clocks.set(key, machine);
  return machine;
}

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
  const { constants } = world;
  const spec = world.model(model);
  // A world with anything changed must not find the points of another; what machines draw changes none.
  const machine = JSON.stringify([system, { ...constants, ...NO_HOST }], (key, value) =>
    key === 'power' ? undefined : value,
  );
  const { neuronHostStep, neuronHostSequence } = constants;
  const key = JSON.stringify([machine, neuronHostStep, neuronHostSequence, spec, formats, input, output]);
  let rows = found.get(key);
  if (rows === undefined) {
    const shared = clocksOf(system, machine, world);
    rows = servingRows(system, {
      model: spec,
      formats,
      input,
      output,
      tpot: SLOWEST,
      software: 'megakernel',
      tables: inferenceTables(shared.cluster, constants, shared),
    });
    found.set(key, rows);
  }
  return servingWithin(rows, tpotMs / 1e3);
}

// Weights, cache and products in BF16; and the same with the experts' weights stored in MXFP4, as gpt-oss is published.
const BF16 = formatsOf('bf16');

const MXFP4 = formatsOf('bf16', { expertWeights: 'mxfp4' });

/**
 * Energy needs a workload: the same model within the same limit, both platforms by their best plan. What peaks alone say
 * stands in the details.
 */
const efficiency: ClaimModel = {
  ids: ['23', '67'],
  unit: 'x',
  definition:
    'tokens per MWh of the machines, gpt-oss-120b decoded within one limit on the time per token: MXFP4 on the Trn3 Gen2 UltraServer / BF16 on the Trn2 UltraServer',
  inputs: [
    'scenario/tpotMs',
    'systems/trn2-ultraserver/power',
    'systems/trn3-ultraserver-gen2/power',
    'constants/neuronHostSequence',
  ],
  compute: (world, scenario) => {
    const perMwh = (in_: World, id: string, formats: Formats, tpotMs?: number) => {
      const system = in_.system(id);
      const point = serving(in_, system, 'gpt-oss-120b', formats, scenario, tpotMs);
      const watts = chipPower(system, { site: in_.site }).system;
      return { point, tokens: ((point?.tokensPerSecondPerChip ?? 0) / watts) * JOULES_PER_MWH, watts };
    };
    const old = perMwh(world, 'trn2-ultraserver', BF16);
    const new_ = perMwh(world, 'trn3-ultraserver-gen2', MXFP4);
    // Division by no tokens at all: no plan of Trainium2 is within the limit.
    const ratio = (in_: World, ms?: number) => {
      const times =
        perMwh(in_, 'trn3-ultraserver-gen2', MXFP4, ms).tokens / perMwh(in_, 'trn2-ultraserver', BF16, ms).tokens;
      return Number.isFinite(times) ? times : 'Trainium2 cannot';
    };
    const limits = [10, 15, 20, 30, 50, 100].map((ms) => [`within${ms}Ms`, ratio(world, ms)]);
    const [trn2, trn3] = [world.chip('trn2'), world.chip('trn3')];
    // By the TDP of the chip, which leaves the hosts and switches out.
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
        hostHidden: ratio(withoutHost(world)),
        peakFp8PerW: perWatt(({ peak }) => peak.fp8!),
        bandwidthPerW: perWatt(({ memory }) => memory.bandwidth!),
        // MXFP4 has 4 bits an element and 8 for the scale of 32: 4.25 in place of 16.
        weightStreamPerW: perWatt(({ memory }) => memory.bandwidth!) * (16 / 4.25),
      },
      note: 'A claim about this workload at 100 tokens/s for each user, not about peaks: FP8 per watt is 1.4 times (the other official figure, 40 %). It falls as the limit loosens and Trainium2 can batch as well: BF16 attention and prefill gain nothing. The experts are stored in MXFP4 and multiplied in BF16 here. TDP 500 W and 700 W, third-party.',
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
    rate,
    usd: rate === 0 ? Infinity : ((price.usdPerChipHour / 3600) * 1e6) / rate,
    kwh: system.power === null || rate === 0 ? null : (system.power / system.chips / rate) * (1e6 / 3.6e6),
  };
}

const PLATFORMS = ['trn2.48xlarge', 'p5.48xlarge', 'p5en.48xlarge', 'p6-b200.48xlarge', 'u-p6e-gb200x72'] as const;

/** What a million tokens cost less on Trainium2 than on H200, in percent; null if one of them serves none. */
function savingPct(world: World, scenario: Scenario, tpotMs?: number): number | null {
  const at = tpotMs === undefined ? scenario : { ...scenario, tpotMs };
  const [own, other] = ['trn2.48xlarge', 'p5en.48xlarge'].map((id) => perMillion(world, id, BF16, at).usd);
  const value = 100 * (1 - own! / other!);
  return Number.isFinite(value) ? value : null;
}

/** The cost of a token, served: prices at a limit that users notice, not at equal efficiency. */
const servingCost: ClaimModel = {
  ids: ['7', '80'],
  unit: '%',
  definition:
    'saving in $ per million output tokens of Llama 3.1 70B in BF16 at one limit on the time per token, Trainium2 over H200 (p5en), capacity blocks',
  inputs: [
    'prices/trn2.48xlarge/capacity-block',
    'prices/p5en.48xlarge/capacity-block',
    'scenario/tpotMs',
    'constants/neuronHostSequence',
  ],
  compute: (world, scenario) => {
    const known = (value: number | null) => value ?? 'none within the limit';
    const details = PLATFORMS.flatMap((id) => {
      const { usd, kwh, rate } = perMillion(world, id, BF16, scenario);
      return [
        [`${id} usdPerMTok`, known(rate === 0 ? null : usd)],
        [`${id} tokensPerSPerChip`, rate],
        [`${id} kWhPerMTok`, kwh ?? 'unknown: no published power'],
      ];
    });
    const limits = [15, 30, 50, 100].map((ms) => [`within${ms}MsPct`, known(savingPct(world, scenario, ms))]);
    const hidden = known(savingPct(withoutHost(world), scenario));
    const perSequence = (1e3 * world.constants.neuronHostSequence!).toFixed(2);
    return {
      value: savingPct(world, scenario) ?? -100,
      details: { ...Object.fromEntries(details), ...Object.fromEntries(limits), hostHiddenPct: hidden },
      note: `What decides is the host: measured Neuron releases return the logits of each sequence to it (${perSequence} ms, fitted), while other makers' machines are taken to hide theirs behind CUDA graphs. hostHiddenPct is the saving if Trainium hides it too. Per peak PFLOP Trainium2 is half the price (claim 95).`,
    };
  },
};

/** Two parts of an API price are chip-hours: the machines that serve, and the training, spread over all tokens served. */
const apiPrices: ClaimModel = {
  ids: ['57'],
  unit: 'USD/Mtok',
  definition:
    'machines that serve a million tokens of Llama 3.1 70B in BF16 on H200 (p5en), and their part of its training (6 x parameters x tokens / (BF16 peak x MFU))',
  inputs: ['prices/p5en.48xlarge/capacity-block', 'scenario/servedTokens'],
  compute: (world, scenario) => {
    const id = 'p5en.48xlarge';
    const cost = (in_: World) => {
      const { usdPerChipHour } = chipPrice(in_.system(id), PRICES_AT, in_.prices)!;
      const { chipHours } = trainingRun(in_.model('llama-3.1-70b'), given(scenario, 'tokens'), in_.system(id).chip, 1, {
        mfu: given(scenario, 'mfu'),
      })!;
      const training = (1e6 * chipHours * usdPerChipHour) / given(scenario, 'servedTokens');
      return { serving: perMillion(in_, id, BF16, scenario).usd, training };
    };
    const { serving: served, training } = cost(world);
    const half = cost(withPrices(world, 0.5));
    return {
      value: served + training,
      details: {
        servingUsdPerMTok: served,
        trainingUsdPerMTok: training,
        atHalfThePriceUsdPerMTok: half.serving + half.training,
      },
      note: 'Both fall in step with the price of a chip-hour. Machines alone: no margin, network and staff.',
    };
  },
};

/** The world with all prices times `factor`. */
function withPrices(world: World, factor: number): World {
  const prices = world.prices.map((row) =>
    row.usdPerHour === null ? row : { ...row, usdPerHour: factor * row.usdPerHour },
  );
  return { ...world, prices };
}

export const servingClaims: readonly ClaimModel[] = [efficiency, servingCost, apiPrices];
