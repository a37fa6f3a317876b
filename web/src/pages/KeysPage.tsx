// Keys: what we issue to applications, how each stands and when it was last used.
import { Button, Text } from '@mantine/core'
import { useDisclosure } from '@mantine/hooks'
import { useQuery } from '@tanstack/react-query'
import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import { createColumnHelper } from '@tanstack/react-table'
import { useState } from 'react'
import { queries } from '@/api/queries'
import type { IssuedKey, KeyItem } from '@/api/types'
import { DataTable } from '@/components/DataTable'
import { SecretDialog } from '@/components/Dialogs'
import { Empty, Failure, Rows } from '@/components/Feedback'
import { Icon } from '@/components/icons'
import { Moment } from '@/components/Moment'
import { NewKeyDialog } from '@/components/NewKeyDialog'
import { Card, Page } from '@/components/Page'
import { Pill } from '@/components/Pill'
import { SearchBox } from '@/components/SearchBox'
import { compact } from '@/lib/format'
import { keyState } from '@/lib/state'

export function KeysPage() {
  const { q = '' } = useSearch({ from: '/inside/keys' })
  const navigate = useNavigate({ from: '/keys' })
  const { data, error, refetch } = useQuery(queries.keys(q))
  const [creating, { open, close }] = useDisclosure()
  const [issued, setIssued] = useState<IssuedKey>()
  return (
    <Page title="Keys" lead="Issued to applications. Each is shown once, kept as a keyed hash, and can be rotated or revoked at any time."
      actions={<Button leftSection={<Icon name="plus" size={16} />} onClick={open}>Create a key</Button>}>
      <SearchBox label="Find a key by name" value={q} onChange={(next) => void navigate({ search: next ? { q: next } : {} })} />
      {error && <Failure error={error} retry={() => void refetch()} />}
      <Card pad={false}>
        {!data && !error && <Rows />}
        {data?.items.length === 0 && (q ? (
          <Empty icon="search" title={`No key's name contains “${q}”`}>Names use a-z, 0-9, dot, hyphen and underscore.</Empty>
        ) : (
          <Empty icon="key" title="No keys yet" command="credentialflow key create checkout --application shop"
            action={<Button variant="default" onClick={open}>Create a key here</Button>}>
            Applications call the gateway with a key. Create the first one here or on the command line.
          </Empty>
        ))}
        {data && data.items.length > 0 && (
          <DataTable label="Keys" columns={columns} rows={data.items} rowId={({ id }) => id}
            onOpen={({ spec }) => void navigate({ to: '/keys/$name', params: { name: spec.name } })} />
        )}
      </Card>
      {data?.next && <Text size="sm" c="dimmed">There are more keys than shown; find one by its name.</Text>}
      <NewKeyDialog opened={creating} onClose={close} onIssued={setIssued} />
      <SecretDialog issued={issued} note={`The key ${issued?.key.spec.name ?? ''} is accepted by every worker from now on.`}
        onClose={() => setIssued(undefined)} />
    </Page>
  )
}

const column = createColumnHelper<KeyItem>()
const columns = [
  column.accessor('spec.name', {
    header: 'Name',
    cell: ({ row: { original: { spec } } }) => (
      <>
        <Link to="/keys/$name" params={{ name: spec.name }}>{spec.name}</Link>
        {spec.parent && (
          <div className="quiet truncate" style={{ maxWidth: 260, fontSize: 12.5 }}>from {spec.parent}{spec.actor && `, used by ${spec.actor.name}`}</div>
        )}
      </>
    ),
  }),
  column.display({
    id: 'state',
    header: 'State',
    cell: ({ row: { original } }) => {
      const { tone, label } = keyState(original, Date.now())
      return <Pill tone={tone}>{label}</Pill>
    },
  }),
  column.accessor('spec.application', { header: 'Application', meta: { from: 'md' } }),
  column.accessor('id', { header: 'Key id', meta: { from: 'lg' }, cell: ({ getValue }) => <span className="mono">{getValue()}</span> }),
  column.display({
    id: 'expires',
    header: 'Expires',
    meta: { from: 'lg' },
    cell: ({ row: { original } }) => <Moment time={original.spec.expires} />,
  }),
  column.display({ id: 'used', header: 'Last used', cell: ({ row: { original } }) => <Moment time={original.last_use?.time} /> }),
  column.display({
    id: 'source',
    header: 'From',
    meta: { from: 'xl' },
    cell: ({ row: { original } }) => original.last_use?.source ? <span className="mono">{original.last_use.source}</span> : <span className="quiet">–</span>,
  }),
  column.display({ id: 'uses', header: 'Uses', meta: { from: 'xl', end: true }, cell: ({ row: { original } }) => compact(original.last_use?.count ?? 0) }),
]
