import { expect, test } from '@playwright/test'
import { createKey, fresh, signedIn, statusWith, takeSecret, world } from './support'

test('a key from its creation over its use to its end', async ({ page, request, context }) => {
  const { application, credential, route, url } = await world(request)
  const name = fresh('key')
  await signedIn(page)
  const first = await createKey(page, name, application)

  // The call log is open before the request is made: the row arrives by itself.
  await page.goto(`/calls?route=${route}`)
  await expect(page.getByText('No request matches these filters')).toBeVisible()
  expect(await statusWith(request, url, first)).toBe(200)
  const row = page.getByRole('row').filter({ hasText: `/${route}/items` })
  await expect(row).toContainText('200')
  await expect(row).toContainText(application)

  await row.getByRole('link').click()
  const story = page.getByRole('dialog', { name: 'One request' })
  await expect(story.getByRole('list', { name: 'What happened' })).toContainText(`Credential ${credential}`)
  await expect(story).toContainText('Version 1 was injected')
  await page.keyboard.press('Escape')
  await expect(story).toBeHidden()

  // Rotation: both secrets are accepted.
  await page.goto(`/keys/${name}`)
  await page.getByRole('button', { name: 'Rotate' }).click()
  await page.getByRole('button', { name: 'Make a new secret' }).click()
  const second = await takeSecret(page)
  expect(second).not.toBe(first)
  expect(await statusWith(request, url, first)).toBe(200)
  expect(await statusWith(request, url, second)).toBe(200)
  await expect(page.getByRole('region', { name: 'Secrets' }).getByRole('row')).toHaveCount(3)

  // Revocation asks for the name and is enforced when it answers.
  await page.getByRole('button', { name: 'Revoke' }).click()
  const confirm = page.getByRole('dialog', { name: `Revoke ${name}` })
  await confirm.getByRole('textbox').fill(`${name}x`)
  await expect(confirm.getByRole('button', { name: 'Revoke for good' })).toBeDisabled()
  await confirm.getByRole('textbox').fill(name)
  await confirm.getByRole('button', { name: 'Revoke for good' }).click()
  await expect(confirm).toBeHidden()
  expect(await statusWith(request, url, first)).toBe(401)
  expect(await statusWith(request, url, second)).toBe(401)
  await expect(page.getByText('Revoked').first()).toBeVisible()

  // Shown once: no later page contains either secret.
  const other = await context.newPage()
  for (const path of ['/keys', `/keys/${name}`]) {
    await other.goto(path)
    await expect(other.getByRole('heading', { level: 1 })).toBeVisible()
    for (const secret of [first, second]) expect(await other.content()).not.toContain(secret)
  }
})

test('the form says what is wrong before and after the server is asked', async ({ page, request }) => {
  const { application } = await world(request)
  const name = fresh('key')
  await signedIn(page)
  await createKey(page, name, application)
  await page.getByRole('button', { name: 'Create a key' }).first().click()
  const dialog = page.getByRole('dialog', { name: 'Create a key' })
  await dialog.getByLabel('Name').fill('Not A Name')
  await dialog.getByRole('button', { name: 'Create the key' }).click()
  await expect(dialog).toContainText('beginning with a letter or digit')
  await expect(dialog).toContainText('Choose the application')
  await dialog.getByLabel('Name').fill(name)
  await dialog.getByRole('textbox', { name: 'Application' }).fill(application)
  await page.getByRole('option', { name: application }).click()
  await dialog.getByRole('button', { name: 'Create the key' }).click()
  await expect(dialog.getByRole('alert')).toBeVisible()
})
