/**
 * `trnsim claims`: what is said of Trainium in public, each figure computed beside the one claimed. `--markdown` is how
 * docs/claims.md is made, and a test holds the page to it.
 */
import type { Command } from 'commander';
import { claimsMarkdown, claimsReport, evaluateClaims, toJson } from '../../index.ts';

interface ClaimsFlags {
  readonly id?: string;
  readonly markdown?: boolean;
  readonly json?: boolean;
}

function run({ id, markdown = false, json = false }: ClaimsFlags): void {
  const claims = evaluateClaims(id === undefined ? {} : { id });
  if (json) process.stdout.write(toJson({ schemaVersion: 1, claims }));
  else process.stdout.write(markdown ? claimsMarkdown(claims) : claimsReport(claims, id !== undefined));
}

export function addClaimsCommand(program: Command): void {
  program
    .command('claims')
    .description('the public claims about Trainium, each computed from the data beside the figure claimed')
    .option('--id <id>', 'only this one, with all that comes out of its computation')
    .option('--markdown', 'print docs/claims.md')
    .option('--json', 'print one JSON document')
    .addHelpText('after', '\nExample: trnsim claims --id 22')
    .action(run);
}
