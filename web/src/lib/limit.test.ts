import { expect, test } from 'vitest'
import { limitText } from './limit'

test('a limit is told as it is set', () => {
  expect(limitText({ requests: 1000, per: '1m' })).toBe('1,000 requests in 1m')
  expect(limitText({ requests: 10, tokens: 5000, per: '1h', concurrent: 4 })).toBe('10 requests and 5,000 tokens in 1h, 4 at once')
  expect(limitText({ concurrent: 2 })).toBe('2 at once')
})
