import { expect, test } from '@playwright/test'
import { control, createKey, fresh, signedIn, statusWith, token, world } from './support'

test('the inventory leads from a credential to what would break and how it came to be', async ({ page, request }) => {
  const { application, credential, route, url } = await world(request)
  await signedIn(page)
  const name = fresh('key')
  const key = await createKey(page, name, application)
  for (let n = 0; n < 3; n++) expect(await statusWith(request, url, key)).toBe(200)
  // Calls are written down in batches, after they were answered.
  const calls = async () => (await request.get(`${control}/api/v1/calls?route=${route}`, { headers: { authorization: `Bearer ${token}` } })).json()
  await expect.poll(async () => (await calls()).items.length).toBe(3)

  await page.goto('/inventory')
  await expect(page.getByRole('group', { name: 'Keys issued' })).toBeVisible()
  await page.getByLabel('Find by name').fill(credential)
  await expect(page).toHaveURL(new RegExp(`q=${credential}`))
  const row = page.getByRole('row').filter({ has: page.getByRole('link', { name: credential, exact: true }) })
  await expect(row).toContainText('Orphaned')
  await row.getByRole('link', { name: credential, exact: true }).click()

  await expect(page.getByRole('heading', { level: 1, name: credential })).toBeVisible()
  await expect(page.getByRole('status').filter({ hasText: '3 requests of the last 1d would be refused' })).toBeVisible()
  const holder = page.getByRole('region', { name: 'Who may use it' }).getByRole('row').filter({ hasText: application })
  await expect(holder).toContainText('3')
  await expect(page.getByRole('region', { name: 'Requests that would be refused' })).toContainText(route)
  await expect(page.getByRole('region', { name: 'Biography' })).toContainText('Version 1 was made')
  await page.getByRole('link', { name: 'Open the credential' }).click()
  await expect(page).toHaveURL(new RegExp(`/credentials/${credential}$`))

  await page.goto(`/inventory?view=findings&q=${credential}`)
  const finding = page.getByRole('list', { name: 'Findings' }).getByRole('listitem').filter({ hasText: 'Orphaned' })
  await expect(finding).toContainText('It names no owner.')
  await page.getByRole('button', { name: 'Clear' }).click()
  await expect(page).toHaveURL(/\/inventory\?view=findings$/)
})
