// What the spend page can show: the spans of time, what calls are told apart by, and both as the address writes them.
import type { SpendItem, SpendReport } from '@/api/spend'

export const SPANS = ['24h', '7d', '30d', 'month'] as const
export type Span = (typeof SPANS)[number]
export const DEFAULT_SPAN: Span = '30d'
export const SPAN_LABELS: Record<Span, string> = { '24h': '24 hours', '7d': '7 days', '30d': '30 days', month: 'This month' }

export const GROUPS = {
  application: 'Application', team: 'Team', key: 'Key', user: 'End user', model: 'Model', provider: 'Provider',
  provider_model: "Provider's model", credential: 'Credential', route: 'Route', prompt: 'Prompt', outcome: 'Outcome', node: 'Node', agent: 'Agent', root_key: "Agents' first key",
} as const
export type Group = keyof typeof GROUPS
export const DEFAULT_GROUP: Group = 'application'

export interface SpendSearch {
  span?: Span
  by?: Group
}

/** Reads the address; what nobody could have meant is left out. */
export function readSpend(search: Record<string, unknown>): SpendSearch {
  const { span, by } = search
  return {
    ...(SPANS.some((known) => known === span) && { span: span as Span }),
    ...(typeof by === 'string' && Object.hasOwn(GROUPS, by) && { by: by as Group }),
  }
}

const QUARTER = 900_000

/** From when on a span is, on a quarter of an hour, and the steps of its chart. */
export function spanFrom(span: Span, now: number): { from: string; step: 'hour' | 'day' } {
  const hours: Record<Exclude<Span, 'month'>, number> = { '24h': 24, '7d': 168, '30d': 720 }
  if (span === 'month') {
    const at = new Date(now)
    return { from: new Date(Date.UTC(at.getUTCFullYear(), at.getUTCMonth(), 1)).toISOString(), step: 'day' }
  }
  const from = Math.floor(now / QUARTER) * QUARTER - hours[span] * 3_600_000
  return { from: new Date(from).toISOString(), step: span === '24h' ? 'hour' : 'day' }
}

/** The chart of a report by time alone: steps without calls are nought. */
export function spendSeries(report: SpendReport): { times: number[]; values: number[] } {
  const step = report.items.some(({ from, to }) => Date.parse(to) - Date.parse(from) > 3_600_000) ? 86_400 : 3600
  const known = new Map(report.items.map(({ from, cost_usd }) => [Date.parse(from) / 1000, Number(cost_usd)]))
  const [first, last] = [Date.parse(report.from) / 1000, Date.parse(report.to) / 1000]
  const times = [...new Set([first, ...boundaries(first, last, step), ...known.keys()])].sort((a, b) => a - b)
  return { times, values: times.map((time) => known.get(time) ?? 0) }
}

function boundaries(first: number, last: number, step: number): number[] {
  const found = []
  for (let at = (Math.floor(first / step) + 1) * step; at < last; at += step) found.push(at)
  return found
}

/** What a line is called: a key by its name where it is known. */
export function named(item: SpendItem, by: Group): string | undefined {
  return (by === 'key' || by === 'root_key' ? item.key_name : undefined) ?? item.group[by] ?? undefined
}
