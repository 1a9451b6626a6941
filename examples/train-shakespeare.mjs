/**
 * A character-level transformer trains on Shakespeare over 8 simulated Trainium2 chips: 4 replicas (data parallelism) of
 * 2 chips each (tensor parallelism). The numbers are real, the chips are not: every rank has its own weights, and every sum
 * over ranks moves bytes by the schedule of a collective.
 *
 *     node examples/train-shakespeare.mjs [--steps 300] [--rate 5e-4] [--out examples/train-shakespeare.svg]
 *
 * Three times from the same weights on the same text: in FP32; in BF16, rounded to nearest; in BF16, rounded
 * stochastically. No FP32 copy of the weights is kept, so a step smaller than half the distance between two BF16 numbers is
 * lost to rounding to nearest; stochastic rounding keeps it on average, and the loss follows that of FP32.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { ADAMW_DEFAULTS, economics, findSystem, openSession, parseModelConfig } from 'trnsim';
import { lineChart } from './line-chart.mjs';

const { values: flags } = parseArgs({
  options: { steps: { type: 'string' }, rate: { type: 'string' }, out: { type: 'string' } },
});
const steps = Number(flags.steps ?? 300);
const rate = Number(flags.rate ?? 5e-4);
const out = flags.out ?? new URL('train-shakespeare.svg', import.meta.url);

const [dp, tp, sequences, tokens] = [4, 2, 4, 32];
const text = readFileSync(new URL('shakespeare.txt', import.meta.url), 'utf8');
const alphabet = [...new Set(text)].sort();
const ids = Float32Array.from(text, (character) => alphabet.indexOf(character));
const config = parseModelConfig(
  {
    model_type: 'llama',
    hidden_size: 64,
    num_attention_heads: 4,
    intermediate_size: 128,
    num_hidden_layers: 2,
    vocab_size: alphabet.length,
    max_position_embeddings: tokens,
  },
  'characters',
);

/** The batch of a step: for each replica, sequences from places that the step's number decides. */
function batch(step) {
  let state = step + 1;
  const place = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * (ids.length - tokens));
  };
  place(); // The first one after a small seed is small too.
  const places = Array.from({ length: dp }, () => Array.from({ length: sequences }, place));
  const from = (shift) =>
    places.map((replica) => replica.flatMap((start) => [...ids.subarray(start + shift, start + shift + tokens)]));
  return { inputs: from(0), targets: from(1) };
}

const modes = [
  { name: 'FP32', dtype: 'f32', rounding: 'nearest' },
  { name: 'BF16, to nearest', dtype: 'bf16', rounding: 'nearest' },
  { name: 'BF16, stochastic', dtype: 'bf16', rounding: 'stochastic' },
];
const system = findSystem('trn2.48xlarge');
const runs = modes.map(({ name, dtype, rounding }) => {
  const session = openSession({
    config,
    system,
    rank: 'chip',
    ...{ layers: config.layers, tp, dp, sequences, tokens, dtype, rounding },
    loss: 'cross-entropy',
    backward: true,
    optimizer: { ...ADAMW_DEFAULTS, rate, master: false },
    seed: 1,
  });
  const executor = session.start();
  const losses = [];
  for (let step = 0; step < steps; step++) {
    const { inputs, targets } = batch(step);
    executor.setBatch(inputs, targets);
    losses.push(executor.run());
    if ((step + 1) % 50 === 0) console.error(`${name}: step ${step + 1} of ${steps}, loss ${losses.at(-1).toFixed(3)}`);
  }
  return { name, losses, time: session.timing.time };
});

const last = Math.min(25, steps);
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
console.log(`${'weights and activations'.padEnd(24)}first loss  last ${last}   us/step    J/step   USD/step`);
for (const { name, losses, time } of runs) {
  const { energyJ, costUsd } = economics(system, 1, time);
  console.log(
    [
      name.padEnd(24),
      losses[0].toFixed(4).padStart(10),
      mean(losses.slice(-last)).toFixed(4).padStart(9),
      (time * 1e6).toFixed(1).padStart(9),
      energyJ.toFixed(3).padStart(9),
      costUsd.toExponential(2).padStart(10),
    ].join(' '),
  );
}
console.log(`Energy and cost are those of the whole ${system.id}, of whose 16 chips 8 work.`);

const window = Math.max(1, Math.round(steps / 20));
const series = runs.map(({ name, losses }) => ({
  name,
  points: losses.slice(window - 1).map((_, i) => [i + window, mean(losses.slice(i, i + window))]),
}));
const title = `Cross-entropy, mean of ${window} steps: DP 4 x TP 2 on simulated Trainium2`;
writeFileSync(out, lineChart({ title, x: 'step', y: 'nats per character', series }));
