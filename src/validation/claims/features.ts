/**
 * Claims that are features: what has to run, and what of it can be counted in the catalogue. The command of the row shows it.
 */

import { ModelError } from '../../base/errors.ts';
import { collectiveAlgorithms, collectivesOf } from '../../collectives/algorithms/registry.ts';
import { chips, findSystem, systems } from '../../hardware/catalog.ts';
import { createCluster } from '../../machine/cluster.ts';
import { parseModelConfig } from '../../models/config.ts';
import { modelSpec, models } from '../../models/presets.ts';
import type { ModelSpec } from '../../models/spec.ts';
import { inferencePlanMemory, rankCapacity } from '../../workloads/inference/infer.ts';
import { inferencePlan } from '../../workloads/inference/plan.ts';

/** What stands in the row of a feature. */
interface Feature {
  readonly definition: string;
  /** Null where there is nothing to count. */
  readonly count: number | null;
  readonly unit: string | null;
  readonly note: string;
}

/** How many of it there are, counted in the catalogue when it is asked for: a chip more in `data/` shows in the row. */
type Counted = { readonly unit: string; readonly of: () => number } | undefined;
type Entry = readonly [definition: string, counted?: Counted, note?: string];

// Generations by their ids: Inferentia and Trainium, announced ones too.
const AWS = ['inf1', 'inf2', 'trn1', 'trn2', 'trn3', 'trn4'];
const generations = { unit: 'chips', of: () => chips().filter(({ id }) => AWS.includes(id)).length };
const ultraServers = {
  unit: 'UltraServers',
  of: () => systems().filter(({ id }) => id.includes('ultraserver')).length,
};
// Only chips of AWS have NeuronCores, and so a number of cores.
const instances = { unit: 'systems', of: () => systems().filter(({ chip }) => chip.cores !== null).length };
const gpuSystems = {
  unit: 'systems',
  of: () => systems().filter(({ vendor, chip }) => vendor !== '' && chip.cores === null).length,
};
const amd = { unit: 'chips', of: () => chips().filter(({ id }) => id.startsWith('mi')).length };

/** Whether a decoder and the cache of a sequence (2,048 positions, or all that it has) fit into the chips of a system, cut by some tensor parallelism. */
function isPlaced(model: ModelSpec, system: string): boolean {
  const cluster = createCluster(findSystem(system), { rank: 'chip' });
  const half = model.positions === 'learned' ? Math.min(1024, Math.floor(model.maxPositions / 2)) : 1024;
  return [1, 2, 4, 8, 16, 32, 64].some((tp) => {
    const plan = inferencePlan({ model, tp, input: half, output: half });
    return inferencePlanMemory(plan).total <= rankCapacity(cluster);
  });
}

const placed = {
  unit: 'decoders',
  of: () =>
    models()
      .map(({ id }) => modelSpec(id))
      .filter((model) => model.head === 'lm')
      .filter((model) => ['trn2-ultraserver', 'trn3-ultraserver-gen2'].every((system) => isPlaced(model, system)))
      .length,
};
/** Of the dense families whose layers are computed for real. */
const runnable = { unit: 'models', of: () => models().filter(({ id, config }) => isRunnable(id, config)).length };

function isRunnable(id: string, config: Readonly<Record<string, unknown>>): boolean {
  try {
    return parseModelConfig(config, id) !== undefined;
  } catch (error) {
    if (error instanceof ModelError) return false;
    throw error;
  }
}

/** By id of the statement: what has to run, what can be counted, and a note where the words need one. */
const FEATURES: Readonly<Record<string, Entry>> = {
  '1': ['every AWS chip generation is in the catalogue, each number with its source', generations],
  '6': ['engines, memories and links of a NeuronCore as documented, peak rates that sum to the chip', instances],
  '11': ['predictions beside every published measurement, errors printed'],
  '17': ['time and MFU of a training step under data, tensor, pipeline and expert parallelism'],
  '18': ['GPU systems run the same models', gpuSystems],
  '21': [
    'naming',
    undefined,
    'The Neuron documentation calls Trainium3 the fourth generation of ML chip, the press the third Trainium.',
  ],
  '25': ['UltraServers of 64 and 144 chips', ultraServers],
  '32': ['AMD chips run the same operators', amd],
  '45': ['instances of the P and Trn families', instances],
  '46': ['training and inference on one chip description'],
  '50': ['checkpoints are written at the bandwidth of a storage, EFA joins the systems'],
  '56': ['the same request gives the same bytes from the kernels whichever machine is described'],
  '60': [
    'every model preset is placed on Trainium2 and Trainium3, or the answer says what does not fit',
    placed,
    'On one UltraServer of each. BERT is an encoder and serves no tokens.',
  ],
  '62': ['fleets of several kinds of machines'],
  '82': [
    'sessions of many calls with a growing shared prefix are served from the prefix cache',
    undefined,
    'Not built in this version: it is part of `trnsim serve`.',
  ],
  '88': ['training, prefill and decode on one chip description'],
  '91': ['several models share one fleet'],
  '96': ['launch date', undefined, 'General availability 2 December 2025.'],
  '101': ['Inferentia chips are in the catalogue', generations],
  '102': ['one program for every machine: only the name of the system changes'],
  '103': [
    'a layer of a PyTorch model runs from its Hugging Face configuration',
    runnable,
    'PyTorch itself is not executed.',
  ],
  '104': ['one string of a command is the only difference between two machines'],
  '108': [
    'engines, memories, links and collectives are exercised with real data',
    { unit: 'collectives', of: () => new Set(collectiveAlgorithms().flatMap(collectivesOf)).size },
  ],
  '111': ['a timeline of every engine and link for a trace viewer'],
  '112': ['a Trainium3 sled has 4 chips; an UltraServer runs on without a drained one'],
  '113': [
    'sleds of each generation as far as they are published',
    undefined,
    'The tray layout of Trainium2 is not public.',
  ],
};

/** @throws RangeError for an id without an entry: a mistake in the data */
export function featureDefinition(id: string): Feature {
  const entry = FEATURES[id];
  if (entry === undefined) throw new RangeError(`"id" expected a feature, got ${id}`);
  const [definition, counted, note = ''] = entry;
  return { definition, count: counted?.of() ?? null, unit: counted?.unit ?? null, note };
}
