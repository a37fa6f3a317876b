import { expect, it } from 'vitest'
import type { CallRow } from '@/api/types'
import { asked, isBill } from './asked'

const call = { path: '/mcp/github', status: 200, total_us: 100, model: null } as CallRow
const model = { model: 'm', provider: 'openai', provider_model: 'p', streamed: false, cost_unknown: false } as NonNullable<CallRow['model']>

it('tells what was asked of an MCP server, and what came of it', () => {
  const mcp = (end: string, name?: string) => asked({ ...call, mcp: { method: 'tools/call', name, end } })
  expect(mcp('result', 'search')).toEqual({ text: 'tools/call search', end: undefined })
  expect(mcp('tool_failed')?.end).toEqual({ tone: 'warn', label: 'tool failed' })
  expect(mcp('error -32602')?.end).toEqual({ tone: 'bad', label: 'error -32602' })
})

it('tells sessions in real time from the answers in them', () => {
  const of = (status: number) => asked({ ...call, path: '/v1/realtime', status, model })?.text
  expect(asked({ ...call, path: '/v1/realtime', status: 200, total_us: 0, model })?.text).toBe('a transcript in the session')
  expect(asked({ ...call, path: '/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent', status: 200, model })?.text).toBe('an answer in the session')
  expect([of(101), of(200), of(403)]).toEqual(['the session as a whole', 'an answer in the session', undefined])
})

it('tells the bill of a batch from questions about it', () => {
  for (const path of ['/v1/batches/batch_1', '/v1/messages/batches/msgbatch_1']) {
    expect(isBill({ ...call, path, model, total_us: 0 })).toBe(true)
    expect(isBill({ ...call, path, model: null, total_us: 900 })).toBe(false)
  }
})

it('names the prompt that a call was made of', () => {
  const made = { ...model, prompt: 'sentiment', prompt_version: 3 }
  expect(asked({ ...call, path: '/v1/responses', model: made })?.text).toBe('prompt sentiment v3')
  expect(asked({ ...call, path: '/v1/responses', model })).toBeUndefined()
})
