import AxeBuilder from '@axe-core/playwright'
import { expect, test, type Page } from '@playwright/test'
import { control, createKey, declaredPrompt, family, fresh, signedIn, statusWith, token, world } from './support'

async function findNothing(page: Page, where: string) {
  await expect(page.getByLabel('Loading')).toHaveCount(0)
  // Colours are compared when nothing fades any more.
  await page.waitForTimeout(400)
  const { violations } = await new AxeBuilder({ page }).analyze()
  const found = violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html}\n${failureSummary}`))
  expect.soft(found, where).toEqual([])
}

for (const colorScheme of ['light', 'dark'] as const) {
  test(`axe finds nothing, ${colorScheme}`, async ({ page, request }) => {
    test.setTimeout(480_000)
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
    await page.goto('/sign-in')
    await findNothing(page, 'sign-in')

    const { application, credential, route, url } = await world(request)
    await signedIn(page)
    const name = fresh('key')
    const key = await createKey(page, name, application)
    expect(await statusWith(request, url, key)).toBe(200)
    expect(await statusWith(request, url, 'wrong')).toBe(401)

    for (const path of ['/', '/?window=24h', '/calls', '/calls?outcome=revoked', '/credentials', `/credentials/${credential}`, '/credentials?q=no-such', '/keys', `/keys/${name}`, '/keys/no-such-key', '/no-such-page',
      '/spend', '/inventory', '/inventory?view=findings', '/inventory?q=no-such', `/inventory/credential/${credential}`, `/inventory/key/${name}`, '/inventory/leases/x',
      '/config/routes', '/config/teams?q=no-such', '/config/models', `/config/routes/${route}`, `/config/credentials/${credential}`, '/declare/upstreams', '/config/sessions']) {
      await page.goto(path)
      await expect(page.getByRole('heading', { level: 1 })).toBeVisible()
      await findNothing(page, path)
    }

    // A prompt of which one version passed its tests and one did not, and keys that come from one another.
    const { application: asks, prompt } = await declaredPrompt(request)
    const tester = await createKey(page, fresh('key'), asks)
    for (const version of [1, 2]) {
      const run = await request.post(`${control}/api/v1/prompts/${prompt.name}/versions/${version}/test`, { data: { key: tester }, headers: { authorization: `Bearer ${token}` } })
      expect((await run.json()).passed).toBe(version === 1)
    }
    const { main, planner, secrets } = await family(request)
    expect(await statusWith(request, url, secrets.agent)).toBe(403)
    for (const path of ['/prompts', '/prompts?q=no-such', `/prompts/${prompt.name}?version=2&against=1`, `/prompts/${prompt.name}?run=2-1`, '/prompts/no-such', `/keys/${main}`, `/calls?agent=researcher`]) {
      await page.goto(path)
      await expect(page.getByRole('heading', { level: 1 })).toBeVisible()
      await findNothing(page, path)
    }

    // A document with problems, a conflict, and what keeps a resource from being deleted.
    await page.goto(`/config/routes/${route}`)
    const editor = page.getByRole('textbox', { name: /^Declaration of/ })
    const text = await editor.inputValue()
    await editor.fill(`${text}limmit: 5\n`)
    await page.getByRole('button', { name: 'Save' }).click()
    await expect(page.getByRole('list', { name: 'Problems' })).toBeVisible()
    await findNothing(page, 'a document with problems')
    await editor.fill(text.replace('/*"', '/more/*"'))
    const stored = await (await request.get(`${control}/api/v1/routes/${route}`, { headers: { authorization: `Bearer ${token}` } })).json()
    const changed = await request.put(`${control}/api/v1/routes/${route}`, { data: { ...stored.spec, limit: { requests: 1000, per: '1m' } }, headers: { authorization: `Bearer ${token}` } })
    expect(changed.status()).toBe(200)
    await page.getByRole('button', { name: 'Save' }).click()
    await expect(page.getByLabel('As stored now')).toBeVisible()
    await findNothing(page, 'a conflict')
    await page.getByRole('button', { name: 'Take theirs, drop mine' }).click()
    await page.getByRole('button', { name: 'Delete' }).click()
    await expect(page.getByRole('list', { name: 'What names it' })).toBeVisible()
    await findNothing(page, 'a resource in use')

    await page.goto(`/calls?route=${route}`)
    await page.getByRole('row').filter({ hasText: `/${route}/items` }).getByRole('link').first().click()
    await expect(page.getByRole('list', { name: 'What happened' })).toBeVisible()
    await findNothing(page, 'one request')
    await page.goto('/calls?model=none&slower=5')
    await page.getByRole('button', { name: 'More filters' }).click()
    await expect(page.getByLabel('Slower than')).toHaveValue('5 ms')
    await findNothing(page, 'more filters')

    for (const [path, button, dialog] of [
      ['/keys', 'Create a key', 'Create a key'],
      ['/credentials', 'Add a credential', 'Add a credential'],
      [`/keys/${name}`, 'Rotate', `Rotate ${name}`],
      [`/keys/${name}`, 'Revoke', `Revoke ${name}`],
      [`/credentials/${credential}`, 'Rotate', `Rotate ${credential}`],
      [`/prompts/${prompt.name}`, 'Test version 1', `Test version 1 of ${prompt.name}`],
      [`/prompts/${prompt.name}`, 'Promote version 2', 'Promote version 2'],
      [`/keys/${main}`, `End ${planner}`, `End ${planner}`],
    ] as const) {
      await page.goto(path)
      await page.getByRole('button', { name: button, exact: true }).first().click()
      await expect(page.getByRole('dialog', { name: dialog })).toBeVisible()
      await findNothing(page, dialog)
    }

    await page.setViewportSize({ width: 390, height: 844 })
    await page.goto('/')
    await page.getByRole('button', { name: 'Open the navigation' }).click()
    await findNothing(page, 'navigation on a phone')
  })
}
