/**
 * A user's own collective as JSON:
 *
 *     { "schemaVersion": 1, "name": "swap", "collective": "all-reduce", "ranks": 2, "chunks": 1,
 *       "steps": [[{ "from": 0, "to": 1, "chunk": 0, "reduce": true }, { "from": 1, "to": 0, "chunk": 0, "reduce": true }]] }
 *
 * `chunks` is what the whole is cut into, a multiple of the ranks unless all ranks have the whole. A transfer moves `count`
 * chunks (1 if left out) from `chunk` of the sender's buffer to `toChunk` of the receiver's (the same if left out), which
 * adds them (`reduce`) or overwrites. Rank r's part of the whole is its r-th share of the chunks, where it belongs in the
 * whole; an all-to-all has its output behind its input, and `scratchChunks` more lie behind the data.
 * All transfers of a step read what was there before it. The schedule is run on numbers when it is read: one that is not
 * what it says is an error.
 */
import { z } from 'zod';
import { ModelError } from '../base/errors.ts';
import { parseJson } from '../base/json.ts';
import { layOut } from '../collectives/layout.ts';
import { ADD, COPY, type Transfer } from '../collectives/schedule.ts';
import { type ScheduleTemplate, verifyTemplate } from '../collectives/template.ts';
import { parseData } from '../hardware/schema.ts';

/** Guards against typing errors: more would not be a schedule that somebody wrote. */
export const MAX_TEMPLATE_RANKS = 4096;
export const MAX_TEMPLATE_CHUNKS = 65536;

const index = z.int().min(0);

const schema = z.strictObject({
  schemaVersion: z.literal(1),
  name: z.string().min(1),
  collective: z.enum([
    'all-reduce',
    'all-gather',
    'reduce-scatter',
    'all-to-all',
    'broadcast',
    'reduce',
    'gather',
    'scatter',
  ]),
  ranks: z.int().min(1).max(MAX_TEMPLATE_RANKS),
  chunks: z.int().min(1).max(MAX_TEMPLATE_CHUNKS),
  scratchChunks: z.int().min(0).max(MAX_TEMPLATE_CHUNKS).default(0),
  root: index.default(0),
  steps: z.array(
    z.array(
      z.strictObject({
        from: index,
        to: index,
        chunk: index,
        toChunk: z.exactOptional(index),
        count: z.int().min(1).default(1),
        reduce: z.boolean().default(false),
      }),
    ),
  ),
});

const WHOLE_EVERYWHERE: readonly string[] = ['all-reduce', 'broadcast', 'reduce'];

/**
 * The schedule that `text` describes, checked. `path` names the file in errors.
 * @throws ModelError that names the key and the value, or the rank that ends with a wrong result
 */
export function parseScheduleJson(text: string, path: string): ScheduleTemplate {
  const { name, collective, ranks, chunks, scratchChunks, root, steps } = parseData(
    schema,
    parseJson(text, path),
    path,
  );
  const fail = (key: string, message: string): never => {
    throw new ModelError('CONFIG', `${path}: ${key}`, message);
  };
  if (!WHOLE_EVERYWHERE.includes(collective) && chunks % ranks !== 0) {
    fail('chunks', `expected a multiple of the ${ranks} ranks, got ${chunks}`);
  }
  const isRooted = ['broadcast', 'reduce', 'gather', 'scatter'].includes(collective);
  if (root >= ranks || (root > 0 && !isRooted)) {
    fail('root', `expected ${isRooted ? `a rank below ${ranks}` : `none for ${collective}`}, got ${root}`);
  }
  const everyone = Int32Array.from({ length: ranks }, (_, rank) => rank);
  const { elements, input, output } = layOut(collective, { elements: chunks, ...(isRooted && { root }) }, ranks, [
    everyone,
  ]);
  const bufferChunks = elements + scratchChunks;
  const template = {
    name,
    collective,
    ranks,
    root,
    chunks,
    bufferChunks,
    input,
    output,
    steps: steps.map((step, s) =>
      step.map(({ from, to, chunk, toChunk = chunk, count, reduce }, t): Transfer => {
        const key = `steps.${s}.${t}`;
        if (from >= ranks) fail(`${key}.from`, `expected a rank below ${ranks}, got ${from}`);
        if (to >= ranks) fail(`${key}.to`, `expected a rank below ${ranks}, got ${to}`);
        const end = Math.max(chunk, toChunk) + count;
        if (end > bufferChunks) fail(key, `expected chunks below ${bufferChunks}, got up to ${end - 1}`);
        return {
          source: from,
          destination: to,
          sourceOffset: chunk,
          destinationOffset: toChunk,
          length: count,
          action: reduce ? ADD : COPY,
        };
      }),
    ),
  };
  verifyTemplate(template, path);
  return template;
}
