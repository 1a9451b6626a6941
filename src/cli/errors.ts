/** Errors of the library and of the argument parser as one sentence and an exit code. */
import { CommanderError } from 'commander';
import { ModelError } from '../base/errors.ts';

/** What was wrong, on one line, without a stack. */
export function sentence(error: unknown): string {
  const message = named(error);
  const isUnknownOption = error instanceof CommanderError && error.code === 'commander.unknownOption';
  const hint = isUnknownOption ? ', expected one that --help lists' : '';
  return `${message}${hint}`
    .replace(/^error: /, '')
    .trim()
    .replace(/\s*\n\s*/g, ' ');
}

/** The library names its arguments, `"globalBatch"`; the command line has `--global-batch`. */
function named(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const isArgument = error instanceof RangeError || error instanceof TypeError;
  if (!isArgument) return error.message;
  return error.message.replace(/^"[a-z]+(?:[A-Z][a-z]*)+"/, (name) =>
    name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`),
  );
}

/** 2 for wrong usage and bad input, 1 for everything else: a failure of the run, or a mistake of ours. */
export function exitCodeOf(error: unknown): number {
  const isUsage =
    error instanceof CommanderError ||
    error instanceof RangeError ||
    error instanceof TypeError ||
    error instanceof ModelError;
  return isUsage ? 2 : 1;
}
