import { expect, test } from '@playwright/test'
import { token } from './support'

test('a wrong token is refused with words, the right one leads to the page asked for', async ({ page }) => {
  await page.goto('/keys?q=shop')
  await expect(page).toHaveURL(/\/sign-in/)
  await page.getByLabel("Administrator's token").fill('not-the-token')
  await page.getByRole('button', { name: 'Sign in' }).click()
  await expect(page.getByText('This token is not accepted')).toBeVisible()
  await expect(page).toHaveURL(/\/sign-in/)

  await page.getByLabel("Administrator's token").fill(token)
  await page.keyboard.press('Enter')
  await expect(page.getByRole('heading', { level: 1, name: 'Keys' })).toBeVisible()
  await expect(page).toHaveURL(/\/keys\?q=shop$/)
  await expect(page.getByRole('searchbox')).toHaveValue('shop')
})

test('signing out ends the session', async ({ page }) => {
  await page.goto('/sign-in')
  await page.getByLabel("Administrator's token").fill(token)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await expect(page.getByRole('heading', { level: 1, name: 'Overview' })).toBeVisible()
  await page.getByRole('button', { name: 'Sign out' }).click()
  await expect(page.getByLabel("Administrator's token")).toBeVisible()
  await expect.poll(async () => (await page.request.get('/api/v1/session')).status()).toBe(401)
})

test('the token stays out of storage and the cookie out of reach', async ({ page }) => {
  await page.goto('/sign-in')
  await page.getByLabel("Administrator's token").fill(token)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await expect(page.getByRole('heading', { level: 1, name: 'Overview' })).toBeVisible()
  const reachable = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]))
  expect(reachable).not.toContain(token)
  expect(await page.evaluate(() => document.cookie)).toBe('')
})
