import { expect, it } from 'vitest'
import type { Finding, Observed } from '@/api/inventory'
import { asked, gaps, isLiving, readInventory, sorted } from './inventory'

it('reads an address and leaves out what nobody could have meant', () => {
  expect(readInventory({ view: 'findings', kind: 'key', finding: 'stale', team: 'payments', q: 'a' }))
    .toEqual({ view: 'findings', kind: 'key', finding: 'stale', team: 'payments', q: 'a' })
  expect(readInventory({ view: 'x', kind: 'keys', finding: 7, team: '', q: ['a'] })).toEqual({})
  expect(asked({ view: 'findings', kind: 'key' })).toEqual({ kind: 'key', finding: undefined, team: undefined, q: undefined })
})

it('puts the most urgent first and keeps the order otherwise', () => {
  const finding = (name: string, severity: Finding['severity']) => ({ name, severity }) as Finding
  const all = [finding('a', 'low'), finding('b', 'high'), finding('c', 'info'), finding('d', 'high')]
  expect(sorted(all).map(({ name }) => name)).toEqual(['b', 'd', 'a', 'c'])
})

it('says what the traffic that was looked at does not cover', () => {
  const observed: Observed = { since: '2026-11-01T00:00:00Z', until: '2026-11-02T00:00:00Z', requests: 1, complete: true }
  expect(gaps(observed)).toBeUndefined()
  expect(gaps({ ...observed, complete: false, other_nodes: ['b'] }))
    .toBe('requests were left out because there are very many, or lost; the call logs of b were not looked at')
})

it('knows which kinds have a life', () => {
  expect(['credential', 'key', 'leases'].map(isLiving)).toEqual([true, true, false])
})
