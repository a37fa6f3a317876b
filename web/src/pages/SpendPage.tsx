// Spend: what model calls cost, by whom and when.
import { Button, SegmentedControl, Select, Text } from '@mantine/core'
import { useMutation, useQuery } from '@tanstack/react-query'
import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import { createColumnHelper } from '@tanstack/react-table'
import { useMemo } from 'react'
import { spend, spendCsv, SPEND_LIMIT, type SpendItem, type SpendReport } from '@/api/spend'
import { Chart } from '@/components/Chart'
import { DataTable } from '@/components/DataTable'
import { Banner, Empty, Failure, Rows } from '@/components/Feedback'
import { Card, Page } from '@/components/Page'
import { compact, count, percent, usd } from '@/lib/format'
import { DEFAULT_GROUP, DEFAULT_SPAN, GROUPS, named, spanFrom, SPAN_LABELS, SPANS, spendSeries, type Group } from '@/lib/spend'

export function SpendPage() {
  const { span = DEFAULT_SPAN, by = DEFAULT_GROUP } = useSearch({ from: '/inside/spend' })
  const navigate = useNavigate({ from: '/spend' })
  // Within a quarter of an hour the same, so that one answer serves until then.
  const quarter = Math.floor(Date.now() / 900_000)
  const { from, step } = useMemo(() => spanFrom(span, quarter * 900_000), [span, quarter])
  const lines = useQuery(spend.report({ by, from, limit: SPEND_LIMIT }))
  const steps = useQuery(spend.report({ by: step, from, limit: 1000 }))
  const failed = lines.error ?? steps.error
  const report = lines.data
  return (
    <Page title="Spend" lead="What model calls cost, added up from the call logs of all nodes."
      actions={
        <>
          <Select aria-label="Told apart by" size="sm" w={170} allowDeselect={false} value={by}
            data={Object.entries(GROUPS).map(([value, label]) => ({ value, label: `By ${label.toLowerCase()}` }))}
            onChange={(value) => value && void navigate({ search: (search) => ({ ...search, by: value as Group }) })} />
          <SegmentedControl aria-label="Time shown" size="sm" value={span}
            data={SPANS.map((value) => ({ value, label: SPAN_LABELS[value] }))}
            onChange={(value) => void navigate({ search: (search) => ({ ...search, span: value as typeof span }) })} />
        </>
      }>
      {failed && <Failure error={failed} retry={() => { void lines.refetch(); void steps.refetch() }} />}
      {report && <Figures report={report} />}
      {report && <Missing report={report} />}
      {report && report.total.calls > 0 && steps.data && <Steps report={steps.data} daily={step === 'day'} />}
      <Card pad={false}>
        {!report && !failed && <Rows />}
        {report?.items.length === 0 && (
          <Empty icon="spend" title="No model call in this time" command="credentialflow spend report --by day,application,model">
            Every call to a model shows here within seconds, with its tokens and its exact cost.
          </Empty>
        )}
        {report && report.items.length > 0 && <Lines report={report} by={by} from={from} />}
      </Card>
      {report?.next && <Text size="sm" c="dimmed">There are more lines than shown; the file has all of them.</Text>}
    </Page>
  )
}

function Figures({ report: { total } }: { report: SpendReport }) {
  return (
    <div className={total.calls_from_cache > 0 ? 'grid grid-5' : 'grid grid-4'}>
      <Tile name="Spent" value={usd(total.cost_usd)} note={`exactly ${total.cost_usd} US dollars`} />
      <Tile name="Model calls" value={compact(total.calls)} note={`${count(total.calls_of_estimated_cost)} of estimated cost`} />
      <Tile name="Tokens in" value={compact(total.input_tokens)} note={`${compact(total.cached_input_tokens)} from prompt caches`} />
      <Tile name="Tokens out" value={compact(total.output_tokens)} note={`${compact(total.reasoning_tokens)} for reasoning`} />
      {total.calls_from_cache > 0 && <Tile name="Saved by caches" value={usd(total.saved_usd)} note={`${count(total.calls_from_cache)} ${total.calls_from_cache === 1 ? 'call' : 'calls'} cost nothing`} />}
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

/** What the sums leave out. */
function Missing({ report: { total, nodes } }: { report: SpendReport }) {
  const away = nodes.filter(({ live }) => !live).map(({ node }) => node)
  return (
    <>
      {total.calls_of_unknown_cost > 0 && (
        <Banner tone="warn" title={`${count(total.calls_of_unknown_cost)} calls of unknown cost`}>
          The sums leave them out. Either their model's target has no price, or the provider's count of tokens did not arrive.
        </Banner>
      )}
      {away.length > 0 && (
        <Banner tone="warn" title={away.length === 1 ? 'A node is not there' : `${count(away.length)} nodes are not there`}>
          Calls that {away.join(', ')} recorded are in the sums as far as that was told; the rest is added when its data directory is back.
        </Banner>
      )}
    </>
  )
}

function Steps({ report, daily }: { report: SpendReport; daily: boolean }) {
  const { times, values } = useMemo(() => spendSeries(report), [report])
  const series = useMemo(() => [{ label: 'Spend', color: '--cf-chart-2' as const, values, fill: true }], [values])
  return (
    <Card title="Over time" aside={<Text size="xs" c="dimmed">US dollars {daily ? 'a day' : 'an hour'} (UTC)</Text>}>
      <Chart label="Spend over time" times={times} series={series} format={usd} daily={daily} />
    </Card>
  )
}

function Lines({ report, by, from }: { report: SpendReport; by: Group; from: string }) {
  const { cost_usd: spent, calls_from_cache: cached } = report.total
  const columns = useMemo(() => columnsOf(by, Number(spent), cached > 0), [by, spent, cached])
  const file = useMutation({
    mutationFn: async () => save(await spendCsv({ by, from }), `spend-by-${by}.csv`),
  })
  return (
    <>
      {file.error && <Failure error={file.error} />}
      <DataTable label="Spend" columns={columns} rows={report.items} rowId={({ group }) => String(group[by] ?? '')} />
      <Button m="md" size="xs" variant="default" loading={file.isPending} onClick={() => file.mutate()}>Save as CSV</Button>
    </>
  )
}

function save(text: string, name: string) {
  const url = URL.createObjectURL(new Blob([text], { type: 'text/csv;charset=utf-8' }))
  const link = Object.assign(document.createElement('a'), { href: url, download: name })
  link.click()
  URL.revokeObjectURL(url)
}

/** What the call log can be filtered by. */
const FILTERED: readonly Group[] = ['application', 'key', 'model', 'credential', 'route', 'prompt', 'outcome', 'agent', 'root_key']

const column = createColumnHelper<SpendItem>()
const columnsOf = (by: Group, all: number, saves: boolean) => [
  column.display({
    id: 'name',
    header: GROUPS[by],
    cell: ({ row: { original } }) => {
      const [name, value] = [named(original, by), original.group[by]]
      if (!name || !value) return <span className="quiet">None</span>
      return FILTERED.includes(by) ? <Link to="/calls" search={by === 'root_key' ? { key: value, below: true } : { [by]: value }}>{name}</Link> : name
    },
  }),
  column.accessor('cost_usd', { header: 'Spent', meta: { end: true }, cell: ({ getValue }) => <span title={`${getValue()} US dollars`}>{usd(getValue())}</span> }),
  column.display({
    id: 'share',
    header: 'Share',
    meta: { end: true, from: 'md' },
    cell: ({ row: { original } }) => (all > 0 ? percent(Number(original.cost_usd) / all) : '–'),
  }),
  column.accessor('calls', { header: 'Calls', meta: { end: true }, cell: ({ getValue }) => count(getValue()) }),
  column.accessor('input_tokens', { header: 'Tokens in', meta: { end: true, from: 'md' }, cell: ({ getValue }) => compact(getValue()) }),
  column.accessor('cached_input_tokens', { header: 'Cached in', meta: { end: true, from: 'lg' }, cell: ({ getValue }) => compact(getValue()) }),
  column.accessor('output_tokens', { header: 'Tokens out', meta: { end: true, from: 'md' }, cell: ({ getValue }) => compact(getValue()) }),
  // Where no model has a cache, nothing was saved by one.
  ...(saves ? [
    column.accessor('calls_from_cache', { header: 'From cache', meta: { end: true, from: 'lg' }, cell: ({ getValue }) => count(getValue()) }),
    column.accessor('saved_usd', { header: 'Saved', meta: { end: true, from: 'md' }, cell: ({ getValue }) => <span title={`${getValue()} US dollars`}>{usd(getValue())}</span> }),
  ] : []),
  column.accessor('calls_of_unknown_cost', { header: 'Unknown cost', meta: { end: true, from: 'lg' }, cell: ({ getValue }) => count(getValue()) }),
]
