/** `trnsim validate` as a user runs it: the built file, in a process of its own. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { measurements } from '../src/validation/schema.ts';

const command = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'trnsim-validate-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

function trnsim(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [command, 'validate', ...args], {
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });
  return { status, stdout, stderr };
}

function file(name: string, content: unknown): string {
  const path = join(scratch, name);
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

describe('trnsim validate', () => {
  test('--json prints one document with every row, the summary and the fitted constants', () => {
    const { status, stdout, stderr } = trnsim('--json');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const answer = JSON.parse(stdout);
    expect(answer.schemaVersion).toBe(1);
    expect(answer.rows.length).toBe(707);
    for (const row of answer.rows) {
      expect(['s', 'tokens/s']).toContain(row.unit);
      expect(typeof row.predicted === 'number').toBe(row.unsupported === undefined);
    }
    for (const key of ['medianAbsErrorPct', 'p90AbsErrorPct', 'biasPct', 'coverage']) {
      expect(answer.summary[0]).toHaveProperty(key);
    }
    for (const constant of answer.fitted) expect(constant).toHaveProperty('mechanism');
  });

  test('the text has the summary, the worst rows asked for and why rows are missing', () => {
    const { status, stdout } = trnsim('--kind', 'kernel', '--family', 'trn3', '--worst', '3');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^kernel +trn3 +47 +100 %/m);
    const lines = stdout.split('\n');
    const worst = lines.findIndex((line) => line.startsWith('worst rows'));
    expect(lines.slice(worst + 1, worst + 5).map((line) => line !== '')).toEqual([true, true, true, false]);
  });

  test('measures a file of its own, in either form', () => {
    const rows = measurements().filter(({ family }) => family === 'trn3');
    const asArray = trnsim('--measurements', file('rows.json', rows), '--json');
    const asObject = trnsim('--measurements', file('file.json', { schemaVersion: 1, rows }), '--json');
    expect(asArray.status).toBe(0);
    expect(asObject.stdout).toBe(asArray.stdout);
    expect(JSON.parse(asArray.stdout).rows.length).toBe(rows.length);
  });

  test('--fail-over exits with 3, and prints all the same', () => {
    expect(trnsim('--kind', 'kernel', '--family', 'trn3', '--fail-over', '99').status).toBe(0);
    const { status, stdout } = trnsim('--kind', 'kernel', '--family', 'trn3', '--fail-over', '0');
    expect(status).toBe(3);
    expect(stdout).toContain('trn3');
  });

  test.each([
    [['--kind', 'guess'], 'guess'],
    [['--family', 'trn9'], '"trn9"'],
    [['--measurements', 'nowhere.json'], 'nowhere.json: expected a file to read, got ENOENT'],
    [['--measurements', file('cut.json', '[{"id":')], 'cut.json: expected JSON, but the text ends'],
    [['--measurements', file('row.json', [{ id: 'a' }])], 'row.json: 0.kind'],
    [['--measurements', file('none.json', [])], 'expected rows'],
    [['--fail-over', 'much'], 'much'],
  ])('%j is wrong usage, in one sentence', (args, message) => {
    const { status, stdout, stderr } = trnsim(...args);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toContain(message);
    expect(stderr.trim().split('\n').length).toBe(1);
  });

  test('a file beyond 64 MiB is refused unread', () => {
    const path = file('huge.json', '');
    truncateSync(path, 65 * 2 ** 20);
    expect(trnsim('--measurements', path)).toMatchObject({ status: 2, stderr: expect.stringContaining('67108864') });
  });
});
