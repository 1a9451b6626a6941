/** The README is run: its commands, its programs, and the numbers of its sample against those printed now. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../', import.meta.url));
const readme = readFileSync(join(root, 'README.md'), 'utf8');
const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> };

/** A project that has trnsim installed: the name resolves, and what the commands write lies here. */
const project = mkdtempSync(join(tmpdir(), 'trnsim-readme-'));

/** Contents of the fenced blocks of a language; '' for those that name none. */
function blocks(language: string): string[] {
  const fences = /^```(\w*)\n([\s\S]*?)^```$/gm;
  return [...readme.matchAll(fences)].filter((match) => match[1] === language).map((match) => match[2]!);
}

const commands = blocks('sh')
  .flatMap((block) => block.split('\n'))
  .map((line) => line.replace(/\s+#.*$/, '').trim())
  .filter((line) => line !== '');

const printed = new Map<string, string>();

/** What `trnsim` prints for the words after its name; the same words are run once. */
function trnsim(args: string): string {
  const cli = join(root, 'dist/cli/main.js');
  const run = () =>
    execFileSync(process.execPath, [cli, ...args.split(' ')], { cwd: project, encoding: 'utf8', stdio: 'pipe' });
  const text = printed.get(args) ?? run();
  printed.set(args, text);
  return text;
}

beforeAll(() => {
  if (!existsSync(join(root, 'dist/index.js'))) throw new Error('dist/ is missing: run `npm run build` first');
  mkdirSync(join(project, 'node_modules'));
  symlinkSync(root, join(project, 'node_modules/trnsim'), 'junction');
  writeFileSync(join(project, 'package.json'), '{ "type": "module" }\n');
});
afterAll(() => rmSync(project, { recursive: true, force: true }));

describe('commands', () => {
  test('are of npm and of trnsim alone', () => {
    expect(commands.filter((line) => !/^(npm|npx trnsim) /.test(line))).toEqual([]);
    expect(commands.filter((line) => line.startsWith('npx trnsim ')).length).toBeGreaterThanOrEqual(8);
  });

  test.each(commands.filter((line) => line.startsWith('npx trnsim ')))('`%s` prints something and succeeds', (line) => {
    const args = line.slice('npx trnsim '.length);
    expect(trnsim(args)).not.toBe('');
    const trace = /--trace-out (\S+)/.exec(args)?.[1];
    if (trace !== undefined) expect(readFileSync(join(project, trace)).length).toBeGreaterThan(0);
  });

  test.each(commands.filter((line) => line.startsWith('npm ')))('`%s` is a script of the package', (line) => {
    expect(Object.keys(scripts)).toContain(line.replace(/^npm (run )?/, ''));
  });
});

describe('the sample', () => {
  const first = commands.find((line) => line.startsWith('npx trnsim run'))!.slice('npx trnsim '.length);
  const sample = blocks('').find((block) => block.startsWith('One decoder layer of'))!;
  /** Cells apart by two spaces: a row that the README leaves out may have been the widest. */
  const lines = (text: string) =>
    text
      .split('\n')
      .map((line) => line.replace(/ {2,}/g, '  ').trim())
      .filter((line) => line !== '');
  const nameOf = (line: string) => line.split('  ')[0];

  test('is of the command that the README gives first, which `npm start` runs', () => {
    const start = `node scripts/setup.mjs && node dist/cli/main.js ${first} --trace-out build/layer.pftrace`;
    expect(scripts.start).toBe(start);
  });

  test('shows what the command prints now, but for lines at `...`, if any', () => {
    const now = lines(trnsim(first));
    let next = 0;
    const expected = lines(sample).map((line, i, shown) => {
      if (line === '...') return line;
      if (shown[i - 1] === '...') next = now.findIndex((other, at) => at >= next && nameOf(other) === nameOf(line));
      return now[next++];
    });
    expect(lines(sample)).toEqual(expected);
    expect(next).toBe(now.length);
  });
});

describe('programs', () => {
  const programs = blocks('js');

  test('are there', () => {
    expect(programs.length).toBeGreaterThanOrEqual(3);
  });

  test.each(programs.map((source, index) => ({ source, index, opening: source.split('\n')[0] })))(
    'number $index runs with plain Node and prints something: $opening',
    ({ source, index }) => {
      const file = `program${index}.js`;
      writeFileSync(join(project, file), source);
      const stdout = execFileSync(process.execPath, [file], { cwd: project, encoding: 'utf8', stdio: 'pipe' });
      expect(stdout.trim()).not.toBe('');
      expect(stdout).not.toMatch(/undefined|NaN|Infinity/);
      // A `console.log(x); // 1 2 3` says what is printed.
      for (const [, values] of source.matchAll(/console\.log\(.*\); \/\/ ([\d .]+)$/gm)) {
        for (const value of values!.trim().split(' ')) expect(stdout).toMatch(new RegExp(`\\b${value}\\b`));
      }
    },
  );
});
