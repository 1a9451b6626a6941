/**
 * Everything `npm test` does not say about the repository: format and lint, types of the tests, dead code, and whether
 * the package as it would be published resolves for those who install it. (`npm run check` builds first, and a build
 * type-checks src/ and assembly/.)
 *
 * Runs all checks whatever fails, so that one run shows all there is to mend, then names the failed ones. Exit code 1 if
 * any did. Expects node_modules/.bin on the PATH, where `npm run` puts it.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../', import.meta.url));

const checks = [
  'biome ci --colors=off .',
  'tsc --noEmit -p test',
  'knip',
  'publint --strict',
  // ESM only: require() of it works through Node's require(esm). The .wasm is a file to load, so it has no types.
  'attw --pack . --profile esm-only --exclude-entrypoints simd.wasm relaxed.wasm',
];

const failed = checks.filter((command) => {
  console.log(`\n> ${command}`);
  return spawnSync(command, { cwd: root, shell: true, stdio: ['ignore', 'inherit', 'inherit'] }).status !== 0;
});

console.log(failed.length === 0 ? `\nAll ${checks.length} checks passed.` : `\nFailed: ${failed.join(', ')}`);
process.exitCode = failed.length === 0 ? 0 : 1;
