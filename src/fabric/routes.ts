/**
 * The links that data takes from one chip to another, as the hardware does it.
 *
 * Torus: dimension order, innermost first, each dimension by its shorter way. Half way round both ways are equally short:
 * then a pair has two paths, one positive and one negative in every such dimension, and each carries half of the bytes.
 * Switched: up and down through the innermost level that holds both chips. Across a `direct` level the address decides,
 * upper bits first: the direct link to the same position in the other group, then on inside that group. Trainium3 routes
 * so by PCIe address, and data and its semaphore take the same path
 * (see: AWS Neuron SDK, about-neuron/arch/neuron-hardware/trn3-arch.rst).
 * Graph, and wherever a path of the above meets a dead link: the shortest live path (`RouteTable`).
 * Leaves out: adaptive routing.
 */
import { expectInteger, ModelError } from '../base/errors.ts';
import type { SwitchLevel, TorusDimension } from '../hardware/spec.ts';
import { innerGroupSize, onChipLink, portLink, type Topology, vertexName } from './topology.ts';
import { coordinate, isClosed, shortestOffset } from './torus.ts';

/** One path of a pair of chips. */
export interface Route {
  /** Link ids in travel order. */
  readonly links: Int32Array;
  /** Part of the pair's bytes that take this path; the shares of a pair add up to 1. */
  readonly share: number;
}

/** All paths from one chip to another, the primary one first. Between two ranks of one chip: its on-chip link. */
export function routes(topology: Topology, from: number, to: number): Route[] {
  const paths = pathCount(topology, from, to);
  return Array.from({ length: paths }, (_, way) => ({ links: route(topology, from, to, way), share: 1 / paths }));
}

/**
 * Link ids in travel order, of the pair's path number `way`.
 * @throws RangeError if a chip is not in the topology, ModelError (TOPOLOGY) if faults have cut the pair apart
 */
export function route(topology: Topology, from: number, to: number, way = 0): Int32Array {
  expectInteger('from', from, 0, topology.chips - 1);
  expectInteger('to', to, 0, topology.chips - 1);
  const links = new Int32Array(longestRoute(topology));
  return links.slice(0, appendRoute(topology, from, to, links, 0, way));
}

/** Links of the primary path between two chips; 0 on the same chip. */
export function hops(topology: Topology, from: number, to: number): number {
  const links = route(topology, from, to);
  return from === to ? 0 : links.length;
}

/** A bound on the links of any path: the room that `appendRoute` may need. */
export function longestRoute(topology: Topology): number {
  const { fabric, table, vertices } = topology;
  if (table !== null) return vertices;
  if (fabric.type === 'torus') return fabric.dimensions.reduce((links, { size }) => links + size, 1);
  return fabric.type === 'switched' ? 2 * fabric.levels.length + 1 : 1;
}

/** Paths that the bytes of a pair are spread over in equal parts: 1 or 2. */
export function pathCount(topology: Topology, from: number, to: number): number {
  const { fabric, dead } = topology;
  if (fabric.type !== 'torus') return 1;
  for (let d = 0; d < fabric.dimensions.length; d++) {
    const { size } = fabric.dimensions[d]!;
    const stride = topology.stride[d]!;
    const away = Math.abs(coordinate(from, stride, size) - coordinate(to, stride, size));
    if (2 * away === size && isClosed(fabric.dimensions[d]!)) {
      return dead === null || (isLive(topology, dead, from, to, 0) && isLive(topology, dead, from, to, 1)) ? 2 : 1;
    }
  }
  return 1;
}

/**
 * Writes the links of path `way` from one chip to another into `out` from index `at` on, and returns the index after the
 * last. For inner loops: allocates nothing and checks no argument; `longestRoute` is how much room it may take.
 * @throws ModelError (TOPOLOGY) if faults have cut the pair apart
 */
export function appendRoute(
  topology: Topology,
  from: number,
  to: number,
  out: Int32Array,
  at: number,
  way = 0,
): number {
  const { fabric, dead } = topology;
  if (from === to || fabric.type === 'single') {
    out[at] = onChipLink(topology, from);
    return at + 1;
  }
  if (fabric.type === 'graph') return appendShortest(topology, from, to, out, at);
  const end = appendRuled(topology, from, to, out, at, way);
  if (dead === null || areLive(dead, out, at, end)) return end;
  // Of two equally short ways the live one is the nearest detour.
  const other = appendRuled(topology, from, to, out, at, 1 - way);
  return areLive(dead, out, at, other) ? other : appendShortest(topology, from, to, out, at);
}

/** The path that the fabric's own rule gives, dead links or not. */
function appendRuled(topology: Topology, from: number, to: number, out: Int32Array, at: number, way: number): number {
  const { fabric } = topology;
  return fabric.type === 'torus'
    ? appendTorus(topology, fabric.dimensions, from, to, out, at, way)
    : appendSwitched(topology, (fabric as { levels: readonly SwitchLevel[] }).levels, from, to, out, at);
}

function appendTorus(
  topology: Topology,
  dimensions: readonly TorusDimension[],
  from: number,
  to: number,
  out: Int32Array,
  at: number,
  way: number,
): number {
  let chip = from;
  let end = at;
  for (let d = 0; d < dimensions.length; d++) {
    const dimension = dimensions[d]!;
    const { size } = dimension;
    const stride = topology.stride[d]!;
    let offset = shortestOffset(dimension, coordinate(from, stride, size), coordinate(to, stride, size));
    if (way === 1 && 2 * offset === size && isClosed(dimension)) offset = -offset;
    const port = topology.portStart[d]! + (offset < 0 ? 1 : 0);
    for (let i = Math.abs(offset); i > 0; i--) {
      const link = portLink(topology, chip, port);
      out[end++] = link;
      chip = topology.to[link]!;
    }
  }
  return end;
}

function appendSwitched(
  topology: Topology,
  levels: readonly SwitchLevel[],
  from: number,
  to: number,
  out: Int32Array,
  at: number,
): number {
  let chip = from;
  let end = at;
  while (chip !== to) {
    let i = 0;
    while (Math.floor(chip / levels[i]!.groupSize) !== Math.floor(to / levels[i]!.groupSize)) i++;
    const level = levels[i]!;
    const port = topology.portStart[i]!;
    if (level.kind === 'switch') {
      out[end++] = portLink(topology, chip, port);
      out[end++] = portLink(topology, to, port + 1);
      return end;
    }
    const peer = Math.floor((to % level.groupSize) / innerGroupSize(levels, i));
    const link = portLink(topology, chip, port + peer);
    out[end++] = link;
    chip = topology.to[link]!;
  }
  return end;
}

function appendShortest(topology: Topology, from: number, to: number, out: Int32Array, at: number): number {
  const tree = topology.table!.tree(to);
  let end = at;
  for (let vertex = from; vertex !== to; vertex = topology.to[out[end - 1]!]!) {
    const link = tree[vertex]!;
    if (link === -1) {
      const pair = `${vertexName(topology, from)}->${vertexName(topology, to)}`;
      throw new ModelError('TOPOLOGY', pair, 'expected a live path, but there is none');
    }
    out[end++] = link;
  }
  return end;
}

function isLive(topology: Topology, dead: Uint8Array, from: number, to: number, way: number): boolean {
  const links = new Int32Array(longestRoute(topology));
  return areLive(dead, links, 0, appendRuled(topology, from, to, links, 0, way));
}

function areLive(dead: Uint8Array, links: Int32Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (dead[links[i]!] === 1) return false;
  return true;
}
