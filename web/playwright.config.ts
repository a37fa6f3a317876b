// Browser tests against a running server, named by the environment (see e2e/support.ts).
import { defineConfig } from '@playwright/test'
import { control } from './e2e/support'

export default defineConfig({
  testDir: 'e2e',
  outputDir: 'node_modules/.playwright',
  workers: 1,
  // They only end what would wait for ever: a machine that is several times slower fails nothing by them.
  timeout: 240_000,
  expect: { timeout: 40_000 },
  forbidOnly: !!process.env.CI,
  reporter: [['list']],
  use: {
    baseURL: control,
    viewport: { width: 1440, height: 900 },
    launchOptions: {
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
    },
  },
})
