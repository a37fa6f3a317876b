import { expect, it } from 'vitest'
import { rotationSteps } from './rotation'

const states = (step: Parameters<typeof rotationSteps>[0]['step']) => rotationSteps({ step }, true).map(({ state }) => state).join(' ')

it('shows what is done, under way and to come', () => {
  expect(states('generate')).toBe('active waiting waiting waiting waiting waiting')
  expect(states('drain')).toBe('done done done done active waiting')
  expect(states('done')).toBe('done done done done done done')
})

it('shows a step that only some rotations have while it is under way', () => {
  expect(states('approve')).toBe('active waiting waiting waiting waiting waiting waiting')
  expect(states('deliver')).toBe('active waiting waiting waiting waiting waiting waiting')
  expect(states('canary')).toBe('done done active waiting waiting waiting waiting')
})

it('does not claim that a version was tried when nothing is declared to try it with', () => {
  const text = (verified: boolean) => rotationSteps({ step: 'done' }, verified)[1]?.text
  expect(text(true)).toContain('Tried')
  expect(text(false)).toContain('untried')
})

it('tells of a rotation that was taken back', () => {
  expect(states('rolled_back')).toBe('failed')
})
