import { expect, it } from 'vitest'
import type { SpendItem, SpendReport } from '@/api/spend'
import { named, readSpend, spanFrom, spendSeries } from './spend'

const item = (from: string, to: string, cost_usd: string, group: Record<string, string | null> = {}): SpendItem => ({
  from, to, cost_usd, group, calls: 1, calls_of_unknown_cost: 0, calls_of_estimated_cost: 0,
  input_tokens: 2, cached_input_tokens: 0, cache_write_tokens: 0, output_tokens: 3, reasoning_tokens: 0, calls_from_cache: 0, saved_usd: '0',
})

it('reads an address and leaves out what nobody could have meant', () => {
  expect(readSpend({ span: '7d', by: 'user' })).toEqual({ span: '7d', by: 'user' })
  expect(readSpend({ span: '9d', by: 'toString' })).toEqual({})
})

it('begins a span on a quarter of an hour', () => {
  const now = Date.parse('2026-11-23T05:53:34Z')
  expect(spanFrom('24h', now)).toEqual({ from: '2026-11-22T05:45:00.000Z', step: 'hour' })
  expect(spanFrom('month', now)).toEqual({ from: '2026-11-01T00:00:00.000Z', step: 'day' })
})

it('draws days without calls as nought', () => {
  const report = { from: '2026-11-01T12:00:00Z', to: '2026-11-04T00:00:00Z', items: [item('2026-11-03T00:00:00Z', '2026-11-04T00:00:00Z', '0.5')] } as SpendReport
  expect(spendSeries(report).values).toEqual([0, 0, 0.5])
})

it('calls a key by its name', () => {
  expect(named({ ...item('a', 'b', '1', { key: '01' }), key_name: 'live' }, 'key')).toBe('live')
  expect(named(item('a', 'b', '1', { user: null }), 'user')).toBeUndefined()
})
