// The call log's filters as they stand in the address, so that a view can be shared and bookmarked.
import type { CallQuery } from '@/api/types'

export const FILTERS = ['application', 'key', 'route', 'upstream', 'credential', 'model', 'prompt', 'prompt_version', 'agent', 'outcome', 'status'] as const
export type Filter = (typeof FILTERS)[number]

export interface CallSearch extends Partial<Record<Filter, string>> {
  /** With a key: also the keys that come from it. */
  below?: true
  /** Only calls at least this slow, in milliseconds. */
  slower?: number
  /** How far back, as in 15m; everything when absent. */
  past?: string
  /** Live tail is on unless this is false. */
  live?: false
  /** Pages further back; the last one is shown. */
  pages?: string[]
  /** The request whose story is open. */
  request?: string
}

const PAST: Record<string, number> = { '15m': 15 * 60e3, '1h': 3600e3, '6h': 6 * 3600e3, '24h': 24 * 3600e3, '7d': 7 * 24 * 3600e3 }
export const PAST_CHOICES = Object.keys(PAST)

/** Reads an address; anything not understood is left out. */
export function readSearch(search: Record<string, unknown>): CallSearch {
  const found: CallSearch = {}
  for (const name of FILTERS) {
    const value = search[name]
    if (typeof value === 'string' || typeof value === 'number') found[name] = String(value)
  }
  const slower = Number(search.slower)
  if (Number.isInteger(slower) && slower > 0) found.slower = slower
  if (typeof search.past === 'string' && search.past in PAST) found.past = search.past
  if (search.live === false) found.live = false
  if (search.below === true && found.key) found.below = true
  // A version is one of a prompt.
  if (!found.prompt) delete found.prompt_version
  if (Array.isArray(search.pages)) found.pages = search.pages.filter((page) => typeof page === 'string')
  if (typeof search.request === 'string') found.request = search.request
  return found
}

/** Whether calls newer than the ones shown are added at the top. */
export function isLive(search: CallSearch): boolean {
  return search.live !== false && !search.pages?.length
}

/** The question to the API. Times are rounded to a minute so that a live view keeps one cache entry. */
export function toQuery(search: CallSearch, now: number, limit: number): CallQuery {
  const query: CallQuery = { limit }
  for (const name of FILTERS) if (search[name]) Object.assign(query, { [name]: search[name] })
  if (search.key && search.below) query.with_keys_below = true
  if (search.slower) query.min_duration_ms = search.slower
  const past = search.past && PAST[search.past]
  if (past) query.since = new Date(Math.floor((now - past) / 60e3) * 60e3).toISOString()
  const cursor = search.pages?.at(-1)
  if (cursor) query.cursor = cursor
  return query
}

/** How many filters narrow the view. */
export function narrowed(search: CallSearch): number {
  return FILTERS.filter((name) => search[name]).length + (search.below ? 1 : 0) + (search.slower ? 1 : 0) + (search.past ? 1 : 0)
}
