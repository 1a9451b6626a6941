/**
 * Collectives written for MSCCL: its XML intermediate form, as MSCCLang and its kin produce it.
 *
 *     <algo name coll ngpus inplace ...>
 *       <gpu id i_chunks o_chunks s_chunks>
 *         <tb id send recv chan>
 *           <step s type srcbuf srcoff dstbuf dstoff cnt depid deps hasdep/>
 *
 * A thread block (tb) runs its steps in order, waits at a step for step `deps` of block `depid` of its GPU, and talks to one
 * peer each way over a channel. Buffers: i input, o output, s scratch; in place, i and o are one. Types:
 *
 *     s send   r receive   rcs receive, copy, send   rrc receive, reduce with src into dst   rrs the same, but sent on unstored
 *     rrcs both   cpy copy src to dst   re add src to dst   nop only wait
 *
 * The k-th send over a connection meets the k-th receive; `msccl-rounds.ts` makes steps of it.
 * Leaves out: proto, the number of channels and of thread blocks, which concern the time of a GPU.
 * see: Cowan et al., "MSCCLang: Microsoft Collective Communication Language", 2023; github.com/Azure/msccl.
 */
import { ModelError, show } from '../base/errors.ts';
import type { Collective, RankRanges } from '../collectives/schedule.ts';
import { type ScheduleTemplate, verifyTemplate } from '../collectives/template.ts';
import { assignRounds, emitRounds, type Instruction, type Place, RECEIVES, SENDS, TYPES } from './msccl-rounds.ts';
import { MAX_TEMPLATE_CHUNKS, MAX_TEMPLATE_RANKS } from './schedule-json.ts';
import { parseXml, type XmlElement } from './xml.ts';

const COLLECTIVE_NAMES: Readonly<Record<string, Collective>> = {
  allreduce: 'all-reduce',
  allgather: 'all-gather',
  reduce_scatter: 'reduce-scatter',
  reducescatter: 'reduce-scatter',
  alltoall: 'all-to-all',
};

/** A guard against files made to use up memory. */
const MAX_MOVED = 2 ** 22;

/** Where the three buffers of the GPUs lie in the buffers of the schedule. */
interface Buffers {
  readonly collective: Collective;
  readonly chunks: number;
  readonly size: Readonly<Record<string, number>>;
  readonly start: (buffer: string, rank: number) => number;
  /** Chunks of i, o and s together. */
  readonly total: number;
}

/**
 * The schedule of an MSCCL file, checked by running it. `path` names the file in errors.
 * @throws ModelError with the line, or the rank that ends with a wrong result
 */
export function parseMsccl(text: string, path: string): ScheduleTemplate {
  const algo = parseXml(text, path);
  const reader = new Reader(path);
  if (algo.name !== 'algo') reader.fail(algo, `<algo>, got <${algo.name}>`);
  const ranks = reader.integer(algo, 'ngpus', 1, MAX_TEMPLATE_RANKS);
  const gpus = reader.children(algo, 'gpu');
  const buffers = buffersOf(reader, algo, ranks, gpus);
  const instructions = gpus.flatMap((gpu) => blockSteps(reader, gpu, ranks, buffers));
  connect(reader, instructions);
  const all = instructions.flatMap(({ steps }) => steps);
  const moved = all.reduce((sum, { count }) => sum + count, 0);
  if (moved > MAX_MOVED) reader.fail(algo, `steps of at most ${MAX_MOVED} chunks together, got ${moved}`);
  const stuck = assignRounds(all);
  if (stuck !== undefined) reader.fail(stuck, 'steps that do not wait for each other in a circle, got one that waits');
  const { steps, extra } = emitRounds(all, buffers.total);
  const range = (buffer: string): RankRanges => ({
    offset: Float64Array.from({ length: ranks }, (_, rank) => buffers.start(buffer, rank)),
    length: new Float64Array(ranks).fill(buffers.size[buffer]!),
  });
  const template = {
    name: algo.attributes.get('name') ?? 'msccl',
    collective: buffers.collective,
    ranks,
    root: 0,
    chunks: buffers.chunks,
    bufferChunks: buffers.total + extra,
    input: range('i'),
    output: range('o'),
    steps,
  };
  verifyTemplate(template, path);
  return template;
}

/** Attributes and children with errors that name the line. */
class Reader {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  fail({ line }: { readonly line: number }, message: string): never {
    throw new ModelError('CONFIG', this.#path, `expected ${message} at line ${line}`);
  }

  integer(element: XmlElement, name: string, min: number, max: number): number {
    const text = element.attributes.get(name);
    const value = /^-?\d{1,9}$/.test(text ?? '') ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    return this.fail(element, `"${name}" of <${element.name}> as an integer in ${min}..${max}, got ${show(text)}`);
  }

  oneOf<T extends string>(element: XmlElement, name: string, choices: readonly T[]): T {
    const text = element.attributes.get(name);
    const found = choices.find((choice) => choice === text);
    return (
      found ?? this.fail(element, `"${name}" of <${element.name}> as one of ${choices.join(', ')}, got ${show(text)}`)
    );
  }

  children(element: XmlElement, name: string): readonly XmlElement[] {
    const other = element.children.find((child) => child.name !== name);
    if (other !== undefined) this.fail(other, `<${name}> in <${element.name}>, got <${other.name}>`);
    return element.children;
  }
}

function buffersOf(reader: Reader, algo: XmlElement, ranks: number, gpus: readonly XmlElement[]): Buffers {
  const collective = COLLECTIVE_NAMES[reader.oneOf(algo, 'coll', Object.keys(COLLECTIVE_NAMES))]!;
  const isInPlace = reader.integer(algo, 'inplace', 0, 1) === 1;
  if (gpus.length !== ranks) reader.fail(algo, `${ranks} <gpu>, as "ngpus" says, got ${gpus.length}`);
  const ids = new Set(gpus.map((gpu) => reader.integer(gpu, 'id', 0, ranks - 1)));
  if (ids.size !== ranks) reader.fail(algo, 'each "id" of <gpu> once, got one again');
  const first = gpus[0]!;
  const count = (name: string): number => {
    const counts = gpus.map((gpu) => reader.integer(gpu, name, 0, MAX_TEMPLATE_CHUNKS));
    // Scratch may differ, what goes in and comes out may not.
    if (name === 's_chunks') return Math.max(...counts);
    const odd = counts.findIndex((n) => n !== counts[0]);
    if (odd >= 0) reader.fail(gpus[odd]!, `"${name}" of ${counts[0]} as in the first <gpu>, got ${counts[odd]}`);
    return counts[0]!;
  };
  const size = { i: count('i_chunks'), o: count('o_chunks'), s: count('s_chunks') };
  // In place, generators often count one of the two buffers only.
  const chunks = collective === 'all-gather' ? size.o : size.i;
  if (chunks === 0) reader.fail(first, 'at least one chunk of data, got 0');
  const share = collective === 'all-reduce' || collective === 'all-to-all' ? chunks : chunks / ranks;
  const other = collective === 'all-gather' ? 'i' : 'o';
  if (isInPlace && size[other] === 0) size[other] = share;
  if (size[other] !== share || (collective === 'all-to-all' && chunks % ranks !== 0)) {
    reader.fail(
      first,
      `"i_chunks" and "o_chunks" that make a ${collective} over ${ranks}, got ${size.i} and ${size.o}`,
    );
  }
  const larger = Math.max(size.i, size.o);
  const outputStart = isInPlace ? 0 : size.i;
  const scratchStart = isInPlace ? larger : size.i + size.o;
  return {
    collective,
    chunks,
    size,
    total: scratchStart + size.s,
    start: (buffer, rank) => {
      if (buffer === 's') return scratchStart;
      // In place, a rank's own part lies where it belongs in the whole.
      if (isInPlace && size[buffer as 'i' | 'o'] < larger) return rank * share;
      return buffer === 'o' ? outputStart : 0;
    },
  };
}

interface Block {
  readonly element: XmlElement;
  readonly rank: number;
  readonly send: number;
  readonly receive: number;
  readonly channel: number;
  readonly steps: Instruction[];
}

/** The thread blocks of a GPU, with what each step waits for inside the GPU. */
function blockSteps(reader: Reader, gpu: XmlElement, ranks: number, buffers: Buffers): Block[] {
  const rank = reader.integer(gpu, 'id', 0, ranks - 1);
  const blocks = new Map<number, Block>();
  for (const element of reader.children(gpu, 'tb')) {
    const id = reader.integer(element, 'id', 0, 2 ** 16);
    if (blocks.has(id)) reader.fail(element, `each "id" of <tb> once in a <gpu>, got ${id} again`);
    blocks.set(id, {
      element,
      rank,
      send: reader.integer(element, 'send', -1, ranks - 1),
      receive: reader.integer(element, 'recv', -1, ranks - 1),
      channel: reader.integer(element, 'chan', 0, 2 ** 16),
      steps: reader.children(element, 'step').map((step, s) => {
        if (reader.integer(step, 's', 0, 2 ** 24) !== s) reader.fail(step, `"s" of ${s}, the next in its <tb>`);
        return instructionOf(reader, step, rank, buffers);
      }),
    });
  }
  for (const block of blocks.values()) {
    block.steps.forEach((instruction, s) => {
      const element = block.element.children[s]!;
      if (s > 0) instruction.after.push(block.steps[s - 1]!);
      const waitsFor = reader.integer(element, 'depid', -1, 2 ** 16);
      if (waitsFor < 0) return;
      const found = blocks.get(waitsFor)?.steps[reader.integer(element, 'deps', 0, 2 ** 24)];
      instruction.after.push(found ?? reader.fail(element, `"depid" and "deps" of a step of this <gpu>, got none`));
    });
  }
  return [...blocks.values()];
}

function instructionOf(reader: Reader, step: XmlElement, rank: number, buffers: Buffers): Instruction {
  const type = reader.oneOf(step, 'type', TYPES);
  const count = type === 'nop' ? 0 : reader.integer(step, 'cnt', 1, MAX_TEMPLATE_CHUNKS);
  const place = (end: 'src' | 'dst', isUsed: boolean): Place => {
    if (!isUsed) return { rank, offset: 0 };
    const buffer = reader.oneOf(step, `${end}buf`, ['i', 'o', 's']);
    const offset = reader.integer(step, `${end}off`, 0, MAX_TEMPLATE_CHUNKS);
    const size = buffers.size[buffer]!;
    if (offset + count > size)
      reader.fail(step, `chunks below ${size} of buffer ${buffer}, got up to ${offset + count - 1}`);
    return { rank, offset: buffers.start(buffer, rank) + offset };
  };
  return {
    rank,
    type,
    count,
    source: place('src', !['r', 'rcs', 'nop'].includes(type)),
    target: place('dst', !['s', 'rrs', 'nop'].includes(type)),
    line: step.line,
    after: [],
    round: 0,
  };
}

/** Joins the k-th send of every connection to its k-th receive. */
function connect(reader: Reader, blocks: readonly Block[]): void {
  const senders = new Map<string, Block>();
  for (const block of blocks) {
    const wrong = block.steps.find(
      ({ type }) => (SENDS.includes(type) && block.send < 0) || (RECEIVES.includes(type) && block.receive < 0),
    );
    if (wrong !== undefined) reader.fail(wrong, `a <tb> with a peer for "${wrong.type}", got -1`);
    if (block.send < 0) continue;
    const key = `${block.rank} ${block.send} ${block.channel}`;
    if (senders.has(key))
      reader.fail(block.element, `one <tb> that sends to ${block.send} on channel ${block.channel}`);
    senders.set(key, block);
  }
  for (const block of blocks) {
    const receives = block.steps.filter(({ type }) => RECEIVES.includes(type));
    if (block.receive < 0) continue;
    const key = `${block.receive} ${block.rank} ${block.channel}`;
    const sends = senders.get(key)?.steps.filter(({ type }) => SENDS.includes(type)) ?? [];
    senders.delete(key);
    if (sends.length !== receives.length) {
      const from = `GPU ${block.receive} on channel ${block.channel}`;
      reader.fail(block.element, `as many sends as receives from ${from}, got ${sends.length} and ${receives.length}`);
    }
    receives.forEach((instruction, k) => {
      const send = sends[k]!;
      if (send.count !== instruction.count) {
        reader.fail(
          instruction,
          `"cnt" of ${send.count} as in line ${send.line}, which sends it, got ${instruction.count}`,
        );
      }
      instruction.from = send;
    });
  }
  for (const { element, steps, send } of senders.values()) {
    const lost = steps.find(({ type }) => SENDS.includes(type));
    if (lost !== undefined) reader.fail(element, `a <tb> of GPU ${send} that receives what this one sends, got none`);
  }
}
