/**
 * `trnsim run`: one decoder layer, or a training step of several, with real tensors on a simulated machine. Any of the
 * options of a training step asks for one.
 */
import { type Command, InvalidArgumentError, Option } from 'commander';
import {
  type BitFlip,
  type DecoderConfig,
  findModel,
  type LayerRun,
  parseDType,
  parseModelConfig,
  parseModelText,
  type RunOptions,
  runLayer,
  runReport,
  runTraining,
  type TrainingRun,
  type TrainingRunOptions,
  toJson,
  trainingRunReport,
  writePerfetto,
} from '../../index.ts';
import { given, wholeNumber } from '../arguments.ts';
import { checkWritable, isPath, readTextFile, writeWhole } from '../files.ts';
import { loadSystem, type RankFlags, rankFlags } from '../machines.ts';
import { progressBar } from '../progress.ts';

interface RunFlags extends RankFlags {
  readonly system: string;
  readonly ranks?: number;
  /** Ranks that share the layer; as many as it can be cut for if left out. */
  readonly tp?: number;
  /** Of the prompt, and with training of each sequence. */
  readonly tokens: number;
  readonly dtype: string;
  readonly rounding: 'nearest' | 'stochastic';
  readonly seed: number;
  readonly layers?: number;
  readonly backward?: boolean;
  readonly dp?: number;
  readonly sequences?: number;
  readonly steps?: number;
  readonly loss?: 'squared-error' | 'cross-entropy';
  readonly optimizer?: 'adamw' | 'sgd' | 'none';
  readonly rate?: number;
  readonly master?: boolean;
  /** A fault injected on purpose: silent data corruption, and whether a check finds it. */
  readonly flipBit?: BitFlip;
  readonly traceOut?: string;
  readonly json?: boolean;
}

/** step,rank,element,bit and, after another comma, what is hit: weights (if left out) or gradients. */
function bitFlip(text: string): BitFlip {
  const [, step, rank, element, bit, target = 'weights'] = /^(\d+),(\d+),(\d+),(\d+)(?:,(\w+))?$/.exec(text) ?? [];
  if (step === undefined || (target !== 'weights' && target !== 'gradients')) {
    throw new InvalidArgumentError('Expected step,rank,element,bit or step,rank,element,bit,gradients.');
  }
  return { target, step: Number(step), rank: Number(rank), element: Number(element), bit: Number(bit) };
}

/** Learning rates are written with exponents, which `decimal` refuses. */
function finiteNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('Expected a number.');
  return value;
}

/** Only the dense families are computed with real tensors: a `DecoderConfig`, where other verbs take any `ModelSpec`. */
function loadModel(model: string): DecoderConfig {
  if (isPath(model)) return parseModelText(readTextFile(model), model);
  const preset = findModel(model);
  return parseModelConfig(preset.config, preset.id);
}

/** Options that only a training step has: any of them asks for one. */
const TRAINING = ['layers', 'backward', 'dp', 'sequences', 'steps', 'loss', 'optimizer', 'rate', 'flipBit'] as const;

function run(model: string, flags: RunFlags): void {
  const { traceOut, json = false } = flags;
  const shared = sharedOptions(model, flags);
  if (traceOut !== undefined) checkWritable(traceOut);
  // `--no-master` is the one flag whose default is true.
  const isTraining = TRAINING.some((name) => flags[name] !== undefined) || flags.master === false;
  const progress = progressBar(isTraining ? 'steps' : 'ranks', !json);
  const onProgress = progress.update;
  let text: () => string;
  let done: LayerRun | TrainingRun;
  if (isTraining) {
    const training = runTraining({ ...shared, ...trainingOptions(flags), onProgress });
    text = () => trainingRunReport(model, training.result);
    done = training;
  } else {
    const layer = runLayer({ ...shared, onProgress });
    text = () => runReport(model, layer.result);
    done = layer;
  }
  progress.end();
  if (traceOut !== undefined) {
    writeWhole(traceOut, writePerfetto(done.timeline));
    process.stderr.write(`trace written to ${traceOut}: open it in ui.perfetto.dev\n`);
  }
  process.stdout.write(json ? toJson({ model, ...done.result }) : text());
  // The result stands on stdout all the same: it says by how much the check was missed.
  if (!done.result.ok) process.exitCode = 1;
}

/** What a layer and a training step both need. */
function sharedOptions(model: string, flags: RunFlags): RunOptions {
  return {
    config: loadModel(model),
    system: loadSystem(flags.system),
    dtype: parseDType('dtype', flags.dtype),
    ...given(flags, ['rank', 'lnc', 'ranks', 'tp', 'tokens', 'rounding', 'seed']),
  };
}

function trainingOptions(flags: RunFlags): Partial<TrainingRunOptions> {
  const { backward = false, flipBit } = flags;
  return {
    backward,
    ...given(flags, ['layers', 'dp', 'sequences', 'steps', 'loss', 'optimizer', 'rate', 'master']),
    ...(flipBit !== undefined && { flip: flipBit }),
  };
}

export function addRunCommand(program: Command): void {
  const command = program
    .command('run')
    .description(
      'run one decoder layer, or a training step, with real tensors on a simulated machine, checked against FP32 on one rank',
    )
    .argument('[model]', 'id of `trnsim models`, or path of a Hugging Face config.json', 'llama-3.1-8b')
    .option(
      '--system <id>',
      'id of `trnsim systems`, or path of a JSON file like those in data/systems',
      'trn2.48xlarge',
    );
  for (const option of rankFlags()) command.addOption(option);
  command
    .option('--ranks <n>', 'use the first n ranks, the others idle (default: all)', wholeNumber)
    .option('--tp <n>', 'ranks that share the layer (default: as many as it can be cut for)', wholeNumber)
    .option('--tokens <n>', 'tokens of the prompt', wholeNumber, 128)
    .option('--dtype <name>', 'number format of weights and activations: bf16 or f32', 'bf16')
    .addOption(
      new Option('--rounding <how>', 'of results to bf16').choices(['nearest', 'stochastic']).default('nearest'),
    )
    .option('--seed <n>', 'of weights, input and stochastic rounding', wholeNumber, 1)
    .option('--layers <n>', "the first n of the model's layers", wholeNumber)
    .option('--backward', 'compute gradients, check them, and update the weights')
    .option('--dp <n>', 'replicas, each with sequences of its own', wholeNumber)
    .option('--sequences <n>', 'sequences of --tokens tokens on each replica', wholeNumber)
    .option('--steps <n>', 'training steps on the same batch', wholeNumber)
    .addOption(
      new Option('--loss <what>', 'of the layers alone, or of the model with embedding and head').choices([
        'squared-error',
        'cross-entropy',
      ]),
    )
    .addOption(new Option('--optimizer <name>', 'of the update').choices(['adamw', 'sgd', 'none']))
    .option('--rate <x>', 'learning rate', finiteNumber)
    .option('--no-master', 'keep no FP32 copy of the weights')
    .option(
      '--flip-bit <step,rank,element,bit>',
      'flip a bit of a stored weight, or of a gradient with ",gradients"',
      bitFlip,
    )
    .option('--trace-out <file>', 'write a timeline for ui.perfetto.dev')
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      '\nExample: trnsim run llama-3.1-8b --system trn2.48xlarge --rank chip --tp 16 --trace-out layer.pftrace' +
        '\n         trnsim run qwen3-0.6b --layers 2 --backward --system trn2-ultraserver --rank chip --tp 4 --dp 2',
    )
    .action(run);
}
