// What the browser tests share: where the server is, what they set up there, and signing in.
import { expect, type APIRequestContext, type Page } from '@playwright/test'

/** The control listener. */
export const control = need('CREDENTIALFLOW_URL')
/** The gateway listener. */
export const gateway = need('CREDENTIALFLOW_GATEWAY_URL')
/** The administrator's token. */
export const token = need('CREDENTIALFLOW_ADMIN_TOKEN')

function need(name: string): string {
  const value = process.env[name]
  if (!value) throw new Error(`${name} is not set: start a server and name it, see web/README.md`)
  return value.replace(/\/$/, '')
}

/** A name that no earlier run has used. */
export function fresh(word: string): string {
  return `e2e-${word}-${Date.now().toString(36)}${Math.floor(Math.random() * 1296).toString(36)}`
}

/** Signs the page's browser in without going through the form. */
export async function signedIn(page: Page): Promise<void> {
  const answer = await page.request.post('/api/v1/session', { data: { token } })
  expect(answer.status(), await answer.text()).toBe(200)
}

export interface World {
  application: string
  credential: string
  route: string
  /** An address on the gateway that the sandbox answers only when the credential is injected. */
  url: string
}

/** Declares an application that may call a route to the built-in sandbox with an injected credential. */
export async function world(request: APIRequestContext): Promise<World> {
  const [application, credential, upstream, route] = ['app', 'credential', 'upstream', 'route'].map(fresh) as [string, string, string, string]
  const create = async (kind: string, data: object) => {
    const answer = await request.post(`${control}/api/v1/${kind}`, { data, headers: { authorization: `Bearer ${token}` } })
    expect(answer.status(), await answer.text()).toBe(201)
  }
  await create('credentials', { name: credential, engine: 'static', secret: fresh('secret') })
  await create('upstreams', { name: upstream, endpoints: ['sandbox://rest'], inject: { bearer: credential } })
  await create('routes', { name: route, match: { path: `/${route}/*` }, upstream, authenticate: ['api_key'], strip_prefix: `/${route}` })
  await create('applications', { name: application, allow: { routes: [route] } })
  return { application, credential, route, url: `${gateway}/${route}/items` }
}

/** The status with which the gateway answers a key. */
export async function statusWith(request: APIRequestContext, url: string, key: string): Promise<number> {
  return (await request.get(url, { headers: { authorization: `Bearer ${key}` } })).status()
}

/** Fills the form for a new key, sends it, and returns the secret shown. */
export async function createKey(page: Page, name: string, application: string): Promise<string> {
  await page.goto('/keys')
  await page.getByRole('button', { name: 'Create a key' }).first().click()
  const dialog = page.getByRole('dialog', { name: 'Create a key' })
  await dialog.getByLabel('Name').fill(name)
  await dialog.getByRole('textbox', { name: 'Application' }).fill(application)
  await page.getByRole('option', { name: application }).click()
  await dialog.getByRole('button', { name: 'Create the key' }).click()
  return takeSecret(page)
}

/** Reads the secret from the dialog that shows it once, and closes it. */
export async function takeSecret(page: Page): Promise<string> {
  const dialog = page.getByRole('dialog', { name: 'Your key' })
  const secret = await dialog.locator('code').first().innerText()
  expect(secret).toMatch(/^[a-z0-9]+_[a-z0-9]+_[0-9a-z]{12}_[0-9A-Za-z]{38}$/)
  await dialog.getByLabel('I have stored the key').check()
  await dialog.getByRole('button', { name: 'Done' }).click()
  await expect(dialog).toBeHidden()
  return secret
}

/** What proves the administrator to the admin API. */
export const authorized = { headers: { authorization: `Bearer ${token}` } }

/** A version that repeats what it is told, as the sandbox does, and one that is told nothing of it. */
const REPEATS = { version: 1, system: 'Judge the mood of a text in one word.', messages: [{ role: 'user', content: '{{text}}' }] }
const FORGETS = { version: 2, description: 'Shorter', system: 'Judge the mood of a text in two words.', messages: [{ role: 'user', content: 'What is it?' }], parameters: { temperature: 0 } }

/** A prompt with two versions and a test that only the first one passes, and an application that may use its model. */
export async function declaredPrompt(request: APIRequestContext) {
  const [application, model, name] = [fresh('app'), fresh('model'), fresh('prompt')]
  const declare = async (kind: string, data: object) => {
    const answer = await request.post(`${control}/api/v1/${kind}`, { data, ...authorized })
    expect(answer.status(), await answer.text()).toBe(201)
  }
  await declare('models', { name: model, targets: [{ provider: 'sandbox', model: 'sandbox-chat' }] })
  const tests = [{ name: 'likes', variables: { text: 'I love it' }, checks: [{ contains: 'love' }, { max_length: 1000 }] }]
  const prompt = { name, model, description: 'Says how a text feels', variables: { text: { type: 'string', max_length: 200 }, tone: { type: 'enum', values: ['short', 'long'], default: 'short' } }, versions: [REPEATS, FORGETS], tests }
  await declare('prompts', prompt)
  await declare('applications', { name: application, allow: { models: [model], prompts: [name] } })
  return { application, prompt }
}

interface Family {
  main: string
  /** A declared key below it, and one that it issued at the token endpoint below that. */
  planner: string
  agent: string
  secrets: { main: string; planner: string; agent: string }
  url: string
  route: string
}

/** Three generations of keys: the first one may issue others. */
export async function family(request: APIRequestContext): Promise<Family> {
  const { application, route, url } = await world(request)
  const [main, planner] = [fresh('main'), fresh('planner')]
  const create = async (data: object) => {
    const answer = await request.post(`${control}/api/v1/keys`, { data: { application, ...data }, ...authorized })
    expect(answer.status(), await answer.text()).toBe(201)
    return (await answer.json()) as { key: { id: string }; secret: string }
  }
  const first = await create({ name: main, subject: 'alice@example.com', delegate: { depth: 2 } })
  const second = await create({ name: planner, parent: main, actor: { name: `${planner}-bot`, purpose: 'plans the day' }, allow: { routes: [route] }, budget: { usd: 2, per: 'day', hard: true }, delegate: {} })
  const answer = await request.post(`${control}/oauth2/token`, {
    form: { grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange', subject_token: second.secret, subject_token_type: 'urn:ietf:params:oauth:token-type:access_token', actor: 'researcher', budget_usd: '0.50', expires_in: '600' },
  })
  expect(answer.status(), await answer.text()).toBe(200)
  const issued = (await answer.json()) as { access_token: string; key: string }
  return { main, planner, agent: issued.key, secrets: { main: first.secret, planner: second.secret, agent: issued.access_token }, url, route }
}
