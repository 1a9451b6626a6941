/**
 * The rows of a profile's tables. Timestamps are whole nanoseconds, each rounded on its own.
 *
 * Engines and DMA queues wait for each other through semaphores. Here each has one of its own, which it raises when
 * something that another one reads is finished; a compiler numbers them differently.
 * Leaves out: the loops' part of a transfer's offset, and the packets of a transfer one by one.
 */
import { PICOSECONDS_PER_SECOND, type Picoseconds } from '../../base/units.ts';
import type { Engine } from '../../core/instructions.ts';
import { levels, merged, type Period, totalTime } from './intervals.ts';
import type { NeuronProfile, ProfileInstruction, ProfileTransfer, TransferSide } from './profile.ts';
import { PROFILE_SCHEMA_VERSION, TABLES, type TableName } from './schema.ts';
import { summaryRow } from './summary.ts';

/** A row by the names of the fields. What is left out is null. */
export type ProfileRow = Readonly<Record<string, string | number | boolean | null>>;

const ENGINE_NAMES: Readonly<Record<Engine, string>> = {
  TensorE: 'tensor',
  VectorE: 'vector',
  ScalarE: 'scalar',
  GpSimdE: 'gpsimd',
  SyncE: 'sync',
  DMA: 'dma',
};

/** Who raises a semaphore, in the words of the schema; DMAs come over the AXI bus. */
const SOURCES: Readonly<Record<Engine, string>> = {
  TensorE: 'Tensor',
  VectorE: 'Vector',
  ScalarE: 'Scalar',
  GpSimdE: 'GpSimd',
  SyncE: 'Sync',
  DMA: 'AXI',
};

const CORE = { pcore_idx: 0 } as const;
/** Unix time of the start: a simulation has no date. */
const EPOCH = '1970-01-01 00:00:00+00:00';

const nanoseconds = (time: Picoseconds): number => Math.round(time / 1000);

function period({ start, end }: Period): { start_ts: number; end_ts: number; duration_ns: number } {
  const [startNs, endNs] = [nanoseconds(start), nanoseconds(end)];
  return { start_ts: startNs, end_ts: endNs, duration_ns: endNs - startNs };
}

/** All tables of a profile, those without rows too. */
export function profileTables(profile: NeuronProfile): Record<TableName, ProfileRow[]> {
  const semaphores = semaphoreRows(profile);
  return {
    Metadata: [metadataRow(profile)],
    Instruction: profile.instructions.map(instructionRow),
    DmaPacketAggregated: transferRows(profile),
    CcOp: collectiveRows(profile),
    Flow: flowRows(profile),
    SemaphoreUpdate: semaphores,
    HbmUsage: hbmRows(profile),
    SbufUsage: sbufRows(profile),
    PsumUsage: psumRows(profile),
    Throttle: profile.throttles.map(({ start, end, k, n }) => {
      const { start_ts: timestamp, duration_ns: duration } = period({ start, end });
      return { timestamp, duration, k, n, type: 'activity_0', ...CORE };
    }),
    ActiveTime: activeRows(profile),
    OpcodeSummary: opcodeRows(profile),
    Summary: [summaryRow(profile, semaphores.length)],
    SchemaFields: schemaRows(),
  };
}

function metadataRow({ name, core, instanceType, hbmBandwidth, time }: NeuronProfile): ProfileRow {
  const { tensor, vector, scalar, gpsimd, dma, partitions } = core;
  const gigahertz = (clock: number | undefined) => (clock ?? 0) / 1e9;
  return {
    profile_schema_version: PROFILE_SCHEMA_VERSION,
    ntff_version: 0,
    num_physical_cores: 1,
    vnc_enabled: false,
    first_hw_timestamp: 0,
    last_hw_timestamp: nanoseconds(time),
    first_ts: EPOCH,
    last_ts: EPOCH,
    dma_ddr_bandwidth: dma?.bandwidth ?? 0,
    num_dma_engines_per_neuroncore: dma?.engines ?? 0,
    hbm_ddr_bandwidth: hbmBandwidth,
    tensor_engine_num_rows: tensor?.rows ?? 0,
    tensor_engine_num_cols: tensor?.columns ?? 0,
    tensor_engine_clock_freq: gigahertz(tensor?.clock),
    vector_engine_clock_freq: gigahertz(vector?.clock),
    vector_engine_num_channels: partitions,
    scalar_engine_clock_freq: gigahertz(scalar?.clock),
    scalar_engine_num_channels: partitions,
    gpsimd_engine_clock_freq: gigahertz(gpsimd?.clock),
    gpsimd_engine_num_channels: partitions,
    // 1.4 GHz on Trainium1, 1.2 GHz on Trainium2, as the schema says: the clock of ScalarE.
    neuroncore_clock_freq: gigahertz(scalar?.clock),
    ticks_per_nanosec: 1000,
    instance_type: instanceType,
    explorer_version: null,
    profile_name: name,
    is_simulation: true,
  };
}

function instructionRow(instruction: ProfileInstruction): ProfileRow {
  const { id, pc, engine, opcode, operands, waitFrom, start, flops, flopScale, isTranspose, activation } = instruction;
  const adjusted = Math.round(flops * flopScale);
  return {
    ...period(instruction),
    engine: ENGINE_NAMES[engine],
    ...CORE,
    opcode,
    operands,
    id,
    pc,
    bir_id: `sg0000:${pc}`,
    evt_wait_time_ns: nanoseconds(Math.max(0, start - waitFrom)),
    sbuf_read_bytes: instruction.sbufRead,
    sbuf_write_bytes: instruction.sbufWritten,
    psum_read_bytes: instruction.psumRead,
    psum_write_bytes: instruction.psumWritten,
    psum_read_sbuf_write_bytes: Math.min(instruction.psumRead, instruction.sbufWritten),
    tensor_instruction_type: engine === 'TensorE' ? (isTranspose ? 'TRANSPOSE' : 'REGULAR') : null,
    raw_flops: flops,
    adjusted_flops: adjusted,
    flops_transpose: isTranspose ? flops : 0,
    adjusted_flops_transpose: isTranspose ? adjusted : 0,
    scalar_activation_fn: activation,
  };
}

function transferRows({ transfers }: NeuronProfile): ProfileRow[] {
  const queues = [...new Set(transfers.map(({ queue }) => queue))];
  const side = (
    name: 'read' | 'write',
    { memory, partitions: [first, count], shape, offset, steps }: TransferSide,
  ) => ({
    [`${name}_sbuf_partitions`]: memory === 'SB' ? `${first}-${first + count - 1}` : '',
    [`${name}_num_sbuf_partitions`]: memory === 'SB' ? count : 0,
    [`${name}_shape`]: `[${shape.join(', ')}]`,
    [`${name}_offset`]: `[0x${offset.toString(16)}]`,
    [`${name}_steps`]: `[${steps.join(', ')}]`,
  });
  return transfers.map((transfer) => {
    const { id, pc, queue, variable, kind, bytes, from, to, isTranspose, start, end } = transfer;
    const index = queues.indexOf(queue);
    return {
      ...period(transfer),
      id,
      ...CORE,
      block_id: pc,
      queue_idx: index,
      queue_name: queue,
      queue_type: kind,
      op: to.memory === 'HBM' ? 'write' : 'read',
      variable,
      read_bytes: bytes,
      write_bytes: bytes,
      transfer_bytes: bytes,
      throughput: end > start ? (bytes * PICOSECONDS_PER_SECOND) / (end - start) : 0,
      source: `[${from.memory}]`,
      dest: `[${to.memory}]`,
      semaphore_id: semaphoreId(queue, index),
      ...side('read', from),
      ...side('write', to),
      is_transpose_mode: isTranspose,
    };
  });
}

function collectiveRows({ collectives }: NeuronProfile): ProfileRow[] {
  return collectives.map((collective, op_id) => ({
    ...period(collective),
    operation: collective.operation,
    algorithm: collective.algorithm,
    num_elements: collective.elements,
    dtype: collective.dtype,
    op_id,
    stream_id: 0,
    stream_index: 0,
    trigger_engine: 'Pool',
    input_size: collective.inputBytes,
    output_size: collective.outputBytes,
    algorithm_bandwidth:
      (Math.max(collective.inputBytes, collective.outputBytes) * PICOSECONDS_PER_SECOND) /
      Math.max(1, collective.end - collective.start),
    bus_bandwidth: collective.busBandwidth,
    replica_group: `[${collective.replicaGroup.map((ranks) => `[${ranks.join(', ')}]`).join(', ')}]`,
  }));
}

/** Events by id, with the queue that they wait in. */
function eventQueues({ instructions, transfers }: NeuronProfile) {
  const engines = instructions.map(
    (event) => [event.id, { event, queue: ENGINE_NAMES[event.engine], table: 'instruction' }] as const,
  );
  const queues = transfers.map((event) => [event.id, { event, queue: event.queue, table: 'dma_block' }] as const);
  return new Map<number, { event: ProfileInstruction | ProfileTransfer; queue: string; table: string }>([
    ...engines,
    ...queues,
  ]);
}

function flowRows(profile: NeuronProfile): ProfileRow[] {
  const events = eventQueues(profile);
  return profile.dependencies.map(({ from, to }) => {
    const [first, second] = [events.get(from)!, events.get(to)!];
    return {
      in_id: from,
      out_id: to,
      in_table: first.table,
      out_table: second.table,
      dependency_type: 'FLOW_DEPENDENCE',
      gap_time: nanoseconds(Math.max(0, second.event.start - first.event.end)),
    };
  });
}

const semaphoreId = (queue: string, index: number): string => `S[${index}] (${queue})`;

/** One update for each event that another engine or queue reads from. */
function semaphoreRows(profile: NeuronProfile): ProfileRow[] {
  const events = eventQueues(profile);
  const isAwaited = new Set(
    profile.dependencies.flatMap(({ from, to }) => (events.get(from)!.queue === events.get(to)!.queue ? [] : [from])),
  );
  const queues = [...new Set(profile.transfers.map(({ queue }) => queue)), ...Object.values(ENGINE_NAMES)];
  const values = new Map<string, number>();
  const awaited = [...isAwaited].map((id) => events.get(id)!).sort((a, b) => a.event.end - b.event.end);
  return awaited.map(({ event, queue }) => {
    const value = (values.get(queue) ?? 0) + 1;
    values.set(queue, value);
    return {
      timestamp: nanoseconds(event.end),
      id: semaphoreId(queue, queues.indexOf(queue)),
      value,
      update_source: SOURCES['engine' in event ? event.engine : 'DMA'],
      update_operation_type: 'sem_inc',
      ...CORE,
    };
  });
}

function hbmRows({ transfers }: NeuronProfile): ProfileRow[] {
  const moved = transfers
    .map(({ start, end, bytes, from, to }) => {
      const hbmBytes = (from.memory === 'HBM' ? bytes : 0) + (to.memory === 'HBM' ? bytes : 0);
      return { start, end, hbmBytes, amounts: [end > start ? hbmBytes / (end - start) : 0] };
    })
    .filter(({ hbmBytes }) => hbmBytes > 0);
  const ends = [...moved].sort((a, b) => a.end - b.end);
  let [total, next] = [0, 0];
  return levels(moved, 1).map(({ time, values }) => {
    for (; next < ends.length && ends[next]!.end <= time; next++) total += ends[next]!.hbmBytes;
    // Rates that were added and taken off again leave a rest of rounding.
    const rate = Math.max(0, values[0]!) * PICOSECONDS_PER_SECOND;
    return {
      timestamp: nanoseconds(time),
      current_throughput: rate < 1 ? 0 : rate,
      total_transfer_bytes: total,
      ...CORE,
    };
  });
}

function sbufRows({ core, residency }: NeuronProfile): ProfileRow[] {
  const perPartition = (core.sbuf ?? 0) / core.partitions;
  const probes = [0, 32, 64, 96];
  const entries = residency
    .filter(({ buffer }) => buffer === 'sbuf')
    .map(({ from, until, bytes, startPartition, partitions }) => {
      const share = (100 * bytes) / perPartition;
      const covers = (p: number) => p >= startPartition && p < startPartition + partitions;
      const amounts = [(share * partitions) / core.partitions, ...probes.map((p) => (covers(p) ? share : 0))];
      return { start: from, end: until, amounts };
    });
  return levels(entries, probes.length + 1).map(({ time, values: [average, ...fullness] }) => ({
    timestamp: nanoseconds(time),
    avg_util_percent: percent(average!),
    ...Object.fromEntries(probes.map((p, i) => [`partition_${p}_util_percent`, percent(fullness[i]!)])),
    ...CORE,
  }));
}

function psumRows({ core, residency }: NeuronProfile): ProfileRow[] {
  const banks = core.psumBanks;
  const bankBytes = (core.psum ?? 0) / core.partitions / banks;
  const entries = residency
    .filter(({ buffer }) => buffer === 'psum')
    .map(({ from, until, address, bytes, partitions }) => {
      const share = (100 * partitions) / core.partitions;
      const amounts = Array.from({ length: banks }, (_, bank) => {
        const overlap = Math.min(address + bytes, (bank + 1) * bankBytes) - Math.max(address, bank * bankBytes);
        return overlap > 0 ? (share * overlap) / bankBytes : 0;
      });
      return { start: from, end: until, amounts };
    });
  return levels(entries, banks).map(({ time, values }) => ({
    timestamp: nanoseconds(time),
    avg_util_percent: percent(values.reduce((sum, value) => sum + value, 0) / banks),
    ...Object.fromEntries(values.map((value, bank) => [`bank_${bank}_util_percent`, percent(value)])),
    ...CORE,
  }));
}

/** Slots of one address that follow each other may overlap for the length of an instruction. */
const percent = (value: number): number => Math.max(0, Math.min(100, value));

function activeRows({ instructions }: NeuronProfile): ProfileRow[] {
  const engines = [...new Set(instructions.map(({ engine }) => engine))];
  return engines.flatMap((engine) =>
    merged(instructions.filter((instruction) => instruction.engine === engine)).map((active) => {
      const { start_ts, end_ts, duration_ns } = period(active);
      return { start_ts, end_ts, engine: ENGINE_NAMES[engine], ...CORE, duration_ns };
    }),
  );
}

function opcodeRows({ instructions, time }: NeuronProfile): ProfileRow[] {
  const groups = new Map<string, ProfileInstruction[]>();
  for (const instruction of instructions) {
    const key = `${instruction.engine} ${instruction.opcode}`;
    const group = groups.get(key);
    if (group) group.push(instruction);
    else groups.set(key, [instruction]);
  }
  return [...groups.values()].map((group) => {
    const active = totalTime(merged(group));
    return {
      engine: ENGINE_NAMES[group[0]!.engine],
      opcode: group[0]!.opcode,
      instruction_count: group.length,
      instruction_time_ns: nanoseconds(totalTime(group)),
      active_time_ns: nanoseconds(active),
      active_time_percent: time > 0 ? (100 * active) / time : 0,
    };
  });
}

function schemaRows(): ProfileRow[] {
  return Object.entries(TABLES).flatMap(([table_name, { description, fields }]) =>
    fields.map(({ name, type, unit, isRequired }) => ({
      table_name,
      table_description: description,
      field_name: name,
      field_description: name.replaceAll('_', ' '),
      field_type: type.startsWith('int') ? 'integer' : type === 'float' ? 'number' : type,
      field_required: isRequired,
      field_format: type === 'string' || type === 'boolean' ? null : type,
      field_unit: unit,
    })),
  );
}
