/**
 * Time of an operator on the cores of one rank, fidelity `formula`: every engine is busy for the elements that pass
 * through it and for the static overhead of an instruction, the engines and the DMA overlap perfectly, and the last of
 * them to end bounds the operator:
 *
 *     t = max(DMA, engine + static overhead, for each engine in use) + (DMA start, if HBM is touched)
 *
 *     TensorE   ceil(K/128) * min(ceil(M/128) * moving(N), ceil(N/128) * moving(M)) * passes cycles,
 *               moving(x) = sum over tiles of 512 of max(64, tile): stationary 128 x 128, moving 128 x 512,
 *               passes 4 for f32 and 1 for bf16                 see: Neuron NKI guide, architecture of NeuronCore-v2/v3/v4
 *     VectorE   elements / lanes per pass, of the operator's passes (table below); so does ScalarE
 *     DMA       HBM bytes / min(cores * effective DMA bandwidth of a core, the rank's share of the HBM bandwidth)
 *
 * Leaves out: queues and semaphores between instructions, the clock ramp of TensorE, bank conflicts, descriptors of
 * less than 4 KiB, HBM traffic of the other ranks beyond their equal share. Masked scores of attention are computed.
 */
import { ModelError } from '../base/errors.ts';
import type { BytesPerSecond, Seconds } from '../base/units.ts';
import type { ChipSpec, CoreSpec } from '../hardware/spec.ts';
import { type Operator, operatorFlops } from './operator.ts';

export type Engine = 'TensorE' | 'VectorE' | 'ScalarE' | 'DMA';
export const ENGINES: readonly Engine[] = ['TensorE', 'VectorE', 'ScalarE', 'DMA'];

export interface OperatorCost {
  readonly time: Seconds;
  readonly bound: Engine;
  /** How long each engine works; the rest of `time` it waits. */
  readonly busy: Readonly<Record<Engine, Seconds>>;
  readonly flops: number;
}

/** The cores of one rank, all that the formulas need of them. */
export interface RankEngines {
  readonly cores: number;
  readonly core: CoreSpec;
  readonly hbmBandwidth: BytesPerSecond;
}

/** Columns of a stationary tile, moving columns at once, and the least cycles between two matmul instructions. */
const STATIONARY = 128;
const MOVING = 512;
const MOVING_LEAST = 64;

/**
 * Times that each element passes through VectorE and ScalarE. A matmul's results leave PSUM through VectorE, once.
 *   rmsnorm  VectorE: square and sum; times gamma.  ScalarE: times 1 / rms
 *   rope     VectorE: x cos; rotated x sin; their sum
 *   softmax  VectorE: row maximum; times 1 / sum.   ScalarE: exponential with row sum
 *   swiglu   VectorE: times up.                     ScalarE: silu
 */
const PASSES: Readonly<Record<Operator['kind'], { readonly vector: number; readonly scalar: number }>> = {
  matmul: { vector: 1, scalar: 0 },
  rmsnorm: { vector: 2, scalar: 1 },
  rope: { vector: 3, scalar: 0 },
  softmax: { vector: 2, scalar: 1 },
  swiglu: { vector: 1, scalar: 1 },
  add: { vector: 1, scalar: 0 },
};

/**
 * The engines of a rank of `cores` NeuronCores on `chip`.
 * @throws ModelError with code UNSUPPORTED if the chip's engines are not published.
 */
export function rankEngines(chip: ChipSpec, cores: number): RankEngines {
  const { core, memory } = chip;
  const missing =
    core === null
      ? 'NeuronCore clock'
      : [
          core.tensor === null && 'TensorE clock',
          core.vector === null && 'VectorE clock',
          core.scalar === null && 'ScalarE clock',
          core.dma === null && 'DMA bandwidth',
          memory.bandwidth === null && 'HBM bandwidth',
        ].find((name) => name !== false);
  if (core === null || missing !== undefined) {
    throw new ModelError(
      'UNSUPPORTED',
      chip.id,
      `expected a chip with a published ${missing} to charge time to, got none`,
    );
  }
  const share = (memory.bandwidth! * cores) / chip.cores!;
  return { cores, core, hbmBandwidth: Math.min(cores * core.dma!.bandwidth, share) };
}

function moving(columns: number): number {
  const whole = Math.floor(columns / MOVING);
  const rest = columns % MOVING;
  return whole * MOVING + (rest > 0 ? Math.max(MOVING_LEAST, rest) : 0);
}

/** Cycles of one [m, k] x [k, n] on one core, whichever operand is better kept stationary. */
function matmulCycles(m: number, k: number, n: number, passes: number): number {
  const overM = Math.ceil(m / STATIONARY) * moving(n);
  const overN = Math.ceil(n / STATIONARY) * moving(m);
  return Math.ceil(k / STATIONARY) * Math.min(overM, overN) * passes;
}

/** Cycles of the slowest core when `cores` share a batch of matmuls: the best split over problems, rows and columns. */
function sharedMatmulCycles({ batch, m, k, n }: Operator, cores: number, passes: number): number {
  let best = Infinity;
  for (let overBatch = 1; overBatch <= Math.min(cores, batch); overBatch++) {
    for (let overM = 1; overM * overBatch <= cores; overM++) {
      const overN = Math.floor(cores / (overBatch * overM));
      const cycles = matmulCycles(Math.ceil(m / overM), k, Math.ceil(n / overN), passes);
      best = Math.min(best, Math.ceil(batch / overBatch) * cycles);
    }
  }
  return best;
}

/** Cycles of one pass of an engine with `lanes` per core. Rows lie over the partitions, so a row is never split. */
function passCycles({ kind, batch, m, n }: Operator, { cores, core }: RankEngines, lanes: number): number {
  const perPartition = lanes / core.partitions;
  const isRowWise = kind === 'rmsnorm' || kind === 'softmax';
  if (!isRowWise) return Math.ceil((batch * m * n) / (cores * lanes));
  const rowsOfCore = Math.ceil((batch * m) / cores);
  return Math.ceil(rowsOfCore / core.partitions) * Math.ceil(n / perPartition);
}

/** Time of one operator on the cores of a rank; `is16Bit` as its operands are. */
export function operatorCost(operator: Operator, engines: RankEngines, is16Bit: boolean): OperatorCost {
  const { cores, core, hbmBandwidth } = engines;
  const { tensor, vector, scalar } = core;
  if (tensor === null || vector === null || scalar === null)
    throw new TypeError('"engines" expected those of rankEngines');
  const passes = PASSES[operator.kind];
  // Results in PSUM are FP32 whatever the operands are.
  const vectorLanes = is16Bit && operator.kind !== 'matmul' ? vector.lanes16 : vector.lanes32;
  const scalarLanes = is16Bit ? scalar.lanes16 : scalar.lanes32;
  const tensorCycles = operator.kind === 'matmul' ? sharedMatmulCycles(operator, cores, is16Bit ? 1 : 4) : 0;
  const busy: Record<Engine, Seconds> = {
    TensorE: tensorCycles / tensor.clock,
    VectorE: (passes.vector * passCycles(operator, engines, vectorLanes)) / vector.clock,
    ScalarE: (passes.scalar * passCycles(operator, engines, scalarLanes)) / scalar.clock,
    DMA: operator.hbmBytes / hbmBandwidth,
  };
  // The overhead belongs inside the maximum: added to the slowest engine's time alone, an operator that grows would get
  // faster where the bound passes from a slow clock to a fast one.
  const clocks = { TensorE: tensor.clock, VectorE: vector.clock, ScalarE: scalar.clock, DMA: Infinity };
  const until = (engine: Engine): Seconds =>
    busy[engine] > 0 ? busy[engine] + (core.staticOverhead ?? 0) / clocks[engine] : 0;
  const bound = ENGINES.reduce((last, engine) => (until(engine) > until(last) ? engine : last));
  const dmaStart = operator.hbmBytes > 0 ? (core.dmaStart ?? 0) : 0;
  return { time: until(bound) + dmaStart, bound, busy, flops: operatorFlops(operator) };
}
