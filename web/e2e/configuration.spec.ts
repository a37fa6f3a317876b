import { expect, test, type Page } from '@playwright/test'
import { control, createKey, fresh, signedIn, statusWith, token, world } from './support'

const editor = (page: Page) => page.getByRole('textbox', { name: /^Declaration of/ })

/** Replaces a part of the document, as a person would by retyping it. */
async function edit(page: Page, from: string, to: string) {
  await expect.poll(() => editor(page).inputValue()).toContain(from)
  const text = await editor(page).inputValue()
  await editor(page).fill(text.replace(from, to))
}

test('a resource is declared, found, edited and deleted', async ({ page }) => {
  const name = fresh('team')
  await signedIn(page)
  await page.goto('/config')
  await expect(page.getByRole('heading', { level: 1, name: 'Routes' })).toBeVisible()
  await page.getByRole('navigation', { name: 'Kinds' }).getByRole('link', { name: 'Teams' }).click()
  await page.getByRole('link', { name: 'Declare a team' }).click()
  await edit(page, 'name: payments', `name: ${name}`)
  await page.getByRole('button', { name: 'Declare it' }).click()
  await expect(page.getByRole('heading', { level: 1, name })).toBeVisible()

  await edit(page, 'Who pays and gets paid', 'Told in the browser')
  await expect(page.getByText('Not saved yet.')).toBeVisible()
  await page.getByRole('button', { name: 'Save' }).click()
  await expect(page.getByText('Saved; every worker enforces it.')).toBeVisible()
  await page.goto(`/config/teams?q=${name}`)
  const row = page.getByRole('region', { name: 'Teams' }).getByRole('row').filter({ hasText: name })
  await expect(row).toContainText('Told in the browser')

  await row.getByRole('link').click()
  await page.getByRole('button', { name: 'Delete' }).click()
  const dialog = page.getByRole('dialog', { name: `Delete ${name}` })
  await expect(dialog.getByRole('button', { name: 'Delete for good' })).toBeDisabled()
  await dialog.getByRole('textbox').fill(name)
  await dialog.getByRole('button', { name: 'Delete for good' }).click()
  await expect(page.getByRole('heading', { level: 1, name: 'Teams' })).toBeVisible()
  await page.goto(`/config/teams/${name}`)
  await expect(page.getByRole('alert')).toContainText('There is no such thing')
})

test('an edited route is enforced when it is saved; what is wrong is shown at its line', async ({ page, request }) => {
  const { application, route, url } = await world(request)
  await signedIn(page)
  const key = await createKey(page, fresh('key'), application)
  expect(await statusWith(request, url, key)).toBe(200)
  await page.goto(`/config/routes/${route}`)
  await edit(page, `path: "/${route}/*"`, `path: "/${route}/*"\n  methods: [POST]`)
  await page.getByRole('button', { name: 'Save' }).click()
  await expect(page.getByText('Saved; every worker enforces it.')).toBeVisible()
  expect([404, 405]).toContain(await statusWith(request, url, key))

  await edit(page, '  methods: [POST]\n', '')
  await edit(page, /^upstream: .*$/m.exec(await editor(page).inputValue())?.[0] ?? 'upstream:', 'upstream: no-such-upstream\nlimmit: 5')
  await page.getByRole('button', { name: 'Save' }).click()
  const problems = page.getByRole('list', { name: 'Problems' })
  await expect(problems).toContainText('limmit')
  await edit(page, '\nlimmit: 5', '')
  await page.getByRole('button', { name: 'Save' }).click()
  await expect(problems).toContainText('no-such-upstream')
  await problems.getByRole('button', { name: /^Line \d+$/ }).first().click()
  await expect(editor(page)).toBeFocused()
  const marked = await editor(page).evaluate((area: HTMLTextAreaElement) => area.value.slice(area.selectionStart, area.selectionEnd))
  expect(marked).toBe('upstream: no-such-upstream')
  expect([404, 405]).toContain(await statusWith(request, url, key))

  await page.getByRole('button', { name: 'Discard the changes' }).click()
  await edit(page, '  methods: [POST]\n', '')
  await page.getByRole('button', { name: 'Save' }).click()
  await expect(page.getByText('Saved; every worker enforces it.')).toBeVisible()
  expect(await statusWith(request, url, key)).toBe(200)
})

test('of two who edit, the second sees what the first stored and decides', async ({ page, request }) => {
  const { application } = await world(request)
  const stored = async () => (await request.get(`${control}/api/v1/applications/${application}`, { headers: { authorization: `Bearer ${token}` } })).json()
  await signedIn(page)
  await page.goto(`/config/applications/${application}`)
  await edit(page, 'name:', 'description: mine\nname:')
  const change = async (description: string) => {
    const { spec } = await stored()
    const answer = await request.put(`${control}/api/v1/applications/${application}`, { data: { ...spec, description }, headers: { authorization: `Bearer ${token}` } })
    expect(answer.status(), await answer.text()).toBe(200)
  }
  await change('theirs')
  await page.getByRole('button', { name: 'Save' }).click()
  await expect(page.getByText('Somebody else changed it while you were editing')).toBeVisible()
  await expect(page.getByLabel('As stored now')).toContainText('theirs')
  expect((await stored()).spec.description).toBe('theirs')
  await page.getByRole('button', { name: 'Save mine over it' }).click()
  await expect(page.getByText('Saved; every worker enforces it.')).toBeVisible()
  expect((await stored()).spec.description).toBe('mine')

  await edit(page, 'mine', 'mine again')
  await change('theirs again')
  await page.getByRole('button', { name: 'Save' }).click()
  await page.getByRole('button', { name: 'Take theirs, drop mine' }).click()
  await expect(editor(page)).toHaveValue(/theirs again/)
  expect((await stored()).spec.description).toBe('theirs again')
})

test('a change that is stored but not yet enforced everywhere is said to be so, and is not called a conflict', async ({ page, request }) => {
  const { application, route, credential } = await world(request)
  const unenforced = {
    status: 503, contentType: 'application/problem+json',
    json: { type: 'about:blank', title: 'The change is stored but not yet enforced everywhere', status: 503, code: 'not_yet_enforced', detail: 'the change is stored, but not every worker acknowledged it in time', applied: true },
  }
  await signedIn(page)
  // Every kind is compared by the server: it knows what is meant, however it is written.
  for (const path of [`applications/${application}`, `routes/${route}`, `credentials/${credential}`]) {
    await page.goto(`/config/${path}`)
    let release = () => {}
    const held = new Promise<void>((resolve) => (release = resolve))
    // The server stores it; only its answer is another one, and a late one.
    await page.route(`**/api/v1/${path}`, async (on) => {
      if (on.request().method() !== 'PUT') return on.fallback()
      expect((await on.fetch()).status()).toBe(200)
      await held
      await on.fulfill(unenforced)
    })
    await edit(page, 'name:', '# for a while\ndescription: one\nname:')
    await page.getByRole('button', { name: 'Save' }).click()
    await expect(page.getByText('Saving…')).toBeVisible()
    page.once('dialog', (dialog) => void dialog.dismiss())
    await page.getByRole('link', { name: 'Call log', exact: true }).click()
    await edit(page, 'description: one', 'description: two')
    release()
    const banner = page.getByRole('status').filter({ hasText: 'stored but not yet enforced everywhere' })
    await expect(banner).toContainText('not every worker acknowledged it in time')
    await expect(page.getByText('Not saved yet.')).toBeVisible()
    await expect(page.getByText(/Saved; every|Somebody else|not saved\./)).toHaveCount(0)
    await page.unroute(`**/api/v1/${path}`)

    await banner.getByRole('button', { name: 'Check again' }).click()
    await expect(banner).toHaveCount(0)
    await expect(page.getByText('Not saved yet.')).toBeVisible()
    await page.getByRole('button', { name: 'Save' }).click()
    await expect(page.getByText('Saved; every worker enforces it.')).toBeVisible()
    const answer = await request.get(`${control}/api/v1/${path}`, { headers: { authorization: `Bearer ${token}` } })
    expect((await answer.json()).spec.description).toBe('two')
  }

  // The same for what is new.
  const name = fresh('team')
  await page.goto('/declare/teams')
  await edit(page, 'name: payments', `name: ${name}`)
  await page.route('**/api/v1/teams', async (on) => {
    expect((await on.fetch()).status()).toBe(201)
    await on.fulfill(unenforced)
  })
  await page.getByRole('button', { name: 'Declare it' }).click()
  await expect(page.getByText('The change is stored but not yet enforced everywhere')).toBeVisible()
  await page.unroute('**/api/v1/teams')
  await page.getByRole('link', { name: `Open ${name}` }).click()
  await expect(page.getByRole('heading', { level: 1, name })).toBeVisible()
})

test('a target is declared, listed, and reached from what keeps a credential', async ({ page, request }) => {
  const [credential, target] = [fresh('credential'), fresh('target')]
  const answer = await request.post(`${control}/api/v1/credentials`, {
    data: { name: credential, engine: 'static', secret: fresh('secret') }, headers: { authorization: `Bearer ${token}` },
  })
  expect(answer.status(), await answer.text()).toBe(201)
  await signedIn(page)
  await page.goto('/config')
  await page.getByRole('navigation', { name: 'Kinds' }).getByRole('link', { name: 'Targets' }).click()
  await page.getByRole('link', { name: 'Declare a target' }).click()
  await edit(page, 'name: orders-pg\n', `name: ${target}\n`)
  await edit(page, 'credential: orders-pg-admin', `credential: ${credential}`)
  await page.getByRole('button', { name: 'Declare it' }).click()
  await expect(page.getByRole('heading', { level: 1, name: target })).toBeVisible()
  await page.goto(`/config/targets?q=${target}`)
  await expect(page.getByRole('region', { name: 'Targets' }).getByRole('row').filter({ hasText: target })).toContainText('postgresql at db.internal as credentialflow')

  await page.goto(`/config/credentials/${credential}`)
  await page.getByRole('button', { name: 'Delete' }).click()
  await page.getByRole('dialog').getByRole('link', { name: `target ${target}` }).click()
  await expect(page.getByRole('heading', { level: 1, name: target })).toBeVisible()
  await page.getByRole('button', { name: 'Delete' }).click()
  const dialog = page.getByRole('dialog', { name: `Delete ${target}` })
  await dialog.getByRole('textbox').fill(target)
  await dialog.getByRole('button', { name: 'Delete for good' }).click()
  await expect(page.getByRole('heading', { level: 1, name: 'Targets' })).toBeVisible()
})

test('what is still named is not deleted, and what names it is a click away', async ({ page, request }) => {
  const { application, credential, route } = await world(request)
  await signedIn(page)
  await page.goto(`/config/routes/${route}`)
  await page.getByRole('button', { name: 'Delete' }).click()
  const dialog = page.getByRole('dialog', { name: `Delete ${route}` })
  await expect(dialog.getByRole('list', { name: 'What names it' })).toContainText('allow.routes[0]')
  await expect(dialog.getByRole('button', { name: 'Delete for good' })).toHaveCount(0)
  await dialog.getByRole('link', { name: `application ${application}` }).click()
  await expect(page.getByRole('heading', { level: 1, name: application })).toBeVisible()

  // Credentials and keys are edited and deleted the same way, from their own pages.
  await page.goto(`/credentials/${credential}`)
  await page.getByRole('link', { name: 'Edit' }).click()
  await edit(page, 'engine:', 'description: Opens the sandbox\nengine:')
  await page.getByRole('button', { name: 'Save' }).click()
  await expect(page.getByText('Saved; every worker enforces it.')).toBeVisible()
  await page.getByRole('button', { name: 'Delete' }).click()
  await expect(page.getByRole('list', { name: 'What names it' })).toContainText('inject.bearer')
})

test('changes that are not saved are not lost by leaving', async ({ page, request }) => {
  const { application } = await world(request)
  await signedIn(page)
  await page.goto(`/config/applications/${application}`)
  await edit(page, 'name:', 'description: mine\nname:')
  page.once('dialog', (dialog) => void dialog.dismiss())
  await page.getByRole('link', { name: 'Keys', exact: true }).click()
  await expect(editor(page)).toHaveValue(/mine/)
  page.once('dialog', (dialog) => void dialog.accept())
  await page.getByRole('link', { name: 'Keys', exact: true }).click()
  await expect(page.getByRole('heading', { level: 1, name: 'Keys' })).toBeVisible()
})

test('when the next rotation is due is shown', async ({ page, request }) => {
  const name = fresh('credential')
  const answer = await request.post(`${control}/api/v1/credentials`, {
    data: { name, engine: 'generated', rotate: { every: '90d' } }, headers: { authorization: `Bearer ${token}` },
  })
  expect(answer.status(), await answer.text()).toBe(201)
  await signedIn(page)
  await page.goto(`/credentials/${name}`)
  const about = page.getByRole('group', { name: 'About' })
  await expect(about).toContainText('Next rotation')
  await expect(about).toContainText('happens by itself')
})
