/**
 * A lower bound of a plan's step time that needs no tile programs: each operator takes its operations at the highest rate
 * that the model of the machine can give, or its bytes at that of the memory, whichever is longer (their sum in compiled Neuron
 * programs, see `program-time.ts`); collectives take what they take. Both go through the graph and the pipeline's closed form as the step model's times do.
 *
 * A search that skips a plan whose bound is no better than what it has finds exactly what a search of everything finds.
 * Where passes overlap each other, and where the closed form is not monotone in all its arguments (zb-h1, dualpipe), the
 * bound is that of the operators alone, without bubble and collectives.
 */
import type { BytesPerSecond, FlopsPerSecond, Seconds } from '../../base/units.ts';
import { FORMAT_BYTES, operatorWork } from '../../core/operator-work.ts';
import type { OperatorItem } from '../../models/graph.ts';
import { layersBefore } from '../../models/memory.ts';
import { headGraph, type LayerPhase, layerGraph } from '../../models/model-graph.ts';
import { type LayerKind, layerCount } from '../../models/spec.ts';
import { type PipelineWork, pipelineTime, pipelineWork } from '../pipeline/closed-form.ts';
import { graphTime, type ItemClock } from '../training/graph-time.ts';
import { strideOf } from '../training/placement.ts';
import type { StepPlan, TrainingSetup } from '../training/setup.ts';
import type { StepModel } from '../training/step-model.ts';

/** What a rank of the machine does at most per second. */
interface Limits {
  readonly flops: FlopsPerSecond;
  readonly bytes: BytesPerSecond;
  /** It computes while it loads and stores. */
  readonly overlaps: boolean;
}

function limitsOf({ cluster, constants, formats, software }: TrainingSetup): Limits {
  const { chip } = cluster.system;
  // The rate of the widest format that any operator computes in: no narrower one is slower.
  const isNarrow = FORMAT_BYTES[formats.compute] < FORMAT_BYTES[formats.activations];
  const stated = Object.entries(chip.peak).flatMap(([format, rate]) =>
    typeof rate === 'number' && format !== 'sparse' && (isNarrow || format === 'bf16' || format === 'f16')
      ? [rate]
      : [],
  );
  const peak = Math.max(0, ...stated);
  const bytes = chip.memory.bandwidth ?? Infinity;
  if (chip.cores === null) {
    return {
      flops: peak * constants.gpuSustained!,
      bytes: bytes * constants.gpuMemoryEfficiency!,
      overlaps: true,
    };
  }
  const tensor = chip.core?.tensor ?? null;
  // Narrow formats contract up to four times as many rows in a pass.
  const array = tensor === null ? 0 : 2 * tensor.rows * tensor.columns * tensor.clock * chip.cores * (isNarrow ? 4 : 1);
  return {
    flops: Math.max(peak, array) / cluster.ranksPerChip,
    bytes: bytes / cluster.ranksPerChip,
    overlaps: software !== 'compiler',
  };
}

/** Seconds of layers by kind and of the head last, with collectives; and of the operators of both passes together. */
interface PartBounds {
  readonly forward: readonly Seconds[];
  readonly backward: readonly Seconds[];
  readonly operators: readonly Seconds[];
}

export class StepBound {
  readonly #model: StepModel;
  readonly #limits: Limits;
  readonly #layers: number;
  readonly #before: Float64Array;
  readonly #bounds = new Map<string, PartBounds>();
  #work: PipelineWork = pipelineWork(1);

  constructor(model: StepModel) {
    this.#model = model;
    this.#limits = limitsOf(model.setup);
    this.#layers = layerCount(model.setup.model);
    this.#before = layersBefore(model.setup.model, this.#layers);
  }

  #operator = ({ case: operator, repeat }: OperatorItem): Seconds => {
    const { flops, aBytes, bBytes, cBytes } = operatorWork(operator);
    const [compute, memory] = [flops / this.#limits.flops, (aBytes + bBytes + cBytes) / this.#limits.bytes];
    return repeat * (this.#limits.overlaps ? Math.max(compute, memory) : compute + memory);
  };

  #boundsOf(plan: StepPlan): PartBounds {
    const { tp, sp, cp, cpMode, ep, expertTp, microBatch, recompute, placement } = plan;
    const stride = strideOf(placement, plan, 'cp');
    const key = `${tp} ${sp} ${cp} ${cpMode} ${ep} ${expertTp} ${microBatch} ${recompute} ${stride}`;
    let bounds = this.#bounds.get(key);
    if (bounds === undefined) {
      const { model, overlap } = this.#model.setup;
      const step = this.#model.stepOf(plan);
      const options = { pieces: overlap.tensor ? tp : 1, contention: 0 };
      const clock = (kind?: LayerKind): ItemClock => ({
        operator: this.#operator,
        collective: this.#model.itemClock(plan, kind).collective,
      });
      const times = (phase: LayerPhase) => [
        ...model.kinds.map((kind) => graphTime(layerGraph(model, kind, phase, plan, step), clock(kind), options)),
        graphTime(headGraph(model, phase, plan, step), clock(), options),
      ];
      const [forward, backward] = [times('forward'), times('backward')];
      bounds = {
        forward: forward.map(({ time }) => time),
        backward: backward.map(({ time }) => time),
        operators: forward.map(({ compute }, part) => compute + backward[part]!.compute),
      };
      this.#bounds.set(key, bounds);
    }
    return bounds;
  }

  /** Adds up a stage's parts. */
  #sum(bounds: readonly Seconds[], stage: number, stages: number): Seconds {
    let sum = stage === stages - 1 ? bounds.at(-1)! : 0;
    const first = Math.floor((stage * this.#layers) / stages);
    const end = Math.floor(((stage + 1) * this.#layers) / stages);
    for (let kind = 0; kind < bounds.length - 1; kind++) {
      const row = kind * (this.#layers + 1);
      sum += (this.#before[row + end]! - this.#before[row + first]!) * bounds[kind]!;
    }
    return sum;
  }

  /** At most the step time of the plan. */
  of(plan: StepPlan): Seconds {
    const bounds = this.#boundsOf(plan);
    const { pp, interleave, schedule, microBatches } = plan;
    const stages = pp * interleave;
    const isSplit = pp > 1 && (schedule === 'zb-h1' || schedule === 'dualpipe');
    if (!this.#model.setup.overlap.passes && !isSplit) {
      if (this.#work.forward.length < stages) this.#work = pipelineWork(stages);
      const { forward, backward } = this.#work;
      for (let stage = 0; stage < stages; stage++) {
        forward[stage] = this.#sum(bounds.forward, stage, stages);
        backward[stage] = this.#sum(bounds.backward, stage, stages);
      }
      pipelineTime(schedule, pp, interleave, microBatches, this.#work);
      return this.#work.time;
    }
    let slowest = 0;
    for (let device = 0; device < pp; device++) {
      let work = 0;
      for (let stage = device; stage < stages; stage += pp) work += this.#sum(bounds.operators, stage, stages);
      // Half the micro-batches of dualpipe go the other way.
      if (schedule === 'dualpipe') work = (work + this.#sum(bounds.operators, pp - 1 - device, stages)) / 2;
      if (work > slowest) slowest = work;
    }
    return microBatches * slowest;
  }
}
