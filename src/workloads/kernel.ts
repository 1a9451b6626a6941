/**
 * One operator on the cores of a chip, in full: how long, what bounds it, what each engine does meanwhile. What `trnsim
 * kernel` prints.
 */
import { expectInteger } from '../base/errors.ts';
import type { FlopsPerSecond } from '../base/units.ts';
import type { Implementation, OperandFormat, OperatorCase } from '../core/operator-case.ts';
import { operatorClock, timeOperator } from '../core/operator-clock.ts';
import { operatorDims } from '../core/operator-dims.ts';
import { type NeuronProfile, profileProgram } from '../formats/neuron-profile/profile.ts';
import { type Constants, fittedConstants } from '../hardware/fitted.ts';
import type { ChipSpec, PeakFormat } from '../hardware/spec.ts';

export interface KernelOptions {
  readonly op: string;
  readonly dims: Readonly<Record<string, number>>;
  readonly dtype: OperandFormat;
  readonly weightDtype?: OperandFormat;
  readonly outDtype?: OperandFormat;
  readonly causal?: boolean;
  readonly window?: number;
  readonly implementation?: Implementation;
  readonly copies?: number;
  readonly chip: ChipSpec;
  /** Physical cores; those of one logical core if left out. */
  readonly cores?: number;
  /** Physical cores of a logical core; the chip's default if left out. */
  readonly lnc?: number;
  readonly constants?: Constants;
}

export interface KernelResult {
  readonly schemaVersion: 1;
  readonly op: string;
  readonly dims: Readonly<Record<string, number>>;
  readonly dtype: OperandFormat;
  readonly chip: string;
  readonly cores: number;
  /** Whether the number of cores was left to the chip's default: one logical core. */
  readonly isDefaultCores: boolean;
  readonly timeNs: number;
  readonly tflops: number;
  /** Share of the peak of these cores in this format; null where no peak is published, or nothing to multiply. */
  readonly mfu: number | null;
  /** Share of the bandwidth of these cores' HBM. */
  readonly mbu: number | null;
  readonly hbmBytes: number;
  readonly bound: string;
  readonly engines: Readonly<Record<string, { readonly busyNs: number; readonly utilisation: number }>>;
  /** `event`: a tile program, instruction by instruction; `formula`: closed forms (other makers' chips). */
  readonly fidelity: 'event' | 'formula';
  /** What the tile program of the core that takes longest needs; null where there is none. */
  readonly program: {
    readonly name: string;
    readonly sbufBytes: number;
    readonly psumBanks: number;
    readonly hbmGBps: number;
    readonly instructions: number;
    /** Of them timed once and replayed. */
    readonly folded: number;
    readonly criticalPathNs: Readonly<Record<string, number>>;
  } | null;
}

/**
 * Times one operator.
 * @throws RangeError for dimensions or cores that make no sense, ModelError (UNSUPPORTED) for what the chip can't do or is not
 * published
 */
export function runKernel(options: KernelOptions): KernelResult {
  const { chip, constants = fittedConstants() } = options;
  const { operator, cores } = question(options);
  const { op, dims, dtype } = operator;
  const detail = chip.cores === null ? null : timeOperator(chip, cores, constants, operator);
  const { time, bound, busy, flops, hbmBytes } = detail?.cost ?? operatorClock(chip, cores, constants)(operator);
  const share = chip.cores === null ? 1 : cores / chip.cores;
  const peak = peakRate(chip, cores, dtype);
  const bandwidth = chip.memory.bandwidth;
  return {
    schemaVersion: 1,
    op,
    dims,
    dtype,
    chip: chip.id,
    cores,
    isDefaultCores: options.cores === undefined,
    timeNs: time * 1e9,
    tflops: flops / time / 1e12,
    mfu: peak === null ? null : flops / time / peak,
    mbu: bandwidth === null ? null : hbmBytes / time / (bandwidth * share),
    hbmBytes,
    bound,
    engines: Object.fromEntries(
      Object.entries(busy).map(([name, seconds]) => [name, { busyNs: seconds * 1e9, utilisation: seconds / time }]),
    ),
    fidelity: detail === null ? 'formula' : 'event',
    program: detail && {
      name: detail.program.name,
      sbufBytes: detail.program.sbufBytes * detail.program.core.partitions,
      psumBanks: detail.program.psumBanks,
      hbmGBps: detail.hbmBandwidth / 1e9,
      instructions: detail.programTime.instructions,
      folded: detail.programTime.folded,
      criticalPathNs: Object.fromEntries(
        Object.entries(detail.programTime.criticalPath).map(([part, picoseconds]) => [part, picoseconds / 1e3]),
      ),
    },
  };
}

/**
 * Every instruction of the core that takes longest, and when it ran.
 * @throws as `runKernel`; ModelError (UNSUPPORTED) on other makers' chips, (CAPACITY) for a program of too many instructions
 */
export function profileKernel(options: KernelOptions): NeuronProfile {
  const { chip, constants = fittedConstants() } = options;
  const { operator, cores } = question(options);
  const { program, options: timing } = timeOperator(chip, cores, constants, operator);
  return profileProgram(program, timing);
}

function question(options: KernelOptions): { readonly operator: OperatorCase; readonly cores: number } {
  const { op, dtype, weightDtype, outDtype, causal, window, implementation, copies } = options;
  if (op !== 'attention' && (causal === true || window !== undefined)) {
    throw new RangeError(`"${causal === true ? 'causal' : 'window'}" is for attention, got ${op}`);
  }
  const dims = operatorDims(op, options.dims);
  if (window !== undefined) expectInteger('window', window, 1);
  if (copies !== undefined) expectInteger('copies', copies, 1);
  const operator: OperatorCase = {
    op: op as OperatorCase['op'],
    dims,
    dtype,
    ...(weightDtype !== undefined && { weightDtype }),
    ...(outDtype !== undefined && { outDtype }),
    ...(causal !== undefined && { causal }),
    ...(window !== undefined && { window }),
    ...(implementation !== undefined && { implementation }),
    ...(copies !== undefined && { copies }),
  };
  return { operator, cores: coresOf(options) };
}

function coresOf({ chip, cores, lnc }: KernelOptions): number {
  if (chip.cores === null) return expectInteger('cores', cores ?? 1, 1, 1);
  if (lnc !== undefined) expectInteger('lnc', lnc, 1, 2);
  if (lnc === 2 && chip.logicalCoreSize === 1) throw new RangeError(`"lnc" expected 1 on ${chip.name}, got ${lnc}`);
  return expectInteger('cores', cores ?? lnc ?? chip.logicalCoreSize, 1, chip.cores);
}

/** Of TensorE, from its clock and array: chip peaks in press releases are above what the clocks reach. */
function peakRate(chip: ChipSpec, cores: number, dtype: OperandFormat): FlopsPerSecond | null {
  const tensor = chip.core?.tensor;
  if (!tensor) return chip.cores === null ? (chip.peak[dtype as PeakFormat] ?? null) : null;
  const { rows, columns, clock, f32Passes, fp8Rows, mxRows } = tensor;
  const passes = dtype === 'f32' || dtype === 'tf32' ? f32Passes : 1;
  const depth = dtype === 'fp8' ? (fp8Rows ?? rows) : dtype.startsWith('mx') ? (mxRows ?? rows) : rows;
  return (cores * 2 * depth * columns * clock) / passes;
}

/** Checked by whoever reads a format from outside. */
export const OPERAND_FORMATS: readonly OperandFormat[] = [
  'f32',
  'tf32',
  'f16',
  'bf16',
  'fp8',
  'mxfp8',
  'mxfp4',
  'nvfp4',
  'int8',
  'uint8',
  'int32',
];

const ALIASES: Readonly<Record<string, OperandFormat>> = { fp32: 'f32', fp16: 'f16', float32: 'f32', bfloat16: 'bf16' };

/** @throws RangeError that lists the formats */
export function parseOperandFormat(name: string, value: string): OperandFormat {
  const format = ALIASES[value] ?? (value as OperandFormat);
  if (OPERAND_FORMATS.includes(format)) return format;
  throw new RangeError(`"${name}" expected one of ${OPERAND_FORMATS.join(', ')}, got ${JSON.stringify(value)}`);
}
