import fc from 'fast-check';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { toJson } from '../src/base/json.ts';
import { theoreticalEffort } from '../src/collectives/theory.ts';
import { hops } from '../src/fabric/routes.ts';
import { writePerfetto } from '../src/formats/perfetto.ts';
import { defaultPrice, findSystem, systems } from '../src/hardware/catalog.ts';
import { createCluster } from '../src/machine/cluster.ts';
import { parseModelConfig } from '../src/models/config.ts';
import type { LayerWeight } from '../src/models/layer.ts';
import { timeCollective } from '../src/workloads/collective.ts';
import { type LayerRun, type RunOptions, type RunResult, runLayer } from '../src/workloads/run.ts';

/** What the check is there to find: a shard that one rank takes from the wrong place, an output that only one rank has. */
const faults = vi.hoisted(() => ({ misplaced: { rank: -1, weight: '' }, disagreeingRank: -1 }));

vi.mock('../src/models/layer.ts', async (original) => {
  const real = await original<typeof import('../src/models/layer.ts')>();
  const rankWeights: typeof real.rankWeights = (config, shard, rank) =>
    real.rankWeights(config, shard, rank).map((block) => {
      if (shard.tp === 1 || rank !== faults.misplaced.rank || block.weight !== faults.misplaced.weight) return block;
      return block.rows < block.totalRows ? { ...block, row: 0 } : { ...block, column: 0 };
    });
  return { ...real, rankWeights };
});

vi.mock('../src/workloads/sharded-layer.ts', async (original) => {
  const real = await original<typeof import('../src/workloads/sharded-layer.ts')>();
  const runShardedLayer: typeof real.runShardedLayer = (...args) => {
    const outputs = real.runShardedLayer(...args);
    const bytes = outputs[faults.disagreeingRank]?.bytesView();
    if (bytes !== undefined) bytes[0]! ^= 1;
    return outputs;
  };
  return { ...real, runShardedLayer };
});

beforeEach(() => {
  faults.misplaced = { rank: -1, weight: '' };
  faults.disagreeingRank = -1;
});

const TINY = {
  model_type: 'llama',
  hidden_size: 64,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  intermediate_size: 96,
  num_hidden_layers: 1,
  vocab_size: 100,
  max_position_embeddings: 512,
};

type Changes = Omit<Partial<RunOptions>, 'config' | 'system'> & { model?: object; on?: string };

function run({ model = {}, on = 'trn2.48xlarge', ...options }: Changes = {}): LayerRun {
  const config = parseModelConfig({ ...TINY, ...model }, 'tiny');
  return runLayer({ config, system: findSystem(on), tokens: 16, ...options });
}

describe('the result', () => {
  test('is plain JSON: nothing is lost on the way through text', () => {
    const { result } = run({ rank: 'chip', tp: 4 });
    expect(JSON.parse(toJson(result))).toStrictEqual(result);
    expect(result).toMatchObject({ schemaVersion: 1, ok: true, fidelity: 'event', dtype: 'bf16', seed: 1, tp: 4 });
    expect(result).toMatchObject({ system: 'trn2.48xlarge', chip: 'trn2', rank: 'chip', coresPerRank: 8, tokens: 16 });
  });

  test('is the same bytes for the same call, and other bytes for another seed', () => {
    const text = (options: Changes) => toJson(run({ tp: 4, rounding: 'stochastic', ...options }).result);
    expect(text({})).toBe(text({}));
    expect(text({ seed: 2 })).not.toBe(text({}));
  });

  test('is correct on any number of ranks, in a time of its own', () => {
    for (const dtype of ['bf16', 'f32'] as const) {
      const results = [1, 2, 4, 8].map((tp) => run({ rank: 'chip', tp, dtype }).result);
      for (const { ok, maxRelError, errorBound, ranksAgree } of results) {
        expect(ok).toBe(true);
        expect(ranksAgree).toBe(true);
        expect(maxRelError).toBeLessThanOrEqual(errorBound);
        expect(maxRelError).toBeLessThan(dtype === 'f32' ? 1e-5 : 0.1);
      }
      expect(new Set(results.map(({ timeNs }) => timeNs)).size).toBe(4);
    }
  });

  test('does not depend on the machine, only its time does', () => {
    const results = ['trn1.32xlarge', 'trn2.48xlarge', 'trn3-ultraserver-gen2', 'inf2.48xlarge', 'hgx-h100'].map(
      (on) => run({ on, rank: 'chip', tp: 1 }).result,
    );
    expect(new Set(results.map(({ outputFnv1a }) => outputFnv1a)).size).toBe(1);
    expect(new Set(results.map(({ maxRelError }) => maxRelError)).size).toBe(1);
    expect(new Set(results.map(({ timeNs }) => timeNs)).size).toBe(4); // Trainium1 and Inferentia2 have the same cores
  });

  test('has times that add up', () => {
    const { result } = run({ rank: 'chip', tp: 8 });
    const sum = result.breakdown.reduce((total, { timeNs }) => total + timeNs, 0);
    expect(sum).toBeCloseTo(result.timeNs, 6);
    const sums = result.breakdown.filter(({ bound }) => bound === 'links');
    expect(sums.map(({ timeNs }) => timeNs)).toEqual([result.collective.timeNs, result.collective.timeNs]);
  });

  test('counts the bytes of the all-reduce: what theory says of the algorithm that moves them', () => {
    for (const tp of [2, 4, 8] as const) {
      for (const dtype of ['bf16', 'f32'] as const) {
        const { collective } = run({ rank: 'chip', tp, dtype }).result;
        const { algorithm, bytes, minBytesSent, maxBytesSent } = collective;
        const width = dtype === 'f32' ? 4 : 2;
        expect(bytes).toBe(16 * 64 * width);
        const effort = theoreticalEffort({ collective: 'all-reduce', algorithm, ranks: tp, elements: 16 * 64 });
        expect([minBytesSent, maxBytesSent]).toEqual([(effort.volume * width) / tp, (effort.volume * width) / tp]);
        expect(collective.steps).toBe(effort.steps);
        expect(collective.busbwGBps! / collective.algbwGBps!).toBeCloseTo((2 * (tp - 1)) / tp, 12);
        expect(collective.algbwGBps! / (bytes / collective.timeNs)).toBeCloseTo(1, 6);
      }
    }
  });

  test('takes for a sum what the collective model says, by the same algorithm', () => {
    const { collective } = run({ rank: 'chip', tp: 8 }).result;
    const cluster = createCluster(findSystem('trn2.48xlarge'), { rank: 'chip', ranks: 8 });
    const { result } = timeCollective({ cluster, collective: 'all-reduce', sizes: [2048], fidelity: 'event' });
    expect(collective).toMatchObject({ algorithm: result.algorithm, timeNs: result.timeNs, steps: result.steps });
  });

  test('of one rank has no bandwidth instead of an infinite one', () => {
    const { collective } = run({ tp: 1 }).result;
    expect(collective).toMatchObject({ steps: 0, timeNs: 0, algbwGBps: null, busbwGBps: null, maxBytesSent: 0 });
  });

  test('counts the memory of a rank and of its chip', () => {
    const { memory } = run({ tp: 4 }).result; // 4 ranks of 2 cores on the first chip
    // A quarter of the matrices: q 64x16, k and v 64x8 each, o 16x64, gate, up, down 64x24; two norms of 64. 2 B each.
    const weights = 2 * (64 * 16 + 2 * 64 * 8 + 16 * 64 + 3 * 64 * 24 + 2 * 64);
    expect(memory.weightBytesPerRank).toBe(weights);
    expect(memory.chipBytes).toBe(4 * (weights + memory.activationBytesPerRank));
    expect(memory.chipCapacityBytes).toBe(96 * 2 ** 30);
    expect(memory.activationBytesPerRank).toBeGreaterThanOrEqual(2 * 16 * 64 * 2); // input and sum at least
  });
});

describe('energy and cost', () => {
  test('are the power and the price of the whole system for the time of the layer', () => {
    const { timeNs, energyJ, energyReason, costUsd, costReason } = run({ rank: 'chip', tp: 4 }).result;
    expect(energyJ! / (13_500 * timeNs * 1e-9)).toBeCloseTo(1, 12);
    expect(energyReason).toMatch(/^13500 W for all 16 chips .*semianalysis-trn2/);
    const { usdPerHour, source } = defaultPrice('trn2.48xlarge')!;
    expect(costUsd! / ((usdPerHour! * timeNs * 1e-9) / 3600)).toBeCloseTo(1, 12);
    expect(costReason).toContain(`${usdPerHour} USD per hour`);
    expect(costReason).toContain(source);
  });

  test('are null with the reason where nobody publishes the power or the price', () => {
    const withoutPower = run({ on: 'trn1.32xlarge', tp: 2 }).result;
    expect(withoutPower.energyJ).toBeNull();
    expect(withoutPower.energyReason).toMatch(/^no power of trn1\.32xlarge is published \(.+\)$/);
    const withoutPrice = run({ on: 'trn3-ultraserver-gen2', tp: 2 }).result;
    expect(defaultPrice('trn3-ultraserver-gen2')?.usdPerHour ?? null).toBeNull();
    expect(withoutPrice.costUsd).toBeNull();
    expect(withoutPrice.costReason).toBe('no public price of trn3-ultraserver-gen2');
  });
});

describe('the number of ranks', () => {
  test('is by default the most that the layer can be cut over', () => {
    expect(run().result.tp).toBe(8); // 64 ranks, 8 heads
    expect(run({ ranks: 7 }).result.tp).toBe(4);
    expect(run({ on: 'trn2.3xlarge', rank: 'chip' }).result.tp).toBe(1);
    // 12 heads, 4 KV heads, feed-forward 96: of 1, 2, 3, 4, 6, 12 only 1, 2, 4 and 12 go with the KV heads
    expect(run({ model: { hidden_size: 48, num_attention_heads: 12 } }).result.tp).toBe(12);
    expect(run({ model: { hidden_size: 48, num_attention_heads: 12 }, ranks: 11 }).result.tp).toBe(4);
  });

  test('leaves the other ranks idle, but their system is still paid for', () => {
    const [few, all] = [run({ rank: 'chip', tp: 2, ranks: 2 }).result, run({ rank: 'chip', tp: 2 }).result];
    expect(few).toEqual(all);
  });
});

describe('the timeline', () => {
  const slicesOf = ({ timeline }: LayerRun, track: string) => timeline.slices.filter((slice) => slice.track === track);

  test.each([
    { on: 'trn2.48xlarge', rank: 'chip', tp: 8 },
    { on: 'trn1.32xlarge', rank: 'core', tp: 8 },
    { on: 'trn3-ultraserver-gen2', rank: 'chip', tp: 8 },
    { on: 'trn2.3xlarge', rank: 'core', tp: 2 },
    { on: 'trn2.3xlarge', rank: 'chip', tp: 1 },
  ] as const)('of $tp ranks ($rank) on $on is a trace inside the time of the layer', (options) => {
    const layer = run(options);
    expect(writePerfetto(layer.timeline).length).toBeGreaterThan(0);
    const end = Math.round(layer.result.timeNs * 1000);
    for (const { start, duration } of layer.timeline.slices) {
      expect(start).toBeGreaterThanOrEqual(0);
      expect(start + duration).toBeLessThanOrEqual(end);
    }
  });

  test('keeps every engine of every rank as busy as the time table says', () => {
    const layer = run({ rank: 'chip', tp: 4 });
    for (const rank of [0, 1, 2, 3]) {
      for (const engine of ['TensorE', 'VectorE', 'ScalarE', 'DMA']) {
        const drawn = slicesOf(layer, `rank${rank} ${engine}`).reduce((sum, { duration }) => sum + duration, 0);
        const told = layer.result.breakdown.reduce((sum, { enginesNs }) => sum + (enginesNs[engine] ?? 0), 0);
        expect(drawn).toBe(Math.round(told * 1000));
      }
    }
  });

  test('draws the links while the all-reduces run, and all of their bytes', () => {
    const layer = run({ rank: 'chip', tp: 8 });
    const links = layer.timeline.tracks.filter(({ parent }) => parent === 'links');
    const windows: [number, number][] = [];
    let time = 0;
    for (const { bound, timeNs } of layer.result.breakdown) {
      const end = time + Math.round(timeNs * 1000);
      if (bound === 'links') windows.push([time, end]);
      time = end;
    }
    const slices = links.flatMap(({ id }) => slicesOf(layer, id));
    for (const { start, duration } of slices) {
      expect(windows.some(([from, to]) => start >= from && start + duration <= to)).toBe(true);
    }
    // In a mesh each rank sends as much to each of the 7 others, over as many links as their chips are apart.
    const { algorithm, maxBytesSent } = layer.result.collective;
    expect(algorithm).toMatch(/mesh$/);
    const { scaleUp } = createCluster(findSystem('trn2.48xlarge'), { rank: 'chip' });
    const chips = [0, 1, 2, 3, 4, 5, 6, 7];
    const crossed = chips.reduce((sum, from) => chips.reduce((part, to) => part + hops(scaleUp, from, to), sum), 0);
    const drawn = slices.reduce((sum, { args }) => sum + (args!.bytes as number), 0);
    expect(drawn).toBeCloseTo((2 * crossed * maxBytesSent) / 7, 6);
  });
});

describe('what is refused', () => {
  test.each<[Changes, string]>([
    [{ tokens: 0 }, '"tokens" expected integer in 1..512, got 0'],
    [{ tokens: 513 }, '"tokens" expected integer in 1..512, got 513'],
    [{ tokens: 1.5 }, '"tokens" expected integer in 1..512, got 1.5'],
    [{ dtype: 'f64' as 'f32' }, '"dtype" expected one of f32, bf16, got "f64"'],
    [{ dtype: 'f16' as 'f32' }, '"dtype" expected one of f32, bf16, got "f16"'],
    [{ seed: -1 }, '"seed" expected integer >= 0, got -1'],
    [{ rounding: 'up' as 'nearest' }, '"rounding" expected one of nearest, stochastic, got "up"'],
    [{ tp: 3 }, `"tp" expected a divisor of the model's 8 attention heads, got 3`],
    [{ tp: 65 }, '"tp" expected integer in 1..64, got 65'],
    [{ tp: 4, ranks: 2 }, '"tp" expected integer in 1..2, got 4'],
    [{ ranks: 65 }, '"ranks" expected integer in 1..64, got 65'],
    [{ lnc: 3 }, '"lnc" expected integer in 1..2, got 3'],
  ])('%o', (options, message) => {
    expect(() => run(options)).toThrow(new RangeError(message));
  });

  test('a layer that does not fit in HBM, before anything is computed', () => {
    // 3 x 8192 x 2^22 elements of 2 B: 192 GiB on a chip of 32 GiB.
    const options = { on: 'trn1.2xlarge', tp: 1, model: { hidden_size: 8192, intermediate_size: 2 ** 22 } };
    const onProgress = vi.fn();
    expect(() => run({ ...options, onProgress })).toThrow(
      expect.objectContaining({
        code: 'CAPACITY',
        path: 'trn1.2xlarge: HBM',
        message: expect.stringMatching(
          /expected at most 34359738368 bytes on a chip, got \d+ \(1 rank of \d+\), \d+ too many$/,
        ),
      }),
    );
    expect(onProgress).not.toHaveBeenCalled();
  });

  test("a layer that does not fit in the kernels' memory, before anything is computed", () => {
    const onProgress = vi.fn();
    const long = { model: { hidden_size: 4096, max_position_embeddings: 2 ** 20 }, tokens: 2 ** 18, tp: 8, onProgress };
    expect(() => run(long)).toThrow(
      expect.objectContaining({
        code: 'CAPACITY',
        path: 'tokens',
        message: expect.stringMatching(/at most 4294967296 bytes .*, got 262144 tokens over 8 ranks, which need \d+$/),
      }),
    );
    expect(onProgress).not.toHaveBeenCalled();
  });
});

describe('the check', () => {
  const weights: readonly LayerWeight[] = ['q', 'k', 'v', 'o', 'gate', 'up', 'down'];

  test.each(weights.flatMap((weight) => [{ weight, dtype: 'bf16' } as const, { weight, dtype: 'f32' } as const]))(
    'finds a shard of $weight that one rank of four took from the wrong place, in $dtype',
    ({ weight, dtype }) => {
      faults.misplaced = { rank: 3, weight };
      const { result } = run({ rank: 'chip', tp: 4, dtype });
      expect(result.ok).toBe(false);
      expect(result.maxRelError).toBeGreaterThan(2 * result.errorBound);
      expect(result.ranksAgree).toBe(true); // the wrong sum is the same everywhere
    },
  );

  test('finds a rank whose output differs from that of the others in the last bit', () => {
    faults.disagreeingRank = 2;
    const { ok, ranksAgree, maxRelError, errorBound } = run({ rank: 'chip', tp: 4 }).result;
    expect({ ok, ranksAgree }).toEqual({ ok: false, ranksAgree: false });
    expect(maxRelError).toBeLessThan(errorBound);
  });

  test('allows the error that its formula says', () => {
    // hidden 64, headDim 8, 16 tokens: 2 * 64 + 8 + 16 = 152 terms that are the same in both. 8 * 8 + 96 = 160 are cut
    // over 8 ranks: 20. So (2 * 152 + 20 + 160) / 2 = 242 sums in FP32. Roundings to the storage format are 12, and 1 of the
    // mesh that so little data takes, which adds all parts in one pass.
    const bound = (options: Changes) => run({ rank: 'chip', tp: 8, ...options }).result.errorBound;
    const { algorithm } = run({ rank: 'chip', tp: 8 }).result.collective;
    expect(algorithm).toMatch(/mesh$/);
    expect(bound({ dtype: 'f32' }) / Math.sqrt((13 + 242) * 2 ** -48)).toBeCloseTo(1.5, 12);
    expect(bound({ dtype: 'bf16' }) / Math.sqrt(13 * 2 ** -16 + 242 * 2 ** -48)).toBeCloseTo(1.5, 12);
    expect(bound({ rounding: 'stochastic' }) / Math.sqrt(13 * 2 ** -14 + 242 * 2 ** -48)).toBeCloseTo(1.5, 12);
  });
});

test('a small layer runs and is correct on every system with NeuronCores, links and engines that are published', () => {
  const complete = systems().filter(({ chip, fabric }) => chip.core?.dma != null && fabric !== null);
  for (const { id } of complete) {
    const { ok, timeNs }: RunResult = run({ on: id, tokens: 3 }).result;
    expect({ id, ok }).toEqual({ id, ok: true });
    expect(timeNs).toBeGreaterThan(0);
  }
});

test('any mixture of options gives a correct layer whose parts add up', () => {
  const options = fc.record({
    rank: fc.constantFrom('core' as const, 'chip' as const),
    tp: fc.constantFrom(1, 2, 4, 8),
    tokens: fc.integer({ min: 1, max: 40 }),
    dtype: fc.constantFrom('bf16' as const, 'f32' as const),
    rounding: fc.constantFrom('nearest' as const, 'stochastic' as const),
    seed: fc.maxSafeNat(),
  });
  fc.assert(
    fc.property(options, (choice) => {
      const { result } = run(choice);
      expect(result.ok).toBe(true);
      expect(result.breakdown.reduce((sum, { timeNs }) => sum + timeNs, 0)).toBeCloseTo(result.timeNs, 6);
    }),
    // Always the same cases: a correct layer of this size exceeds the bound, which is one of probability, about once in
    // 2,000 seeds.
    { numRuns: 40, seed: 1 },
  );
});
