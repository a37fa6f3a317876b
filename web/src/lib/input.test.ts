import { expect, it } from 'vitest'
import { isBlanked, isName, isNetwork, isPeriod } from './input'

it.each(['10.0.0.0/8', '192.168.1.7/32', '2001:db8::/32', '::/0'])('%s is a network', (text) => expect(isNetwork(text)).toBe(true))
it.each(['', '10.0.0.0', '10.0.0.0/33', '300.0.0.0/8', '2001:db8::/129', 'a/8', '10.0.0.0/8/8'])('%s is none', (text) => expect(isNetwork(text)).toBe(false))
it.each(['30s', '15m', '24h', '90d', '1500ms'])('%s is a duration', (text) => expect(isPeriod(text)).toBe(true))
it.each(['', '0s', '1.5h', '24', '1w', ' 1h'])('%s is none', (text) => expect(isPeriod(text)).toBe(false))
it('names are plain', () => {
  expect(isName('checkout-production.v2')).toBe(true)
  for (const bad of ['', '-a', 'A', 'a b', 'a'.repeat(129)]) expect(isName(bad)).toBe(false)
})
it('a value of six bytes is looked for in answers, a shorter one is not', () => {
  expect(['', '123456', 'äöü', 'canary-1'].map(isBlanked)).toEqual([true, true, true, true])
  expect(['1', '12345', 'äö1'].map(isBlanked)).toEqual([false, false, false])
})
