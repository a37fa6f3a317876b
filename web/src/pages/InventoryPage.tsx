// Inventory: every credential in both directions, and what is wrong with them.
import { Button, Group, SegmentedControl, Select, Stack, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import { createColumnHelper } from '@tanstack/react-table'
import { inventory, type Entry, type Finding, type Lease, type Summary } from '@/api/inventory'
import { Command, CopyButton } from '@/components/Copy'
import { DataTable } from '@/components/DataTable'
import { Banner, Empty, Failure, Rows } from '@/components/Feedback'
import { Icon } from '@/components/icons'
import { Moment } from '@/components/Moment'
import { Card, Page } from '@/components/Page'
import { Pill, Tag } from '@/components/Pill'
import { SearchBox } from '@/components/SearchBox'
import { compact, count, sentence, title } from '@/lib/format'
import type { Tone } from '@/lib/state'
import { asked, entryTone, gaps, isLiving, KINDS, RULES, severityTone, sorted, type InventorySearch } from '@/lib/inventory'

const options = (words: Record<string, string>) => Object.entries(words).map(([value, label]) => ({ value, label }))

export function InventoryPage() {
  const search = useSearch({ from: '/inside/inventory' })
  const navigate = useNavigate({ from: '/inventory' })
  const { data: summary, error, refetch } = useQuery(inventory.summary())
  const change = (next: Partial<InventorySearch>) => void navigate({ search: (before) => ({ ...before, ...next }) })
  const lacking = summary && gaps(summary.observed)
  const narrowed = search.kind ?? search.finding ?? search.team ?? search.q
  return (
    <Page title="Inventory" lead="Every credential in both directions: what it opens, who uses it, and what is wrong with it."
      actions={
        <SegmentedControl aria-label="What is listed" size="sm" value={search.view ?? 'credentials'}
          data={[{ value: 'credentials', label: 'Credentials' }, { value: 'findings', label: 'Findings' }]}
          onChange={(view) => change({ view: view === 'findings' ? 'findings' : undefined })} />
      }>
      {error && <Failure error={error} retry={() => void refetch()} />}
      {lacking && <Banner tone="info" title="Not all traffic was looked at">{sentence(lacking)}</Banner>}
      {summary && <Figures summary={summary} />}
      <Group gap="sm" align="flex-end" role="search" aria-label="Filter the inventory">
        <Select label="Kind" w={{ base: '100%', xs: 190 }} clearable placeholder="Any kind" data={options(KINDS)} value={search.kind ?? null}
          onChange={(kind) => change({ kind: (kind ?? undefined) as InventorySearch['kind'] })} />
        <Select label="Finding" w={{ base: '100%', xs: 190 }} clearable placeholder="Any or none" data={options(RULES)} value={search.finding ?? null}
          onChange={(finding) => change({ finding: (finding ?? undefined) as InventorySearch['finding'] })} />
        <SearchBox label="Find by name" value={search.q ?? ''} onChange={(q) => change({ q: q || undefined })} />
        {narrowed && (
          <Button variant="subtle" color="gray" c="var(--cf-quiet)" leftSection={<Icon name="close" size={15} />}
            onClick={() => void navigate({ search: search.view ? { view: search.view } : {} })}>
            Clear
          </Button>
        )}
      </Group>
      {search.view === 'findings' ? <Findings search={search} /> : <Entries search={search} />}
      {search.view !== 'findings' && search.kind === 'leases' && <Leases />}
    </Page>
  )
}

function Figures({ summary: { kinds, findings } }: { summary: Summary }) {
  const of = (kind: string) => kinds.find((one) => one.kind === kind)
  const [keys, held] = [of('key'), of('credential')]
  const urgent = findings.filter(({ severity }) => severity === 'high').reduce((sum, { count: n }) => sum + n, 0)
  const all = findings.reduce((sum, { count: n }) => sum + n, 0)
  const runtime = (of('leases')?.count ?? 0) + (of('tokens')?.count ?? 0)
  return (
    <div className="grid grid-4">
      <Tile name="Keys issued" value={compact(keys?.count ?? 0)} note={`${count(keys?.active ?? 0)} work now`} />
      <Tile name="Credentials held" value={compact(held?.count ?? 0)} note={`${count(held?.active ?? 0)} work now`} />
      <Tile name="Findings" value={compact(all)} note={urgent ? `${count(urgent)} urgent` : 'none urgent'} />
      <Tile name="At run time" value={compact(runtime)} note="leases and tokens" />
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

function Entries({ search }: { search: InventorySearch }) {
  const navigate = useNavigate({ from: '/inventory' })
  const { data, error, refetch } = useQuery(inventory.list(asked(search)))
  return (
    <>
      {error && <Failure error={error} retry={() => void refetch()} />}
      <Card pad={false}>
        {!data && !error && <Rows />}
        {data?.items.length === 0 && (
          <Empty icon="search" title="No credential matches">Clear a filter to see more, or list them with the command line.</Empty>
        )}
        {data && data.items.length > 0 && (
          <DataTable label="Credentials" columns={entryColumns} rows={data.items} rowId={({ kind, name }) => `${kind}/${name}`}
            onOpen={({ kind, name }) => isLiving(kind) && void navigate({ to: '/inventory/$kind/$name', params: { kind, name } })} />
        )}
      </Card>
      {data?.next && <Text size="sm" c="dimmed">There are more than shown; narrow the list, or use `credentialflow inventory list`.</Text>}
    </>
  )
}

const STAGES: Record<Lease['state'], Tone> = { pending: 'info', active: 'good', revoking: 'warn', stuck: 'bad' }

const leaseColumn = createColumnHelper<Lease>()
const leaseColumns = [
  leaseColumn.accessor('id', { header: 'Lease', cell: ({ getValue }) => <span className="mono">{getValue()}</span> }),
  leaseColumn.accessor('state', { header: 'State', cell: ({ getValue }) => <Pill tone={STAGES[getValue()]}>{title(getValue())}</Pill> }),
  leaseColumn.display({
    id: 'holder',
    header: 'Held by',
    cell: ({ row: { original: { application, entity } } }) => application ?? entity ?? <span className="quiet">Nobody named</span>,
  }),
  leaseColumn.accessor('issued', { header: 'Issued', meta: { from: 'lg' }, cell: ({ getValue }) => <Moment time={getValue()} /> }),
  leaseColumn.accessor('expires', { header: 'Ends', cell: ({ getValue }) => <Moment time={getValue()} /> }),
]

/** The leases one by one: there may be a million, so only the first are shown. */
function Leases() {
  const { data, error, refetch } = useQuery(inventory.leases())
  return (
    <>
      {error && <Failure error={error} retry={() => void refetch()} />}
      {data && data.items.length > 0 && (
        <Card pad={false}>
          <DataTable label="Leases" columns={leaseColumns} rows={data.items} rowId={({ id }) => id} />
        </Card>
      )}
      {data?.next && <Text size="sm" c="dimmed">There are more than shown; `credentialflow lease list --application NAME` lists those of one holder.</Text>}
    </>
  )
}

function Life({ kind, name }: Pick<Entry, 'kind' | 'name'>) {
  return isLiving(kind) ? <Link to="/inventory/$kind/$name" params={{ kind, name }}>{name}</Link> : <>{name}</>
}

const column = createColumnHelper<Entry>()
const entryColumns = [
  column.accessor('name', { header: 'Name', cell: ({ row: { original } }) => <Life kind={original.kind} name={original.name} /> }),
  column.accessor('kind', { header: 'Kind', cell: ({ getValue }) => title(getValue()) }),
  column.accessor('state', { header: 'State', cell: ({ getValue }) => <Pill tone={entryTone(getValue())}>{title(getValue())}</Pill> }),
  column.display({
    id: 'owner',
    header: 'Owner',
    meta: { from: 'md' },
    cell: ({ row: { original: { owner, team } } }) =>
      owner ? <>{owner}{team && team !== owner && <span className="quiet"> · {team}</span>}</> : <span className="quiet">Nobody</span>,
  }),
  column.display({
    id: 'used',
    header: 'Last used',
    cell: ({ row: { original: { count: n, last_used: last, uses } } }) =>
      n != null ? <span className="quiet">{count(n)} in all</span> : uses == null && !last ? <span className="quiet">–</span> : <Moment time={last} />,
  }),
  column.display({ id: 'uses', header: 'Uses', meta: { from: 'lg', end: true }, cell: ({ row: { original: { uses } } }) => (uses == null ? '–' : compact(uses)) }),
  column.display({ id: 'expires', header: 'Expires', meta: { from: 'xl' }, cell: ({ row: { original } }) => <Moment time={original.expires} /> }),
  column.display({
    id: 'findings',
    header: 'Findings',
    cell: ({ row: { original: { findings } } }) => findings.length === 0 ? <span className="quiet">None</span> : (
      <Group gap={6}>{findings.map((rule) => <Tag key={rule}>{RULES[rule]}</Tag>)}</Group>
    ),
  }),
]

function Findings({ search }: { search: InventorySearch }) {
  const { data, error, refetch } = useQuery(inventory.findings(asked(search)))
  return (
    <>
      {error && <Failure error={error} retry={() => void refetch()} />}
      {!data && !error && <Card pad={false}><Rows /></Card>}
      {data?.items.length === 0 && (
        <Card pad={false}>
          <Empty icon="check" title="No findings">Nothing is wrong with the credentials asked for, as far as can be seen from here.</Empty>
        </Card>
      )}
      <Stack gap="sm" component="ul" m={0} p={0} style={{ listStyle: 'none' }} aria-label="Findings">
        {data && sorted(data.items).map((finding) => <One key={`${finding.kind}/${finding.name}/${finding.finding}`} finding={finding} />)}
      </Stack>
      {data?.next && <Text size="sm" c="dimmed">There are more than shown; narrow the list, or use `credentialflow inventory findings`.</Text>}
    </>
  )
}

function One({ finding }: { finding: Finding }) {
  const { kind, name, severity, detail, hint, exposures, grant, policy } = finding
  return (
    <li className="card card-body">
      <Group gap="md" align="baseline">
        <Pill tone={severityTone(severity)}>{title(severity)}</Pill>
        <Text fw={600}>{RULES[finding.finding]}</Text>
        <Text component="span" size="sm"><Life kind={kind} name={name} /> <span className="quiet">{title(kind)}</span></Text>
        {finding.team && <Tag>{finding.team}</Tag>}
      </Group>
      <Text size="sm" mt={8}>{sentence(detail)}</Text>
      <Text size="sm" c="dimmed">{sentence(hint)}</Text>
      {exposures && exposures.length > 0 && (
        <ul>
          {exposures.map((place) => (
            <li key={`${place.file} ${place.line} ${place.commit}`} className="mono">
              {place.file}{place.line != null && `:${place.line}`}{place.commit && ` in ${place.commit}`}
            </li>
          ))}
        </ul>
      )}
      {grant && (
        <div style={{ marginTop: 10 }}>
          <Group justify="space-between"><Text size="sm" fw={500}>The narrower grant</Text><CopyButton text={grant.yaml} label="Copy the narrower grant" /></Group>
          <pre className="mono" tabIndex={0} aria-label="The narrower grant" style={{ overflow: 'auto', margin: '4px 0 8px' }}>{grant.yaml}</pre>
          <Command text={`credentialflow inventory findings --finding over-privileged --q ${name} --grants > narrower.yaml`} />
        </div>
      )}
      {policy && (
        <div style={{ marginTop: 10 }}>
          <Group justify="space-between"><Text size="sm" fw={500}>The narrower policy</Text><CopyButton text={policy.policy} label="Copy the narrower policy" /></Group>
          <pre className="mono" tabIndex={0} aria-label="The narrower policy" style={{ overflow: 'auto', margin: '4px 0 8px' }}>{policy.policy}</pre>
          <Text size="sm" c="dimmed">What was done only before {policy.since} is not in it.</Text>
          {policy.commands.map((command) => <Command key={command} text={command} />)}
        </div>
      )}
    </li>
  )
}
