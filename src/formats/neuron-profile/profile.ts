/**
 * A profile of one NeuronCore as plain data: what each engine and DMA queue did, and when. `profileProgram` makes it from a
 * tile program; simulators of other things may fill it themselves.
 *
 * Times are picoseconds. Ids count instructions and transfers together, in the order of the program.
 */
import { ModelError } from '../../base/errors.ts';
import type { Bytes, BytesPerSecond, Flops, Picoseconds } from '../../base/units.ts';
import type { Tile, TileView, View } from '../../core/access.ts';
import { clockProgram, type Interval, type ProgramOptions } from '../../core/clock.ts';
import { PACKING } from '../../core/constraints.ts';
import type { Engine, Instruction } from '../../core/instructions.ts';
import { hbmSide, type Program, type ProgramNode } from '../../core/program.ts';
import type { CoreSpec } from '../../hardware/spec.ts';
import { DTYPES } from '../../kernels/dtype.ts';

interface ProfileEvent {
  readonly id: number;
  /** Position of the instruction in the program's text. */
  readonly pc: number;
  readonly start: Picoseconds;
  readonly end: Picoseconds;
  /** From here on the queue was free and the event waited for operands. */
  readonly waitFrom: Picoseconds;
}

export interface ProfileInstruction extends ProfileEvent {
  readonly engine: Exclude<Engine, 'DMA'>;
  readonly opcode: string;
  readonly operands: string;
  readonly sbufRead: Bytes;
  readonly sbufWritten: Bytes;
  readonly psumRead: Bytes;
  readonly psumWritten: Bytes;
  /** 2 for each multiplication and addition of TensorE. */
  readonly flops: Flops;
  /** Time of a flop relative to BF16: 4 for FP32, 0.5 for FP8 on v3 and v4, 0.25 for MX. */
  readonly flopScale: number;
  readonly isTranspose: boolean;
  readonly activation: string | null;
}

/** One side of a transfer. */
export interface TransferSide {
  readonly memory: 'HBM' | 'SB' | 'PSUM';
  readonly partitions: readonly [first: number, count: number];
  readonly shape: readonly number[];
  readonly steps: readonly number[];
  /** Byte offset of the first element, where loops are at 0. */
  readonly offset: Bytes;
}

export interface ProfileTransfer extends ProfileEvent {
  readonly queue: string;
  readonly variable: string;
  readonly kind: 'input' | 'output' | 'data';
  readonly bytes: Bytes;
  readonly from: TransferSide;
  readonly to: TransferSide;
  readonly isTranspose: boolean;
}

/** A slot of on-chip memory in use, from its first write to its last access. */
export interface ProfileResidency {
  readonly buffer: 'sbuf' | 'psum';
  readonly startPartition: number;
  readonly partitions: number;
  readonly address: Bytes;
  readonly bytes: Bytes;
  readonly from: Picoseconds;
  readonly until: Picoseconds;
}

export interface ProfileCollective {
  readonly start: Picoseconds;
  readonly end: Picoseconds;
  readonly operation: string;
  readonly algorithm: string;
  readonly elements: number;
  readonly dtype: string;
  readonly inputBytes: Bytes;
  readonly outputBytes: Bytes;
  readonly busBandwidth: BytesPerSecond;
  readonly replicaGroup: readonly (readonly number[])[];
}

export interface ProfileThrottle {
  readonly start: Picoseconds;
  readonly end: Picoseconds;
  /** TensorE may work at k / n of its rate. */
  readonly k: number;
  readonly n: number;
}

export interface NeuronProfile {
  readonly name: string;
  readonly core: CoreSpec;
  readonly instanceType: string | null;
  /** Of one stack of the device memory. */
  readonly hbmBandwidth: BytesPerSecond;
  readonly time: Picoseconds;
  readonly instructions: readonly ProfileInstruction[];
  readonly transfers: readonly ProfileTransfer[];
  /** Event `to` reads what event `from` wrote on chip. */
  readonly dependencies: readonly { readonly from: number; readonly to: number }[];
  readonly residency: readonly ProfileResidency[];
  readonly collectives: readonly ProfileCollective[];
  readonly throttles: readonly ProfileThrottle[];
}

export interface ProfileOptions extends Omit<ProgramOptions, 'observe' | 'fold'> {
  readonly instanceType?: string;
  /** A guard: each event takes some 200 bytes. 2^20 by default. */
  readonly maxEvents?: number;
}

const MAX_EVENTS = 2 ** 20;

/**
 * Times `program` and keeps what every instruction did.
 * @throws ModelError (CAPACITY) if it runs more instructions than `maxEvents`
 */
export function profileProgram(program: Program, options: ProfileOptions = {}): NeuronProfile {
  const { instanceType = null, maxEvents = MAX_EVENTS, ...clockOptions } = options;
  const intervals: Interval[] = [];
  const observe = (interval: Interval) => {
    if (intervals.length >= maxEvents) {
      throw new ModelError(
        'CAPACITY',
        program.name,
        `expected at most ${maxEvents} instructions in a profile, got more`,
      );
    }
    intervals.push(interval);
  };
  const { time } = clockProgram(program, { ...clockOptions, observe });
  const transfers: ProfileTransfer[] = [];
  const instructions: ProfileInstruction[] = [];
  intervals.forEach((interval, id) => {
    if (interval.queue === null) instructions.push(instructionEvent(program.core, interval, id));
    else transfers.push(transferEvent(interval, interval.queue, id));
  });
  return {
    name: program.name,
    core: program.core,
    instanceType,
    hbmBandwidth: options.hbmBandwidth ?? program.core.dma?.bandwidth ?? 0,
    time,
    instructions,
    transfers,
    ...slotUse(program, intervals),
    collectives: [],
    throttles: [],
  };
}

/** Names by which Neuron Explorer knows opcodes; others are in capitals. */
const OPCODES: Readonly<Partial<Record<Instruction['op'], string>>> = {
  nc_matmul: 'MATMUL',
  load_stationary: 'LDWEIGHTS',
  activation: 'ACTIVATE',
};

function instructionEvent(core: CoreSpec, interval: Interval, id: number): ProfileInstruction {
  const { instruction, engine, start, end, waitFrom } = interval;
  const { out, in: inputs } = instruction;
  const isTranspose = engine === 'TensorE' && instruction.op === 'nc_transpose';
  return {
    id,
    pc: instruction.id,
    start,
    end,
    waitFrom,
    engine: engine as ProfileInstruction['engine'],
    // TensorE transposes by multiplying with the identity.
    opcode: isTranspose ? 'MATMUL' : (OPCODES[instruction.op] ?? instruction.op.toUpperCase()),
    operands: `out=${out.map(viewText).join(' ')} in=${inputs.map(viewText).join(' ')}`,
    sbufRead: bytesIn('sbuf', inputs),
    sbufWritten: bytesIn('sbuf', out),
    psumRead: bytesIn('psum', inputs),
    psumWritten: bytesIn('psum', out),
    ...tensorWork(core, instruction),
    isTranspose,
    activation: instruction.op === 'activation' ? instruction.attributes.fn.toUpperCase() : null,
  };
}

function tensorWork({ version }: CoreSpec, instruction: Instruction): { flops: Flops; flopScale: number } {
  const [first, second] = instruction.in;
  if (instruction.op === 'nc_transpose' && instruction.engine === 'TensorE') {
    return { flops: 2 * first!.partitions * first!.partitions * first!.length, flopScale: 1 };
  }
  if (instruction.op !== 'nc_matmul') return { flops: 0, flopScale: 1 };
  const { mode } = instruction.attributes;
  const flops = (2 * first!.partitions * first!.length * second!.length) / PACKING[mode];
  if (mode === 'mx') return { flops, flopScale: 0.25 };
  if (first!.dtype === 'f32') return { flops, flopScale: 4 };
  return { flops, flopScale: DTYPES[first!.dtype].bytes === 1 && version >= 3 ? 0.5 : 1 };
}

function bytesIn(buffer: 'sbuf' | 'psum', views: readonly View[]): Bytes {
  return views.reduce(
    (sum, view) =>
      view.kind === 'tile' && view.tile.buffer === buffer
        ? sum + view.partitions * view.length * DTYPES[view.dtype].bytes
        : sum,
    0,
  );
}

function viewText(view: View): string {
  const name = view.kind === 'tile' ? view.tile.name : view.tensor.name;
  return `${name}:${view.dtype}[${view.partitions},${view.length}]`;
}

function transferEvent(interval: Interval, queue: string, id: number): ProfileTransfer {
  const { instruction, start, end, waitFrom } = interval;
  const [out, x] = [instruction.out[0]!, instruction.in[0]!];
  const device = hbmSide(instruction);
  const role = device?.tensor.role ?? 'scratch';
  return {
    id,
    pc: instruction.id,
    start,
    end,
    waitFrom,
    queue,
    variable: device?.tensor.name ?? (out as TileView).tile.name,
    kind: role === 'scratch' ? 'data' : role,
    bytes: x.partitions * x.length * DTYPES[x.dtype].bytes,
    from: transferSide(x),
    to: transferSide(out),
    isTranspose: instruction.op === 'dma_transpose',
  };
}

function transferSide(view: View): TransferSide {
  const { bytes } = DTYPES[view.dtype];
  const inner = view.pattern.map(([step]) => step * bytes);
  const shape = [view.partitions, ...view.pattern.map(([, count]) => count)];
  if (view.kind === 'hbm') {
    const steps = [view.partitionStep * bytes, ...inner];
    return { memory: 'HBM', partitions: [0, 0], shape, steps, offset: view.offset.constant * bytes };
  }
  return {
    memory: view.tile.buffer === 'sbuf' ? 'SB' : 'PSUM',
    partitions: [view.tile.startPartition + view.partition, view.partitions],
    shape,
    steps: inner,
    offset: view.tile.address + view.offset.constant * bytes,
  };
}

/** Follows the slots of tiles through the program: who reads what whom has written, and how long a slot is in use. */
function slotUse(program: Program, intervals: readonly Interval[]): Pick<NeuronProfile, 'dependencies' | 'residency'> {
  const dependencies: { from: number; to: number }[] = [];
  const slots = new Map<string, { tile: Tile; slot: number; from: Picoseconds; until: Picoseconds; writer: number }>();
  const counters = new Float64Array(program.loops);
  let id = 0;
  /** The slot that a view touches now, in use from here on at the latest. */
  const touch = ({ tile, slotIndex: { constant, terms } }: TileView) => {
    const slot = terms.reduce((sum, { loop, factor }) => sum + factor * counters[loop.id]!, constant) % tile.slots;
    const { start, end } = intervals[id]!;
    const key = `${tile.id} ${slot}`;
    const entry = slots.get(key) ?? { tile, slot, from: start, until: end, writer: id };
    entry.until = Math.max(entry.until, end);
    slots.set(key, entry);
    return entry;
  };
  const visit = (instruction: Instruction) => {
    const writers = new Set<number>();
    for (const view of instruction.in) if (view.kind === 'tile') writers.add(touch(view).writer);
    for (const view of instruction.out) if (view.kind === 'tile') touch(view).writer = id;
    for (const from of writers) dependencies.push({ from, to: id });
    id++;
  };
  const walk = (node: ProgramNode): void => {
    if (node.op !== 'loop') visit(node);
    else {
      for (let i = 0; i < node.loop.count; i++) {
        counters[node.loop.id] = i;
        node.body.forEach(walk);
      }
    }
  };
  program.body.forEach(walk);
  const residency = Array.from(slots.values(), ({ tile, slot, from, until }): ProfileResidency => {
    const { buffer, startPartition, partitions, slotBytes: bytes } = tile;
    return { buffer, startPartition, partitions, address: tile.address + slot * bytes, bytes, from, until };
  });
  return { dependencies, residency };
}
