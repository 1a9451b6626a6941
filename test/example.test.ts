/** The example as a user runs it, a short version: losses fall, the chart is drawn, and the bytes are the same each time. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'trnsim-example-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

test('a transformer trains on Shakespeare over 8 chips in three formats', () => {
  const run = (name: string) => {
    const out = join(scratch, name);
    const args = ['examples/train-shakespeare.mjs', '--steps', '6', '--rate', '5e-3', '--out', out];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' });
    expect(stderr).toBe('');
    expect(status).toBe(0);
    return { stdout, svg: readFileSync(out, 'utf8') };
  };
  const { stdout, svg } = run('a.svg');
  const rows = stdout.split('\n').filter((line) => /^(FP32|BF16)/.test(line));
  expect(rows).toHaveLength(3);
  for (const row of rows) {
    const [first, last, microseconds, joules, dollars] = row.slice(24).trim().split(/\s+/).map(Number);
    // 61 characters: a guess costs log 61 = 4.11 nats.
    expect(first).toBeGreaterThan(4);
    expect(first).toBeLessThan(5);
    expect(last).toBeLessThan(first! - 0.2);
    for (const quantity of [microseconds, joules, dollars]) expect(quantity).toBeGreaterThan(0);
  }
  expect(svg.match(/<path d="M[^"]*L/g)).toHaveLength(3);
  expect(run('b.svg')).toEqual({ stdout, svg });
});
