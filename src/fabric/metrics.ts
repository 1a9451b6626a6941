/**
 * What a fabric can do at best: how far chips are apart, and what all of them can exchange at once.
 *
 *     mean hops    links of the route, over all ordered pairs of two chips (up and down through a switch are two links)
 *     bisection    least bandwidth, one direction, between two halves; halves are cut across a torus dimension (all ways
 *                  round), or between the groups of the outermost switch level
 *     all-to-all   r bytes/s per chip, equal to every other chip: over each link l runs load(l) r / (N - 1), so
 *                  r <= min bandwidth(l) (N - 1) / load(l) as routed, and r <= cut (N - 1) / (|S| |T|) over any cut
 *
 * All from the links and routes themselves, so faults count. A torus whose dimensions all close looks the same from every
 * chip: there one chip's routes are enough.
 * Leaves out: the bisection of a graph (finding the least cut is NP-hard), latency and protocol.
 */
import type { BytesPerSecond } from '../base/units.ts';
import type { Clos } from './clos.ts';
import { appendRoute, longestRoute, pathCount } from './routes.ts';
import { innerGroupSize, type Topology } from './topology.ts';
import { coordinate, isClosed } from './torus.ts';

export interface FabricMetrics {
  readonly chips: number;
  /** Links of the longest route. */
  readonly diameter: number;
  readonly meanHops: number;
  /** Null where it is not computed: one chip, a graph. */
  readonly bisection: BytesPerSecond | null;
  /** Most that each chip can send, evenly to all others, over the routes; null for one chip. */
  readonly allToAll: BytesPerSecond | null;
  /** The same as the bisection alone allows. */
  readonly allToAllBound: BytesPerSecond | null;
}

export function fabricMetrics(topology: Topology): FabricMetrics {
  const { chips } = topology;
  const { load, links, longest } = routeAll(topology);
  const cut = leastCut(topology);
  let allToAll: BytesPerSecond | null = null;
  load.forEach((paths, link) => {
    if (paths > 0) allToAll = Math.min(allToAll ?? Infinity, (topology.bandwidth[link]! * (chips - 1)) / paths);
  });
  return {
    chips,
    diameter: longest,
    meanHops: chips === 1 ? 0 : links / (chips * (chips - 1)),
    bisection: cut?.bandwidth ?? null,
    allToAll,
    allToAllBound: cut && (cut.bandwidth * (chips - 1)) / (cut.side * (chips - cut.side)),
  };
}

/** Bandwidth, one direction, between two halves of the chips of a network, by its narrowest tier. */
export function networkBisection({ chips, tiers }: Clos): BytesPerSecond {
  return (chips / 2) * Math.min(...tiers.map(({ bandwidth }) => bandwidth));
}

/** Paths over each link, their links in total and the longest one, when every chip sends to every other. */
function routeAll(topology: Topology): { load: Float64Array; links: number; longest: number } {
  const { chips, fabric, dead } = topology;
  const load = new Float64Array(topology.from.length);
  const path = new Int32Array(longestRoute(topology));
  const isSymmetric =
    dead === null && fabric.type === 'torus' && fabric.dimensions.every((d) => d.size === 1 || isClosed(d));
  const sources = isSymmetric ? 1 : chips;
  let links = 0;
  let longest = 0;
  for (let from = 0; from < sources; from++) {
    for (let to = 0; to < chips; to++) {
      if (from === to) continue;
      const paths = pathCount(topology, from, to);
      for (let way = 0; way < paths; way++) {
        const end = appendRoute(topology, from, to, path, 0, way);
        for (let i = 0; i < end; i++) load[path[i]!]! += 1 / paths;
        links += end / paths;
        longest = Math.max(longest, end);
      }
    }
  }
  if (isSymmetric) foldLoad(topology, load);
  return { load, links: links * (chips / sources), longest };
}

/** The load of one chip's routes, spread over all links of the same dimension and direction: what all chips' routes add up to. */
function foldLoad({ chips, portStart, linkAtPort }: Topology, load: Float64Array): void {
  const ports = portStart.at(-1)! + 1;
  for (let port = 0; port < ports; port++) {
    let sum = 0;
    for (let chip = 0; chip < chips; chip++) sum += load[linkAtPort[chip * ports + port]!] ?? 0;
    for (let chip = 0; chip < chips; chip++) {
      const link = linkAtPort[chip * ports + port]!;
      if (link !== -1) load[link] = sum;
    }
  }
}

interface Cut {
  readonly bandwidth: BytesPerSecond;
  /** Chips on one side. */
  readonly side: number;
}

function leastCut(topology: Topology): Cut | null {
  const { chips, fabric, stride } = topology;
  const cuts: Cut[] = [];
  if (fabric.type === 'torus') {
    fabric.dimensions.forEach((dimension, d) => {
      const { size } = dimension;
      const half = Math.floor(size / 2);
      for (let turn = 0; size > 1 && turn < (isClosed(dimension) ? size : 1); turn++) {
        cuts.push(cutBetween(topology, (chip) => (coordinate(chip, stride[d]!, size) + turn) % size < half));
      }
    });
  }
  if (fabric.type === 'switched' && chips > 1) {
    const inner = innerGroupSize(fabric.levels, fabric.levels.length - 1);
    const half = Math.floor(chips / inner / 2) * inner;
    cuts.push(cutBetween(topology, (chip) => chip < half));
  }
  return cuts.reduce<Cut | null>(
    (least, cut) => (least === null || cut.bandwidth < least.bandwidth ? cut : least),
    null,
  );
}

/** What the links carry from one side to the other, in the direction that carries less. */
function cutBetween(topology: Topology, isInside: (chip: number) => boolean): Cut {
  const { chips, vertices, from, to, bandwidth } = topology;
  const side = Uint8Array.from({ length: chips }, (_, chip) => (isInside(chip) ? 1 : 0));
  const direct = [0, 0];
  // A switch passes on what comes up from one side, as far as its links down to the other take it.
  const up = [new Float64Array(vertices - chips), new Float64Array(vertices - chips)];
  const down = [new Float64Array(vertices - chips), new Float64Array(vertices - chips)];
  from.forEach((start, link) => {
    const end = to[link]!;
    const rate = topology.dead?.[link] === 1 ? 0 : bandwidth[link]!;
    if (start >= chips) down[side[end]!]![start - chips]! += rate;
    else if (end >= chips) up[side[start]!]![end - chips]! += rate;
    else if (side[start] !== side[end]) direct[side[start]!]! += rate;
  });
  const across = [0, 1].map((s) =>
    up[s]!.reduce((sum, rate, hub) => sum + Math.min(rate, down[1 - s]![hub]!), direct[s]!),
  );
  return { bandwidth: Math.min(...across), side: side.reduce((sum, s) => sum + s, 0) };
}
