// Prompts: what is said to models, which version is in use, and how many there are.
import { Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import { createColumnHelper } from '@tanstack/react-table'
import { prompts, type PromptItem } from '@/api/prompts'
import { DataTable } from '@/components/DataTable'
import { Empty, Failure, Rows } from '@/components/Feedback'
import { Icon } from '@/components/icons'
import { LinkButton } from '@/components/LinkButton'
import { Moment } from '@/components/Moment'
import { Card, Page } from '@/components/Page'
import { Tag } from '@/components/Pill'
import { SearchBox } from '@/components/SearchBox'
import { count } from '@/lib/format'
import { PRODUCTION } from '@/lib/prompts'

export function PromptsPage() {
  const { q = '' } = useSearch({ from: '/inside/prompts' })
  const navigate = useNavigate({ from: '/prompts' })
  const { data, error, refetch } = useQuery(prompts.list(q))
  return (
    <Page title="Prompts" lead="What is said to models, in versions that never change; labels say which one is in use."
      actions={<LinkButton to="/declare/$kind" params={{ kind: 'prompts' }} leftSection={<Icon name="plus" size={16} />}>Declare a prompt</LinkButton>}>
      <SearchBox label="Find a prompt by name" value={q} onChange={(next) => void navigate({ search: next ? { q: next } : {} })} />
      {error && <Failure error={error} retry={() => void refetch()} />}
      <Card pad={false}>
        {!data && !error && <Rows />}
        {data?.items.length === 0 && (q ? (
          <Empty icon="search" title={`No prompt's name contains “${q}”`}>Names use a-z, 0-9, dot, hyphen and underscore.</Empty>
        ) : (
          <Empty icon="prompt" title="No prompts yet" command="credentialflow apply credentialflow.yaml"
            action={<Text size="sm"><Link to="/declare/$kind" params={{ kind: 'prompts' }} style={{ color: 'var(--cf-accent)' }}>Declare one here</Link>, or in a file that is applied.</Text>}>
            Declare a model first, then a prompt that is said to it. Callers then name the prompt instead of sending its text.
          </Empty>
        ))}
        {data && data.items.length > 0 && (
          <DataTable label="Prompts" columns={columns} rows={data.items} rowId={({ spec }) => spec.name}
            onOpen={({ spec }) => void navigate({ to: '/prompts/$name', params: { name: spec.name } })} />
        )}
      </Card>
      {data?.next && <Text size="sm" c="dimmed">There are more prompts than shown; find one by its name.</Text>}
    </Page>
  )
}

const column = createColumnHelper<PromptItem>()
const columns = [
  column.accessor('spec.name', {
    header: 'Name',
    cell: ({ getValue }) => <Link to="/prompts/$name" params={{ name: getValue() }}>{getValue()}</Link>,
  }),
  column.display({
    id: 'production',
    header: 'In production',
    cell: ({ row: { original: { spec } } }) => {
      const version = spec.labels?.[PRODUCTION]
      return version ? <Tag tone="good">v{version}</Tag> : <span className="quiet">no version</span>
    },
  }),
  column.accessor('spec.model', { header: 'Model', meta: { from: 'md' } }),
  column.display({ id: 'versions', header: 'Versions', meta: { end: true }, cell: ({ row: { original: { spec } } }) => count(spec.versions.length) }),
  column.display({ id: 'tests', header: 'Tests', meta: { end: true, from: 'md' }, cell: ({ row: { original: { spec } } }) => count(spec.tests?.length ?? 0) }),
  column.accessor('spec.description', {
    header: 'Description',
    meta: { from: 'lg' },
    cell: ({ getValue }) => <div className="truncate" style={{ maxWidth: 360 }}>{getValue() ?? ''}</div>,
  }),
  column.accessor('updated', { header: 'Changed', meta: { from: 'md' }, cell: ({ getValue }) => <Moment time={getValue()} /> }),
]
