/**
 * What faults do to a cluster: links lose bandwidth, routes detour round dead ones, or an error names the cut.
 *
 * Inside a node, a path that meets a dead link takes the other of two equally short ways if that lives, else the shortest
 * live path. In the network the choice among equal ways avoids dead links. A chip whose own way into the network is dead
 * sends and receives through the nearest chip of its node that has one.
 * Nodes with the same faults share one topology, so a hundred faults among a million chips cost a few tables.
 * Leaves out: faults that come and go, a cut node that the network could still reach.
 */
import { expectInteger, ModelError, show } from '../base/errors.ts';
import type { Seconds } from '../base/units.ts';
import { reach } from '../hardware/reach.ts';
import { type Clos, closStage } from './clos.ts';
import { type Cluster, networkStart, nodeTopology } from './cluster.ts';
import type { Fault } from './faults.ts';
import { findLinks } from './names.ts';
import { RouteTable } from './route-table.ts';
import { hops } from './routes.ts';
import { linkName, type Topology, vertexName } from './topology.ts';

/** Most faults that are named in one error. */
const NAMED = 4;

/**
 * The cluster with these faults, on top of those that it has.
 * @throws RangeError if a fault names no link, chip or rank of the cluster; ModelError (TOPOLOGY) that names the chips
 * which dead links cut off
 */
export function applyFaults(cluster: Cluster, faults: readonly Fault[]): Cluster {
  const slowChips = new Map(cluster.slowChips);
  const lateRanks = new Map(cluster.lateRanks);
  const remaining = new Map<number, number>();
  for (const fault of faults) {
    if (fault.type === 'chip') {
      expectInteger('fault.chip', fault.chip, 0, cluster.chips - 1);
      slowChips.set(fault.chip, (slowChips.get(fault.chip) ?? 1) * expectPart('fault.speed', fault.speed));
    } else if (fault.type === 'rank') {
      expectInteger('fault.rank', fault.rank, 0, cluster.ranks - 1);
      lateRanks.set(fault.rank, (lateRanks.get(fault.rank) ?? 0) + expectDelay(fault.late));
    } else {
      const left = expectPart('fault.remaining', fault.remaining);
      for (const { link, part } of findLinks(cluster, fault.from, fault.to)) {
        const before = remaining.get(link) ?? 1;
        // A cable of a bundle takes its part of the whole with it; a link by itself is slowed again.
        remaining.set(link, part < 1 ? Math.max(0, before - part * (1 - left)) : before * left);
      }
    }
  }
  return withRemaining({ ...cluster, slowChips, lateRanks }, remaining);
}

/** The cluster with `remaining` of the bandwidth of each of these links, 0 for a dead one. */
function withRemaining(cluster: Cluster, remaining: ReadonlyMap<number, number>): Cluster {
  const { scaleUp, scaleOut } = cluster;
  const start = networkStart(cluster);
  const perNode = scaleUp.from.length;
  const inNodes = new Map<number, Map<number, number>>();
  const inNetwork = new Map(scaleOut?.remaining);
  for (const [link, part] of remaining) {
    if (link >= start) {
      inNetwork.set(link - start, (inNetwork.get(link - start) ?? 1) * part);
      continue;
    }
    const node = Math.floor(link / perNode);
    inNodes.set(node, (inNodes.get(node) ?? new Map()).set(link % perNode, part));
  }
  const faultyNodes = new Map(cluster.faultyNodes);
  // Nodes that were healthy and have the same faults now are alike.
  const alike = new Map<string, Topology>();
  for (const [node, links] of inNodes) {
    const wasFaulty = cluster.faultyNodes.has(node);
    const key = JSON.stringify([...links].sort(([a], [b]) => a - b));
    const topology =
      (wasFaulty ? undefined : alike.get(key)) ?? degradeTopology(nodeTopology(cluster, node), links, node);
    if (!wasFaulty) alike.set(key, topology);
    faultyNodes.set(node, topology);
  }
  if (scaleOut === null || inNetwork.size === 0) return { ...cluster, faultyNodes };
  const network = { ...scaleOut, remaining: inNetwork };
  checkNetwork(network);
  const degraded = { ...cluster, faultyNodes, scaleOut: network };
  return { ...degraded, substitutes: findSubstitutes(degraded, network) };
}

/**
 * A topology with `remaining` of the bandwidth of these links, 0 for a dead one.
 * @param node names the chips in an error as the cluster does
 * @throws ModelError (TOPOLOGY) that names the cut if some chip does not reach another any more
 */
export function degradeTopology(topology: Topology, remaining: ReadonlyMap<number, number>, node = 0): Topology {
  const bandwidth = topology.bandwidth.slice();
  const dead = topology.dead?.slice() ?? new Uint8Array(bandwidth.length);
  for (const [link, part] of remaining) {
    expectInteger('link', link, 0, bandwidth.length - 1);
    bandwidth[link]! *= expectPart('remaining', part);
    if (part === 0) dead[link] = 1;
  }
  // Slower links change no route; a dead one needs a table of detours.
  if (!dead.includes(1)) return { ...topology, bandwidth };
  checkConnected(topology, dead, node);
  return { ...topology, bandwidth, dead, table: new RouteTable(topology, dead) };
}

/** @throws ModelError if some chip can't reach chip 0 over live links, or chip 0 can't reach it */
function checkConnected(topology: Topology, dead: Uint8Array, node: number): void {
  const { chips, from, to } = topology;
  // From chip 0 and, with the links turned round, towards it: links are directed, and may die one way.
  for (const [start, end] of [
    [from, to],
    [to, from],
  ] as const) {
    const reached = reach(topology.vertices, start, end, dead);
    const missed = Array.from({ length: chips }, (_, chip) => chip).filter((chip) => reached[chip] === 0);
    if (missed.length === 0) continue;
    const isCut = (_: number, link: number): boolean => reached[start[link]!] === 1 && reached[end[link]!] === 0;
    const cut = Array.from(from.keys()).filter((link) => dead[link] === 1 && isCut(0, link));
    const links = list(cut.map((link) => linkName(topology, link, node)));
    const names = list(missed.map((chip) => vertexName(topology, chip, node)));
    throw new ModelError(
      'TOPOLOGY',
      links,
      `expected live paths between all chips, but these dead links cut off ${names}`,
    );
  }
}

/** @throws ModelError if all links from a group of switches to the next tier are dead */
function checkNetwork(clos: Clos): void {
  const { tiers, stageStart, remaining } = clos;
  const dead = new Map<string, number>();
  for (const [link, part] of remaining) {
    const stage = closStage(clos, link);
    if (part > 0 || stage === 0) continue;
    const { ways, name } = tiers[stage]!;
    const below = tiers[stage - 1]!;
    const group = Math.floor(((link >> 1) - stageStart[stage]!) / ways);
    const ends = [`${below.name}${group}`, name];
    const bundle = (link % 2 === 0 ? ends : ends.reverse()).join('->');
    dead.set(bundle, (dead.get(bundle) ?? 0) + 1);
    if (dead.get(bundle) !== ways) continue;
    const last = (group + 1) * below.groupChips - 1;
    const chips = `chips ${group * below.groupChips} to ${last}`;
    throw new ModelError(
      'TOPOLOGY',
      bundle,
      `expected live paths between all chips, but these dead links cut off ${chips}`,
    );
  }
}

/** For each chip whose link into or out of the network is dead, the nearest chip of its node with live ones. */
function findSubstitutes(cluster: Cluster, { tiers, remaining }: Clos): Map<number, number> {
  const { ways } = tiers[0]!;
  const { chipsPerNode } = cluster;
  const isDead = (chip: number, direction: number): boolean => {
    for (let way = 0; way < ways; way++) if (remaining.get(2 * (chip * ways + way) + direction) !== 0) return false;
    return true;
  };
  const isOff = (chip: number): boolean => isDead(chip, 0) || isDead(chip, 1);
  const suspects = [...remaining.keys()].map((link) => Math.floor(link / 2 / ways));
  const off = suspects.filter((chip) => chip < tiers[0]!.groups * tiers[0]!.groupChips && isOff(chip));
  const substitutes = new Map<number, number>();
  for (const chip of off) {
    const node = Math.floor(chip / chipsPerNode);
    const topology = nodeTopology(cluster, node);
    let nearest = -1;
    let fewest = Number.POSITIVE_INFINITY;
    for (let other = node * chipsPerNode; other < (node + 1) * chipsPerNode; other++) {
      if (other === chip || isOff(other)) continue;
      const links = hops(topology, chip % chipsPerNode, other % chipsPerNode);
      if (links < fewest) [nearest, fewest] = [other, links];
    }
    if (nearest === -1) {
      throw new ModelError(
        'TOPOLOGY',
        `node ${node}`,
        'expected a live way into the network, but all of its chips have lost theirs',
      );
    }
    substitutes.set(chip, nearest);
  }
  return substitutes;
}

/** The first names, and how many more there are. */
function list(names: readonly string[]): string {
  const more = names.length - NAMED;
  return names.slice(0, NAMED).join(', ') + (more > 0 ? ` and ${more} more` : '');
}

function expectPart(name: string, value: number): number {
  if (value >= 0 && value <= 1) return value;
  throw new RangeError(`"${name}" expected a number in 0..1, got ${show(value)}`);
}

function expectDelay(value: Seconds): Seconds {
  if (Number.isFinite(value) && value >= 0) return value;
  throw new RangeError(`"fault.late" expected a time >= 0, got ${show(value)}`);
}
