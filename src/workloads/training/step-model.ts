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
import { collectiveClock } from '../../collectives/collective-clock.ts';
import type { CollectiveClock, RankGroup } from '../../collectives/cost.ts';
import type { Collective } from '../../collectives/schedule.ts';
import type { OperatorClock } from '../../core/operator-case.ts';
import { FORMAT_BYTES } from '../../core/operator-work.ts';
import type { Graph, Step } from '../../models/graph.ts';
import {
  layersBefore,
  type MemoryUse,
  type PreparedMemory,
  prepareTrainingMemory,
  trainingMemory,
} from '../../models/memory.ts';
import {
  embeddingGraph,
  headGraph,
  type LayerPhase,
  layerGraph,
  stageBytes,
  stepOf,
} from '../../models/model-graph.ts';
import { layerParameters } from '../../models/parameters.ts';
import { rankEdgeParameters } from '../../models/shard.ts';
import { type LayerKind, layerCount } from '../../models/spec.ts';
import { type PipelineWork, pipelineTime, pipelineWork } from '../pipeline/closed-form.ts';
import type { StageTimes } from '../pipeline/engine.ts';
import { CostCurve } from './curve.ts';
import { type ByDimension, DIMENSIONS, type GraphTime, graphTime, type ItemClock } from './graph-time.ts';
import { beside, expertReplicas, exposed, stagesOf } from './overlap.ts';
import { itemClock, operatorTime, rankClock } from './part-clock.ts';
import { PLACEMENTS, replicaGroups, strideOf } from './placement.ts';
import type { StepCost, StepPlan, TrainingSetup } from './setup.ts';

/** Graph times of the parts of a model: the kinds of layers, then embedding, then head. */
export interface PartTimes {
  readonly forward: readonly GraphTime[];
  readonly backward: readonly GraphTime[];
  /** The halves of the backward pass; null until a schedule asks for them. */
  split: { readonly input: readonly GraphTime[]; readonly weight: readonly GraphTime[] } | null;
  /** To the next stage, by stride of the pipeline dimension. */
  readonly hops: Map<number, Seconds>;
}

/** Collectives over the ranks that hold the same weights. */
interface Replicas {
  readonly allReduce: CostCurve;
  readonly reduceScatter: CostCurve;
  readonly allGather: CostCurve;
}

/** Times to reduce the gradients and to gather the weights of one of each part. */
interface PartExchanges {
  readonly dense: Replicas;
  readonly experts: Replicas;
}

/** What several models of one job can have in common. */
export interface SharedTables {
  readonly operators: OperatorClock;
  readonly collectives: CollectiveClock;
  readonly graphs: Map<string, readonly Graph[]>;
}

/** What depends on how weights are cut: parameters of each part on a rank, and the tables below it. */
interface CutTable {
  readonly dense: Float64Array;
  readonly experts: Float64Array;
  readonly steps: Map<number, PartTimes>;
  /** By pipeline, then by data-parallel degree. */
  readonly exchanges: Map<number, Map<number, PartExchanges>>;
}

const RECOMPUTE: readonly Step['recompute'][] = ['none', 'selective', 'full'];
/** Side of the square of parameters that the optimizer's rate is measured with. */
const ADAM_SIDE = 4096;

export class StepModel {
  readonly setup: TrainingSetup;
  readonly #memory: PreparedMemory;
  readonly #operators: OperatorClock;
  readonly #collectives: CollectiveClock;
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
  /** What the device at hand exchanges with its replicas: written by `#exchange`. */
  readonly #device: { dense: number; experts: number; buckets: number; reduce: Seconds; gather: Seconds } = {
    dense: 0,
    experts: 0,
    buckets: 0,
    reduce: 0,
    gather: 0,
  };

  readonly #graphs: Map<string, readonly Graph[]>;

  /** `shared`: clocks and graphs of models of the same job with other constants, which those don't depend on. */
  constructor(setup: TrainingSetup, shared: Partial<SharedTables> = {}) {
    const { model, seq, stateBytes, formats, dropout, flash, expertSkew } = setup;
    this.setup = setup;
    this.#memory = prepareTrainingMemory(model, { seq, stateBytes, formats, dropout, flash, expertSkew });
    this.#operators = shared.operators ?? rankClock(setup);
    this.#collectives = shared.collectives ?? collectiveClock(setup.cluster, setup.constants);
    this.#graphs = shared.graphs ?? new Map();
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
    const time = operatorTime(this.setup, this.#operators, { op: 'adamw', dims, dtype: 'f32' });
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
    const key = ep * 4096 + expertTp;
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
    const key = plan.microBatch * RECOMPUTE.length + RECOMPUTE.indexOf(plan.recompute);
    let parts = table.steps.get(key);
    if (parts === undefined) {
      const [forward, backward] = [this.#times(plan, 'forward'), this.#times(plan, 'backward')];
      parts = { forward, backward, split: null, hops: new Map() };
      table.steps.set(key, parts);
    }
    if (parts.split === null && plan.pp > 1 && (plan.schedule === 'zb-h1' || plan.schedule === 'dualpipe')) {
      parts.split = { input: this.#times(plan, 'backward-input'), weight: this.#times(plan, 'backward-weight') };
    }
    return parts;
  }

  /** The step of a plan's micro-batch as operator graphs know it. */
  stepOf({ microBatch, recompute }: StepPlan): Step {
    const { seq, formats, software, flash, expertSkew } = this.setup;
    return stepOf({ sequences: microBatch, seqQ: seq, formats, software, flash, expertSkew, recompute });
  }

  #times(plan: StepPlan, phase: LayerPhase): GraphTime[] {
    const { model, overlap, constants } = this.setup;
    const options = { pieces: overlap.tensor ? plan.tp : 1, contention: constants.overlapContention! };
    return this.#graphsOf(plan, phase).map((graph, part) =>
      graphTime(graph, this.itemClock(plan, model.kinds[part]), options),
    );
  }

  /** Of the kinds of layers, of embedding and head. */
  #graphsOf(plan: StepPlan, phase: LayerPhase): readonly Graph[] {
    const { tp, sp, cp, cpMode, ep, expertTp, microBatch, recompute } = plan;
    const key = `${phase} ${tp} ${sp} ${cp} ${cpMode} ${ep} ${expertTp} ${microBatch} ${recompute}`;
    let graphs = this.#graphs.get(key);
    if (graphs === undefined) {
      const { model } = this.setup;
      const step = this.stepOf(plan);
      graphs = [
        ...model.kinds.map((kind) => layerGraph(model, kind, phase, plan, step)),
        embeddingGraph(model, phase, plan, step),
        headGraph(model, phase, plan, step),
      ];
      this.#graphs.set(key, graphs);
    }
    return graphs;
  }

  /** The clock of the items of a layer of `kind`, or of embedding and head. */
  itemClock(plan: StepPlan, kind?: LayerKind): ItemClock {
    return itemClock(this.setup, this.#operators, this.#collectives, plan, kind);
  }

  /** Time to send a micro-batch's activations on to the next stage. */
  #hop(plan: StepPlan, { hops }: PartTimes): Seconds {
    if (plan.pp === 1) return 0;
    const stride = strideOf(plan.placement, plan, 'pp');
    let time = hops.get(stride);
    if (time === undefined) {
      time = this.#sendTime(plan, stageBytes(this.setup.model, plan, this.stepOf(plan)), stride);
      hops.set(stride, time);
    }
    return time;
  }

  /** Ranks of a tensor-parallel group that all hold the same send a part each and gather, where that is faster. */
  #sendTime({ tp, sp, pp }: StepPlan, bytes: Bytes, stride: number): Seconds {
    const send = (size: Bytes): Seconds =>
      this.#collectives({ collective: 'send-recv', bytes: size, group: { ranks: pp, stride } }).time;
    if (sp || tp === 1) return send(bytes);
    const gather = this.#collectives({ collective: 'all-gather', bytes, group: { ranks: tp, stride: 1 } }).time;
    return Math.min(send(bytes), send(bytes / tp) + gather);
  }

  #exchangesOf({ exchanges }: CutTable, plan: StepPlan): PartExchanges {
    let byDegree = exchanges.get(plan.pp);
    if (byDegree === undefined) {
      byDegree = new Map();
      exchanges.set(plan.pp, byDegree);
    }
    let found = byDegree.get(plan.dp);
    if (found === undefined) {
      const { ep, expertTp } = plan;
      const ranks = expertReplicas(plan);
      found = {
        dense: this.#over(replicaGroups(plan.placement, plan)),
        experts: this.#over(ranks > 1 ? [{ ranks, stride: ep * expertTp }] : []),
      };
      byDegree.set(plan.dp, found);
    }
    return found;
  }

  /** Over no group, one, or the inner of two with all bytes and the outer with a rank's share of them. */
  #over([inner, outer]: readonly RankGroup[]): Replicas {
    // Libraries carry large collectives out hierarchically over nodes; looking for a flat one takes long.
    const { cluster } = this.setup;
    const nodeRanks = cluster.ranksPerChip * cluster.chipsPerNode;
    const one = (collective: Collective, group: RankGroup | undefined, bytes: Bytes): Seconds => {
      if (group === undefined) return 0;
      const spansNodes = group.ranks * group.stride > nodeRanks;
      return this.#collectives({ collective, bytes, group, ...(spansNodes && { algorithm: 'hierarchical' }) }).time;
    };
    const curve = (...parts: readonly Collective[]) =>
      new CostCurve((bytes) => parts.reduce((sum, part) => sum + one(part, inner, bytes), 0));
    if (outer === undefined) {
      return {
        allReduce: curve('all-reduce'),
        reduceScatter: curve('reduce-scatter'),
        allGather: curve('all-gather'),
      };
    }
    const ways = inner!.ranks;
    const both = (far: Collective, ...near: readonly Collective[]) =>
      new CostCurve(
        (bytes) => one(far, outer, bytes / ways) + near.reduce((sum, part) => sum + one(part, inner, bytes), 0),
      );
    return {
      allReduce: both('all-reduce', 'reduce-scatter', 'all-gather'),
      reduceScatter: both('reduce-scatter', 'reduce-scatter'),
      allGather: both('all-gather', 'all-gather'),
    };
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

  #reduceTime({ dense, experts }: CutTable, over: PartExchanges, part: number, zero: number): Seconds {
    const bytes = this.#gradientBytes;
    if (zero === 0) {
      return over.dense.allReduce.time(dense[part]! * bytes) + over.experts.allReduce.time(experts[part]! * bytes);
    }
    return (
      over.dense.reduceScatter.time(dense[part]! * bytes) + over.experts.reduceScatter.time(experts[part]! * bytes)
    );
  }

  #gatherTime({ dense, experts }: CutTable, over: PartExchanges, part: number): Seconds {
    return (
      over.dense.allGather.time(dense[part]! * this.#weightBytes) +
      over.experts.allGather.time(experts[part]! * this.#expertBytes)
    );
  }

  /** Fills the work of the virtual stages. */
  #fillWork(plan: StepPlan, table: CutTable, parts: PartTimes, over: PartExchanges, stages: number): PipelineWork {
    const { overlap, constants, cluster } = this.setup;
    const { zero } = plan;
    if (this.#work.forward.length < stages) this.#work = pipelineWork(stages);
    const work = this.#work;
    const contention = constants.overlapContention!;
    const hostPass = plan.pp > 1 && cluster.system.chip.cores !== null ? constants.neuronStageSwitch! : 0;
    work.hop = this.#hop(plan, parts);
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
        if (zero >= 2) reduce += count * this.#reduceTime(table, over, part, zero);
        if (zero === 3) gather += count * this.#gatherTime(table, over, part);
      }
      // The longer of the two queues, and what the shorter one takes from it.
      const queue = communication + 2 * gather + reduce;
      const pair = Math.max(forward, backward, compute + contention * Math.min(compute, queue), queue);
      work.forward[stage] = hostPass + beside(forward, gather, contention);
      work.backward[stage] = hostPass + beside(backward, gather + reduce, contention);
      work.input[stage] = hostPass + beside(input, gather, contention);
      work.weight[stage] = beside(weight, reduce, contention);
      work.pair[stage] = Math.min(2 * hostPass + pair, work.forward[stage]! + work.backward[stage]!);
      // Outside of dualpipe the steady state alternates the two: what a pair saves is taken off the backward pass.
      if (overlap.passes && plan.schedule !== 'dualpipe') {
        work.backward[stage] = work.pair[stage]! - work.forward[stage]!;
      }
    }
    return work;
  }

  /** Sums up what a device of the pipeline holds and exchanges, into `#device`. */
  #exchange(plan: StepPlan, table: CutTable, over: PartExchanges, device: number, stages: number): void {
    const sums = this.#device;
    sums.dense = 0;
    sums.experts = 0;
    sums.buckets = 0;
    sums.reduce = 0;
    sums.gather = 0;
    const isDual = plan.schedule === 'dualpipe' && plan.pp > 1;
    const chunks = isDual ? 2 : stages / plan.pp;
    for (let chunk = 0; chunk < chunks; chunk++) {
      const stage = isDual && chunk === 1 ? plan.pp - 1 - device : chunk * plan.pp + device;
      for (let part = 0; part < this.#kinds + 2; part++) {
        const count = this.#count(part, stage, stages);
        if (count === 0) continue;
        sums.dense += count * table.dense[part]!;
        sums.experts += count * table.experts[part]!;
        if (!this.setup.overlap.gradients) continue;
        sums.buckets += count;
        if (plan.zero < 2) sums.reduce += count * this.#reduceTime(table, over, part, plan.zero);
        if (plan.zero === 1 || plan.zero === 2) sums.gather += count * this.#gatherTime(table, over, part);
      }
    }
    if (this.setup.overlap.gradients) return;
    const { dense, experts } = sums;
    const gradients = this.#gradientBytes;
    const reduction = plan.zero === 0 ? 'allReduce' : 'reduceScatter';
    if (plan.zero < 2) {
      sums.reduce = over.dense[reduction].time(dense * gradients) + over.experts[reduction].time(experts * gradients);
    }
    if (plan.zero === 1 || plan.zero === 2) {
      sums.gather =
        over.dense.allGather.time(dense * this.#weightBytes) + over.experts.allGather.time(experts * this.#expertBytes);
    }
  }

  /** Writes what the fullest rank of `plan` holds into `out`: needs no tables. */
  memory(plan: StepPlan, out: MemoryUse): void {
    trainingMemory(this.#memory, plan, out);
  }

  /** Times of the virtual stages of a plan, as the event engine takes them. */
  stageTimes(plan: StepPlan): StageTimes {
    const table = this.#cut(plan);
    const stages = stagesOf(plan);
    const work = this.#fillWork(plan, table, this.parts(plan, table), this.#exchangesOf(table, plan), stages);
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
    const work = this.#fillWork(plan, table, this.parts(plan, table), over, stages);
    const pipeline = pipelineTime(schedule, pp, stages / pp, microBatches, work);

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
      const { dense, experts, buckets, reduce, gather } = this.#device;
      const own = zero === 0 ? dense + experts : dense / (plan.dp * plan.cp) + experts / expertReplicas(plan);
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
