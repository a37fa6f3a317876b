// The spans of time the overview can show.
export const WINDOWS = ['15m', '1h', '6h', '24h'] as const
export type Window = (typeof WINDOWS)[number]
export const DEFAULT_WINDOW: Window = '1h'

export function isWindow(value: unknown): value is Window {
  return WINDOWS.some((known) => known === value)
}
