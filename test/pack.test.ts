/**
 * The package as a user gets it: packed, unpacked into an empty project, imported by name with plain Node.
 *
 * Needs no network: the tarball is unpacked into node_modules by hand, and the dependencies are links to those of this
 * checkout. Tests what is in dist/, which `npm test` has built.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { goldenConfig, goldenFnv1a, goldenRun } from './fixtures/golden-layer.ts';

const root = fileURLToPath(new URL('../', import.meta.url));
const manifest = createRequire(import.meta.url)('../package.json');

const project = mkdtempSync(join(tmpdir(), 'trnsim-pack-'));
const installed = join(project, 'node_modules/trnsim');
let packed: { path: string; mode: number }[];

/** Links a package of this checkout into the project, so that it resolves there as if it were installed. */
function link(name: string): void {
  mkdirSync(dirname(join(project, 'node_modules', name)), { recursive: true });
  symlinkSync(join(root, 'node_modules', name), join(project, 'node_modules', name), 'junction');
}

/** Runs a program in the project with plain Node and returns what it prints on stdout, parsed as JSON. */
function run(file: string, source: string): unknown {
  writeFileSync(join(project, file), source);
  return JSON.parse(execFileSync(process.execPath, [file], { cwd: project, encoding: 'utf8', stdio: 'pipe' }));
}

beforeAll(() => {
  if (!existsSync(join(root, 'dist/index.js'))) throw new Error('dist/ is missing: run `npm run build` first');
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', project];
  const shell = process.platform === 'win32'; // npm is a .cmd there
  const [tarball] = JSON.parse(execFileSync('npm', args, { cwd: root, encoding: 'utf8', stdio: 'pipe', shell }));
  packed = tarball.files;
  mkdirSync(installed, { recursive: true });
  // Relative names, because GNU tar takes the colon of `C:\` for a host.
  execFileSync('tar', ['-xzf', tarball.filename, '-C', relative(project, installed), '--strip-components', '1'], {
    cwd: project,
  });
  for (const name of Object.keys(manifest.dependencies)) link(name);
  writeFileSync(join(project, 'package.json'), '{ "type": "module" }\n');
});

afterAll(() => rmSync(project, { recursive: true, force: true }));

test('the tarball holds the built package and nothing of the workshop', () => {
  const belongs = /^(package\.json|README\.md|CHANGELOG\.md|LICENSE|dist\/.+(\.js|\.d\.ts|\.wasm))$/;
  const paths = packed.map(({ path }) => path);
  expect(paths.filter((path) => !belongs.test(path) || path.includes('.test.'))).toEqual([]);
  expect(paths).toEqual(expect.arrayContaining(['package.json', 'README.md', 'CHANGELOG.md', 'LICENSE']));
});

test('the command is executable and starts with a line that names its interpreter', () => {
  expect(packed.find(({ path }) => path === manifest.bin.trnsim)?.mode).toBe(0o755);
  expect(readFileSync(join(installed, manifest.bin.trnsim), 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/);
});

test('a program imports the library and the kernels by name, and multiplies two matrices', () => {
  const program = `
    import * as trnsim from 'trnsim';
    import { createArena, matmul } from 'trnsim/kernels';
    const arena = createArena();
    const a = arena.tensor('f32', [1, 3]);
    const b = arena.tensor('f32', [3, 1]);
    const c = arena.tensor('f32', [1, 1]);
    a.set(Float32Array.of(1, 2, 3));
    b.set(Float32Array.of(4, 5, 6));
    matmul(a, b, c);
    console.log(JSON.stringify({ names: Object.keys(trnsim), product: [...c.toFloat32()] }));`;
  // 1·4 + 2·5 + 3·6 = 32
  expect(run('esm.mjs', program)).toEqual({ names: expect.arrayContaining(['ModelError']), product: [32] });
});

test('a program runs a decoder layer from the package, with the bytes that every host gives', () => {
  const program = `
    import { findSystem, parseModelConfig, runLayer } from 'trnsim';
    const config = parseModelConfig(${JSON.stringify(goldenConfig)}, 'golden');
    const { result } = runLayer({ config, system: findSystem('trn2-ultraserver'), ...${JSON.stringify(goldenRun)} });
    console.log(JSON.stringify([result.ok, result.outputFnv1a]));`;
  expect(run('layer.mjs', program)).toEqual([true, goldenFnv1a]);
});

test('CommonJS gets the same library with require', () => {
  const program = `
    const names = Object.keys(require('trnsim'));
    import('trnsim').then((module) => console.log(JSON.stringify([names.sort(), Object.keys(module).sort()])));`;
  const [required, imported] = run('commonjs.cjs', program) as [string[], string[]];
  expect(required.length).toBeGreaterThan(0);
  expect(required.filter((name) => name !== '__esModule')).toEqual(imported);
});

test('the kernels are there as a file too, and it is the module that the JavaScript carries', () => {
  const program = `
    import { readFileSync } from 'node:fs';
    import { fileURLToPath } from 'node:url';
    import { kernelModule } from 'trnsim/kernels';
    const bytes = readFileSync(fileURLToPath(import.meta.resolve('trnsim/simd.wasm')));
    const exportsOf = (module) => WebAssembly.Module.exports(module).map(({ name }) => name);
    console.log(JSON.stringify([exportsOf(new WebAssembly.Module(bytes)), exportsOf(kernelModule('simd'))]));`;
  const [file, carried] = run('wasm.mjs', program) as [string[], string[]];
  expect(file).toContain('multiplyPanels');
  expect(file).toEqual(carried);
});

test('trnsim/kernels loads nothing of the simulator', () => {
  const loaded = new Set<string>();
  const packages = new Set<string>();
  const load = (path: string): void => {
    if (loaded.has(path)) return;
    loaded.add(path);
    for (const { fileName } of ts.preProcessFile(readFileSync(join(installed, path), 'utf8')).importedFiles) {
      if (fileName.startsWith('.')) load(join(dirname(path), fileName).replaceAll('\\', '/'));
      else packages.add(fileName);
    }
  };
  load('dist/kernels/index.js');
  expect([...loaded].filter((path) => !/^dist\/(kernels|base)\//.test(path))).toEqual([]);
  expect([...packages]).toEqual(['@assemblyscript/loader']);
});

test('a TypeScript program type-checks against the package, declarations included', () => {
  writeFileSync(
    join(project, 'consumer.ts'),
    `import { ModelError } from 'trnsim';
     import { createArena, type Tensor } from 'trnsim/kernels';
     const tensor: Tensor = createArena().tensor('bf16', [2, 2]);
     console.log(tensor, ModelError);
     // @ts-expect-error: a dtype that does not exist
     createArena().tensor('f31', [2, 2]);`,
  );
  // TypeScript's default libraries (the DOM's has the WebAssembly types) and none of Node's types: what a page has.
  // skipLibCheck stays off: it would hide a broken declaration file of ours.
  const options: ts.CompilerOptions = {
    module: ts.ModuleKind.NodeNext,
    target: ts.ScriptTarget.ES2022,
    types: [],
    strict: true,
    noEmit: true,
  };
  const diagnostics = ts.getPreEmitDiagnostics(ts.createProgram([join(project, 'consumer.ts')], options));
  const host = { getCanonicalFileName: String, getCurrentDirectory: () => project, getNewLine: () => '\n' };
  expect(ts.formatDiagnostics(diagnostics, host)).toBe('');
});
