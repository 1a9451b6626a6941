/** `trnsim kernel`: the time of one operator on the cores of a chip. */
import { type Command, Option } from 'commander';
import {
  chipFromJson,
  DIMENSION_NAMES,
  findChip,
  type Implementation,
  type KernelOptions,
  kernelReport,
  OPERATOR_NAMES,
  parseJson,
  parseOperandFormat,
  profileKernel,
  profileTimeline,
  runKernel,
  toJson,
  writeNeuronProfile,
  writePerfetto,
} from '../../index.ts';
import { given, wholeNumber } from '../arguments.ts';
import { checkFolder, checkWritable, isPath, readTextFile, writeFolder, writeWhole } from '../files.ts';

interface KernelFlags {
  readonly dtype: string;
  readonly weightDtype?: string;
  readonly outDtype?: string;
  readonly chip: string;
  readonly cores?: number;
  readonly lnc?: number;
  readonly copies?: number;
  readonly causal?: boolean;
  readonly window?: number;
  readonly implementation?: Implementation;
  readonly traceOut?: string;
  readonly profileOut?: string;
  readonly json?: boolean;
}

/** `seqKv` as the flag `--seq-kv`. */
const kebab = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/**
 * Reads the flags, times the operator, and writes what was asked for. A path that cannot be written is refused before the
 * work, and `--trace-out` and `--profile-out` are two files of one and the same profile.
 */
function run(op: string, flags: KernelFlags & Readonly<Record<string, unknown>>): void {
  const { weightDtype, outDtype, traceOut, profileOut, json = false } = flags;
  const dims = Object.fromEntries(
    DIMENSION_NAMES.flatMap((name) => (flags[name] === undefined ? [] : [[name, flags[name] as number]])),
  );
  const options: KernelOptions = {
    op,
    dims,
    dtype: parseOperandFormat('dtype', flags.dtype),
    chip: isPath(flags.chip)
      ? chipFromJson(parseJson(readTextFile(flags.chip), flags.chip), flags.chip)
      : findChip(flags.chip),
    ...(weightDtype !== undefined && { weightDtype: parseOperandFormat('weight-dtype', weightDtype) }),
    ...(outDtype !== undefined && { outDtype: parseOperandFormat('out-dtype', outDtype) }),
    ...given(flags, ['cores', 'lnc', 'copies', 'causal', 'window', 'implementation']),
  };
  if (traceOut !== undefined) checkWritable(traceOut);
  if (profileOut !== undefined) checkFolder(profileOut);
  const result = runKernel(options);
  // A second pass that keeps every instruction: for the time alone, loops are folded and nothing is kept.
  if (traceOut !== undefined || profileOut !== undefined) {
    const profile = profileKernel(options);
    if (traceOut !== undefined) {
      writeWhole(traceOut, writePerfetto(profileTimeline(profile)));
      process.stderr.write(`trace written to ${traceOut}: open it in ui.perfetto.dev\n`);
    }
    if (profileOut !== undefined) {
      writeFolder(profileOut, writeNeuronProfile(profile));
      process.stderr.write(`profile written to ${profileOut}: the Parquet tables of Neuron Explorer\n`);
    }
  }
  process.stdout.write(json ? toJson(result) : kernelReport(result));
}

export function addKernelCommand(program: Command): void {
  const command = program
    .command('kernel')
    .description('time one operator on the cores of a chip, by the tile program that computes it')
    .argument('<op>', OPERATOR_NAMES.join(', '))
    .option('--dtype <name>', 'number format of the operands', 'bf16')
    .option('--weight-dtype <name>', 'stored format of the weights (default: that of the operands)')
    .option('--out-dtype <name>', 'number format of the result (default: that of the operands)')
    .option('--chip <id>', 'id of `trnsim chips`, or path of a JSON file like those in data/chips', 'trn2')
    .option('--cores <n>', 'physical NeuronCores that share the work (default: one logical core)', wholeNumber)
    .option('--lnc <n>', "physical cores of a logical core (default: the chip's)", wholeNumber)
    .option('--copies <n>', 'identical problems at the same time, on as many parts of the cores', wholeNumber)
    .option('--causal', 'attention: a query sees the keys up to its own position')
    .option('--window <n>', 'attention: positions that a query sees, itself included', wholeNumber)
    .addOption(
      new Option('--implementation <which>', 'which of the documented programs (default: optimised)').choices([
        'optimised',
        'naive',
        'compiler',
        'library',
      ]),
    )
    .option('--trace-out <file>', 'write a timeline of one core for ui.perfetto.dev')
    .option('--profile-out <dir>', 'write the Parquet tables of Neuron Explorer into this folder')
    .option('--json', 'print one JSON document');
  // All operators' dimensions are flags; which ones an operator has, the library checks.
  for (const name of DIMENSION_NAMES) command.option(`--${kebab(name)} <n>`, 'a dimension', wholeNumber);
  command
    .addHelpText(
      'after',
      '\nExample: trnsim kernel matmul --m 4096 --k 8192 --n 8192 --dtype bf16 --chip trn1 --cores 1',
    )
    .action(run);
}
