/**
 * Times of the parts that a model is made of, on one rank: a layer of each kind, the embedding, the head; and of the hop from a
 * pipeline stage to the next. Found when a plan first needs them.
 */
import type { Bytes, Seconds } from '../../base/units.ts';
import { collectiveClock } from '../../collectives/collective-clock.ts';
import type { CollectiveClock } from '../../collectives/cost.ts';
import type { OperatorCase, OperatorClock } from '../../core/operator-case.ts';
import type { Graph, Step } from '../../models/graph.ts';
import {
  embeddingGraph,
  headGraph,
  type LayerPhase,
  layerGraph,
  stageBytes,
  stepOf,
} from '../../models/model-graph.ts';
import type { LayerKind } from '../../models/spec.ts';
import { type GraphTime, graphTime, type ItemClock } from './graph-time.ts';
import { itemClock, operatorTime, rankClock } from './part-clock.ts';
import { strideOf } from './placement.ts';
import type { StepPlan, TrainingSetup } from './setup.ts';

/** Graph times of the parts of a model: the kinds of layers, then embedding, then head. */
export interface PartTimes {
  readonly forward: readonly GraphTime[];
  readonly backward: readonly GraphTime[];
  /** The halves of the backward pass; null until a schedule asks for them. */
  split: { readonly input: readonly GraphTime[]; readonly weight: readonly GraphTime[] } | null;
  /** To the next stage, by stages: with the ranks and the cut these say how far apart they are. */
  readonly hops: Map<number, Seconds>;
}

/** What several models of one job can have in common. */
export interface SharedTables {
  readonly operators: OperatorClock;
  readonly collectives: CollectiveClock;
  readonly graphs: Map<string, readonly Graph[]>;
}

const RECOMPUTE: readonly Step['recompute'][] = ['none', 'selective', 'full'];

export class PartTables {
  readonly collectives: CollectiveClock;
  readonly #setup: TrainingSetup;
  readonly #operators: OperatorClock;
  readonly #graphs: Map<string, readonly Graph[]>;

  constructor(setup: TrainingSetup, { operators, collectives, graphs }: Partial<SharedTables>) {
    this.#setup = setup;
    this.#operators = operators ?? rankClock(setup);
    this.collectives = collectives ?? collectiveClock(setup.cluster, setup.constants);
    this.#graphs = graphs ?? new Map();
  }

  operator(operator: OperatorCase): Seconds {
    return operatorTime(this.#setup, this.#operators, operator);
  }

  /** From `known`, by micro-batch and recomputation, of the plans that cut the model as this one does. */
  of(plan: StepPlan, known: Map<number, PartTimes>): PartTimes {
    const key = plan.microBatch * RECOMPUTE.length + RECOMPUTE.indexOf(plan.recompute);
    let parts = known.get(key);
    if (parts === undefined) {
      const [forward, backward] = [this.#times(plan, 'forward'), this.#times(plan, 'backward')];
      parts = { forward, backward, split: null, hops: new Map() };
      known.set(key, parts);
    }
    if (parts.split === null && plan.pp > 1 && (plan.schedule === 'zb-h1' || plan.schedule === 'dualpipe')) {
      parts.split = { input: this.#times(plan, 'backward-input'), weight: this.#times(plan, 'backward-weight') };
    }
    return parts;
  }

  /** The step of a plan's micro-batch as operator graphs know it. */
  stepOf({ microBatch, recompute }: StepPlan): Step {
    const { seq, formats, software, flash, fusedSoftmax, dropout, expertSkew } = this.#setup;
    const kernels = { formats, software, flash, fusedSoftmax, dropout };
    return stepOf({ sequences: microBatch, seqQ: seq, ...kernels, expertSkew, recompute });
  }

  #times(plan: StepPlan, phase: LayerPhase): GraphTime[] {
    const { model, overlap, constants } = this.#setup;
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
      const { model } = this.#setup;
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
    return itemClock(this.#setup, this.#operators, this.collectives, plan, kind);
  }

  /** Time to send a micro-batch's activations on to the next stage. */
  hop(plan: StepPlan, { hops }: PartTimes): Seconds {
    if (plan.pp === 1) return 0;
    let time = hops.get(plan.pp);
    if (time === undefined) {
      time = this.#sendTime(plan, stageBytes(this.#setup.model, plan, this.stepOf(plan)));
      hops.set(plan.pp, time);
    }
    return time;
  }

  /** Ranks of a tensor-parallel group that all hold the same send a part each and gather, where that is faster. */
  #sendTime(plan: StepPlan, bytes: Bytes): Seconds {
    const { tp, sp, pp, placement } = plan;
    const stride = strideOf(placement, plan, 'pp');
    const send = (size: Bytes): Seconds =>
      this.collectives({ collective: 'send-recv', bytes: size, group: { ranks: pp, stride } }).time;
    if (sp || tp === 1) return send(bytes);
    const gather = this.collectives({ collective: 'all-gather', bytes, group: { ranks: tp, stride: 1 } }).time;
    return Math.min(send(bytes), send(bytes / tp) + gather);
  }
}
