import { expect, it } from 'vitest'
import type { AuditEvent, Prompt, PromptRun } from '@/api/prompts'
import { callCommand, compare, historyOf, isPromotable, labelsOf, parts, readPrompt, shownVersion, testState, toldEvent, versionBefore, wrong } from './prompts'

const prompt: Prompt = {
  name: 'sentiment',
  model: 'chat',
  variables: { text: { type: 'string', max_length: 5 } },
  versions: [
    { version: 1, system: 'Judge in one word.', messages: [{ role: 'user', content: '{{text}}' }] },
    { version: 2, system: 'Judge in two words.', messages: [{ role: 'user', content: '{{text}}' }], parameters: { temperature: 0 } },
  ],
  labels: { next: 2, production: 1, beta: 2 },
  tests: [{ name: 'likes', variables: { text: 'fine' }, checks: [{ contains: 'good' }] }],
} as unknown as Prompt
const [first, second] = prompt.versions as [Prompt['versions'][number], Prompt['versions'][number]]
const run = (version: number, passed: boolean, present = true, number = 1): PromptRun => ({ prompt: 'sentiment', version, run: number, passed, present, time: '2026-11-23T00:00:00Z', actor: 'admin', tests: [] })

it('shows what is different, word by word', () => {
  const compared = compare(parts(prompt, first), parts(prompt, second))
  expect(compared.map(({ name, changed }) => [name, changed])).toEqual([['System prompt', true], ['Message 1, user', false], ['Model', false], ['Parameters', true]])
  const pieces = compared[0]?.pieces ?? []
  const read = (without: string) => pieces.filter(({ is }) => is !== without).map(({ text }) => text).join('')
  expect([read('added'), read('removed')]).toEqual(['Judge in one word.', 'Judge in two words.'])
  expect(pieces[0]).toEqual({ is: 'same', text: 'Judge in ' })
  expect(compared[3]?.pieces).toEqual([{ is: 'added', text: 'temperature: 0' }])
})

it('shows what went where it stood', () => {
  const compared = compare(parts(prompt, second), parts(prompt, first))
  expect(compared.at(-1)).toEqual({ name: 'Parameters', changed: true, pieces: [{ is: 'removed', text: 'temperature: 0' }] })
})

it('compares texts that have nothing in common in bounded time', () => {
  const words = (seed: number) => Array.from({ length: 60_000 }, (_, n) => `w${(n * seed) % 99_991}`).join(' ')
  const began = performance.now()
  const [part] = compare([{ name: 'a', text: words(7919) }], [{ name: 'a', text: words(6101) }])
  expect(performance.now() - began).toBeLessThan(5000)
  expect(part?.changed).toBe(true)
})

it('shows the version in production unless another one is asked for', () => {
  expect(shownVersion(prompt)?.version).toBe(1)
  expect(shownVersion(prompt, 2)?.version).toBe(2)
  expect(shownVersion({ ...prompt, labels: {} })?.version).toBe(2)
  expect(shownVersion(prompt, 9)?.version).toBe(1)
  expect(labelsOf(prompt, 2)).toEqual(['beta', 'next'])
})

it('lets labels move only to what passed the present tests', () => {
  const of = (runs: PromptRun[]) => [testState(prompt, runs, 2).label, isPromotable(prompt, runs, 2)]
  expect(of([])).toEqual(['Not run', false])
  expect(of([run(1, true)])).toEqual(['Not run', false])
  expect(of([run(2, true, false)])).toEqual(['To be run again', false])
  expect(of([run(2, false, true, 2), run(2, true)])).toEqual(['Failed', false])
  expect(of([run(2, true, true, 2), run(2, false)])).toEqual(['Passed', true])
  expect([testState({ ...prompt, tests: [] }, [], 2).label, isPromotable({ ...prompt, tests: [] }, [], 2)]).toEqual(['No tests', true])
})

it('tells what happened, and why', () => {
  const told = (action: string, detail: object) => toldEvent({ action, detail: detail as AuditEvent['detail'] })
  expect(told('prompt.label', { label: 'production', from: 1, version: 2, reason: 'shorter' })).toEqual({ what: 'production moved from version 1 to 2', why: 'shorter' })
  expect(told('prompt.label', { label: 'production', from: null, version: 2 }).what).toBe('production is version 2')
  expect(told('prompt.label', { label: 'next', from: 2, version: null }).what).toBe('next was taken away; it was version 2')
  expect(told('prompt.test', { version: 2, passed: false, failed: ['likes'] }).what).toBe('Tests of version 2 failed (likes)')
  expect(told('prompt.version', { added: [3], removed: [1, 2] }).what).toBe('Version 3 added; Versions 1, 2 removed')
  expect(told('prompt.update', { revision: 7 }).what).toBe('Declaration changed (revision 7)')
})

it('tells a write once, by what it did', () => {
  const events = [[5, 'prompt.update'], [4, 'prompt.update'], [3, 'prompt.label'], [2, 'prompt.create'], [1, 'prompt.version']].map(([seq, action]) => ({ seq, action }) as unknown as AuditEvent)
  expect(historyOf(events).map(({ seq }) => seq)).toEqual([5, 3, 2, 1])
})

it('knows the way back', () => {
  const event = (label: string, from: number | null, version: number) => ({ action: 'prompt.label', detail: { label, from, version } }) as unknown as AuditEvent
  expect(versionBefore(prompt, [event('next', 1, 2), event('production', 2, 1), event('production', null, 2)], 'production')).toBe(2)
  expect(versionBefore(prompt, [event('production', null, 1)], 'production')).toBeUndefined()
  expect(versionBefore(prompt, [event('production', 9, 1)], 'production')).toBeUndefined()
})

it('writes a call for a shell, whatever stands in it', () => {
  const command = callCommand('sentiment', undefined, { text: "it's", strict: false, left: undefined })
  expect(command).toContain(`-d '{"prompt":{"id":"sentiment","variables":{"text":"it'\\''s","strict":false}}}'`)
})

it('says what is wrong with a value', () => {
  const of = (variable: object, value: string | number | boolean | undefined) => wrong(variable as never, value)
  expect(of({ type: 'string', max_length: 5 }, 'sixsix')).toBe('At most 5 characters')
  expect(of({ type: 'string', max_length: 5 }, 'äöüßé')).toBeUndefined()
  expect(of({ type: 'integer' }, 1.5)).toBe('A whole number')
  expect(of({ type: 'integer' }, undefined)).toBe('It must be handed in')
  expect(of({ type: 'integer', default: 3 }, undefined)).toBeUndefined()
  expect(of({ type: 'string', required: false }, '')).toBeUndefined()
})

it('reads its address', () => {
  expect(readPrompt({ version: 2, against: '1', run: '2-7' })).toEqual({ version: 2, against: 1, run: '2-7' })
  expect(readPrompt({ version: -1, against: 'x', run: '2.7' })).toEqual({})
})
