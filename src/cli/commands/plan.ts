/** `trnsim plan`: what to run, and how much of it. */
import type { Command } from 'commander';
import { addFleetOptions, asksForFleet, type FleetFlags, runFleetPlan } from './plan-fleet.ts';

function run(flags: FleetFlags): void {
  if (asksForFleet(flags)) runFleetPlan(flags);
  else throw new RangeError('"plan" expected one of --power, --budget, --load, --chips, --goodput, --costs, got none');
}

export function addPlanCommand(program: Command): void {
  const command = program
    .command('plan')
    .description('size a fleet by power, budget, load or chips; what failures leave of a job')
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      '\nExamples:\n  trnsim plan --power 2GW --chip trn3 --model llama-3.1-405b --pue 1.14\n  trnsim plan --goodput 16384,100000,500000,1000000 --checkpoint 10 --restart 120',
    );
  addFleetOptions(command).action(run);
}
