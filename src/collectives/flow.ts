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
import { type Program, stagesOf } from './program.ts';
import type { Wires } from './wires.ts';

export interface ExecutionResult {
  readonly time: Seconds;
  /** When each endpoint has sent and received its last. */
  readonly ends: Float64Array;
  /** Of a transfer: its first byte leaves. */
  readonly starts: Float64Array;
  /** Of a resource: the bytes it carried, weighted as it was used, and the largest part of its capacity in use at once. */
  readonly load: Float64Array;
  readonly peak: Float64Array;
}

interface Loop {
  readonly memory: WebAssembly.Memory;
  readonly exports: KernelExports;
}

let loop: Loop | undefined;

/** Time of the program. `ready`: when each endpoint begins; at once if left out. */
export function runFlow(program: Program, wires: Wires, drive: Drive, ready?: Float64Array): ExecutionResult {
  const { path, bytes, endpoints } = program;
  const transfers = path.length;
  const stages = stagesOf(program);
  const table = flatten(wires);
  const firstEntry = new Uint32Array(transfers + 1);
  for (let t = 0; t < transfers; t++) {
    firstEntry[t + 1] = firstEntry[t]! + table.start[path[t]! + 1]! - table.start[path[t]!]!;
  }
  const entries = firstEntry[transfers]!;
  const owners = new Uint32Array(entries);
  for (let t = 0; t < transfers; t++) owners.fill(t, firstEntry[t], firstEntry[t + 1]);
  const resources = wires.capacity.length;
  const events = 2 * transfers + endpoints;
  const keys = new Float64Array(events);
  if (ready) keys.set(ready, 2 * transfers);

  // In the order of the column numbers of assembly/flow.ts. A number is the length of a column of zeros.
  const floats = (length: number): Float64Array => new Float64Array(length);
  const integers = (length: number): Uint32Array => new Uint32Array(length);
  const columns = [
    path,
    bytes,
    floats(transfers),
    floats(transfers),
    floats(transfers),
    stages.sentIn,
    stages.receivedIn,
    firstEntry,
    integers(transfers),
    table.start,
    table.resource,
    table.weight,
    drive.latency,
    stages.open,
    stages.firstSend,
    stages.sends,
    integers(stages.owner.length),
    stages.first,
    stages.owner,
    floats(endpoints),
    Float64Array.from(wires.capacity, (rate) => rate * drive.efficiency),
    integers(resources),
    floats(resources),
    floats(resources),
    integers(resources),
    integers(resources),
    floats(resources),
    integers(resources),
    integers(entries),
    integers(entries),
    owners,
    keys,
    integers(events),
    integers(events),
    integers(transfers),
  ] as const;
  const { exports, memory, addresses, tableAt } = place(columns);
  const time = exports.runFlow(tableAt, transfers, endpoints, transfers);
  if (time < 0) throw new Error('a transfer waits for ever: the schedule is not in the order of its steps');
  const read = (column: number, length: number): Float64Array =>
    new Float64Array(memory.buffer, addresses[column]!, length).slice();
  return {
    time,
    ends: read(19, endpoints),
    starts: read(4, transfers),
    load: loadOf(program, wires),
    peak: read(26, resources),
  };
}

/** Bytes on each resource, by the weights of the paths: what any clock charges. */
export function loadOf({ path, bytes }: Program, wires: Wires): Float64Array {
  const { ways, entries, share, resource, weight } = wires.paths;
  const load = new Float64Array(wires.capacity.length);
  for (let t = 0; t < path.length; t++) {
    for (let way = ways[path[t]!]!; way < ways[path[t]! + 1]!; way++) {
      const carried: Bytes = bytes[t]! * share[way]!;
      for (let i = entries[way]!; i < entries[way + 1]!; i++) load[resource[i]!]! += carried * weight[i]!;
    }
  }
  return load;
}

/** All ways of a path as one list, each entry with the share of its way. */
function flatten({ paths }: Wires) {
  const { ways, entries, share, resource, weight } = paths;
  const weights = Float64Array.from(weight);
  for (let way = 0; way < share.length; way++) {
    for (let i = entries[way]!; i < entries[way + 1]!; i++) weights[i]! *= share[way]!;
  }
  return {
    start: Uint32Array.from(ways, (way) => entries[way]!),
    resource: Uint32Array.from(resource),
    weight: weights,
  };
}

/** Copies the columns into the loop's memory, 8-byte aligned, behind a table of their addresses. */
function place(columns: readonly (Float64Array | Uint32Array | Int32Array)[]) {
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
    end += Math.ceil(column.byteLength / 8) * 8;
  }
  const missing = end - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / 65_536));
  new Uint32Array(memory.buffer, tableAt, columns.length).set(addresses);
  columns.forEach((column, i) => {
    const bytes = new Uint8Array(column.buffer, column.byteOffset, column.byteLength);
    new Uint8Array(memory.buffer).set(bytes, addresses[i]!);
  });
  return { exports, memory, addresses, tableAt };
}
