/**
 * From the instructions of MSCCL's thread blocks to the steps of a schedule.
 *
 * Who waits for whom is a graph; every instruction gets the first round in which all that it needs is there. The rounds that
 * move something are the steps: data crosses when it is received, or, if the sender overwrites it before, when it is sent, into
 * scratch of the receiver. What is sent on without being stored goes through scratch as well.
 */
import { type Action, ADD, COPY, countBelow, type Transfer } from '../collectives/schedule.ts';

export const TYPES = ['s', 'r', 'rcs', 'rrc', 'rrs', 'rrcs', 'cpy', 're', 'nop'] as const;
export type StepType = (typeof TYPES)[number];
export const SENDS: readonly StepType[] = ['s', 'rcs', 'rrs', 'rrcs'];
export const RECEIVES: readonly StepType[] = ['r', 'rcs', 'rrc', 'rrs', 'rrcs'];

/** A range of a rank's buffer, in chunks. */
export interface Place {
  readonly rank: number;
  readonly offset: number;
}

export interface Instruction {
  readonly rank: number;
  readonly type: StepType;
  readonly source: Place;
  readonly target: Place;
  readonly count: number;
  readonly line: number;
  /** What must have been done in an earlier round, and the send that must have been made by then. */
  readonly after: Instruction[];
  from?: Instruction;
  round: number;
}

/** A send can be received in the round in which it is made; what is sent on, in the next. */
function availableAt({ type, round }: Instruction): number {
  return type === 's' ? round : round + 1;
}

/** Gives every instruction its earliest round, in topological order; returns one that waits for itself, if there is one. */
export function assignRounds(all: readonly Instruction[]): Instruction | undefined {
  const missing = new Map<Instruction, number>();
  const dependents = new Map<Instruction, Instruction[]>();
  for (const instruction of all) {
    const needs = instruction.from === undefined ? instruction.after : [...instruction.after, instruction.from];
    missing.set(instruction, needs.length);
    for (const need of needs) {
      const waiting = dependents.get(need);
      if (waiting) waiting.push(instruction);
      else dependents.set(need, [instruction]);
    }
  }
  const ready = all.filter((instruction) => missing.get(instruction) === 0);
  // The list grows while it is walked.
  for (const instruction of ready) {
    for (const { round } of instruction.after) instruction.round = Math.max(instruction.round, round + 1);
    if (instruction.from) instruction.round = Math.max(instruction.round, availableAt(instruction.from));
    for (const waiting of dependents.get(instruction) ?? []) {
      const left = missing.get(waiting)! - 1;
      missing.set(waiting, left);
      if (left === 0) ready.push(waiting);
    }
  }
  return all.find((instruction) => missing.get(instruction)! > 0);
}

/** The transfers of every round that has some; `extra`: chunks behind all buffers for what is sent unstored or too early. */
export function emitRounds(all: readonly Instruction[], free: number): { steps: Transfer[][]; extra: number } {
  const rounds: Transfer[][] = [];
  const add = (round: number, from: Place, to: Place, length: number, action: Action): void => {
    rounds[round] ??= [];
    rounds[round].push({
      source: from.rank,
      destination: to.rank,
      sourceOffset: from.offset,
      destinationOffset: to.offset,
      length,
      action,
    });
  };
  const used = new Map<number, number>();
  const reserve = (rank: number, count: number): Place => {
    const offset = used.get(rank) ?? free;
    used.set(rank, offset + count);
    return { rank, offset };
  };
  // Where the result of each instruction is written, and in which rounds each chunk of each rank is written.
  const results = new Map<Instruction, Place>();
  const written = new Map<string, number[]>();
  for (const instruction of all) {
    const { rank, type, target, count, round } = instruction;
    if (type === 's' || type === 'nop') continue;
    const place = type === 'rrs' ? reserve(rank, count) : target;
    results.set(instruction, place);
    for (let c = 0; c < count; c++) {
      const key = `${rank} ${place.offset + c}`;
      const known = written.get(key);
      if (known) known.push(round);
      else written.set(key, [round]);
    }
  }
  for (const times of written.values()) times.sort((a, b) => a - b);
  const isOverwritten = ({ rank, offset }: Place, count: number, from: number, before: number): boolean =>
    Array.from({ length: count }, (_, c) => written.get(`${rank} ${offset + c}`) ?? []).some(
      (times) => countBelow(times, from) < countBelow(times, before),
    );
  for (const instruction of all) {
    const { rank, type, source, count, round, from } = instruction;
    const place = results.get(instruction);
    if (place === undefined) continue;
    let arriving = source;
    if (from !== undefined) {
      arriving = from.type === 's' ? from.source : results.get(from)!;
      const sent = availableAt(from);
      if (isOverwritten(arriving, count, sent, round)) {
        const kept = reserve(rank, count);
        add(sent, arriving, kept, count, COPY);
        arriving = kept;
      }
      // The addend that is not where the result goes is copied there first: both are one reduction.
      const reduces = type !== 'r' && type !== 'rcs';
      if (reduces && source.offset !== place.offset) add(round, source, place, count, COPY);
      add(round, arriving, place, count, reduces ? ADD : COPY);
    } else add(round, source, place, count, type === 're' ? ADD : COPY);
  }
  const extra = [...used.values()].reduce((most, end) => Math.max(most, end), free) - free;
  return { steps: rounds.filter((round) => round !== undefined), extra };
}
