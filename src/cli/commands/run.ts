/** `trnsim run`: one decoder layer with real tensors on a simulated machine. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import {
  type DecoderConfig,
  findModel,
  findSystem,
  parseDType,
  parseJson,
  parseModelConfig,
  parseModelText,
  type RunOptions,
  runLayer,
  runReport,
  type SystemSpec,
  systemFromJson,
  toJson,
  writePerfetto,
} from '../../index.ts';
import { checkWritable, isPath, readTextFile, writeWhole } from '../files.ts';
import { progressBar } from '../progress.ts';

interface RunFlags {
  readonly system: string;
  readonly rank: 'core' | 'chip';
  readonly lnc?: number;
  readonly ranks?: number;
  readonly tp?: number;
  readonly tokens: number;
  readonly dtype: string;
  readonly rounding: 'nearest' | 'stochastic';
  readonly seed: number;
  readonly traceOut?: string;
  readonly json?: boolean;
}

/** A whole number as written; whether it is one that makes sense is the library's business. */
function wholeNumber(text: string): number {
  if (!/^-?\d{1,16}$/.test(text)) throw new InvalidArgumentError('Expected a whole number.');
  return Number(text);
}

function loadModel(model: string): DecoderConfig {
  if (isPath(model)) return parseModelText(readTextFile(model), model);
  const preset = findModel(model);
  return parseModelConfig(preset.config, preset.id);
}

function loadSystem(system: string): SystemSpec {
  return isPath(system) ? systemFromJson(parseJson(readTextFile(system), system), system) : findSystem(system);
}

function run(model: string, flags: RunFlags): void {
  const { rank, lnc, ranks, tp, tokens, rounding, seed, traceOut, json = false } = flags;
  const config = loadModel(model);
  const system = loadSystem(flags.system);
  if (traceOut !== undefined) checkWritable(traceOut);
  const progress = progressBar('ranks', !json);
  const options: RunOptions = {
    config,
    system,
    rank,
    tokens,
    rounding,
    seed,
    dtype: parseDType('dtype', flags.dtype),
    ...(lnc !== undefined && { lnc }),
    ...(ranks !== undefined && { ranks }),
    ...(tp !== undefined && { tp }),
    onProgress: progress.update,
  };
  const { result, timeline } = runLayer(options);
  progress.end();
  if (traceOut !== undefined) {
    writeWhole(traceOut, writePerfetto(timeline));
    process.stderr.write(`trace written to ${traceOut}: open it in ui.perfetto.dev\n`);
  }
  process.stdout.write(json ? toJson({ model, ...result }) : runReport(model, result));
  if (!result.ok) process.exitCode = 1;
}

export function addRunCommand(program: Command): void {
  program
    .command('run')
    .description('run one decoder layer with real tensors on a simulated machine, checked against FP32 on one rank')
    .argument('[model]', 'id of `trnsim models`, or path of a Hugging Face config.json', 'llama-3.1-8b')
    .option(
      '--system <id>',
      'id of `trnsim systems`, or path of a JSON file like those in data/systems',
      'trn2.48xlarge',
    )
    .addOption(
      new Option('--rank <what>', 'a rank is a logical NeuronCore or a chip').choices(['core', 'chip']).default('core'),
    )
    .option('--lnc <n>', "physical cores of a logical NeuronCore (default: the chip's)", wholeNumber)
    .option('--ranks <n>', 'use the first n ranks, the others idle (default: all)', wholeNumber)
    .option('--tp <n>', 'ranks that share the layer (default: as many as it can be cut for)', wholeNumber)
    .option('--tokens <n>', 'tokens of the prompt', wholeNumber, 128)
    .option('--dtype <name>', 'number format of weights and activations: bf16 or f32', 'bf16')
    .addOption(
      new Option('--rounding <how>', 'of results to bf16').choices(['nearest', 'stochastic']).default('nearest'),
    )
    .option('--seed <n>', 'of weights, input and stochastic rounding', wholeNumber, 1)
    .option('--trace-out <file>', 'write a timeline for ui.perfetto.dev')
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      '\nExample: trnsim run llama-3.1-8b --system trn2.48xlarge --rank chip --tp 16 --trace-out layer.pftrace',
    )
    .action(run);
}
