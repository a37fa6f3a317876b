import AxeBuilder from '@axe-core/playwright'
import { expect, test, type Page } from '@playwright/test'
import { control, createKey, fresh, signedIn, statusWith, token, world } from './support'

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
