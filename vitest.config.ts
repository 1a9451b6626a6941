/**
 * Two projects: `node` runs everything, `browser` runs the kernels in a real page, in the Chromium that is installed here.
 *
 * Playwright would download a browser of its own; a distribution's Chromium does as well and needs no download. Its
 * switches keep it quiet: no sandbox (containers run as root), no GPU, no background traffic.
 * Without a Chromium the browser project shrinks to one test that is reported as skipped and says why in its name.
 */
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { playwright } from '@vitest/browser-playwright';
import { defineConfig, type TestProjectConfiguration } from 'vitest/config';

const chromium = [
  process.env.CHROMIUM_PATH,
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/snap/bin/chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe',
].find((path) => path !== undefined && existsSync(path));

const node: TestProjectConfiguration = {
  test: {
    name: 'node',
    include: ['test/**/*.test.ts'],
    exclude: ['test/browser/**'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
};

function browser(executablePath: string): TestProjectConfiguration {
  const args = [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-background-networking',
    '--no-first-run',
    '--disable-component-update',
    '--disable-sync',
    '--disable-quic',
  ];
  return {
    test: {
      name: 'browser',
      include: ['test/browser/**/*.browser.test.ts'],
      testTimeout: 60_000,
      browser: {
        enabled: true,
        headless: true,
        screenshotFailures: false,
        provider: playwright({ launchOptions: { executablePath, args } }),
        instances: [{ browser: 'chromium' }],
      },
    },
  };
}

const withoutBrowser: TestProjectConfiguration = {
  test: { name: 'browser', include: ['test/browser/unavailable.ts'] },
};

export default defineConfig({
  // Vitest leaves one core free, which on two is half of the machine.
  test: {
    maxWorkers: Math.max(2, availableParallelism() - 1),
    projects: [node, chromium === undefined ? withoutBrowser : browser(chromium)],
  },
});
