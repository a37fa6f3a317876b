import { expect, test } from '@playwright/test'
import { createKey, fresh, signedIn, statusWith, world } from './support'

test('a credential is rotated under traffic, its drain is watched, no request fails', async ({ page, request }) => {
  const { application, credential, url } = await world(request)
  await signedIn(page)
  const key = await createKey(page, fresh('key'), application)
  const statuses: number[] = []
  let going = true
  const traffic = (async () => {
    for (let n = 0; going && n < 2000; n++) statuses.push(await statusWith(request, url, key))
  })()

  await page.goto(`/credentials/${credential}`)
  await expect(page.getByText('Never rotated')).toBeVisible()
  await page.getByRole('button', { name: 'Rotate' }).click()
  await page.getByRole('dialog').getByLabel('New value').fill(fresh('secret'))
  await page.getByRole('button', { name: 'Start the rotation' }).click()
  const steps = page.getByRole('list', { name: 'Steps of the rotation' })
  await expect(steps).toContainText('Drain the old version')
  await expect(page.getByRole('group', { name: 'Last rotation' })).toContainText('v1 → v2', { timeout: 120_000 })
  await expect(steps.getByRole('listitem').filter({ hasText: ': Done' })).toHaveCount(6)
  going = false
  await traffic

  expect(statuses.length).toBeGreaterThan(0)
  expect(statuses.filter((status) => status !== 200)).toEqual([])
  const versions = page.getByRole('region', { name: 'Versions' }).getByRole('row')
  await expect(versions.filter({ hasText: 'v2' })).toContainText('Current')
  await expect(versions.filter({ hasText: 'v1' })).toContainText('Destroyed')
})

test('a credential is added in the console, and revoked only when its name is typed', async ({ page }) => {
  const name = fresh('credential')
  const secret = fresh('secret')
  await signedIn(page)
  await page.goto('/credentials')
  await page.getByRole('button', { name: 'Add a credential' }).first().click()
  const dialog = page.getByRole('dialog', { name: 'Add a credential' })
  await dialog.getByLabel('Name').fill(name)
  await dialog.getByLabel('Value', { exact: true }).fill(secret)
  await dialog.getByRole('button', { name: 'Add the credential' }).click()
  await expect(page.getByRole('heading', { level: 1, name })).toBeVisible()
  await expect(page.getByRole('region', { name: 'Versions' })).toContainText('Current')
  expect(await page.content()).not.toContain(secret)

  await page.getByRole('button', { name: 'Revoke', exact: true }).click()
  const confirm = page.getByRole('dialog', { name: `Revoke ${name}` })
  await expect(confirm.getByRole('button', { name: 'Revoke for good' })).toBeDisabled()
  await confirm.getByRole('textbox').fill(name)
  await confirm.getByRole('button', { name: 'Revoke for good' }).click()
  await expect(confirm).toBeHidden()
  await expect(page.getByRole('region', { name: 'Versions' })).toContainText('Revoked')
  await expect(page.getByText('No usable version')).toBeVisible()
})
