/**
 * What a transfer between two ranks uses, as numbered resources with a capacity each: the same ones for every clock.
 *
 *     path       memory and channel of the sender, links, channel and memory of the receiver
 *     memory     of a chip: 1 byte read at the sender, 1 written at the receiver; an ADD reads its other addend there as well
 *     channel    of a rank's collective engines: what it sends and what it receives pass it, and further copies that it makes
 *     link       of the fabric and the network, as routed; each of several ways of a pair carries its share
 *
 * Between two ranks of one chip there is no link: the bytes are read and written in the same memory. An endpoint that is no
 * rank is the switch of a fabric of one switched level, which reduces and copies on the way.
 * Capacities are rates times the engine's efficiencies. Leaves out: links between a chip and its NIC.
 */
import { ModelError } from '../base/errors.ts';
import type { Seconds } from '../base/units.ts';
import {
  appendClusterRoute,
  type Cluster,
  clusterPathCount,
  linkBandwidth,
  linkLatency,
  longestClusterRoute,
  networkStart,
} from '../fabric/cluster.ts';
import { clusterLinkName } from '../fabric/names.ts';
import { onChipLink, portLink } from '../fabric/topology.ts';
import type { CollectiveEngine } from './engine.ts';

/** Paths in columns. A path has one way or more, a way has entries in the order of travel. */
export interface PathTable {
  /** Of a path: [paths + 1] first ways, [paths] latencies. */
  readonly ways: number[];
  readonly latency: number[];
  /** Of a way: [ways + 1] first entries, [ways] parts of the bytes. */
  readonly entries: number[];
  readonly share: number[];
  /** Of an entry: the resource, and how much of it a byte of the way takes. */
  readonly resource: number[];
  readonly weight: number[];
}

/** What a resource is: its capacity follows from its own rate and what the engine makes of that kind. */
export const RESOURCE_KINDS = ['link', 'network', 'memory', 'channel', 'switch'] as const;
export type ResourceKind = (typeof RESOURCE_KINDS)[number];

export class Wires {
  readonly cluster: Cluster;
  readonly paths: PathTable = { ways: [0], latency: [], entries: [0], share: [], resource: [], weight: [] };
  /** Of a resource: the rate of a link or memory; of a channel its chip's speed, 1 unless it is slow. */
  readonly rate: number[] = [];
  /** Of a resource: a number of RESOURCE_KINDS. */
  readonly kinds: number[] = [];
  /** Of a resource: the link, chip or rank that it is. */
  readonly #index: number[] = [];
  readonly #numbers: readonly Map<number, number>[] = RESOURCE_KINDS.map(() => new Map<number, number>());
  readonly #names: string[] = [];
  readonly #crossing: boolean[] = [];
  readonly #known = new Map<number, number>();
  readonly #route: Int32Array;
  readonly #hasMemory: boolean;

  constructor(cluster: Cluster) {
    this.cluster = cluster;
    this.#route = new Int32Array(longestClusterRoute(cluster));
    // What copy kernels of a GPU reach stands for its memory as well.
    this.#hasMemory = cluster.system.chip.cores !== null;
  }

  /** Bytes per second of every resource under an engine. */
  capacities(engine: CollectiveEngine): Float64Array {
    const factors = kindFactors(engine);
    return Float64Array.from(this.rate, (rate, resource) => rate * factors[this.kinds[resource]!]!);
  }

  /**
   * Number of the path of a transfer. Endpoints from `cluster.ranks` on are switches.
   * @param touches of the receiver's memory by each byte: 1 to write it, 2 to read the other addend and write the sum
   * @param copies that the receiver makes of it: 1, or more with duplicates, whose writes are among the touches
   */
  path(source: number, destination: number, touches: number, copies = 1): number {
    const { ranks } = this.cluster;
    const key = ((Math.min(source, ranks) * (ranks + 1) + Math.min(destination, ranks)) * 8 + touches) * 4 + copies;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const path = this.paths.latency.length;
    this.paths.latency.push(this.#append(source, destination, touches, copies));
    this.paths.ways.push(this.paths.share.length);
    this.#known.set(key, path);
    return path;
  }

  /** True for links of fabric and network: what holds a chunk before it passes it on. */
  isLink(resource: number): boolean {
    return this.kinds[resource]! <= NETWORK;
  }

  kind(resource: number): ResourceKind {
    return RESOURCE_KINDS[this.kinds[resource]!]!;
  }

  /** True if the path leaves the node. */
  crossesNetwork(path: number): boolean {
    return this.#crossing[path] === true;
  }

  /** `chip3->chip4 (x+)`, `chip3 memory`, `rank7 channel`, `chip3->nvlink0 adder`. */
  name(resource: number): string {
    this.#names[resource] ??= this.#nameOf(resource);
    return this.#names[resource];
  }

  #nameOf(resource: number): string {
    const index = this.#index[resource]!;
    switch (this.kind(resource)) {
      case 'memory':
        return `chip${index} memory`;
      case 'channel':
        return `rank${index} channel`;
      case 'switch':
        return `${clusterLinkName(this.cluster, index)} adder`;
      default:
        return clusterLinkName(this.cluster, index);
    }
  }

  /** Adds all ways of a path and returns its latency. */
  #append(source: number, destination: number, touches: number, copies: number): Seconds {
    const { cluster } = this;
    const { ranks } = cluster;
    if (source >= ranks) return this.#switchWay(destination, 1, touches);
    if (destination >= ranks) return this.#switchWay(source, 0, touches);
    const from = cluster.chipOf(source);
    const to = cluster.chipOf(destination);
    if (from === to) {
      this.#begin(source, from);
      this.#end(destination, to, touches, copies, 1);
      const { scaleUp } = cluster;
      return scaleUp.latency[onChipLink(scaleUp, 0)]!;
    }
    const { chipsPerNode } = cluster;
    this.#crossing[this.paths.latency.length] = Math.floor(from / chipsPerNode) !== Math.floor(to / chipsPerNode);
    const ways = clusterPathCount(cluster, from, to);
    let latency = 0;
    for (let way = 0; way < ways; way++) {
      const end = appendClusterRoute(cluster, from, to, this.#route, 0, way);
      let along = 0;
      this.#begin(source, from);
      for (let i = 0; i < end; i++) {
        along += linkLatency(cluster, this.#route[i]!);
        this.#entry(this.#linkResource(this.#route[i]!), 1);
      }
      this.#end(destination, to, touches, copies, 1 / ways);
      latency = Math.max(latency, along);
    }
    return latency;
  }

  /** Between a rank and the switch of its level; `port` 0 is up, 1 is down. The adder behind the port may be slower than it. */
  #switchWay(rank: number, port: 0 | 1, touches: number): Seconds {
    const { cluster } = this;
    const { fabric } = cluster.scaleUp;
    if (fabric.type !== 'switched' || fabric.levels.length !== 1 || !fabric.levels[0]!.reduces) {
      throw new ModelError('TOPOLOGY', cluster.system.id, 'expected one switch that reduces, got a fabric without it');
    }
    const chip = cluster.chipOf(rank);
    const node = Math.floor(chip / cluster.chipsPerNode);
    const link = node * cluster.scaleUp.from.length + portLink(cluster.scaleUp, chip % cluster.chipsPerNode, port);
    const adder = this.#number(SWITCH, link, linkBandwidth(cluster, link));
    if (port === 0) {
      this.#begin(rank, chip);
      this.#entry(this.#linkResource(link), 1);
      this.#entry(adder, 1);
      this.#close(1);
    } else {
      this.#entry(adder, 1);
      this.#entry(this.#linkResource(link), 1);
      this.#end(rank, chip, touches, 1, 1);
    }
    return linkLatency(cluster, link);
  }

  #begin(rank: number, chip: number): void {
    this.#memory(chip, 1);
    this.#channel(rank, 1);
  }

  #end(rank: number, chip: number, touches: number, copies: number, share: number): void {
    this.#channel(rank, copies);
    if (touches > 0) this.#memory(chip, touches);
    this.#close(share);
  }

  #close(share: number): void {
    this.paths.share.push(share);
    this.paths.entries.push(this.paths.resource.length);
  }

  #entry(resource: number, weight: number): void {
    this.paths.resource.push(resource);
    this.paths.weight.push(weight);
  }

  #memory(chip: number, touches: number): void {
    if (!this.#hasMemory) return;
    const { system, slowChips } = this.cluster;
    const rate = (system.chip.memory.bandwidth ?? 0) * (slowChips.get(chip) ?? 1);
    this.#entry(this.#number(MEMORY, chip, rate), touches);
  }

  #channel(rank: number, weight: number): void {
    const speed = this.cluster.slowChips.get(this.cluster.chipOf(rank)) ?? 1;
    this.#entry(this.#number(CHANNEL, rank, speed), weight);
  }

  #linkResource(link: number): number {
    const kind = link < networkStart(this.cluster) ? LINK : NETWORK;
    return this.#number(kind, link, linkBandwidth(this.cluster, link));
  }

  #number(kind: number, index: number, rate: number): number {
    const numbers = this.#numbers[kind]!;
    const known = numbers.get(index);
    if (known !== undefined) return known;
    const number = this.rate.length;
    numbers.set(index, number);
    this.rate.push(rate);
    this.kinds.push(kind);
    this.#index.push(index);
    return number;
  }
}

const [LINK, NETWORK, MEMORY, CHANNEL, SWITCH] = [0, 1, 2, 3, 4] as const;

/** What the engine makes of the rate of each kind of resource. */
export function kindFactors({
  linkEfficiency,
  networkEfficiency,
  channel,
  switchReduction,
}: CollectiveEngine): readonly number[] {
  return [linkEfficiency, networkEfficiency, 1, channel, switchReduction];
}
