// What kinds, findings and moments are called, and how urgent they look. Pure functions.
import type { Biography, Entry, EntryKind, Finding, InventoryQuery, LivingKind, Observed, Rule, Severity } from '@/api/inventory'
import type { Tone } from './state'

export const KINDS: Record<EntryKind, string> = {
  credential: 'Credentials held', login: 'Logins kept', certificate: 'Certificates', signing_key: 'Signing keys', key: 'Keys issued',
  role: 'Run-time roles', secret_id: 'AppRole secret ids', user: 'Run-time users', token: 'Lasting tokens', secrets: 'Key-value secrets', leases: 'Leases', tokens: 'Run-time tokens',
}

export const RULES: Record<Rule, string> = {
  hard_coded: 'Hard-coded', shared: 'Shared', orphaned: 'Orphaned', over_privileged: 'Over-privileged',
  stale: 'Stale', never_used: 'Never used', long_lived: 'Long-lived', weak: 'Weak',
}

const SEVERITIES: Record<Severity, Tone> = { high: 'bad', medium: 'warn', low: 'info', info: 'quiet' }

export function severityTone(severity: Severity): Tone {
  return SEVERITIES[severity]
}

const STATES: Record<Entry['state'], Tone> = { active: 'good', pending: 'info', expired: 'bad', revoked: 'bad' }

export function entryTone(state: Entry['state']): Tone {
  return STATES[state]
}

const MOMENTS: Record<Biography['moments'][number]['what'], Tone> = {
  declared: 'quiet', issued: 'good', rotation: 'info', used: 'accent', exposed: 'bad', noticed: 'warn', ended: 'bad',
}

export function momentTone(what: Biography['moments'][number]['what']): Tone {
  return MOMENTS[what]
}

export function isLiving(kind: EntryKind | string): kind is LivingKind {
  return kind === 'credential' || kind === 'key'
}

/** What the address of the inventory may hold. */
export interface InventorySearch {
  view?: 'findings'
  kind?: EntryKind
  finding?: Rule
  team?: string
  q?: string
}

/** Reads the address; what nobody could have meant is left out. */
export function readInventory(search: Record<string, unknown>): InventorySearch {
  const text = (value: unknown) => (typeof value === 'string' && value ? value : undefined)
  const known = <T extends string>(value: unknown, all: Record<T, string>) =>
    typeof value === 'string' && value in all ? (value as T) : undefined
  const found: InventorySearch = {
    view: search.view === 'findings' ? 'findings' : undefined,
    kind: known(search.kind, KINDS),
    finding: known(search.finding, RULES),
    team: text(search.team),
    q: text(search.q),
  }
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined))
}

/** The same as the API asks for it. */
export function asked({ kind, finding, team, q }: InventorySearch): InventoryQuery {
  return { kind, finding, team, q }
}

/** The most urgent first, and of one urgency those of one credential together. */
export function sorted(findings: Finding[]): Finding[] {
  const order: Severity[] = ['high', 'medium', 'low', 'info']
  return findings.map((finding, index) => ({ finding, index }))
    .sort((a, b) => order.indexOf(a.finding.severity) - order.indexOf(b.finding.severity) || a.index - b.index)
    .map(({ finding }) => finding)
}

/** What the traffic that was looked at does not cover; nothing when it is whole. */
export function gaps(observed: Observed): string | undefined {
  const parts = []
  if (!observed.complete) parts.push('requests were left out because there are very many, or lost')
  if (observed.begins) parts.push(`the call log begins ${observed.begins}`)
  if (observed.other_nodes?.length) parts.push(`the call logs of ${observed.other_nodes.join(', ')} were not looked at`)
  return parts.length ? parts.join('; ') : undefined
}
