/** Stands in for the browser tests where vitest.config.ts finds no Chromium, so that the summary shows them as skipped. */
import { test } from 'vitest';

test.skip('the kernels run in a browser (skipped: no Chromium here; install one, or set CHROMIUM_PATH)', () => {});
