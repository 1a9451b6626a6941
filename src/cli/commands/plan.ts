/**
 * `trnsim plan`: what to run, and how much of it. Five questions share the verb and many flags; a flag that the question
 * asked does not read is refused, since ignoring it would answer another question than the one meant.
 */
import type { Command, Option } from 'commander';
import { runCostsPlan, runFleetPlan, runGoodputPlan } from './plan-fleet.ts';
import {
  costsOptions,
  type FleetFlags,
  fleetOptions,
  goodputOptions,
  priceOptions,
  servingOptions,
  targetOptions,
} from './plan-fleet-options.ts';
import { type InferPlanFlags, inferSearchOptions, runInferPlan } from './plan-infer.ts';
import { type PlanFlags, runTrainPlan, searchOptions } from './plan-train.ts';
import { trainingOptions } from './train.ts';

type Flags = FleetFlags & PlanFlags & InferPlanFlags;

interface Question {
  /** Flags that ask it, any of them. */
  readonly by: readonly string[];
  readonly options: readonly Option[];
  /** Flags that it reads besides, as another question defines them. */
  readonly shared: readonly string[];
  readonly answer: (flags: Flags) => void | Promise<void>;
}

/** The last one asked stands: a search of plans on `--chips` is no fleet of them. */
function questions(): Question[] {
  const searched = ['--model', '--system', '--nodes', '--rank', '--lnc', '--tp', '--pp', '--cp', '--ep'];
  return [
    {
      by: ['--power', '--budget', '--load', '--chips'],
      options: [...targetOptions(), ...servingOptions(), ...priceOptions(), ...fleetOptions()],
      shared: [],
      answer: runFleetPlan,
    },
    {
      by: ['--costs'],
      options: [...costsOptions(), ...servingOptions(), ...priceOptions()],
      shared: [],
      answer: runCostsPlan,
    },
    { by: ['--goodput'], options: goodputOptions(), shared: ['--model'], answer: runGoodputPlan },
    { by: ['--train'], options: [...searchOptions(), ...trainingOptions()], shared: [], answer: runTrainPlan },
    {
      by: ['--infer'],
      options: inferSearchOptions(),
      shared: [...searched, '--objective', '--keep'],
      answer: runInferPlan,
    },
  ];
}

const reads = ({ options, shared }: Question, flag: string): boolean =>
  shared.includes(flag) || options.some(({ long }) => long === flag);

const either = (flags: readonly string[]): string => flags.join(flags.length > 2 ? ', ' : ' or ');

/** The question that the flags ask. @throws RangeError if there is none, or if it does not read one of the flags */
function asked(all: readonly Question[], flags: readonly string[]): Question {
  const askers = all.flatMap(({ by }) => by);
  const question = all.filter(({ by }) => by.some((flag) => flags.includes(flag))).at(-1);
  if (question === undefined) throw new RangeError(`"plan" expected one of ${askers.join(', ')}, got none`);
  const asking = either(question.by.filter((flag) => flags.includes(flag)));
  for (const flag of flags) {
    if (flag === '--json' || reads(question, flag)) continue;
    if (askers.includes(flag)) throw new RangeError(`"plan" expected one question, got ${flag} with ${asking}`);
    const readers = all.filter((other) => reads(other, flag)).flatMap(({ by }) => by);
    throw new RangeError(`"${flag.slice(2)}" expected with ${either(readers)}, got it with ${asking}`);
  }
  return question;
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
  const all = questions();
  // Flags of one name are parsed in one way, the first one's: the fleet's lists hold a single value as well.
  for (const option of all.flatMap((question) => question.options)) {
    if (command.options.some(({ long }) => long === option.long)) continue;
    const readers = all.filter((question) => reads(question, option.long!)).flatMap(({ by }) => by);
    command.addOption(option.helpGroup(`With ${either(readers)}:`));
  }
  // The searches know different levels, and check them.
  command.options.find(({ long }) => long === '--software')!.choices(['compiler', 'library', 'megakernel']);
  command.action((flags: Flags) => {
    const isGiven = (option: Option): boolean => command.getOptionValueSource(option.attributeName()) === 'cli';
    return asked(
      all,
      command.options.filter(isGiven).map(({ long }) => long!),
    ).answer(flags);
  });
}
