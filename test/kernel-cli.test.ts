/** `trnsim kernel` as a user runs it: the built file in a process of its own. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findChip } from '../src/hardware/catalog.ts';
import { type KernelResult, parseOperandFormat, runKernel } from '../src/workloads/kernel.ts';

const command = join(fileURLToPath(new URL('../', import.meta.url)), 'dist/cli/main.js');
const scratch = mkdtempSync(join(tmpdir(), 'trnsim-kernel-'));

beforeAll(() => {
  if (!existsSync(command)) throw new Error('dist/ is missing: run `npm run build` first');
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

function kernel(args: string): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [command, 'kernel', ...args.split(' ')], {
    cwd: scratch,
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

function refusal(args: string): string {
  const { status, stdout, stderr } = kernel(args);
  expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
  expect(stderr.trim().split('\n')).toHaveLength(1);
  return stderr;
}

describe('trnsim kernel', () => {
  test('prints one JSON document with the quantities of the contract', () => {
    const { status, stdout } = kernel('matmul --m 1024 --k 2048 --n 1024 --dtype bf16 --chip trn1 --cores 1 --json');
    expect(status).toBe(0);
    const result = JSON.parse(stdout) as KernelResult;
    expect(result).toMatchObject({
      schemaVersion: 1,
      op: 'matmul',
      chip: 'trn1',
      cores: 1,
      fidelity: 'event',
      bound: 'TensorE',
    });
    expect(result.tflops).toBeCloseTo((2 * 1024 * 2048 * 1024) / result.timeNs / 1e3, 6);
    // 2 x 128 x 128 operations at 2.8 GHz.
    expect(result.mfu).toBeCloseTo(result.tflops / 91.7504, 6);
    const path = Object.values(result.program!.criticalPathNs).reduce((sum, ns) => sum + ns, 0);
    expect(path).toBeCloseTo(result.timeNs, 0);
    for (const { utilisation } of Object.values(result.engines)) expect(utilisation).toBeLessThanOrEqual(1);
  });

  test('takes one logical core unless told otherwise, and says so', () => {
    const { stdout } = kernel('attention --heads 4 --kv-heads 2 --seq-q 256 --head-dim 64 --causal --chip trn2');
    expect(stdout).toContain('on 2 cores of trn2 (one logical core; --cores takes more)');
    expect(stdout).toContain('critical path');
  });

  test("other makers' chips are timed by formula", () => {
    const { stdout } = kernel('matmul --m 4096 --k 4096 --n 4096 --chip h100 --json');
    expect(JSON.parse(stdout)).toMatchObject({ chip: 'h100-sxm', fidelity: 'formula', program: null, cores: 1 });
  });

  test('writes a trace and the tables of Neuron Explorer when asked to', () => {
    const { status, stderr } = kernel(
      `softmax --rows 300 --cols 500 --chip trn3 --trace-out ${join(scratch, 'core.pftrace')} --profile-out ${scratch}`,
    );
    expect(status).toBe(0);
    expect(stderr).toContain('trace written');
    expect(readFileSync(join(scratch, 'core.pftrace')).length).toBeGreaterThan(100);
    expect(readdirSync(scratch)).toEqual(expect.arrayContaining(['Metadata.parquet', 'Instruction.parquet']));
  });

  test('a wrong call is one sentence that names the culprit', () => {
    expect(refusal('matmul --m 1 --k 1')).toContain('"n" expected for matmul, got none');
    expect(refusal('matmul --m 1 --k 1 --n 1 --rows 2')).toContain('"rows" is no dimension of matmul');
    expect(refusal('matmul --m 0 --k 1 --n 1')).toContain('"m" expected integer >= 1, got 0');
    expect(refusal('gemm --m 1')).toContain('"op" expected one of matmul');
    expect(refusal('add --rows 1 --cols 1 --chip trn9')).toContain('trn9');
    expect(refusal('add --rows 1 --cols 1 --causal')).toContain('"causal" is for attention, got add');
    expect(refusal('dma-copy --bytes 9 --engines 17')).toContain('"engines" expected integer in 1..16, got 17');
    expect(refusal('add --rows 1 --cols 1 --dtype f33')).toContain('"dtype" expected one of f32');
    expect(refusal('add --rows 1 --cols 1 --chip trn1 --cores 3')).toContain('"cores" expected integer in 1..2, got 3');
    expect(refusal('add --rows 1 --cols 1 --chip trn1 --lnc 2')).toContain('"lnc" expected 1');
    expect(refusal('add --rows 1 --cols 1 --profile-out /no/such/folder')).toContain('/no/such/folder');
    expect(refusal('matmul --m 8 --k 8 --n 8 --chip trn1 --dtype mxfp8')).toContain('mxfp8');
    expect(refusal('attention --heads 3 --kv-heads 2 --seq-q 8 --head-dim 64')).toContain(
      '"kv-heads" expected a divisor of heads = 3, got 2',
    );
  });
});

describe('runKernel', () => {
  test('halves the time of a large matmul on twice the cores', () => {
    const time = (cores: number) =>
      runKernel({ op: 'matmul', dims: { m: 4096, k: 4096, n: 8192 }, dtype: 'bf16', chip: findChip('trn2'), cores })
        .timeNs;
    expect(time(1) / time(2)).toBeGreaterThan(1.9);
    expect(time(2) / time(4)).toBeGreaterThan(1.8);
  });

  test('spellings of a format', () => {
    expect(parseOperandFormat('dtype', 'fp32')).toBe('f32');
    expect(parseOperandFormat('dtype', 'bfloat16')).toBe('bf16');
  });
});
