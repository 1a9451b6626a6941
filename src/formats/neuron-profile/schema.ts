/**
 * Tables of a Neuron Explorer profile, schema 7.4.0: the fields that a simulation can fill, and all that are required.
 * Each field: name, type, unit (`-`: none), and `!` if every row has it.
 *
 * Leaves out: tables of the compiler's hierarchy (BIR, Penguin, HLO), of stack frames and of the host.
 * see: Neuron SDK 2.31, tools/neuron-explorer/profile-schema-reference.rst.
 */

export const PROFILE_SCHEMA_VERSION = '7.4.0';

export type FieldType = 'int64' | 'int32' | 'float' | 'string' | 'boolean';

export interface Field {
  readonly name: string;
  readonly type: FieldType;
  readonly unit: string | null;
  readonly isRequired: boolean;
}

export interface TableSchema {
  readonly description: string;
  readonly fields: readonly Field[];
}

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
  Flow: table(
    'Dependencies: what reads an operand, and what wrote it.',
    `in_id int64 - !
    out_id int64 - !
    in_table string - !
    out_table string - !
    dependency_type string -
    gap_time int64 nanoseconds`,
  ),
  SemaphoreUpdate: table(
    'Semaphores that engines and DMA queues raise for those that wait for them.',
    `timestamp int64 nanoseconds !
    id string - !
    value int32 - !
    update_source string -
    update_operation_type string -
    pcore_idx int64 -`,
  ),
  HbmUsage: table(
    'Traffic of the device memory over time.',
    `timestamp int64 nanoseconds !
    current_throughput float bytes_per_second !
    total_transfer_bytes int64 bytes !
    pcore_idx int64 -`,
  ),
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
  PsumUsage: table(
    'How full PSUM is over time.',
    `timestamp int64 nanoseconds !
    avg_util_percent float percent
    ${Array.from({ length: 8 }, (_, bank) => `bank_${bank}_util_percent float percent`).join('\n')}
    pcore_idx int64 -`,
  ),
  Throttle: table(
    'Times in which TensorE was slowed down.',
    `timestamp int64 nanoseconds !
    duration int64 nanoseconds !
    k int32 - !
    n int32 - !
    type string - !
    pcore_idx int64 -`,
  ),
  ActiveTime: table(
    'Times in which an engine works on at least one instruction.',
    `start_ts int64 nanoseconds !
    end_ts int64 nanoseconds !
    engine string - !
    pcore_idx int64 - !
    duration_ns int64 nanoseconds !`,
  ),
  OpcodeSummary: table(
    'Totals by engine and opcode.',
    `engine string - !
    opcode string - !
    instruction_count int64 - !
    instruction_time_ns int64 nanoseconds !
    active_time_ns int64 nanoseconds !
    active_time_percent float - !`,
  ),
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
