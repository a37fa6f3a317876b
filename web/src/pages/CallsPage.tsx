// Call log: every request, newest first, live; filters, place and the open request stand in the address.
import { Button, Group, Switch, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import { createColumnHelper } from '@tanstack/react-table'
import { useEffect, useMemo, useRef } from 'react'
import { queries } from '@/api/queries'
import type { CallRow } from '@/api/types'
import { CallDrawer } from '@/components/CallDrawer'
import { CallFilters } from '@/components/CallFilters'
import { DataTable } from '@/components/DataTable'
import { Empty, Failure, Rows } from '@/components/Feedback'
import { Icon } from '@/components/icons'
import { useNow } from '@/components/Moment'
import { Card, Page } from '@/components/Page'
import { Pill, Tag } from '@/components/Pill'
import { asked } from '@/lib/asked'
import { isLive, narrowed, toQuery, type CallSearch } from '@/lib/filters'
import { clock, compact, duration, usd, words } from '@/lib/format'
import { callTone, isFromCache } from '@/lib/state'

const PAGE_SIZE = 100
const GATEWAY_EXAMPLE = 'curl http://127.0.0.1:8080/YOUR/ROUTE -H "Authorization: Bearer $YOUR_KEY"'

export function CallsPage() {
  const search = useSearch({ from: '/inside/calls' })
  const navigate = useNavigate({ from: '/calls' })
  const now = useNow(15_000)
  const live = isLive(search)
  const query = useMemo(() => toQuery(search, now, PAGE_SIZE), [search, now])
  const { data, error, refetch, isPlaceholderData } = useQuery(queries.calls(query, live))
  const isFresh = useFresh(data?.items, live && !isPlaceholderData)
  const change = (next: Partial<CallSearch>) => void navigate({ search: (old) => ({ ...old, ...next }) })
  const pages = search.pages ?? []

  return (
    <Page
      title="Call log"
      lead={live ? <Pill tone="accent" live>Live: new requests appear by themselves</Pill> : <Pill tone="quiet">Paused</Pill>}
      actions={
        <Switch label="Live tail" checked={live} onChange={({ currentTarget: { checked } }) =>
          change({ live: checked ? undefined : false, pages: undefined })} />
      }
    >
      <CallFilters search={search} onChange={(next) => change({ ...next, pages: undefined })} />
      {error && <Failure error={error} retry={() => void refetch()} />}
      <Card pad={false}>
        {!data && !error && <Rows count={10} />}
        {data?.items.length === 0 && (narrowed(search) > 0 ? (
          <Empty icon="filter" title="No request matches these filters"
            action={<Button variant="default" onClick={() => void navigate({ search: search.live === false ? { live: false } : {} })}>Clear the filters</Button>}>
            Widen the time, or take a filter away.
          </Empty>
        ) : (
          <Empty icon="calls" title="No requests yet" command={GATEWAY_EXAMPLE}
            action={<Text size="sm"><Link to="/keys" style={{ color: 'var(--cf-accent)' }}>Create a key</Link> if you have none yet.</Text>}>
            Send one through the gateway with a key; it appears here at once.
          </Empty>
        ))}
        {data && data.items.length > 0 && (
          <DataTable label="Requests" columns={columns} rows={data.items} rowId={({ request_id: id }) => id}
            onOpen={({ request_id: request }) => change({ request })} isFresh={isFresh} />
        )}
      </Card>
      {(pages.length > 0 || data?.next) && (
        <Group justify="space-between">
          <Text size="sm" c="dimmed">{pages.length > 0 ? `Page ${pages.length + 1}` : 'Newest requests'}</Text>
          <Group gap="xs">
            <Button variant="default" size="sm" leftSection={<Icon name="previous" size={16} />} disabled={pages.length === 0}
              onClick={() => change({ pages: pages.length > 1 ? pages.slice(0, -1) : undefined })}>Newer</Button>
            <Button variant="default" size="sm" rightSection={<Icon name="next" size={16} />} disabled={!data?.next}
              onClick={() => data?.next && change({ pages: [...pages, data.next] })}>Older</Button>
          </Group>
        </Group>
      )}
      <CallDrawer id={search.request} onClose={() => change({ request: undefined })} />
    </Page>
  )
}

/** Tells rows that came with the latest answer of a live view from those seen before. */
function useFresh(items: CallRow[] | undefined, live: boolean): (call: CallRow) => boolean {
  const known = useRef<Set<string> | undefined>(undefined)
  const before = live ? known.current : undefined
  useEffect(() => {
    known.current = live && items ? new Set(items.map(({ request_id: id }) => id)) : undefined
  }, [items, live])
  return ({ request_id: id }) => before !== undefined && !before.has(id)
}

/** A name, cut where a column would grow too wide; whole in the request's story. */
function Name({ text, none }: { text: string | null | undefined; none: string }) {
  return text ? <div className="truncate" style={{ maxWidth: 128 }} title={text}>{text}</div> : <span className="quiet">{none}</span>
}

/** The request line, and below it what was asked for beyond the path. */
function Request({ call }: { call: CallRow }) {
  const more = asked(call)
  return (
    <>
      <div className="truncate mono" style={{ maxWidth: 240 }} title={call.path}><span className="quiet">{call.method}</span> {call.path}</div>
      {more && (
        <Group gap={6} wrap="nowrap" style={{ fontSize: 12.5 }}>
          <div className="quiet truncate" style={{ maxWidth: 240 }} title={more.text}>{more.text}</div>
          {more.end && <Tag tone={more.end.tone}>{more.end.label}</Tag>}
        </Group>
      )}
    </>
  )
}

function Cost({ call: { model, status } }: { call: CallRow }) {
  if (!model) return <span className="quiet">–</span>
  if (isFromCache(model.cache)) return <Tag tone="accent">from the cache</Tag>
  if (status === 101) return <span className="quiet">in its answers</span>
  return (
    <span className="nowrap num">
      {model.tokens ? `${compact(model.tokens.input)} → ${compact(model.tokens.output)}` : 'no tokens'}{' '}
      {model.cost_unknown ? <Tag tone="warn">{model.tokens ? 'unknown price' : 'unknown cost'}</Tag> : model.cost_usd && <span className="quiet">{usd(model.cost_usd)}</span>}
    </span>
  )
}

const column = createColumnHelper<CallRow>()
const columns = [
  column.accessor('time', {
    header: 'Time',
    cell: ({ row: { original: call } }) => (
      <Link to="/calls" search={(old) => ({ ...old, request: call.request_id })} className="num nowrap" title={call.request_id}>
        {clock(call.time, Date.now())}
      </Link>
    ),
  }),
  column.display({
    id: 'outcome',
    header: 'Outcome',
    cell: ({ row: { original: call } }) => (
      <Pill tone={callTone(call)}>
        <span className="num">{call.status || '–'}</span>
        {call.outcome !== 'served' && <span className="quiet">{words(call.outcome)}</span>}
      </Pill>
    ),
  }),
  column.display({
    id: 'request',
    header: 'Request',
    cell: ({ row: { original: call } }) => <Request call={call} />,
  }),
  column.display({
    id: 'duration',
    header: 'Duration',
    meta: { end: true },
    // Bills of batches and transcripts of sessions took no time of their own.
    cell: ({ row: { original: { total_us: took } } }) => (took === 0 ? <span className="quiet">–</span> : duration(took)),
  }),
  column.display({
    id: 'application',
    header: 'Application',
    meta: { from: 'md' },
    cell: ({ row: { original: { application, delegated } } }) => (
      <>
        <Name text={application} none="unknown" />
        {delegated && <div className="quiet truncate" style={{ maxWidth: 128, fontSize: 12.5 }} title={`by ${delegated.actor ?? delegated.name}`}>by {delegated.actor ?? delegated.name}</div>}
      </>
    ),
  }),
  column.accessor('route', {
    header: 'Route',
    meta: { from: 'lg' },
    cell: ({ getValue }) => <Name text={getValue()} none="none" />,
  }),
  column.display({
    id: 'credential',
    header: 'Credential',
    meta: { from: 'xl' },
    cell: ({ row: { original: call } }) => (
      <Group gap={6} wrap="nowrap">
        <Name text={call.credential} none="none" />
        {call.credential && <Tag>v{call.credential_version}</Tag>}
      </Group>
    ),
  }),
  column.display({
    id: 'model',
    header: 'Tokens and cost',
    meta: { from: 'xl' },
    cell: ({ row: { original: call } }) => <Cost call={call} />,
  }),
]
