/**
 * What needs no algorithm: permute and send-recv, all pairs at once; and the dissemination barrier.
 *
 * Barrier: in step k every rank tells the one 2^k further on that it, and all it has heard of, has arrived; after
 * ceil(log2 p) steps everybody has heard of everybody. A message is one element, which stands for the flag.
 * see: Hensgen, Finkel and Manber, "Two algorithms for barrier synchronization", 1988.
 */
import { emitPart, singleStep } from '../phase.ts';
import { COPY } from '../schedule.ts';
import type { Algorithm } from './algorithm.ts';

const allPairs: NonNullable<Algorithm['permute']> = ({ members }, pairs, data, target) =>
  singleStep((emit) => {
    for (const [source, destination] of pairs) {
      for (const { offset, length } of data) {
        emit(members[source]!, members[destination]!, offset, target + offset, length, COPY);
      }
    }
  });

export const direct: Algorithm = {
  name: 'direct',
  summary: 'each pair of ranks on its own, all at once',
  permute: allPairs,
  'send-recv': allPairs,
};

const FLAG = [{ offset: 0, length: 1 }];

export const dissemination: Algorithm = {
  name: 'dissemination',
  summary: 'each rank signals the one 1, 2, 4, ... further on: log2 p steps',
  barrier: ({ members }) => {
    const p = members.length;
    return {
      steps: p === 1 ? 0 : 32 - Math.clz32(p - 1),
      stepClass: (step) => step,
      emit: (step, emit) => {
        for (let i = 0; i < p; i++) emitPart(emit, members[i]!, members[(i + (1 << step)) % p]!, FLAG, COPY);
      },
    };
  },
};
