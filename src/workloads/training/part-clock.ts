/**
 * The clock of the items of a training graph on one rank: operators as the training software runs them, collectives over
 * the groups that a plan makes.
 *
 * - GPUs: matrix products and attention run for minutes, at a part of a benchmark's rate (`gpuSustained`). `library` is fused
 *   kernels of the chip's own generation. `compiler` is a framework that launches a kernel after another: products are slower
 *   (`gpuEager`), norms, sums and casts are more kernels than the graph has operators (`gpuPointwiseKernels`), and attention is
 *   written for Ampere.
 * - NeuronCores: a compiled program (`program-time.ts`), in which `compiler` casts the operands of FP32 products to BF16.
 * - Experts: each token once to a rank; over several nodes once to a node, and on inside (DeepEP), where that is faster.
 *
 * see: Neuron SDK, neuronx-cc-training-mixed-precision (automatic casts); DeepSeek-V3, arXiv:2412.19437, section 3.2.2; FlashAttention-3, arXiv:2407.08608 (kernels for Ampere on Hopper); Luo et
 * al., arXiv:2402.13499 (its instructions reach 62 % of the peak there); data/fitted.json.
 */
import { pow } from '../../base/math.ts';
import type { Bytes, Seconds } from '../../base/units.ts';
import type { CollectiveClock, RankGroup } from '../../collectives/cost.ts';
import type { OperandFormat, OperatorCase, OperatorClock, OperatorCost } from '../../core/operator-case.ts';
import { operatorClock } from '../../core/operator-clock.ts';
import { operatorWork } from '../../core/operator-work.ts';
import type { ChipSpec } from '../../hardware/spec.ts';
import type { CollectiveItem } from '../../models/graph.ts';
import type { LayerKind } from '../../models/spec.ts';
import { programTime } from '../program-time.ts';
import type { ItemClock } from './graph-time.ts';
import { strideOf } from './placement.ts';
import type { StepPlan, TrainingSetup } from './setup.ts';

const PRODUCTS: readonly string[] = ['matmul', 'batched-matmul'];
/** Peak rate of Ampere's matrix instructions / of those that later tensor cores have instead. */
const OLD_INSTRUCTIONS = 0.62;

/** Time of an operator in the training software. */
export function operatorTime(
  { cluster, constants, software }: TrainingSetup,
  clock: OperatorClock,
  operator: OperatorCase,
): Seconds {
  const cost = clock(operator);
  const { chip } = cluster.system;
  const isEager = software === 'compiler';
  if (chip.cores !== null) {
    return isEager ? programTime(castCost(cost, clock, operator), 1) : programTime(cost, 0);
  }
  const sustained = constants.gpuSustained! * (isEager ? constants.gpuEager! : 1);
  if (operator.op === 'attention') return cost.time / (sustained * attentionShare(chip, software));
  if (PRODUCTS.includes(operator.op)) return cost.time / sustained;
  return isEager ? cost.time * constants.gpuPointwiseKernels! : cost.time;
}

/** The format that matrix products multiply in: the compiler casts FP32 operands by default. */
export function multipliedFormat({ cluster, formats, software }: TrainingSetup): OperandFormat {
  const isCast = cluster.system.chip.cores !== null && software === 'compiler' && formats.compute === 'f32';
  return isCast ? 'bf16' : formats.compute;
}

/**
 * FP32 products as the compiler does them by default: TensorE multiplies in BF16. As every operator of this level, the cast reads
 * its operand from device memory, 4 bytes, and writes 2, at the rate of the product's own loads.
 */
function castCost(cost: OperatorCost, clock: OperatorClock, operator: OperatorCase): OperatorCost {
  if (operator.dtype !== 'f32' || !PRODUCTS.includes(operator.op)) return cost;
  const inner: OperatorCase = { ...operator, dtype: 'bf16', outDtype: operator.outDtype ?? 'f32' };
  const { busy, hbmBytes } = clock(inner);
  const { aBytes, bBytes } = operatorWork(inner);
  return { ...cost, busy: { ...busy, DMA: (busy.DMA ?? 0) * (1 + (3 * (aBytes + bBytes)) / hbmBytes) } };
}

/**
 * Of the rate of the best attention kernels. Those that frameworks had before FlashAttention-3 are written for Ampere, whose
 * instructions still run on chips with FP8.
 */
function attentionShare({ peak }: ChipSpec, software: TrainingSetup['software']): number {
  return software === 'compiler' && typeof peak.fp8 === 'number' ? OLD_INSTRUCTIONS : 1;
}

/** The clock for the items of a layer of `kind`, or of embedding and head, under `plan`. */
export function itemClock(
  setup: TrainingSetup,
  operators: OperatorClock,
  collectives: CollectiveClock,
  plan: StepPlan,
  kind?: LayerKind,
): ItemClock {
  return {
    operator: ({ case: operator, repeat }) => repeat * operatorTime(setup, operators, operator),
    collective(item) {
      const { collective, bytes, repeat } = item;
      const group = groupOf(item, plan);
      if (item.dimension === 'ep' && collective === 'all-to-all' && kind?.mlp.kind === 'moe') {
        return repeat * tokenExchange(setup, collectives, group, bytes, kind.mlp.topK);
      }
      return repeat * collectives({ collective, bytes, group }).time;
    },
  };
}

/** Places that a token goes to if each of its `copies` picks one of `places`, by chance. */
function reached(places: number, copies: number): number {
  return places * (1 - pow(1 - 1 / places, copies));
}

/**
 * Tokens to the ranks of their experts: `bytes` with a copy for each expert, of which one goes to each rank that has any. Over several
 * nodes the faster of that and one copy to each node, then copies inside the node.
 */
function tokenExchange(
  { cluster }: TrainingSetup,
  collectives: CollectiveClock,
  group: RankGroup,
  bytes: Bytes,
  topK: number,
): Seconds {
  const { ranks, stride } = group;
  const exchange = (places: number, over: RankGroup): Seconds =>
    collectives({ collective: 'all-to-all', bytes: (bytes * reached(places, topK)) / topK, group: over }).time;
  const direct = exchange(ranks, group);
  const inNode = Math.max(1, Math.floor((cluster.ranksPerChip * cluster.chipsPerNode) / stride));
  const nodes = Math.ceil(ranks / inNode);
  if (nodes === 1 || inNode === 1) return direct;
  const between = exchange(nodes, { ranks: nodes, stride: inNode * stride });
  return Math.min(direct, between + exchange(ranks, { ranks: inNode, stride }));
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
