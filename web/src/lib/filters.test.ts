import { describe, expect, it } from 'vitest'
import { isLive, narrowed, readSearch, toQuery } from './filters'

describe('the call log’s address', () => {
  it('keeps what it understands and drops the rest', () => {
    expect(readSearch({ route: 'orders', status: 404, slower: '250', past: '1h', live: false, pages: ['a', 7], request: 'x', evil: '1' })).toEqual({
      route: 'orders', status: '404', slower: 250, past: '1h', live: false, pages: ['a'], request: 'x',
    })
    expect(readSearch({ slower: '-1', past: 'always', live: 'no', pages: 'a', route: {} })).toEqual({})
  })

  it('is live on the first page only, unless switched off', () => {
    expect(isLive({})).toBe(true)
    expect(isLive({ pages: [] })).toBe(true)
    expect(isLive({ pages: ['a'] })).toBe(false)
    expect(isLive({ live: false })).toBe(false)
  })

  it('becomes a question to the API', () => {
    const now = Date.parse('2026-11-22T12:00:42Z')
    expect(toQuery({ route: 'orders', slower: 250, past: '15m', pages: ['a', 'b'], request: 'x' }, now, 100)).toEqual({
      limit: 100, route: 'orders', min_duration_ms: 250, since: '2026-11-22T11:45:00.000Z', cursor: 'b',
    })
  })

  it('counts what narrows', () => {
    expect(narrowed({ live: false, request: 'x' })).toBe(0)
    expect(narrowed({ route: 'orders', slower: 1, past: '1h' })).toBe(3)
  })
})

it('asks for the keys below a key, and for versions of a prompt, only with those', () => {
  expect(toQuery(readSearch({ key: 'k', below: true }), 0, 1)).toMatchObject({ key: 'k', with_keys_below: true })
  expect(toQuery(readSearch({ below: true, agent: 'planner' }), 0, 1)).toEqual({ limit: 1, agent: 'planner' })
  expect(toQuery(readSearch({ prompt: 'sentiment', prompt_version: 2 }), 0, 1)).toMatchObject({ prompt: 'sentiment', prompt_version: '2' })
  expect(readSearch({ prompt_version: 2 })).toEqual({})
})
