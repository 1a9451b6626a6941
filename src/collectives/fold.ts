/**
 * Folding: transfers, resources and stages that are equal under the symmetry of fabric and schedule become one class each,
 * and a clock runs the classes.
 *
 * Colour refinement: two transfers stay in one class if they have the same bytes, latency and limit, use resources of the same
 * classes with the same weights, and are sent and received in stages of the same classes; resources and stages
 * likewise, by the transfers on them and, for stages, the stages before and after. What is equal in all that starts, shares and
 * ends alike, by induction over the events: max-min rates follow from the capacities and from how many transfers of each
 * class are on each resource. So the folded run is the run, at the cost of its classes. A dead link or a slow chip splits the
 * classes that it touches, and no more.
 * see: Grohe, Kersting, Mladenov and Selman, "Dimension reduction via colour refinement", 2014
 * Leaves out: certainty: classes are told apart by hashes of 53 bits.
 */
import type { Drive } from './drive.ts';
import type { FlowProblem } from './flow.ts';
import { hashReal, mix } from './hash.ts';

/** A problem on classes, and the class of every resource. */
export interface Folded {
  readonly problem: FlowProblem;
  readonly drives: readonly Drive[];
  readonly resourceClass: Uint32Array;
}

/** Refinement is given up after this many rounds, or if it ends with more than half as many classes as transfers. */
const MAX_ROUNDS = 16;

/** The folded problem, or null where there is too little symmetry to gain by it. */
export function fold(problem: FlowProblem, drives: readonly Drive[]): Folded | null {
  const colours = refine(problem, drives);
  if (colours === null) return null;
  const { transfer, resource, stage, endpoint } = colours;
  const { paths, stages } = problem;
  const first = representatives(transfer);
  const resources = representatives(resource);
  const start = new Uint32Array(first.length + 1);
  const entryResource: number[] = [];
  const entryWeight: number[] = [];
  // How much of one resource of a class all transfers of a class take together.
  const members = counts(resource, resources.length);
  const weights = classWeights(problem, transfer, resource, resources.length);
  first.forEach((t, c) => {
    const path = problem.path[t]!;
    const met = new Set<number>();
    for (let i = paths.start[path]!; i < paths.start[path + 1]!; i++) met.add(resource[paths.resource[i]!]!);
    for (const r of met) {
      entryResource.push(r);
      entryWeight.push(weights.get(c * resources.length + r)! / members[r]!);
    }
    start[c + 1] = entryResource.length;
  });
  const limit = Float64Array.from(first, (t) => problem.paths.limit[problem.path[t]!]!);
  return {
    problem: {
      path: Int32Array.from(first, (_, c) => c),
      bytes: Float64Array.from(first, (t) => problem.bytes[t]!),
      paths: { start, resource: Uint32Array.from(entryResource), weight: Float64Array.from(entryWeight), limit },
      capacity: Float64Array.from(resources, (r) => problem.capacity[r]!),
      resources: Int32Array.from(resources, (r) => problem.resources[r]!),
      stages: foldStages(stages, stage, endpoint, first),
    },
    drives: drives.map(({ latency, hold, efficiency }) => ({
      latency: Float64Array.from(first, (t) => latency[t]!),
      ...(hold && { hold: Float64Array.from(first, (t) => hold[t]!) }),
      efficiency,
    })),
    resourceClass: resource,
  };
}

interface Colours {
  readonly transfer: Uint32Array;
  readonly resource: Uint32Array;
  readonly stage: Uint32Array;
  readonly endpoint: Uint32Array;
}

function refine(problem: FlowProblem, drives: readonly Drive[]): Colours | null {
  const { path, bytes, paths, capacity, stages } = problem;
  const transfers = path.length;
  const count = stages.owner.length;
  const endpoints = stages.first.length - 1;
  const transfer = new Palette(transfers);
  const resource = new Palette(capacity.length);
  const stage = new Palette(count);
  for (let t = 0; t < transfers; t++) {
    transfer.add(t, hashReal(bytes[t]!));
    transfer.add(t, hashReal(paths.limit[path[t]!]!));
    for (const { latency, hold } of drives) {
      transfer.add(t, hashReal(latency[t]!));
      if (hold) transfer.add(t, hashReal(hold[t]!));
    }
  }
  for (let r = 0; r < capacity.length; r++) resource.add(r, hashReal(capacity[r]!));
  // Of a stage its place among those of its endpoint: a chain of equal stages would take a round for each link of it.
  for (let s = 0; s < count; s++) stage.add(s, mix(s - stages.first[stages.owner[s]!]!));
  let classes = transfer.settle() + resource.settle() + stage.settle();
  for (let round = 0; ; round++) {
    if (round === MAX_ROUNDS) return null;
    for (let t = 0; t < transfers; t++) {
      const own = transfer.colour[t]!;
      for (let i = paths.start[path[t]!]!; i < paths.start[path[t]! + 1]!; i++) {
        const r = paths.resource[i]!;
        const weight = hashReal(paths.weight[i]!);
        transfer.add(t, mix(weight ^ mix(resource.colour[r]! + 1)));
        resource.add(r, mix(weight ^ mix(own + 1)));
      }
      const sent = stages.sentIn[t]!;
      const received = stages.receivedIn[t]!;
      transfer.add(t, mix(3 * stage.colour[sent]! + 1) ^ mix(5 * stage.colour[received]! + 2));
      stage.add(sent, mix(own ^ 0x51ed270b));
      stage.add(received, mix(own ^ 0x2c1b3c6d));
    }
    for (let s = 0; s < count; s++) {
      if (stages.owner[s] === stages.owner[s - 1]) {
        stage.add(s, mix(stage.colour[s - 1]! ^ 0x165667b1));
        stage.add(s - 1, mix(stage.colour[s]! ^ 0x27d4eb2f));
      }
    }
    const refined = transfer.settle() + resource.settle() + stage.settle();
    if (refined === classes) break;
    if (2 * transfer.classes > transfers) return null;
    classes = refined;
  }
  // Endpoints without stages have nothing to do.
  const endpoint = Uint32Array.from({ length: endpoints }, (_, e) =>
    stages.first[e]! < stages.first[e + 1]! ? stage.colour[stages.first[e]!]! : NONE,
  );
  return { transfer: transfer.colour, resource: resource.colour, stage: stage.colour, endpoint };
}

const NONE = 0xffffffff;

/** Colours of one sort of things: 0 and up in order of first appearance, refined by sums of hashes. */
class Palette {
  readonly colour: Uint32Array;
  classes = 1;
  readonly #low: Uint32Array;
  readonly #high: Uint32Array;

  constructor(things: number) {
    this.colour = new Uint32Array(things);
    this.#low = new Uint32Array(things);
    this.#high = new Uint32Array(things);
  }

  /** A sum, so that the order of neighbours does not matter. */
  add(thing: number, hash: number): void {
    this.#low[thing]! += hash;
    this.#high[thing]! += mix(hash ^ 0x9e3779b9);
  }

  /** Gives new colours by the sums since the last time, within the old ones. Returns the number of classes. */
  settle(): number {
    const known = new Map<number, number>();
    for (let i = 0; i < this.colour.length; i++) {
      const old = this.colour[i]!;
      const low = mix(this.#low[i]! ^ mix(old));
      const key = low + 2 ** 32 * (mix(this.#high[i]! + old) & 0x1fffff);
      let colour = known.get(key);
      if (colour === undefined) {
        colour = known.size;
        known.set(key, colour);
      }
      this.colour[i] = colour;
    }
    this.#low.fill(0);
    this.#high.fill(0);
    this.classes = known.size;
    return known.size;
  }
}

/** The first thing of each colour. */
function representatives(colour: Uint32Array): number[] {
  const first: number[] = [];
  colour.forEach((c, i) => {
    if (c === first.length) first.push(i);
  });
  return first;
}

function counts(colour: Uint32Array, classes: number): Float64Array {
  const count = new Float64Array(classes);
  for (const c of colour) count[c]!++;
  return count;
}

/** Sum of the weights of the entries between each class of transfers and each class of resources, at c * classes + r. */
function classWeights(
  { path, paths }: FlowProblem,
  transfer: Uint32Array,
  resource: Uint32Array,
  classes: number,
): Map<number, number> {
  const sums = new Map<number, number>();
  for (let t = 0; t < path.length; t++) {
    for (let i = paths.start[path[t]!]!; i < paths.start[path[t]! + 1]!; i++) {
      const key = transfer[t]! * classes + resource[paths.resource[i]!]!;
      sums.set(key, (sums.get(key) ?? 0) + paths.weight[i]!);
    }
  }
  return sums;
}

/** A class of endpoints has the classes of their stages, in order; a stage waits for each class of transfers once. */
function foldStages(
  stages: FlowProblem['stages'],
  stage: Uint32Array,
  endpoint: Uint32Array,
  first: readonly number[],
): FlowProblem['stages'] {
  const chosen: number[] = [];
  const seen = new Set<number>([NONE]);
  endpoint.forEach((c, e) => {
    if (!seen.has(c)) chosen.push(e);
    seen.add(c);
  });
  const firstStage = new Int32Array(chosen.length + 1);
  const owner: number[] = [];
  const numberOf = new Map<number, number>();
  chosen.forEach((e, i) => {
    for (let s = stages.first[e]!; s < stages.first[e + 1]!; s++) {
      numberOf.set(stage[s]!, owner.length);
      owner.push(i);
    }
    firstStage[i + 1] = owner.length;
  });
  const sentIn = Int32Array.from(first, (t) => numberOf.get(stage[stages.sentIn[t]!]!)!);
  const receivedIn = Int32Array.from(first, (t) => numberOf.get(stage[stages.receivedIn[t]!]!)!);
  const open = new Int32Array(owner.length);
  const firstSend = new Int32Array(owner.length + 1);
  first.forEach((_, c) => {
    open[sentIn[c]!]!++;
    open[receivedIn[c]!]!++;
    firstSend[sentIn[c]! + 1]!++;
  });
  for (let s = 0; s < owner.length; s++) firstSend[s + 1]! += firstSend[s]!;
  const next = firstSend.slice();
  const sends = new Int32Array(first.length);
  first.forEach((_, c) => {
    sends[next[sentIn[c]!]!++] = c;
  });
  return { first: firstStage, owner: Int32Array.from(owner), open, firstSend, sends, sentIn, receivedIn };
}
