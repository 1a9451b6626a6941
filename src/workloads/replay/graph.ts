/**
 * The operators of one rank as a graph ready to run: nodes in order of their ids, each with what it waits for.
 *
 * ASTRA-sim issues free nodes in order of id, so position in this order stands for the id from here on, and traces that
 * differ only in how they count (ids that go on from rank to rank, names of communicator groups) give one `signature`.
 * A graph that cannot end (a cycle, a dependency on a node that is not there) is refused before anything runs.
 * Groups are `slots`: 0 is all ranks, then the named ones in the order in which the trace first uses them.
 */
import { ModelError, show } from '../../base/errors.ts';
import {
  CHAKRA_COLLECTIVES,
  type ChakraCollective,
  type ChakraNode,
  type ChakraTrace,
  chakraAttribute,
} from '../../formats/chakra.ts';

export interface ReplayNode {
  readonly name: string;
  /** File and node, for errors. */
  readonly path: string;
  readonly kind: 'none' | 'compute' | 'memory' | 'send' | 'receive' | 'collective';
  readonly isCpu: boolean;
  readonly durationNs: number;
  readonly children: readonly number[];
  /** How many nodes it waits for. */
  readonly parents: number;
  /** Of a compute node: FLOP, and bytes moved. Of a memory node: bytes. */
  readonly operations: number | undefined;
  readonly tensorBytes: number | undefined;
  /** Of communication. */
  readonly bytes: number | undefined;
  readonly collective: ChakraCollective | undefined;
  readonly priority: number;
  readonly slot: number;
  /** Dimensions of the network that take part; all if undefined. */
  readonly dimensions: readonly boolean[] | undefined;
  readonly source: number | undefined;
  readonly destination: number | undefined;
  readonly tag: number | undefined;
}

export interface ReplayGraph {
  readonly path: string;
  readonly nodes: readonly ReplayNode[];
  /** Names of the communicator groups used; the first is '', all ranks. */
  readonly slots: readonly string[];
  /** Groups that the trace itself declares (PyTorch's process_group:init): name to ranks, none meaning all. */
  readonly declaredGroups: ReadonlyMap<string, readonly number[]>;
  /** Equal for graphs that run alike. */
  readonly signature: string;
  /** It names ranks: it sends or receives. */
  readonly isAbsolute: boolean;
}

const KINDS = {
  INVALID: 'none',
  METADATA: 'none',
  MEM_LOAD: 'memory',
  MEM_STORE: 'memory',
  COMP: 'compute',
  COMM_SEND: 'send',
  COMM_RECV: 'receive',
  COMM_COLL: 'collective',
} as const;

/** An attribute that is an integer of any width or a boolean; undefined if it is not there. */
function integer(node: ChakraNode, name: string, path: string): number | undefined {
  const attribute = chakraAttribute(node, name);
  if (attribute === undefined) return undefined;
  const value = typeof attribute.value === 'boolean' ? Number(attribute.value) : attribute.value;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new ModelError('WORKLOAD', path, `expected ${name} to be an integer >= 0, got ${show(attribute.value)}`);
}

function groupName(node: ChakraNode): string {
  const value = chakraAttribute(node, 'pg_name')?.value ?? '';
  const name = String(value);
  // ASTRA-sim takes group 0 as all ranks.
  return name === '0' ? '' : name;
}

function involvedDimensions(node: ChakraNode, path: string): readonly boolean[] | undefined {
  const attribute = chakraAttribute(node, 'involved_dim');
  if (attribute === undefined) return undefined;
  if (attribute.kind === 'bool' && Array.isArray(attribute.value)) return attribute.value as boolean[];
  throw new ModelError('WORKLOAD', path, `expected involved_dim to be a list of booleans, got a ${attribute.kind}`);
}

/** Groups in a metadata node's `inputs.values`: a JSON list inside two brackets or quotes on either side. */
function declared(node: ChakraNode): [string, readonly number[]][] {
  const text = node.inputs?.values.slice(2, -2) ?? '';
  if (!text.startsWith('[')) return [];
  try {
    const entries = JSON.parse(text) as { pg_name: string; ranks: number[] }[];
    return entries.map(({ pg_name, ranks }) => [String(pg_name), ranks]);
  } catch {
    // Metadata of another kind: not an error, ASTRA-sim passes over it too.
    return [];
  }
}

/** Every dependency of a node, once. */
function dependencies(node: ChakraNode, control: boolean): Set<number> {
  return new Set(control ? [...node.dataDependencies, ...node.controlDependencies] : node.dataDependencies);
}

/**
 * The graph of `trace`. `control`: control dependencies hold too, as in ASTRA-sim's feeder v3; without, only data ones.
 * @throws ModelError WORKLOAD naming file and node: no nodes, an id twice, a dependency on a node that is not there, a
 * cycle, an attribute of the wrong kind
 */
export function replayGraph(trace: ChakraTrace, path: string, control: boolean): ReplayGraph {
  const sorted = [...trace.nodes].sort((a, b) => a.id - b.id);
  if (sorted.length === 0) throw new ModelError('WORKLOAD', path, 'expected nodes, got none');
  const positions = new Map<number, number>();
  for (const [position, { id }] of sorted.entries()) {
    if (positions.has(id)) throw new ModelError('WORKLOAD', path, `node ${id} occurs twice`);
    positions.set(id, position);
  }
  const children: number[][] = sorted.map(() => []);
  const parents = sorted.map((node, position) => {
    const before = dependencies(node, control);
    for (const id of before) {
      const parent = positions.get(id);
      if (parent === undefined) {
        throw new ModelError(
          'WORKLOAD',
          path,
          `node ${node.id} (${show(node.name)}) waits for ${id}, which is no node`,
        );
      }
      children[parent]!.push(position);
    }
    return before.size;
  });
  refuseCycle(sorted, children, parents, path);

  const slots = [''];
  const declaredGroups = new Map<string, readonly number[]>();
  const nodes = sorted.map((node, position): ReplayNode => {
    const where = `${path}: node ${node.id} (${show(node.name)})`;
    const kind = KINDS[node.type];
    const get = (name: string) => integer(node, name, where);
    if (node.type === 'METADATA') for (const [name, ranks] of declared(node)) declaredGroups.set(name, ranks);
    let slot = 0;
    let collective: ChakraCollective | undefined;
    if (kind === 'collective') {
      const name = groupName(node);
      slot = slots.indexOf(name);
      if (slot < 0) slot = slots.push(name) - 1;
      const code = get('comm_type');
      collective = code === undefined ? undefined : CHAKRA_COLLECTIVES[code];
      if (collective === undefined) {
        throw new ModelError('WORKLOAD', where, `expected comm_type to be a collective, got ${code}`);
      }
    }
    return {
      name: node.name,
      path: where,
      kind,
      isCpu: get('is_cpu_op') === 1,
      durationNs: node.durationMicros * 1000,
      children: children[position]!,
      parents: parents[position]!,
      operations: get('num_ops'),
      tensorBytes: get('tensor_size'),
      bytes: get('comm_size'),
      collective,
      priority: get('comm_priority') ?? 0,
      slot,
      dimensions: kind === 'collective' ? involvedDimensions(node, where) : undefined,
      source: kind === 'receive' || kind === 'send' ? get('comm_src') : undefined,
      destination: kind === 'receive' || kind === 'send' ? get('comm_dst') : undefined,
      tag: kind === 'receive' || kind === 'send' ? get('comm_tag') : undefined,
    };
  });
  // What a node is called and where it stands in the file does not change how it runs.
  const signature = JSON.stringify(nodes.map(({ name: _, path: __, ...rest }) => Object.values(rest)));
  const isAbsolute = nodes.some(({ kind }) => kind === 'send' || kind === 'receive');
  return { path, nodes, slots, declaredGroups, signature, isAbsolute };
}

/** Takes free nodes away until none is left; what remains waits for itself. */
function refuseCycle(nodes: readonly ChakraNode[], children: number[][], parents: readonly number[], path: string) {
  const waiting = [...parents];
  const free = waiting.flatMap((count, position) => (count === 0 ? [position] : []));
  for (const position of free) {
    for (const child of children[position]!) if (--waiting[child]! === 0) free.push(child);
  }
  if (free.length === nodes.length) return;
  const stuck = nodes.find((_, position) => waiting[position]! > 0)!;
  throw new ModelError(
    'WORKLOAD',
    path,
    `node ${stuck.id} (${show(stuck.name)}) is in or behind a cycle of dependencies`,
  );
}
