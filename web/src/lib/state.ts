// What a state means to people: a word and a tone. Pure functions; "now" is passed in.
import type { CallRow, CredentialItem, KeyItem, VersionState } from '@/api/types'

export type Tone = 'good' | 'warn' | 'bad' | 'info' | 'accent' | 'quiet'
export interface State {
  tone: Tone
  label: string
}

const DAY = 86_400_000

/** Whether a key is accepted, and for how much longer. */
export function keyState(key: KeyItem, now: number): State {
  if (key.revoked) return { tone: 'bad', label: 'Revoked' }
  const { expires, not_before: notBefore } = key.spec
  const until = expires ? new Date(expires).getTime() - now : Infinity
  if (until <= 0) return { tone: 'bad', label: 'Expired' }
  if (notBefore && new Date(notBefore).getTime() > now) return { tone: 'info', label: 'Not valid yet' }
  if (until < 7 * DAY) return { tone: 'warn', label: 'Expires soon' }
  if (liveSecrets(key).length > 1) return { tone: 'info', label: 'Rotating' }
  return { tone: 'good', label: 'Active' }
}

/** The secrets of a key that are accepted now. */
export function liveSecrets(key: KeyItem): KeyItem['secrets'] {
  return key.secrets.filter(({ state }) => state === 'current' || state === 'previous')
}

const VERSION_TONES: Record<VersionState, Tone> = {
  pending: 'info', canary: 'info', current: 'good', previous: 'warn', destroyed: 'quiet', failed: 'bad', expired: 'bad', revoked: 'bad',
}

export function versionTone(state: VersionState): Tone {
  return VERSION_TONES[state]
}

/** A request in one glance: served well, the caller's fault, or ours and the upstream's. */
export function callTone({ outcome, fault, status }: Pick<CallRow, 'outcome' | 'fault' | 'status'>): Tone {
  if (outcome === 'served') return status >= 500 ? 'bad' : status >= 400 ? 'warn' : 'good'
  return fault === 'caller' ? 'warn' : 'bad'
}

/** Whether a credential can be injected, and what is happening to it. */
export function credentialState({ spec, current_version: current, rotation, rotation_due: due }: CredentialItem, now: number): State {
  if (spec.expires && new Date(spec.expires).getTime() <= now) return { tone: 'bad', label: 'Expired' }
  if (rotation && !rotation.finished) return { tone: 'info', label: 'Rotating' }
  if (!current) return { tone: 'bad', label: 'No usable version' }
  if (due && new Date(due).getTime() <= now) return { tone: 'warn', label: 'Rotation due' }
  return { tone: 'good', label: 'In use' }
}

/** Whether the cache of a model answered, so that the provider was not asked. */
export function isFromCache(cache: NonNullable<CallRow['model']>['cache']): boolean {
  return cache === 'hit' || cache === 'similar'
}
