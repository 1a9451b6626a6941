/** `trnsim replay`: Chakra traces on an ASTRA-sim network and system. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { ModelError } from '../../base/errors.ts';
import {
  astraRanks,
  type ChakraTrace,
  parseAstraGroups,
  parseAstraMemory,
  parseAstraNetwork,
  parseAstraSystem,
  type ReplayTrace,
  readChakra,
  replay,
  replayReport,
  replayRows,
  toJson,
} from '../../replay.ts';
import { readTextFile } from '../files.ts';

/** Of one trace, unpacked. The largest that anybody publishes is some hundred MB. */
const MAX_TRACE_BYTES = 2 ** 30;

interface ReplayFlags {
  readonly workload: string;
  readonly network: string;
  readonly system: string;
  readonly remoteMemory?: string;
  readonly commGroups?: string;
  /** `astra`: ASTRA-sim's own answer to the nanosecond. `trnsim`: the same traces on physical links. */
  readonly timing: 'astra' | 'trnsim';
  /** Which of ASTRA-sim's analytical backends `--timing astra` follows. */
  readonly congestion: 'unaware' | 'aware';
  readonly numQueuesPerDim: number;
  readonly injectionScale: number;
  readonly dataDepsOnly?: boolean;
  readonly json?: boolean;
}

/** @throws InvalidArgumentError, to which commander adds the flag and the text */
function positive(text: string): number {
  if (!/^\d{1,9}(\.\d{1,9})?$/.test(text)) throw new InvalidArgumentError('Expected a number >= 0.');
  return Number(text);
}

/** @throws ModelError that names the file if it cannot be read, is too large or is no gzip though it begins like it */
function readTraceFile(path: string): Uint8Array {
  try {
    const { size } = statSync(path);
    if (size > MAX_TRACE_BYTES) throw new Error(`more than ${MAX_TRACE_BYTES} bytes`);
    const bytes = readFileSync(path);
    if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
    return gunzipSync(bytes, { maxOutputLength: MAX_TRACE_BYTES });
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new ModelError('CONFIG', path, `expected a Chakra trace to read, got ${code ?? message}`, { cause });
  }
}

/** One trace for all ranks if `workload` is a file, else `workload.RANK.et` of each; equal files are parsed once. */
function readTraces(workload: string, ranks: number): ReplayTrace[] {
  if (existsSync(workload) && statSync(workload).isFile()) {
    return [{ path: workload, trace: readChakra(readTraceFile(workload), workload) }];
  }
  const known = new Map<string, ChakraTrace>();
  const traces: ReplayTrace[] = [];
  for (let rank = 0; rank < ranks; rank++) {
    const path = `${workload}.${rank}.et`;
    const bytes = readTraceFile(path);
    // Ranks of one job often have the same trace: some hundred MB that need parsing once. A string is a key, a Buffer is not.
    const content = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
    const trace = known.get(content) ?? readChakra(bytes, path);
    known.set(content, trace);
    traces.push({ path, trace });
  }
  return traces;
}

/** Warnings of the parsers go to stderr, so that stdout is the answer alone. */
async function run(flags: ReplayFlags): Promise<void> {
  const network = await parseAstraNetwork(readTextFile(flags.network), flags.network);
  const system = parseAstraSystem(readTextFile(flags.system), flags.system);
  const ranks = astraRanks(network.value);
  const { remoteMemory, commGroups, json = false } = flags;
  const memory = remoteMemory === undefined ? undefined : parseAstraMemory(readTextFile(remoteMemory), remoteMemory);
  const groups = commGroups === undefined ? undefined : parseAstraGroups(readTextFile(commGroups), commGroups, ranks);
  const warnings = [...network.warnings, ...system.warnings, ...(memory?.warnings ?? [])];
  const inputs = {
    traces: readTraces(flags.workload, ranks),
    network: network.value,
    system: system.value,
    ...(memory !== undefined && { memory: memory.value }),
    ...(groups !== undefined && { groups }),
  };
  const result = replay(inputs, {
    timing: flags.timing,
    congestion: flags.congestion,
    queuesPerDimension: flags.numQueuesPerDim,
    injectionScale: flags.injectionScale,
    controlDependencies: flags.dataDepsOnly !== true,
  });
  for (const warning of warnings) process.stderr.write(`trnsim: ${warning}\n`);
  const { timing, timeNs } = result;
  process.stdout.write(
    json
      ? toJson({ schemaVersion: 1, timing, ranks, timeNs, perRank: replayRows(result), warnings })
      : replayReport(result),
  );
}

export function addReplayCommand(program: Command): void {
  program
    .command('replay')
    .description('run Chakra execution traces on an ASTRA-sim network and system')
    .requiredOption('--workload <prefix|file>', 'PREFIX of PREFIX.RANK.et, or one trace file for all ranks')
    .requiredOption('--network <file>', "ASTRA-sim's network YAML")
    .requiredOption('--system <file>', "ASTRA-sim's system JSON")
    .option('--remote-memory <file>', "ASTRA-sim's remote memory JSON")
    .option('--comm-groups <file>', 'communicator groups, JSON')
    .addOption(
      new Option('--timing <whose>', "physical links, or ASTRA-sim's own answer to the nanosecond")
        .choices(['trnsim', 'astra'])
        .default('trnsim'),
    )
    .addOption(
      new Option('--congestion <how>', "which of ASTRA-sim's analytical backends, with --timing astra")
        .choices(['unaware', 'aware'])
        .default('unaware'),
    )
    .option('--num-queues-per-dim <n>', 'as in ASTRA-sim', positive, 1)
    .option('--injection-scale <factor>', 'of the endpoint delay, as in ASTRA-sim', positive, 1)
    .option('--data-deps-only', "control dependencies don't hold")
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      '\nExample: trnsim replay --workload trace/allreduce --network ring.yml --system system.json --timing astra',
    )
    .action(run);
}
