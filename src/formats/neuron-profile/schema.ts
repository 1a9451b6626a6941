/**
 * Tables of a Neuron Explorer profile, schema 7.4.0: the fields that a simulation can fill, and all that are required.
 * Each field: name, type, unit (`-`: none), and `!` if every row has it.
 *
 * Leaves out: tables of the compiler's hierarchy (BIR, Penguin, HLO), of stack frames and of the host.
 * see: Neuron SDK 2.31, tools/neuron-explorer/profile-schema-reference.rst.
 */

/** Goes into `Metadata`, so that a reader knows which fields to expect. */
export const PROFILE_SCHEMA_VERSION = '7.4.0';

/** Types of the schema; `neuron-profile.ts` has the Parquet type of each. */
export type FieldType = 'int64' | 'int32' | 'float' | 'string' | 'boolean';

/** A column of a table. */
export interface Field {
  readonly name: string;
  readonly type: FieldType;
  /** In the schema's words, `nanoseconds` or `bytes_per_second`; null for a count, a name or a ratio. */
  readonly unit: string | null;
  /** Every row has a value; other columns may be null. */
  readonly isRequired: boolean;
}

/** A table: what its rows are, and its columns in the order in which the file has them. */
export interface TableSchema {
  readonly description: string;
  readonly fields: readonly Field[];
}

/** A file each, `Instruction.parquet` and so on. */
export type TableName =
  | 'Metadata'
  | 'Instruction'
  | 'DmaPacketAggregated'
  | 'CcOp'
  | 'Flow'
  | 'SemaphoreUpdate'
  | 'HbmUsage'
  | 'SbufUsage'
  | 'PsumUsage'
  | 'Throttle'
  | 'ActiveTime'
  | 'OpcodeSummary'
  | 'Summary'
  | 'SchemaFields';

/** The fields from a column of text, one a line: a table reads here as it does in the reference. */
function table(description: string, text: string): TableSchema {
  const fields = text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line): Field => {
      const [name, type, unit, required] = line.trim().split(/\s+/) as [string, FieldType, string, string?];
      return { name, type, unit: unit === '-' ? null : unit, isRequired: required === '!' };
    });
  return { description, fields };
}

/** Of all that goes on for a time. Both timestamps are rounded to whole nanoseconds, and the length is their difference. */
const PERIOD = `
  start_ts int64 nanoseconds !
  end_ts int64 nanoseconds !
  duration_ns int64 nanoseconds !`;

/** Of the Summary: the same six or seven metrics for each engine. */
const ENGINE_METRICS = ['tensor', 'vector', 'scalar', 'gpsimd', 'sync'].map(
  (engine) => `
  ${engine}_engine_instruction_time float seconds
  ${engine}_engine_active_time float seconds
  ${engine}_engine_active_time_percent float percent
  ${engine}_engine_instruction_count int64 -`,
);

export const TABLES: Readonly<Record<TableName, TableSchema>> = {
  // The peaks that the tool derives utilisation from: clocks, engine sizes, bandwidths. One row.
  Metadata: table(
    'The core that the profile is of, and how the profile was made.',
    `profile_schema_version string - !
    ntff_version int32 - !
    num_physical_cores int32 - !
    vnc_enabled boolean - !
    first_hw_timestamp int64 nanoseconds !
    last_hw_timestamp int64 nanoseconds !
    first_ts string - !
    last_ts string - !
    dma_ddr_bandwidth float bytes_per_second !
    num_dma_engines_per_neuroncore int32 - !
    hbm_ddr_bandwidth float bytes_per_second !
    tensor_engine_num_rows int64 - !
    tensor_engine_num_cols int64 - !
    tensor_engine_clock_freq float gigahertz !
    vector_engine_clock_freq float gigahertz !
    vector_engine_num_channels int64 - !
    scalar_engine_clock_freq float gigahertz !
    scalar_engine_num_channels int64 - !
    gpsimd_engine_clock_freq float gigahertz !
    gpsimd_engine_num_channels int64 - !
    neuroncore_clock_freq float gigahertz !
    ticks_per_nanosec int64 - !
    instance_type string -
    explorer_version string -
    profile_name string -
    is_simulation boolean -`,
  ),
  // `evt_wait_time_ns` is the time between a free queue and the start: what an operand cost in waiting. Flops are given raw and
  // adjusted, the adjusted ones weighted by the time that a flop of the format takes.
  Instruction: table(
    'Instructions that the compute engines executed.',
    `${PERIOD}
    engine string - !
    pcore_idx int64 -
    opcode string - !
    operands string - !
    id int64 - !
    pc int64 - !
    bir_id string - !
    evt_wait_time_ns int64 nanoseconds
    sbuf_read_bytes int64 -
    sbuf_write_bytes int64 -
    psum_read_bytes int64 -
    psum_write_bytes int64 -
    psum_read_sbuf_write_bytes int64 -
    tensor_instruction_type string -
    raw_flops int64 -
    adjusted_flops int64 -
    flops_transpose int64 -
    adjusted_flops_transpose int64 -
    scalar_activation_fn string -`,
  ),
  // A transfer and its two sides: partitions, shape, offset and steps (bytes) of each, and the queue that carried it.
  DmaPacketAggregated: table(
    'DMA transfers, each with all its packets.',
    `${PERIOD}
    id int64 - !
    pcore_idx int64 -
    block_id int32 - !
    queue_idx int64 - !
    queue_name string - !
    queue_type string -
    op string - !
    variable string - !
    read_bytes int64 bytes !
    write_bytes int64 bytes !
    transfer_bytes int64 bytes !
    throughput float bytes_per_second !
    source string - !
    dest string - !
    semaphore_id string - !
    read_sbuf_partitions string - !
    read_num_sbuf_partitions int32 - !
    read_shape string - !
    read_offset string - !
    read_steps string - !
    write_sbuf_partitions string - !
    write_num_sbuf_partitions int32 - !
    write_shape string - !
    write_offset string - !
    write_steps string - !
    is_transpose_mode boolean -`,
  ),
  // Bandwidths as nccom-test defines them. A program of one core has no rows here (docs/core.md).
  CcOp: table(
    'Collective operations.',
    `${PERIOD}
    operation string - !
    algorithm string - !
    num_elements int64 - !
    dtype string - !
    op_id int64 - !
    stream_id int64 - !
    stream_index int64 - !
    trigger_engine string - !
    input_size int64 bytes
    output_size int64 bytes
    algorithm_bandwidth float bytes_per_second
    bus_bandwidth float bytes_per_second
    replica_group string -`,
  ),
  // From the event that wrote (`in_id`) to the one that reads. `gap_time` is from the end of the one to the start of the other.
  Flow: table(
    'Dependencies: what reads an operand, and what wrote it.',
    `in_id int64 - !
    out_id int64 - !
    in_table string - !
    out_table string - !
    dependency_type string -
    gap_time int64 nanoseconds`,
  ),
  // Steps of a counter; whoever waits for a value is not in the table.
  SemaphoreUpdate: table(
    'Semaphores that engines and DMA queues raise for those that wait for them.',
    `timestamp int64 nanoseconds !
    id string - !
    value int32 - !
    update_source string -
    update_operation_type string -
    pcore_idx int64 -`,
  ),
  // A row for each change of the rate: a step function of time, like the two tables that follow.
  HbmUsage: table(
    'Traffic of the device memory over time.',
    `timestamp int64 nanoseconds !
    current_throughput float bytes_per_second !
    total_transfer_bytes int64 bytes !
    pcore_idx int64 -`,
  ),
  // Fullness of four of the 128 partitions, one of each quadrant, beside the mean of all.
  SbufUsage: table(
    'How full SBUF is over time.',
    `timestamp int64 nanoseconds !
    avg_util_percent float percent
    partition_0_util_percent float percent
    partition_32_util_percent float percent
    partition_64_util_percent float percent
    partition_96_util_percent float percent
    pcore_idx int64 -`,
  ),
  // Fullness by bank: a bank is what one matrix product accumulates in.
  PsumUsage: table(
    'How full PSUM is over time.',
    `timestamp int64 nanoseconds !
    avg_util_percent float percent
    ${Array.from({ length: 8 }, (_, bank) => `bank_${bank}_util_percent float percent`).join('\n')}
    pcore_idx int64 -`,
  ),
  // TensorE may use k of n cycles. The clock of one core does not model it: rows come from whoever makes the profile.
  Throttle: table(
    'Times in which TensorE was slowed down.',
    `timestamp int64 nanoseconds !
    duration int64 nanoseconds !
    k int32 - !
    n int32 - !
    type string - !
    pcore_idx int64 -`,
  ),
  // Instructions of an engine that touch or overlap are one row.
  ActiveTime: table(
    'Times in which an engine works on at least one instruction.',
    `start_ts int64 nanoseconds !
    end_ts int64 nanoseconds !
    engine string - !
    pcore_idx int64 - !
    duration_ns int64 nanoseconds !`,
  ),
  // Time is summed over instructions, active time counts each moment once.
  OpcodeSummary: table(
    'Totals by engine and opcode.',
    `engine string - !
    opcode string - !
    instruction_count int64 - !
    instruction_time_ns int64 nanoseconds !
    active_time_ns int64 nanoseconds !
    active_time_percent float - !`,
  ),
  // One row. `summary.ts` has the formulas.
  Summary: table(
    'Metrics of the whole profile.',
    `total_time float seconds
    total_exec_time float seconds
    total_active_time float seconds
    total_active_time_percent float percent
    neuroncore_cycle_count int64 cycles
    model_flops int64 flops
    hardware_flops int64 flops
    transpose_flops int64 flops
    adjusted_hardware_flops int64 flops
    adjusted_transpose_flops int64 flops
    mm_arithmetic_intensity float -
    peak_flops_bandwidth_ratio float -
    trace_count int64 -
    event_count int64 -
    dma_active_time float seconds
    dma_active_time_percent float percent
    dma_transfer_time float seconds
    dma_transfer_count int64 -
    dma_transfer_total_bytes int64 bytes
    dma_transfer_average_bytes float bytes
    dma_queue_count int64 -
    mfu_estimated_percent float percent
    mfu_max_achievable_estimated_percent float percent
    mfu_inst_estimated_percent float percent
    hfu_estimated_percent float percent
    mbu_estimated_percent float percent
    hbm_read_bytes int64 bytes
    hbm_write_bytes int64 bytes
    sbuf_read_bytes int64 bytes
    sbuf_write_bytes int64 bytes
    psum_read_bytes int64 bytes
    psum_write_bytes int64 bytes
    psum_read_sbuf_write_count int64 -
    psum_read_sbuf_write_bytes int64 bytes
    input_queue_bytes int64 bytes
    output_queue_bytes int64 bytes
    weight_queue_bytes int64 bytes
    ${ENGINE_METRICS.join('')}
    matmul_instruction_count int64 -
    activate_instruction_time float seconds
    activate_instruction_count int64 -
    cc_op_time float seconds
    cc_op_active_time float seconds
    cc_op_active_time_percent float percent
    cc_op_count int64 -`,
  ),
  // The tables describe themselves, so that a reader of the files needs no copy of the reference.
  SchemaFields: table(
    'The fields of all tables.',
    `table_name string - !
    table_description string - !
    field_name string - !
    field_description string - !
    field_type string - !
    field_required boolean - !
    field_format string -
    field_unit string -`,
  ),
};
