/**
 * Claims of networks: the torus of the Trn2 UltraServer against the switches of Trn3, and a larger scale-up domain against
 * the same chips joined by the scale-out network.
 */
import { CollectiveModel } from '../../collectives/collective-clock.ts';
import type { Collective } from '../../collectives/schedule.ts';
import { fabricMetrics } from '../../fabric/metrics.ts';
import { appendRoute, longestRoute } from '../../fabric/routes.ts';
import { buildTopology, type Topology } from '../../fabric/topology.ts';
import type { SystemSpec } from '../../hardware/spec.ts';
import { createCluster, onChipLink } from '../../machine/cluster.ts';
import { type ClaimModel, given } from './claim.ts';

const TRN2 = 'trn2-ultraserver';
/** 64 chips as in the torus. */
const SWITCHED = 'trn3-ultraserver-gen1';
const GEN2 = 'trn3-ultraserver-gen2';

/** The scale-up fabric of one system, chips and switches as vertices. */
function topologyOf(system: SystemSpec): Topology {
  return buildTopology(system.fabric!, system.chips, onChipLink(system));
}

/** Mean over all pairs of chips of the latency of their route, in microseconds. */
function meanLatencyUs(topology: Topology): number {
  const { chips, latency } = topology;
  const path = new Int32Array(longestRoute(topology));
  let sum = 0;
  for (let from = 0; from < chips; from++) {
    for (let to = 0; to < chips; to++) {
      if (from === to) continue;
      const end = appendRoute(topology, from, to, path, 0);
      for (let i = 0; i < end; i++) sum += latency[path[i]!]!;
    }
  }
  return (1e6 * sum) / (chips * (chips - 1));
}

/** Along the routes, link by link: the statement is about latency, and a count of hops is not one. */
const switches: ClaimModel = {
  ids: ['97'],
  unit: 'x',
  definition:
    'mean latency between two chips, Trn2 UltraServer (64, 4x4x4 torus) / Trn3 Gen2 UltraServer (144, switched), as routed',
  inputs: [
    `systems/${TRN2}/fabric.dimensions.0.latency`,
    `systems/${GEN2}/fabric.levels.1.latency`,
    `systems/${GEN2}/fabric.levels.2.latency`,
  ],
  compute: (world) => {
    const [torus, switched] = [topologyOf(world.system(TRN2)), topologyOf(world.system(GEN2))];
    const [old, new_] = [fabricMetrics(torus), fabricMetrics(switched)];
    const [before, after] = [meanLatencyUs(torus), meanLatencyUs(switched)];
    return {
      value: before / after,
      details: {
        allToAllRatio: new_.allToAll! / old.allToAll!,
        torusMeanHops: old.meanHops,
        torusMaxHops: old.diameter,
        torusBisectionTBps: old.bisection! / 1e12,
        torusAllToAllGBps: old.allToAll! / 1e9,
        torusMeanLatencyUs: before,
        switchedMeanLinks: new_.meanHops,
        switchedMaxLinks: new_.diameter,
        switchedAllToAllGBps: new_.allToAll! / 1e9,
        switchedMeanLatencyUs: after,
      },
      note: 'No latency of a Neuron switch is public: a traversal counts as much as a NeuronLink hop, 1.5 us. allToAllRatio: bandwidth of the uniform all-to-all of a chip. What small all-reduces and experts gain: claim 35.',
    };
  },
};

/** What a larger domain is worth: the same exchange over the same number of chips, inside one system and between four. */
const domain: ClaimModel = {
  ids: ['35'],
  unit: 'x',
  definition:
    'all-to-all of DeepSeek-V3 tokens over 64 Trainium2 chips: four instances over EFA / one UltraServer, both by the formula clock',
  inputs: ['scenario/tokens', 'systems/trn2.48xlarge/scaleOut'],
  compute: (world, scenario) => {
    const model = world.model('deepseek-v3');
    const mlp = model.kinds.map((kind) => kind.mlp).find((candidate) => candidate.kind === 'moe')!;
    // One byte an element (FP8): a rank sends each of its tokens to topK experts.
    const bytes = given(scenario, 'tokens') * mlp.topK * model.hidden;
    // A clock of a cluster keeps what it has prepared: one for each machine.
    const models = new Map<string, CollectiveModel>();
    const time = (id: string, nodes: number, collective: Collective = 'all-to-all', size: number = bytes) => {
      const clock = models.get(id) ?? new CollectiveModel(createCluster(world.system(id), { nodes, rank: 'chip' }));
      models.set(id, clock);
      return clock.cost({ collective, bytes: size, group: { ranks: 64, stride: 1 } }).time;
    };
    const [inside, across] = [time(TRN2, 1), time('trn2.48xlarge', 4)];
    const small = (id: string) => 1e6 * time(id, 1, 'all-reduce', 2 ** 16);
    return {
      value: across / inside,
      details: {
        bytesPerRank: bytes,
        ultraServerUs: 1e6 * inside,
        efaUs: 1e6 * across,
        trn3SwitchedUs: 1e6 * time(SWITCHED, 1),
        allReduce64KiBTorusUs: small(TRN2),
        allReduce64KiBSwitchedUs: small(SWITCHED),
      },
      note: 'Each chip sends its tokens to the top-8 experts in FP8. The gain is that of bandwidth at this size; small messages gain from latency.',
    };
  },
};

export const networkClaims: readonly ClaimModel[] = [switches, domain];
