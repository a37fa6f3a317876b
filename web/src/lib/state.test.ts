import { expect, it } from 'vitest'
import type { CredentialItem, KeyItem } from '@/api/types'
import { callTone, credentialState, keyState } from './state'

const now = Date.parse('2026-11-22T12:00:00Z')
const key = (spec: Partial<KeyItem['spec']>, more: Partial<KeyItem> = {}): KeyItem => ({
  spec: { name: 'k', application: 'a', ...spec } as KeyItem['spec'],
  id: '7m2k9q4x1c8v', revision: 1, created: '2026-11-01T00:00:00Z', updated: '2026-11-01T00:00:00Z',
  secrets: [{ version: 1, state: 'current', created: '2026-11-01T00:00:00Z' }],
  ...more,
})

it('says how a key stands, the worst first', () => {
  expect(keyState(key({}), now).label).toBe('Active')
  expect(keyState(key({ expires: '2026-11-24T00:00:00Z' }), now).label).toBe('Expires soon')
  expect(keyState(key({ expires: '2026-11-22T12:00:00Z' }), now).label).toBe('Expired')
  expect(keyState(key({ not_before: '2026-12-01T00:00:00Z' }), now).label).toBe('Not valid yet')
  const rotating = { secrets: [2, 1].map((version) => ({ version, state: version === 2 ? 'current' as const : 'previous' as const, created: '2026-11-01T00:00:00Z' })) }
  expect(keyState(key({}, rotating), now).label).toBe('Rotating')
  expect(keyState(key({ expires: '2020-01-01T00:00:00Z' }, { revoked: '2026-11-20T00:00:00Z' }), now).label).toBe('Revoked')
})

it('colours a call by whose fault it is', () => {
  expect(callTone({ outcome: 'served', fault: 'none', status: 200 })).toBe('good')
  expect(callTone({ outcome: 'served', fault: 'none', status: 404 })).toBe('warn')
  expect(callTone({ outcome: 'served', fault: 'none', status: 500 })).toBe('bad')
  expect(callTone({ outcome: 'rate_limited', fault: 'caller', status: 429 })).toBe('warn')
  expect(callTone({ outcome: 'upstream_timeout', fault: 'upstream', status: 504 })).toBe('bad')
})

it('says when a credential waits for its rotation', () => {
  const credential = (more: Partial<CredentialItem>): CredentialItem => ({
    spec: { name: 'c', engine: 'static' } as CredentialItem['spec'],
    revision: 1, created: '2026-11-01T00:00:00Z', updated: '2026-11-01T00:00:00Z', current_version: 1, ...more,
  })
  const label = (more: Partial<CredentialItem>) => credentialState(credential(more), now).label
  expect(label({})).toBe('In use')
  expect(label({ rotation_due: '2026-11-22T12:00:01Z' })).toBe('In use')
  expect(label({ rotation_due: '2026-11-22T12:00:00Z' })).toBe('Rotation due')
  expect(label({ rotation_due: '2026-11-01T00:00:00Z', current_version: undefined })).toBe('No usable version')
})
