/**
 * Phases: what algorithms are put together from. A phase is some steps of transfers on given endpoints and ranges;
 * phases run one after another or at once, in step, and a schedule is one phase with a collective's buffers around it.
 *
 *     all-reduce = inSequence(reduce-scatter, all-gather)         two rings = atOnce(ring on one half, ring on the other)
 */
import { type Action, chunkStart } from './schedule.ts';

interface Range {
  readonly offset: number;
  readonly length: number;
}

/** Ranges of a buffer that travel together, in ascending order, no two adjacent. */
export type Part = readonly Range[];

/** Takes one transfer of a step: endpoints, first elements, number of elements, and what happens at the destination. */
export type Emit = (
  source: number,
  destination: number,
  sourceOffset: number,
  destinationOffset: number,
  length: number,
  action: Action,
) => void;

export interface Phase {
  readonly steps: number;
  /** Any number, the same for steps that load the links alike (as `Schedule.stepClass` says). */
  readonly stepClass: (step: number) => number;
  readonly emit: (step: number, emit: Emit) => void;
  /** Elements behind the collective's input and output that it needs in every buffer; 0 if left out. */
  readonly scratch?: number;
  /** One more than the highest endpoint that is a switch; 0 if left out. */
  readonly endpoints?: number;
}

export const NOTHING: Phase = { steps: 0, stepClass: () => 0, emit: () => {} };

/** A phase of one step. */
export function singleStep(emit: (emit: Emit) => void): Phase {
  return { steps: 1, stepClass: () => 0, emit: (_, add) => emit(add) };
}

/** One phase after another. */
export function inSequence(...phases: readonly Phase[]): Phase {
  const starts = [0];
  for (const { steps } of phases) starts.push(starts.at(-1)! + steps);
  const find = (step: number): number => {
    let index = 0;
    while (step >= starts[index + 1]!) index++;
    return index;
  };
  // Classes of different phases are different, even where the pairs are equal: one adds and the other copies.
  const classes = classNumbers();
  return {
    ...needs(phases),
    steps: starts.at(-1)!,
    stepClass: (step) => {
      const index = find(step);
      return classes(`${index} ${phases[index]!.stepClass(step - starts[index]!)}`);
    },
    emit: (step, emit) => {
      const index = find(step);
      phases[index]!.emit(step - starts[index]!, emit);
    },
  };
}

/** All phases at once, step by step; shorter ones end earlier. */
export function atOnce(phases: readonly Phase[]): Phase {
  if (phases.length < 2) return phases[0] ?? NOTHING;
  const classes = classNumbers();
  return {
    ...needs(phases),
    steps: phases.reduce((most, { steps }) => Math.max(most, steps), 0),
    stepClass: (step) => {
      const classOf = ({ steps, stepClass }: Phase): number => (step < steps ? stepClass(step) : -1);
      const first = classOf(phases[0]!);
      // Most often all are in step, and one number says it.
      return classes(
        phases.every((phase) => classOf(phase) === first) ? `all ${first}` : phases.map(classOf).join(' '),
      );
    },
    emit: (step, emit) => {
      for (const phase of phases) if (step < phase.steps) phase.emit(step, emit);
    },
  };
}

function needs(phases: readonly Phase[]): { scratch: number; endpoints: number } {
  return {
    scratch: phases.reduce((most, { scratch = 0 }) => Math.max(most, scratch), 0),
    endpoints: phases.reduce((most, { endpoints = 0 }) => Math.max(most, endpoints), 0),
  };
}

/** Numbers texts in the order in which they are first met. */
export function classNumbers(): (text: string) => number {
  const known = new Map<string, number>();
  return (text) => {
    const found = known.get(text) ?? known.size;
    known.set(text, found);
    return found;
  };
}

/** Sends the same ranges of two buffers. */
export function emitPart(emit: Emit, source: number, destination: number, part: Part, action: Action): void {
  for (const { offset, length } of part) emit(source, destination, offset, offset, length, action);
}

function partLength(part: Part): number {
  return part.reduce((sum, { length }) => sum + length, 0);
}

/** The ranges of several parts as one part: in order, adjacent ranges joined, empty ones left out. */
export function joinParts(parts: readonly Part[]): Part {
  const ranges = parts.flat().filter(({ length }) => length > 0);
  const joined: Range[] = [];
  for (const range of ranges.sort((a, b) => a.offset - b.offset)) {
    const last = joined.at(-1);
    if (last !== undefined && last.offset + last.length === range.offset) {
      joined[joined.length - 1] = { offset: last.offset, length: last.length + range.length };
    } else joined.push(range);
  }
  return joined;
}

/** `part` cut into `pieces` of lengths that differ by at most one element, in order, the first ones longer. */
export function cutPart(part: Part, pieces: number): Part[] {
  if (pieces === 1) return [part];
  const total = partLength(part);
  const cut: Part[] = [];
  let index = 0;
  let used = 0;
  for (let piece = 0; piece < pieces; piece++) {
    let wanted = chunkStart(total, pieces, piece + 1) - chunkStart(total, pieces, piece);
    const ranges: Range[] = [];
    while (wanted > 0) {
      const { offset, length } = part[index]!;
      const taken = Math.min(wanted, length - used);
      ranges.push({ offset: offset + used, length: taken });
      wanted -= taken;
      used += taken;
      if (used === length) {
        index++;
        used = 0;
      }
    }
    cut.push(ranges);
  }
  return cut;
}

/** Whether steps that rotate the parts load the links alike: none empty, equal but for one element in each range. */
export function areEven(parts: readonly Part[]): boolean {
  const ranges = parts[0]?.length ?? 0;
  if (ranges === 0 || parts.some((part) => part.length !== ranges)) return false;
  return parts[0]!.every(({ length }, r) => parts.every((part) => Math.abs(part[r]!.length - length) <= 1));
}
