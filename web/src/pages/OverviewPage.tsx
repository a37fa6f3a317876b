// Overview: traffic, errors, latency and spend, live, and what they are made of.
import { SegmentedControl, Skeleton, Stack, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import { useMemo, type ReactNode } from 'react'
import { queries } from '@/api/queries'
import type { Stats, StatsTop } from '@/api/types'
import { Bars } from '@/components/Bars'
import { Chart } from '@/components/Chart'
import { Banner, Empty, Failure } from '@/components/Feedback'
import { Card, Page } from '@/components/Page'
import { Pill } from '@/components/Pill'
import { compact, count, duration, percent, significant, usd } from '@/lib/format'
import { chartData } from '@/lib/series'
import { DEFAULT_WINDOW, isWindow, WINDOWS } from '@/lib/windows'

const GATEWAY_EXAMPLE = 'curl http://127.0.0.1:8080/YOUR/ROUTE -H "Authorization: Bearer $YOUR_KEY"'

export function OverviewPage() {
  const { window = DEFAULT_WINDOW } = useSearch({ from: '/inside/' })
  const navigate = useNavigate()
  const { data: stats, error, refetch } = useQuery(queries.stats(window))
  const { data: status } = useQuery(queries.status())
  return (
    <Page
      title="Overview"
      lead={status && <Pill tone={status.in_step ? 'good' : 'warn'} live>
        {status.in_step ? `Every change is enforced by ${plural(status.dataplane.workers, 'worker')}` : 'A change is on its way to the workers'}
        , {plural(status.dataplane.in_flight, 'request')} in flight
      </Pill>}
      actions={
        <SegmentedControl aria-label="Time shown" size="sm" data={[...WINDOWS]} value={window}
          onChange={(value) => isWindow(value) && navigate({ to: '/', search: { window: value } })} />
      }
    >
      {error && <Failure error={error} retry={() => void refetch()} />}
      {!stats && !error && <Waiting />}
      {stats && <Figures stats={stats} />}
      {stats && (stats.total.requests > 0 ? <Details stats={stats} /> : (
        <Card pad={false}>
          <Empty icon="overview" title="No requests in this time" command={GATEWAY_EXAMPLE}
            action={<Text size="sm"><Link to="/keys" style={{ color: 'var(--cf-accent)' }}>Create a key</Link> if you have none yet.</Text>}>
            Send one through the gateway with a key and it shows here within seconds.
          </Empty>
        </Card>
      ))}
    </Page>
  )
}

function Figures({ stats: { total, since, until } }: { stats: Stats }) {
  const seconds = (new Date(until).getTime() - new Date(since).getTime()) / 1000
  const some = total.requests > 0
  return (
    <div className="grid grid-4">
      <Tile name="Requests" value={compact(total.requests)} note={`${significant(total.requests / Math.max(1, seconds))} a second`} />
      <Tile name="Errors" value={some ? percent(total.errors / total.requests) : '–'} note={`${count(total.errors)} of ${count(total.requests)}`} />
      <Tile name="Latency, p95" value={total.p95_us ? duration(total.p95_us) : '–'} note={total.p50_us ? `half within ${duration(total.p50_us)}` : 'no requests'} />
      <Tile name="Spend" value={usd(total.usd)} note={`${compact(total.tokens_in)} tokens in, ${compact(total.tokens_out)} out`} />
    </div>
  )
}

function Tile({ name, value, note }: { name: string; value: string; note: string }) {
  return (
    <div className="card card-body" role="group" aria-label={name}>
      <Text size="sm" c="dimmed" fw={500}>{name}</Text>
      <div className="tile-value">{value}</div>
      <Text size="xs" c="dimmed" mt={2} className="num">{note}</Text>
    </div>
  )
}

function Details({ stats }: { stats: Stats }) {
  const data = useMemo(() => chartData(stats), [stats])
  const lines = useMemo(() => ({
    traffic: [{ label: 'Requests', color: '--cf-chart-1' as const, values: data.requests, fill: true }],
    errors: [
      { label: 'By callers', color: '--cf-chart-warn' as const, values: data.callerErrors },
      { label: 'By upstreams', color: '--cf-chart-bad' as const, values: data.upstreamErrors },
      { label: 'By the gateway', color: '--cf-chart-3' as const, values: data.gatewayErrors },
    ],
    latency: [
      { label: 'p50', color: '--cf-chart-1' as const, values: data.p50 },
      { label: 'p95', color: '--cf-chart-2' as const, values: data.p95 },
      { label: 'p99', color: '--cf-chart-3' as const, values: data.p99 },
    ],
    spend: [{ label: 'Spend', color: '--cf-chart-2' as const, values: data.spend, fill: true }],
  }), [data])
  return (
    <>
      {stats.total.unpriced > 0 && (
        <Banner tone="warn" title={`${plural(stats.total.unpriced, 'model call')} of unknown cost`}>
          The spend shown leaves them out. Either their model's target has no price, or the provider's count of tokens did not arrive; the call log tells which.
        </Banner>
      )}
      <div className="grid grid-2">
        <Card title="Traffic" aside={<Unit>requests a second</Unit>}>
          <Chart label="Requests a second over time" times={data.times} series={lines.traffic} format={significant} />
        </Card>
        <Card title="Errors" aside={<Unit>share of requests</Unit>}>
          <Chart label="Share of failed requests over time" times={data.times} series={lines.errors} format={percent} />
        </Card>
        <Card title="Latency" aside={<Unit>whole request</Unit>}>
          <Chart label="Latency percentiles over time" times={data.times} series={lines.latency} format={duration} />
        </Card>
        <Card title="Spend" aside={<Unit>US dollars a step</Unit>}>
          <Chart label="Spend over time" times={data.times} series={lines.spend} format={usd} />
        </Card>
      </div>
      <div className="grid grid-3">
        <Top title="Top routes" entries={stats.top_routes} filter="route" none="No route was called." />
        <Top title="Top applications" entries={stats.top_applications} filter="application" none="No application called." />
        <Top title="Top models" entries={stats.top_models} filter="model" none="No model was called." />
      </div>
    </>
  )
}

function Top({ title, entries, filter, none }: { title: string; entries: StatsTop[]; filter: 'route' | 'application' | 'model'; none: string }) {
  return (
    <Card title={title}>
      {entries.length > 0 ? <Bars entries={entries} filter={filter} showSpend={filter !== 'route'} /> : <Text size="sm" c="dimmed">{none}</Text>}
    </Card>
  )
}

function Unit({ children }: { children: ReactNode }) {
  return <Text size="xs" c="dimmed">{children}</Text>
}

function Waiting() {
  return (
    <Stack role="status" aria-busy="true" aria-label="Loading" gap="md">
      <div className="grid grid-4">{[0, 1, 2, 3].map((tile) => <Skeleton key={tile} height={108} radius="lg" />)}</div>
      <div className="grid grid-2">{[0, 1, 2, 3].map((tile) => <Skeleton key={tile} height={282} radius="lg" />)}</div>
    </Stack>
  )
}

function plural(n: number, noun: string): string {
  return `${count(n)} ${noun}${n === 1 ? '' : 's'}`
}
