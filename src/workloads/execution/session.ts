/**
 * A training step on a machine, ready to run: the program cut over tp x dp ranks, its time, its memory, and an executor. What
 * does not fit, in the chips' memory or in that of the kernels, is refused here, before anything is computed.
 */
import { expectInteger, expectOneOf, ModelError } from '../../base/errors.ts';
import type { Bytes } from '../../base/units.ts';
import { operatorClock } from '../../core/operator-clock.ts';
import type { Cluster } from '../../fabric/cluster.ts';
import type { SystemSpec } from '../../hardware/spec.ts';
import { DTYPES, MAX_ARENA_BYTES } from '../../kernels/index.ts';
import { createCluster } from '../../machine/cluster.ts';
import { placeInHbm } from '../../machine/memory.ts';
import { type RankOptions, rankLayout } from '../../machine/ranks.ts';
import { type Exchanges, exchangesOn } from '../exchange.ts';
import { type ProgramTiming, timeProgram } from './clock.ts';
import { type BitFlip, Executor, type ExecutorOptions } from './executor.ts';
import { type ProgramMemory, programMemory } from './memory.ts';
import { elementsOf } from './program.ts';
import { buildStep, type StepOptions, type StepProgram } from './transformer.ts';

export interface SessionOptions
  extends StepOptions,
    Omit<RankOptions, 'ranks'>,
    Pick<ExecutorOptions, 'seed' | 'rounding'> {
  readonly system: SystemSpec;
  /** Checked here; given to `start`. */
  readonly flip?: BitFlip;
}

export interface Session {
  readonly cluster: Cluster;
  readonly step: StepProgram;
  readonly exchanges: Exchanges;
  /** Physical cores of a rank. */
  readonly coresPerRank: number;
  readonly timing: ProgramTiming;
  readonly memory: ProgramMemory & { readonly chipBytes: Bytes; readonly chipCapacityBytes: Bytes };
  /** A fresh one, with the weights as they are made. */
  readonly start: (flip?: BitFlip) => Executor;
}

/** What an arena needs beside the values: FP32 copies of an operator's operands and results, packed blocks, scratch. */
const SCRATCH_BYTES = 2 ** 26;

/**
 * @throws RangeError for an option that the model or the machine does not have; ModelError (CAPACITY) for what does not fit
 */
export function openSession(options: SessionOptions): Session {
  const { system, tp, dp, rank, lnc, seed, rounding, flip } = options;
  const cluster = createCluster(system, {
    ranks: tp * dp,
    ...(rank && { rank }),
    ...(lnc !== undefined && { lnc }),
  });
  const step = buildStep(options);
  const memory = programMemory(step.program);
  const { chipBytes, capacity } = placeInHbm(cluster, memory.persistentBytes + memory.activationBytes);
  checkKernelMemory(step);
  if (flip) checkFlip(flip, step);
  const exchanges = exchangesOn(cluster);
  const { coresPerRank } = rankLayout(system.chip, options);
  return {
    cluster,
    step,
    exchanges,
    coresPerRank,
    timing: timeProgram(step.program, operatorClock(system.chip, coresPerRank), exchanges),
    memory: { ...memory, chipBytes, chipCapacityBytes: capacity },
    start: (hit) => new Executor(step, exchanges, { seed, rounding, ...(hit && { flip: hit }) }),
  };
}

/** @throws ModelError (CAPACITY) if the tensors of all ranks do not fit in one WebAssembly memory */
export function checkKernelMemory({ program, options }: StepProgram): void {
  const { persistentBytes, activationBytes, operatorElements } = programMemory(program);
  const ranks = program.tp * program.dp;
  const needed = ranks * (persistentBytes + activationBytes) + 4 * operatorElements + SCRATCH_BYTES;
  if (needed <= MAX_ARENA_BYTES) return;
  const what = `${options.layers} layers in ${options.dtype} over ${ranks} ranks, which need ${needed}`;
  throw new ModelError(
    'CAPACITY',
    'layers',
    `expected a step of at most ${MAX_ARENA_BYTES} bytes in the kernels' memory, got ${what}`,
  );
}

function checkFlip({ target, rank, element, bit }: BitFlip, { parameters, program, options }: StepProgram): void {
  const { layers, edges } = parameters;
  const buckets = edges ? [...layers, edges] : layers;
  const elements = buckets.reduce((sum, { weights }) => sum + elementsOf(weights), 0);
  expectOneOf('flip.target', target, options.backward ? ['weights', 'gradients'] : ['weights']);
  expectInteger('flip.rank', rank, 0, program.tp * program.dp - 1);
  expectInteger('flip.element', element, 0, elements - 1);
  expectInteger('flip.bit', bit, 0, 8 * DTYPES[options.dtype].bytes - 1);
}
