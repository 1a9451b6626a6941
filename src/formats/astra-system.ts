/**
 * ASTRA-sim's system, remote-memory and communicator-group files (JSON).
 *
 * Units as ASTRA-sim reads them: `local-mem-bw` GB/s of 10^9 (the network file's are 2^30), `peak-perf` 10^12 FLOP/s,
 * delays ns, `remote-mem-bw` bytes per ns cut to an integer. What ASTRA-sim would ignore is reported; what it reads and
 * is not built here (custom collectives from trace files, the LogGP model of a shared bus) is refused, because the time
 * would be another.
 * see: astra-sim/astra-sim system/Sys.cc, system/astraccl/CollectiveImplLookup.cc; astra-memory-analytical
 */
import { ModelError, show } from '../base/errors.ts';
import { parseJson } from '../base/json.ts';
import type { BytesPerSecond, FlopsPerSecond } from '../base/units.ts';
import { type AstraFile, numberAt, unknownKeys } from './astra-network.ts';

export type AstraCollective = 'all-reduce' | 'all-gather' | 'reduce-scatter' | 'all-to-all';
const COLLECTIVES: readonly AstraCollective[] = ['all-reduce', 'all-gather', 'reduce-scatter', 'all-to-all'];

export interface AstraImplementation {
  readonly algorithm: 'ring' | 'direct' | 'halvingDoubling' | 'doubleBinaryTree';
  /** `one...`: over all ranks as if they were one dimension. */
  readonly spansAll: boolean;
  /** Of `direct`: messages under way at once; all of them if left out. */
  readonly window?: number;
}

export interface AstraSystem {
  readonly schedulingPolicy: 'LIFO' | 'FIFO' | 'EXPLICIT';
  readonly collectiveOptimization: 'baseline' | 'localBWAware';
  readonly endpointDelayNs: number;
  readonly activeChunksPerDimension: number;
  readonly preferredDatasetSplits: number;
  readonly peakFlops: FlopsPerSecond;
  readonly localMemoryBandwidth: BytesPerSecond;
  readonly roofline: boolean;
  /** Every node takes the duration in the trace. */
  readonly replayOnly: boolean;
  readonly implementations: Readonly<Partial<Record<AstraCollective, readonly AstraImplementation[]>>>;
}

export interface AstraMemory {
  readonly type: 'none' | 'per-npu' | 'per-node' | 'pool';
  readonly npusPerNode: number;
  readonly nodes: number;
  readonly latencyNs: number;
  readonly bytesPerNs: number;
}

/** Ranks of each communicator group, by its id. */
export type AstraGroups = ReadonlyMap<string, readonly number[]>;

const SYSTEM_KEYS = [
  'scheduling-policy',
  'collective-optimization',
  'endpoint-delay',
  'active-chunks-per-dimension',
  'preferred-dataset-splits',
  'peak-perf',
  'local-mem-bw',
  'roofline-enabled',
  'replay-only',
  'model-shared-bus',
  ...COLLECTIVES.map((collective) => `${collective}-implementation`),
];
/** Read by ASTRA-sim without any effect on time (L, o, g, G and the reduction delay act through the shared bus). */
const IDLE_KEYS = [
  'local-reduction-delay',
  'trace-enabled',
  'track-local-mem',
  'local-mem-trace-filename',
  'L',
  'o',
  'g',
  'G',
];
const CUSTOM_KEYS = ['per-node-custom-implementation', ...COLLECTIVES.map((name) => `${name}-implementation-custom`)];

/** Reads keys of one JSON object, each with its default. */
function keysOf(file: Record<string, unknown>, path: string) {
  const at = (key: string) => `${path}: ${key}`;
  return {
    at,
    number: (key: string, fallback: number, min: number): number =>
      file[key] === undefined ? fallback : numberAt(file[key], at(key), `a number >= ${min}`, (n) => n >= min),
    integer: (key: string, fallback: number, min: number): number =>
      file[key] === undefined
        ? fallback
        : numberAt(file[key], at(key), `an integer >= ${min}`, (n) => Number.isSafeInteger(n) && n >= min),
    flag: (key: string): boolean => file[key] !== undefined && file[key] !== 0 && file[key] !== false,
    choice: <T extends string>(key: string, fallback: T, choices: readonly T[]): T => {
      const value = file[key] ?? fallback;
      if (choices.includes(value as T)) return value as T;
      throw new ModelError('CONFIG', at(key), `expected one of ${choices.join(', ')}, got ${show(value)}`);
    },
  };
}

/**
 * The system in the text of a system file.
 * @throws ModelError CONFIG naming the key of a bad value, UNSUPPORTED for what is not built
 */
export function parseAstraSystem(text: string, path: string): AstraFile<AstraSystem> {
  const parsed = parseJson(text, path);
  const warnings = unknownKeys(parsed, [...SYSTEM_KEYS, ...IDLE_KEYS, ...CUSTOM_KEYS], path);
  const file = parsed as Record<string, unknown>;
  const { at, number, integer, flag, choice } = keysOf(file, path);
  const custom = CUSTOM_KEYS.find((key) => file[key] !== undefined);
  if (custom !== undefined) throw new ModelError('UNSUPPORTED', at(custom), 'custom collectives are not built');
  if (flag('model-shared-bus')) {
    throw new ModelError('UNSUPPORTED', at('model-shared-bus'), 'the LogGP model of a shared bus is not built');
  }
  const implementations: Partial<Record<AstraCollective, readonly AstraImplementation[]>> = {};
  for (const collective of COLLECTIVES) {
    const key = `${collective}-implementation`;
    if (file[key] !== undefined) implementations[collective] = parseImplementations(file[key], at(key));
  }
  const value: AstraSystem = {
    schedulingPolicy: choice('scheduling-policy', 'LIFO', ['LIFO', 'FIFO', 'EXPLICIT']),
    collectiveOptimization: choice('collective-optimization', 'baseline', ['baseline', 'localBWAware']),
    endpointDelayNs: Math.floor(number('endpoint-delay', 10, 0)),
    activeChunksPerDimension: integer('active-chunks-per-dimension', 1, 1),
    preferredDatasetSplits: integer('preferred-dataset-splits', 1, 1),
    peakFlops: number('peak-perf', 0, 0) * 1e12,
    localMemoryBandwidth: number('local-mem-bw', 0, 0) * 1e9,
    roofline: flag('roofline-enabled'),
    replayOnly: flag('replay-only'),
    implementations,
  };
  return { value, warnings };
}

const ALGORITHMS: Readonly<Record<string, AstraImplementation>> = {
  ring: { algorithm: 'ring', spansAll: false },
  oneRing: { algorithm: 'ring', spansAll: true },
  direct: { algorithm: 'direct', spansAll: false },
  oneDirect: { algorithm: 'direct', spansAll: true },
  halvingDoubling: { algorithm: 'halvingDoubling', spansAll: false },
  oneHalvingDoubling: { algorithm: 'halvingDoubling', spansAll: true },
  doubleBinaryTree: { algorithm: 'doubleBinaryTree', spansAll: false },
};

function parseImplementations(value: unknown, path: string): readonly AstraImplementation[] {
  if (!Array.isArray(value) || value.length === 0) {
    throw new ModelError('CONFIG', path, `expected a list with one algorithm a dimension, got ${show(value)}`);
  }
  return value.map((text: unknown, index) => {
    // `direct8`: a window of 8 messages.
    const [, name, digits] = /^(\D+)(\d{1,5})?$/.exec(String(text)) ?? [];
    const found = name !== undefined && Object.hasOwn(ALGORITHMS, name) ? ALGORITHMS[name] : undefined;
    if (found === undefined || (digits !== undefined && (found.algorithm !== 'direct' || Number(digits) === 0))) {
      const names = Object.keys(ALGORITHMS).join(', ');
      throw new ModelError('CONFIG', `${path}[${index}]`, `expected one of ${names}, got ${show(text)}`);
    }
    return digits === undefined ? found : { ...found, window: Number(digits) };
  });
}

const MEMORY_TYPES = {
  NO_MEMORY_EXPANSION: 'none',
  PER_NPU_MEMORY_EXPANSION: 'per-npu',
  PER_NODE_MEMORY_EXPANSION: 'per-node',
  MEMORY_POOL: 'pool',
} as const;

/**
 * The memory in the text of a remote-memory file.
 * @throws ModelError CONFIG naming the key of a bad value
 */
export function parseAstraMemory(text: string, path: string): AstraFile<AstraMemory> {
  const parsed = parseJson(text, path);
  const known = ['memory-type', 'remote-mem-latency', 'remote-mem-bw', 'num-nodes', 'num-npus-per-node'];
  const warnings = unknownKeys(parsed, known, path);
  const { at, number, integer, choice } = keysOf(parsed as Record<string, unknown>, path);
  const names = Object.keys(MEMORY_TYPES) as (keyof typeof MEMORY_TYPES)[];
  const type = MEMORY_TYPES[choice('memory-type', 'NO_MEMORY_EXPANSION', names)];
  const value: AstraMemory = {
    type,
    nodes: integer('num-nodes', 0, 0),
    npusPerNode: integer('num-npus-per-node', 0, 0),
    latencyNs: Math.floor(number('remote-mem-latency', 0, 0)),
    bytesPerNs: Math.floor(number('remote-mem-bw', 0, 0)),
  };
  if (type !== 'none' && value.bytesPerNs < 1) {
    throw new ModelError('CONFIG', at('remote-mem-bw'), 'expected bytes per ns >= 1');
  }
  if (type === 'per-node' && value.npusPerNode < 1) {
    throw new ModelError('CONFIG', at('num-npus-per-node'), 'expected an integer >= 1');
  }
  return { value, warnings };
}

/**
 * The communicator groups in the text of a group file, for a machine of `ranks`.
 * @throws ModelError CONFIG naming the group: an id that is no integer > 0, a rank twice or out of range
 */
export function parseAstraGroups(text: string, path: string, ranks: number): AstraGroups {
  const parsed = parseJson(text, path);
  unknownKeys(parsed, [], path);
  const groups = new Map<string, readonly number[]>();
  for (const [id, members] of Object.entries(parsed as Record<string, unknown>)) {
    const where = `${path}: ${show(id)}`;
    if (!/^[1-9]\d{0,8}$/.test(id)) throw new ModelError('CONFIG', where, 'expected a group id that is an integer > 0');
    groups.set(id, expectMembers(members, ranks, where));
  }
  return groups;
}

/** @throws ModelError if `members` is not a list of different ranks below `ranks` */
export function expectMembers(members: unknown, ranks: number, path: string): readonly number[] {
  const isRank = (rank: unknown) => Number.isSafeInteger(rank) && (rank as number) >= 0 && (rank as number) < ranks;
  if (Array.isArray(members) && members.length > 0 && members.every(isRank) && new Set(members).size === members.length)
    return members as number[];
  throw new ModelError('CONFIG', path, `expected different ranks below ${ranks}, got ${show(members)}`);
}
