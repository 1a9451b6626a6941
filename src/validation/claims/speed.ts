/**
 * Claims of speed: ratios of peaks at the level at which they hold, training time, what binds inference, cooling, and the
 * split of prefill and decode with another maker's machine.
 */

import { FORMAT_BYTES } from '../../core/operator-work.ts';
import { trainingRun } from '../../economics/costs.ts';
import { throttledSpeed } from '../../economics/power.ts';
import { chipPrice } from '../../economics/prices.ts';
import { createCluster } from '../../machine/cluster.ts';
import { formatsOf } from '../../models/formats.ts';
import { kvCacheBytes } from '../../models/inference-memory.ts';
import { parameterCounts } from '../../models/parameters.ts';
import { modelSpec, models } from '../../models/presets.ts';
import { layerCount, type ModelSpec } from '../../models/spec.ts';
import { evaluateInference } from '../../workloads/inference/evaluate.ts';
import { inferencePlan } from '../../workloads/inference/plan.ts';
import { inferenceTables } from '../../workloads/inference/tables.ts';
import { PRICES_AT } from './capacity.ts';
import { type ClaimModel, given } from './claim.ts';

const TRN2 = 'trn2-ultraserver';
const GEN2 = 'trn3-ultraserver-gen2';

/** A ratio of peaks is true of a level, a format and a pair of machines. The details give the levels at which it is not 4.4. */
const compute: ClaimModel = {
  ids: ['22', '66'],
  unit: 'x',
  definition: 'dense FP8 peak of the Trn3 Gen2 UltraServer (144 chips) / of the Trn2 UltraServer (64)',
  inputs: ['chips/trn3/peak.fp8', 'chips/trn2/peak.fp8', `systems/${GEN2}/chips`, `systems/${TRN2}/chips`],
  compute: (world) => {
    const [new_, old] = [world.system(GEN2), world.system(TRN2)];
    const chip = (format: 'fp8' | 'bf16') => new_.chip.peak[format]! / old.chip.peak[format]!;
    return {
      value: (chip('fp8') * new_.chips) / old.chips,
      details: {
        chipFp8: chip('fp8'),
        chipBf16: chip('bf16'),
        ultraServerBf16: (chip('bf16') * new_.chips) / old.chips,
        gen1UltraServerFp8: (chip('fp8') * world.system('trn3-ultraserver-gen1').chips) / old.chips,
        chipMxfp8OverBf16: new_.chip.peak.mxfp8! / old.chip.peak.bf16!,
      },
      note: 'Holds for whole UltraServers in FP8. A chip is 1.9 times as fast in FP8 and no faster in BF16.',
    };
  },
};

/** HBM alone, a chip against a chip; the totals of UltraServers also grow with the number of chips. */
const bandwidth: ClaimModel = {
  ids: ['24', '68'],
  unit: 'x',
  definition: 'HBM bandwidth of a Trainium3 chip / of a Trainium2 chip',
  inputs: ['chips/trn3/memory.bandwidth', 'chips/trn2/memory.bandwidth'],
  compute: (world) => {
    const [new_, old] = [world.system(GEN2), world.system(TRN2)];
    const chip = new_.chip.memory.bandwidth! / old.chip.memory.bandwidth!;
    return {
      value: chip,
      details: {
        ultraServer: (chip * new_.chips) / old.chips,
        ultraServerCapacity: (new_.chip.memory.capacity! * new_.chips) / (old.chip.memory.capacity! * old.chips),
      },
      note: '"Nearly doubled" is a chip; AWS says "almost 4x" of the UltraServers, whose capacity grows 3.4 times.',
    };
  },
};

/** Bytes that a token of batch 1 reads: the weights that it meets, in a format, and the cache of its context in BF16. */
function decodeBytes(model: ModelSpec, format: 'bf16' | 'mxfp4', context: number): number {
  return parameterCounts(model).active * FORMAT_BYTES[format] + kvCacheBytes(model, context, formatsOf('bf16').kv);
}

/**
 * What a user gains from the chip itself, model by model: decoding at batch 1 is bound by bytes, so it is bandwidth x the
 * narrower format.
 */
const generation: ClaimModel = {
  ids: ['34'],
  unit: 'x',
  definition:
    'decode of all model presets at batch 1, weights and cache streamed at the full HBM bandwidth: weights in MXFP4 on a Trainium3 chip / in BF16 on a Trainium2 chip, the largest ratio',
  inputs: ['chips/trn3/memory.bandwidth', 'chips/trn2/memory.bandwidth', 'scenario/context'],
  compute: (world, scenario) => {
    const context = given(scenario, 'context');
    const [new_, old] = [world.chip('trn3'), world.chip('trn2')];
    const rate = new_.memory.bandwidth! / old.memory.bandwidth!;
    const specs = models()
      .map(({ id }) => modelSpec(id))
      // An encoder decodes nothing.
      .filter((model) => model.head === 'lm');
    const decode = specs.map(
      (model) => (rate * decodeBytes(model, 'bf16', context)) / decodeBytes(model, 'mxfp4', context),
    );
    return {
      value: Math.max(...decode),
      details: {
        models: specs.length,
        prefillBf16: new_.peak.bf16! / old.peak.bf16!,
        prefillFp8: new_.peak.fp8! / old.peak.fp8!,
        decodeBf16: rate,
        decodeSmallest: Math.min(...decode),
        ...Object.fromEntries(specs.map(({ name }, i) => [`${name} decode`, decode[i]!])),
      },
      note: 'Significant where bytes or FP8 bind; a model that computes in BF16 gains nothing from the chip itself.',
    };
  },
};

/** 6 FLOPs per parameter and token: Kaplan et al., "Scaling Laws for Neural Language Models" (2020), section 2.1. */
const months: ClaimModel = {
  ids: ['47'],
  unit: 'months',
  definition:
    '6 x parameters of Llama 3.1 405B x tokens / (chips x BF16 peak x MFU), on Trainium2, months of 30.4 days',
  inputs: ['chips/trn2/peak.bf16', 'scenario/tokens', 'scenario/mfu', 'scenario/chips'],
  compute: (world, scenario) => {
    const model = world.model('llama-3.1-405b');
    const run = (chip: 'trn2' | 'h100-sxm') =>
      trainingRun(model, given(scenario, 'tokens'), world.chip(chip), given(scenario, 'chips'), {
        mfu: given(scenario, 'mfu'),
      })!;
    const days = run('trn2').time / 86_400;
    return { value: days / 30.4, details: { days, h100Days: run('h100-sxm').time / 86_400, flops: run('trn2').flops } };
  },
};

/** Time goes as 1 / MFU: one point more saves a share of it that is largest where the MFU is low. */
const percentage: ClaimModel = {
  ids: ['28'],
  unit: '%',
  definition: 'time saved by one more percentage point of MFU, for a model of 10^12 parameters on Trainium2',
  inputs: ['scenario/mfu'],
  compute: (world, scenario) => {
    const mfu = given(scenario, 'mfu');
    const run = (part: number) =>
      trainingRun(world.model('megatron-1t'), given(scenario, 'tokens'), world.chip('trn2'), given(scenario, 'chips'), {
        mfu: part,
      })!;
    const price = chipPrice(world.system(TRN2), PRICES_AT, world.prices)!;
    const saved = run(mfu).chipHours - run(mfu + 0.01).chipHours;
    return {
      value: 100 * (1 - run(mfu + 0.01).time / run(mfu).time),
      details: { days: run(mfu).time / 86_400, savedUsd: saved * price.usdPerChipHour },
    };
  },
};

/**
 * The ridge of the roofline, as a batch: a weight of 2 bytes is read once and used in 2 FLOPs by each sequence, so the ratio of
 * peak to bandwidth is the batch itself.
 */
const bottleneck: ClaimModel = {
  ids: ['89'],
  unit: 'sequences',
  definition:
    'batch below which the BF16 matmuls of decoding wait for HBM on Trainium2: peak / bandwidth x 2 bytes / 2 FLOPs',
  inputs: ['chips/trn2/peak.bf16', 'chips/trn2/memory.bandwidth'],
  compute: (world) => {
    const crossover = (id: string) => {
      const { peak, memory } = world.chip(id);
      return peak.bf16! / memory.bandwidth!;
    };
    return {
      value: crossover('trn2'),
      details: {
        trn1: crossover('trn1'),
        trn3: crossover('trn3'),
        'h100-sxm': crossover('h100-sxm'),
        'b200-sxm': crossover('b200-sxm'),
        batch1PartOfPeakPct: 100 / crossover('trn2'),
      },
      note: 'Decoding below this batch is bound by memory, prefill of a longer prompt by compute.',
    };
  },
};

/** A chip above what air takes away is throttled; speed goes as the cube root of power (`throttledSpeed`). */
const cooling: ClaimModel = {
  ids: ['110'],
  unit: 'x',
  definition: 'speed of compute of a chip of 1,200 W (GB200) under the limit of air, (limit / TDP)^(1/3)',
  inputs: ['chips/gb200-nvl72-gpu/power.tdp', 'site/airLimit'],
  compute: (world) => {
    const limit = world.site.airLimit;
    const speed = (watts: number) => throttledSpeed(watts, limit);
    return {
      value: speed(world.chip('gb200-nvl72-gpu').power.tdp!),
      details: {
        airLimitW: limit,
        trn2: speed(world.chip('trn2').power.tdp!),
        trn3: speed(world.chip('trn3').power.tdp!),
        trn3At1000Watt: speed(1000),
      },
      note: 'Trainium2 and Trainium3 stay within air at their reported TDP; liquid has no limit here. The dimensions of a cooler are not modelled.',
    };
  },
};

/**
 * Prefill here, decode there. Trainium's side is the clock of `trnsim infer`; the other machine's is a published figure, and the
 * cache has to cross the link between the two.
 */
const split: ClaimModel = {
  ids: ['105'],
  unit: 'x',
  definition:
    'time per output token of Llama 3.3 70B, batch 1, on trn2.48xlarge (TP 64, 10,000 in, 1,500 out) / published one of CS-3',
  inputs: ['scenario/cs3TokensPerS', 'chips/trn2/memory.bandwidth'],
  compute: (world, scenario) => {
    const model = world.model('llama-3.3-70b');
    const prompt = given(scenario, 'prompt');
    const tables = inferenceTables(createCluster(world.system('trn2.48xlarge')));
    const plan = inferencePlan({ model, tp: 64, input: prompt, output: 1500, software: 'compiler' });
    const { tpot, ttft } = evaluateInference(plan, tables);
    const decode = 1 / given(scenario, 'cs3TokensPerS');
    const cache = kvCacheBytes(model, prompt, formatsOf('bf16').kv);
    return {
      value: tpot / decode,
      details: {
        trn2TpotMs: 1e3 * tpot,
        cs3TpotMs: 1e3 * decode,
        cs3PerLayerUs: (1e6 * decode) / layerCount(model),
        prefillMs: 1e3 * ttft,
        kvCacheGB: cache / 1e9,
        kvTransferMs: (1e3 * cache) / (1e9 * given(scenario, 'linkGBps')),
      },
      note: 'CS-3: the published 2,100 tokens/s, which include speculation. Prefill stays on Trainium; the cache moves over one EFA rail.',
    };
  },
};

export const speedClaims: readonly ClaimModel[] = [
  compute,
  bandwidth,
  generation,
  months,
  percentage,
  bottleneck,
  cooling,
  split,
];
