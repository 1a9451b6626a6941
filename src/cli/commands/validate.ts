/** `trnsim validate`: published measurements beside the model's predictions. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import {
  MEASUREMENT_KINDS,
  type MeasurementKind,
  measurements,
  parseMeasurements,
  toJson,
  validate,
  validationReport,
} from '../../index.ts';
import { readTextFile } from '../files.ts';

/** Some 100 times the shipped file. */
const MAX_MEASUREMENT_BYTES = 64 * 2 ** 20;

interface ValidateFlags {
  readonly measurements?: string;
  readonly kind?: MeasurementKind;
  readonly family?: string;
  readonly worst: number;
  /** Percent; a gate for continuous integration. */
  readonly failOver?: number;
  readonly json?: boolean;
}

function number(text: string): number {
  if (!/^\d{1,9}(\.\d+)?$/.test(text)) throw new InvalidArgumentError('Expected a number >= 0, written out.');
  return Number(text);
}

function run({ measurements: path, kind, family, worst, failOver, json = false }: ValidateFlags): void {
  const rows = path === undefined ? measurements() : parseMeasurements(readTextFile(path, MAX_MEASUREMENT_BYTES), path);
  const result = validate(rows, {
    ...(kind !== undefined && { kind }),
    ...(family !== undefined && { family }),
  });
  process.stdout.write(json ? toJson({ schemaVersion: 1, ...result }) : validationReport(result, worst));
  // A family without any prediction has no error to be under the limit: it fails as well.
  const isOver = ({ medianAbsErrorPct }: { medianAbsErrorPct: number | null }) =>
    medianAbsErrorPct === null || medianAbsErrorPct > failOver!;
  if (failOver !== undefined && result.summary.some(isOver)) process.exitCode = 3;
}

export function addValidateCommand(program: Command): void {
  program
    .command('validate')
    .description('predict published measurements, and show how far off the predictions are')
    .option('--measurements <file>', 'your own, in the form of data/validation/README.md (default: the published ones)')
    .addOption(new Option('--kind <kind>', 'only these').choices(MEASUREMENT_KINDS))
    .option('--family <name>', 'only the chips of this family: trn1, trn2, h100 ...')
    .option('--worst <n>', 'list this many of the rows with the largest errors', number, 10)
    .option('--fail-over <pct>', 'exit with 3 if a median absolute error of the summary is above this', number)
    .option('--json', 'print one JSON document with every row')
    .addHelpText('after', '\nExample: trnsim validate --kind kernel --family trn3')
    .action(run);
}
