import { expect, it } from 'vitest'
import { rotationSteps } from './rotation'

const states = (step: Parameters<typeof rotationSteps>[0]['step']) => rotationSteps({ step }).map(({ state }) => state).join(' ')

it('shows what is done, under way and to come', () => {
  expect(states('generate')).toBe('active waiting waiting waiting waiting waiting')
  expect(states('drain')).toBe('done done done done active waiting')
  expect(states('done')).toBe('done done done done done done')
})

it('tells of a rotation that was taken back', () => {
  expect(states('rolled_back')).toBe('failed')
})
