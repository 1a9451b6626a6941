/**
 * Schedules that users write: steps of transfers in units of chunks, for data of any size that the chunks divide.
 * The buffers are those of `layout.ts` with one element for each chunk, unless the template says where its ranges lie.
 */
import { expectInteger } from '../base/errors.ts';
import { verifySchedule } from './interpret.ts';
import type { Collective, RankRanges, Schedule, Transfer } from './schedule.ts';
import { storedSchedule } from './schedule.ts';

export interface ScheduleTemplate {
  readonly name: string;
  readonly collective: Collective;
  readonly ranks: number;
  readonly root: number;
  /** Pieces that the whole is cut into (`ScheduleOptions.elements` says what the whole is). */
  readonly chunks: number;
  /** Chunks in the buffer of every rank. */
  readonly bufferChunks: number;
  /** In chunks, as are the offsets and lengths of the transfers. */
  readonly input: RankRanges;
  readonly output: RankRanges;
  readonly steps: readonly (readonly Transfer[])[];
}

/**
 * The schedule for `elements` elements of the whole.
 * @throws RangeError if the chunks do not divide `elements`
 */
export function templateSchedule(template: ScheduleTemplate, elements: number): Schedule {
  const { name, collective, ranks, chunks, bufferChunks, input, output, steps } = template;
  expectInteger('elements', elements, 0, 2 ** 48);
  const size = elements / chunks;
  if (!Number.isInteger(size)) {
    throw new RangeError(`"elements" expected a multiple of the ${chunks} chunks of ${name}, got ${elements}`);
  }
  const scale = (values: Float64Array): Float64Array => values.map((value) => value * size);
  const scaleRanges = ({ offset, length }: RankRanges): RankRanges => ({
    offset: scale(offset),
    length: scale(length),
  });
  return storedSchedule(
    {
      collective,
      algorithm: name,
      ranks,
      elements: bufferChunks * size,
      input: scaleRanges(input),
      output: scaleRanges(output),
    },
    steps.map((step) =>
      step.map((transfer) => ({
        ...transfer,
        sourceOffset: transfer.sourceOffset * size,
        destinationOffset: transfer.destinationOffset * size,
        length: transfer.length * size,
      })),
    ),
  );
}

/**
 * Runs the template on distinct whole numbers, one for each chunk.
 * @throws ModelError if it is not what it says, or too large to be run
 */
export function verifyTemplate(template: ScheduleTemplate, path: string): void {
  const { collective, ranks, root, chunks } = template;
  verifySchedule(templateSchedule(template, chunks), { collective, ranks, root, elements: chunks }, path);
}
