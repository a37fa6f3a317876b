// From the API's time series to what the charts draw.
import type { Stats } from '@/api/types'

export interface ChartData {
  times: number[]
  requests: number[]
  errorShare: (number | null)[]
  p50: (number | null)[]
  p95: (number | null)[]
  p99: (number | null)[]
  spend: number[]
}

/** Requests are per second. Where there were no requests, shares and latencies are gaps, not zeros. */
export function chartData({ series, step_seconds: step }: Stats): ChartData {
  const quiet = (requests: number, value: number) => (requests > 0 ? value : null)
  return {
    times: series.map(({ time }) => new Date(time).getTime() / 1000),
    requests: series.map(({ totals }) => totals.requests / step),
    errorShare: series.map(({ totals }) => quiet(totals.requests, totals.errors / totals.requests)),
    p50: series.map(({ totals }) => quiet(totals.requests, totals.p50_us)),
    p95: series.map(({ totals }) => quiet(totals.requests, totals.p95_us)),
    p99: series.map(({ totals }) => quiet(totals.requests, totals.p99_us)),
    spend: series.map(({ totals }) => Number(totals.cost_usd)),
  }
}
