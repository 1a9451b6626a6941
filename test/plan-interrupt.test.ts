import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';

const command = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'trnsim-plan-'));
afterAll(() => rmSync(directory, { recursive: true }));

const SEARCH =
  'plan --train --model llama-3.1-70b --system trn2.48xlarge --nodes 32 --seq 8192 --zero 1 --jobs 1 --json'.split(' ');

/** Runs the search; with `interruptAfter`, Ctrl-C when its file has that many lines. */
async function search(file: string | undefined, interruptAfter = Infinity) {
  const args = file === undefined ? SEARCH : [...SEARCH, '--out', file];
  const child = spawn(process.execPath, [command, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  const watch = setInterval(() => {
    if (file === undefined || !existsSync(file)) return;
    if (readFileSync(file, 'utf8').split('\n').length <= interruptAfter) return;
    clearInterval(watch);
    child.kill('SIGINT');
  }, 5);
  const [code] = await once(child, 'close');
  clearInterval(watch);
  return { code, stderr, answer: JSON.parse(stdout) };
}

test('Ctrl-C keeps what was found, and the search goes on from its file to the same plans', {
  timeout: 120_000,
}, async () => {
  const file = join(directory, 'plans.jsonl');
  const whole = await search(undefined);
  expect(whole.code).toBe(0);

  const cut = await search(file, 3);
  expect(cut.code).toBe(130);
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  for (const line of lines) expect(() => JSON.parse(line)).not.toThrow();
  expect(cut.answer.plans.length).toBeGreaterThan(0);

  // As if the machine had gone down in the middle of a line.
  writeFileSync(file, `${readFileSync(file, 'utf8')}{"unit":`);
  const resumed = await search(file);
  expect(resumed.code).toBe(0);
  expect(resumed.answer.plans).toEqual(whole.answer.plans);
  const units = readFileSync(file, 'utf8').trimEnd().split('\n').slice(lines.length);
  for (const line of lines) expect(units).not.toContain(line);
});
