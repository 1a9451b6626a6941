/**
 * Fabrics and networks as JSON: what joins the chips of a system, and what joins systems.
 *
 * Chip numbers follow the fabric: dimension 0 of a torus is the fastest-varying, each level of a switched fabric groups
 * consecutive chips, and in a graph the first `chips` vertices are the chips. A graph is for machines that are neither
 * torus nor levels: its links are rows with their units in the keys, since a source for each of thousands says nothing.
 * Sizes are bounded here, so that a typing error can't ask for a topology that fills the memory.
 */
import { z } from 'zod';
import { reach } from './reach.ts';
import { head, known, record, text } from './schema.ts';
import type { FabricSpec, GraphLink, NetworkSpec } from './spec.ts';

/** Chips of one fabric, or of a whole cluster: a million, rounded up to a power of two. */
export const MAX_CHIPS: number = 2 ** 20;
/** Routes in a graph are looked up in tables of vertices x chips. */
const MAX_GRAPH_VERTICES = 4096;
const MAX_GRAPH_LINKS = 65_536;

// One link (torus) or one chip's port (switched), one direction.
const link = { bandwidth: known('bandwidth'), latency: known('time') };
const note = z.exactOptional(text);
const size = known('count').refine((count) => count >= 1 && count <= MAX_CHIPS, `expected 1 to ${MAX_CHIPS}`);

const graphLink = record({
  from: z.int().min(0),
  to: z.int().min(0),
  bandwidthGBps: z.number().gt(0).max(1e9),
  latencyNs: z.number().min(0).max(1e12),
  // A cable carries both ways, each at the full rate, unless it says that it does not.
  oneWay: z.exactOptional(z.boolean()),
}).transform(({ from, to, bandwidthGBps, latencyNs, oneWay = false }): GraphLink[] => {
  const rate = { bandwidth: bandwidthGBps * 1e9, latency: latencyNs / 1e9 };
  return oneWay
    ? [{ from, to, ...rate }]
    : [
        { from, to, ...rate },
        { from: to, to: from, ...rate },
      ];
});

const graph = record({
  type: z.literal('graph'),
  chips: z.int().min(1).max(MAX_GRAPH_VERTICES),
  switches: z.exactOptional(z.int().min(0).max(MAX_GRAPH_VERTICES)),
  links: z.array(graphLink).min(1).max(MAX_GRAPH_LINKS),
  source: z.exactOptional(text),
  note,
});

const file = z.discriminatedUnion('type', [
  record({ type: z.literal('single') }),
  record({
    type: z.literal('torus'),
    dimensions: z
      .array(record({ name: text, size, wrap: z.boolean(), ...link }))
      .min(1)
      .max(8),
    note,
  }),
  record({
    type: z.literal('switched'),
    levels: z
      .array(
        record({
          name: text,
          kind: z.enum(['switch', 'direct']),
          groupSize: size,
          ...link,
          reduces: z.boolean().default(false),
        }),
      )
      .min(1)
      .max(8),
    note,
  }),
  graph,
  record({ type: z.literal('unknown'), source: text, kind: z.literal('unknown'), note }),
]);

function toFabric(data: z.infer<typeof file>): FabricSpec | null {
  switch (data.type) {
    case 'unknown':
      return null;
    case 'single':
      return data;
    case 'torus':
      return { type: 'torus', dimensions: data.dimensions };
    case 'switched':
      return { type: 'switched', levels: data.levels };
    case 'graph': {
      const { chips, switches = 0, links } = data;
      return { type: 'graph', chips, vertices: chips + switches, links: links.flat() };
    }
  }
}

/** The `fabric` of a system file; null where no source describes it. */
export const fabricSchema: z.ZodType<FabricSpec | null> = file.transform(toFabric);

/** A file that is a fabric and nothing else. */
export const knownFabricSchema: z.ZodType<FabricSpec> = file.transform((data, context): FabricSpec => {
  const fabric = toFabric(data);
  const problem = fabric === null ? 'expected a known fabric' : fabricProblem(fabric, fabricSize(fabric));
  if (fabric !== null && problem === null) return fabric;
  context.issues.push({ code: 'custom', path: [], input: data, message: problem ?? '' });
  return z.NEVER;
});

/** Chips that a fabric joins. */
export function fabricSize(fabric: FabricSpec): number {
  switch (fabric.type) {
    case 'single':
      return 1;
    case 'torus':
      return fabric.dimensions.reduce((chips, { size }) => chips * size, 1);
    case 'switched':
      return fabric.levels.at(-1)?.groupSize ?? 1;
    case 'graph':
      return fabric.chips;
  }
}

/** Why `fabric` can't join `chips` chips, or null if it can. */
export function fabricProblem(fabric: FabricSpec, chips: number): string | null {
  const joined = fabricSize(fabric);
  if (joined > MAX_CHIPS) return `expected at most ${MAX_CHIPS} chips`;
  switch (fabric.type) {
    case 'single':
      return chips === 1 ? null : `expected a fabric for ${chips} chips`;
    case 'torus':
      return joined === chips ? null : `expected dimensions that multiply to ${chips} chips, not ${joined}`;
    case 'switched': {
      // groupSize 1, 4, 72, 144: each level is made of whole groups of the one inside it.
      const sizes = [1, ...fabric.levels.map((level) => level.groupSize), chips];
      const ok = sizes.every((size, i) => i === 0 || size % sizes[i - 1]! === 0) && joined === chips;
      return ok ? null : `expected group sizes that divide each other and end at ${chips} chips`;
    }
    case 'graph': {
      if (joined !== chips) return `expected a graph of ${chips} chips, not ${joined}`;
      const wrong = fabric.links.find(({ from, to }) => from === to || Math.max(from, to) >= fabric.vertices);
      if (wrong !== undefined) {
        return `expected links between two of the vertices 0..${fabric.vertices - 1}, not ${wrong.from} to ${wrong.to}`;
      }
      return graphCut(fabric.chips, fabric.vertices, fabric.links);
    }
  }
}

/** Which chip of a graph is cut off from chip 0, or null if all chips reach each other. */
function graphCut(chips: number, vertices: number, links: readonly GraphLink[]): string | null {
  const from = links.map((link) => link.from);
  const to = links.map((link) => link.to);
  const away = reach(vertices, from, to).subarray(0, chips).indexOf(0);
  if (away !== -1) return `expected a way from chip 0 to every chip, but there is none to chip ${away}`;
  const back = reach(vertices, to, from).subarray(0, chips).indexOf(0);
  return back === -1 ? null : `expected a way from every chip to chip 0, but there is none from chip ${back}`;
}

/** A network file (data/fabrics): a Clos of switches that joins systems to a cluster. */
export const networkSchema: z.ZodType<NetworkSpec> = record({
  ...head,
  port: known('bandwidth'),
  // Of one chip; where it is left out, the system says what its chips have.
  bandwidth: z.exactOptional(known('bandwidth')),
  latency: known('time'),
  planes: known('count').refine((planes) => planes >= 1 && planes <= 64, 'expected 1 to 64 planes'),
  routing: z.enum(['spray', 'ecmp']),
  ordered: z.boolean().default(true),
  tiers: z
    .array(
      record({
        name: text,
        ports: known('count').refine((ports) => ports >= 2 && ports <= 65536, 'expected 2 to 65536 ports'),
        oversubscription: known('ratio').refine((ratio) => ratio >= 1, 'expected a ratio >= 1'),
        latency: known('time'),
      }),
    )
    .min(1)
    .max(8),
}).transform(
  ({ schemaVersion: _, note: __, bandwidth = null, ...network }): NetworkSpec => ({ ...network, bandwidth }),
);
