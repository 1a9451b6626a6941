/**
 * The kernels in other people's bundles: one file that plain Node runs, without the simulator, and, by the condition
 * `workerd`, over modules that the host compiled.
 *
 * Bundles what is in dist/, which `npm test` has built, with the bundlers that are in node_modules: vitest brings vite and
 * rolldown along. The others are skipped, and their tests say so.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { kernelModule, useKernelModules } from '../src/kernels/index.ts';

const root = fileURLToPath(new URL('../', import.meta.url));
const project = mkdtempSync(join(tmpdir(), 'trnsim-bundle-'));

interface Bundle {
  readonly code: string;
  /** Files that went in, `/`-separated, without the helpers that a bundler makes up. */
  readonly modules: readonly string[];
}

// The bundlers are no dependencies of this package, so they are imported by computed names and typed here.
interface BundlerApi {
  build<Result>(options: object): Promise<Result>;
}
type Bundler = (api: BundlerApi, entry: string, conditions: string[]) => Promise<Bundle>;

interface RollupOutput {
  readonly output: readonly [{ readonly code: string; readonly modules: object }];
}
interface EsbuildOutput {
  readonly outputFiles: readonly [{ readonly text: string }];
  readonly metafile: { readonly inputs: object };
}

/** What a host such as Cloudflare's gives for an imported .wasm file: a compiled module, if it can compile it. */
function compiledByHost(file: string): string {
  const bytes = `Uint8Array.from(atob('${readFileSync(file).toString('base64')}'), (c) => c.charCodeAt(0))`;
  return `const bytes = ${bytes}; export default WebAssembly.validate(bytes) ? new WebAssembly.Module(bytes) : undefined;`;
}

const rollupPlugin = {
  name: 'wasm',
  enforce: 'pre', // before vite's own treatment of .wasm
  load: (id: string) => (id.endsWith('.wasm') ? { code: compiledByHost(id), moduleType: 'js' } : null),
};

const esbuildPlugin = {
  name: 'wasm',
  setup: (build: { onLoad(files: object, load: (file: { path: string }) => object): void }) =>
    build.onLoad({ filter: /\.wasm$/ }, ({ path }) => ({ contents: compiledByHost(path), loader: 'js' })),
};

function fromRollup({ output }: RollupOutput): Bundle {
  expect(output).toHaveLength(1);
  const files = Object.keys(output[0].modules).filter((id) => !id.startsWith('\0'));
  return { code: output[0].code, modules: files.map((id) => id.replaceAll('\\', '/')) };
}

const BUNDLERS: Record<string, Bundler> = {
  rolldown: async ({ build }, input, conditionNames) => {
    const options = { input, plugins: [rollupPlugin], resolve: { conditionNames } };
    return fromRollup(await build<RollupOutput>({ ...options, logLevel: 'silent', write: false }));
  },
  vite: async ({ build }, entry, conditions) => {
    const options = { root: project, plugins: [rollupPlugin], resolve: { conditions } };
    const output = { lib: { entry, formats: ['es'] }, minify: false, write: false };
    const quiet = { configFile: false, logLevel: 'silent' };
    const [result] = await build<[RollupOutput]>({ ...options, ...quiet, build: output });
    return fromRollup(result);
  },
  esbuild: async ({ build }, entry, conditions) => {
    const options = { entryPoints: [entry], plugins: [esbuildPlugin], conditions };
    const output = { bundle: true, format: 'esm', outdir: project, write: false, metafile: true };
    const { outputFiles, metafile } = await build<EsbuildOutput>({ ...options, ...output });
    return { code: outputFiles[0].text, modules: Object.keys(metafile.inputs) };
  },
};

const PRODUCT = `
  import { createArena, matmul } from 'trnsim/kernels';
  const arena = createArena();
  const [a, b, c] = [[1, 3], [3, 1], [1, 1]].map((shape) => arena.tensor('f32', shape));
  matmul(a.set(Float32Array.of(1, 2, 3)), b.set(Float32Array.of(4, 5, 6)), c);
  console.log(c.toFloat32()[0]);`;

/** Forbids what the host forbids: compiling at run time. Imports are evaluated first, so theirs are compiled by then. */
const ON_WORKERD = `
  WebAssembly.Module = new Proxy(WebAssembly.Module, {
    construct() { throw new WebAssembly.CompileError('Wasm code generation disallowed by embedder'); },
  });
  ${PRODUCT}`;

/** Runs the bundle in a folder where nothing is installed. */
function run({ code }: Bundle): { stdout: string; stderr: string } {
  const folder = mkdtempSync(join(tmpdir(), 'trnsim-bundled-'));
  writeFileSync(join(folder, 'bundle.mjs'), code);
  const { stdout, stderr } = spawnSync(process.execPath, ['bundle.mjs'], { cwd: folder, encoding: 'utf8' });
  rmSync(folder, { recursive: true });
  return { stdout, stderr };
}

beforeAll(() => {
  if (!existsSync(join(root, 'dist/workerd.js'))) throw new Error('dist/ is missing: run `npm run build` first');
  mkdirSync(join(project, 'node_modules'));
  symlinkSync(root, join(project, 'node_modules/trnsim'), 'junction');
  writeFileSync(join(project, 'package.json'), '{ "name": "bundled", "type": "module" }\n');
});

afterAll(() => rmSync(project, { recursive: true, force: true }));

for (const [name, bundle] of Object.entries(BUNDLERS)) {
  const api: BundlerApi | undefined = await import(/* @vite-ignore */ name).catch(() => undefined);
  const bundleOf = (file: string, source: string, conditions: string[]): Promise<Bundle> => {
    writeFileSync(join(project, file), source);
    return bundle(api!, join(project, file), conditions);
  };

  describe.skipIf(api === undefined)(api === undefined ? `${name}, which is not installed` : name, () => {
    test('makes one file of a program over trnsim/kernels, and plain Node runs it', async () => {
      // 1·4 + 2·5 + 3·6 = 32
      expect(run(await bundleOf('product.js', PRODUCT, ['import']))).toEqual({ stdout: '32\n', stderr: '' });
    });

    test('takes the kernels and nothing of the simulator', async () => {
      const { modules } = await bundleOf('alone.js', PRODUCT, ['import']);
      expect(modules).toContainEqual(expect.stringMatching(/(^|\/)dist\/kernels\/matmul\.js$/));
      const belongs = /(^|\/)dist\/(kernels|base)\/|\/@assemblyscript\/loader\/|(^|\/)alone\.js$/;
      expect(modules.filter((path) => !belongs.test(path))).toEqual([]);
    });

    test('gives a host that forbids compiling the modules that the host compiled', async () => {
      const { stderr } = run(await bundleOf('bytes.js', ON_WORKERD, ['import']));
      expect(stderr).toContain('Wasm code generation disallowed by embedder');
      const ran = run(await bundleOf('modules.js', ON_WORKERD, ['workerd', 'import']));
      expect(ran).toEqual({ stdout: '32\n', stderr: '' });
    });

    test('gives such a host the whole library as well', async () => {
      const whole = ON_WORKERD.replace('trnsim/kernels', 'trnsim');
      expect(run(await bundleOf('whole.js', whole, ['workerd', 'import']))).toEqual({ stdout: '32\n', stderr: '' });
    });
  });
}

describe('modules that were compiled elsewhere', () => {
  const simd = new WebAssembly.Module(readFileSync(join(root, 'build/simd.wasm')));

  test.each([
    [{ simd: 'simd-4f1c.wasm' }, '"simd" expected WebAssembly.Module, got "simd-4f1c.wasm"'], // a path, as a loader of assets gives
    [{ simd: undefined }, '"simd" expected WebAssembly.Module, got undefined'],
    [{ simd, relaxed: {} }, '"relaxed" expected WebAssembly.Module, got {}'],
  ])('%o are refused, and nothing changes', (modules, message) => {
    expect(() => useKernelModules(modules as never)).toThrow(new TypeError(message));
    expect(kernelModule('simd')).not.toBe(simd);
  });

  test('take the place of the bytes inside, except over shared memory, which a module must declare', () => {
    useKernelModules({ simd });
    expect(kernelModule('simd')).toBe(simd);
    expect(kernelModule('simd', true)).not.toBe(simd);
  });
});
