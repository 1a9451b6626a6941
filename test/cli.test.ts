/**
 * The command as a user runs it: the built file, in a process of its own, in an empty folder that must stay empty.
 * The times printed are the model's; how long the runs take here is not tested.
 */
import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PbfReader } from 'pbf';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../', import.meta.url));
const command = join(root, 'dist/cli/main.js');
const version = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version;

const scratch = mkdtempSync(join(tmpdir(), 'trnsim-cli-'));
/** Where the command runs; what it writes without being asked would lie here. */
const cwd = join(scratch, 'cwd');
/** Files that the tests hand to the command. */
const input = (name: string) => join(scratch, name);

beforeAll(() => {
  if (!existsSync(command)) throw new Error('dist/ is missing: run `npm run build` first');
});
beforeEach(() => {
  mkdirSync(cwd);
});
afterEach(() => rmSync(cwd, { recursive: true }));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

interface Answer {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** Runs `trnsim` with the words of a command line, or with a list of arguments. */
function trnsim(args: string | readonly string[]): Answer {
  const list = typeof args === 'string' ? args.split(' ').filter((word) => word !== '') : args;
  const { status, stdout, stderr } = spawnSync(process.execPath, [command, ...list], {
    cwd,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });
  return { status, stdout, stderr };
}

/** The one JSON document that a command prints. */
function answer(args: string): Record<string, unknown> {
  const { status, stdout, stderr } = trnsim(`${args} --json`);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return JSON.parse(stdout);
}

function writeInput(name: string, content: unknown): string {
  const path = input(name);
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

const TINY = {
  model_type: 'llama',
  hidden_size: 64,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  intermediate_size: 96,
  num_hidden_layers: 1,
  vocab_size: 100,
  max_position_embeddings: 512,
};
const tiny = writeInput('tiny.json', TINY);

describe('help', () => {
  test.each([
    '',
    '--help',
    'help',
    'run --help',
    'systems --help',
    'chips --help',
    'models --help',
    'show --help',
    'help run',
  ])('`trnsim %s` explains itself on stdout', (args) => {
    const { status, stdout, stderr } = trnsim(args);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(/^Usage: trnsim/);
  });

  test('the version is that of the package', () => {
    expect(trnsim('--version')).toEqual({ status: 0, stdout: `${version}\n`, stderr: '' });
  });
});

describe('the catalogue', () => {
  test.each(['systems', 'chips', 'models'])('`%s` lists a line for each of the items of its JSON', (verb) => {
    const { schemaVersion, items } = answer(verb) as { schemaVersion: number; items: { id: string }[] };
    expect(schemaVersion).toBe(1);
    expect(items.length).toBeGreaterThan(15);
    const { status, stdout } = trnsim(verb);
    expect(status).toBe(0);
    const ids = stdout
      .trimEnd()
      .split('\n')
      .slice(1)
      .map((line) => line.split(' ')[0]);
    expect(ids).toEqual(items.map(({ id }) => id));
  });

  test.each([
    ['trn3-ultraserver-gen2', 'system'],
    ['trainium2', 'chip'],
    ['neuroncore-v3', 'core'],
    ['llama-3.1-8b', 'model'],
  ])('`show %s` shows a %s with the sources that it cites', (id, type) => {
    const shown = answer(`show ${id}`) as { type: string; spec: object; sources: Record<string, string> };
    expect(shown.type).toBe(type);
    expect(Object.keys(shown.sources).length).toBeGreaterThan(0);
    const { stdout } = trnsim(`show ${id}`);
    for (const [key, text] of Object.entries(shown.sources)) expect(stdout).toContain(`  ${key}: ${text}\n`);
  });

  test('`show` prints the alternatives where sources disagree', () => {
    const { stdout } = trnsim('show trn2');
    expect(stdout).toMatch(/^peak\.bf16 +667 TFLOPS {2}\[official/m);
    expect(stdout).toMatch(/^peak\.bf16 \(clock\) +629\.1 TFLOPS {2}\[derived/m);
  });
});

describe('run', () => {
  interface Run {
    ok: boolean;
    maxRelError: number;
    errorBound: number;
    timeNs: number;
    breakdown: { name: string; timeNs: number }[];
    energyJ: number | null;
    costUsd: number | null;
    tp: number;
    coresPerRank: number;
    collective: { algorithm: string; bytes: number; minBytesSent: number; maxBytesSent: number };
    [key: string]: unknown;
  }

  const run = (args: string): Run => answer(`run ${args}`) as Run;

  /** What holds for every run: correct within the stated bound, and the bytes that theory says. */
  function expectSound(
    { ok, maxRelError, errorBound, timeNs, breakdown, tp, tokens, dtype, collective }: Run,
    hidden: number,
  ) {
    expect(ok).toBe(true);
    expect(maxRelError).toBeGreaterThan(0);
    expect(maxRelError).toBeLessThanOrEqual(errorBound);
    expect(maxRelError).toBeLessThan(dtype === 'f32' ? 1e-5 : 0.03);
    // A bound that grows can no longer fail: 1.5 u sqrt(D) of the largest layer here.
    expect(errorBound).toBeLessThan(dtype === 'f32' ? 1.5e-5 : 0.06);
    expect(breakdown.reduce((sum, row) => sum + row.timeNs, 0)).toBeCloseTo(timeNs, 3);
    const bytes = (tokens as number) * hidden * (dtype === 'f32' ? 4 : 2);
    const { minBytesSent, maxBytesSent } = collective;
    // The least that an all-reduce can send; a single-step mesh sends everything to everybody.
    const parts = collective.algorithm === 'single-step-mesh' ? tp : 2;
    const sent = (parts * (tp - 1) * bytes) / tp;
    expect({ bytes: collective.bytes, minBytesSent, maxBytesSent }).toEqual({
      bytes,
      minBytesSent: sent,
      maxBytesSent: sent,
    });
  }

  test.each(['trn2.48xlarge', 'trn1.32xlarge', 'trn3-ultraserver-gen2'])(
    'has the keys of the contract on %s, and a reason beside what may be unknown',
    (system) => {
      const result = run(`${tiny} --tokens 4 --system ${system}`);
      const keys = ['schemaVersion', 'model', 'ok', 'maxRelError', 'timeNs', 'breakdown', 'energyJ', 'costUsd'];
      expect(Object.keys(result)).toEqual(expect.arrayContaining(keys));
      for (const [value, reason] of [
        [result.energyJ, result.energyReason],
        [result.costUsd, result.costReason],
      ]) {
        expect(value === null || (value as number) > 0).toBe(true);
        expect(reason).toMatch(value === null ? /^no / : /^[\d.]+ (W|USD) .*(; |source )\w/);
      }
    },
  );

  test('Llama 3.1 8B in BF16 over 16 chips, twice the same bytes, and over 32 logical cores, in another time', () => {
    const args = 'run llama-3.1-8b --system trn2.48xlarge --rank chip --tp 16 --tokens 16 --dtype bf16 --json';
    const [first, second] = [trnsim(args), trnsim(args)];
    expect(second).toEqual(first);
    const chips = JSON.parse(first.stdout) as Run;
    const cores = run('llama-3.1-8b --tp 32 --tokens 16');
    for (const result of [chips, cores]) expectSound(result, 4096);
    expect([chips.coresPerRank, cores.coresPerRank]).toEqual([8, 2]);
    expect(cores.timeNs).not.toBe(chips.timeNs);
    // q and o 4096 x 256, k and v 4096 x 128 (8 KV heads, each on two ranks), gate, up and down 4096 x 896, two norms.
    const elements = 4096 * (2 * 256 + 2 * 128 + 3 * 896 + 2);
    expect(chips.memory).toMatchObject({ weightBytesPerRank: 2 * elements });
  });

  test.each(['--system trn3-ultraserver-gen2 --rank chip --tp 8', '--system trn1.32xlarge --tp 32'])(
    'Llama 3.1 8B with %s',
    (args) => {
      expectSound(run(`llama-3.1-8b ${args} --tokens 16`), 4096);
    },
  );

  test('Llama 3.1 8B in FP32 errs by less than 1e-5', () => {
    const result = run('llama-3.1-8b --rank chip --tp 16 --tokens 16 --dtype fp32');
    expectSound(result, 4096);
    expect(result.dtype).toBe('f32');
    expect(result.maxRelError).toBeLessThan(1e-5);
  });

  test('Llama 3.1 70B over the 64 chips of a Trn2 UltraServer', () => {
    expectSound(run('llama-3.1-70b --system trn2-ultraserver --rank chip --tp 64 --tokens 8'), 8192);
  }, 180_000);

  test('a system of the user works like a shipped one', () => {
    const system = JSON.parse(readFileSync(join(root, 'data/systems/trn2.3xlarge.json'), 'utf8'));
    const path = writeInput('mine.json', { ...system, id: 'mine', aliases: [] });
    const [mine, shipped] = [path, 'trn2.3xlarge'].map((id) => run(`${tiny} --tokens 4 --system ${id}`));
    expect(mine).toMatchObject({ system: 'mine', timeNs: shipped!.timeNs, outputFnv1a: shipped!.outputFnv1a });
    expect(mine!.costUsd).toBeNull();
  });

  test('the text report says what the JSON says', () => {
    const { timeNs, breakdown } = run(`${tiny} --tp 4 --rank chip`);
    const { status, stdout, stderr } = trnsim(`run ${tiny} --tp 4 --rank chip`);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    for (const { name } of breakdown) expect(stdout).toMatch(new RegExp(`^${name.replace('^', '\\^')} `, 'm'));
    expect(stdout).toContain(`layer       ${(timeNs / 1000).toPrecision(4)} us`);
    expect(stdout).toMatch(/^check +ok: max relative error/m);
  });

  test('a run writes no file unless it is asked to', () => {
    run(`${tiny} --tokens 4`);
    expect(readdirSync(cwd)).toEqual([]);
  });
});

describe('the trace', () => {
  interface TrackDescriptor {
    uuid: number;
    name: string;
    parent: number;
  }

  /** Track descriptors of a Perfetto trace, and the tracks of its slice events. Field numbers: see perfetto.test.ts. */
  function decode(bytes: Uint8Array): { tracks: TrackDescriptor[]; eventTracks: number[] } {
    const tracks: TrackDescriptor[] = [];
    const eventTracks: number[] = [];
    new PbfReader(bytes).readFields((tag, _, pbf) => {
      if (tag !== 1) throw new Error(`Trace field ${tag}`);
      pbf.readMessage((field, __, packet) => {
        if (field === 60) {
          const track = { uuid: 0, name: '', parent: 0 };
          packet.readMessage((key, out, descriptor) => {
            if (key === 1) out.uuid = descriptor.readVarint();
            else if (key === 2) out.name = descriptor.readString();
            else if (key === 5) out.parent = descriptor.readVarint();
          }, track);
          tracks.push(track);
        } else if (field === 11) {
          packet.readMessage((key, out, event) => {
            if (key === 11) out.push(event.readVarint());
          }, eventTracks);
        }
      }, undefined);
    }, undefined);
    return { tracks, eventTracks };
  }

  test('has a track for each engine of each rank that works and for each link that is used, all with events', () => {
    const { status, stdout, stderr } = trnsim(
      `run ${tiny} --rank chip --tp 8 --tokens 5 --json --trace-out layer.pftrace`,
    );
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ ok: true });
    expect(stderr).toBe('trace written to layer.pftrace: open it in ui.perfetto.dev\n');
    expect(readdirSync(cwd)).toEqual(['layer.pftrace']); // nothing left beside it
    const { tracks, eventTracks } = decode(readFileSync(join(cwd, 'layer.pftrace')));
    const tops = tracks.filter(({ parent }) => parent === 0);
    expect(tops.map(({ name }) => name)).toEqual([
      ...[0, 1, 2, 3, 4, 5, 6, 7].map((n) => `rank ${n} (chip ${n})`),
      'links',
    ]);
    const children = ({ uuid }: TrackDescriptor) => tracks.filter(({ parent }) => parent === uuid);
    for (const rank of tops.slice(0, 8)) {
      expect(children(rank).map(({ name }) => name)).toEqual(['TensorE', 'VectorE', 'ScalarE', 'GpSimdE', 'DMA']);
    }
    // Those of the collective: 5 tokens of 64 in BF16.
    const { links } = answer(
      'collective all-reduce --system trn2.48xlarge --rank chip --ranks 8 --size 640 --fidelity event',
    ) as { links: { name: string }[] };
    expect(links.length).toBeGreaterThan(0);
    expect(children(tops[8]!).map(({ name }) => name)).toEqual(links.map(({ name }) => name));
    const drawn = new Set(eventTracks);
    for (const { uuid, parent } of tracks) if (parent !== 0) expect(drawn).toContain(uuid);
  });

  test('is the same bytes for the same command, and replaces the one before', () => {
    const write = () => {
      expect(trnsim(`run ${tiny} --tokens 5 --trace-out layer.pftrace`).status).toBe(0);
      return readFileSync(join(cwd, 'layer.pftrace'));
    };
    const first = write();
    expect(write().equals(first)).toBe(true);
    expect(readdirSync(cwd)).toEqual(['layer.pftrace']);
  });
});

describe('bad input', () => {
  /** Exit code 2, one sentence on stderr that matches, nothing on stdout, no file. Returns the sentence. */
  function expectRefusal(args: string | readonly string[], sentence: RegExp): string {
    const { status, stdout, stderr } = trnsim(args);
    expect({ status, stdout, files: readdirSync(cwd) }).toEqual({ status: 2, stdout: '', files: [] });
    expect(stderr).toMatch(/^trnsim: [^\n]+\n$/);
    expect(stderr).not.toMatch(/\bat .*:\d+:\d+/); // a stack
    expect(stderr).toMatch(sentence);
    return stderr;
  }

  test.each([
    ['foo', /"verb" expected one of run, systems, .*, got "foo"/],
    ['help serve', /"serve" is not built yet/],
    ['--bogus', /unknown option '--bogus', expected one that --help lists/],
    ['systems extra', /too many arguments for 'systems'\. Expected 0 arguments but got 1/],
    ['show', /missing required argument 'id'/],
    ['show zzz', /expected an id that ".*" lists, got "zzz"; nearest: /],
  ])('`trnsim %s`', (args, sentence) => {
    expectRefusal(args, sentence);
  });

  // The file that a trace would go to must not appear either.
  test.each([
    ['lama-3.1-8b', /"model" expected an id that "trnsim models" lists, got "lama-3\.1-8b"; nearest: llama-3\.1-8b/],
    ['mixtral-8x7b', /mixtral-8x7b: model_type: expected one of llama, mistral, qwen2, qwen3, got "mixtral"/],
    ['--system trn2.49xlarge', /"system" expected an id .* got "trn2\.49xlarge"; nearest: trn2\.48xlarge/],
    ['--system hgx-h100 --rank core', /^trnsim: "rank" expected chip on NVIDIA H100 SXM, got "core"/],
    ['--system inf1.24xlarge', /inf1\.24xlarge: expected a system whose links are published, got none/],
    ['--dtype fp7', /"dtype" expected one of f32, bf16.*, got "fp7"/],
    ['--bogus 1', /unknown option '--bogus', expected one that --help lists/],
    ['--tokns 5', /unknown option '--tokns' \(Did you mean --tokens\?\)/],
    ['--tokens many', /'--tokens <n>' argument 'many' is invalid\. Expected a whole number/],
    ['--tokens', /'--tokens <n>' argument missing/],
    ['--tokens 0', /"tokens" expected integer in 1\.\.131072, got 0/],
    ['--tokens 131073', /"tokens" expected integer in 1\.\.131072, got 131073/],
    ['--tokens 1e3', /argument '1e3' is invalid/],
    ['--tp 3', /"tp" expected a divisor of the model's 32 attention heads, got 3/],
    ['--tp 64', /"tp" expected a divisor of the model's 32 attention heads, got 64/],
    ['--tp 128', /"tp" expected integer in 1\.\.64, got 128/],
    ['--rank chip --tp 32', /"tp" expected integer in 1\.\.16, got 32/],
    ['--ranks 65', /"ranks" expected integer in 1\.\.64, got 65/],
    ['--lnc 3', /"lnc" expected integer in 1\.\.2, got 3/],
    ['--lnc 2 --system trn1.32xlarge', /"lnc" expected 1 on AWS Trainium, got 2/],
    ['--rank node', /'--rank <what>' argument 'node' is invalid\. Allowed choices are core, chip/],
    ['--rounding up', /'--rounding <how>' argument 'up' is invalid\. Allowed choices are nearest, stochastic/],
    ['--seed -1', /"seed" expected integer >= 0, got -1/],
    ['llama-3.1-8b second', /too many arguments for 'run'\. Expected 1 argument but got 2/],
  ])('`trnsim run %s`', (args, sentence) => {
    expectRefusal(`run --trace-out layer.pftrace ${args}`, sentence);
  });

  const { hidden_size: _, ...withoutHidden } = TINY;
  test.each([
    ['an empty file', '', /empty\.json/],
    ['no JSON', '{ "model_type": llama }', /\.json/],
    ['bytes that are no text', '\u0000\u0001\ufffd', /\.json/],
    ['a list', [TINY], /expected an object, got \[/],
    ['a missing key', withoutHidden, /hidden_size: expected integer in 1\.\.1048576, but it is missing/],
    ['a wrong type', { ...TINY, hidden_size: '64' }, /hidden_size: expected integer in 1\.\.1048576, got "64"/],
    [
      'a negative size',
      { ...TINY, num_attention_heads: -8 },
      /num_attention_heads: expected integer in 1\.\.16384, got -8/,
    ],
    [
      'a fraction',
      { ...TINY, intermediate_size: 96.5 },
      /intermediate_size: expected integer in 1\.\.4194304, got 96\.5/,
    ],
    [
      'a size beyond all reason',
      { ...TINY, intermediate_size: 1e300 },
      /intermediate_size: expected integer .*, got 1e\+300/,
    ],
    [
      'heads that do not divide',
      { ...TINY, num_key_value_heads: 3 },
      /num_key_value_heads: expected a divisor of num_attention_heads = 8, got 3/,
    ],
    ['another family', { ...TINY, model_type: 'gpt2' }, /model_type: expected one of llama, .*, got "gpt2"/],
  ])('a config.json with %s', (what, content, sentence) => {
    const path = writeInput(what === 'an empty file' ? 'empty.json' : 'bad.json', content);
    expect(expectRefusal(['run', path, '--trace-out', 'layer.pftrace'], sentence)).toContain(path);
  });

  test('a config.json of 2 GB is not read', () => {
    const path = writeInput('huge.json', '');
    truncateSync(path, 2e9);
    expectRefusal(
      ['run', path, '--trace-out', 'layer.pftrace'],
      /huge\.json: expected a file of at most 4194304 bytes, got 2000000000/,
    );
    expectRefusal(
      ['run', tiny, '--system', path],
      /huge\.json: expected a file of at most 4194304 bytes, got 2000000000/,
    );
  });

  test('a config.json that is not there, or a folder', () => {
    expectRefusal('run missing.json', /missing\.json: expected a file to read, got ENOENT/);
    expectRefusal('run ./', /\.\/: expected a file to read, got EISDIR/);
  });

  test('a system file with an unknown key, a wrong type, or a chip that does not exist', () => {
    const system = JSON.parse(readFileSync(join(root, 'data/systems/trn2.3xlarge.json'), 'utf8'));
    const refuse = (changes: object, sentence: RegExp) =>
      expectRefusal(['run', tiny, '--system', writeInput('system.json', { ...system, ...changes })], sentence);
    refuse({ chps: 3 }, /system\.json.*chps/);
    refuse({ chip: 'trn9' }, /system\.json: chip.*"trn9"/);
    refuse({ chips: { ...system.chips, value: 'one' } }, /system\.json: chips.*"one"/);
    refuse({ chips: { ...system.chips, value: 4 } }, /system\.json: fabric.*4 chips/);
  });

  test('a layer that does not fit in the memory of the chip', () => {
    // 3 x 8192 x 4194304 elements of 2 B: 192 GiB and more, in 32 GiB.
    const path = writeInput('wide.json', { ...TINY, hidden_size: 8192, intermediate_size: 2 ** 22 });
    expectRefusal(
      `run ${path} --system trn1.2xlarge --tp 1 --trace-out layer.pftrace`,
      /trn1\.2xlarge: HBM: expected at most 34359738368 bytes on a chip, got \d+ \(1 rank of \d+\), \d+ too many/,
    );
  });

  test("a layer that does not fit in the kernels' memory", () => {
    expectRefusal(
      'run llama-3.1-8b --rank chip --tp 16 --tokens 131072 --trace-out layer.pftrace',
      /tokens: expected a layer of at most 4294967296 bytes in the kernels' memory, got 131072 tokens over 16 ranks, which need \d+/,
    );
  });

  test('a trace file that cannot be written, before any work is done', () => {
    expectRefusal(
      `run ${tiny} --trace-out nowhere/layer.pftrace`,
      /nowhere\/layer\.pftrace: expected a file to write, got ENOENT/,
    );
    expectRefusal(`run ${tiny} --trace-out .`, /\.: expected a file to write, got something that is no file/);
  });
});

test.each(['systems', 'systems --json', 'show trn2'])(
  'a reader that leaves early does not crash `trnsim %s`',
  async (args) => {
    const child = spawn(process.execPath, [command, ...args.split(' ')], { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.destroy();
    let stderr = '';
    child.stderr.on('data', (text) => {
      stderr += text;
    });
    const status = await new Promise((resolve) => child.on('close', resolve));
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  },
);
