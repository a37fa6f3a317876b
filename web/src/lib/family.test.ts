import { expect, it } from 'vitest'
import type { DelegatedKey } from '@/api/types'
import { actors, allowed, branchState, endsWith, left, tree } from './family'

const key = (id: string, parent: string, more: Partial<DelegatedKey> = {}): DelegatedKey => ({ id, name: `key-${id}`, parent, exchanged: true, created: '2026-11-23T00:00:00Z', ...more })

it('puts each key below the one that it comes from', () => {
  const branches = tree('root', [key('a', 'root'), key('b', 'root'), key('c', 'a'), key('d', 'c')])
  expect(branches.map(({ key: { id }, depth, below }) => [id, depth, below])).toEqual([['a', 0, 2], ['c', 1, 1], ['d', 2, 0], ['b', 0, 0]])
})

it('does not go round in circles', () => {
  expect(tree('a', [key('b', 'a'), key('a', 'b')]).length).toBeLessThan(40)
})

it('names who acts, the present one first', () => {
  expect(actors({ sub: 'researcher', act: { sub: 'planner' } })).toEqual(['researcher', 'planner'])
  expect(actors(null)).toEqual([])
})

it('tells what a key may use and has left', () => {
  expect(allowed(null)).toBe('as the key above')
  expect(allowed({ routes: [], models: [], prompts: [], tools: {} })).toBe('nothing')
  expect(allowed({ routes: ['orders'], models: ['chat'], prompts: ['greeting'], tools: { github: ['get_*'] } })).toBe('orders, chat, prompt greeting, github: get_*')
  const budget = { left_usd: '0.5', limit_usd: '2', per: 'day' } as NonNullable<DelegatedKey['budgets']>[number]
  expect(left([budget])).toBe('$0.50 of $2.00 (day)')
  expect(left([])).toBeUndefined()
})

it('says how many end with a key', () => {
  const of = (keys_below: number) => endsWith({ keys_below, ancestors: [], exchanged: false, below: [] })
  expect([of(0), of(1), of(1200)]).toEqual(['No other key comes from it.', 'The key that comes from it ends with it.', 'The 1,200 keys that come from it end with it.'])
})

it('tells keys that are over from those in force', () => {
  const now = Date.parse('2026-11-23T12:00:00Z')
  expect(branchState(key('a', 'r', { expires: '2026-11-23T11:59:59Z' }), now).label).toBe('Expired')
  expect(branchState(key('a', 'r', { exchanged: false }), now).label).toBe('Declared')
})
