// How numbers, times and money are written. Pure functions; "now" is passed in.

const NBSP = '\u00a0'

/** A whole number with thousands separators. */
export function count(n: number): string {
  return n.toLocaleString('en-US', { maximumFractionDigits: 0 })
}

/** A number short enough for a tile: 987, 12.3k, 4.56M. */
export function compact(n: number): string {
  const units: [number, string][] = [[1e9, 'B'], [1e6, 'M'], [1e3, 'k']]
  for (const [scale, unit] of units) if (Math.abs(n) >= scale) return `${significant(n / scale)}${unit}`
  return significant(n)
}

/** Three significant digits at most, without an exponent. */
export function significant(n: number): string {
  if (n === 0) return '0'
  const size = Math.abs(n)
  return n.toLocaleString('en-US', { maximumFractionDigits: size >= 100 ? 0 : size >= 10 ? 1 : 2 })
}

/** A duration given in microseconds. */
export function duration(us: number): string {
  if (us < 1000) return `${Math.round(us)}${NBSP}µs`
  if (us < 1e6) return `${significant(us / 1e3)}${NBSP}ms`
  if (us < 120e6) return `${significant(us / 1e6)}${NBSP}s`
  return `${significant(us / 60e6)}${NBSP}min`
}

/** A number of bytes, in steps of 1024. */
export function bytes(n: number): string {
  if (n < 1024) return `${n}${NBSP}B`
  if (n < 1 << 20) return `${significant(n / 1024)}${NBSP}KiB`
  if (n < 1 << 30) return `${significant(n / (1 << 20))}${NBSP}MiB`
  return `${significant(n / (1 << 30))}${NBSP}GiB`
}

/** A share of one, as a percentage. */
export function percent(share: number): string {
  if (share > 0 && share < 0.0001) return `<0.01${NBSP}%`
  return `${significant(share * 100)}${NBSP}%`
}

/** US dollars, exact to what a person can use: cents for amounts, more digits for fractions of a cent. */
export function usd(amount: string | number): string {
  const n = Number(amount)
  if (n === 0) return '$0'
  const digits = Math.abs(n) >= 1 ? 2 : Math.min(8, Math.max(2, 2 - Math.floor(Math.log10(Math.abs(n))) ))
  return n.toLocaleString('en-US', { style: 'currency', currency: 'USD', minimumFractionDigits: 2, maximumFractionDigits: digits })
}

const STEPS: [number, string][] = [[86_400, 'day'], [3600, 'hour'], [60, 'minute']]

/** How long ago, or in how long: "3 minutes ago", "in 2 days". */
export function relative(time: string, now: number): string {
  const seconds = (new Date(time).getTime() - now) / 1000
  const words = new Intl.RelativeTimeFormat('en', { numeric: 'auto' })
  for (const [scale, unit] of STEPS) {
    if (Math.abs(seconds) >= scale) return words.format(Math.trunc(seconds / scale), unit as Intl.RelativeTimeFormatUnit)
  }
  return seconds > 5 ? `in ${Math.round(seconds)} seconds` : seconds < -5 ? `${Math.round(-seconds)} seconds ago` : 'just now'
}

/** Date and time in the reader's own zone, to the second. */
export function dateTime(time: string): string {
  return new Date(time).toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'medium' })
}

/** Time of day to the millisecond, with the date in front when it is not today. */
export function clock(time: string, now: number): string {
  const at = new Date(time)
  const text = at.toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3 })
  const sameDay = at.toDateString() === new Date(now).toDateString()
  return sameDay ? text : `${at.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' })} ${text}`
}

/** A word of the API for people: `upstream_timeout` becomes "upstream timeout". */
export function words(code: string): string {
  return code.replaceAll('_', ' ')
}

/** The same with a capital letter. */
export function title(code: string): string {
  return capital(words(code))
}

/** A message of the API as a sentence: with a capital letter and an end. */
export function sentence(message: string): string {
  return /[.!?]$/.test(message) ? capital(message) : `${capital(message)}.`
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
