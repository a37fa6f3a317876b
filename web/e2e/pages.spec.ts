import { expect, test } from '@playwright/test'
import { signedIn } from './support'

const PAGES = ['Overview', 'Call log', 'Spend', 'Credentials', 'Keys', 'Prompts', 'Inventory']

test('every page is reached by keyboard and breaks no policy', async ({ page }) => {
  const complaints: string[] = []
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()))
  page.on('pageerror', (error) => complaints.push(error.message))
  await signedIn(page)
  const answer = await page.goto('/')
  expect(answer?.headers()['content-security-policy']).toContain("default-src 'self'")
  for (const name of PAGES) {
    await page.getByRole('link', { name, exact: true }).focus()
    await page.keyboard.press('Enter')
    await expect(page.getByRole('heading', { level: 1, name })).toBeVisible()
    await expect(page.getByRole('link', { name, exact: true })).toHaveAttribute('aria-current', 'page')
    await expect(page.getByLabel('Loading')).toHaveCount(0)
  }
  expect(complaints).toEqual([])
})

test('the appearance is chosen and kept', async ({ page }) => {
  await page.emulateMedia({ colorScheme: 'light' })
  await signedIn(page)
  await page.goto('/')
  await page.getByRole('button', { name: 'Dark appearance' }).click()
  await page.reload()
  await expect(page.locator('html')).toHaveAttribute('data-mantine-color-scheme', 'dark')
})

test('nothing sticks out of a phone screen', async ({ page }) => {
  await page.setViewportSize({ width: 360, height: 740 })
  await signedIn(page)
  for (const path of ['/', '/calls', '/spend', '/credentials', '/keys', '/prompts', '/inventory', '/inventory?view=findings', '/config/routes', '/declare/routes']) {
    await page.goto(path)
    await expect(page.getByLabel('Loading')).toHaveCount(0)
    expect(await page.evaluate(() => document.documentElement.scrollWidth), path).toBeLessThanOrEqual(360)
  }
})

test('an unknown name is answered with words', async ({ page }) => {
  await signedIn(page)
  await page.goto('/keys/no-such-key')
  await expect(page.getByRole('alert')).toContainText('There is no such thing')
})
