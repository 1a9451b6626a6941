/**
 * Names of the links of a cluster, as reports print them and users write them in faults.
 *
 *     chip35->chip36 (x+)     inside a node; chips and switches count through the cluster
 *     chip35->tor             a chip's way into the network, the reverse `tor->chip35`
 *     tor2->leaf              group 2 of the switches `tor` to the tier `leaf`: its bundle of cables
 *     tor2->leaf(17)          one cable of it, or one link where paths choose by hash
 */
import { expectInteger, show } from '../base/errors.ts';
import { closStage } from './clos.ts';
import { type Cluster, clusterLinks, networkStart } from './cluster.ts';
import { findVertex, linkName, type Topology, vertexKinds, vertexName } from './topology.ts';

/** Most ends that an error lists. */
const NAMED = 8;

/** Name of a directed link. @throws RangeError if the cluster has no such link */
export function clusterLinkName(cluster: Cluster, link: number): string {
  expectInteger('link', link, 0, clusterLinks(cluster) - 1);
  const { scaleUp, scaleOut } = cluster;
  const inNetwork = link - networkStart(cluster);
  if (inNetwork < 0) {
    const perNode = scaleUp.from.length;
    return linkName(scaleUp, link % perNode, Math.floor(link / perNode));
  }
  const stage = closStage(scaleOut!, inNetwork);
  const { ways, name } = scaleOut!.tiers[stage]!;
  const place = (inNetwork >> 1) - scaleOut!.stageStart[stage]!;
  const below = stage === 0 ? 'chip' : scaleOut!.tiers[stage - 1]!.name;
  const low = `${below}${Math.floor(place / ways)}`;
  const high = ways === 1 ? name : `${name}(${place % ways})`;
  return inNetwork % 2 === 0 ? `${low}->${high}` : `${high}->${low}`;
}

/** A directed link, or the part of it that one of its cables is. */
export interface NamedLink {
  readonly link: number;
  readonly part: number;
}

/**
 * The links from one named end to another.
 * @throws RangeError if the names do not name the ends of a link
 */
export function findLinks(cluster: Cluster, from: string, to: string): NamedLink[] {
  const inside = findInside(cluster, from, to);
  if (inside.length > 0) return inside;
  const up = findUplinks(cluster, from, to);
  if (up.length > 0) return up;
  const down = findUplinks(cluster, to, from);
  if (down.length > 0) return down.map(({ link, part }) => ({ link: link + 1, part }));
  throw noLink(cluster, from, to);
}

/** The error that no link joins two ends: which of the names is wrong, or where links from the first one lead. */
function noLink(cluster: Cluster, from: string, to: string): RangeError {
  const { nodes, system, scaleUp, scaleOut } = cluster;
  const machine = `${nodes} x ${system.id}`;
  const got = show(`${from}->${to}`);
  const tiers = scaleOut?.tiers.map(({ name }) => name) ?? [];
  const unknown = [from, to].find((end) => {
    const vertex = findVertex(scaleUp, end);
    return (vertex === null || vertex.node >= nodes) && !tiers.includes(end.replace(/(?<=\D)(\d+|\(\d+\))$/, ''));
  });
  if (unknown !== undefined) {
    const ends = vertexKinds(scaleUp)
      .filter(({ count }) => count > 0)
      .map(({ name, count }) => `${name}0 to ${name}${nodes * count - 1}`);
    return new RangeError(
      `"fault" expected ends of links of ${machine}, ${[...ends, ...tiers].join(', ')}, got ${show(unknown)} in ${got}`,
    );
  }
  const start = findVertex(scaleUp, from);
  const ends =
    start === null ? [] : neighbours(scaleUp, start.vertex).map((end) => vertexName(scaleUp, end, start.node));
  const near = [...ends.slice(0, NAMED), ...(from.startsWith('chip') ? tiers.slice(0, 1) : [])];
  const hint = near.length === 0 ? '' : `; from ${from} there are some to ${near.join(', ')}`;
  return new RangeError(`"fault" expected a link of ${machine}, got ${got}${hint}`);
}

/** Where links from a vertex lead, each once. */
function neighbours({ from, to }: Topology, vertex: number): number[] {
  return [...new Set(to.filter((end, link) => from[link] === vertex && end !== vertex))];
}

function findInside(cluster: Cluster, from: string, to: string): NamedLink[] {
  const { scaleUp, nodes } = cluster;
  const start = findVertex(scaleUp, from);
  const end = findVertex(scaleUp, to);
  if (start === null || end === null || start.node !== end.node || start.node >= nodes) return [];
  if (start.vertex === end.vertex) return [];
  const first = start.node * scaleUp.from.length;
  const isBetween = (link: number): boolean => scaleUp.from[link] === start.vertex && scaleUp.to[link] === end.vertex;
  return linksAt(scaleUp, start.vertex, end.vertex)
    .filter(isBetween)
    .map((link) => ({ link: first + link, part: 1 }));
}

/** The links to look through: those at the ports of the chip at the start, or below a switch; in a graph, all. */
function linksAt({ fabric, chips, from, linkAtPort }: Topology, start: number, end: number): number[] {
  if (fabric.type === 'graph') return Array.from(from.keys());
  const ports = linkAtPort.length / chips;
  const chip = start < chips ? start : end;
  return Array.from(linkAtPort.subarray(chip * ports, (chip + 1) * ports)).filter((link) => link !== -1);
}

/** Links upwards from `chip3` or a group `tor2` to the tier `high`, all or the one in brackets. */
function findUplinks(cluster: Cluster, low: string, high: string): NamedLink[] {
  const { scaleOut } = cluster;
  const match = /^(.+?)(?:\((\d+)\))?$/.exec(high);
  const stage = scaleOut?.tiers.findIndex(({ name }) => name === match?.[1]) ?? -1;
  if (match === null || scaleOut === null || stage === -1) return [];
  const below = stage === 0 ? 'chip' : scaleOut.tiers[stage - 1]!.name;
  const groups = stage === 0 ? scaleOut.chips : scaleOut.tiers[stage - 1]!.groups;
  const digits = low.startsWith(below) ? low.slice(below.length) : '';
  const group = /^\d+$/.test(digits) ? Number(digits) : groups;
  if (group >= groups) return [];
  const { ways, cables } = scaleOut.tiers[stage]!;
  const first = networkStart(cluster) + 2 * (scaleOut.stageStart[stage]! + group * ways);
  const link = (way: number): number => first + 2 * way;
  if (match[2] === undefined) return Array.from({ length: ways }, (_, way) => ({ link: link(way), part: 1 }));
  const cable = Number(match[2]);
  if (cable >= ways * cables) return [];
  return [ways === 1 ? { link: link(0), part: 1 / cables } : { link: link(cable), part: 1 }];
}
