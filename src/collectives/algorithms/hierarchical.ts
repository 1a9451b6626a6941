/**
 * Hierarchical: one algorithm inside the nodes, another between the ranks that have the same place in their nodes.
 *
 *     all-gather       inter, then intra          reduce-scatter   intra, then inter
 *     all-reduce       intra reduce-scatter, inter all-reduce of the piece, intra all-gather
 *     all-to-all       intra, by the place of the receiver in its node; then inter
 *     broadcast        inter in the root's column, then intra; reduce is the reverse
 *
 * A node is `groupSize` consecutive positions; every inter group works on its own part of the data, so all ranks' links to
 * other nodes are used at once. Nodes of different sizes are not defined (AWS asks for the same local ranks on every node).
 * see: aws-neuron-sdk, neuron-runtime/explore/internode-collective-comm.rst, "Hierarchical".
 */
import { atOnce, cutPart, inSequence, joinParts, NOTHING, type Part, type Phase } from '../phase.ts';
import type { Collective } from '../schedule.ts';
import { type Algorithm, type AlgorithmOptions, type Block, type Exchange, pairTable, type Team } from './algorithm.ts';

/** The group as a table of positions: a row is a node, a column the ranks with one place in their nodes. */
interface Table {
  readonly nodes: number;
  readonly places: number;
  readonly intra: Algorithm;
  readonly inter: Algorithm;
  readonly intraOptions: AlgorithmOptions;
  readonly interOptions: AlgorithmOptions;
  readonly row: (node: number) => Team;
  readonly column: (place: number) => Team;
}

function tableOf({ members, firstSwitch }: Team, options: AlgorithmOptions): Table {
  const { groupSize: places, intra, inter, orders, interOrders, slices } = options;
  if (places === undefined || intra === undefined || inter === undefined) {
    throw new TypeError('"options" expected "groupSize", "intra" and "inter", got less');
  }
  const nodes = members.length / places;
  const pick = (count: number, positionOf: (i: number) => number) =>
    Int32Array.from({ length: count }, (_, i) => members[positionOf(i)]!);
  const common = slices === undefined ? {} : { slices };
  return {
    nodes,
    places,
    intra,
    inter,
    intraOptions: orders === undefined ? common : { ...common, orders },
    interOptions: interOrders === undefined ? common : { ...common, orders: interOrders },
    row: (node) => ({ members: pick(places, (place) => node * places + place), firstSwitch: firstSwitch + node }),
    column: (place) => ({
      members: pick(nodes, (node) => node * places + place),
      firstSwitch: firstSwitch + nodes + place,
    }),
  };
}

/** All nodes at once, or all columns: nothing where a node, or a column, is a single rank. */
const eachNode = ({ nodes, places }: Table, make: (node: number) => Phase): Phase =>
  places === 1 ? NOTHING : atOnce(Array.from({ length: nodes }, (_, node) => make(node)));
const eachPlace = ({ nodes, places }: Table, make: (place: number) => Phase): Phase =>
  nodes === 1 ? NOTHING : atOnce(Array.from({ length: places }, (_, place) => make(place)));

/** The one column that the root is in: the other ranks of the root's node get or give their data inside it. */
const rootColumn = (table: Table, place: number, make: (column: Team) => Phase): Phase =>
  table.nodes === 1 ? NOTHING : make(table.column(place));

/** Parts of a column, by node; and what the columns have together, by place. */
function columnParts({ nodes, places }: Table, parts: readonly Part[], place: number): Part[] {
  return Array.from({ length: nodes }, (_, node) => parts[node * places + place]!);
}
function joinedColumns(table: Table, parts: readonly Part[]): Part[] {
  return Array.from({ length: table.places }, (_, place) => joinParts(columnParts(table, parts, place)));
}

/** First to the rank of the own node whose place is the receiver's, then to the receiver's node. */
function allToAll(team: Team, { blocks, scratch }: Exchange, options: AlgorithmOptions): Phase {
  const table = tableOf(team, options);
  const { nodes, places, intra, inter, intraOptions, interOptions } = table;
  const p = team.members.length;
  const lengthOf = (i: number, j: number): number => blocks(i, j).reduce((sum, block) => sum + block.length, 0);
  // Where the block from (node, place) to `target`, itself at [toNode, toPlace], waits at (node, toPlace): all blocks for
  // one node side by side, in order of the sender, so that the second half sends and receives them in one piece.
  const waiting = pairTable(p, p);
  let longest = 0;
  for (let node = 0; node < nodes; node++) {
    for (let toPlace = 0; toPlace < places; toPlace++) {
      let at = scratch;
      for (let toNode = 0; toNode < nodes; toNode++) {
        const target = toNode * places + toPlace;
        for (let place = 0; place < places; place++) {
          const sender = node * places + place;
          waiting[sender * p + target] = at;
          at += lengthOf(sender, target);
        }
      }
      longest = Math.max(longest, at - scratch);
    }
  }
  const behind = scratch + longest;
  const inNode = (node: number): Exchange => ({
    scratch: behind,
    blocks: (place, toPlace) =>
      Array.from({ length: nodes }, (_, toNode) => toNode * places + toPlace).flatMap((target) =>
        rebase(blocks(node * places + place, target), waiting[(node * places + place) * p + target]!, 'to'),
      ),
  });
  const between = (place: number): Exchange => ({
    scratch: behind,
    blocks: (node, toNode) =>
      Array.from({ length: places }, (_, from) => node * places + from).flatMap((sender) => {
        const target = toNode * places + place;
        return rebase(blocks(sender, target), waiting[sender * p + target]!, 'from');
      }),
  });
  // Also with a single rank in a node or column: its blocks move to where they wait, or to the output.
  const phase = inSequence(
    atOnce(
      Array.from({ length: nodes }, (_, node) => intra['all-to-all']!(table.row(node), inNode(node), intraOptions)),
    ),
    atOnce(
      Array.from({ length: places }, (_, place) =>
        inter['all-to-all']!(table.column(place), between(place), interOptions),
      ),
    ),
  );
  return { ...phase, scratch: longest + (phase.scratch ?? 0) };
}

/** The blocks with one end moved to lie one after another from `start` on. */
function rebase(blocks: readonly Block[], start: number, end: 'from' | 'to'): Block[] {
  let at = start;
  return blocks.map((block) => {
    const moved = { ...block, [end]: at };
    at += block.length;
    return moved;
  });
}

/** Which collectives of the two levels a collective is made of. */
const NEEDED: Partial<Record<Collective, { intra: readonly Collective[]; inter: readonly Collective[] }>> = {
  'all-reduce': { intra: ['reduce-scatter', 'all-gather'], inter: ['all-reduce'] },
};

/** What is missing to run a collective in two levels, as the end of a sentence; null if nothing is. */
function requirement(collective: Collective, ranks: number, options: AlgorithmOptions): string | null {
  const { groupSize, intra, inter } = options;
  if (groupSize === undefined || intra === undefined || inter === undefined) {
    return '"groupSize", "intra" and "inter"';
  }
  if (ranks % groupSize !== 0) return `nodes of ${groupSize} ranks each, got ${ranks} ranks`;
  const needed = NEEDED[collective] ?? { intra: [collective], inter: [collective] };
  const levels = [
    { level: 'intra', algorithm: intra, size: groupSize, collectives: needed.intra },
    { level: 'inter', algorithm: inter, size: ranks / groupSize, collectives: needed.inter },
  ];
  for (const { level, algorithm, size, collectives } of levels) {
    for (const part of collectives) {
      if (algorithm.name === 'hierarchical') return 'levels that are not hierarchical themselves';
      if (algorithm[part] === undefined) return `an "${level}" that defines ${part}, got ${algorithm.name}`;
      const missing = algorithm.requirement?.(part, size, options);
      if (missing) return `${level} ${algorithm.name} with ${missing}`;
    }
  }
  return null;
}

export const hierarchical: Algorithm = {
  name: 'hierarchical',
  summary: 'one algorithm inside the nodes and another between them: the default over several nodes',
  requirement,
  'all-gather': (team, parts, options) => {
    const table = tableOf(team, options);
    const joined = joinedColumns(table, parts);
    return inSequence(
      eachPlace(table, (place) =>
        table.inter['all-gather']!(table.column(place), columnParts(table, parts, place), table.interOptions),
      ),
      eachNode(table, (node) => table.intra['all-gather']!(table.row(node), joined, table.intraOptions)),
    );
  },
  'reduce-scatter': (team, parts, options) => {
    const table = tableOf(team, options);
    const joined = joinedColumns(table, parts);
    return inSequence(
      eachNode(table, (node) => table.intra['reduce-scatter']!(table.row(node), joined, table.intraOptions)),
      eachPlace(table, (place) =>
        table.inter['reduce-scatter']!(table.column(place), columnParts(table, parts, place), table.interOptions),
      ),
    );
  },
  'all-reduce': (team, data, options) => {
    const table = tableOf(team, options);
    const pieces = cutPart(data, table.places);
    return inSequence(
      eachNode(table, (node) => table.intra['reduce-scatter']!(table.row(node), pieces, table.intraOptions)),
      eachPlace(table, (place) => table.inter['all-reduce']!(table.column(place), pieces[place]!, table.interOptions)),
      eachNode(table, (node) => table.intra['all-gather']!(table.row(node), pieces, table.intraOptions)),
    );
  },
  'all-to-all': allToAll,
  broadcast: (team, data, root, options) => {
    const table = tableOf(team, options);
    const [node, place] = [Math.floor(root / table.places), root % table.places];
    return inSequence(
      rootColumn(table, place, (column) => table.inter.broadcast!(column, data, node, table.interOptions)),
      eachNode(table, (n) => table.intra.broadcast!(table.row(n), data, place, table.intraOptions)),
    );
  },
  reduce: (team, data, root, options) => {
    const table = tableOf(team, options);
    const [node, place] = [Math.floor(root / table.places), root % table.places];
    return inSequence(
      eachNode(table, (n) => table.intra.reduce!(table.row(n), data, place, table.intraOptions)),
      rootColumn(table, place, (column) => table.inter.reduce!(column, data, node, table.interOptions)),
    );
  },
};
