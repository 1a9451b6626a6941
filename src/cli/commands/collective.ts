/** `trnsim collective`: the time of a collective on a described machine, as nccom-test prints it. */

import { type Command, InvalidArgumentError, Option } from 'commander';
import { expectInteger } from '../../base/errors.ts';
import {
  applyFaults,
  COLLECTIVES,
  type Collective,
  collectiveAlgorithms,
  collectiveReport,
  createCluster,
  findNetwork,
  type NetworkSpec,
  networkFromJson,
  parseFault,
  parseJson,
  parseMsccl,
  parseScheduleJson,
  parseSize,
  type ScheduleTemplate,
  timeCollective,
  toJson,
} from '../../index.ts';
import { given, wholeNumber } from '../arguments.ts';
import { isPath, readTextFile } from '../files.ts';
import { loadSystem, type RankFlags, rankFlags } from '../machines.ts';

interface CollectiveFlags extends RankFlags {
  readonly system: string;
  readonly alternative?: readonly string[];
  readonly nodes?: number;
  readonly chips?: number;
  readonly ranks?: number;
  readonly group?: number;
  readonly stride?: number;
  readonly network?: string;
  readonly fault?: readonly string[];
  readonly size: string;
  readonly sizes?: string;
  readonly dtype: string;
  readonly algorithm: string;
  readonly schedule?: string;
  readonly fidelity: 'formula' | 'flow' | 'event';
  readonly timing: 'device' | 'host' | 'framework';
  readonly explain?: boolean;
  readonly json?: boolean;
}

/** A sweep of more sizes than this is a mistake. */
const MAX_SIZES = 256;

/** An id of the catalogue, or a file. */
function loadNetwork(network: string): NetworkSpec {
  return isPath(network) ? networkFromJson(parseJson(readTextFile(network), network), network) : findNetwork(network);
}

/** JSON, or MSCCL's XML. */
function loadSchedule(path: string): ScheduleTemplate {
  const text = readTextFile(path);
  return text.trimStart().startsWith('<') ? parseMsccl(text, path) : parseScheduleJson(text, path);
}

/** `4KiB:1GiB:4`: from, to, and the factor between one size and the next. */
function sweep(text: string): number[] {
  const [from, to, by = '2', ...rest] = text.split(':');
  const factor = Number(by);
  if (to === undefined || rest.length > 0 || !(factor > 1 && factor <= 1e6)) {
    throw new RangeError(`"sizes" expected from:to:factor such as 4KiB:1GiB:4, got ${JSON.stringify(text)}`);
  }
  const last = parseSize('sizes', to);
  const sizes: number[] = [];
  for (let size = parseSize('sizes', from!); size <= last; size = Math.ceil(size * factor)) {
    if (size < 1 || sizes.length === MAX_SIZES) {
      throw new RangeError(`"sizes" expected 1 to ${MAX_SIZES} sizes from 1 byte on, got ${JSON.stringify(text)}`);
    }
    sizes.push(size);
  }
  return sizes;
}

function run(collective: Collective, flags: CollectiveFlags): void {
  const { dtype, algorithm, fidelity, timing, explain = false, json = false } = flags;
  const system = loadSystem(flags.system, flags.alternative);
  // A fault names a link, chip or rank of the cluster as it is built.
  const healthy = createCluster(system, {
    ...given(flags, ['nodes', 'chips', 'ranks', 'rank', 'lnc']),
    ...(flags.network !== undefined && { network: loadNetwork(flags.network) }),
  });
  const cluster = applyFaults(healthy, (flags.fault ?? []).flatMap(parseFault));
  // Checked before the ranks are divided by it.
  const stride = expectInteger('stride', flags.stride ?? 1, 1, Math.max(1, cluster.ranks - 1));
  if (flags.schedule !== undefined && algorithm !== 'auto') {
    throw new RangeError(`"algorithm" expected none beside a schedule, got ${algorithm}`);
  }
  const { result, explanation } = timeCollective({
    cluster,
    collective,
    sizes: flags.sizes === undefined ? [parseSize('size', flags.size)] : sweep(flags.sizes),
    dtype,
    algorithm,
    ...(flags.schedule !== undefined && { template: loadSchedule(flags.schedule) }),
    fidelity,
    timing,
    group: { ranks: flags.group ?? Math.ceil(cluster.ranks / stride), stride },
  });
  const shown = explain ? explanation : undefined;
  process.stdout.write(
    json
      ? toJson({ ...result, ...(explain && { explanation: explainedJson(explanation) }) })
      : collectiveReport(result, shown),
  );
}

/** Units in the keys, and no infinities. */
function explainedJson({ plans, reason }: ReturnType<typeof timeCollective>['explanation']) {
  const ns = (seconds: number): number => Math.round(seconds * 1e12) / 1e3;
  return {
    reason,
    candidates: plans.map(({ name, protocol, steps, time, start, rounds }) => ({
      name,
      protocol,
      steps,
      timeNs: ns(time),
      startNs: ns(start),
      rounds: rounds.map((round) => ({
        level: round.level,
        steps: round.steps,
        sendsPerRank: round.peers,
        latencyNs: ns(round.latency),
        rateGBps: Number.isFinite(round.rate) ? round.rate / 1e9 : null,
      })),
    })),
  };
}

/** An argument that commander checks like an option's choices, so that the error lists them. */
function collectiveName(text: string): Collective {
  if ((COLLECTIVES as readonly string[]).includes(text)) return text as Collective;
  throw new InvalidArgumentError(`Expected one of ${COLLECTIVES.join(', ')}.`);
}

export function addCollectiveCommand(program: Command): void {
  const list = (value: string, before: readonly string[] = []): string[] => [...before, value];
  const command = program
    .command('collective')
    .description('time a collective operation on a machine; prints the table that nccom-test prints')
    .argument('<operation>', COLLECTIVES.join(', '), collectiveName)
    .requiredOption('--system <id>', 'id of `trnsim systems`, or path of a JSON file like those in data/systems')
    .option('--alternative <name>', 'take this named alternative of the data, repeatable', list)
    .option('--nodes <n>', 'systems, joined by the scale-out network', wholeNumber)
    .option('--chips <n>', 'chips, the last system in part', wholeNumber)
    .option('--ranks <n>', 'use the first n ranks, the others idle (default: all)', wholeNumber);
  for (const option of rankFlags()) command.addOption(option);
  command
    .option('--group <n>', 'ranks of each group (default: all); groups run side by side', wholeNumber)
    .option('--stride <n>', 'distance between the ranks of a group', wholeNumber)
    .option('--network <id>', 'scale-out network: an id, or path of a JSON file like those in data/fabrics')
    .option(
      '--fault <text>',
      '"chip3->chip4", "chip3<->chip4 slow 0.5", "chip 5 slow 0.8", "rank 17 late 2us"; repeatable',
      list,
    )
    .option('--size <bytes>', 'the larger of input and output of a rank', '64MiB')
    .option('--sizes <from:to:factor>', 'a sweep of sizes, such as 4KiB:1GiB:4')
    .option('--dtype <name>', 'fp32, bf16, fp16, fp8, int32, uint8 ...', 'bf16')
    .addOption(
      new Option('--algorithm <name>', 'by name, or the fastest')
        .choices(['auto', ...collectiveAlgorithms().map(({ name }) => name)])
        .default('auto'),
    )
    .option('--schedule <file>', "your own schedule in place of an algorithm: JSON, or MSCCL's XML")
    .addOption(
      new Option('--fidelity <how>', 'closed forms, fair flows, or chunk by chunk')
        .choices(['formula', 'flow', 'event'])
        .default('formula'),
    )
    .addOption(
      new Option('--timing <where>', 'on the device, launched eagerly by a host, or by a framework')
        .choices(['device', 'host', 'framework'])
        .default('device'),
    )
    .option('--explain', 'the candidates, the formula of each, why one won, and its steps')
    .option('--json', 'print one JSON document')
    .addHelpText('after', '\nExample: trnsim collective all-reduce --system trn2-ultraserver --size 64MiB --explain')
    .action(run);
}
