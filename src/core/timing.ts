/**
 * What an instruction costs its engine, in that engine's cycles. N is the elements of each partition.
 *
 *     TensorE   nc_matmul max(64, N) cycles, 4 passes in FP32; double row and MX contract 2 and 4 times as much in that time.
 *               LoadStationary 128 cycles, 32 as a fast weight load, beside the MultiplyMoving before it.
 *               nc_transpose max(P, min(64, N)); FP32 takes 4 passes on v2, 2 later
 *     ScalarE   max(64, N), twice the rate for 16 bits and less on v4; + 64 with a reduction
 *     VectorE   table below: N / elements per cycle and partition
 *     GpSimdE   max(64, N); tensor_tensor as VectorE without its performance modes; iota and affine_select 150 + N
 *     DMA       one descriptor for each contiguous run, dealt to the 16 engines; each takes its queue for
 *               max(least time, bytes / engine rate), and its engine for max(64, bytes) / engine rate
 *
 * Results are visible `staticOverhead` cycles after the engine has let go of the instruction: what depends on it waits that
 * long; what does not, follows at once.
 * see: Neuron SDK, nki.isa cost tables (documentation of 2.21 to 2.26) and nki/guides/architecture.
 */
import { ModelError } from '../base/errors.ts';
import { type Picoseconds, toPicoseconds } from '../base/units.ts';
import type { CoreSpec } from '../hardware/spec.ts';
import { DTYPES } from '../kernels/dtype.ts';
import type { Pattern, TileView, View } from './access.ts';
import { PACKING } from './constraints.ts';
import type { Instruction, InstructionOf } from './instructions.ts';
import { takesSbufPort } from './ports.ts';

const REDUCE_OVERHEAD = 64;
const GPSIMD_OVERHEAD = 150;
/** VectorE cycles per element. */
const RECIPROCAL = 8;
const SCAN = 2;
const BN_AGGREGATE = 13 / 3;
/** Least bytes that a DMA moves for a descriptor. */
const BEAT = 64;
/** quantize_mx takes four elements of a partition at once. */
const QUANTIZE_RATE = 4;

export interface InstructionTiming {
  /** How long the engine, or the queue of a DMA, is taken. */
  readonly occupancy: Picoseconds;
  /** DMA: its share of the core's DMA engines, as time that all of them together work on it. */
  readonly service: Picoseconds;
  /** From there until a dependent instruction may start. */
  readonly latency: Picoseconds;
  /** TensorE: time to load a stationary tile that is not loaded yet. */
  readonly load: Picoseconds;
  /** Bytes that cross the HBM interface: read, written. */
  readonly hbmRead: number;
  readonly hbmWritten: number;
  /** Multiplications of TensorE, for its utilisation. */
  readonly macs: number;
  /** Whether it takes the port to SBUF that VectorE and GpSimdE share. */
  readonly takesPort: boolean;
}

/** Rates of a core's DMA engines, set by whoever shares the HBM. */
export interface DmaRates {
  /** All engines of the core together, bytes per second. */
  readonly bandwidth: number;
  /** Least time of one descriptor on its engine, seconds. */
  readonly descriptorTime: number;
}

/** @throws ModelError (UNSUPPORTED) where the engine's clock is not published */
export function instructionTiming(core: CoreSpec, instruction: Instruction, dma: DmaRates): InstructionTiming {
  if (instruction.engine === 'DMA') return dmaTiming(core, instruction, dma);
  const clock = engineClock(core, instruction.engine);
  const picoseconds = (cycles: number) => toPicoseconds(cycles / clock);
  const isMatmul = instruction.op === 'nc_matmul';
  const isLoad = instruction.op === 'load_stationary';
  const cycles = isLoad ? 0 : Math.ceil(engineCycles(core, instruction));
  return {
    occupancy: picoseconds(cycles),
    service: 0,
    latency: picoseconds(core.staticOverhead ?? 0),
    load: isMatmul || isLoad ? picoseconds(loadCycles(core, instruction)) : 0,
    hbmRead: 0,
    hbmWritten: 0,
    macs: isMatmul ? matmulMacs(instruction) : 0,
    takesPort: takesSbufPort(core, instruction, cycles < dataLength(instruction)),
  };
}

function engineClock(core: CoreSpec, engine: Instruction['engine']): number {
  const { tensor, vector, scalar, gpsimd } = core;
  const spec = { TensorE: tensor, VectorE: vector, ScalarE: scalar, GpSimdE: gpsimd, SyncE: scalar, DMA: null }[engine];
  if (spec === null) throw new ModelError('UNSUPPORTED', core.id, `expected a published clock of ${engine}, got none`);
  return spec.clock;
}

function passes(core: CoreSpec, views: readonly View[]): number {
  return views.some(({ dtype }) => dtype === 'f32') ? core.tensor!.f32Passes : 1;
}

function loadCycles({ tensor, ...core }: CoreSpec, instruction: Instruction): number {
  const { fastWeightLoad } = instruction.attributes as { readonly fastWeightLoad: boolean };
  const cycles = fastWeightLoad ? tensor!.fastLoadStationary : tensor!.loadStationary;
  return cycles * passes({ tensor, ...core }, instruction.in.slice(0, 1));
}

function matmulMacs(instruction: Instruction): number {
  const [stationary, moving] = instruction.in as readonly [TileView, TileView];
  const { mode } = instruction.attributes as { readonly mode: keyof typeof PACKING };
  return (stationary.partitions * stationary.length * moving.length) / PACKING[mode];
}

/** N: elements of each partition that pass through the engine. */
function dataLength({ in: [x], out: [out] }: Instruction): number {
  return (x ?? out)!.length;
}

function engineCycles(core: CoreSpec, instruction: Instruction): number {
  const [x] = instruction.in;
  const n = dataLength(instruction);
  const least = core.issueInterval ?? 0;
  switch (instruction.op) {
    case 'nc_matmul': {
      const columns = instruction.in[1]!.length / PACKING[instruction.attributes.mode];
      return passes(core, instruction.in.slice(0, 2)) * Math.max(core.tensor!.multiplyMoving, columns);
    }
    case 'nc_transpose': {
      if (instruction.engine === 'VectorE') return Math.max(least, n);
      const perPass = Math.max(x!.partitions, Math.min(core.tensor!.multiplyMoving, n));
      return perPass * (x!.dtype !== 'f32' ? 1 : core.version >= 3 ? 2 : core.tensor!.f32Passes);
    }
    case 'activation':
      return Math.max(least, n / scalarRate(core, instruction)) + (instruction.out.length > 1 ? REDUCE_OVERHEAD : 0);
    case 'iota':
    case 'affine_select':
      return GPSIMD_OVERHEAD + n;
    default: {
      if (instruction.engine === 'ScalarE') return Math.max(least, n / scalarRate(core, instruction));
      if (instruction.engine === 'GpSimdE') {
        return Math.max(least, n * (instruction.op === 'tensor_tensor' ? tensorTensorCycles(instruction) : 1));
      }
      return Math.max(least, n * vectorCyclesPerElement(core, instruction));
    }
  }
}

const isNarrow = (view: View): boolean => DTYPES[view.dtype].bytes <= 2;
const isContiguous = ({ pattern }: View): boolean => pattern.at(-1)![0] <= 1;
const inSbuf = (view: View): boolean => view.kind === 'tile' && view.tile.buffer === 'sbuf';

/** Elements per cycle and partition of ScalarE. */
function scalarRate(core: CoreSpec, { op, in: inputs, out }: Instruction): number {
  // The doubled rate of v4 is documented for copies and tensor_scalar, not for the tables of the activation functions.
  const isMove = op === 'tensor_copy' || op === 'tensor_scalar';
  const lanes = isMove && [...inputs, ...out].every(isNarrow) ? core.scalar!.lanes16 : core.scalar!.lanes32;
  return lanes / core.partitions;
}

/**
 * VectorE, cycles per element: v2 takes one element a cycle. From v3 on copies and tensor_scalar run at the full width when all
 * operands are in SBUF and contiguous, at half of it when one is in PSUM or strided; tensor_tensor at twice the rate of v2 when
 * all are 16-bit in SBUF.
 */
function vectorCyclesPerElement(core: CoreSpec, instruction: Instruction): number {
  const data = [...instruction.in.slice(0, 2), ...instruction.out].filter((view) => view.length > 1);
  const narrow = data.every(isNarrow);
  const width = (narrow ? core.vector!.lanes16 : core.vector!.lanes32) / core.partitions;
  switch (instruction.op) {
    case 'tensor_copy':
    case 'tensor_scalar': {
      const atFullWidth = data.every(inSbuf) && data.every(isContiguous);
      return 1 / Math.max(1, atFullWidth ? width : width / 2);
    }
    case 'tensor_tensor': {
      const cycles = tensorTensorCycles(instruction);
      return core.version >= 3 && narrow && data.every(inSbuf) && cycles === 1 ? 1 / 2 : cycles;
    }
    case 'tensor_reduce':
      return narrow ? 1 / 2 : 1;
    case 'memset':
      return instruction.attributes.value === 0 && narrow ? 1 / 2 : 1;
    case 'reciprocal':
      return RECIPROCAL;
    case 'scan':
      return SCAN;
    case 'bn_aggr':
      return BN_AGGREGATE;
    case 'exponential':
      return 1 / core.exponentialSpeedup!;
    case 'quantize_mx':
      return 1 / QUANTIZE_RATE;
    default:
      return 1;
  }
}

/** One operand from each memory, or simple arithmetic on 16 bits, pass at an element a cycle; two others take turns at the port. */
function tensorTensorCycles(instruction: InstructionOf<'tensor_tensor'>): number {
  const [a, b] = instruction.in as readonly [View, View];
  if (inSbuf(a) !== inSbuf(b)) return 1;
  const isSimple = ['add', 'subtract', 'multiply', 'max', 'min'].includes(instruction.attributes.alu);
  return isSimple && [a, b, ...instruction.out].every((view) => isNarrow(view) && inSbuf(view)) ? 1 : 2;
}

/** Elements of the longest run that is contiguous, and how many such runs a partition has. */
function runs(pattern: Pattern): { readonly length: number; readonly count: number } {
  let length = 1;
  let d = pattern.length - 1;
  while (d >= 0 && (pattern[d]![0] === length || pattern[d]![1] === 1)) {
    length *= pattern[d]![1];
    d--;
  }
  let count = 1;
  for (; d >= 0; d--) count *= pattern[d]![1];
  return { length, count };
}

function dmaTiming(core: CoreSpec, instruction: Instruction, dma: DmaRates): InstructionTiming {
  const [out, x] = [instruction.out[0]!, instruction.in[0]!];
  const engines = core.dma!.engines;
  const elements = x.partitions * x.length;
  const bytesOf = (view: View): number => elements * DTYPES[view.dtype].bytes;
  const bytes = Math.max(bytesOf(x), bytesOf(out));
  // A descriptor is a run that is contiguous on both sides; a partition always begins a new one.
  const most = Math.max(...[out, x].map((view) => view.partitions * runs(view.pattern).count));
  const descriptorBytes = bytes / most;
  const engineRate = dma.bandwidth / engines;
  const perDescriptor = Math.max(dma.descriptorTime, descriptorBytes / engineRate);
  const slowdown = instruction.op === 'dma_transpose' ? 1 / transposeRate(core, x) : 1;
  return {
    // Descriptors go round the engines, one of a queue at a time on each. The least time of one is latency: other queues use the
    // engine meanwhile, so it takes the queue but not the engines.
    occupancy: toPicoseconds(Math.ceil(most / engines) * perDescriptor * slowdown),
    service: toPicoseconds(((most * Math.max(BEAT, descriptorBytes)) / dma.bandwidth) * slowdown),
    latency: 0,
    load: 0,
    hbmRead: x.kind === 'hbm' ? bytesOf(x) : 0,
    hbmWritten: out.kind === 'hbm' ? bytesOf(out) : 0,
    macs: 0,
    takesPort: false,
  };
}

function transposeRate({ dma }: CoreSpec, x: View): number {
  return (x.kind === 'hbm' ? dma!.transposeFromHbm : dma!.transposeInSbuf) ?? 1;
}
