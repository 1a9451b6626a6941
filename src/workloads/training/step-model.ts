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
 *
 * Leaves out: congestion between dimensions that share links, the sum of a tied embedding's two gradients, clipping.
 */
import type { Bytes, Seconds } from '../../base/units.ts';
import { collectiveClock } from '../../collectives/collective-clock.ts';
import type { CollectiveClock, RankGroup } from '../../collectives/cost.ts';
import type { Collective } from '../../collectives/schedule.ts';
import type { OperatorClock } from '../../core/operator-case.ts';
import { operatorClock } from '../../core/operator-clock.ts';
import { FORMAT_BYTES } from '../../core/operator-work.ts';
import type { CollectiveItem, Graph, OperatorItem, Step } from '../../models/graph.ts';
import { layersBefore, type PreparedMemory, prepareTrainingMemory, trainingMemory } from '../../models/memory.ts';
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
import { layerCount } from '../../models/spec.ts';
import { type PipelineWork, pipelineTime, pipelineWork } from '../pipeline/closed-form.ts';
import { CostCurve } from './curve.ts';
import { type GraphTime, graphTime, type ItemClock } from './graph-time.ts';
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

/** Collectives over the replicas of a cut of the weights. */
interface Replicas {
  readonly allReduce: CostCurve;
  readonly reduceScatter: CostCurve;
  readonly allGather: CostCurve;
}

/** What depends on how weights are cut, by part. */
interface CutTable {
  readonly dense: Float64Array;
  readonly experts: Float64Array;
  readonly steps: Map<number, PartTimes>;
  /** By pipeline, then by data-parallel degree. */
  readonly replicas: Map<number, Map<number, { readonly dense: Replicas; readonly experts: Replicas }>>;
}

const RECOMPUTE: readonly Step['recompute'][] = ['none', 'selective', 'full'];
/** Parameters of the operator that the optimizer's rate is measured with. */
const ADAM_SIDE = 4096;

export class StepModel {
  readonly setup: TrainingSetup;
  readonly #memory: PreparedMemory;
  readonly #operators: OperatorClock;
  readonly #collectives: CollectiveClock;
  readonly #layers: number;
  readonly #before: Float64Array;
  /** By degrees, then by degrees of the experts. */
  readonly #cuts = new Map<number, Map<number, CutTable>>();
  readonly #adamPerParameter: Seconds;
  #work: PipelineWork = pipelineWork(1);

  constructor(
    setup: TrainingSetup,
    collectives: CollectiveClock = collectiveClock(setup.cluster, setup.constants),
    operators?: OperatorClock,
  ) {
    const { model, cluster, seq, stateBytes, formats, dropout, flash, expertSkew } = setup;
    const { chip } = cluster.system;
    const cores = chip.cores === null ? 1 : cluster.rank === 'chip' ? chip.cores : cluster.lnc;
    this.setup = setup;
    this.#memory = prepareTrainingMemory(model, { seq, stateBytes, formats, dropout, flash, expertSkew });
    this.#operators = operators ?? operatorClock(chip, cores, setup.constants);
    this.#collectives = collectives;
    this.#layers = layerCount(model);
    this.#before = layersBefore(model, this.#layers);
    this.#adamPerParameter = this.#adamRate();
  }

  /** Time of the update of one parameter: bound by memory, so in proportion to what is moved (see `optimizerGraph`). */
  #adamRate(): Seconds {
    const { formats, stateBytes } = this.setup;
    const { time } = this.#operators({ op: 'adamw', dims: { rows: ADAM_SIDE, cols: ADAM_SIDE }, dtype: 'f32' });
    const moved = FORMAT_BYTES[formats.gradients] + 2 * stateBytes + FORMAT_BYTES[formats.weights];
    return (time / (ADAM_SIDE * ADAM_SIDE)) * (moved / (5 * FORMAT_BYTES.f32));
  }

  #cut(plan: StepPlan): CutTable {
    const { tp, cp, ep, expertTp } = plan;
    const degrees =
      (((tp * 4096 + cp) * PLACEMENTS.length + PLACEMENTS.indexOf(plan.placement)) * 2 + (plan.sp ? 1 : 0)) * 2 +
      (plan.cpMode === 'ring' ? 0 : 1);
    let byExperts = this.#cuts.get(degrees);
    if (byExperts === undefined) {
      byExperts = new Map();
      this.#cuts.set(degrees, byExperts);
    }
    let table = byExperts.get(ep * 4096 + expertTp);
    if (table === undefined) {
      table = this.#newCut(plan);
      byExperts.set(ep * 4096 + expertTp, table);
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
      replicas: new Map(),
    };
  }

  /** Times of the parts for a plan's cut and micro-batch. */
  parts(plan: StepPlan, table: CutTable = this.#cut(plan)): PartTimes {
    const isSplit = plan.pp > 1 && (plan.schedule === 'zb-h1' || plan.schedule === 'dualpipe');
    const key = plan.microBatch * RECOMPUTE.length + RECOMPUTE.indexOf(plan.recompute);
    let parts = table.steps.get(key);
    if (parts === undefined) {
      const [forward, backward] = [this.#times(plan, 'forward'), this.#times(plan, 'backward')];
      parts = { forward, backward, split: null, hops: new Map() };
      table.steps.set(key, parts);
    }
    if (isSplit && parts.split === null) {
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
    const { model } = this.setup;
    const step = this.stepOf(plan);
    const clock = this.#itemClock(plan);
    const time = (graph: Graph): GraphTime => graphTime(graph, clock);
    return [
      ...model.kinds.map((kind) => time(layerGraph(model, kind, phase, plan, step))),
      time(embeddingGraph(model, phase, plan, step)),
      time(headGraph(model, phase, plan, step)),
    ];
  }

  #itemClock(plan: StepPlan): ItemClock {
    const implementation = this.setup.software === 'compiler' ? { implementation: 'compiler' as const } : {};
    return {
      operator: ({ case: operator, repeat }: OperatorItem) =>
        repeat * this.#operators({ ...operator, ...implementation }).time,
      collective: ({ collective, bytes, dtype, repeat, ...item }: CollectiveItem) =>
        repeat * this.#collectives({ collective, bytes, dtype, group: groupOf(item, plan) }).time,
    };
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

  #replicas({ replicas }: CutTable, plan: StepPlan): { readonly dense: Replicas; readonly experts: Replicas } {
    let byDegree = replicas.get(plan.pp);
    if (byDegree === undefined) {
      byDegree = new Map();
      replicas.set(plan.pp, byDegree);
    }
    let found = byDegree.get(plan.dp);
    if (found === undefined) {
      const { tp, cp, dp, ep, expertTp } = plan;
      const ranks = Math.floor((tp * cp * dp) / (ep * expertTp));
      const experts = ranks > 1 ? [{ ranks, stride: ep * expertTp }] : [];
      found = {
        dense: this.#collectivesOver(replicaGroups(plan.placement, plan)),
        experts: this.#collectivesOver(experts),
      };
      byDegree.set(plan.dp, found);
    }
    return found;
  }

  /** Over the inner group with all bytes and the outer one with the share of a rank; one of them may be all. */
  #collectivesOver(groups: readonly RankGroup[]): Replicas {
    const one = (collective: Collective, group: RankGroup | undefined, bytes: Bytes): Seconds =>
      group === undefined ? 0 : this.#collectives({ collective, bytes, group }).time;
    const [inner, outer] = groups;
    const share = outer === undefined ? 0 : 1 / inner!.ranks;
    const both = (collective: Collective) =>
      new CostCurve((bytes) => one(collective, inner, bytes) + one(collective, outer, bytes * share));
    return {
      allReduce:
        outer === undefined
          ? both('all-reduce')
          : new CostCurve(
              (bytes) =>
                one('reduce-scatter', inner, bytes) +
                one('all-reduce', outer, bytes * share) +
                one('all-gather', inner, bytes),
            ),
      reduceScatter: both('reduce-scatter'),
      allGather: both('all-gather'),
    };
  }

  /** Layers of `kind` in virtual stage `stage` of `stages`, as `trainingMemory` deals them. */
  #layersOf(kind: number, stage: number, stages: number): number {
    const row = kind * (this.#layers + 1);
    const first = Math.floor((stage * this.#layers) / stages);
    const end = Math.floor(((stage + 1) * this.#layers) / stages);
    return this.#before[row + end]! - this.#before[row + first]!;
  }

  /** Writes the cost of `plan` into `out`. The plan is taken to be possible: see `checkPlan`. */
  evaluate(plan: StepPlan, out: StepCost): void {
    const { setup } = this;
    const { gradients: overlap, formats } = setup;
    const { pp, zero, interleave } = plan;
    const table = this.#cut(plan);
    const parts = this.parts(plan, table);
    const replicas = this.#replicas(table, plan);
    const kinds = setup.model.kinds.length;
    const gradientBytes = FORMAT_BYTES[formats.gradients];
    const weightBytes = FORMAT_BYTES[formats.weights];
    const expertBytes = FORMAT_BYTES[formats.expertWeights];
    const isDual = plan.schedule === 'dualpipe' && pp > 1;
    const chunks = isDual ? 1 : interleave;
    const stages = pp * chunks;
    if (this.#work.forward.length < stages) this.#work = pipelineWork(stages);
    const work = this.#work;
    work.hop = this.#hop(plan, parts);
    const reduceDense = zero === 0 ? replicas.dense.allReduce : replicas.dense.reduceScatter;
    const reduceExperts = zero === 0 ? replicas.experts.allReduce : replicas.experts.reduceScatter;
    const gatherDense = replicas.dense.allGather;
    const gatherExperts = replicas.experts.allGather;

    let mostParameters = 0;
    for (let stage = 0; stage < stages; stage++) {
      let forward = 0;
      let backward = 0;
      let input = 0;
      let weight = 0;
      let compute = 0;
      let communication = 0;
      let reduce = 0;
      let gather = 0;
      for (let part = 0; part < kinds + 2; part++) {
        const count =
          part < kinds
            ? this.#layersOf(part, stage, stages)
            : (part === kinds ? stage === 0 : stage === stages - 1)
              ? 1
              : 0;
        if (count === 0) continue;
        forward += count * parts.forward[part]!.time;
        backward += count * parts.backward[part]!.time;
        if (parts.split !== null) {
          input += count * parts.split.input[part]!.time;
          weight += count * parts.split.weight[part]!.time;
        }
        if (isDual) {
          compute += count * (parts.forward[part]!.compute + parts.backward[part]!.compute);
          communication += count * (parts.forward[part]!.communication + parts.backward[part]!.communication);
        }
        if (zero >= 2) {
          const dense = table.dense[part]!;
          const experts = table.experts[part]!;
          reduce += count * (reduceDense.time(dense * gradientBytes) + reduceExperts.time(experts * gradientBytes));
          if (zero === 3) {
            gather += count * (gatherDense.time(dense * weightBytes) + gatherExperts.time(experts * expertBytes));
          }
        }
      }
      work.forward[stage] = Math.max(forward, gather);
      work.backward[stage] = Math.max(backward, gather + reduce);
      work.input[stage] = input;
      work.weight[stage] = weight;
      work.pair[stage] = isDual ? Math.max(compute, communication, forward, backward) : 0;
    }
    const pipeline = pipelineTime(
      {
        schedule: interleave === 1 && plan.schedule === 'interleaved' ? '1f1b' : plan.schedule,
        devices: pp,
        chunks,
        microBatches: plan.microBatches,
      },
      work,
    );

    let slowest = 0;
    let lastGradient = 0;
    let drained = 0;
    let exposedWeights = 0;
    for (let device = 0; device < pp; device++) {
      let forward = 0;
      let backward = 0;
      let dense = 0;
      let experts = 0;
      let reduce = 0;
      let gather = 0;
      let buckets = 0;
      for (let chunk = 0; chunk < (isDual ? 2 : chunks); chunk++) {
        const stage = isDual && chunk === 1 ? pp - 1 - device : chunk * pp + device;
        forward += work.forward[stage]!;
        backward += work.backward[stage]!;
        for (let part = 0; part < kinds + 2; part++) {
          const count =
            part < kinds
              ? this.#layersOf(part, stage, stages)
              : (part === kinds ? stage === 0 : stage === stages - 1)
                ? 1
                : 0;
          if (count === 0) continue;
          dense += count * table.dense[part]!;
          experts += count * table.experts[part]!;
          if (zero >= 2 || overlap === 'sequential') continue;
          buckets += count;
          reduce +=
            count *
            (reduceDense.time(table.dense[part]! * gradientBytes) +
              reduceExperts.time(table.experts[part]! * gradientBytes));
          if (zero === 1) {
            gather +=
              count *
              (gatherDense.time(table.dense[part]! * weightBytes) +
                gatherExperts.time(table.experts[part]! * expertBytes));
          }
        }
      }
      slowest = Math.max(slowest, forward + backward);
      const own =
        zero >= 1
          ? dense / (plan.dp * plan.cp) + (experts * plan.ep * plan.expertTp) / (plan.tp * plan.cp * plan.dp)
          : dense + experts;
      mostParameters = Math.max(mostParameters, own);
      let exposed = 0;
      if (overlap === 'sequential' && zero < 2) {
        exposed = reduceDense.time(dense * gradientBytes) + reduceExperts.time(experts * gradientBytes);
      } else if (buckets > 0) {
        // The last bucket is ready when the pass ends, the first one after its own part of it.
        exposed = Math.max(reduce / buckets, reduce - backward * (1 - 1 / buckets));
      }
      lastGradient = Math.max(lastGradient, exposed - drained);
      if (plan.schedule !== 'zb-h1' && !isDual) drained += work.backward[device]! + work.hop;
      if (zero === 1 || zero === 2) {
        const needed =
          overlap === 'sequential'
            ? gatherDense.time(dense * weightBytes) + gatherExperts.time(experts * expertBytes)
            : Math.max(gather / Math.max(1, buckets), gather - forward * (1 - 1 / Math.max(1, buckets)));
        exposedWeights = Math.max(exposedWeights, needed);
      }
    }
    out.work = Math.min(pipeline, plan.microBatches * (isDual ? slowest / 2 : slowest));
    out.bubble = pipeline - out.work;
    out.gradients = lastGradient;
    out.weights = exposedWeights;
    out.optimizer = mostParameters * this.#adamPerParameter;
    out.host = 0;
    out.step = pipeline + out.gradients + out.weights + out.optimizer + out.host;
    trainingMemory(this.#memory, plan, out.memory);
  }
}

/** The ranks of an item's group. */
function groupOf({ dimension, ranks }: Pick<CollectiveItem, 'dimension' | 'ranks'>, plan: StepPlan): RankGroup {
  const { tp, ep, expertTp } = plan;
  switch (dimension) {
    case 'tp':
    case 'etp':
      return { ranks, stride: 1 };
    case 'ep':
      // Without sequence parallelism the ranks of a tensor-parallel group hold the same tokens, and one of them speaks.
      return { ranks, stride: ranks === ep ? expertTp : tp };
    case 'edp':
      return { ranks, stride: ep * expertTp };
    case 'cp':
    case 'dp':
    case 'pp':
      return { ranks, stride: strideOf(plan.placement, plan, dimension) };
  }
}
