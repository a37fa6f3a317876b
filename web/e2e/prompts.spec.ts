import { expect, test, type Page } from '@playwright/test'
import { authorized, control, createKey, fresh, gateway, declaredPrompt, signedIn } from './support'

async function runTests(page: Page, version: number, key: string) {
  await page.getByRole('button', { name: `Test version ${version}` }).click()
  const dialog = page.getByRole('dialog', { name: `Test version ${version}` })
  await dialog.getByLabel('Key of an application that may use the model').fill(key)
  await dialog.getByRole('button', { name: 'Run the tests' }).click()
  await expect(dialog.getByRole('list', { name: 'Checks of likes' })).toBeVisible()
  return dialog
}

test('a prompt is tested, promoted, refused and rolled back', async ({ page, request }) => {
  const { application, prompt: { name } } = await declaredPrompt(request)
  await signedIn(page)
  const key = await createKey(page, fresh('key'), application)
  await page.getByRole('link', { name: 'Prompts', exact: true }).click()
  await page.getByRole('searchbox', { name: 'Find a prompt by name' }).fill(name)
  await page.getByRole('row').filter({ hasText: name }).getByRole('link').click()
  await expect(page.getByRole('heading', { level: 1, name })).toBeVisible()
  await expect(page.getByText('no version in production')).toBeVisible()
  await expect(page.getByText('They were never run')).toBeVisible()

  // What is different is marked, for eyes and for ears.
  await page.getByRole('textbox', { name: 'Version shown' }).click()
  await page.getByRole('option', { name: 'Version 2' }).click()
  await page.getByRole('textbox', { name: 'Compared with' }).click()
  await page.getByRole('option', { name: 'Version 1' }).click()
  await expect(page).toHaveURL(/version=2&against=1/)
  const system = page.getByRole('region', { name: 'System prompt' })
  await expect(system.locator('del').first()).toContainText('one')
  await expect(system.locator('ins').first()).toContainText('two')

  // Untested it cannot be promoted.
  await page.getByRole('button', { name: 'Promote version 1' }).click()
  const promote = page.getByRole('dialog', { name: 'Promote version 1' })
  await expect(promote).toContainText('It has not passed the present tests')
  await expect(promote.getByRole('button', { name: /^Let production be/ })).toBeDisabled()
  await page.keyboard.press('Escape')

  const passed = await runTests(page, 1, key)
  await expect(passed).toContainText('All tests passed')
  await passed.getByRole('button', { name: 'Done' }).click()
  await page.getByRole('button', { name: 'Promote version 1' }).click()
  await promote.getByLabel('Why').fill('The first that is good')
  await promote.getByRole('button', { name: 'Let production be version 1' }).click()
  await expect(promote).toBeHidden()
  await expect(page.getByText('version 1 in production')).toBeVisible()
  const history = page.getByRole('region', { name: 'History' })
  await expect(history).toContainText('production is version 1')
  await expect(history).toContainText('The first that is good')

  // What failed is shown check by check, and holds the label back.
  const failed = await runTests(page, 2, key)
  await expect(failed.getByRole('listitem').filter({ hasText: 'contains "love"' })).toContainText('Failed')
  await expect(failed.getByRole('listitem').filter({ hasText: 'at most 1000' })).toContainText('Passed')
  await failed.getByRole('button', { name: 'Done' }).click()
  await page.getByRole('button', { name: 'Promote version 2' }).click()
  const refused = page.getByRole('dialog', { name: 'Promote version 2' })
  await expect(refused).toContainText('It failed the last run of its tests')
  await expect(refused.getByRole('list', { name: 'Checks of likes' })).toContainText('contains "love"')
  await page.keyboard.press('Escape')
  await page.getByRole('region', { name: 'Runs of the tests' }).getByRole('link', { name: 'Version 2, run 1' }).click()
  await expect(page.getByRole('dialog', { name: 'Run 1 of version 2' })).toContainText('1 of 1 failed')
  await page.keyboard.press('Escape')

  // Its calls are in the call log, by prompt and version.
  await page.getByRole('link', { name: 'See its calls' }).click()
  await expect(page).toHaveURL(new RegExp(`/calls\\?prompt=${name}`))
  await expect(page.getByRole('row').filter({ hasText: `prompt ${name} v1` })).toHaveCount(1)
  await page.goto(`/calls?prompt=${name}&prompt_version=2`)
  await expect(page.getByRole('row').filter({ hasText: `prompt ${name} v2` })).toHaveCount(1)
  await expect(page.getByText(`prompt ${name} v1`)).toHaveCount(0)
})

test('the label goes back to where it was', async ({ page, request }) => {
  const { prompt } = await declaredPrompt(request)
  const path = `${control}/api/v1/prompts/${prompt.name}`
  const { tests: _, ...untested } = prompt
  expect((await request.put(path, { data: untested, ...authorized })).status()).toBe(200)
  for (const version of [1, 2]) expect((await request.post(`${path}/promote`, { data: { version }, ...authorized })).status()).toBe(200)
  await signedIn(page)
  await page.goto(`/prompts/${prompt.name}`)
  await expect(page.getByText('No tests', { exact: true }).first()).toBeVisible()
  await page.getByRole('button', { name: 'Back to version 1' }).click()
  const dialog = page.getByRole('dialog', { name: 'Back to version 1' })
  await dialog.getByRole('button', { name: 'Let production be version 1' }).click()
  await expect(page.getByText('version 1 in production')).toBeVisible()
  await expect(page.getByRole('region', { name: 'History' })).toContainText('production moved from version 2 to 1')
  expect((await (await request.get(path, authorized)).json()).spec.labels).toEqual({ production: 1 })
})

test('variables become a call that the gateway takes', async ({ page, request }) => {
  const { application, prompt: { name, tests: _, ...prompt } } = await declaredPrompt(request)
  expect((await request.put(`${control}/api/v1/prompts/${name}`, { data: { name, ...prompt, labels: { production: 1 } }, ...authorized })).status()).toBe(200)
  await signedIn(page)
  const key = await createKey(page, fresh('key'), application)
  await page.goto(`/prompts/${name}`)
  await page.getByRole('textbox', { name: 'text' }).fill("it's fine")
  const card = page.getByRole('group', { name: 'Call it' })
  const command = await card.locator('code').innerText()
  expect(command).toContain('"tone":"short"')
  const body = /-d '(.*)'$/s.exec(command)?.[1]?.replaceAll("'\\''", "'")
  const answer = await request.post(`${gateway}/v1/responses`, { data: JSON.parse(body ?? ''), headers: { authorization: `Bearer ${key}` } })
  expect(answer.status(), await answer.text()).toBe(200)
  expect(await answer.text()).toContain("it's fine")
  await page.goto('/config/prompts')
  await expect(page).toHaveURL(/\/prompts$/)
})
