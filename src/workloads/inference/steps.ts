/**
 * The steps that inference is made of: a piece of a prompt, and one decode step, as times of a whole pipeline of ranks. What
 * has been computed is remembered, so a step that comes again costs a look-up.
 *
 *     stage  = sum over its layers of the time of their graphs (+ embedding, head)
 *     loop   = sum of the stages + a transfer between each two
 *     m micro-batches on p stages in a ring (decode): max(loop, m x slowest stage)
 *     pieces of prompts one after another: sum of their slowest stages + the most that one of them takes in the others
 *
 * Leaves out: the sampling of tokens on the device, prefill and decode in one step, ranks that wait for the busiest expert
 * beyond `expertSkew`.
 */
import type { Seconds } from '../../base/units.ts';
import type { RankGroup } from '../../collectives/cost.ts';
import type { Dimension, Graph, Shard, Step } from '../../models/graph.ts';
import { embeddingGraph, headGraph, layerGraph, stageBytes } from '../../models/model-graph.ts';
import { kindCounts, layerCount, type ModelSpec } from '../../models/spec.ts';
import { graphTime, type ItemClock } from '../training/graph-time.ts';
import { addBreakdown, emptyBreakdown, partOf, type StepBreakdown } from './breakdown.ts';
import { type InferencePlan, paddedContext, paddedPrompt, planRanks } from './plan.ts';
import { expertProgram, usesFlash } from './software.ts';
import type { InferenceTables, ProgramTimes } from './tables.ts';

type InferencePhase = 'prefill' | 'decode';

export interface StepTime {
  /** Of all stages one after another, and of the slowest of them. Without the host. */
  readonly loop: Seconds;
  readonly slowest: Seconds;
  /** What `loop` consists of. */
  readonly breakdown: Readonly<StepBreakdown>;
}

/** Of one plan; `model` is the plan's, or that of its draft. */
export class StepClock {
  readonly #tables: InferenceTables;
  readonly #plan: InferencePlan;
  readonly #model: ModelSpec;
  readonly #programs: Readonly<Record<InferencePhase, ProgramTimes>>;
  readonly #known = new Map<string, StepTime>();

  constructor(tables: InferenceTables, plan: InferencePlan, model: ModelSpec = plan.model) {
    this.#tables = tables;
    this.#plan = plan;
    this.#model = model;
    const ranks = Math.min(tables.cluster.ranksPerChip, planRanks(plan));
    const of = (phase: InferencePhase) => tables.programs(plan.software, phase, ranks);
    this.#programs = { prefill: of('prefill'), decode: of('decode') };
  }

  /** What the host adds to a step of `sequences` sequences. */
  host(sequences: number): Seconds {
    const { hostStep, hostSequence } = this.#programs.decode;
    return hostStep + sequences * hostSequence;
  }

  /** `tokens` tokens of a prompt after `past` others, of `sequences` sequences at once. */
  prefill(sequences: number, tokens: number, past: number = 0): StepTime {
    const seqQ = paddedPrompt(this.#plan, tokens);
    return this.#step('prefill', sequences, seqQ, seqQ + past);
  }

  /** One step of `sequences` sequences of which the last of `context` positions are the `tokens` new ones. */
  decode(sequences: number, context: number, tokens: number = 1): StepTime {
    return this.#step('decode', sequences, tokens, Math.max(tokens, paddedContext(this.#plan, context)));
  }

  #step(phase: InferencePhase, sequences: number, seqQ: number, seqKv: number): StepTime {
    const key = `${phase} ${sequences} ${seqQ} ${seqKv}`;
    let step = this.#known.get(key);
    if (step === undefined) {
      step = this.#time(phase, sequences, seqQ, seqKv);
      this.#known.set(key, step);
    }
    return step;
  }

  #time(phase: InferencePhase, sequences: number, seqQ: number, seqKv: number): StepTime {
    const { pp, software, formats, absorbed, expertSkew } = this.#plan;
    const { cluster } = this.#tables;
    const shard: Shard = { ...this.#plan.shard, sp: phase === 'prefill' && this.#plan.shard.sp };
    const model = this.#model;
    const step: Step = {
      sequences,
      seqQ,
      seqKv,
      formats,
      software,
      absorbed,
      expertSkew,
      dropout: false,
      fusedSoftmax: true,
      recompute: 'none',
      flash: usesFlash(software, phase, sequences, seqQ, cluster),
      ...expertProgram(software, phase, sequences * seqQ, cluster, model),
    };
    const rest = emptyBreakdown();
    const part = (graph: Graph) => {
      const breakdown = emptyBreakdown();
      return { time: this.#graph(graph, phase, shard, breakdown), breakdown };
    };
    const layers = model.kinds.map((kind) => part(layerGraph(model, kind, phase, shard, step)));
    const embedding = part(embeddingGraph(model, phase, shard, step));
    const head = part(headGraph(model, phase, shard, step));

    const count = layerCount(model);
    let loop = 0;
    let slowest = 0;
    for (let stage = 0; stage < pp; stage++) {
      const counts = kindCounts(model, Math.floor((stage * count) / pp), Math.floor(((stage + 1) * count) / pp));
      const parts = layers.map((layer, kind) => ({ ...layer, count: counts[kind]! }));
      if (stage === 0) parts.push({ ...embedding, count: 1 });
      if (stage === pp - 1) parts.push({ ...head, count: 1 });
      let time = 0;
      for (const { count: times, ...each } of parts) {
        time += times * each.time;
        addBreakdown(rest, each.breakdown, times);
      }
      slowest = Math.max(slowest, time);
      loop += time;
    }
    if (pp > 1) {
      const hop = this.#hop(stageBytes(model, shard, step));
      // In decode the last stage's token goes back to the first.
      const hops = (phase === 'decode' ? pp : pp - 1) * hop;
      rest.communication += hops;
      loop += hops;
    }
    return { loop, slowest, breakdown: rest };
  }

  #hop(bytes: number): Seconds {
    const { tp, cp } = this.#plan.shard;
    const group = { ranks: 2, stride: tp * cp * this.#plan.dp };
    return this.#tables.collectives({ collective: 'send-recv', bytes, group }).time;
  }

  /** Time of a graph; what it consists of is added to `breakdown`. */
  #graph(graph: Graph, phase: InferencePhase, shard: Shard, breakdown: StepBreakdown): Seconds {
    const { operator, synchronise } = this.#programs[phase];
    const clock: ItemClock = {
      operator: (item) => {
        const duration = item.repeat * operator(item.case);
        breakdown[partOf(item)] += duration;
        breakdown.synchronise += synchronise;
        return duration + synchronise;
      },
      collective: ({ collective, bytes, repeat, dimension, ranks }) => {
        const group = this.#group(dimension, ranks, shard);
        return repeat * this.#tables.collectives({ collective, bytes, group }).time;
      },
    };
    // Inference software of today runs matmuls and collectives whole, one after the other.
    const { time, compute } = graphTime(graph, clock, { pieces: 1, contention: 0 });
    breakdown.communication += time - compute;
    return time;
  }

  /**
   * The ranks of a dimension: tp inner, then cp, then dp. Experts go over tp first where tokens are cut, else over dp, and
   * over cp too if they are more than that.
   */
  #group(dimension: Dimension, ranks: number, { tp, cp, sp, expertTp }: Shard): RankGroup {
    const outside = ranks <= this.#plan.dp ? tp * cp : tp;
    switch (dimension) {
      case 'cp':
        return { ranks, stride: tp };
      case 'ep':
        return { ranks, stride: sp ? expertTp : outside };
      default:
        return { ranks, stride: 1 };
    }
  }
}

/** Time of `sequences` sequences' prompts of `tokens` tokens, all stages, with the host. Long prompts in pieces. */
export function prefillTime(
  clock: StepClock,
  plan: InferencePlan,
  sequences: number,
  tokens: number,
  breakdown: StepBreakdown,
): Seconds {
  const { pp, prefillChunk } = plan;
  // On one stage the sequences go together, on several one after another.
  const [together, waves] = pp === 1 ? [sequences, 1] : [1, sequences];
  const piece = Math.min(prefillChunk ?? tokens, tokens);
  const pieces = Math.ceil(tokens / piece);
  const samples = weightedPieces(pieces);
  let time = 0;
  let longest = 0;
  for (const { index, weight } of samples) {
    const length = Math.min(piece, tokens - index * piece);
    const step = clock.prefill(together, length, index * piece);
    const times = weight * waves;
    // Every piece occupies the slowest stage; the one that takes longest in the others is waited for there.
    time += times * step.slowest;
    longest = Math.max(longest, step.loop - step.slowest);
    addBreakdown(breakdown, step.breakdown, times);
  }
  time += longest;
  // A token is chosen for each sequence once, after its last piece.
  const host = (pieces * waves - 1) * clock.host(0) + clock.host(sequences);
  breakdown.host += host;
  return time + host;
}

/**
 * Which pieces of a prompt to compute, and for how many each stands: all of a few, else Simpson's rule over the first, the
 * middle and the last but one (time is a parabola of the position at most), and the last, which can be shorter.
 */
function weightedPieces(pieces: number): { readonly index: number; readonly weight: number }[] {
  const full = pieces - 1;
  if (pieces <= 5) return Array.from({ length: pieces }, (_, index) => ({ index, weight: 1 }));
  return [
    { index: 0, weight: full / 6 },
    { index: Math.round((full - 1) / 2), weight: (4 * full) / 6 },
    { index: full - 1, weight: full / 6 },
    { index: full, weight: 1 },
  ];
}

/**
 * A decode step with the host: `tokens` new tokens of each of `sequences` sequences, which have `context` positions. Compiled
 * programs compute their own number of sequences.
 */
export function decodeTime(
  clock: StepClock,
  { pp, compiled }: Pick<InferencePlan, 'pp' | 'compiled'>,
  sequences: number,
  context: number,
  tokens: number,
  breakdown?: StepBreakdown,
  weight: number = 1,
): Seconds {
  const computed = Math.max(sequences, compiled?.batch ?? 1);
  const microBatches = Math.min(pp, computed);
  const step = clock.decode(Math.ceil(computed / microBatches), context, tokens);
  const host = clock.host(sequences);
  if (breakdown !== undefined) {
    addBreakdown(breakdown, step.breakdown, weight);
    breakdown.host += weight * host;
  }
  return Math.max(step.loop, microBatches * step.slowest) + host;
}
