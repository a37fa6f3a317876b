import { describe, expect, it } from 'vitest'
import { bytes, compact, duration, percent, relative, sentence, title, usd } from './format'

const plain = (text: string) => text.replaceAll('\u00a0', ' ')

describe('numbers', () => {
  it.each([[0, '0'], [7, '7'], [999, '999'], [1234, '1.23k'], [56_700, '56.7k'], [4_560_000, '4.56M'], [2e9, '2B']])('compact %d', (n, text) => {
    expect(compact(n)).toBe(text)
  })
  it.each([[0, '0 µs'], [830, '830 µs'], [1240, '1.24 ms'], [81_000, '81 ms'], [2_100_000, '2.1 s'], [150e6, '2.5 min']])('duration %d', (us, text) => {
    expect(plain(duration(us))).toBe(text)
  })
  it.each([[512, '512 B'], [1536, '1.5 KiB'], [5 << 20, '5 MiB'], [3 * 2 ** 30, '3 GiB']])('bytes %d', (n, text) => {
    expect(plain(bytes(n))).toBe(text)
  })
  it('a share that rounds to nothing is not shown as nothing', () => {
    expect(plain(percent(0.00001))).toBe('<0.01 %')
    expect(plain(percent(0))).toBe('0 %')
    expect(plain(percent(0.0091))).toBe('0.91 %')
  })
})

describe('money', () => {
  it.each([['0', '$0'], ['12.5', '$12.50'], ['1234.567', '$1,234.57'], ['0.000135', '$0.000135'], ['0.0000012', '$0.0000012']])('%s', (amount, text) => {
    expect(usd(amount)).toBe(text)
  })
  it('never shows a small amount as zero', () => {
    for (const amount of ['0.01', '0.001', '0.00001', '0.0000001']) expect(Number(usd(amount).slice(1))).toBeGreaterThan(0)
  })
})

describe('times', () => {
  const now = Date.parse('2026-11-22T12:00:00Z')
  it.each([
    ['2026-11-22T11:59:58Z', 'just now'], ['2026-11-22T11:59:30Z', '30 seconds ago'], ['2026-11-22T11:57:00Z', '3 minutes ago'],
    ['2026-11-21T12:00:00Z', 'yesterday'], ['2026-11-24T12:00:00Z', 'in 2 days'],
  ])('%s', (time, text) => {
    expect(relative(time, now)).toBe(text)
  })
})

it('writes codes as words', () => {
  expect(title('upstream_timeout')).toBe('Upstream timeout')
})

it('makes sentences of messages', () => {
  expect(sentence('the old one is gone')).toBe('The old one is gone.')
  expect(sentence('Try again!')).toBe('Try again!')
})
