// One request told from the caller to the outcome.
import type { CallRow } from '@/api/types'
import { isBill } from './asked'
import { duration, title } from './format'
import { callTone, type Tone } from './state'

export interface Chapter {
  title: string
  text: string
  state: 'done' | 'failed' | 'waiting'
}

/** The chapters of a request. Those it never came to are marked as waiting. */
export function story(call: CallRow): Chapter[] {
  const refused = call.outcome !== 'served'
  const caller: Chapter = call.key
    ? { title: `Key ${call.key}`, text: `${call.application ?? 'unknown application'} from ${call.source}`, state: 'done' }
    : { title: 'No known key', text: `from ${call.source}`, state: call.outcome === 'unauthenticated' ? 'failed' : 'done' }
  const route: Chapter = call.route
    ? { title: `Route ${call.route}`, text: `${call.method} ${call.path}`, state: 'done' }
    : { title: 'No route', text: `${call.method} ${call.path}`, state: 'failed' }
  const credential: Chapter = call.credential
    ? { title: `Credential ${call.credential}`, text: `Version ${call.credential_version} was injected`, state: 'done' }
    : { title: 'No credential injected', text: call.upstream_status || !refused ? 'The upstream takes none' : 'The request did not come this far', state: 'waiting' }
  const upstream: Chapter = call.upstream
    ? { title: `Upstream ${call.upstream}`, text: upstreamText(call), state: refused && call.fault === 'upstream' ? 'failed' : call.attempts ? 'done' : 'waiting' }
    : { title: 'No upstream reached', text: 'The request did not come this far', state: 'waiting' }
  const outcome: Chapter = {
    title: title(call.outcome),
    text: isBill(call) ? 'Written when the batch was over, with what all its calls cost' : call.status ? `Status ${call.status}${call.total_us > 0 ? ` after ${duration(call.total_us)}` : ''}` : `No answer was sent; ended after ${duration(call.total_us)}`,
    state: refused ? 'failed' : 'done',
  }
  return [caller, route, credential, upstream, outcome]
}

function upstreamText(call: CallRow): string {
  const tries = call.attempts > 1 ? ` on try ${call.attempts}` : ''
  const at = call.endpoint ? `${call.endpoint} ` : ''
  return call.upstream_status ? `${at}answered ${call.upstream_status}${tries}${call.upstream_us > 0 ? ` in ${duration(call.upstream_us)}` : ''}` : `${at}did not answer`
}

export interface Span {
  label: string
  us: number
  /** Where it begins and how long it is, as shares of the whole. */
  start: number
  share: number
  tone: Tone
}

/** The parts of the total time. */
export function spans(call: CallRow): Span[] {
  const total = Math.max(call.total_us, 1)
  const upstream = Math.min(call.upstream_us, total)
  const own = total - upstream
  const begin = Math.max(0, Math.min(own, call.ttfb_us - upstream)) / total
  return [
    { label: 'Total', us: call.total_us, start: 0, share: 1, tone: callTone(call) },
    { label: 'First byte', us: call.ttfb_us, start: 0, share: Math.min(1, call.ttfb_us / total), tone: 'info' },
    { label: 'Upstream', us: call.upstream_us, start: begin, share: upstream / total, tone: 'accent' },
  ]
}
