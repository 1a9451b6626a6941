/**
 * Builds the package: assembly/ -> build/simd.wasm, build/relaxed.wasm -> src/kernels/wasm.gen.ts, data/ -> generated modules, src/ -> dist/.
 *
 * A stage runs when the content of its inputs (sources, configuration, the version of its compiler, this script) differs
 * from what build/stamps.json says it last ran on, or when an output is missing. Content and not file times: a fresh
 * checkout or a switched branch then rebuilds what changed and nothing else.
 * Everything printed goes to stderr, because `npm start` runs this before a command whose stdout is data.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const rootUrl = new URL('../', import.meta.url);
const root = fileURLToPath(rootUrl);
const stampsFile = join(root, 'build/stamps.json');

const stages = [
  {
    name: 'kernels',
    inputs: [
      'assembly',
      'asconfig.json',
      'scripts/generate-tiles.mjs',
      'scripts/embed-wasm.mjs',
      'node_modules/assemblyscript/package.json',
    ],
    outputs: ['build/simd.wasm', 'build/relaxed.wasm', 'src/kernels/wasm.gen.ts'],
    run: buildKernels,
  },
  {
    name: 'data',
    inputs: ['data', 'scripts/embed-data.mjs'],
    outputs: [
      'src/hardware/data.gen.ts',
      'src/models/presets.gen.ts',
      'src/economics/data.gen.ts',
      'src/validation/claims/claims.gen.ts',
      'src/validation/measurements.gen.ts',
    ],
    run: embedData,
  },
  {
    name: 'library',
    inputs: ['src', 'tsconfig.json', 'node_modules/typescript/package.json'],
    outputs: ['dist/index.js', 'dist/cli/main.js', 'dist/simd.wasm', 'dist/relaxed.wasm'],
    run: buildLibrary,
  },
];

async function buildKernels() {
  // Loaded here because the compiler takes half a second to load, and most runs do not need it.
  const { main } = await import('assemblyscript/asc');
  const streams = { stdout: process.stderr, stderr: process.stderr };
  const { generateTiles } = await import('./generate-tiles.mjs');
  generateTiles(rootUrl);
  for (const [target, entry] of [
    ['simd', 'assembly/simd.ts'],
    ['relaxed', 'assembly/relaxed.ts'],
  ]) {
    const { error } = await main([entry, '--baseDir', root, '--config', 'asconfig.json', '--target', target], streams);
    if (error) throw new Error(`asc: ${error.message}`);
  }
  const { embedWasm } = await import('./embed-wasm.mjs');
  mkdirSync(join(root, 'src/kernels'), { recursive: true });
  embedWasm(rootUrl);
}

async function embedData() {
  const { embedData: embed } = await import('./embed-data.mjs');
  await embed(rootUrl);
}

function buildLibrary() {
  // Into a folder aside, swapped in when it is whole: a failed build leaves the last good dist/ alone, and a module that
  // was deleted from src/ does not live on in the package.
  const staging = join(root, 'build/dist');
  rmSync(staging, { recursive: true, force: true });
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const { status } = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.json', '--outDir', staging], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  });
  if (status !== 0) throw new Error('tsc reported errors');
  for (const name of ['simd.wasm', 'relaxed.wasm']) copyFileSync(join(root, 'build', name), join(staging, name));
  // Written in JavaScript: they import .wasm files, for which TypeScript has no type.
  for (const name of ['workerd.js', 'kernels/workerd.js']) copyFileSync(join(root, 'src', name), join(staging, name));
  chmodSync(join(staging, 'cli/main.js'), 0o755);
  rmSync(join(root, 'dist'), { recursive: true, force: true });
  renameSync(staging, join(root, 'dist'));
}

/** Files under a path, relative to the root, `/`-separated, in an order that no file system or locale decides. */
function filesUnder(path) {
  const full = join(root, path);
  if (!existsSync(full)) return [];
  if (statSync(full).isFile()) return [path];
  return readdirSync(full)
    .filter((name) => !(path === 'assembly' && name.endsWith('.gen.ts')))
    .sort()
    .flatMap((name) => filesUnder(`${path}/${name}`));
}

function contentHash(paths) {
  const hash = createHash('sha256');
  for (const file of paths.flatMap(filesUnder)) {
    const content = readFileSync(join(root, file));
    hash.update(`${file}\0${content.length}\0`).update(content);
  }
  return hash.digest('hex');
}

function readStamps() {
  try {
    return JSON.parse(readFileSync(stampsFile, 'utf8'));
  } catch {
    return {}; // no build yet, or one that was cut short: every stage runs
  }
}

mkdirSync(join(root, 'build'), { recursive: true });
const stamps = readStamps();
for (const { name, inputs, outputs, run } of stages) {
  const stamp = contentHash([...inputs, 'scripts/build.mjs']);
  if (stamps[name] === stamp && outputs.every((file) => existsSync(join(root, file)))) continue;
  process.stderr.write(`build: ${name}\n`);
  try {
    await run();
  } catch (error) {
    process.stderr.write(`build of ${name} failed: ${error.message}\n`);
    process.exit(1);
  }
  stamps[name] = stamp;
  writeFileSync(stampsFile, `${JSON.stringify(stamps, null, 2)}\n`);
}
