/**
 * The scale-out network: a folded Clos (fat tree) of k-port switches over the chips of a cluster.
 *
 * A switch below the top has d ports down and u up, d + u = k, d / u the oversubscription; a top switch has all k down.
 * So tiers of d1, d2, ... and k at the top hold d1 d2 ... k ports: k^2 / 2 with two tiers, k^3 / 4 with three.
 * A switch of tier t is wired to u switches of tier t + 1, one cable each. Numbering the choices on the way up
 * i = ((plane u1 + j1) u2 + j2) ..., the way down from the top to any chip is fixed by the same digits: the link of stage t
 * between group g and its i-th parent is `g * ways + i`, and no link array is needed for a million chips.
 *
 *     stage 0    chip to first-tier switch: one link for each plane, all of the chip's ports in it together
 *     stage t    a group of tier t - 1 to tier t: `ways` links for each group
 *
 * `ecmp`: a pair takes one way per plane, by a hash of the pair: deterministic, and balanced over many pairs.
 * `spray`: its packets take all ways alike, so the cables of a group are one link here, `ways` is 1.
 * Leaves out: rail-optimised wiring (chips are wired in the order of their numbers), buffers and packet loss.
 * see: /data/fabrics for the tiers and their sources
 */
import { expectInteger, ModelError } from '../base/errors.ts';
import type { BytesPerSecond, Seconds } from '../base/units.ts';
import type { NetworkSpec } from '../hardware/spec.ts';
import { mix } from './hash.ts';

export interface ClosSize {
  /** Ports that the tiers in use could hold. */
  readonly capacity: number;
  /** Next to the endpoints first. */
  readonly tiers: readonly ClosTierSize[];
  /** All cables, those of the endpoints included. */
  readonly links: number;
}

export interface ClosTierSize {
  readonly switches: number;
  /** Ports of one switch towards the endpoints, and towards the next tier. */
  readonly down: number;
  readonly up: number;
  /** Links from this tier to the next; 0 at the top. */
  readonly uplinks: number;
}

/** One tier of a network as a cluster uses it. */
export interface ClosTier {
  readonly name: string;
  readonly switches: number;
  /** Chips below one group of this tier's switches: two chips of one group meet here or below. The top has one group. */
  readonly groupChips: number;
  readonly groups: number;
  /** Links from one group of the tier below (a chip, at tier 0) into this tier that a path chooses from. */
  readonly ways: number;
  /** Cables in one of those links. */
  readonly cables: number;
  /** One link, one direction. */
  readonly linkBandwidth: BytesPerSecond;
  readonly linkLatency: Seconds;
  /** A chip's share of the links that lead into this tier, one direction, after the oversubscription below it. */
  readonly bandwidth: BytesPerSecond;
  /** Memory to memory of two chips that meet at this tier. */
  readonly latency: Seconds;
}

export interface Clos {
  readonly network: NetworkSpec;
  readonly chips: number;
  /** Paths of a pair: one in each plane, or 1 where packets are sprayed over all. */
  readonly paths: number;
  /** Next to the chips first; a cluster uses as many as it needs. */
  readonly tiers: readonly ClosTier[];
  /** First link of each stage, links counted once for both directions; the last entry is their number. */
  readonly stageStart: readonly number[];
  /** What is left of the links with faults, by directed link id: 0 is dead. Empty in a healthy network. */
  readonly remaining: ReadonlyMap<number, number>;
}

/** Ports down and up of a switch below the top. */
function splitPorts(ports: number, oversubscription: number): { down: number; up: number } {
  if (!(oversubscription >= 1)) {
    throw new RangeError(`"oversubscription" expected a ratio >= 1, got ${oversubscription}`);
  }
  const up = Math.max(1, Math.min(ports - 1, Math.round(ports / (1 + oversubscription))));
  return { down: ports - up, up };
}

const MAX_TIERS = 8;

/**
 * The smallest Clos that holds `endpoints` ports.
 * @param ports of a switch: one number, or one for each tier that there may be
 * @param oversubscription bandwidth down / bandwidth up below the top: one number, or one for each tier
 * @throws RangeError if an argument is out of range, ModelError (TOPOLOGY) if the tiers do not hold the endpoints
 */
export function closSize(
  endpoints: number,
  ports: number | readonly number[],
  oversubscription: number | readonly number[] = 1,
): ClosSize {
  expectInteger('endpoints', endpoints, 1);
  const perTier = typeof ports === 'number' ? new Array<number>(MAX_TIERS).fill(ports) : ports;
  const below: { down: number; up: number }[] = [];
  let held = 1;
  for (const [tier, k] of perTier.entries()) {
    expectInteger('ports', k, 2, 65_536);
    if (held * k >= endpoints) return countSwitches(endpoints, held * k, [...below, { down: k, up: 0 }]);
    const ratio = typeof oversubscription === 'number' ? oversubscription : (oversubscription[tier] ?? 1);
    const split = splitPorts(k, ratio);
    below.push(split);
    held *= split.down;
  }
  const capacity = (held / below.at(-1)!.down) * perTier.at(-1)!;
  const message = `expected at most ${capacity} ports on ${perTier.length} tiers of switches, got ${endpoints}`;
  throw new ModelError('TOPOLOGY', 'network', message);
}

function countSwitches(endpoints: number, capacity: number, split: readonly { down: number; up: number }[]): ClosSize {
  let links = endpoints;
  let entering = endpoints;
  const tiers = split.map(({ down, up }) => {
    const switches = Math.ceil(entering / down);
    entering = switches * up;
    links += entering;
    return { switches, down, up, uplinks: entering };
  });
  return { capacity, tiers, links };
}

/**
 * The network over `chips` chips that send at `bandwidth` each.
 * @throws ModelError (TOPOLOGY) if the network's tiers do not hold that many
 */
export function buildClos(network: NetworkSpec, chips: number, bandwidth: BytesPerSecond): Clos {
  expectInteger('chips', chips, 1);
  const { port, planes, routing } = network;
  // A chip may have several ports in a plane (200 Gbit/s on ports of 100), or share one with others.
  const portsPerChip = bandwidth / (planes * port);
  const size = closSize(
    Math.ceil(chips * portsPerChip),
    network.tiers.map(({ ports }) => ports),
    network.tiers.map(({ oversubscription }) => oversubscription),
  );
  const tiers: ClosTier[] = [];
  const stageStart = [0];
  let held = 1;
  let cables = planes;
  for (const [t, { switches, down, up }] of size.tiers.entries()) {
    const below = tiers[t - 1];
    const { name, latency } = network.tiers[t]!;
    held *= down;
    const groupChips = up === 0 ? chips : Math.max(1, Math.floor(held / portsPerChip));
    const ways = routing === 'spray' ? 1 : cables;
    const share = below === undefined ? bandwidth : (cables * port) / below.groupChips;
    tiers.push({
      name,
      switches: switches * planes,
      groupChips,
      groups: Math.ceil(chips / groupChips),
      ways,
      cables: cables / ways,
      linkBandwidth: ((below?.groupChips ?? 1) * share) / ways,
      linkLatency: below === undefined ? network.latency / 2 : latency,
      bandwidth: share,
      latency: below === undefined ? network.latency : below.latency + 2 * latency,
    });
    stageStart.push(stageStart[t]! + (below?.groups ?? chips) * ways);
    cables *= up;
  }
  return { network, chips, paths: routing === 'spray' ? 1 : planes, tiers, stageStart, remaining: new Map() };
}

/** The tier at which two chips meet: 0 below one first-tier switch. */
export function meetingTier({ tiers }: Clos, from: number, to: number): number {
  let t = 0;
  while (Math.floor(from / tiers[t]!.groupChips) !== Math.floor(to / tiers[t]!.groupChips)) t++;
  return t;
}

/** Directed links of a network; their ids are 0 .. count - 1. */
export function closLinks({ stageStart }: Clos): number {
  return 2 * stageStart.at(-1)!;
}

/** Stage of a directed link: 0 between chips and first-tier switches. */
export function closStage({ stageStart }: Clos, link: number): number {
  let stage = 0;
  while (link >= 2 * stageStart[stage + 1]!) stage++;
  return stage;
}

/** Draws of another way before all ways are tried in turn. */
const DRAWS = 8;

/**
 * Writes the directed links of a pair's path in plane `way` into `out` from index `at` on, and returns the index after
 * the last. Link ids are `2 * place + direction`, up is 0. Dead links are avoided, in another plane if need be.
 * @throws ModelError (TOPOLOGY) if no way is live
 */
export function appendClosRoute(clos: Clos, from: number, to: number, out: Int32Array, at: number, way = 0): number {
  const top = meetingTier(clos, from, to);
  const ways = clos.tiers[top]!.ways;
  const perPlane = ways / clos.paths;
  for (let draw = 0; draw < DRAWS; draw++) {
    const end = appendWay(clos, from, to, top, way * perPlane + (mix(from, to, draw) % perPlane), out, at);
    if (isLive(clos, out, at, end)) return end;
  }
  for (let i = 0; i < ways; i++) {
    const end = appendWay(clos, from, to, top, (way * perPlane + i) % ways, out, at);
    if (isLive(clos, out, at, end)) return end;
  }
  throw new ModelError(
    'TOPOLOGY',
    `chip${from}->chip${to}`,
    'expected a live way through the network, but there is none',
  );
}

/** Way `i` of those into tier `top`: its digits say every choice on the path up, and the same ones lead down. */
function appendWay(clos: Clos, from: number, to: number, top: number, i: number, out: Int32Array, at: number): number {
  const { tiers, stageStart } = clos;
  const end = at + 2 * (top + 1);
  for (let stage = top, rest = i; stage >= 0; stage--) {
    const { ways } = tiers[stage]!;
    const group = stage === 0 ? 1 : tiers[stage - 1]!.groupChips;
    out[at + stage] = 2 * (stageStart[stage]! + Math.floor(from / group) * ways + rest);
    out[end - 1 - stage] = 2 * (stageStart[stage]! + Math.floor(to / group) * ways + rest) + 1;
    if (stage > 0) rest = Math.floor(rest / (ways / tiers[stage - 1]!.ways));
  }
  return end;
}

function isLive({ remaining }: Clos, links: Int32Array, start: number, end: number): boolean {
  if (remaining.size > 0) for (let i = start; i < end; i++) if (remaining.get(links[i]!) === 0) return false;
  return true;
}
