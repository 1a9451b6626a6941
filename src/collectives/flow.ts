/**
 * The flow clock: transfers are flows that share links, memories and channels by max-min fair rates, found anew at every
 * start and end. The loop runs in WebAssembly (assembly/flow.ts); here its columns are laid out in a memory of its own.
 *
 * see: Bertsekas and Gallager, "Data Networks", 1992, 6.5.2 for progressive filling
 */
import type { Bytes, Seconds } from '../base/units.ts';
import type { KernelExports } from '../kernels/wasm.gen.ts';
import { instantiateKernels } from '../kernels/wasm.ts';
import type { Drive } from './drive.ts';
import type { CollectiveEngine } from './engine.ts';
import type { Program, Stages } from './program.ts';
import { kindFactors, type Wires } from './wires.ts';

export interface ExecutionResult {
  readonly time: Seconds;
  /** When the first of the endpoints that take part has sent and received its last. */
  readonly earliest: Seconds;
  /** Of a resource: the largest part of its capacity in use at once. */
  readonly peak: Float64Array;
}

/** What the loop runs: transfers over paths over resources, in stages. */
export interface FlowProblem {
  /** Of a transfer: its path, and its bytes. */
  readonly path: Int32Array;
  readonly bytes: Float64Array;
  readonly paths: FlatPaths;
  readonly capacity: Float64Array;
  readonly stages: Stages;
  /** Number of each resource in the wires, or HOLD. */
  readonly resources: Int32Array;
}

/** The resources of each path with weights, and what a transfer alone reaches on it. */
interface FlatPaths {
  readonly start: Uint32Array;
  readonly resource: Uint32Array;
  readonly weight: Float64Array;
  readonly limit: Float64Array;
}

interface Loop {
  readonly memory: WebAssembly.Memory;
  readonly exports: KernelExports;
}

let loop: Loop | undefined;

/** The number of a resource that only holds back the messages of one path: its rate follows from their bytes. */
export const HOLD = -1;
/** Its rate while it holds nothing back. */
const UNHELD = 1e30;

/**
 * The problem that a program is on these wires, with only the paths and resources that it uses; all ways of a path as one
 * list, with the share of the way in the weight.
 */
export function flowProblem(program: Program, wires: Wires, engine: CollectiveEngine): FlowProblem {
  const { bytes, stages } = program;
  const { ways, entries, share, resource, weight } = wires.paths;
  const factors = kindFactors(engine);
  const pathNumber = new Map<number, number>();
  const resourceNumber = new Map<number, number>();
  const start = [0];
  const entryResource: number[] = [];
  const entryWeight: number[] = [];
  const holds: number[] = [];
  const path = program.path.map((global) => {
    const known = pathNumber.get(global);
    if (known !== undefined) return known;
    for (let way = ways[global]!; way < ways[global + 1]!; way++) {
      for (let i = entries[way]!; i < entries[way + 1]!; i++) {
        const number = resourceNumber.get(resource[i]!) ?? resourceNumber.size;
        resourceNumber.set(resource[i]!, number);
        entryResource.push(number);
        entryWeight.push(weight[i]! * share[way]!);
      }
    }
    if (engine.networkHold > 0 && wires.crossesNetwork(global)) {
      holds.push(entryResource.length);
      entryResource.push(0);
      entryWeight.push(1);
    }
    start.push(entryResource.length);
    pathNumber.set(global, pathNumber.size);
    return pathNumber.size - 1;
  });
  holds.forEach((entry, i) => {
    entryResource[entry] = resourceNumber.size + i;
  });
  const resources = Int32Array.from([...resourceNumber.keys(), ...holds.map(() => HOLD)]);
  const capacity = Float64Array.from(resources, (r) =>
    r === HOLD ? UNHELD : wires.rate[r]! * factors[wires.kinds[r]!]!,
  );
  const flat = {
    start: Uint32Array.from(start),
    resource: Uint32Array.from(entryResource),
    weight: Float64Array.from(entryWeight),
  };
  return { path, bytes, paths: { ...flat, limit: limitsOf(flat, capacity) }, capacity, stages, resources };
}

/** What a transfer alone reaches on each path. */
function limitsOf({ start, resource, weight }: Omit<FlatPaths, 'limit'>, capacity: Float64Array): Float64Array {
  const used = new Float64Array(capacity.length);
  return Float64Array.from({ length: start.length - 1 }, (_, path) => {
    let limit = Number.POSITIVE_INFINITY;
    // A path may meet a resource more than once: the memory of a chip that it stays on, a link of two ways.
    for (let i = start[path]!; i < start[path + 1]!; i++) used[resource[i]!]! += weight[i]!;
    for (let i = start[path]!; i < start[path + 1]!; i++) {
      limit = Math.min(limit, capacity[resource[i]!]! / used[resource[i]!]!);
    }
    for (let i = start[path]!; i < start[path + 1]!; i++) used[resource[i]!] = 0;
    return limit;
  });
}

/** Time of the problem with `scale` times its bytes. `ready`: when each endpoint begins; at once if left out. */
export function runFlow(problem: FlowProblem, drive: Drive, scale: number, ready?: Float64Array): ExecutionResult {
  const { path, bytes, paths, capacity, stages } = problem;
  const endpoints = stages.first.length - 1;
  const transfers = path.length;
  const { firstEntry, owners } = entriesOf(problem);
  const entries = owners.length;
  const resources = capacity.length;
  const events = 2 * transfers + endpoints;
  const keys = new Float64Array(events);
  if (ready) keys.set(ready, 2 * transfers);
  const { efficiency, hold } = drive;
  const rates = efficiency === 1 && hold === undefined ? capacity : capacity.map((rate) => rate * efficiency);
  // A message that is held goes as slowly as it would with its hold among the time that its bytes take.
  hold?.forEach((seconds, t) => {
    const size = bytes[t]! * scale;
    if (seconds === 0 || size === 0) return;
    const last = paths.start[path[t]! + 1]! - 1;
    rates[paths.resource[last]!] = size / (seconds + size / (paths.limit[path[t]!]! * efficiency));
  });

  // In the order of the column numbers of assembly/flow.ts; a number is the length in bytes of a column of zeros.
  const ints = (length: number): number => 4 * length;
  const reals = (length: number): number => 8 * length;
  const columns: readonly Column[] = [
    path,
    scale === 1 ? bytes : bytes.map((b) => b * scale),
    reals(transfers),
    reals(transfers),
    reals(transfers),
    stages.sentIn,
    stages.receivedIn,
    firstEntry,
    ints(transfers),
    paths.start,
    paths.resource,
    paths.weight,
    drive.latency,
    stages.open,
    stages.firstSend,
    stages.sends,
    ints(stages.owner.length),
    stages.first,
    stages.owner,
    reals(endpoints),
    rates,
    ints(resources),
    reals(resources),
    reals(resources),
    ints(resources),
    ints(resources),
    reals(resources),
    ints(resources),
    ints(entries),
    ints(entries),
    owners,
    keys,
    ints(events),
    ints(events),
    ints(transfers),
    efficiency === 1 ? paths.limit : paths.limit.map((rate) => rate * efficiency),
    reals(resources),
    ints(resources),
  ];
  const { exports, memory, addresses, tableAt } = place(columns);
  const time = exports.runFlow(tableAt, transfers, endpoints, transfers);
  if (time < 0) throw new Error('a transfer waits for ever: the schedule is not in the order of its steps');
  const read = (column: number, length: number): Float64Array =>
    new Float64Array(memory.buffer, addresses[column]!, length).slice();
  let earliest = time;
  read(19, endpoints).forEach((end, e) => {
    if (stages.first[e]! < stages.first[e + 1]!) earliest = Math.min(earliest, end);
  });
  return { time, earliest, peak: read(26, resources) };
}

interface Entries {
  /** [transfers + 1] where the entries of each begin, and the transfer that each entry is of. */
  readonly firstEntry: Uint32Array;
  readonly owners: Uint32Array;
}

const knownEntries = new WeakMap<FlowProblem, Entries>();

/** An entry for each transfer and resource that it uses. Kept with the problem, which is run again with other bytes. */
function entriesOf(problem: FlowProblem): Entries {
  const known = knownEntries.get(problem);
  if (known !== undefined) return known;
  const { path, paths } = problem;
  const firstEntry = new Uint32Array(path.length + 1);
  for (let t = 0; t < path.length; t++) {
    firstEntry[t + 1] = firstEntry[t]! + paths.start[path[t]! + 1]! - paths.start[path[t]!]!;
  }
  const owners = new Uint32Array(firstEntry[path.length]!);
  for (let t = 0; t < path.length; t++) {
    for (let i = firstEntry[t]!; i < firstEntry[t + 1]!; i++) owners[i] = t;
  }
  const made = { firstEntry, owners };
  knownEntries.set(problem, made);
  return made;
}

/** Bytes on each resource, by the weights of the paths: what any clock charges. */
export function loadOf({ path, bytes }: Program, wires: Wires): Float64Array {
  const { ways, entries, share, resource, weight } = wires.paths;
  const load = new Float64Array(wires.rate.length);
  for (let t = 0; t < path.length; t++) {
    for (let way = ways[path[t]!]!; way < ways[path[t]! + 1]!; way++) {
      const carried: Bytes = bytes[t]! * share[way]!;
      for (let i = entries[way]!; i < entries[way + 1]!; i++) load[resource[i]!]! += carried * weight[i]!;
    }
  }
  return load;
}

type Column = Float64Array | Uint32Array | Int32Array | number;

/** Copies the columns into the loop's memory, 8-byte aligned, behind a table of their addresses. */
function place(columns: readonly Column[]) {
  if (loop === undefined) {
    const memory = new WebAssembly.Memory({ initial: 1 });
    loop = { memory, exports: instantiateKernels('simd', memory) };
  }
  const { memory, exports } = loop;
  const tableAt = Math.ceil(exports.HEAP_BASE.value / 8) * 8;
  const addresses: number[] = [];
  let end = tableAt + Math.ceil(columns.length / 2) * 8;
  for (const column of columns) {
    addresses.push(end);
    end += Math.ceil((typeof column === 'number' ? column : column.byteLength) / 8) * 8;
  }
  const missing = end - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / 65_536));
  new Uint32Array(memory.buffer, tableAt, columns.length).set(addresses);
  const bytes = new Uint8Array(memory.buffer);
  columns.forEach((column, i) => {
    if (typeof column === 'number') bytes.fill(0, addresses[i]!, addresses[i]! + column);
    else bytes.set(new Uint8Array(column.buffer, column.byteOffset, column.byteLength), addresses[i]!);
  });
  return { exports, memory, addresses, tableAt };
}
