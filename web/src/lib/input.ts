// What people may type into forms. The server decides; these only answer sooner.

/** A duration such as 30s, 15m, 24h or 90d. */
export function isPeriod(text: string): boolean {
  return /^[1-9][0-9]*(ms|s|m|h|d)$/.test(text)
}

/** The name of a resource. */
export function isName(text: string): boolean {
  return /^[a-z0-9][a-z0-9._-]{0,127}$/.test(text)
}

/** An address with a prefix length, IPv4 or IPv6. */
export function isNetwork(text: string): boolean {
  const [address = '', length = '', rest] = text.split('/')
  if (rest !== undefined || !/^\d{1,3}$/.test(length)) return false
  if (/^\d{1,3}(\.\d{1,3}){3}$/.test(address)) {
    return address.split('.').every((part) => Number(part) <= 255) && Number(length) <= 32
  }
  return /^[0-9a-f:]+$/i.test(address) && address.includes(':') && Number(length) <= 128
}

export const NAME_HINT = 'Use a-z, 0-9, dot, hyphen and underscore, beginning with a letter or digit'
export const PERIOD_HINT = 'A whole number and a unit, as in 30s, 15m, 24h or 90d'

/** Whether a value is long enough to be looked for in answers, where an upstream may repeat it; one not typed yet counts as such. */
export function isBlanked(secret: string): boolean {
  return secret === '' || new TextEncoder().encode(secret).length >= 6
}
