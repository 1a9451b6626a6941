/** `trnsim selftest`: the bring-up of a described machine. */
import type { Command } from 'commander';
import { parseFault, selfTest, selfTestReport, toJson } from '../../index.ts';
import { loadSystem } from '../machines.ts';

interface SelfTestFlags {
  readonly fault?: readonly string[];
  readonly json?: boolean;
}

/** Exit code 3 if a check failed: the machine is not as described, which is no mistake of the command. */
function run(system: string, { fault = [], json = false }: SelfTestFlags): void {
  const result = selfTest({ system: loadSystem(system), faults: fault.flatMap(parseFault) });
  process.stdout.write(json ? toJson(result) : selfTestReport(result));
  if (!result.ok) process.exitCode = 3;
}

export function addSelfTestCommand(program: Command): void {
  program
    .command('selftest')
    .description('bring-up: engines, memories, links and collectives of a machine exercised with real data')
    .argument('[system]', 'id of `trnsim systems`, or path of a JSON file', 'trn2.48xlarge')
    .option(
      '--fault <fault>',
      'break something first: "chip3<->chip4", "chip 5 slow 0.8"',
      (text, before: string[] = []) => [...before, text],
    )
    .option('--json', 'print one JSON document')
    .addHelpText('after', '\nExample: trnsim selftest trn2-ultraserver --fault "chip3<->chip4 slow 0.5"')
    .action(run);
}
