/**
 * Shortest paths over live links, for fabrics that have no routing rule of their own (graphs) and for detours.
 *
 * Dijkstra towards one target at a time, by latency, then links, then the lowest link number: the same table everywhere.
 * A tree is made when its target is first asked for and kept: one Int32 per vertex and target.
 * Leaves out: sharing the load over equally short paths.
 */
import { type Picoseconds, toPicoseconds } from '../base/units.ts';

/** Directed links as parallel arrays: link l runs from vertex `from[l]` to `to[l]` and takes `latency[l]` seconds. */
export interface Links {
  readonly vertices: number;
  readonly from: Int32Array;
  readonly to: Int32Array;
  readonly latency: Float64Array;
}

/** Weight of a picosecond against one link: a tie in latency is decided by the number of links. */
const LATENCY_FIRST = 8192;

export class RouteTable {
  readonly #links: Links;
  readonly #dead: Uint8Array | null;
  /** Links into vertex v: `#inLink[#inStart[v] .. #inStart[v + 1]]`, in the order of their numbers. */
  readonly #inStart: Int32Array;
  readonly #inLink: Int32Array;
  readonly #trees = new Map<number, Int32Array>();

  constructor(links: Links, dead: Uint8Array | null) {
    this.#links = links;
    this.#dead = dead;
    this.#inStart = new Int32Array(links.vertices + 1);
    for (const vertex of links.to) this.#inStart[vertex + 1]!++;
    for (let v = 0; v < links.vertices; v++) this.#inStart[v + 1]! += this.#inStart[v]!;
    const next = this.#inStart.slice();
    this.#inLink = new Int32Array(links.to.length);
    links.to.forEach((vertex, link) => {
      this.#inLink[next[vertex]!++] = link;
    });
  }

  /** First link of the shortest path from `vertex` to `target`; -1 if there is no path, or none is needed. */
  next(vertex: number, target: number): number {
    return this.tree(target)[vertex]!;
  }

  /** First link of the shortest path to `target`, for every vertex. */
  tree(target: number): Int32Array {
    const known = this.#trees.get(target);
    if (known !== undefined) return known;
    const tree = this.#shortestTo(target);
    this.#trees.set(target, tree);
    return tree;
  }

  #shortestTo(target: number): Int32Array {
    const { vertices, from, latency } = this.#links;
    const tree = new Int32Array(vertices).fill(-1);
    const distance = new Float64Array(vertices).fill(Number.POSITIVE_INFINITY);
    const done = new Uint8Array(vertices);
    const queue = new VertexQueue();
    distance[target] = 0;
    queue.push(0, target);
    for (let vertex = queue.pop(); vertex !== -1; vertex = queue.pop()) {
      if (done[vertex] === 1) continue; // an older, longer entry of the queue
      done[vertex] = 1;
      for (let i = this.#inStart[vertex]!; i < this.#inStart[vertex + 1]!; i++) {
        const link = this.#inLink[i]!;
        const neighbor = from[link]!;
        if (done[neighbor] === 1 || this.#dead?.[link] === 1) continue;
        const candidate = distance[vertex]! + toPicoseconds(latency[link]!) * LATENCY_FIRST + 1;
        // The lowest link number among equal paths, whatever the order in which vertices leave the queue.
        const isTie = candidate === distance[neighbor] && link < tree[neighbor]!;
        if (candidate < distance[neighbor]! || isTie) {
          tree[neighbor] = link;
          if (!isTie) queue.push(candidate, neighbor);
          distance[neighbor] = candidate;
        }
      }
    }
    return tree;
  }
}

/** A binary heap of vertices by distance, the lower vertex first among equals. */
class VertexQueue {
  readonly #key: Picoseconds[] = [];
  readonly #vertex: number[] = [];

  push(key: Picoseconds, vertex: number): void {
    let i = this.#key.length;
    this.#key.push(key);
    this.#vertex.push(vertex);
    for (let parent = (i - 1) >> 1; i > 0 && this.#isBefore(i, parent); parent = (i - 1) >> 1) {
      this.#swap(i, parent);
      i = parent;
    }
  }

  /** The nearest vertex, taken out; -1 from an empty queue. */
  pop(): number {
    const last = this.#key.length - 1;
    if (last < 0) return -1;
    this.#swap(0, last);
    this.#key.pop();
    const nearest = this.#vertex.pop()!;
    for (let i = 0; ; ) {
      let least = i;
      for (const child of [2 * i + 1, 2 * i + 2]) if (child < last && this.#isBefore(child, least)) least = child;
      if (least === i) return nearest;
      this.#swap(i, least);
      i = least;
    }
  }

  #isBefore(a: number, b: number): boolean {
    const [keyA, keyB] = [this.#key[a]!, this.#key[b]!];
    return keyA < keyB || (keyA === keyB && this.#vertex[a]! < this.#vertex[b]!);
  }

  #swap(a: number, b: number): void {
    [this.#key[a], this.#key[b]] = [this.#key[b]!, this.#key[a]!];
    [this.#vertex[a], this.#vertex[b]] = [this.#vertex[b]!, this.#vertex[a]!];
  }
}
