/** Collectives that users write, as JSON and as MSCCL's XML: what they do, and what wrong ones are answered. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ModelError } from '../src/base/errors.ts';
import { buildSchedule } from '../src/collectives/build.ts';
import { interpretSchedule, verifySchedule } from '../src/collectives/interpret.ts';
import { runCollective } from '../src/collectives/numeric.ts';
import { referenceOutputs } from '../src/collectives/reference.ts';
import { type ScheduleTemplate, templateSchedule } from '../src/collectives/template.ts';
import { trafficOf } from '../src/collectives/traffic.ts';
import { parseMsccl } from '../src/formats/msccl.ts';
import { parseScheduleJson } from '../src/formats/schedule-json.ts';
import { parseXml } from '../src/formats/xml.ts';
import { createArena } from '../src/kernels/arena.ts';

function upTo(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i);
}

/** The outputs on real tensors beside the definition, for data of `size` elements a chunk. */
function expectRight(template: ScheduleTemplate, size: number): void {
  const arena = createArena();
  const elements = template.chunks * size;
  const schedule = templateSchedule(template, elements);
  const inputs = upTo(template.ranks).map((rank) =>
    arena
      .tensor('f32', [schedule.input.length[rank]!])
      .set(upTo(schedule.input.length[rank]!).map((i) => ((rank * 31 + i * 7) % 23) - 11)),
  );
  const outputs = upTo(template.ranks).map((rank) => arena.tensor('f32', [schedule.output.length[rank]!]));
  const { collective, ranks, root } = template;
  const expected = referenceOutputs(
    { collective, ranks, root, elements },
    inputs.map((input) => input.toFloat32()),
  );
  runCollective(schedule, inputs, outputs);
  expect(outputs.map((output) => [...output.toFloat32()])).toEqual(expected);
}

describe('JSON', () => {
  const ringOf = (ranks: number) => ({
    schemaVersion: 1,
    name: 'my-ring',
    collective: 'all-reduce',
    ranks,
    chunks: ranks,
    steps: upTo(2 * (ranks - 1)).map((s) =>
      upTo(ranks).map((i) => ({
        from: i,
        to: (i + 1) % ranks,
        chunk: (i - s + 2 * ranks) % ranks,
        reduce: s < ranks - 1,
      })),
    ),
  });
  const parse = (value: unknown) => parseScheduleJson(JSON.stringify(value), 'my.json');

  test('a ring all-reduce that a user writes is the ring all-reduce', () => {
    const template = parse(ringOf(5));
    expectRight(template, 3);
    const own = buildSchedule({ collective: 'all-reduce', algorithm: 'ring', ranks: 5, elements: 500 });
    const given = templateSchedule(template, 500);
    expect(trafficOf(given, 2)).toEqual(trafficOf(own, 2));
    expect(upTo(8).map((s) => given.transfers(s))).toEqual(upTo(8).map((s) => own.transfers(s)));
    expect(given.algorithm).toBe('my-ring');
  });

  test('parts, roots, counts and scratch lie where the document says', () => {
    expectRight(
      parse({
        schemaVersion: 1,
        name: 'relay',
        collective: 'scatter',
        ranks: 2,
        chunks: 4,
        root: 1,
        scratchChunks: 2,
        // By way of the scratch of rank 0.
        steps: [
          [{ from: 1, to: 0, chunk: 0, toChunk: 4, count: 2 }],
          [{ from: 0, to: 0, chunk: 4, toChunk: 0, count: 2 }],
        ],
      }),
      2,
    );
    expectRight(
      parse({
        schemaVersion: 1,
        name: 'exchange',
        collective: 'all-to-all',
        ranks: 2,
        chunks: 2,
        steps: [
          [
            { from: 0, to: 0, chunk: 0, toChunk: 2 },
            { from: 0, to: 1, chunk: 1, toChunk: 2 },
            { from: 1, to: 0, chunk: 0, toChunk: 3 },
            { from: 1, to: 1, chunk: 1, toChunk: 3 },
          ],
        ],
      }),
      1,
    );
  });

  test('a schedule that is not what it says is an error that names the rank', () => {
    const wrong = ringOf(4);
    wrong.steps[2]![1]!.reduce = false;
    expect(() => parse(wrong)).toThrow(
      'my.json: expected a schedule of all-reduce, but rank 0 ends with a wrong value in chunk',
    );
    expect(() => parse({ ...ringOf(4), steps: [] })).toThrow('rank 0 ends with a wrong value in chunk 0');
  });

  test('sizes that the chunks do not divide are an error', () => {
    expect(() => templateSchedule(parse(ringOf(4)), 6)).toThrow(
      '"elements" expected a multiple of the 4 chunks of my-ring',
    );
  });

  test('wrong values are errors that name the key', () => {
    const with_ = (changes: object) => () => parse({ ...ringOf(3), ...changes });
    const step = { from: 0, to: 1, chunk: 0 };
    expect(with_({ schemaVersion: 2 })).toThrow('my.json: schemaVersion: expected 1, got 2');
    expect(with_({ ranks: 1e9 })).toThrow('my.json: ranks');
    expect(with_({ chunks: 1e12 })).toThrow('my.json: chunks');
    expect(with_({ collective: 'gather', chunks: 4 })).toThrow('chunks: expected a multiple of the 3 ranks, got 4');
    expect(with_({ root: 1 })).toThrow('root: expected none for all-reduce, got 1');
    expect(with_({ steps: [[{ ...step, to: 3 }]] })).toThrow('my.json: steps.0.0.to: expected a rank below 3, got 3');
    expect(with_({ steps: [[{ ...step, count: 4 }]] })).toThrow('steps.0.0: expected chunks below 3, got up to 3');
    expect(with_({ steps: [[{ ...step, chunk: -1 }]] })).toThrow('steps.0.0.chunk');
    expect(with_({ steps: [[{ ...step, size: 4 }]] })).toThrow('steps.0.0.size');
    expect(with_({ ranks: 4096, chunks: 65536, steps: [] })).toThrow('at most 67108864 chunks');
    expect(() => parseScheduleJson('{"schemaVersion": 1,', 'my.json')).toThrow('expected JSON, but the text ends');
  });
});

/** MSCCL's form of a program that is given as blocks of each GPU: `[send, receive, channel, steps]`. */
type Step = readonly [type: string, src: string, dst: string, count?: number, wait?: readonly [number, number]];
type TB = readonly [send: number, receive: number, steps: readonly Step[], channel?: number];

function msccl(
  coll: string,
  chunks: readonly [number, number, number],
  gpus: readonly (readonly TB[])[],
  inplace = 1,
): string {
  const place = (text: string, end: string) =>
    `${end}buf="${text === '' ? 'i' : text[0]}" ${end}off="${text === '' ? -1 : text.slice(1)}"`;
  const step = ([type, src, dst, count = 1, wait = [-1, -1]]: Step, s: number) =>
    `<step s="${s}" type="${type}" ${place(src, 'src')} ${place(dst, 'dst')} cnt="${count}" depid="${wait[0]}" deps="${wait[1]}" hasdep="0"/>`;
  const block = ([send, receive, steps, channel = 0]: TB, id: number) =>
    `    <tb id="${id}" send="${send}" recv="${receive}" chan="${channel}">\n${steps.map(step).join('\n')}\n    </tb>`;
  const [i, o, s] = chunks;
  const gpu = (blocks: readonly TB[], id: number) =>
    `  <gpu id="${id}" i_chunks="${i}" o_chunks="${o}" s_chunks="${s}">\n${blocks.map(block).join('\n')}\n  </gpu>`;
  return `<?xml version="1.0"?>\n<!-- made here -->\n<algo name="test" proto="Simple" nchannels="1" nchunksperloop="${i}" ngpus="${gpus.length}" coll="${coll}" inplace="${inplace}">\n${gpus.map(gpu).join('\n')}\n</algo>\n`;
}

/** Ring all-reduce as MSCCLang writes it: one block for each GPU, send, then fused receives. */
function mscclRing(p: number): string {
  return msccl(
    'allreduce',
    [p, p, 0],
    upTo(p).map((rank): TB[] => {
      const chunk = (s: number) => `i${(rank - s + 2 * p) % p}`;
      const middle = upTo(2 * p - 3).map((k): Step => {
        const c = chunk(k + 1);
        return [k < p - 2 ? 'rrs' : k === p - 2 ? 'rrcs' : 'rcs', c, c];
      });
      const last: Step = ['r', '', chunk(2 * p - 2)];
      return [[(rank + 1) % p, (rank + p - 1) % p, [['s', chunk(0), ''], ...middle, last]]];
    }),
  );
}

describe('MSCCL', () => {
  const parse = (text: string) => parseMsccl(text, 'algo.xml');

  test('a ring all-reduce of fused steps runs in as many steps as ours and moves as much', () => {
    const template = parse(mscclRing(4));
    expectRight(template, 3);
    const schedule = templateSchedule(template, 400);
    expect(schedule.steps).toBe(6);
    expect(trafficOf(schedule, 1).total).toBe(2 * 3 * 400);
  });

  test('an all-pairs all-reduce through scratch, with waits between the blocks of a GPU', () => {
    // Each GPU sends chunk j to j, which adds what has come into its scratch, then sends the sum to all.
    const p = 3;
    const gpus = upTo(p).map((rank): TB[] => {
      const peers = upTo(p).filter((peer) => peer !== rank);
      const slot = (peer: number, at: number) => `s${peer < at ? peer : peer - 1}`;
      return peers.map((peer, block): TB => {
        const adds: Step[] =
          block === 0 ? peers.map((_, k): Step => ['re', `s${k}`, `i${rank}`, 1, k === 0 ? [1, 1] : [-1, -1]]) : [];
        const done: readonly [number, number] = block === 0 ? [-1, -1] : [0, 3];
        return [
          peer,
          peer,
          [
            ['s', `i${peer}`, ''],
            ['r', '', slot(peer, rank)],
            ...adds,
            ['s', `i${rank}`, '', 1, done],
            ['r', '', `i${peer}`],
          ],
        ];
      });
    });
    expectRight(parse(msccl('allreduce', [p, p, p - 1], gpus)), 2);
  });

  test('all-gather, reduce-scatter and all-to-all, in place and not', () => {
    const both = (make: (rank: number, peer: number) => readonly Step[]): TB[][] =>
      upTo(2).map((rank) => [[1 - rank, 1 - rank, make(rank, 1 - rank)]]);
    expectRight(
      parse(
        msccl(
          'allgather',
          [1, 2, 0],
          both((rank, peer) => [
            ['s', 'i0', ''],
            ['r', '', `o${peer}`],
            ['cpy', 'i0', `o${rank}`],
          ]),
          0,
        ),
      ),
      3,
    );
    expectRight(
      parse(
        msccl(
          'allgather',
          [1, 2, 0],
          both((_, peer) => [
            ['s', 'i0', ''],
            ['r', '', `o${peer}`],
          ]),
        ),
      ),
      3,
    );
    expectRight(
      parse(
        msccl(
          'reduce_scatter',
          [2, 1, 0],
          both((rank, peer) => [
            ['s', `i${peer}`, ''],
            ['rrc', `i${rank}`, 'o0'],
          ]),
          0,
        ),
      ),
      3,
    );
    expectRight(
      parse(
        msccl(
          'reduce_scatter',
          [2, 1, 0],
          both((rank, peer) => [
            ['s', `i${peer}`, ''],
            ['rrc', `i${rank}`, 'o0'],
          ]),
        ),
      ),
      3,
    );
    expectRight(
      parse(
        msccl(
          'alltoall',
          [2, 2, 0],
          both((rank, peer) => [
            ['s', `i${peer}`, ''],
            ['r', '', `o${peer}`],
            ['cpy', `i${rank}`, `o${rank}`],
          ]),
          0,
        ),
      ),
      3,
    );
    // In place the sender overwrites what it has sent: it travels when it is sent.
    expectRight(
      parse(
        msccl(
          'alltoall',
          [2, 2, 0],
          both((_, peer) => [
            ['s', `i${peer}`, ''],
            ['nop', '', ''],
            ['r', '', `o${peer}`],
          ]),
        ),
      ),
      3,
    );
  });

  test('data that its sender overwrites before it is received was sent before', () => {
    // GPU 0 sends its chunk, then takes the other's over it; GPU 1 receives late, after two idle steps.
    const text = msccl(
      'alltoall',
      [2, 2, 1],
      [
        [
          [
            1,
            1,
            [
              ['s', 'i1', ''],
              ['r', '', 'i1'],
            ],
          ],
        ],
        [
          [
            0,
            0,
            [
              ['s', 'i0', ''],
              ['nop', '', ''],
              ['nop', '', ''],
              ['r', '', 'i0'],
            ],
          ],
        ],
      ],
    );
    expectRight(parse(text), 2);
  });

  const wrong: readonly (readonly [string, string, string | RegExp])[] = [
    ['another root', '<ring/>', 'algo.xml: expected <algo>, got <ring> at line 1'],
    ['no text', '', 'expected an element, but the text ends at line 1'],
    ['an unknown collective', mscclRing(2).replace('allreduce', 'custom'), '"coll" of <algo> as one of allreduce'],
    ['a missing GPU', mscclRing(3).replace('ngpus="3"', 'ngpus="4"'), '4 <gpu>, as "ngpus" says, got 3'],
    ['a huge count', mscclRing(2).replace('cnt="1"', 'cnt="999999999"'), '"cnt" of <step> as an integer in 1..65536'],
    ['a count beyond the buffer', mscclRing(2).replace('cnt="1"', 'cnt="3"'), 'chunks below 2 of buffer i'],
    ['a huge number of GPUs', mscclRing(2).replace('ngpus="2"', 'ngpus="99999999999999"'), '"ngpus" of <algo>'],
    ['an unknown type', mscclRing(2).replace('type="s"', 'type="send"'), '"type" of <step> as one of s, r, rcs'],
    ['a wrong number', mscclRing(2).replace('srcoff="0"', 'srcoff="x"'), '"srcoff" of <step> as an integer'],
    ['a missing step', mscclRing(2).replace(/<step s="0".*\n/, ''), '"s" of 0, the next in its <tb> at line 6'],
    [
      'a receive without a send',
      mscclRing(2).replace('type="s"', 'type="nop"'),
      'as many sends as receives from GPU 0 on channel 0, got 1 and 2',
    ],
    ['a peer that is none', mscclRing(2).replace('send="1"', 'send="-1"'), 'a <tb> with a peer for "s", got -1'],
    ['an entity', mscclRing(2).replace('name="test"', 'name="&lol;"'), 'a predefined entity, got "&lol;" at line 3'],
    ['a document type', `<!DOCTYPE algo [<!ENTITY a "b">]>${mscclRing(2)}`, 'expected a tag, got "<!DOCTYPE algo'],
    ['another element', mscclRing(2).replaceAll('tb', 'block'), '<tb> in <gpu>, got <block> at line 5'],
  ];

  test.each(wrong)('%s is an error with its line', (_, text, message) => {
    expect(() => parse(text)).toThrow(ModelError);
    expect(() => parse(text)).toThrow(message);
  });

  test('a cycle of waits, inside a GPU or between two, is an error', () => {
    const waiting = msccl(
      'allreduce',
      [1, 1, 0],
      [
        [
          [1, 1, [['s', 'i0', '', 1, [1, 0]]]],
          [-1, -1, [['nop', '', '', 0, [0, 0]]]],
        ],
        [[0, 0, [['r', '', 'i0']]]],
      ],
    );
    expect(() => parse(waiting)).toThrow(
      'steps that do not wait for each other in a circle, got one that waits at line 6',
    );
    const cycle = msccl(
      'allreduce',
      [1, 1, 0],
      [
        [
          [
            1,
            1,
            [
              ['r', '', 'i0'],
              ['s', 'i0', ''],
            ],
          ],
        ],
        [
          [
            0,
            0,
            [
              ['r', '', 'i0'],
              ['s', 'i0', ''],
            ],
          ],
        ],
      ],
    );
    expect(() => parse(cycle)).toThrow(
      'steps that do not wait for each other in a circle, got one that waits at line 6',
    );
  });

  test('a program that is not what it says is an error that names the rank', () => {
    expect(() => parse(mscclRing(3).replace('type="rrs"', 'type="rcs"'))).toThrow('ends with a wrong value');
  });

  test('whatever is cut, doubled or replaced, the answer is a program or one clear error', () => {
    const text = mscclRing(3);
    fc.assert(
      fc.property(
        fc.nat(text.length),
        fc.nat(40),
        fc.oneof(
          fc.string({ maxLength: 6 }),
          fc.constantFrom('<', '>', '"', '-1', '99999', '<tb ', '</gpu>', '<!--', ' '),
        ),
        fc.boolean(),
        (at, length, insert, isCutOff) => {
          const changed = isCutOff ? text.slice(0, at) : text.slice(0, at) + insert + text.slice(at + length);
          try {
            expect(parse(changed).ranks).toBeLessThanOrEqual(4096);
          } catch (error) {
            expect(error).toBeInstanceOf(ModelError);
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  test('long inputs that go nowhere are answered quickly', () => {
    const inputs = [
      '<a>'.repeat(100_000),
      `<algo ${'x '.repeat(100_000)}`,
      `<!--${'-'.repeat(1_000_000)}`,
      `<!-- ${'a'.repeat(3_000_000)} --><b/>`,
      `<algo ${Array.from({ length: 50_000 }, (_, i) => `a${i}="1"`).join(' ')}/>`,
      ' '.repeat(1_000_000),
      '\n<a b="'.repeat(100_000),
    ];
    for (const text of inputs) expect(() => parse(text)).toThrow(ModelError);
  });
});

describe('XML', () => {
  test('elements, attributes, entities and comments', () => {
    const root = parseXml(
      `<?xml version='1.0'?>\n<!-- a > b -->\n<a x="1" y='&lt;&quot;'>\n  <b/><b z="2"></b>\n</a>`,
      'f',
    );
    expect(root).toMatchObject({ name: 'a', line: 3 });
    expect([...root.attributes]).toEqual([
      ['x', '1'],
      ['y', '<"'],
    ]);
    expect(root.children.map(({ name, line, attributes }) => [name, line, attributes.size])).toEqual([
      ['b', 4, 0],
      ['b', 4, 1],
    ]);
  });

  test.each([
    ['<a>text</a>', 'expected a tag, got "text</a>" at line 1'],
    ['<a>\n</b>', 'expected </a>, got </b> at line 2'],
    ['<a/>\n<b/>', 'expected one root element, got another, <b> at line 2'],
    ['<a>', 'expected </a>, but the text ends at line 1'],
    ['</a>', 'expected no more tags, got </a>'],
    ['<a x="1" x="2"/>', 'expected "x" once, got it again'],
    ['<a x=1/>', 'expected a tag'],
    [`${'<a>'.repeat(40)}`, 'expected at most 32 levels'],
  ])('%s is an error', (text, message) => {
    expect(() => parseXml(text, 'f')).toThrow(message);
  });
});

describe('checking a schedule', () => {
  test('every schedule of ours passes, and interpreting gives what tensors give', () => {
    for (const algorithm of ['ring', 'mesh', 'rdh', 'kangaring', 'double-binary-tree', 'switch', 'single-step-mesh']) {
      const definition = { collective: 'all-reduce', ranks: 8, elements: 100 } as const;
      const schedule = buildSchedule({ ...definition, algorithm });
      verifySchedule(schedule, definition, algorithm);
      const inputs = upTo(8).map((rank) => upTo(100).map((i) => rank * 100 + i));
      expect(interpretSchedule(schedule, inputs).map((row) => [...row])).toEqual(referenceOutputs(definition, inputs));
    }
  });

  test('one that is too large to run is an error', () => {
    const definition = { collective: 'all-reduce', ranks: 1024, elements: 2 ** 20 } as const;
    const schedule = buildSchedule({ ...definition, algorithm: 'ring' });
    expect(() => verifySchedule(schedule, definition, 'large')).toThrow(
      'large: expected buffers and transfers of at most',
    );
  });
});
