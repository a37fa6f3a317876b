// Credentials: what we hold for upstreams, sealed; which version is in use and what is being rotated.
import { Button, Text } from '@mantine/core'
import { useDisclosure } from '@mantine/hooks'
import { useQuery } from '@tanstack/react-query'
import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import { createColumnHelper } from '@tanstack/react-table'
import { queries } from '@/api/queries'
import type { CredentialItem } from '@/api/types'
import { DataTable } from '@/components/DataTable'
import { Empty, Failure, Rows } from '@/components/Feedback'
import { Icon } from '@/components/icons'
import { Moment } from '@/components/Moment'
import { NewCredentialDialog } from '@/components/NewCredentialDialog'
import { Card, Page } from '@/components/Page'
import { Pill, Tag } from '@/components/Pill'
import { SearchBox } from '@/components/SearchBox'
import { words } from '@/lib/format'
import { credentialState } from '@/lib/state'

export function CredentialsPage() {
  const { q = '' } = useSearch({ from: '/inside/credentials' })
  const navigate = useNavigate({ from: '/credentials' })
  const { data, error, refetch } = useQuery(queries.credentials(q))
  const [creating, { open, close }] = useDisclosure()
  return (
    <Page title="Credentials" lead="Held sealed for upstreams and injected into permitted requests. Nobody sees a value, here or anywhere else."
      actions={<Button leftSection={<Icon name="plus" size={16} />} onClick={open}>Add a credential</Button>}>
      <SearchBox label="Find a credential by name" value={q} onChange={(next) => void navigate({ search: next ? { q: next } : {} })} />
      {error && <Failure error={error} retry={() => void refetch()} />}
      <Card pad={false}>
        {!data && !error && <Rows />}
        {data?.items.length === 0 && (q ? (
          <Empty icon="search" title={`No credential's name contains “${q}”`}>Names use a-z, 0-9, dot, hyphen and underscore.</Empty>
        ) : (
          <Empty icon="credential" title="No credentials yet" command="credentialflow apply credentialflow.yaml"
            action={<Button variant="default" onClick={open}>Add a credential here</Button>}>
            Add the secret an upstream asks for. The gateway injects it, so callers never hold it.
          </Empty>
        ))}
        {data && data.items.length > 0 && (
          <DataTable label="Credentials" columns={columns} rows={data.items} rowId={({ spec }) => spec.name}
            onOpen={({ spec }) => void navigate({ to: '/credentials/$name', params: { name: spec.name } })} />
        )}
      </Card>
      {data?.next && <Text size="sm" c="dimmed">There are more credentials than shown; find one by its name.</Text>}
      <NewCredentialDialog opened={creating} onClose={close} />
    </Page>
  )
}

const column = createColumnHelper<CredentialItem>()
const columns = [
  column.accessor('spec.name', {
    header: 'Name',
    cell: ({ getValue }) => <Link to="/credentials/$name" params={{ name: getValue() }}>{getValue()}</Link>,
  }),
  column.display({
    id: 'state',
    header: 'State',
    cell: ({ row: { original } }) => {
      const { tone, label } = credentialState(original, Date.now())
      return <Pill tone={tone} live={tone === 'info'}>{label}</Pill>
    },
  }),
  column.display({
    id: 'version',
    header: 'Version',
    cell: ({ row: { original } }) => original.current_version ? <Tag>v{original.current_version}</Tag> : <span className="quiet">none</span>,
  }),
  column.accessor('spec.engine', { header: 'Engine', meta: { from: 'md' }, cell: ({ getValue }) => words(getValue()) }),
  column.display({
    id: 'owner',
    header: 'Owner',
    meta: { from: 'lg' },
    cell: ({ row: { original } }) => original.spec.owner ?? <span className="quiet">nobody</span>,
  }),
  column.display({
    id: 'every',
    header: 'Rotated',
    meta: { from: 'lg' },
    cell: ({ row: { original } }) => original.spec.rotate?.every ? `every ${original.spec.rotate.every}` : <span className="quiet">by hand</span>,
  }),
  column.display({ id: 'due', header: 'Next rotation', meta: { from: 'xl' }, cell: ({ row: { original } }) => <Moment time={original.rotation_due} never="–" /> }),
  column.display({ id: 'used', header: 'Last used', cell: ({ row: { original } }) => <Moment time={original.last_used} /> }),
]
