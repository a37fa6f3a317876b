// What a call was beyond its path: a message to an MCP server, a prompt, a session in real time, the bill of a batch.
import type { CallRow } from '@/api/types'
import { words } from './format'
import type { Tone } from './state'

export interface Asked {
  text: string
  /** What came of it, where the status does not tell. */
  end?: { tone: Tone; label: string }
}

type Call = Pick<CallRow, 'path' | 'status' | 'total_us' | 'mcp' | 'model'>

/** How an MCP server answered; nothing where that was a result. */
export function mcpEnd(end: string): Asked['end'] {
  if (end === 'result') return undefined
  return end.startsWith('error') ? { tone: 'bad', label: end } : { tone: 'warn', label: words(end) }
}

/** Whether this is no request, but what a batch of calls cost once it was over. */
export function isBill({ path, total_us: took, model }: Call): boolean {
  return took === 0 && Boolean(model) && /^\/v1\/(messages\/)?batches\//.test(path)
}

/** Whether this is an answer or a transcript within a session in real time, which has a line of its own. Transcripts took no time. */
export function isTurn({ path, status, model }: Call): boolean {
  return isRealtime(path) && status === 200 && Boolean(model)
}

/** Where sessions in real time are had: OpenAI's, and Gemini's Live API. */
function isRealtime(path: string): boolean {
  return path === '/v1/realtime' || /^\/{1,2}ws\/google\.ai\.generativelanguage\./.test(path)
}

/** In a line of the call log; undefined where the path says it all. */
export function asked(call: Call): Asked | undefined {
  const { mcp, model, path } = call
  if (mcp) return { text: [mcp.method, mcp.name].filter(Boolean).join(' '), end: mcpEnd(mcp.end) }
  if (isBill(call)) return { text: 'what the batch cost' }
  if (isTurn(call)) return { text: call.total_us === 0 ? 'a transcript in the session' : 'an answer in the session' }
  if (isRealtime(path) && call.status === 101) return { text: 'the session as a whole' }
  if (model?.prompt) return { text: `prompt ${model.prompt} v${model.prompt_version ?? '?'}` }
  return undefined
}
