/**
 * The Summary of a profile: utilisation by the schema's own formulas.
 *
 *     hfu, mfu   flops, without transposes for mfu / (2 rows columns clock time)
 *     mbu        bytes read from and written to HBM / (time bandwidth)
 *
 * There is no HLO behind a tile program, so model flops are those of the instructions without transposes.
 */
import { PICOSECONDS_PER_SECOND } from '../../base/units.ts';
import { activeTime, type Period, totalTime } from './intervals.ts';
import type { NeuronProfile, ProfileInstruction } from './profile.ts';
import type { ProfileRow } from './tables.ts';

export function summaryRow(profile: NeuronProfile, semaphoreUpdates: number): ProfileRow {
  const { core, instructions, transfers, collectives, time, hbmBandwidth } = profile;
  const seconds = time / PICOSECONDS_PER_SECOND;
  const everything: Period[] = [...instructions, ...transfers, ...collectives];
  const active = activeTime(everything);
  const flops = sum(instructions, ({ flops: count }) => count);
  const transposes = sum(instructions, (i) => (i.isTranspose ? i.flops : 0));
  const { tensor } = core;
  const peak = tensor === null ? 0 : 2 * tensor.rows * tensor.columns * tensor.clock;
  const read = sum(transfers, ({ from, bytes }) => (from.memory === 'HBM' ? bytes : 0));
  const written = sum(transfers, ({ to, bytes }) => (to.memory === 'HBM' ? bytes : 0));
  const intensity = ratio(flops - transposes, read + written);
  const balance = ratio(peak, hbmBandwidth);
  const moved = sum(transfers, ({ bytes }) => bytes);
  const fromPsum = instructions.filter(({ psumRead, sbufWritten }) => psumRead > 0 && sbufWritten > 0);
  const mfu = 100 * ratio(flops - transposes, peak * seconds);
  const dmaTime = activeTime(transfers);
  const activations = instructions.filter(({ opcode }) => opcode === 'ACTIVATE');
  return {
    total_time: seconds,
    total_exec_time: seconds,
    total_active_time: inSeconds(active),
    total_active_time_percent: 100 * ratio(active, time),
    neuroncore_cycle_count: Math.round(seconds * (core.scalar?.clock ?? 0)),
    model_flops: flops - transposes,
    hardware_flops: flops,
    transpose_flops: transposes,
    adjusted_hardware_flops: Math.round(sum(instructions, (i) => i.flops * i.flopScale)),
    adjusted_transpose_flops: Math.round(sum(instructions, (i) => (i.isTranspose ? i.flops * i.flopScale : 0))),
    mm_arithmetic_intensity: intensity,
    peak_flops_bandwidth_ratio: balance,
    trace_count: instructions.length + transfers.length + semaphoreUpdates,
    event_count: semaphoreUpdates,
    dma_active_time: inSeconds(dmaTime),
    dma_active_time_percent: 100 * ratio(dmaTime, time),
    dma_transfer_time: inSeconds(totalTime(transfers)),
    dma_transfer_count: transfers.length,
    dma_transfer_total_bytes: moved,
    dma_transfer_average_bytes: ratio(moved, transfers.length),
    dma_queue_count: new Set(transfers.map(({ queue }) => queue)).size,
    mfu_estimated_percent: mfu,
    mfu_max_achievable_estimated_percent: Math.min(100, 100 * ratio(intensity, balance)),
    mfu_inst_estimated_percent: mfu,
    hfu_estimated_percent: 100 * ratio(flops, peak * seconds),
    mbu_estimated_percent: 100 * ratio(read + written, hbmBandwidth * seconds),
    hbm_read_bytes: read,
    hbm_write_bytes: written,
    sbuf_read_bytes:
      sum(instructions, (i) => i.sbufRead) + sum(transfers, (t) => (t.from.memory === 'SB' ? t.bytes : 0)),
    sbuf_write_bytes:
      sum(instructions, (i) => i.sbufWritten) + sum(transfers, (t) => (t.to.memory === 'SB' ? t.bytes : 0)),
    psum_read_bytes: sum(instructions, (i) => i.psumRead),
    psum_write_bytes: sum(instructions, (i) => i.psumWritten),
    psum_read_sbuf_write_count: fromPsum.length,
    psum_read_sbuf_write_bytes: sum(fromPsum, (i) => Math.min(i.psumRead, i.sbufWritten)),
    input_queue_bytes: sum(transfers, (t) => (t.kind === 'input' ? t.bytes : 0)),
    output_queue_bytes: sum(transfers, (t) => (t.kind === 'output' ? t.bytes : 0)),
    weight_queue_bytes: sum(transfers, (t) => (t.kind === 'data' ? t.bytes : 0)),
    ...engineMetrics(profile, 'TensorE', 'tensor'),
    ...engineMetrics(profile, 'VectorE', 'vector'),
    ...engineMetrics(profile, 'ScalarE', 'scalar'),
    ...engineMetrics(profile, 'GpSimdE', 'gpsimd'),
    ...engineMetrics(profile, 'SyncE', 'sync'),
    matmul_instruction_count: instructions.filter(({ opcode }) => opcode === 'MATMUL').length,
    activate_instruction_time: inSeconds(totalTime(activations)),
    activate_instruction_count: activations.length,
    cc_op_time: inSeconds(totalTime(collectives)),
    cc_op_active_time: inSeconds(activeTime(collectives)),
    cc_op_active_time_percent: 100 * ratio(activeTime(collectives), time),
    cc_op_count: collectives.length,
  };
}

function engineMetrics(
  { instructions, time }: NeuronProfile,
  engine: ProfileInstruction['engine'],
  name: string,
): ProfileRow {
  const own = instructions.filter((instruction) => instruction.engine === engine);
  const active = activeTime(own);
  return {
    [`${name}_engine_instruction_time`]: inSeconds(totalTime(own)),
    [`${name}_engine_active_time`]: inSeconds(active),
    [`${name}_engine_active_time_percent`]: 100 * ratio(active, time),
    [`${name}_engine_instruction_count`]: own.length,
  };
}

function sum<T>(entries: readonly T[], amount: (entry: T) => number): number {
  return entries.reduce((total, entry) => total + amount(entry), 0);
}

/** 0 where there is nothing to divide by: an empty profile, or a rate that nobody publishes. */
function ratio(a: number, b: number): number {
  return b === 0 ? 0 : a / b;
}

function inSeconds(time: number): number {
  return time / PICOSECONDS_PER_SECOND;
}
