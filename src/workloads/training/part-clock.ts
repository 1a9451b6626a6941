/**
 * The clock of the items of a training graph on one rank: operators as the training software runs them, collectives over
 * the groups that a plan makes.
 *
 * - GPUs: matrix products and attention run for minutes, at the clock that the power limit allows (`gpuSustained`, the share of
 *   a benchmark's rate); a framework runs norms, sums and casts as more kernels than the graph has operators
 *   (`gpuPointwiseKernels`).
 * - NeuronCores: the compiled program keeps DMA queues ahead of the engines, so that an operator takes what its busiest engine
 *   takes, at the efficiency of compiled code (`neuronCompiledEfficiency`).
 * - Experts over several nodes: each token once to a node, and on to its experts inside (DeepEP), where that is faster.
 *
 * see: DeepSeek-V3, arXiv:2412.19437, section 3.2.2; data/fitted.json.
 */
import { pow } from '../../base/math.ts';
import type { Bytes, Seconds } from '../../base/units.ts';
import type { CollectiveClock, RankGroup } from '../../collectives/cost.ts';
import type { OperatorCase, OperatorClock } from '../../core/operator-case.ts';
import { operatorClock } from '../../core/operator-clock.ts';
import type { CollectiveItem } from '../../models/graph.ts';
import type { LayerKind } from '../../models/spec.ts';
import type { ItemClock } from './graph-time.ts';
import { strideOf } from './placement.ts';
import type { StepPlan, TrainingSetup } from './setup.ts';

const PRODUCTS: readonly string[] = ['matmul', 'batched-matmul', 'attention'];

/** Time of an operator in the training software. */
export function operatorTime(
  { cluster, constants }: TrainingSetup,
  clock: OperatorClock,
  operator: OperatorCase,
): Seconds {
  const { time, busy } = clock(operator);
  if (cluster.system.chip.cores === null) {
    return PRODUCTS.includes(operator.op) ? time / constants.gpuSustained! : time * constants.gpuPointwiseKernels!;
  }
  const { DMA = 0, ...engines } = busy;
  let busiest = 0;
  for (const engine in engines) busiest = Math.max(busiest, engines[engine]!);
  return Math.max(DMA, busiest / constants.neuronCompiledEfficiency!);
}

/** The clock for the items of a layer of `kind`, or of embedding and head, under `plan`. */
export function itemClock(
  setup: TrainingSetup,
  operators: OperatorClock,
  collectives: CollectiveClock,
  plan: StepPlan,
  kind?: LayerKind,
): ItemClock {
  const direct = (item: CollectiveItem): Seconds => {
    const { collective, bytes } = item;
    return collectives({ collective, bytes, group: groupOf(item, plan) }).time;
  };
  return {
    operator: ({ case: operator, repeat }) => repeat * operatorTime(setup, operators, operator),
    collective(item) {
      const time = direct(item);
      if (item.dimension !== 'ep' || item.collective !== 'all-to-all' || kind?.mlp.kind !== 'moe') {
        return item.repeat * time;
      }
      return (
        item.repeat * Math.min(time, nodeByNode(setup, collectives, groupOf(item, plan), item.bytes, kind.mlp.topK))
      );
    },
  };
}

/** One copy of a token to each node that has experts of it, then copies inside the node. */
function nodeByNode(
  { cluster }: TrainingSetup,
  collectives: CollectiveClock,
  group: RankGroup,
  bytes: Bytes,
  topK: number,
): Seconds {
  const { ranks, stride } = group;
  const inNode = Math.max(1, Math.floor((cluster.ranksPerChip * cluster.chipsPerNode) / stride));
  const nodes = Math.ceil(ranks / inNode);
  if (nodes === 1 || inNode === 1) return Number.POSITIVE_INFINITY;
  const reached = nodes * (1 - pow(1 - 1 / nodes, topK));
  const between = collectives({
    collective: 'all-to-all',
    bytes: (bytes * reached) / topK,
    group: { ranks: nodes, stride: inNode * stride },
  }).time;
  return between + collectives({ collective: 'all-to-all', bytes, group: { ranks: inNode, stride } }).time;
}

/** The ranks of an item's group. */
function groupOf({ dimension, ranks }: CollectiveItem, plan: StepPlan): RankGroup {
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

/** The operators of a rank, of a chip whose ranks all run the same. */
export function rankClock({ cluster, constants }: TrainingSetup): OperatorClock {
  const { chip } = cluster.system;
  const cores = chip.cores === null ? 1 : cluster.rank === 'chip' ? chip.cores : cluster.lnc;
  return operatorClock(chip, cores, constants);
}
