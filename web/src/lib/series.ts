// From the API's time series to what the charts draw.
import type { Stats, StatsPoint } from '@/api/types'

type Line = (number | null)[]

export interface ChartData {
  times: number[]
  requests: number[]
  callerErrors: Line
  upstreamErrors: Line
  gatewayErrors: Line
  p50: Line
  p95: Line
  p99: Line
  spend: number[]
}

/** Requests are per second, errors a share of one. Where there were no requests, lines have gaps, not zeros. */
export function chartData({ series, step_seconds: step }: Stats): ChartData {
  const share = (pick: (point: StatsPoint) => number): Line =>
    series.map((point) => (point.requests > 0 ? pick(point) / point.requests : null))
  return {
    times: series.map(({ time }) => new Date(time).getTime() / 1000),
    requests: series.map(({ requests }) => requests / step),
    callerErrors: share((point) => point.errors_caller),
    upstreamErrors: share((point) => point.errors_upstream),
    gatewayErrors: share((point) => point.errors_gateway),
    p50: series.map(({ p50_us: us }) => us ?? null),
    p95: series.map(({ p95_us: us }) => us ?? null),
    p99: series.map(({ p99_us: us }) => us ?? null),
    spend: series.map(({ usd }) => Number(usd)),
  }
}

/** Where a value stands between gaps, so that no line leads to it. */
export function lonely(values: ArrayLike<number | null | undefined>): number[] {
  const missing = (index: number) => values[index] === null || values[index] === undefined
  return Array.from(values, (_, index) => index).filter((index) => !missing(index) && missing(index - 1) && missing(index + 1))
}
