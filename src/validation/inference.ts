/**
 * A measured inference run as a plan: the model by its dimensions, the number formats, the fixed shapes of the compiled
 * programs, and the level of software by the name that the source gives.
 */

import type { Cluster } from '../fabric/cluster.ts';
import { findSystem } from '../hardware/catalog.ts';
import { type Constants, fittedList } from '../hardware/fitted.ts';
import { createCluster } from '../machine/cluster.ts';
import { formatsOf } from '../models/formats.ts';
import { modelFromFields } from '../models/from-fields.ts';
import type { Software } from '../models/graph.ts';
import { evaluateInference } from '../workloads/inference/evaluate.ts';
import { type InferenceOptions, inferencePlan, planRanks } from '../workloads/inference/plan.ts';
import { inferenceTables, type MachineClocks, machineClocks } from '../workloads/inference/tables.ts';
import { formatOf } from './kernel.ts';
import type { InferenceCase, InferenceQuestion } from './measurement.ts';
import type { Predict } from './predict.ts';

/** `megakernel` says so itself; the hub of NxD Inference has hand-written kernels; in ports and elsewhere the compiler generates. */
function softwareOf(name: string): Software {
  if (name.includes('megakernel')) return 'megakernel';
  return /^(NxD Inference|vLLM Neuron)/.test(name) && !name.includes('contrib') ? 'library' : 'compiler';
}

/**
 * optimum-neuron's own backend, used with vLLM, has one bucket, the longest length.
 * see: optimum-neuron, models/inference/backend/config.py (`enable_bucketing` false)
 */
function shapesOf({ compiled, software }: InferenceCase): InferenceOptions['compiled'] {
  if (compiled === null || software !== 'vLLM + optimum-neuron') return compiled;
  return { promptBucket: compiled.maxLen, contextBucket: compiled.maxLen, ...compiled };
}

function optionsOf(ran: InferenceCase): InferenceOptions {
  const { tp, pp, ep, dp, batch, inputLen, outputLen, prefillChunk, serving, speculation } = ran;
  const weights = formatOf(ran.weightDtype);
  const compute = formatOf(ran.computeDtype);
  return {
    model: modelFromFields(ran.model),
    tp,
    pp,
    ep,
    dp,
    batch,
    input: inputLen,
    output: outputLen,
    prefillChunk,
    serving,
    formats: formatsOf(compute, { weights, ...(ran.kvDtype !== null && { kv: formatOf(ran.kvDtype) }) }),
    software: softwareOf(ran.software),
    compiled: shapesOf(ran) ?? null,
    // No record says how many tokens were accepted: only prefill times are measured with a draft.
    speculation: speculation && {
      draft: modelFromFields(speculation.draftModel),
      draftTokens: speculation.draftTokens,
      acceptance: 0,
    },
  };
}

/** Clocks that rows on the same machine share: one set of constants at a time. */
let shared: { readonly key: string; readonly clocks: Map<string, MachineClocks> } = { key: '', clocks: new Map() };

/** What clocks are made of is fitted in the layers below. */
function clocksOf(cluster: Cluster, constants: Constants): MachineClocks {
  const { system, nodes, chips, ranks, lnc } = cluster;
  // The constants of other makers' accelerators are of this layer.
  if (system.chip.cores === null) return machineClocks(cluster, constants);
  const lower = fittedList().filter(({ layer }) => layer !== 'llm');
  const key = lower.map(({ name }) => constants[name]).join();
  if (shared.key !== key) shared = { key, clocks: new Map() };
  const machine = `${system.id} ${nodes} ${chips} ${ranks} ${lnc}`;
  let clocks = shared.clocks.get(machine);
  if (clocks === undefined) {
    clocks = machineClocks(cluster, constants);
    shared.clocks.set(machine, clocks);
  }
  return clocks;
}

/** @throws RangeError or ModelError for what is not modelled: a system without a catalogue entry, speculative decoding */
export function inferencePredictor({ system, case: ran, metric }: InferenceQuestion): Predict {
  const spec = findSystem(system.id);
  if (ran.speculation !== null && metric !== 'ttftS') {
    throw new RangeError('"acceptance" of drafted tokens expected for a time with speculation, got none');
  }
  const plan = inferencePlan(optionsOf(ran));
  const cluster = createCluster(spec, {
    nodes: system.nodes,
    ranks: planRanks(plan),
    ...(ran.lnc !== null && spec.chip.cores !== null && { lnc: ran.lnc }),
  });
  return (constants: Constants) => {
    const tables = inferenceTables(cluster, constants, clocksOf(cluster, constants));
    const { ttft, tpot, tokensPerSecond } = evaluateInference(plan, tables);
    return metric === 'ttftS' ? ttft : metric === 'tpotS' ? tpot : tokensPerSecond;
  };
}
