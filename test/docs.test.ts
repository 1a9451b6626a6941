/** The programs in docs/collectives.md run as they stand, in a project that has trnsim installed. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../', import.meta.url));
const project = mkdtempSync(join(tmpdir(), 'trnsim-docs-'));
mkdirSync(join(project, 'node_modules'));
symlinkSync(root, join(project, 'node_modules/trnsim'), 'junction');
afterAll(() => rmSync(project, { recursive: true, force: true }));

test('the programs of docs/collectives.md run, and the one that asks for a cost prints it', () => {
  const page = readFileSync(join(root, 'docs/collectives.md'), 'utf8');
  const programs = [...page.matchAll(/^```js\n([\s\S]*?)^```$/gm)].map((match) => match[1]!);
  const printed = programs.map((program, i) => {
    const file = join(project, `program${i}.mjs`);
    writeFileSync(file, program);
    return execFileSync(process.execPath, [file], { cwd: project, encoding: 'utf8' });
  });
  expect(printed).toHaveLength(2);
  expect(printed[1]).toMatch(/^\S.*: \d+ us, \d+\.\d GB\/s\n$/);
});
