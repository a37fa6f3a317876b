// What a limit says, in words.
import { count } from './format'

export interface Limit {
  requests?: number | null
  tokens?: number | null
  per?: string | null
  concurrent?: number | null
}

export function limitText({ requests, tokens, per, concurrent }: Limit): string {
  const counted = [requests && `${count(requests)} requests`, tokens && `${count(tokens)} tokens`].filter(Boolean).join(' and ')
  return [counted && `${counted} in ${per}`, concurrent && `${count(concurrent)} at once`].filter(Boolean).join(', ')
}
