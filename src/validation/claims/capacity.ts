/**
 * Claims of size: what a budget, a power feed or a number of chips comes to, up to the million chips of one cluster.
 * All-in power of a chip x PUE for watts, list prices for dollars, dense peaks for FLOPS.
 */
import { sizeFleet, sumFleets } from '../../economics/fleet.ts';
import { goodput } from '../../economics/goodput.ts';
import { simulateGoodput } from '../../economics/goodput-simulation.ts';
import { chipPrice } from '../../economics/prices.ts';
import { jobMtbf } from '../../economics/reliability.ts';
import { closSize } from '../../fabric/clos.ts';
import { appendClusterRoute, longestClusterRoute } from '../../fabric/cluster.ts';
import type { SystemSpec } from '../../hardware/spec.ts';
import { createCluster } from '../../machine/cluster.ts';
import { type ClaimModel, given } from './claim.ts';
import type { World } from './world.ts';

/** Readings of 2026-09 at the latest: the last month for which all platforms have one. */
export const PRICES_AT = { date: '2026-09', basis: 'capacity-block' } as const;

// The systems that most statements are about: Trainium3 in its largest form, and the Trainium2 that Rainier is built of.
const GEN2 = 'trn3-ultraserver-gen2';
const TRN2 = 'trn2-ultraserver';
/** Failures of a job on H100: nobody publishes those of Trainium. */
const RATES = 'llama-3-405b';

/** What a sum that was announced buys. A chip-year, because nothing is said of how long the machines are paid for. */
const budget: ClaimModel = {
  ids: ['3', '44'],
  unit: 'chip-years',
  definition: 'budget / (capacity-block price of a Trainium2 chip-hour x 8,760 h)',
  inputs: ['scenario/budgetUsd', 'prices/trn2.48xlarge/capacity-block'],
  compute: (world, scenario) => {
    const price = chipPrice(world.system('trn2.48xlarge'), PRICES_AT, world.prices)!;
    const hours = given(scenario, 'hours');
    const years = given(scenario, 'budgetUsd') / (price.usdPerChipHour * hours);
    return {
      value: years,
      details: { usdPerChipHour: price.usdPerChipHour, price: price.reason },
      note: 'The statement gives the budget only. No price of Trainium3 is public: counted in Trainium2.',
    };
  },
};

/** The "rack-scale configuration": one UltraServer, its totals from chip x count and not from a data sheet of the whole. */
const rackScale: ClaimModel = {
  ids: ['9'],
  unit: 'chips',
  definition: 'sleds x chips of a sled of the Trn3 Gen2 UltraServer; its totals from chip x count',
  inputs: [`systems/${GEN2}/layout.servers`, `systems/${GEN2}/layout.chipsPerServer`],
  compute: (world) => {
    const { layout, chip, chips } = world.system(GEN2);
    const total = (value: number | null | undefined, unit: number) => ((value ?? 0) * chips) / unit;
    return {
      value: layout.servers! * layout.chipsPerServer!,
      details: {
        sleds: layout.servers!,
        fp8PFLOPS: total(chip.peak.fp8, 1e15),
        bf16PFLOPS: total(chip.peak.bf16, 1e15),
        hbmTBps: total(chip.memory.bandwidth, 1e12),
        hbmGiB: total(chip.memory.capacity, 2 ** 30),
      },
    };
  },
};

/** The same 144 chips by the rack: here the statement disagrees with the maker's own layout. */
const rack: ClaimModel = {
  ids: ['26', '69'],
  unit: 'chips',
  definition: 'sleds x chips of a sled / racks of the Trn3 Gen2 UltraServer',
  inputs: [`systems/${GEN2}/layout.servers`, `systems/${GEN2}/layout.chipsPerServer`, `systems/${GEN2}/layout.racks`],
  compute: (world) => {
    const { servers, chipsPerServer, racks } = world.system(GEN2).layout;
    return {
      value: (servers! * chipsPerServer!) / racks!,
      details: { racks: racks!, sledsPerRack: servers! / racks!, chipsOfUltraServer: servers! * chipsPerServer! },
      note: 'The 144 chips are one UltraServer of two racks ("144 Trainium3 chips across two racks", AWS): a rack has half.',
    };
  },
};

/** The ratio of two announced sizes. The details size the Clos network, without oversubscription, that joins so many chips. */
const scale: ClaimModel = {
  ids: ['27', '72'],
  unit: 'x',
  definition:
    'chips of the largest cluster announced / of the one before (Trn1 documentation, Trn2 announcement of 2023)',
  inputs: ['scenario/chips', 'scenario/previousChips'],
  compute: (world, scenario) => {
    const system = world.system(GEN2);
    const chips = given(scenario, 'chips');
    // `scaleOut` is in bytes per second, a port is sold in Gbit/s.
    const portsPerChip = (8 * system.scaleOut!) / system.chips / (1e9 * given(scenario, 'portGbps'));
    const size = closSize(Math.ceil(chips * portsPerChip), given(scenario, 'switchPorts'));
    return {
      value: chips / given(scenario, 'previousChips'),
      details: {
        portsNeeded: chips * portsPerChip,
        portsOfClos: size.capacity,
        tiers: size.tiers.length,
        switches: size.tiers.reduce((sum, { switches }) => sum + switches, 0),
        cables: size.links,
      },
    };
  },
};

/**
 * Whether a million fit is a question of switch ports. The cluster is built and a route through it taken, so that the answer
 * is of the same machine that `trnsim plan` and `collective` use.
 */
const millionChips: ClaimModel = {
  ids: ['70'],
  unit: 'chips',
  definition:
    'chips that the network of the Trn3 UltraServer holds without blocking; a cluster of a million is built and routed',
  inputs: [`systems/${GEN2}/network.tiers.0.ports`],
  compute: (world, scenario) => {
    const system = world.system(GEN2);
    const chips = given(scenario, 'chips');
    const cluster = createCluster(system, { chips, rank: 'chip' });
    // The first and the last chip are as far apart as two can be: their route passes every tier.
    const path = new Int32Array(longestClusterRoute(cluster));
    const { network, scaleOut } = system;
    const portsPerChip = scaleOut! / system.chips / (network!.planes * network!.port);
    const ports = closSize(
      Math.ceil(chips * portsPerChip),
      network!.tiers.map((tier) => tier.ports),
      network!.tiers.map((tier) => tier.oversubscription),
    );
    const fleet = sizeFleet(system, { type: 'chips', chips });
    return {
      value: Math.floor(ports.capacity / portsPerChip),
      details: {
        ultraServers: fleet.systems,
        fp8EFLOPS: fleet.compute.fp8! / 1e18,
        tiers: ports.tiers.length,
        switches: network!.planes * ports.tiers.reduce((sum, tier) => sum + tier.switches, 0),
        linksFromFirstToLastChip: appendClusterRoute(cluster, 0, cluster.chips - 1, path, 0),
      },
    };
  },
};

/** EFLOPS, HBM and power of a number of chips of one system. */
function totals(system: SystemSpec, chips: number, world: World): Record<string, number | string> {
  const { compute, memoryBandwidth, buildingPower, systems } = sizeFleet(
    system,
    { type: 'chips', chips },
    { site: world.site },
  );
  return {
    systems,
    bf16EFLOPS: (compute.bf16 ?? 0) / 1e18,
    fp8EFLOPS: (compute.fp8 ?? 0) / 1e18,
    hbmPBps: (memoryBandwidth ?? 0) / 1e15,
    buildingMW: buildingPower === null ? 'unknown' : buildingPower / 1e6,
  };
}

/** Chips of another maker by the same totals. */
const gpus: ClaimModel = {
  ids: ['40'],
  unit: 'EFLOPS',
  definition: 'GPUs x dense BF16 peak of a GB200, the largest with a published rack power',
  inputs: ['scenario/chips', 'chips/gb200-nvl72-gpu/peak.bf16'],
  compute: (world, scenario) => {
    const all = totals(world.system('gb200-nvl72'), given(scenario, 'chips'), world);
    return {
      value: all.bf16EFLOPS as number,
      details: all,
      note: 'The statement names no GPU: with Blackwell of 120 kW a rack of 72.',
    };
  },
};

/** Power in place of money: chips that a feed of 2 GW drives, all-in and with the building. */
const gigawatts: ClaimModel = {
  ids: ['84'],
  unit: 'chips',
  definition: 'power / (all-in power of a Trainium3 chip x PUE)',
  inputs: ['scenario/powerW', `systems/${GEN2}/power`, 'site/pue'],
  compute: (world, scenario) => {
    const target = { type: 'power', watts: given(scenario, 'powerW') } as const;
    const site = { site: world.site };
    const trn3 = sizeFleet(world.system(GEN2), target, site);
    return {
      value: trn3.chips,
      details: {
        ultraServers: trn3.systems,
        mxfp8EFLOPS: trn3.compute.mxfp8! / 1e18,
        chipsAt1000WattTdp: sizeFleet(world.system(GEN2), target, { ...site, chipPower: 1000 }).chips,
        trn2Chips: sizeFleet(world.system(TRN2), target, site).chips,
      },
      note: 'AWS publishes no power of Trainium3: 700 W (two third parties) x 1.5 for the server; 1,000 W by others.',
    };
  },
};

/** A sum over generations. The split is not public, so it is part of the scenario, and the row says which assumption it is. */
const generations: ClaimModel = {
  ids: ['86'],
  unit: 'chips',
  definition: 'sum over the generations; the split is an assumption of the scenario',
  inputs: ['scenario/trn1Chips', 'scenario/trn2Chips', 'scenario/trn3Chips'],
  compute: (world, scenario) => {
    const parts = [
      ['trn1.32xlarge', 'trn1Chips'],
      [TRN2, 'trn2Chips'],
      [GEN2, 'trn3Chips'],
    ] as const;
    const fleets = parts.map(([id, chips]) =>
      sizeFleet(world.system(id), { type: 'chips', chips: Math.round(given(scenario, chips)) }, { site: world.site }),
    );
    const { chips, bf16, memoryBandwidth, buildingPower } = sumFleets(fleets);
    // A sum with an unknown part is unknown; what is known of it is worth a row of its own.
    const knownPower = fleets.reduce((sum, fleet) => sum + (fleet.buildingPower ?? 0), 0);
    return {
      value: chips,
      details: {
        bf16EFLOPS: bf16! / 1e18,
        hbmPBps: memoryBandwidth! / 1e15,
        buildingMW: buildingPower === null ? 'unknown: no power of Trainium1 is published' : buildingPower / 1e6,
        buildingMWOfTrn2AndTrn3: knownPower / 1e6,
      },
      note: 'Amazon says of the same 1.4 million that they are Trainium2 "landed" (results of Q4 2025): the split is an input.',
    };
  },
};

/** The peak of all chips of one tenant, as if they were one machine. */
const tenant: ClaimModel = {
  ids: ['87'],
  unit: 'EFLOPS',
  definition: 'a million Trainium2 x dense BF16 peak',
  inputs: ['scenario/chips', 'chips/trn2/peak.bf16'],
  compute: (world, scenario) => {
    const all = totals(world.system(TRN2), given(scenario, 'chips'), world);
    return { value: all.bf16EFLOPS as number, details: all };
  },
};

/** The power of the chips beside the share of the site that their buildings have: two ways to one figure. */
const rainier: ClaimModel = {
  ids: ['116'],
  unit: 'MW',
  definition: 'chips x all-in power of a Trainium2 chip x PUE',
  inputs: ['scenario/chips', `systems/${TRN2}/power`, 'site/pue'],
  compute: (world, scenario) => {
    const all = totals(world.system(TRN2), given(scenario, 'chips'), world);
    // The announced power of the site, by the number of buildings.
    const site = (given(scenario, 'buildings') / given(scenario, 'siteBuildings')) * given(scenario, 'sitePowerW');
    return {
      value: all.buildingMW as number,
      details: { ...all, shareOfSiteMW: site / 1e6 },
      note: '7 of 30 buildings of a 2.2 GW site come to more: buildings are built for more than they draw.',
    };
  },
};

/**
 * One synchronous job on everything fails as often as its chips together. What is left of its time depends on checkpoints, so
 * fast and slow ones are both given, and the closed form beside the simulation (docs/fleet.md).
 */
const oneJob: ClaimModel = {
  ids: ['71', '117'],
  unit: 'min',
  definition:
    'mean time between failures of one synchronous job on all chips, at the rate of Llama 3 (H100): 1 / (chips x rate)',
  inputs: ['scenario/chips', `reliability/${RATES}`],
  compute: (world, scenario) => {
    const mtbf = jobMtbf(world.reliability(RATES), Math.round(given(scenario, 'chips')));
    const job = { mtbf, write: given(scenario, 'writeS'), restart: given(scenario, 'restartS') };
    return {
      value: mtbf / 60,
      details: {
        minAtTheRateOfRsc2: jobMtbf(world.reliability('rsc-2'), Math.round(given(scenario, 'chips'))) / 60,
        goodput: goodput(job),
        goodputMonteCarlo: simulateGoodput(job, { events: 10_000 }).goodput,
        goodputWithSlowCheckpoints: goodput({ ...job, write: 60, restart: 600 }),
      },
      note: 'No failure rate of Trainium is public: a GPU rate. Checkpoints of 1 s in memory and restarts of 30 s against 60 s and 600 s.',
    };
  },
};

/** "Massive, stable, low-cost" as three numbers: the peak, the goodput that is left of it, and a price. */
const everything: ClaimModel = {
  ids: ['73'],
  unit: 'EFLOPS',
  definition: 'BF16 peak of the Trainium2 chips x goodput of one job on all of them; and what a PFLOP-hour costs',
  inputs: ['scenario/chips', 'chips/trn2/peak.bf16', `reliability/${RATES}`],
  compute: (world, scenario) => {
    const chips = Math.round(given(scenario, 'chips'));
    const system = world.system(TRN2);
    const mtbf = jobMtbf(world.reliability(RATES), chips);
    const kept = goodput({ mtbf, write: given(scenario, 'writeS'), restart: given(scenario, 'restartS') });
    const price = chipPrice(system, PRICES_AT, world.prices)!;
    const peak = system.chip.peak.bf16!;
    return {
      value: (chips * peak * kept) / 1e18,
      details: {
        peakEFLOPS: (chips * peak) / 1e18,
        goodput: kept,
        usdPerPflopHour: (price.usdPerChipHour / peak) * 1e15,
      },
    };
  },
};

export const capacityClaims: readonly ClaimModel[] = [
  budget,
  rackScale,
  rack,
  scale,
  millionChips,
  gpus,
  gigawatts,
  generations,
  tenant,
  rainier,
  oneJob,
  everything,
];
