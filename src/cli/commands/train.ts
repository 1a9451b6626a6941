/** `trnsim train`: one training step of a language model on a described machine. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import {
  createCluster,
  findSystem,
  formatsOf,
  modelSpec,
  PLACEMENTS,
  type PlanOptions,
  parseJson,
  parseModelSpecText,
  parseOperandFormat,
  pipelineRun,
  pipelineSvg,
  pipelineText,
  pipelineTimeline,
  SCHEDULES,
  systemFromJson,
  type TrainingJobOptions,
  toJson,
  trainReport,
  trainStep,
  writePerfetto,
} from '../../index.ts';
import { checkWritable, isPath, readTextFile, writeWhole } from '../files.ts';

/** Flags of the job; `plan --train` has them too. */
export interface TrainingFlags {
  readonly model: string;
  readonly system: string;
  readonly nodes?: number;
  readonly chips?: number;
  readonly rank?: 'core' | 'chip';
  readonly lnc?: number;
  readonly seq: number;
  readonly globalBatch: number;
  readonly dtype: string;
  readonly weightDtype?: string;
  readonly optimizerDtype: 'fp32' | 'bf16';
  readonly software: 'compiler' | 'library';
  readonly overlapGradients: boolean;
  readonly overlapTensor?: boolean;
  readonly overlapPasses?: boolean;
  readonly flash: boolean;
  readonly dropout?: boolean;
  readonly expertSkew: number;
  readonly json?: boolean;
}

interface TrainFlags extends TrainingFlags, Omit<PlanOptions, 'sp'> {
  readonly sequenceParallel: boolean;
  readonly timeline?: boolean;
  readonly svg?: string;
  readonly traceOut?: string;
}

function wholeNumber(text: string): number {
  if (!/^-?\d{1,16}$/.test(text)) throw new InvalidArgumentError('Expected a whole number.');
  return Number(text);
}

function decimal(text: string): number {
  if (!/^-?\d{1,9}(\.\d{1,12})?$/.test(text)) throw new InvalidArgumentError('Expected a number.');
  return Number(text);
}

/** The job on the cluster; `ranks` are as many as the plan needs, where no number of systems or chips is given. */
export function trainingJob(flags: TrainingFlags, ranks?: number): TrainingJobOptions {
  const { model, system, nodes, chips, rank, lnc, optimizerDtype, weightDtype } = flags;
  const is16Bit = optimizerDtype === 'bf16';
  const cluster = createCluster(
    isPath(system) ? systemFromJson(parseJson(readTextFile(system), system), system) : findSystem(system),
    {
      ...(nodes !== undefined && { nodes }),
      ...(chips !== undefined && { chips }),
      ...(rank !== undefined && { rank }),
      ...(lnc !== undefined && { lnc }),
      ...(nodes === undefined && chips === undefined && ranks !== undefined && { ranks }),
    },
  );
  return {
    model: isPath(model) ? parseModelSpecText(readTextFile(model), model) : modelSpec(model),
    cluster,
    seq: flags.seq,
    globalBatch: flags.globalBatch,
    formats: formatsOf(parseOperandFormat('dtype', flags.dtype), {
      ...(weightDtype !== undefined && { weights: parseOperandFormat('weight-dtype', weightDtype) }),
      ...(is16Bit && { gradients: 'bf16' as const }),
    }),
    stateBytes: is16Bit ? 4 : 12,
    software: flags.software,
    overlap: {
      gradients: flags.overlapGradients,
      tensor: flags.overlapTensor ?? false,
      passes: flags.overlapPasses ?? false,
    },
    flash: flags.flash,
    dropout: flags.dropout ?? false,
    expertSkew: flags.expertSkew,
  };
}

const PLAN_KEYS = [
  'tp',
  'pp',
  'dp',
  'cp',
  'cpMode',
  'ep',
  'expertTp',
  'zero',
  'schedule',
  'interleave',
  'microBatch',
  'recompute',
  'placement',
] as const;

function run(flags: TrainFlags): void {
  const { tp = 1, pp = 1, dp = 1, cp = 1, sequenceParallel, timeline = false, svg, traceOut, json = false } = flags;
  for (const file of [svg, traceOut]) if (file !== undefined) checkWritable(file);
  const options: PlanOptions = {
    ...Object.fromEntries(PLAN_KEYS.flatMap((key) => (flags[key] === undefined ? [] : [[key, flags[key]]]))),
    sp: sequenceParallel,
  };
  const job = trainingJob(flags, tp * pp * dp * cp);
  const result = trainStep(job, options);
  const drawn = timeline || svg !== undefined || traceOut !== undefined ? pipelineRun(job, options) : undefined;
  const encoder = new TextEncoder();
  if (svg !== undefined)
    writeWhole(svg, encoder.encode(pipelineSvg(drawn!, `${result.model}: ${result.plan.schedule}`)));
  if (traceOut !== undefined) writeWhole(traceOut, writePerfetto(pipelineTimeline(drawn!)));
  const picture = timeline ? `\n${pipelineText(drawn!)}` : '';
  process.stdout.write(json ? toJson(result) : `${trainReport(result)}${picture}`);
}

const choice = (flags: string, text: string, choices: readonly string[], fallback?: string): Option => {
  const option = new Option(flags, text).choices(choices);
  return fallback === undefined ? option : option.default(fallback);
};

/** The flags of a job, without those that `plan` searches over. */
export function addTrainingFlags(command: Command): Command {
  return command
    .option('--chips <n>', 'chips, the last system in part', wholeNumber)
    .option('--seq <n>', 'tokens of a sequence', wholeNumber, 4096)
    .option('--global-batch <n>', 'sequences of a step, all replicas together', wholeNumber, 1024)
    .option('--dtype <name>', 'number format of the matmuls: bf16, fp8, mxfp8, f32 ...', 'bf16')
    .option('--weight-dtype <name>', 'of the weights that are gathered and multiplied (default: 16 bits)')
    .addOption(
      choice(
        '--optimizer-dtype <name>',
        'fp32: master weights and moments; bf16: moments only, stochastic rounding',
        ['fp32', 'bf16'],
        'fp32',
      ),
    )
    .addOption(choice('--software <level>', 'what is fused', ['compiler', 'library'], 'library'))
    .option('--no-overlap-gradients', 'reduce gradients after the last micro-batch')
    .option('--overlap-tensor', 'exchanges of tensor parallelism run piece by piece with the products beside them')
    .option('--overlap-passes', "one micro-batch's forward pass runs beside another's backward pass")
    .option('--no-flash', 'scores of attention pass through device memory')
    .option('--dropout', 'masks of dropout are kept')
    .option('--expert-skew <x>', 'load of the busiest expert rank over the mean', decimal, 1);
}

export function addTrainCommand(program: Command): void {
  const command = program
    .command('train')
    .description('one training step: time, throughput, memory, energy and cost')
    .requiredOption('--model <id>', 'id of `trnsim models`, or path of a Hugging Face config.json')
    .requiredOption('--system <id>', 'id of `trnsim systems`, or path of a JSON file like those in data/systems')
    .option('--nodes <n>', 'systems (default: as many as the ranks need)', wholeNumber)
    .addOption(choice('--rank <what>', 'a rank is a logical NeuronCore or a chip', ['core', 'chip']))
    .option('--lnc <n>', "physical cores of a logical NeuronCore (default: the chip's)", wholeNumber)
    .option('--tp <n>', 'tensor parallelism', wholeNumber)
    .option('--pp <n>', 'pipeline parallelism', wholeNumber)
    .option('--dp <n>', 'data parallelism (default: what the ranks leave)', wholeNumber)
    .option('--cp <n>', 'context parallelism', wholeNumber)
    .addOption(choice('--cp-mode <how>', 'ring attention or all-to-all', ['ring', 'all-to-all']))
    .option('--ep <n>', 'ranks that the experts are spread over', wholeNumber)
    .option('--expert-tp <n>', 'ranks that cut one expert', wholeNumber)
    .option(
      '--zero <n>',
      'sharded over replicas: 1 optimizer, 2 and gradients, 3 and weights (default: 1)',
      wholeNumber,
    )
    .addOption(choice('--schedule <name>', 'of the pipeline', SCHEDULES))
    .option('--interleave <n>', 'chunks of layers on each pipeline stage', wholeNumber)
    .option('--micro-batch <n>', 'sequences of a micro-batch (default: 1)', wholeNumber)
    .addOption(choice('--recompute <what>', 'in the backward pass', ['none', 'selective', 'full']))
    .addOption(choice('--placement <order>', 'of the dimensions over the ranks, from the inside out', PLACEMENTS))
    .option('--no-sequence-parallel', 'tokens between the cut matrices are on all ranks');
  addTrainingFlags(command)
    .option('--timeline', 'draw the pipeline as text')
    .option('--svg <file>', 'draw the pipeline as SVG')
    .option('--trace-out <file>', 'write the pipeline as a timeline for ui.perfetto.dev')
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      '\nExample: trnsim train --model llama-3.1-70b --system trn2.48xlarge --nodes 8 --tp 16 --pp 4 --seq 8192 --global-batch 512',
    )
    .action(run);
}
