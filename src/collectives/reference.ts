/**
 * What each rank must have after a collective: the definition, in double precision and without any schedule. Schedules of
 * users and our own are checked against it.
 *
 * Reductions fold the group's inputs in order of position. Nothing is rounded to a format; the inputs are taken as they are.
 */

import type { ScheduleOptions } from './build.ts';
import type { Reduction } from './numeric.ts';
import { chunkStart } from './schedule.ts';

/** A collective without the algorithm that carries it out. */
export type CollectiveDefinition = Pick<
  ScheduleOptions,
  'collective' | 'ranks' | 'elements' | 'counts' | 'groups' | 'root' | 'pairs'
>;

const STEP: Readonly<Record<Exclude<Reduction, 'average'>, (a: number, b: number) => number>> = {
  sum: (a, b) => a + b,
  prod: (a, b) => a * b,
  max: Math.max,
  min: Math.min,
};

/** The outputs by rank; empty for a rank that gets nothing. `inputs`: by rank, empty where a rank gives nothing. */
export function referenceOutputs(
  definition: CollectiveDefinition,
  inputs: readonly ArrayLike<number>[],
  operator: Reduction = 'sum',
): (readonly number[])[] {
  const { ranks, groups = [Array.from({ length: ranks }, (_, rank) => rank)] } = definition;
  const outputs: (readonly number[])[] = Array.from({ length: ranks }, () => []);
  for (const group of groups) {
    const members = Array.from(group);
    const results = groupOutputs(
      definition,
      members,
      members.map((rank) => Array.from(inputs[rank]!)),
      operator,
    );
    members.forEach((rank, i) => {
      outputs[rank] = results[i]!;
    });
  }
  return outputs;
}

function groupOutputs(
  { collective, ranks, elements = 0, counts, root = 0, pairs = [] }: CollectiveDefinition,
  members: readonly number[],
  inputs: readonly number[][],
  operator: Reduction,
): (readonly number[])[] {
  const p = members.length;
  /** Where the chunk of position i lies in the whole. */
  const cut = (whole: readonly number[]): number[][] => {
    let at = 0;
    return members.map((rank, i) => {
      const length = counts ? counts[rank]! : chunkStart(elements, p, i + 1) - chunkStart(elements, p, i);
      at += length;
      return whole.slice(at - length, at);
    });
  };
  /** What position i sends to each position. */
  const blocks = (i: number): number[][] => {
    let at = 0;
    return members.map((rank, j) => {
      const even = chunkStart(elements, p, j + 1) - chunkStart(elements, p, j);
      const length = counts ? counts[members[i]! * ranks + rank]! : even;
      at += length;
      return inputs[i]!.slice(at - length, at);
    });
  };
  const shared = (whole: readonly number[]): (readonly number[])[] => members.map(() => whole);
  const onlyRoot = (whole: number[]): (readonly number[])[] => members.map((_, i) => (i === root ? whole : []));
  switch (collective) {
    case 'all-reduce':
      return shared(fold(inputs, operator));
    case 'reduce':
      return onlyRoot(fold(inputs, operator));
    case 'reduce-scatter':
      return cut(fold(inputs, operator));
    case 'all-gather':
      return shared(inputs.flat());
    case 'gather':
      return onlyRoot(inputs.flat());
    case 'broadcast':
      return shared(inputs[root]!);
    case 'scatter':
      return cut(inputs[root]!);
    case 'all-to-all': {
      const sent = inputs.map((_, i) => blocks(i));
      return members.map((_, j) => sent.flatMap((to) => to[j]!));
    }
    case 'permute':
    case 'send-recv':
      return members.map((_, j) => {
        const source = pairs.find(([, destination]) => destination === j)?.[0];
        if (source !== undefined) return inputs[source]!;
        return collective === 'permute' ? new Array<number>(elements).fill(0) : [];
      });
    case 'barrier':
      return shared([]);
  }
}

function fold(inputs: readonly number[][], operator: Reduction): number[] {
  const step = STEP[operator === 'average' ? 'sum' : operator];
  const result = [...inputs[0]!];
  for (const input of inputs.slice(1)) {
    for (let i = 0; i < result.length; i++) result[i] = step(result[i]!, input[i]!);
  }
  return operator === 'average' ? result.map((x) => x / inputs.length) : result;
}
