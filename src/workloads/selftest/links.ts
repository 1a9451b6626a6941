/**
 * Bring-up of the links of a system: a block of its own bytes over every link in use, along the route of a pair of chips
 * that passes it, hop by hop. A link fails if it is dead, if no route uses it, if the block arrives changed, or if it is slower
 * than the system's description says.
 *
 * Links of one kind (a torus dimension, a switch level) are one row. Leaves out: the scale-out network.
 */
import type { Bytes } from '../../base/units.ts';
import { appendRoute, longestRoute, pathCount } from '../../fabric/routes.ts';
import { linkName, type Topology } from '../../fabric/topology.ts';
import { type Arena, copy } from '../../kernels/index.ts';
import type { Check } from './check.ts';

const BLOCK_ELEMENTS = 256;
/** Failed links that a row names. */
const NAMED = 4;

/**
 * @param rated the topology as described
 * @param actual the one that is there, faults included
 */
export function checkLinks(arena: Arena, rated: Topology, actual: Topology): Check[] {
  if (rated.chips === 1) return [];
  const carrier = carriers(actual);
  const rows = new Map<string, { links: number; time: number; failed: string[] }>();
  for (let link = 0; link < rated.from.length; link++) {
    if (rated.from[link] === rated.to[link]) continue;
    const name = linkName(actual, link);
    const kind = kindOf(name);
    const row = rows.get(kind) ?? { links: 0, time: 0, failed: [] };
    rows.set(kind, row);
    row.links++;
    const why = problem(arena, rated, actual, link, carrier.get(link));
    if (why !== null) row.failed.push(`${name} ${why}`);
    // Links of a kind work at the same time: the slowest counts.
    const bytes: Bytes = 4 * BLOCK_ELEMENTS;
    if (why === null) row.time = Math.max(row.time, actual.latency[link]! + bytes / actual.bandwidth[link]!);
  }
  return Array.from(rows, ([kind, { links, time, failed }]): Check => {
    const more = failed.length > NAMED ? ` and ${failed.length - NAMED} more` : '';
    const detail =
      failed.length === 0
        ? `${links} links, a block of ${4 * BLOCK_ELEMENTS} bytes over each`
        : `${failed.length} of ${links}: ${failed.slice(0, NAMED).join('; ')}${more}`;
    return { part: 'link', name: kind, ok: failed.length === 0, detail, time, error: null };
  });
}

/** What `chip3->chip4 (x+)` and `chip3->rack1` have in common with others of their kind. */
function kindOf(name: string): string {
  const dimension = /\((.+)\)$/.exec(name);
  return dimension?.[1] ?? name.replace(/\d+/g, '');
}

/** For each link a route that passes it, of the first pair that has one. */
function carriers(topology: Topology): Map<number, Int32Array> {
  const { chips } = topology;
  const found = new Map<number, Int32Array>();
  const path = new Int32Array(longestRoute(topology));
  for (let from = 0; from < chips; from++) {
    for (let to = 0; to < chips; to++) {
      if (from === to) continue;
      const ways = pathCount(topology, from, to);
      for (let way = 0; way < ways; way++) {
        const end = appendRoute(topology, from, to, path, 0, way);
        for (let i = 0; i < end; i++) if (!found.has(path[i]!)) found.set(path[i]!, path.slice(0, end));
      }
    }
  }
  return found;
}

/** Why a link is not in order; null if it is. */
function problem(
  arena: Arena,
  rated: Topology,
  actual: Topology,
  link: number,
  path: Int32Array | undefined,
): string | null {
  if (actual.dead?.[link] === 1) return 'is dead';
  if (path === undefined) return 'is on no route';
  const part = actual.bandwidth[link]! / rated.bandwidth[link]!;
  if (part < 1) return `has ${(100 * part).toFixed(0)} % of its rate`;
  for (let i = 1; i < path.length; i++) {
    if (actual.to[path[i - 1]!] !== actual.from[path[i]!]) return 'is on a route with a gap';
  }
  return carries(arena, link, path.length) ? null : 'changes what it carries';
}

/** Passes a block of the link's own numbers over as many hops, from buffer to buffer. */
function carries(arena: Arena, link: number, hops: number): boolean {
  const words = Float32Array.from({ length: BLOCK_ELEMENTS }, (_, i) => link * BLOCK_ELEMENTS + i);
  using sent = arena.tensor('f32', [BLOCK_ELEMENTS]).set(words);
  using here = arena.tensor('f32', [BLOCK_ELEMENTS]);
  using there = arena.tensor('f32', [BLOCK_ELEMENTS]);
  let [at, next] = [here, there];
  copy(sent, at);
  for (let hop = 0; hop < hops; hop++) {
    copy(at, next);
    [at, next] = [next, at];
  }
  const [a, b] = [sent.bytesView(), at.bytesView()];
  return a.every((byte, i) => byte === b[i]);
}
