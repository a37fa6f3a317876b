// Configuration: everything declared that has no page of its own, kind by kind.
import { Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link, useNavigate, useParams, useSearch } from '@tanstack/react-router'
import { createColumnHelper } from '@tanstack/react-table'
import { useMemo } from 'react'
import { documents } from '@/api/documents'
import { DataTable } from '@/components/DataTable'
import { Empty, Failure, Rows } from '@/components/Feedback'
import { Icon } from '@/components/icons'
import { LinkButton } from '@/components/LinkButton'
import { Moment } from '@/components/Moment'
import { Card, Page } from '@/components/Page'
import { SearchBox } from '@/components/SearchBox'
import { article, KINDS, plainKind, summary, type KindWords } from '@/lib/kinds'

export function ConfigPage() {
  const { kind } = useParams({ from: '/inside/config/$kind' })
  const words = plainKind(kind)
  if (!words) return <Page title="There is no such page" lead="The address may be mistyped or out of date. Choose a page in the navigation." />
  return <Resources words={words} key={kind} />
}

function Resources({ words: { kind, label, one, lead, next } }: { words: KindWords }) {
  const { q = '' } = useSearch({ from: '/inside/config/$kind' })
  const navigate = useNavigate()
  const { data, error, refetch } = useQuery(documents.list(kind, q))
  const columns = useMemo(() => columnsOf(kind), [kind])
  const declare = <LinkButton to="/declare/$kind" params={{ kind }} leftSection={<Icon name="plus" size={16} />}>Declare {article(one)}</LinkButton>
  return (
    <Page title={label} lead={lead} actions={declare}>
      <nav className="tabs" aria-label="Kinds">
        {KINDS.filter(({ pages }) => !pages).map((other) => <Link key={other.kind} to="/config/$kind" params={{ kind: other.kind }} activeOptions={{ includeSearch: false }}>{other.label}</Link>)}
      </nav>
      <SearchBox value={q} label={`Find ${article(one)} by name`}
        onChange={(text) => void navigate({ to: '/config/$kind', params: { kind }, search: text ? { q: text } : {} })} />
      {error && <Failure error={error} retry={() => void refetch()} />}
      <Card pad={false}>
        {!data && !error && <Rows />}
        {data?.items.length === 0 && (q ? (
          <Empty icon="search" title={`No ${one}'s name contains “${q}”`}>Names use a-z, 0-9, dot, hyphen and underscore.</Empty>
        ) : (
          <Empty icon="config" title={`No ${label.toLowerCase()} yet`} command="credentialflow apply credentialflow.yaml"
            action={<Text size="sm"><Link to="/declare/$kind" params={{ kind }} style={{ color: 'var(--cf-accent)' }}>Declare one here</Link>, or in a file that is applied.</Text>}>
            {next}
          </Empty>
        ))}
        {data && data.items.length > 0 && (
          <DataTable label={label} columns={columns} rows={data.items} rowId={({ spec }) => spec.name}
            onOpen={({ spec }) => void navigate({ to: '/config/$kind/$name', params: { kind, name: spec.name } })} />
        )}
      </Card>
      {data?.next && <Text size="sm" c="dimmed">There are more than shown; find one by its name.</Text>}
    </Page>
  )
}

interface Row {
  spec: Record<string, unknown> & { name: string }
  revision: number
  updated: string
}
const column = createColumnHelper<Row>()
const columnsOf = (kind: KindWords['kind']) => [
  column.accessor('spec.name', {
    header: 'Name',
    cell: ({ getValue }) => <Link to="/config/$kind/$name" params={{ kind, name: String(getValue()) }}>{String(getValue())}</Link>,
  }),
  column.display({
    id: 'what',
    header: 'What',
    cell: ({ row: { original } }) => <div className="truncate" style={{ maxWidth: 520 }}>{summary(kind, original.spec)}</div>,
  }),
  column.accessor('updated', { header: 'Changed', meta: { from: 'md' }, cell: ({ getValue }) => <Moment time={getValue()} /> }),
  column.accessor('revision', { header: 'Revision', meta: { from: 'lg', end: true } }),
]
