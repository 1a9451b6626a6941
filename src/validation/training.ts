/**
 * A measured training step as a plan of the step model.
 *
 * What a source leaves open is what its software does by default: sequence parallelism with tensor parallelism, optimizer
 * states sharded over the replicas (ZeRO 1), the least recomputation that fits into memory. Megatron-LM before 2023 and the Neuron
 * libraries reduce gradients after the last micro-batch; later software while the backward pass runs. Megatron-LM before
 * 2023 and PyTorch FSDP of 2023 run a kernel for each operator; Transformer Engine (NeMo) has fused ones.
 *
 * On Neuron, neuronx-nemo-megatron has flash attention from 2.19 on (its release notes, 0.6.0), and scripts older than NeuronX
 * Distributed have none. neuronx-nemo-megatron has a softmax that takes in scaling and mask (NEURON_FUSE_SOFTMAX in its Llama script;
 * its GPT scripts don't say, and are taken to have it too); the port of Megatron-LM is run with --no-masked-softmax-fusion, and Hugging Face's BERT in torch-neuronx computes each by itself, and
 * dropout, which its configuration has.
 * see: aws-neuron/neuronx-nemo-megatron, test_llama.sh; aws-neuron/aws-neuron-reference-for-megatron-lm,
 * pretrain_gpt3_6.7B_32layers_bf16.sh; aws-neuron/aws-neuron-samples, dp_bert_large_hf_pretrain_hdf5.py
 */
import { expectInteger } from '../base/errors.ts';
import { collectiveClock } from '../collectives/collective-clock.ts';
import { operatorClock } from '../core/operator-clock.ts';
import { findSystem } from '../hardware/catalog.ts';
import { type Constants, fittedList } from '../hardware/fitted.ts';
import type { SystemSpec } from '../hardware/spec.ts';
import { createCluster } from '../machine/cluster.ts';
import { formatsOf } from '../models/formats.ts';
import { modelFromFields } from '../models/from-fields.ts';
import { parallelism } from '../models/shard.ts';
import type { SharedTables } from '../workloads/training/part-times.ts';
import { emptyCost, type StepPlan, type TrainingSetup } from '../workloads/training/setup.ts';
import { StepModel } from '../workloads/training/step-model.ts';
import { formatOf } from './kernel.ts';
import type { MeasuredSystem, TrainingCase, TrainingQuestion } from './measurement.ts';
import type { Predict } from './predict.ts';

const ZERO_STAGES = [0, 1, 2, 3] as const;

/** A system of which each node uses a part of its chips, as a system of that part. */
function usedPart(system: SystemSpec, { accelerators, nodes }: MeasuredSystem): SystemSpec {
  const chips = Math.ceil(accelerators / nodes);
  const { fabric } = system;
  if (chips === system.chips || nodes === 1 || fabric?.type !== 'switched') return system;
  const levels = fabric.levels.map((level) => ({ ...level, groupSize: Math.min(level.groupSize, chips) }));
  return { ...system, chips, fabric: { ...fabric, levels } };
}

export function trainingPredictor({ system: measured, case: ran }: TrainingQuestion): Predict {
  const setup = setupOf(measured, ran);
  const [plan, all] = plansOf(setup, ran);
  const capacity = memoryOf(setup);
  const [cost, recomputed] = [emptyCost(), emptyCost()];
  const graphs: SharedTables['graphs'] = new Map();
  return (constants) => {
    const model = new StepModel({ ...setup, constants }, { ...clocksOf(setup, constants), graphs });
    model.evaluate(plan!, cost);
    if (all === undefined || cost.memory.total <= capacity) return cost.step;
    // As many layers as have to are recomputed: both times and memory are sums over layers.
    model.evaluate(all, recomputed);
    const saved = cost.memory.total - recomputed.memory.total;
    const share = saved <= 0 ? 0 : Math.min(1, (cost.memory.total - capacity) / saved);
    return cost.step + share * (recomputed.step - cost.step);
  };
}

/** Clocks of the rows on one machine, for one set of the constants of the layers below. */
let known: { readonly key: string; readonly clocks: Map<string, Partial<SharedTables>> } = {
  key: '',
  clocks: new Map(),
};

function clocksOf({ cluster }: Omit<TrainingSetup, 'constants'>, constants: Constants): Partial<SharedTables> {
  const { system, nodes, ranks, lnc } = cluster;
  const { chip } = system;
  // Reading them all also says that the prediction depends on them.
  const lower = fittedList().filter(({ layer }) => layer !== 'llm');
  const key = lower.map(({ name }) => constants[name]).join();
  if (known.key !== key) known = { key, clocks: new Map() };
  const machine = `${system.id} ${system.chips} ${nodes} ${ranks} ${lnc}`;
  let clocks = known.clocks.get(machine);
  if (clocks === undefined) {
    clocks = {
      collectives: collectiveClock(cluster, constants),
      // Those of other makers' accelerators have constants of this layer.
      ...(chip.cores !== null && { operators: operatorClock(chip, lnc, constants) }),
    };
    known.clocks.set(machine, clocks);
  }
  return clocks;
}

/** Minor number of the Neuron SDK 2; the newest, if none is stated. */
function neuronRelease(software: string): number {
  return Number(/Neuron 2\.(\d+)/.exec(software)?.[1] ?? Infinity);
}

function hasNeuronFlash(software: string): boolean {
  return /Distributed/.test(software) || (/nemo-megatron/.test(software) && neuronRelease(software) >= 19);
}

function memoryOf({ cluster }: Pick<TrainingSetup, 'cluster'>): number {
  return (cluster.system.chip.memory.capacity ?? Infinity) / cluster.ranksPerChip;
}

function setupOf(measured: MeasuredSystem, ran: TrainingCase): Omit<TrainingSetup, 'constants'> {
  const system = usedPart(findSystem(measured.id), measured);
  const cluster = createCluster(system, {
    nodes: measured.nodes,
    chips: measured.accelerators,
    ...(ran.lnc === null ? {} : { lnc: ran.lnc }),
  });
  expectInteger('ranks', ran.tp * ran.pp * ran.dp * ran.cp, cluster.ranks, cluster.ranks);
  const is16Bit = ran.optimizerDtype === 'bf16';
  const isNeuron = system.chip.cores !== null;
  const isOld = /Megatron-LM \(20(19|20|21|22)\)/.test(ran.software);
  const isModern = !isNeuron && /NeMo/.test(ran.software);
  const isEager = isOld || /FSDP/.test(ran.software);
  const hasFlash = !isOld && (!isNeuron || hasNeuronFlash(ran.software));
  const isEncoder = ran.software.startsWith('torch-neuronx');
  const isUnfused = isEncoder || ran.software.startsWith('Megatron-LM port');
  const model = modelFromFields(ran.model);
  return {
    model,
    cluster,
    seq: ran.seqLen,
    globalBatch: ran.globalBatch,
    formats: formatsOf(formatOf(ran.dtype), is16Bit ? { gradients: 'bf16' } : {}),
    // FP32: master weight and two moments; BF16 with stochastic rounding: the moments alone.
    stateBytes: is16Bit ? 4 : 12,
    software: isNeuron || isEager ? 'compiler' : 'library',
    overlap: { gradients: !isOld && !isNeuron, tensor: isModern, passes: isModern && ran.interleave > 1 && ran.ep > 1 },
    flash: hasFlash,
    fusedSoftmax: !isUnfused,
    dropout: isOld || isEncoder,
    expertSkew: 1,
  };
}

/** The plan; where recomputation is not stated, plans with more and more of it. */
function plansOf(setup: Omit<TrainingSetup, 'constants'>, ran: TrainingCase): StepPlan[] {
  const { tp, pp, dp, cp, ep, interleave } = ran;
  const microBatches = Math.ceil(ran.globalBatch / (ran.microBatch * dp));
  const shard = parallelism({ tp, cp, ep, ...(ran.sequenceParallel === null ? {} : { sp: ran.sequenceParallel }) });
  const zero = ZERO_STAGES.find((stage) => stage === ran.zeroStage) ?? 1;
  const recompute = ran.recompute === 'unknown' ? (['none', 'full'] as const) : [ran.recompute];
  const schedule = interleave > 1 ? ('interleaved' as const) : ('1f1b' as const);
  return recompute.map((how) => ({
    ...shard,
    pp,
    dp,
    zero,
    schedule,
    interleave,
    microBatch: ran.microBatch,
    microBatches,
    recompute: setup.flash && how === 'selective' ? ('none' as const) : how,
    placement: 'tp-cp-dp-pp' as const,
  }));
}
