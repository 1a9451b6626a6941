/** `trnsim plan`: what to run, and how much of it. */
import type { Command } from 'commander';
import { addFleetOptions, asksForFleet, type FleetFlags, runFleetPlan } from './plan-fleet.ts';
import { type InferPlanFlags, inferSearchOptions, runInferPlan } from './plan-infer.ts';
import { type PlanFlags, runTrainPlan, searchOptions } from './plan-train.ts';
import { trainingOptions } from './train.ts';

async function run(flags: FleetFlags & PlanFlags & InferPlanFlags): Promise<void> {
  if (flags.train) await runTrainPlan(flags);
  else if (flags.infer) await runInferPlan(flags);
  else if (asksForFleet(flags)) runFleetPlan(flags);
  else
    throw new RangeError(
      '"plan" expected one of --train, --infer, --power, --budget, --load, --chips, --goodput, --costs, got none',
    );
}

export function addPlanCommand(program: Command): void {
  const command = program
    .command('plan')
    .description(
      'search the plans of a training job or of inference; size a fleet by power, budget, load or chips; goodput',
    )
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      '\nExamples:\n  trnsim plan --train --model llama-3.1-70b --system trn2.48xlarge --nodes 32 --seq 8192\n  trnsim plan --infer --model llama-3.1-70b --system trn2.48xlarge --input 2048 --output 256 --max-tpot 30\n  trnsim plan --power 2GW --chip trn3 --model llama-3.1-405b --pue 1.14\n  trnsim plan --goodput 16384,100000,500000,1000000 --checkpoint 10 --restart 120',
    );
  addFleetOptions(command);
  // Kinds of searches share flags: the first one's stands.
  for (const option of [...searchOptions(), ...trainingOptions(), ...inferSearchOptions()]) {
    if (!command.options.some(({ long }) => long === option.long)) command.addOption(option);
  }
  command.action(run);
}
