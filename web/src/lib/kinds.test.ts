import { expect, it } from 'vitest'
import { isDeclaredKind, KINDS, summary } from './kinds'

it('tells a resource in one line', () => {
  expect(summary('routes', { match: { path: '/orders/*', methods: ['GET', 'POST'] }, upstream: 'orders' })).toBe('GET, POST /orders/* → orders')
  expect(summary('routes', { match: { path: '/sentiment' }, prompt: { name: 'sentiment' } })).toBe('/sentiment → the prompt sentiment')
  expect(summary('routes', { match: { path: '/mcp' }, mcp: { servers: [{ name: 'a', upstream: 'one' }, { name: 'b', upstream: 'two' }] } })).toBe('/mcp → one, two')
  expect(summary('upstreams', { endpoints: ['http://a', 'http://b'] })).toBe('http://a, http://b')
  expect(summary('upstreams', { endpoints: [], provider: 'openai' })).toBe('provider openai')
  expect(summary('upstreams', { endpoints: ['http://a'], provider: 'openai', credentials: [{ name: 'one', weight: 3 }, { name: 'two', models: ['gpt-5*'] }] }))
    .toBe('http://a with one, two')
  expect(summary('models', { targets: [{ provider: 'openai', model: 'gpt-5-mini' }] })).toBe('openai gpt-5-mini')
  expect(summary('applications', { team: 'payments', allow: { routes: ['orders'], models: ['chat'] } })).toBe('of payments, may use orders, chat')
  expect(summary('targets', { system: 'mysql', host: 'db', username: 'cf' })).toBe('mysql at db as cf')
  expect(summary('stores', { kind: 'aws', region: 'eu-central-1' })).toBe('aws eu-central-1')
  expect(summary('leak_responses', { keys: { action: 'revoke', rotate: true }, credentials: { action: 'notify_only', rotate: false }, by_application: { a: {} } }))
    .toBe('keys: revoke and rotate; credentials: notify only; 1 different')
  expect(summary('guardrails', { name: 'a', rules: [{ detect: 'personal_data', action: 'redact' }, { detect: 'size', action: 'block' }] }))
    .toBe('personal data: redact, size: block')
  expect(summary('prompts', { model: 'chat', versions: [{ version: 1 }, { version: 2 }], labels: { production: 1 } })).toBe('to chat, 2 versions (production 1)')
  expect(summary('prompts', { model: 'chat', versions: [{ version: 1 }] })).toBe('to chat, 1 version')
  expect(summary('applications', {})).toBe('may use nothing yet')
  expect(summary('teams', {})).toBe('')
})

it('begins every kind with a document that has a name', () => {
  for (const { template } of KINDS) expect(template).toMatch(/^name: [a-z-]+\n/)
})

it('knows the kinds that are declared', () => {
  expect(isDeclaredKind('routes')).toBe(true)
  expect(isDeclaredKind('sessions')).toBe(false)
})
