import { expect, it } from 'vitest'
import type { CallRow } from '@/api/types'
import { spans, story } from './story'

const served: CallRow = {
  time: '2026-11-22T12:00:00Z', request_id: '01JCQ6Z5V9W3T1Y8K2M4N6P8R0', trace_id: '0'.repeat(32), source: '10.0.0.7',
  application: 'checkout', key: '7m2k9q4x1c8v', route: 'orders', method: 'GET', path: '/orders/1', upstream: 'orders',
  endpoint: '10.2.0.7:9001', credential: 'orders-token', credential_version: 4, outcome: 'served', fault: 'none', status: 200,
  upstream_status: 200, attempts: 1, bytes_in: 0, bytes_out: 12, total_us: 1000, upstream_us: 800, ttfb_us: 900,
}

it('tells a served request from the key to the answer', () => {
  const chapters = story(served)
  expect(chapters.map(({ state }) => state)).toEqual(['done', 'done', 'done', 'done', 'done'])
  expect(chapters[2]).toMatchObject({ title: 'Credential orders-token', text: 'Version 4 was injected' })
})

it('shows how far a refused request came', () => {
  const refused: CallRow = {
    ...served, application: null, key: null, upstream: null, endpoint: null, credential: null, credential_version: null,
    outcome: 'unauthenticated', fault: 'caller', status: 401, upstream_status: 0, attempts: 0, upstream_us: 0,
  }
  expect(story(refused).map(({ state }) => state)).toEqual(['failed', 'done', 'waiting', 'waiting', 'failed'])
})

it('blames the upstream when it did not answer', () => {
  const [, , , upstream] = story({ ...served, outcome: 'upstream_timeout', fault: 'upstream', status: 504, upstream_status: 0, attempts: 2 })
  expect(upstream).toMatchObject({ state: 'failed', text: '10.2.0.7:9001 did not answer' })
})

it('keeps every part of the time within the whole', () => {
  for (const call of [served, { ...served, upstream_us: 5000, ttfb_us: 9000 }, { ...served, total_us: 0, upstream_us: 0, ttfb_us: 0 }]) {
    for (const { start, share } of spans(call)) {
      expect(start).toBeGreaterThanOrEqual(0)
      expect(start + share).toBeLessThanOrEqual(1 + 1e-9)
    }
  }
})
