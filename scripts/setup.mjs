/**
 * Makes a checkout ready to run: installs the dependencies if node_modules is not what package-lock.json asks for, then
 * builds. `npm start`, `npm test` and the rest begin with it, so that a fresh clone needs nothing but Node and npm.
 *
 * Prints one line per thing done, on stderr, and nothing when there is nothing to do. Uses only Node's own modules, and
 * syntax that an old Node parses, so that it lives to say that the Node is too old.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../', import.meta.url));

function fail(message) {
  process.stderr.write(`setup: ${message}\n`);
  process.exit(1);
}

function lockedPackages(file) {
  return Object.entries(JSON.parse(readFileSync(join(root, file), 'utf8')).packages);
}

/**
 * Whether each locked package is there in the locked version, by the lockfile that npm leaves in node_modules at the end
 * of a successful install. Optional packages may be absent: they are mostly other platforms' binaries.
 */
function isInstalled() {
  let present;
  try {
    present = new Map(lockedPackages('node_modules/.package-lock.json'));
  } catch {
    return false; // never installed, or an install was cut short
  }
  return lockedPackages('package-lock.json').every(([path, locked]) => {
    if (path === '') return true; // this package itself
    const found = present.get(path);
    if (found === undefined) return locked.optional === true || locked.devOptional === true;
    return found.version === locked.version && found.integrity === locked.integrity;
  });
}

/** Runs a command with its output on stderr: stdout belongs to the command that setup prepares for. */
function run(command, args, options) {
  return spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2], ...options }).status === 0;
}

/** Runs npm: the one that runs this script, else the one on the PATH, which on Windows is a .cmd and needs a shell. */
function runNpm(args) {
  const cli = process.env.npm_execpath;
  if (cli && basename(cli) === 'npm-cli.js') return run(process.execPath, [cli, ...args]);
  return run('npm', args, { shell: process.platform === 'win32' });
}

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  fail(`trnsim needs Node 20.19 or newer, and this is Node ${process.versions.node}; see https://nodejs.org`);
}
if (!isInstalled()) {
  process.stderr.write('setup: npm install\n');
  // Not `npm ci`: it refuses a lockfile without the binaries of every platform, and npm writes those it could reach.
  // --no-save leaves both package files alone. --include, because NODE_ENV=production would omit the compilers.
  const args = ['install', '--no-save', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'];
  if (!runNpm(args)) fail('npm install failed');
}
if (!run(process.execPath, [join(root, 'scripts/build.mjs')])) process.exit(1); // it has said why
