#!/usr/bin/env node
/**
 * The `trnsim` command: a thin client of the library. Data goes to stdout, everything else to stderr.
 * Exit codes: 0 ok, 1 the run failed, 2 wrong usage or bad input, 3 a check not met, 130 interrupted.
 */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { addBenchCommand } from './commands/bench.ts';
import { addCatalogueCommands } from './commands/catalogue.ts';
import { addCollectiveCommand } from './commands/collective.ts';
import { addInferCommand } from './commands/infer.ts';
import { addRunCommand } from './commands/run.ts';
import { addValidateCommand } from './commands/validate.ts';
import { exitCodeOf, sentence } from './errors.ts';

/** Verbs of the command line's contract that this version does not have. */
const PLANNED = ['kernel', 'train', 'serve', 'plan', 'claims', 'replay', 'selftest'];

function version(): string {
  const file = new URL('../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

function createProgram(): Command {
  const program = new Command('trnsim')
    .description('A Trainium machine: what comes out, how long it takes, what it draws, what it costs.')
    .version(version())
    .exitOverride()
    // Errors are printed once, below, in one form.
    .configureOutput({ writeErr: () => {} });
  addRunCommand(program);
  addInferCommand(program);
  addCatalogueCommands(program);
  addBenchCommand(program);
  addValidateCommand(program);
  addCollectiveCommand(program);
  for (const command of program.commands) command.exitOverride().configureOutput({ writeErr: () => {} });
  return program;
}

/** @throws RangeError that lists the verbs if the first argument, or what help is asked for, is none of them. */
function checkVerb(program: Command, args: readonly string[]): void {
  const verb = args[0] === 'help' ? args[1] : args[0];
  const built = program.commands.map((command) => command.name());
  if (verb === undefined || verb.startsWith('-') || built.includes(verb)) return;
  if (PLANNED.includes(verb)) throw new RangeError(`"${verb}" is not built yet; this version has ${built.join(', ')}`);
  throw new RangeError(`"verb" expected one of ${built.join(', ')}, got ${JSON.stringify(verb)}`);
}

function main(args: string[]): void {
  const program = createProgram();
  try {
    checkVerb(program, args);
    if (args.length === 0) program.outputHelp();
    else program.parse(args, { from: 'user' });
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
  throw error;
});
main(process.argv.slice(2));
