/** `trnsim infer` as a user runs it: the built file, in a process of its own. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { measurements } from '../src/validation/schema.ts';
import { validate } from '../src/validation/validate.ts';

const command = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));

function run(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [command, ...args], { encoding: 'utf8' });
  return { status, stdout, stderr };
}

const trnsim = (...args: string[]) => run('infer', ...args);

const H100 = ['--model', 'llama-3.1-8b', '--system', 'dgx-h100', '--tp', '8', '--input', '512', '--output', '64'];

describe('trnsim infer', () => {
  test('--json prints one document with the keys of the contract, twice the same', () => {
    const { status, stdout, stderr } = trnsim(...H100, '--batch', '4', '--json');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const answer = JSON.parse(stdout);
    expect(answer).toMatchObject({ schemaVersion: 1, model: 'llama-3.1-8b', system: 'dgx-h100', ranks: 8, nodes: 1 });
    for (const key of ['ttftNs', 'tpotNs', 'totalNs', 'tokensPerS']) expect(answer[key]).toBeGreaterThan(0);
    expect(answer.memory.weightsBytes).toBeCloseTo((2 * 8.03e9) / 8, -8);
    expect(answer.breakdown.decode.matmulNs).toBeGreaterThan(0);
    expect(answer.energyReason).toMatch(/dgx-h100/);
    expect(trnsim(...H100, '--batch', '4', '--json').stdout).toBe(stdout);
  });

  test('the text has latencies with what they consist of, memory, and the system', () => {
    const { status, stdout } = trnsim(...H100);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^llama-3\.1-8b on 8 ranks of dgx-h100/);
    expect(stdout).toMatch(/^together +\S+ ms +\S+ ms$/m);
    expect(stdout).toMatch(/^memory .* of 74\.51 GiB on the fullest rank: weights/m);
  });

  test('as many systems as the ranks need, or as many as asked for', () => {
    const two = [...H100.slice(0, 4), '--tp', '8', '--pp', '2', '--input', '512', '--output', '64', '--json'];
    expect(JSON.parse(trnsim(...two).stdout)).toMatchObject({ nodes: 2, ranks: 16 });
    expect(trnsim(...two, '--nodes', '1')).toMatchObject({
      status: 2,
      stdout: '',
      stderr: 'trnsim: "ranks" expected integer in 1..8, got 16\n',
    });
  });

  test.each([
    [[...H100.slice(2)], /required option '--model/],
    [['--model', 'llama-9', ...H100.slice(2)], /"model" expected an id .* got "llama-9"/],
    [[...H100, '--dtype', 'fp7'], /"dtype" expected one of .*, got "fp7"/],
    [[...H100, '--software', 'magic'], /Allowed choices are compiler, library, megakernel/],
    [[...H100, '--speculation', 'llama-3.2-1b'], /"acceptance" expected/],
    [[...H100, '--batch', '0'], /"batch" expected integer in 1\.\./],
    [[...H100, '--batch', '100000000'], /"batch" expected integer in/],
    [[...H100, '--batch', '1000000'], /memory: expected at most 80\.00 GB on a rank, got .* KV cache/],
    [[...H100, '--tokens', '3'], /unknown option '--tokens'.*expected one that --help lists/],
  ])('bad input %# is one sentence and exit code 2', (args, message) => {
    const { status, stdout, stderr } = trnsim(...args);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toMatch(message);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });
});

describe('trnsim plan --infer', () => {
  const job = [
    'plan',
    '--infer',
    '--model',
    'llama-3.1-8b',
    '--system',
    'dgx-h100',
    '--input',
    '512',
    '--output',
    '64',
  ];

  test('--json ranks the plans within the limits, and has the front', () => {
    const { status, stdout, stderr } = run(...job, '--max-tpot', '20', '--batch', '8,64', '--keep', '3', '--json');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const { plans, pareto, complete, spaceSize } = JSON.parse(stdout);
    expect(complete).toBe(true);
    expect(spaceSize).toBe(20);
    expect(plans.map(({ rank }: { rank: number }) => rank)).toEqual([1, 2, 3]);
    expect(plans[0].tokensPerS).toBeGreaterThanOrEqual(plans[1].tokensPerS);
    for (const { tpotNs } of [...plans, ...pareto]) expect(tpotNs).toBeLessThanOrEqual(20e6);
  });

  test('when nothing is within the limits, what they would have to allow is said', () => {
    const { status, stdout } = run(...job, '--tp', '8', '--pp', '1', '--batch', '8', '--max-tpot', '0.01');
    expect(status).toBe(0);
    expect(stdout).toMatch(
      /^no plan is within the limits: the least of any is .* to the first token, .* each further token$/m,
    );
    const large = run(
      ...job.map((word) => (word === 'llama-3.1-8b' ? 'llama-3.1-405b' : word)),
      '--tp',
      '1',
      '--pp',
      '1',
      '--batch',
      '8',
    );
    expect(large.stdout).toContain('no plan fits into memory and runs');
  });

  test('the text says why the second plan lost; what is missing is named', () => {
    const { status, stdout } = run(...job, '--tp', '4,8', '--pp', '1', '--batch', '8');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^the second has .* less tokens\/s/m);
    const missing = run(...job.slice(0, 4));
    expect(missing).toMatchObject({ status: 2, stderr: 'trnsim: "system" expected one with --infer, got 0\n' });
  });
});

test('of the measured inference at least 90 % is predicted, with a median error of at most 15 %', () => {
  const { summary } = validate(measurements(), { kind: 'inference' });
  for (const { coverage, medianAbsErrorPct, baselineMedianAbsErrorPct } of summary) {
    expect(coverage).toBeGreaterThanOrEqual(0.9);
    expect(medianAbsErrorPct).toBeLessThanOrEqual(15);
    expect(baselineMedianAbsErrorPct).toBeGreaterThan(60);
  }
}, 120_000);
