import { expect, test } from '@playwright/test'
import { readFile } from 'node:fs/promises'
import { control, createKey, fresh, gateway, signedIn, token } from './support'

const authorized = { headers: { authorization: `Bearer ${token}` } }

test('what was spent is told by application, model and end user, and saved as a file', async ({ page, request }) => {
  const [application, model] = [fresh('app'), fresh('model')]
  const prices = [{ from: '2020-01-01T00:00:00Z', input: '1', output: '2' }]
  const declare = async (kind: string, data: object) =>
    expect((await request.post(`${control}/api/v1/${kind}`, { data, ...authorized })).status()).toBe(201)
  await declare('models', { name: model, targets: [{ provider: 'sandbox', model: 'sandbox-chat', prices }] })
  await declare('applications', { name: application, allow: { models: [model] }, users: {} })
  await signedIn(page)
  const key = await createKey(page, fresh('key'), application)
  let cost = 0
  for (const user of ['ada', 'ada', 'grace']) {
    const answer = await request.post(`${gateway}/v1/chat/completions`, {
      data: { model, user, messages: [{ role: 'user', content: 'hello' }] },
      headers: { authorization: `Bearer ${key}` },
    })
    expect(answer.status(), await answer.text()).toBe(200)
    const { usage } = await answer.json()
    cost += usage.prompt_tokens + 2 * usage.completion_tokens
  }
  const report = async () => (await request.get(`${control}/api/v1/spend?application=${application}`, authorized)).json()
  await expect.poll(async () => (await report()).total.calls).toBe(3)
  expect(Number((await report()).total.cost_usd) * 1e6).toBeCloseTo(cost, 6)

  await page.goto('/spend')
  const row = page.getByRole('row').filter({ has: page.getByRole('link', { name: application, exact: true }) })
  await expect(row).toContainText('3')
  await expect(page.getByRole('group', { name: 'Spent' })).toContainText('US dollars')
  await expect(page.getByLabel('Spend over time')).toBeVisible()
  await page.getByRole('textbox', { name: 'Told apart by' }).click()
  await page.getByRole('option', { name: 'By end user' }).click()
  await expect(page).toHaveURL(/by=user/)
  await expect(page.getByRole('row').filter({ hasText: 'ada' })).toContainText('2')

  await page.goto('/spend?by=model&span=24h')
  const saved = page.waitForEvent('download')
  await page.getByRole('button', { name: 'Save as CSV' }).click()
  const text = await readFile(await (await saved).path(), 'utf8')
  expect(text.split('\r\n')[0]).toMatch(/^from,to,model,calls,/)
  expect(text).toContain(model)
  await page.getByRole('link', { name: model, exact: true }).click()
  await expect(page).toHaveURL(new RegExp(`/calls\\?model=${model}`))
})
