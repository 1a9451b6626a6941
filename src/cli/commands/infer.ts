/** `trnsim infer`: one batch of requests to a language model on a described machine. */
import { type Command, Option } from 'commander';
import {
  createCluster,
  type Formats,
  formatsOf,
  type InferenceOptions,
  infer,
  inferencePlan,
  inferReport,
  planRanks,
  toJson,
} from '../../index.ts';
import { decimal, given, wholeNumber } from '../arguments.ts';
import { loadModel, loadSystem, type RankFlags, rankFlags } from '../machines.ts';

type OperandFormat = Formats['compute'];

/** Flags of `workloadOptions`, and the model. */
export interface WorkloadFlags {
  readonly model: string;
  readonly input: number;
  readonly output: number;
  readonly dtype: string;
  readonly weightDtype?: string;
  readonly expertDtype?: string;
  readonly kvDtype?: string;
  readonly software: 'compiler' | 'library' | 'megakernel';
  readonly serving: 'static' | 'continuous';
  /** Tokens of the prompt that one step computes; the whole prompt if left out. */
  readonly prefillChunk?: number;
  readonly page: number;
  readonly expertSkew: number;
  /** Latent attention with the projections of keys and values multiplied into those of queries and outputs. */
  readonly absorbed: boolean;
  /** Fixed shapes of compiled programs, as on Neuron: any of the four asks for them. */
  readonly compiledBatch?: number;
  readonly maxLength?: number;
  readonly promptBucket?: number;
  readonly contextBucket?: number;
  /** A draft model, the tokens that it proposes, and the probability that one is accepted: an input, no prediction. */
  readonly speculation?: string;
  readonly draftTokens: number;
  readonly acceptance?: number;
}

interface InferFlags extends WorkloadFlags, RankFlags {
  readonly system: string;
  readonly nodes?: number;
  readonly tp?: number;
  readonly pp?: number;
  readonly ep?: number;
  readonly dp?: number;
  readonly cp?: number;
  readonly batch: number;
  readonly json?: boolean;
}

const FORMATS: readonly OperandFormat[] = ['f32', 'f16', 'bf16', 'fp8', 'mxfp8', 'mxfp4', 'nvfp4', 'int8'];
/** Names that other tools use. */
const ALIASES: Readonly<Record<string, OperandFormat>> = { fp32: 'f32', fp16: 'f16' };

/** @throws RangeError that names the flag and lists the formats */
function format(name: string, text: string): OperandFormat {
  const value = ALIASES[text] ?? text;
  const known = FORMATS.find((each) => each === value);
  if (known === undefined) {
    throw new RangeError(`"${name}" expected one of ${FORMATS.join(', ')}, got ${JSON.stringify(text)}`);
  }
  return known;
}

/** The library's options: all but degrees and batch. */
export function workload(flags: WorkloadFlags): InferenceOptions {
  const { dtype, weightDtype, expertDtype, kvDtype, speculation, acceptance } = flags;
  const weights = weightDtype === undefined ? undefined : format('weight-dtype', weightDtype);
  const formats = formatsOf(format('dtype', dtype), {
    ...(weights !== undefined && { weights }),
    ...(expertDtype !== undefined && { expertWeights: format('expert-dtype', expertDtype) }),
    ...(kvDtype !== undefined && { kv: format('kv-dtype', kvDtype) }),
  });
  if (speculation !== undefined && acceptance === undefined) {
    throw new RangeError(
      '"acceptance" expected with --speculation: the part of drafted tokens that is accepted, got none',
    );
  }
  return {
    ...given(flags, ['software', 'serving', 'prefillChunk', 'page', 'expertSkew', 'absorbed']),
    input: flags.input,
    output: flags.output,
    model: loadModel(flags.model),
    formats,
    compiled: compiledShapes(flags),
    speculation:
      speculation === undefined
        ? null
        : { draft: loadModel(speculation), draftTokens: flags.draftTokens, acceptance: acceptance! },
  };
}

/** Fixed shapes as soon as one of them is named. */
function compiledShapes({ compiledBatch, maxLength, promptBucket, contextBucket, input, output }: WorkloadFlags) {
  if ([compiledBatch, maxLength, promptBucket, contextBucket].every((value) => value === undefined)) return null;
  return {
    // A step of more sequences computes more.
    batch: compiledBatch ?? 1,
    maxLen: maxLength ?? Math.max(input + output, promptBucket ?? 0, contextBucket ?? 0),
    ...(promptBucket !== undefined && { promptBucket }),
    ...(contextBucket !== undefined && { contextBucket }),
  };
}

function run(flags: InferFlags): void {
  const { json = false } = flags;
  const options = { ...workload(flags), ...given(flags, ['tp', 'pp', 'ep', 'dp', 'cp', 'batch']) };
  // The plan says how many ranks there are, and the machine is as large as that unless `--nodes` says otherwise.
  const cluster = createCluster(loadSystem(flags.system), {
    ranks: planRanks(inferencePlan(options)),
    ...given(flags, ['nodes', 'rank', 'lnc']),
  });
  const result = infer(cluster, options);
  process.stdout.write(json ? toJson(result) : inferReport(result));
}

/** The flags of a run beside model, system, degrees and batch. */
export function workloadOptions(): Option[] {
  const choice = (flags: string, text: string, choices: readonly string[], fallback: string) =>
    new Option(flags, text).choices(choices).default(fallback);
  const whole = (flags: string, text: string) => new Option(flags, text).argParser(wholeNumber);
  return [
    whole('--input <n>', 'tokens of each prompt'),
    whole('--output <n>', 'tokens generated for each'),
    new Option('--dtype <name>', `number format of the matmuls: ${FORMATS.join(', ')}`).default('bf16'),
    new Option('--weight-dtype <name>', 'of stored weights (default: 16 bits)'),
    new Option('--expert-dtype <name>', "of stored experts (default: the weights')"),
    new Option('--kv-dtype <name>', 'of the KV cache (default: 16 bits)'),
    choice('--software <level>', 'what is fused', ['compiler', 'library', 'megakernel'], 'library'),
    choice('--serving <how>', 'batches together, or requests that come and go', ['static', 'continuous'], 'static'),
    whole('--prefill-chunk <n>', 'prompt tokens of a prefill step (default: the whole prompt)'),
    whole('--page <n>', 'positions of a page of the KV cache').default(1),
    new Option('--expert-skew <x>', 'load of the busiest expert rank over the mean').argParser(decimal).default(1),
    new Option('--no-absorbed', 'latent attention: expand keys and values in decode'),
    whole('--compiled-batch <n>', 'sequences that each decode step computes, active or not'),
    whole('--max-length <n>', 'longest sequence of the compiled programs'),
    whole('--prompt-bucket <n>', 'tokens that prompts are padded to'),
    whole('--context-bucket <n>', 'positions that each decode step attends over'),
    new Option('--speculation <model>', 'draft model: id or path of a config.json'),
    whole('--draft-tokens <n>', 'tokens that it proposes').default(4),
    new Option('--acceptance <p>', 'probability that a proposed token is accepted').argParser(decimal),
  ];
}

export function addInferCommand(program: Command): void {
  const command = program
    .command('infer')
    .description('prefill and decode of a batch: latency, throughput, memory, energy and cost')
    .requiredOption('--model <id>', 'id of `trnsim models`, or path of a Hugging Face config.json')
    .requiredOption('--system <id>', 'id of `trnsim systems`, or path of a JSON file like those in data/systems')
    .option('--nodes <n>', 'systems (default: as many as the ranks need)', wholeNumber)
    .option('--tp <n>', 'tensor parallelism', wholeNumber)
    .option('--pp <n>', 'pipeline parallelism', wholeNumber)
    .option('--ep <n>', 'ranks that the experts are spread over', wholeNumber)
    .option('--dp <n>', 'replicas of the attention, or of the model, that share the batch', wholeNumber)
    .option('--cp <n>', 'context parallelism', wholeNumber)
    .option('--batch <n>', 'sequences of all replicas', wholeNumber, 1);
  for (const option of rankFlags()) command.addOption(option);
  for (const option of workloadOptions()) {
    command.addOption(option.makeOptionMandatory(['input', 'output'].includes(option.attributeName())));
  }
  command
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      '\nExample: trnsim infer --model llama-3.1-70b --system trn2.48xlarge --tp 64 --input 2048 --output 256',
    )
    .action(run);
}
