/**
 * The time of an operator on the cores of a rank: each core runs the tile program of its share (`operator-split.ts`,
 * `operator-program.ts`), and the slowest one is the answer. Cores fill the HBM stacks one after another; those on one stack share
 * its bandwidth. Equal shares are timed once, and every case once.
 *
 * Other makers' accelerators: `accelerator.ts`.
 */
import { expectInteger, ModelError } from '../base/errors.ts';
import type { BytesPerSecond, Seconds } from '../base/units.ts';
import { type Constants, fittedConstants } from '../hardware/fitted.ts';
import type { ChipSpec, CoreSpec } from '../hardware/spec.ts';
import { acceleratorClock } from './accelerator.ts';
import { clockProgram, type ProgramOptions, type ProgramTime } from './clock.ts';
import type { OperatorCase, OperatorClock, OperatorCost } from './operator-case.ts';
import { isBlockScaled, operatorProgram, residentTensors } from './operator-program.ts';
import { splitOperator } from './operator-split.ts';
import { operatorWork } from './operator-work.ts';
import type { Program } from './program.ts';

/** What the largest share does on its core. */
export interface OperatorDetail {
  readonly cost: OperatorCost;
  readonly program: Program;
  readonly programTime: ProgramTime;
  /** What the program was timed with. */
  readonly options: ProgramOptions;
  /** Of one core. */
  readonly hbmBandwidth: BytesPerSecond;
  /** What is not the program's: launch by the host. */
  readonly overhead: Seconds;
}

/**
 * What was timed on a chip: the same for all clocks of a process with the same constants, as a tile program takes milliseconds to
 * compile and run. Dropped with the chip or the constants, and when it is too much.
 */
const timed = new WeakMap<ChipSpec, WeakMap<Constants, Map<string, OperatorCost>>>();
const MOST_KNOWN = 2 ** 16;

function timedOn(chip: ChipSpec, constants: Constants): Map<string, OperatorCost> {
  const byConstants = timed.get(chip) ?? new WeakMap<Constants, Map<string, OperatorCost>>();
  timed.set(chip, byConstants);
  const known = byConstants.get(constants) ?? new Map<string, OperatorCost>();
  byConstants.set(constants, known);
  return known;
}

/** The clock of `cores` NeuronCores of `chip`, or of one accelerator of another maker. */
export function operatorClock(chip: ChipSpec, cores: number, constants: Constants = fittedConstants()): OperatorClock {
  if (chip.cores === null) return acceleratorClock(chip, constants);
  const known = timedOn(chip, constants);
  return (operator) => {
    const key = `${cores} ${JSON.stringify(operator)}`;
    let cost = known.get(key);
    if (cost === undefined) {
      if (known.size >= MOST_KNOWN) known.clear();
      cost = timeOperator(chip, cores, constants, operator).cost;
      known.set(key, cost);
    }
    return cost;
  };
}

/**
 * Times one operator, with the program and the timeline of the core that takes longest.
 * @throws ModelError (UNSUPPORTED) where the chip's engines are not published, or lack the operator's format
 */
export function timeOperator(
  chip: ChipSpec,
  cores: number,
  constants: Constants,
  operator: OperatorCase,
): OperatorDetail {
  const core = programmableCore(chip);
  expectInteger('cores', cores, 1, chip.cores!);
  const { copies = 1, timing = 'device' } = operator;
  if (cores % copies !== 0) throw new RangeError(`"copies" expected a divisor of ${cores} cores, got ${copies}`);
  for (const [name, size] of Object.entries(operator.dims)) expectInteger(name, size, 1);
  const hbmBandwidth = hbmShare(chip, cores, constants);
  const shares = splitOperator(operator, cores / copies).map((share) => {
    const { piece, pieces } = piecesOf(core, share.operator);
    const program = operatorProgram(core, piece);
    const options: ProgramOptions = {
      hbmBandwidth,
      descriptorTime: (constants.dmaLeastTime! * core.dma!.engines) / core.partitions,
      exposedLoad: core.version >= 3 ? constants.exposedLoadV3! : constants.exposedLoadV2!,
      resident: residentTensors(share.operator),
    };
    return { ...share, pieces, program, options, time: clockProgram(program, options) };
  });
  const slowest = shares.reduce((last, share) =>
    share.pieces * share.time.time > last.pieces * last.time.time ? share : last,
  );
  const overhead = timing === 'host' ? constants.hostLaunch! : 0;
  const { pieces } = slowest;
  const { time, busy, bound } = slowest.time;
  // A copy is measured from its first byte on, not from the semaphore that starts it.
  const seconds = (pieces * time) / 1e12 - (operator.op === 'dma-copy' ? (core.dmaStart ?? 0) : 0);
  return {
    cost: {
      time: seconds + overhead,
      bound: overhead > seconds ? 'overhead' : boundName(bound, hbmBandwidth, core),
      busy: Object.fromEntries(
        Object.entries(busy).map(([engine, picoseconds]) => [engine, (pieces * picoseconds) / 1e12]),
      ),
      flops: copies * operatorWork(operator).flops,
      hbmBytes:
        copies *
        shares.reduce(
          (sum, share) => sum + share.cores * share.pieces * (share.time.hbmRead + share.time.hbmWritten),
          0,
        ),
    },
    program: slowest.program,
    programTime: slowest.time,
    options: slowest.options,
    hbmBandwidth,
    overhead,
  };
}

/**
 * The core of a chip, if all that time is charged to is published.
 * @throws ModelError (UNSUPPORTED) that names what is missing
 */
export function programmableCore({ id, core, cores, memory }: ChipSpec): CoreSpec {
  const missing =
    core === null || cores === null
      ? 'NeuronCore clock'
      : [
          core.tensor === null && 'TensorE clock',
          core.vector === null && 'VectorE clock',
          core.scalar === null && 'ScalarE clock',
          core.dma === null && 'DMA bandwidth',
          memory.bandwidth === null && 'HBM bandwidth',
        ].find((name) => name !== false);
  if (core === null || missing !== undefined) {
    throw new ModelError('UNSUPPORTED', id, `expected a chip with a published ${missing} to charge time to, got none`);
  }
  return core;
}

/** Rows of the contraction that the program of a narrow matmul takes: its panel of A covers all of them. */
const NARROW_K = 32768;

/**
 * The programs of 8-bit matmuls have no batch and a limited contraction: several run one after another. Their partial sums
 * are written for each piece.
 */
function piecesOf(core: CoreSpec, operator: OperatorCase): { readonly piece: OperatorCase; readonly pieces: number } {
  const { op, dims, dtype, weightDtype = dtype } = operator;
  const isNarrow =
    (core.tensor?.mxRows != null && isBlockScaled(weightDtype)) || (core.tensor?.fp8Rows != null && dtype === 'fp8');
  if (!isNarrow || (op !== 'matmul' && op !== 'batched-matmul')) return { piece: operator, pieces: 1 };
  const { batch = 1, k = 1 } = dims;
  const parts = Math.ceil(k / NARROW_K);
  if (batch * parts === 1) return { piece: operator, pieces: 1 };
  return { piece: { ...operator, dims: { ...dims, batch: 1, k: Math.ceil(k / parts) } }, pieces: batch * parts };
}

/** Bandwidth of one core: what its DMA engines take, or its share of the stack when the cores before it share that. */
function hbmShare({ memory, cores, core }: ChipSpec, used: number, constants: Constants): BytesPerSecond {
  const stacks = memory.stacks ?? cores!;
  const onStack = Math.min(used, Math.max(1, cores! / stacks));
  return Math.min(core!.dma!.bandwidth, (memory.bandwidth! * constants.hbmEfficiency!) / stacks / onStack);
}

/** DMA engines that are held back by HBM are bound by HBM. */
function boundName(bound: ProgramTime['bound'], hbmBandwidth: BytesPerSecond, core: CoreSpec): string {
  if (bound === 'latency') return 'overhead';
  return bound === 'DMA' && hbmBandwidth < core.dma!.bandwidth ? 'HBM' : bound;
}
