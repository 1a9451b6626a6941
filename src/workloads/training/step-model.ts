/**
 * The time and memory of a training step for any plan of one job: tables of what plans share, filled when first needed, and
 * an evaluation that looks up, adds and allocates nothing.
 *
 *     step = pipeline (m micro-batches) + exposed gradients + optimizer + exposed weights + host
 *
 *     stage        sum of its layers' graph times (`graph-time.ts`), forward and backward; the first one with the embedding,
 *                  the last one with the head
 *     pipeline     closed form of the schedule (`pipeline/closed-form.ts`)
 *     ZeRO 2, 3    gradients are scattered in every backward pass, and with 3 weights gathered in every pass, one layer ahead: a
 *                  pass is as long as the longer of its work and that queue
 *     ZeRO 0, 1    gradients are reduced in the last backward pass, bucket by bucket (a layer's), or after it
 *     weights      ZeRO 1, 2: gathered during the next forward pass, or before it
 *     optimizer    one pass over the states of the device with most parameters
 *     host         NeuronCores: between the programs of a pipeline's passes, and between steps
 *
 * Leaves out: congestion between dimensions that share links, the sum of a tied embedding's two gradients, clipping.
 */
import type { Bytes, Seconds } from '../../base/units.ts';
import { FORMAT_BYTES } from '../../core/operator-work.ts';
import type { Step } from '../../models/graph.ts';
import {
  layersBefore,
  type MemoryUse,
  type PreparedMemory,
  prepareTrainingMemory,
  trainingMemory,
} from '../../models/memory.ts';
import { layerParameters } from '../../models/parameters.ts';
import { rankEdgeParameters } from '../../models/shard.ts';
import { type LayerKind, layerCount } from '../../models/spec.ts';
import { type PipelineWork, pipelineTime, pipelineWork } from '../pipeline/closed-form.ts';
import type { StageTimes } from '../pipeline/engine.ts';
import { type ByDimension, DIMENSIONS, type ItemClock } from './graph-time.ts';
import { beside, expertReplicas, exposed, stagesOf } from './overlap.ts';
import { PartTables, type PartTimes, type SharedTables } from './part-times.ts';
import { PLACEMENTS } from './placement.ts';
import { gatheringTime, type PartExchanges, partExchanges, reductionTime } from './replicas.ts';
import type { StepCost, StepPlan, TrainingSetup } from './setup.ts';

/** What depends on how weights are cut: parameters of each part on a rank, and the tables below it. */
interface CutTable {
  readonly dense: Float64Array;
  readonly experts: Float64Array;
  readonly steps: Map<number, PartTimes>;
  /** By pipeline, then by data-parallel degree. */
  readonly exchanges: Map<number, Map<number, PartExchanges>>;
}

/** Side of the square of parameters that the optimizer's rate is measured with. */
const ADAM_SIDE = 4096;
const DEVICE_SUMS = 5;

export class StepModel {
  readonly setup: TrainingSetup;
  readonly #memory: PreparedMemory;
  readonly #parts: PartTables;
  readonly #kinds: number;
  readonly #layers: number;
  readonly #before: Float64Array;
  readonly #gradientBytes: Bytes;
  readonly #weightBytes: Bytes;
  readonly #expertBytes: Bytes;
  /** By degrees, then by degrees of the experts. */
  readonly #cuts = new Map<number, Map<number, CutTable>>();
  readonly #adamPerParameter: Seconds;
  #work: PipelineWork = pipelineWork(1);
  /** Of the device at hand: parameters, those of experts, buckets, and seconds of reducing and gathering. See `#exchange`. */
  readonly #device = new Float64Array(DEVICE_SUMS);

  /** `shared`: clocks and graphs of models of the same job with other constants, which those don't depend on. */
  constructor(setup: TrainingSetup, shared: Partial<SharedTables> = {}) {
    const { model, seq, stateBytes, formats, dropout, flash, expertSkew } = setup;
    this.setup = setup;
    this.#memory = prepareTrainingMemory(model, { seq, stateBytes, formats, dropout, flash, expertSkew });
    this.#parts = new PartTables(setup, shared);
    this.#kinds = model.kinds.length;
    this.#layers = layerCount(model);
    this.#before = layersBefore(model, this.#layers);
    this.#gradientBytes = FORMAT_BYTES[formats.gradients];
    this.#weightBytes = FORMAT_BYTES[formats.weights];
    this.#expertBytes = FORMAT_BYTES[formats.expertWeights];
    this.#adamPerParameter = this.#adamRate();
  }

  /** Time of the update of one parameter: bound by memory, so in proportion to what is moved (see `optimizerGraph`). */
  #adamRate(): Seconds {
    const dims = { rows: ADAM_SIDE, cols: ADAM_SIDE };
    const time = this.#parts.operator({ op: 'adamw', dims, dtype: 'f32' });
    const moved = this.#gradientBytes + 2 * this.setup.stateBytes + this.#weightBytes;
    return (time / (ADAM_SIDE * ADAM_SIDE)) * (moved / (5 * FORMAT_BYTES.f32));
  }

  #cut(plan: StepPlan): CutTable {
    const { tp, cp, ep, expertTp, placement, sp, cpMode } = plan;
    // Two small integers: one large number would be allocated.
    const degrees =
      (((tp * 4096 + cp) * PLACEMENTS.length + PLACEMENTS.indexOf(placement)) * 2 + (sp ? 1 : 0)) * 2 +
      (cpMode === 'ring' ? 0 : 1);
    let byExperts = this.#cuts.get(degrees);
    if (byExperts === undefined) {
      byExperts = new Map();
      this.#cuts.set(degrees, byExperts);
    }
    // How far apart the ranks of context parallelism are depends on the stages and replicas between them.
    const between = cp === 1 || placement.startsWith('tp-cp') ? 0 : plan.pp;
    const key = between * 2 ** 24 + ep * 4096 + expertTp;
    let table = byExperts.get(key);
    if (table === undefined) {
      table = this.#newCut(plan);
      byExperts.set(key, table);
    }
    return table;
  }

  #newCut(plan: StepPlan): CutTable {
    const { model } = this.setup;
    const edges = rankEdgeParameters(model, plan.tp);
    const layers = model.kinds.map((kind) => layerParameters(model, kind, plan));
    return {
      dense: Float64Array.from([...layers.map(({ total, experts }) => total - experts), edges.embedding, edges.head]),
      experts: Float64Array.from([...layers.map(({ experts }) => experts), 0, 0]),
      steps: new Map(),
      exchanges: new Map(),
    };
  }

  /** Times of the parts for a plan's cut and micro-batch. */
  parts(plan: StepPlan, table: CutTable = this.#cut(plan)): PartTimes {
    return this.#parts.of(plan, table.steps);
  }

  /** The step of a plan's micro-batch as operator graphs know it. */
  stepOf(plan: StepPlan): Step {
    return this.#parts.stepOf(plan);
  }

  /** The clock of the items of a layer of `kind`, or of embedding and head. */
  itemClock(plan: StepPlan, kind?: LayerKind): ItemClock {
    return this.#parts.itemClock(plan, kind);
  }

  #exchangesOf({ exchanges }: CutTable, plan: StepPlan): PartExchanges {
    let byDegree = exchanges.get(plan.pp);
    if (byDegree === undefined) {
      byDegree = new Map();
      exchanges.set(plan.pp, byDegree);
    }
    let found = byDegree.get(plan.dp);
    if (found === undefined) {
      found = partExchanges(this.setup.cluster, this.#parts.collectives, plan, this.#kinds + 2);
      byDegree.set(plan.dp, found);
    }
    return found;
  }

  /** How many of a part lie in virtual stage `stage` of `stages`: layers as `trainingMemory` deals them. */
  #count(part: number, stage: number, stages: number): number {
    if (part === this.#kinds) return stage === 0 ? 1 : 0;
    if (part > this.#kinds) return stage === stages - 1 ? 1 : 0;
    const row = part * (this.#layers + 1);
    const first = Math.floor((stage * this.#layers) / stages);
    const end = Math.floor(((stage + 1) * this.#layers) / stages);
    return this.#before[row + end]! - this.#before[row + first]!;
  }

  /** Finds the exchanges of each part that the plan needs. Apart from where they are summed up: a call's numbers are allocated. */
  #findExchanges({ zero }: StepPlan, { dense, experts }: CutTable, over: PartExchanges): void {
    const isBucketed = this.setup.overlap.gradients;
    const gradients = zero === 0 ? over.reduced : over.scattered;
    for (let part = 0; part < this.#kinds + 2; part++) {
      if ((isBucketed || zero >= 2) && Number.isNaN(gradients[part]!)) {
        const bytes = this.#gradientBytes;
        gradients[part] = reductionTime(over, zero, dense[part]! * bytes, experts[part]! * bytes);
      }
      if ((isBucketed ? zero >= 1 : zero === 3) && Number.isNaN(over.gathered[part]!)) {
        over.gathered[part] = gatheringTime(over, dense[part]! * this.#weightBytes, experts[part]! * this.#expertBytes);
      }
    }
  }

  /** Fills the work of the virtual stages. */
  #fillWork(plan: StepPlan, parts: PartTimes, over: PartExchanges, stages: number): PipelineWork {
    const { overlap, constants } = this.setup;
    const { zero } = plan;
    if (this.#work.forward.length < stages) this.#work = pipelineWork(stages);
    const work = this.#work;
    const contention = constants.overlapContention!;
    work.hop = this.#parts.hop(plan, parts);
    for (let stage = 0; stage < stages; stage++) {
      let forward = 0;
      let backward = 0;
      let input = 0;
      let weight = 0;
      let compute = 0;
      let communication = 0;
      let reduce = 0;
      let gather = 0;
      for (let part = 0; part < this.#kinds + 2; part++) {
        const count = this.#count(part, stage, stages);
        if (count === 0) continue;
        const [ahead, back] = [parts.forward[part]!, parts.backward[part]!];
        forward += count * ahead.time;
        backward += count * back.time;
        compute += count * (ahead.compute + back.compute);
        communication += count * (ahead.communication + back.communication);
        if (parts.split !== null) {
          input += count * parts.split.input[part]!.time;
          weight += count * parts.split.weight[part]!.time;
        }
        if (zero >= 2) reduce += count * over.scattered[part]!;
        if (zero === 3) gather += count * over.gathered[part]!;
      }
      // The longer of the two queues, and what the shorter one takes from it.
      const queue = communication + 2 * gather + reduce;
      const pair = Math.max(forward, backward, compute + contention * Math.min(compute, queue), queue);
      work.forward[stage] = beside(forward, gather, contention);
      work.backward[stage] = beside(backward, gather + reduce, contention);
      work.input[stage] = beside(input, gather, contention);
      work.weight[stage] = beside(weight, reduce, contention);
      work.pair[stage] = Math.min(pair, work.forward[stage]! + work.backward[stage]!);
      // Outside of dualpipe the steady state alternates the two: what a pair saves is taken off the backward pass.
      if (overlap.passes && plan.schedule !== 'dualpipe') {
        work.backward[stage] = work.pair[stage]! - work.forward[stage]!;
      }
    }
    return work;
  }

  /** Sums up what a device of the pipeline holds and exchanges, into `#device`. */
  #exchange(plan: StepPlan, table: CutTable, over: PartExchanges, device: number, stages: number): void {
    const { zero } = plan;
    const isBucketed = this.setup.overlap.gradients;
    const isDual = plan.schedule === 'dualpipe' && plan.pp > 1;
    const chunks = isDual ? 2 : stages / plan.pp;
    let dense = 0;
    let experts = 0;
    let buckets = 0;
    let reduce = 0;
    let gather = 0;
    for (let chunk = 0; chunk < chunks; chunk++) {
      const stage = isDual && chunk === 1 ? plan.pp - 1 - device : chunk * plan.pp + device;
      for (let part = 0; part < this.#kinds + 2; part++) {
        const count = this.#count(part, stage, stages);
        if (count === 0) continue;
        dense += count * table.dense[part]!;
        experts += count * table.experts[part]!;
        if (!isBucketed) continue;
        buckets += count;
        if (zero < 2) reduce += count * (zero === 0 ? over.reduced[part]! : over.scattered[part]!);
        if (zero === 1 || zero === 2) gather += count * over.gathered[part]!;
      }
    }
    if (!isBucketed) {
      const bytes = this.#gradientBytes;
      if (zero < 2) reduce = reductionTime(over, zero, dense * bytes, experts * bytes);
      if (zero === 1 || zero === 2) {
        gather = gatheringTime(over, dense * this.#weightBytes, experts * this.#expertBytes);
      }
    }
    const sums = this.#device;
    sums[0] = dense;
    sums[1] = experts;
    sums[2] = buckets;
    sums[3] = reduce;
    sums[4] = gather;
  }

  /** Writes what the fullest rank of `plan` holds into `out`: needs no tables. */
  memory(plan: StepPlan, out: MemoryUse): void {
    trainingMemory(this.#memory, plan, out);
  }

  /** Times of the virtual stages of a plan, as the event engine takes them. */
  stageTimes(plan: StepPlan): StageTimes {
    const table = this.#cut(plan);
    const stages = stagesOf(plan);
    const over = this.#exchangesOf(table, plan);
    this.#findExchanges(plan, table, over);
    const work = this.#fillWork(plan, this.parts(plan, table), over, stages);
    const { forward, backward, input, weight, pair, hop } = work;
    const copy = (times: Float64Array) => times.slice(0, stages);
    return {
      forward: copy(forward),
      backward: copy(backward),
      input: copy(input),
      weight: copy(weight),
      pair: copy(pair),
      hop,
    };
  }

  /** Forward and backward pass of one micro-batch on the slowest device: computing, and exposed collectives of the layers. */
  slowestDevice(plan: StepPlan): { readonly compute: Seconds; readonly exposed: ByDimension } {
    const parts = this.parts(plan);
    const stages = stagesOf(plan);
    const devices = Array.from({ length: plan.pp }, (_, device) => {
      const exposed = { tp: 0, ep: 0, etp: 0, cp: 0, dp: 0, edp: 0, pp: 0 };
      let time = 0;
      for (let stage = device; stage < stages; stage += plan.pp) {
        for (let part = 0; part < this.#kinds + 2; part++) {
          const count = this.#count(part, stage, stages);
          for (const graph of [parts.forward[part]!, parts.backward[part]!]) {
            time += count * graph.time;
            for (const dimension of DIMENSIONS) exposed[dimension] += count * graph.exposed[dimension];
          }
        }
      }
      const waiting = DIMENSIONS.reduce((sum, dimension) => sum + exposed[dimension], 0);
      return { time, compute: time - waiting, exposed };
    });
    return devices.reduce((slowest, device) => (device.time > slowest.time ? device : slowest));
  }

  /** Writes the cost of `plan` into `out`. The plan is taken to be possible: see `whyNotPossible`. */
  evaluate(plan: StepPlan, out: StepCost): void {
    const { cluster, constants } = this.setup;
    const { pp, zero, microBatches, schedule } = plan;
    const table = this.#cut(plan);
    const over = this.#exchangesOf(table, plan);
    const isDual = schedule === 'dualpipe' && pp > 1;
    const stages = stagesOf(plan);
    this.#findExchanges(plan, table, over);
    const work = this.#fillWork(plan, this.parts(plan, table), over, stages);
    pipelineTime(schedule, pp, stages / pp, microBatches, work);
    const pipeline = work.time;

    // Those that the states of the optimizer are cut over.
    const denseRanks = zero === 0 ? 1 : plan.dp * plan.cp;
    const expertRanks = zero === 0 ? 1 : expertReplicas(plan);
    let slowest = 0;
    let mostParameters = 0;
    let drained = 0;
    out.gradients = 0;
    out.weights = 0;
    for (let device = 0; device < pp; device++) {
      let forward = 0;
      let backward = 0;
      for (let stage = device; stage < stages; stage += pp) {
        forward += work.forward[stage]!;
        backward += work.backward[stage]!;
      }
      slowest = Math.max(slowest, forward + backward);
      this.#exchange(plan, table, over, device, stages);
      const sums = this.#device;
      const dense = sums[0]!;
      const experts = sums[1]!;
      const buckets = sums[2]!;
      const reduce = sums[3]!;
      const gather = sums[4]!;
      const own = dense / denseRanks + experts / expertRanks;
      mostParameters = Math.max(mostParameters, own);
      // Devices further down the pipeline end their last backward pass earlier.
      out.gradients = Math.max(out.gradients, exposed(reduce, buckets, backward) - drained);
      out.weights = Math.max(out.weights, exposed(gather, buckets, forward));
      if (schedule !== 'zb-h1' && !isDual) drained += work.backward[device]! + work.hop;
    }
    out.work = Math.min(pipeline, microBatches * slowest);
    out.bubble = pipeline - out.work;
    out.optimizer = mostParameters * this.#adamPerParameter;
    out.host = cluster.system.chip.cores === null ? 0 : constants.neuronTrainingStep!;
    out.step = pipeline + out.gradients + out.weights + out.optimizer + out.host;
    trainingMemory(this.#memory, plan, out.memory);
  }
}
