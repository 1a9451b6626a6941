/** `trnsim train`: one training step of a language model on a described machine. */
import { type Command, Option } from 'commander';
import {
  createCluster,
  formatsOf,
  PLACEMENTS,
  type PlanOptions,
  parseOperandFormat,
  pipelineRun,
  pipelineSvg,
  pipelineText,
  pipelineTimeline,
  SCHEDULES,
  type TrainingJobOptions,
  toJson,
  trainReport,
  trainStep,
  writePerfetto,
} from '../../index.ts';
import { decimal, given, wholeNumber } from '../arguments.ts';
import { checkWritable, writeWhole } from '../files.ts';
import { loadModel, loadSystem, type RankFlags, rankFlags } from '../machines.ts';

/** Flags of the job; `plan --train` has them too. */
export interface TrainingFlags extends RankFlags {
  readonly model: string;
  readonly system: string;
  readonly nodes?: number;
  readonly chips?: number;
  readonly seq: number;
  readonly globalBatch: number;
  readonly dtype: string;
  readonly weightDtype?: string;
  /** `fp32`: master weights and two moments, 12 bytes a parameter. `bf16`: two moments, 4 bytes, and gradients in BF16. */
  readonly optimizerDtype: 'fp32' | 'bf16';
  readonly software?: 'compiler' | 'library';
  readonly overlapGradients: boolean;
  readonly overlapTensor?: boolean;
  readonly overlapPasses?: boolean;
  readonly flash: boolean;
  readonly fusedSoftmax: boolean;
  readonly dropout?: boolean;
  /** Load of the busiest rank of experts / mean load, >= 1. */
  readonly expertSkew: number;
  readonly json?: boolean;
}

/** The flags of one step; the plan's own have the names of the library's options. */
interface TrainFlags extends TrainingFlags, Omit<PlanOptions, 'sp'> {
  readonly sequenceParallel: boolean;
  readonly timeline?: boolean;
  readonly svg?: string;
  readonly traceOut?: string;
}

/** The job on the cluster; `ranks` are as many as the plan needs, where no number of systems or chips is given. */
export function trainingJob(flags: TrainingFlags, ranks?: number): TrainingJobOptions {
  const { nodes, chips, optimizerDtype, weightDtype } = flags;
  const is16Bit = optimizerDtype === 'bf16';
  const cluster = createCluster(loadSystem(flags.system), {
    ...given(flags, ['nodes', 'chips', 'rank', 'lnc']),
    ...(nodes === undefined && chips === undefined && ranks !== undefined && { ranks }),
  });
  return {
    model: loadModel(flags.model),
    cluster,
    seq: flags.seq,
    globalBatch: flags.globalBatch,
    formats: formatsOf(parseOperandFormat('dtype', flags.dtype), {
      ...(weightDtype !== undefined && { weights: parseOperandFormat('weight-dtype', weightDtype) }),
      ...(is16Bit && { gradients: 'bf16' as const }),
    }),
    stateBytes: is16Bit ? 4 : 12,
    ...(flags.software !== undefined && { software: flags.software }),
    overlap: {
      gradients: flags.overlapGradients,
      tensor: flags.overlapTensor ?? false,
      passes: flags.overlapPasses ?? false,
    },
    flash: flags.flash,
    fusedSoftmax: flags.fusedSoftmax,
    dropout: flags.dropout ?? false,
    expertSkew: flags.expertSkew,
  };
}

/** Flags that go into the plan as they are. One left out is the library's default, not one of the command line's. */
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
    ...given(flags, PLAN_KEYS),
    sp: sequenceParallel,
  };
  // As many ranks as the degrees multiply to, unless a number of systems or chips says more: `dp` then fills them.
  const job = trainingJob(flags, tp * pp * dp * cp);
  const result = trainStep(job, options);
  // The events of the pipeline are kept only when somebody looks at them.
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

const numeric = (flags: string, text: string, fallback?: number): Option => {
  const option = new Option(flags, text).argParser(wholeNumber);
  return fallback === undefined ? option : option.default(fallback);
};

/** Machine and job; the flags of a plan are apart. */
export function trainingOptions(): Option[] {
  return [
    new Option('--model <id>', 'id of `trnsim models`, or path of a Hugging Face config.json'),
    new Option('--system <id>', 'id of `trnsim systems`, or path of a JSON file like those in data/systems'),
    numeric('--nodes <n>', 'systems (default: as many as the ranks need)'),
    numeric('--chips <n>', 'chips, the last system in part'),
    ...rankFlags(),
    numeric('--seq <n>', 'tokens of a sequence', 4096),
    numeric('--global-batch <n>', 'sequences of a step, all replicas together', 1024),
    new Option('--dtype <name>', 'number format of the matmuls: bf16, fp8, mxfp8, f32 ...').default('bf16'),
    new Option('--weight-dtype <name>', 'of the weights that are gathered and multiplied (default: 16 bits)'),
    choice(
      '--optimizer-dtype <name>',
      'fp32: master weights and moments; bf16: moments only, stochastic rounding',
      ['fp32', 'bf16'],
      'fp32',
    ),
    choice('--software <level>', 'what is fused (default: on NeuronCores compiler)', ['compiler', 'library']),
    new Option('--no-overlap-gradients', 'reduce gradients after the last micro-batch'),
    new Option('--overlap-tensor', 'exchanges of tensor parallelism run piece by piece with the products beside them'),
    new Option('--overlap-passes', "one micro-batch's forward pass runs beside another's backward pass"),
    new Option('--no-flash', 'scores of attention pass through device memory'),
    new Option('--no-fused-softmax', 'without flash: scaling, mask and dropout of scores pass device memory too'),
    new Option('--dropout', 'masks of dropout are kept'),
    new Option('--expert-skew <x>', 'load of the busiest expert rank over the mean').argParser(decimal).default(1),
  ];
}

/** How the job is cut; `plan --train` has axes of the same names to search in their place. */
function planOptions(): Option[] {
  return [
    numeric('--tp <n>', 'tensor parallelism'),
    numeric('--pp <n>', 'pipeline parallelism'),
    numeric('--dp <n>', 'data parallelism (default: what the ranks leave)'),
    numeric('--cp <n>', 'context parallelism'),
    choice('--cp-mode <how>', 'ring attention or all-to-all', ['ring', 'all-to-all']),
    numeric('--ep <n>', 'ranks that the experts are spread over'),
    numeric('--expert-tp <n>', 'ranks that cut one expert'),
    numeric('--zero <n>', 'sharded over replicas: 1 optimizer, 2 and gradients, 3 and weights (default: 1)'),
    choice('--schedule <name>', 'of the pipeline', SCHEDULES),
    numeric('--interleave <n>', 'chunks of layers on each pipeline stage'),
    numeric('--micro-batch <n>', 'sequences of a micro-batch (default: 1)'),
    choice('--recompute <what>', 'in the backward pass', ['none', 'selective', 'full']),
    choice('--placement <order>', 'of the dimensions over the ranks, from the inside out', PLACEMENTS),
    new Option('--no-sequence-parallel', 'tokens between the cut matrices are on all ranks'),
  ];
}

export function addTrainCommand(program: Command): void {
  const command = program.command('train').description('one training step: time, throughput, memory, energy and cost');
  const required = ['--model', '--system'];
  for (const option of [...trainingOptions(), ...planOptions()]) {
    command.addOption(required.includes(option.long!) ? option.makeOptionMandatory() : option);
  }
  command
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
