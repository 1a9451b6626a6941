/**
 * A lower bound of a plan's step time that needs no tables: the operations of its matmuls, padding and recomputation
 * included, at the highest rate that the model of the machine can give, through the pipeline's closed form.
 *
 * A search that skips a plan whose bound is no better than what it has finds exactly what a search of everything finds.
 * Schedules whose closed form is not monotone in all its arguments get their work without the bubble.
 */
import type { FlopsPerSecond, Seconds } from '../../base/units.ts';
import { graphFlops } from '../../models/builder.ts';
import type { LayerPhase } from '../../models/model-graph.ts';
import { headGraph, layerGraph } from '../../models/model-graph.ts';
import { layersBefore } from '../../models/memory.ts';
import { layerCount } from '../../models/spec.ts';
import { type PipelineWork, pipelineTime, pipelineWork } from '../pipeline/closed-form.ts';
import type { StepPlan, TrainingSetup } from '../training/setup.ts';
import type { StepModel } from '../training/step-model.ts';

/** What a rank of the machine computes at most per second. */
function highestRate({ cluster, constants, formats }: TrainingSetup): FlopsPerSecond {
  const { chip } = cluster.system;
  const rates = [formats.compute, formats.activations].map((format) => chip.peak[format as 'bf16'] ?? 0);
  const documented = Math.max(...rates, ...Object.values(chip.peak).map((rate) => (formats.compute === 'bf16' ? 0 : (rate ?? 0))));
  if (chip.cores === null) return documented * constants.gpuMatmulEfficiency! * constants.gpuSustained!;
  const { tensor } = chip.core ?? { tensor: null };
  const array = tensor === null ? 0 : 2 * tensor.rows * tensor.columns * tensor.clock * chip.cores;
  return (Math.max(documented, array) * constants.neuronCompiledEfficiency!) / cluster.ranksPerChip;
}

export class StepBound {
  readonly #model: StepModel;
  readonly #rate: FlopsPerSecond;
  readonly #layers: number;
  readonly #before: Float64Array;
  /** Seconds of layers by kind and of the head, forward then backward, by cut. */
  readonly #times = new Map<string, Float64Array>();
  #work: PipelineWork = pipelineWork(1);

  constructor(model: StepModel) {
    this.#model = model;
    this.#rate = highestRate(model.setup);
    this.#layers = layerCount(model.setup.model);
    this.#before = layersBefore(model.setup.model, this.#layers);
  }

  #timesOf(plan: StepPlan): Float64Array {
    const key = `${plan.tp} ${plan.cp} ${plan.cpMode} ${plan.ep} ${plan.expertTp} ${plan.microBatch} ${plan.recompute}`;
    let times = this.#times.get(key);
    if (times === undefined) {
      const { model } = this.#model.setup;
      const step = this.#model.stepOf(plan);
      const phases: readonly LayerPhase[] = ['forward', 'backward'];
      const seconds = phases.flatMap((phase) =>
        [
          ...model.kinds.map((kind) => layerGraph(model, kind, phase, plan, step)),
          headGraph(model, phase, plan, step),
        ].map((graph) => graphFlops(graph).hardware / this.#rate),
      );
      times = Float64Array.from(seconds);
      this.#times.set(key, times);
    }
    return times;
  }

  /** At most the step time of the plan. */
  of(plan: StepPlan): Seconds {
    const times = this.#timesOf(plan);
    const parts = times.length / 2;
    const { pp, interleave, schedule, microBatches } = plan;
    const stages = pp * interleave;
    if (this.#work.forward.length < stages) this.#work = pipelineWork(stages);
    const { forward, backward } = this.#work;
    for (let stage = 0; stage < stages; stage++) {
      const isLast = stage === stages - 1;
      forward[stage] = isLast ? times[parts - 1]! : 0;
      backward[stage] = isLast ? times[2 * parts - 1]! : 0;
      const first = Math.floor((stage * this.#layers) / stages);
      const end = Math.floor(((stage + 1) * this.#layers) / stages);
      for (let kind = 0; kind < parts - 1; kind++) {
        const row = kind * (this.#layers + 1);
        const count = this.#before[row + end]! - this.#before[row + first]!;
        forward[stage]! += count * times[kind]!;
        backward[stage]! += count * times[parts + kind]!;
      }
    }
    const isMonotone = schedule === '1f1b' || schedule === 'interleaved' || schedule === 'gpipe';
    if (isMonotone && !this.#model.setup.overlap.passes) {
      return pipelineTime(schedule, pp, interleave, microBatches, this.#work);
    }
    let slowest = 0;
    for (let device = 0; device < pp; device++) {
      let work = 0;
      for (let stage = device; stage < stages; stage += pp) work += forward[stage]! + backward[stage]!;
      const mirror = pp - 1 - device;
      // Half the micro-batches of dualpipe go the other way.
      if (schedule === 'dualpipe' && pp > 1) work = (work + forward[mirror]! + backward[mirror]!) / 2;
      if (work > slowest) slowest = work;
    }
    return microBatches * slowest;
  }
}
