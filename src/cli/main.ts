#!/usr/bin/env node
/**
 * The `trnsim` command: a thin client of the library. Data goes to stdout, everything else to stderr.
 * Exit codes: 0 ok, 1 the run failed, 2 wrong usage or bad input, 3 a check not met, 130 interrupted.
 */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { exitCodeOf, sentence } from './errors.ts';

/** Verbs of the command line's contract that this version does not have. */
const PLANNED = ['serve'];

function version(): string {
  const file = new URL('../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

type AddCommand = (program: Command) => void;

/** Verbs, and the module of each: loaded when it is called, since what the others need takes longer to load than to run. */
const catalogue = async (): Promise<AddCommand> => (await import('./commands/catalogue.ts')).addCatalogueCommands;
const VERBS: ReadonlyMap<string, () => Promise<AddCommand>> = new Map([
  ['run', async () => (await import('./commands/run.ts')).addRunCommand],
  ['systems', catalogue],
  ['chips', catalogue],
  ['models', catalogue],
  ['show', catalogue],
  ['bench', async () => (await import('./commands/bench.ts')).addBenchCommand],
  ['validate', async () => (await import('./commands/validate.ts')).addValidateCommand],
  ['kernel', async () => (await import('./commands/kernel.ts')).addKernelCommand],
  ['collective', async () => (await import('./commands/collective.ts')).addCollectiveCommand],
  ['train', async () => (await import('./commands/train.ts')).addTrainCommand],
  ['infer', async () => (await import('./commands/infer.ts')).addInferCommand],
  ['plan', async () => (await import('./commands/plan.ts')).addPlanCommand],
  ['selftest', async () => (await import('./commands/selftest.ts')).addSelfTestCommand],
  ['claims', async () => (await import('./commands/claims.ts')).addClaimsCommand],
  ['replay', async () => (await import('./commands/replay.ts')).addReplayCommand],
]);

/** The program with the verb that `args` call, or with all of them where none is: help lists them. */
async function createProgram(args: readonly string[]): Promise<Command> {
  const program = new Command('trnsim')
    .description('A Trainium machine: what comes out, how long it takes, what it draws, what it costs.')
    .version(version())
    .exitOverride()
    // Errors are printed once, below, in one form.
    .configureOutput({ writeErr: () => {} });
  const called = VERBS.get(args[0] ?? '');
  const modules = new Set(called === undefined ? VERBS.values() : [called]);
  for (const load of modules) (await load())(program);
  for (const command of program.commands) command.exitOverride().configureOutput({ writeErr: () => {} });
  return program;
}

/** @throws RangeError that lists the verbs if the first argument, or what help is asked for, is none of them. */
function checkVerb(args: readonly string[]): void {
  const verb = args[0] === 'help' ? args[1] : args[0];
  const built = [...VERBS.keys()];
  if (verb === undefined || verb.startsWith('-') || VERBS.has(verb)) return;
  if (PLANNED.includes(verb)) throw new RangeError(`"${verb}" is not built yet; this version has ${built.join(', ')}`);
  throw new RangeError(`"verb" expected one of ${built.join(', ')}, got ${JSON.stringify(verb)}`);
}

async function main(args: string[]): Promise<void> {
  try {
    checkVerb(args);
    const program = await createProgram(args);
    if (args.length === 0) program.outputHelp();
    else await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    // --help and --version also arrive here, with exit code 0 and their text already on stdout.
    if (error instanceof CommanderError && error.exitCode === 0) return;
    process.stderr.write(`trnsim: ${sentence(error)}\n`);
    process.exitCode = exitCodeOf(error);
  }
}

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // The reader of a pipe left, `trnsim systems | head`: nothing to tell it.
  if (error.code === 'EPIPE') process.exit(0);
  process.stderr.write(`trnsim: ${sentence(error)}\n`);
  process.exit(1);
});
void main(process.argv.slice(2));
