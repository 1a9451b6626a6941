/**
 * The wires of one system: directed links between chips and switches, as typed arrays.
 *
 * Every link belongs to a port of a chip, so "the link of chip c through port q" is one look-up and routing needs no
 * search. Ports of a chip, in order:
 *
 *     torus      per dimension: + and -
 *     switched   per `switch` level: up and down; per `direct` level: one for each group of the level (none to its own)
 *     graph      none: routes follow a table of shortest paths (`RouteTable`)
 *     last       the chip itself, for two ranks on one chip
 *
 * Leaves out: the stages inside a switch (a level is one ideal crossbar), redundant lanes. Failed links: `applyFaults`.
 */
import { expectInteger, ModelError } from '../base/errors.ts';
import type { BytesPerSecond, Seconds } from '../base/units.ts';
import { fabricProblem } from '../hardware/fabric.ts';
import type { FabricSpec, SwitchLevel, TorusDimension } from '../hardware/spec.ts';
import { RouteTable } from './route-table.ts';
import { coordinate, isClosed, torusStrides } from './torus.ts';

/** A bound on what one topology may hold: 24 bytes a link. Larger fabrics are described by their classes alone. */
const MAX_LINKS = 2 ** 23;

/** What a link carries, one direction. */
export interface LinkRate {
  readonly bandwidth: BytesPerSecond;
  readonly latency: Seconds;
}

export interface Topology {
  readonly fabric: FabricSpec;
  readonly chips: number;
  /** Vertex v is chip v if v < chips, else a switch; switches are numbered level by level, innermost first. */
  readonly vertices: number;
  /** Link l runs from vertex `from[l]` to vertex `to[l]`; both are the chip itself for its on-chip link. */
  readonly from: Int32Array;
  readonly to: Int32Array;
  readonly bandwidth: Float64Array;
  readonly latency: Float64Array;
  /** First port of each dimension or level; the last entry is the on-chip port. */
  readonly portStart: Int32Array;
  /** Link of port q of chip c at `c * ports + q`, with ports = last `portStart` + 1; -1 where no link is. */
  readonly linkAtPort: Int32Array;
  /** Distance in chip numbers between neighbours of each torus dimension; empty for other fabrics. */
  readonly stride: Int32Array;
  /** Shortest paths, where the fabric itself has no rule (a graph) or its rule meets dead links; else null. */
  readonly table: RouteTable | null;
  /** 1 for each dead link; null where all live. */
  readonly dead: Uint8Array | null;
}

/**
 * The links of `fabric` over `chips` chips, plus one `onChip` link per chip.
 * A switch level's latency is charged half on the way up and half on the way down. A chip's port at a `direct` level is
 * split evenly over the links to its peers.
 * @throws RangeError if `chips` is not a positive integer
 * @throws ModelError (TOPOLOGY) if the fabric is not for that many chips, its levels do not nest, or a rate is not usable
 */
export function buildTopology(fabric: FabricSpec, chips: number, onChip: LinkRate): Topology {
  expectInteger('chips', chips, 1);
  checkFabric(fabric, chips);
  checkRate('onChip', onChip);
  const wiring = new Wiring(chips, portsPerDimension(fabric), fabric.type === 'graph' ? fabric.links.length : 0);
  let vertices = chips;
  if (fabric.type === 'torus') wireTorus(wiring, fabric.dimensions);
  if (fabric.type === 'switched') vertices = wireLevels(wiring, fabric.levels);
  if (fabric.type === 'graph') {
    vertices = fabric.vertices;
    for (const link of fabric.links) wiring.addLink(link.from, link.to, link);
  }
  for (let chip = 0; chip < chips; chip++) wiring.add(chip, wiring.ports - 1, chip, chip, onChip);
  return wiring.topology(fabric, vertices);
}

/** Link at port `port` of `chip`, -1 if there is none. */
export function portLink(topology: Topology, chip: number, port: number): number {
  return topology.linkAtPort[chip * portCount(topology) + port]!;
}

/** The link that stands for the chip's own memory path, used between two ranks of one chip. */
export function onChipLink(topology: Topology, chip: number): number {
  return portLink(topology, chip, portCount(topology) - 1);
}

/**
 * Readable name of a link: `chip3->chip4 (x+)`, `chip3->sled0`, `rack1->chip80`, `chip3 on-chip`.
 * Made on demand: a name per link would outweigh the rest of a large topology.
 * @param node the node of a cluster that the topology is the fabric of; its chips and switches count from there on
 */
export function linkName(topology: Topology, link: number, node = 0): string {
  expectInteger('link', link, 0, topology.from.length - 1);
  const from = topology.from[link]!;
  const to = topology.to[link]!;
  if (from === to) return `${vertexName(topology, from, node)} on-chip`;
  const ends = `${vertexName(topology, from, node)}->${vertexName(topology, to, node)}`;
  if (topology.fabric.type !== 'torus') return ends;
  const ports = portCount(topology);
  const port = topology.linkAtPort.indexOf(link, from * ports) - from * ports;
  return `${ends} (${topology.fabric.dimensions[port >> 1]!.name}${port & 1 ? '-' : '+'})`;
}

/** `chip3`, or a switch by its level and number within it: `rack1`. */
export function vertexName(topology: Topology, vertex: number, node = 0): string {
  expectInteger('vertex', vertex, 0, topology.vertices - 1);
  const kind = vertexKinds(topology).find(({ first, count }) => vertex < first + count)!;
  return `${kind.name}${node * kind.count + vertex - kind.first}`;
}

/** The vertex that `name` names, and the node of a cluster that it is in; null if there is none in any node. */
export function findVertex(topology: Topology, name: string): { node: number; vertex: number } | null {
  const match = /^(.*?)(\d+)$/.exec(name);
  const kind = vertexKinds(topology).find((candidate) => candidate.name === match?.[1]);
  if (match === null || kind === undefined || kind.count === 0) return null;
  const index = Number(match[2]);
  return { node: Math.floor(index / kind.count), vertex: kind.first + (index % kind.count) };
}

/** The vertices by what they are, in the order of their numbers: `count` of each from vertex `first` on. */
export function vertexKinds({ fabric, chips, vertices }: Topology): { name: string; first: number; count: number }[] {
  const kinds = [{ name: 'chip', first: 0, count: chips }];
  if (fabric.type === 'graph') kinds.push({ name: 'switch', first: chips, count: vertices - chips });
  if (fabric.type !== 'switched') return kinds;
  let first = chips;
  for (const { name, kind, groupSize } of fabric.levels) {
    if (kind !== 'switch') continue;
    kinds.push({ name, first, count: chips / groupSize });
    first += chips / groupSize;
  }
  return kinds;
}

/** Chips in one group of the next inner level: the unit that level `i` joins. */
export function innerGroupSize(levels: readonly SwitchLevel[], i: number): number {
  return i === 0 ? 1 : levels[i - 1]!.groupSize;
}

function portCount(topology: Topology): number {
  const { portStart } = topology;
  return portStart[portStart.length - 1]! + 1;
}

function portsPerDimension(fabric: FabricSpec): number[] {
  switch (fabric.type) {
    case 'single':
    case 'graph':
      return [];
    case 'torus':
      return fabric.dimensions.map(() => 2);
    case 'switched':
      return fabric.levels.map((level, i) =>
        level.kind === 'switch' ? 2 : level.groupSize / innerGroupSize(fabric.levels, i),
      );
  }
}

/** Links in the making. */
class Wiring {
  readonly chips: number;
  readonly ports: number;
  readonly portStart: Int32Array;
  readonly #linkAtPort: Int32Array;
  readonly #from: Int32Array;
  readonly #to: Int32Array;
  readonly #bandwidth: Float64Array;
  readonly #latency: Float64Array;
  #links = 0;

  /** @param portless links that no port of a chip finds */
  constructor(chips: number, portsPerDimension: readonly number[], portless: number) {
    this.chips = chips;
    this.portStart = new Int32Array(portsPerDimension.length + 1);
    portsPerDimension.forEach((ports, d) => {
      this.portStart[d + 1] = this.portStart[d]! + ports;
    });
    this.ports = this.portStart.at(-1)! + 1;
    const most = chips * this.ports + portless;
    if (most > MAX_LINKS)
      throw new ModelError('TOPOLOGY', 'fabric', `expected at most ${MAX_LINKS} links, got ${most}`);
    this.#linkAtPort = new Int32Array(chips * this.ports).fill(-1);
    this.#from = new Int32Array(most);
    this.#to = new Int32Array(most);
    this.#bandwidth = new Float64Array(most);
    this.#latency = new Float64Array(most);
  }

  /** A link from vertex to vertex that port `port` of `chip` finds. */
  add(chip: number, port: number, from: number, to: number, rate: LinkRate): void {
    this.#linkAtPort[chip * this.ports + port] = this.#links;
    this.addLink(from, to, rate);
  }

  addLink(from: number, to: number, { bandwidth, latency }: LinkRate): void {
    const link = this.#links++;
    this.#from[link] = from;
    this.#to[link] = to;
    this.#bandwidth[link] = bandwidth;
    this.#latency[link] = latency;
  }

  topology(fabric: FabricSpec, vertices: number): Topology {
    const from = this.#from.slice(0, this.#links);
    const to = this.#to.slice(0, this.#links);
    const latency = this.#latency.slice(0, this.#links);
    return {
      fabric,
      chips: this.chips,
      vertices,
      from,
      to,
      bandwidth: this.#bandwidth.slice(0, this.#links),
      latency,
      portStart: this.portStart,
      linkAtPort: this.#linkAtPort,
      stride: Int32Array.from(fabric.type === 'torus' ? torusStrides(fabric.dimensions) : []),
      table: fabric.type === 'graph' ? new RouteTable({ vertices, from, to, latency }, null) : null,
      dead: null,
    };
  }
}

function wireTorus(wiring: Wiring, dimensions: readonly TorusDimension[]): void {
  const strides = torusStrides(dimensions);
  for (let chip = 0; chip < wiring.chips; chip++) {
    dimensions.forEach((dimension, d) => {
      const { size } = dimension;
      const stride = strides[d]!;
      const at = coordinate(chip, stride, size);
      const closed = isClosed(dimension);
      const next = at + 1 < size ? chip + stride : chip - (size - 1) * stride;
      const previous = at > 0 ? chip - stride : chip + (size - 1) * stride;
      const port = wiring.portStart[d]!;
      if (closed || at + 1 < size) wiring.add(chip, port, chip, next, dimension);
      if (closed || at > 0) wiring.add(chip, port + 1, chip, previous, dimension);
    });
  }
}

/** Wires all levels and returns the number of vertices: the chips and the switches. */
function wireLevels(wiring: Wiring, levels: readonly SwitchLevel[]): number {
  const { chips } = wiring;
  let vertices = chips;
  const firstSwitch = levels.map(({ kind, groupSize }) => {
    const first = vertices;
    if (kind === 'switch') vertices += chips / groupSize;
    return first;
  });
  for (let chip = 0; chip < chips; chip++) {
    levels.forEach((level, i) => {
      const group = Math.floor(chip / level.groupSize);
      const port = wiring.portStart[i]!;
      if (level.kind === 'switch') {
        const half = { bandwidth: level.bandwidth, latency: level.latency / 2 };
        const hub = firstSwitch[i]! + group;
        wiring.add(chip, port, chip, hub, half);
        wiring.add(chip, port + 1, hub, chip, half);
        return;
      }
      const inner = innerGroupSize(levels, i);
      const peers = level.groupSize / inner;
      const rate = { bandwidth: level.bandwidth / (peers - 1), latency: level.latency };
      for (let peer = 0; peer < peers; peer++) {
        const other = group * level.groupSize + peer * inner + (chip % inner);
        if (other !== chip) wiring.add(chip, port + peer, chip, other, rate);
      }
    });
  }
  return vertices;
}

/** Stops a fabric whose arithmetic would yield NaN, an endless time or a missing link. */
function checkFabric(fabric: FabricSpec, chips: number): void {
  if (fabric.type === 'torus') {
    fabric.dimensions.forEach((dimension, d) => {
      const path = `fabric.dimensions[${d}]`;
      if (!(Number.isSafeInteger(dimension.size) && dimension.size >= 1)) {
        throw new ModelError('TOPOLOGY', `${path}.size`, `expected integer >= 1, got ${dimension.size}`);
      }
      checkRate(path, dimension);
    });
  }
  if (fabric.type === 'switched') {
    fabric.levels.forEach((level, i) => {
      const path = `fabric.levels[${i}]`;
      const inner = innerGroupSize(fabric.levels, i);
      if (!(Number.isSafeInteger(level.groupSize) && level.groupSize >= 1 && level.groupSize % inner === 0)) {
        throw new ModelError(
          'TOPOLOGY',
          `${path}.groupSize`,
          `expected a multiple of ${inner}, got ${level.groupSize}`,
        );
      }
      checkRate(path, level);
    });
  }
  if (fabric.type === 'graph') {
    fabric.links.forEach((link, i) => {
      checkRate(`fabric.links[${i}]`, link);
    });
  }
  const problem = fabricProblem(fabric, chips);
  if (problem !== null) throw new ModelError('TOPOLOGY', 'fabric', problem);
}

function checkRate(path: string, { bandwidth, latency }: LinkRate): void {
  if (!(Number.isFinite(bandwidth) && bandwidth > 0)) {
    throw new ModelError('TOPOLOGY', `${path}.bandwidth`, `expected a rate > 0, got ${bandwidth}`);
  }
  if (!(Number.isFinite(latency) && latency >= 0)) {
    throw new ModelError('TOPOLOGY', `${path}.latency`, `expected a time >= 0, got ${latency}`);
  }
}
