import { expect, it } from 'vitest'
import { lonely } from './series'

it('finds values between gaps', () => {
  expect(lonely([1, null, 2, 3, null, 0, null, 5])).toEqual([0, 5, 7])
  expect(lonely([null, undefined])).toEqual([])
  expect(lonely([4, 5])).toEqual([])
})
