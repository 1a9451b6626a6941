/** One training step as a job: time and where it goes, throughput, memory, energy and cost. */
import type { Bytes } from '../../base/units.ts';
import type { OperandFormat } from '../../core/operator-case.ts';
import type { ChipSpec, PeakFormat } from '../../hardware/spec.ts';
import { modelFlops } from '../../models/flops.ts';
import { checkMemory } from '../../models/memory.ts';
import { type Economics, economics } from '../economics.ts';
import { type PipelineRun, runPipeline } from '../pipeline/engine.ts';
import { pipelineOrder } from '../pipeline/order.ts';
import { type PlanOptions, rankCapacity, stepPlan, type TrainingJobOptions, trainingSetup } from './options.ts';
import { multipliedFormat } from './part-clock.ts';
import { emptyCost, type StepCost, type StepPlan } from './setup.ts';
import { StepModel } from './step-model.ts';

/** Times add up to the step's. Collectives count as far as they are not hidden. */
export interface TrainingBreakdown {
  readonly computeNs: number;
  readonly tensorParallelNs: number;
  readonly contextParallelNs: number;
  readonly expertParallelNs: number;
  /** ZeRO's exchanges in the passes that are longer than the work beside them, and the host between programs. */
  readonly stallNs: number;
  readonly bubbleNs: number;
  readonly gradientsNs: number;
  readonly weightsNs: number;
  readonly optimizerNs: number;
  readonly hostNs: number;
}

/** Of the fullest rank. */
interface TrainingMemoryUse {
  readonly weightsBytes: Bytes;
  readonly gradientsBytes: Bytes;
  readonly optimizerBytes: Bytes;
  readonly activationsBytes: Bytes;
  readonly buffersBytes: Bytes;
  readonly totalBytes: Bytes;
  readonly capacityBytes: Bytes;
  /** Its pipeline stage. */
  readonly stage: number;
}

/** JSON-safe. */
export interface TrainingResult extends Economics {
  readonly schemaVersion: 1;
  readonly fidelity: 'formula';
  readonly model: string;
  readonly system: string;
  readonly nodes: number;
  readonly chips: number;
  readonly ranks: number;
  readonly seq: number;
  readonly globalBatch: number;
  readonly plan: StepPlan;
  readonly stepTimeNs: number;
  readonly sequencesPerS: number;
  readonly tokensPerS: number;
  /** Useful operations / (time x peak of the chips in use); recomputation and masked positions don't count. */
  readonly mfu: number | null;
  readonly mfuReason: string;
  readonly memory: TrainingMemoryUse;
  readonly breakdown: TrainingBreakdown;
  /** Of the whole systems, per million tokens. */
  readonly costPerMTokUsd: number | null;
  readonly energyPerMTokJ: number | null;
}

/** The peak rate that a run in `format` is measured against: the first that the chip states. */
const PEAKS: Readonly<Partial<Record<OperandFormat, readonly PeakFormat[]>>> = {
  f32: ['f32', 'tf32'],
  mxfp8: ['mxfp8', 'fp8'],
  mxfp4: ['mxfp4', 'fp4', 'fp8'],
  nvfp4: ['fp4', 'fp8'],
};

const FP32_AS_TF32: readonly PeakFormat[] = ['tf32', 'f32'];

/** Of a chip, in operations per second; null where nobody states one. */
export function peakRate({ peak, cores }: ChipSpec, format: OperandFormat): number | null {
  // Other makers' accelerators multiply FP32 as TF32 (`core/accelerator.ts`).
  const names = cores === null && format === 'f32' ? FP32_AS_TF32 : (PEAKS[format] ?? [format as PeakFormat]);
  return names.map((name) => peak[name]).find((rate) => typeof rate === 'number') ?? null;
}

/**
 * Evaluates one plan of a job.
 * @throws RangeError or TypeError for a wrong option; ModelError CAPACITY that says by how much memory is over
 */
export function trainStep(job: TrainingJobOptions, options: PlanOptions = {}): TrainingResult {
  const setup = trainingSetup(job);
  const plan = stepPlan(setup, options);
  return describeStep(new StepModel(setup), plan);
}

/** Passes that are run to draw a pipeline: more micro-batches look the same. */
const DRAWN_PASSES = 1 << 16;

/**
 * The events of a step's pipeline, of at most 2^16 passes: the first micro-batches.
 * @throws RangeError or TypeError for a wrong option
 */
export function pipelineRun(job: TrainingJobOptions, options: PlanOptions = {}): PipelineRun {
  const setup = trainingSetup(job);
  const plan = stepPlan(setup, options);
  const { pp, interleave, schedule, microBatches } = plan;
  const rounds = Math.max(4, Math.floor(DRAWN_PASSES / (3 * pp * pp * interleave)));
  const shape = { schedule, devices: pp, chunks: interleave, microBatches: Math.min(microBatches, rounds * pp) };
  return runPipeline(pipelineOrder(shape), new StepModel(setup).stageTimes(plan));
}

/** The result for a plan that is possible. */
function describeStep(model: StepModel, plan: StepPlan): TrainingResult {
  const { setup } = model;
  const cost = emptyCost();
  model.evaluate(plan, cost);
  const capacityBytes = rankCapacity(setup.cluster);
  checkMemory(cost.memory, capacityBytes);
  const { cluster, seq, globalBatch } = setup;
  const { system, nodes, chips, ranks } = cluster;
  const tokens = globalBatch * seq;
  const format = multipliedFormat(setup);
  const peak = peakRate(system.chip, format);
  const flops = modelFlops(setup.model, globalBatch, seq).training;
  const money = economics(system, nodes, cost.step);
  const perMTok = (value: number | null) => (value === null ? null : (value / tokens) * 1e6);
  const { weights, gradients, optimizer, activations, buffers, total, stage } = cost.memory;
  return {
    schemaVersion: 1,
    fidelity: 'formula',
    model: setup.model.name,
    system: system.id,
    nodes,
    chips,
    ranks,
    seq,
    globalBatch,
    plan,
    stepTimeNs: cost.step * 1e9,
    sequencesPerS: globalBatch / cost.step,
    tokensPerS: tokens / cost.step,
    mfu: peak === null ? null : flops / (cost.step * chips * peak),
    mfuReason:
      peak === null
        ? `no peak rate of ${system.chip.id} for ${format} is published`
        : `against ${peak / 1e12} TFLOP/s a chip (${format}), masked positions and recomputation not counted`,
    memory: {
      weightsBytes: weights,
      gradientsBytes: gradients,
      optimizerBytes: optimizer,
      activationsBytes: activations,
      buffersBytes: buffers,
      totalBytes: total,
      capacityBytes,
      stage,
    },
    breakdown: breakdownOf(model, plan, cost),
    ...money,
    costPerMTokUsd: perMTok(money.costUsd),
    energyPerMTokJ: perMTok(money.energyJ),
  };
}

/** Where the time of an evaluated plan goes. */
export function breakdownOf(model: StepModel, plan: StepPlan, cost: StepCost): TrainingBreakdown {
  const { compute, exposed } = model.slowestDevice(plan);
  const ns = 1e9;
  const times = plan.microBatches * ns;
  const spent = compute + exposed.tp + exposed.etp + exposed.cp + exposed.ep;
  // Where passes overlap each other, less is spent than each takes alone.
  const share = Math.min(1, cost.work / (plan.microBatches * spent));
  return {
    computeNs: times * share * compute,
    tensorParallelNs: times * share * (exposed.tp + exposed.etp),
    contextParallelNs: times * share * exposed.cp,
    expertParallelNs: times * share * exposed.ep,
    stallNs: Math.max(0, ns * cost.work - times * spent),
    bubbleNs: ns * cost.bubble,
    gradientsNs: ns * cost.gradients,
    weightsNs: ns * cost.weights,
    optimizerNs: ns * cost.optimizer,
    hostNs: ns * cost.host,
  };
}
