// One credential's blast radius and biography: what hangs on it, and how it came to be.
import { Group, SegmentedControl, Stack, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useParams } from '@tanstack/react-router'
import { createColumnHelper } from '@tanstack/react-table'
import { useState } from 'react'
import { inventory, type Biography, type BlastRadius, type LivingKind } from '@/api/inventory'
import { DataTable } from '@/components/DataTable'
import { Banner, Empty, Failure, Rows } from '@/components/Feedback'
import { LinkButton } from '@/components/LinkButton'
import { Moment } from '@/components/Moment'
import { Card, Facts, Page } from '@/components/Page'
import { Pill } from '@/components/Pill'
import { count, dateTime, sentence, title } from '@/lib/format'
import { entryTone, gaps, isLiving, momentTone } from '@/lib/inventory'

const BACK = { to: '/inventory', label: 'Inventory' } as const
const WINDOWS = ['1h', '1d', '7d', '30d']

export function StoryPage() {
  const { kind, name } = useParams({ from: '/inside/inventory/$kind/$name' })
  if (!isLiving(kind)) return <Page title={name} back={BACK} lead="Credentials of this kind have no page of their own." />
  return <Story kind={kind} name={name} />
}

function Story({ kind, name }: { kind: LivingKind; name: string }) {
  const [window, setWindow] = useState('1d')
  const { data: radius, error: noRadius } = useQuery(inventory.radius(kind, name, window))
  const { data: life, error: noLife, refetch } = useQuery(inventory.biography(kind, name))
  const path = kind === 'key' ? '/keys/$name' : '/credentials/$name'
  return (
    <Page title={name} back={BACK} lead={radius && <Pill tone={entryTone(radius.state)}>{title(radius.state)}</Pill>}
      actions={life?.declared && <LinkButton variant="default" to={path} params={{ name }}>Open the {kind}</LinkButton>}>
      {life?.declared === false && <Banner tone="info" title={`This ${kind} is gone`}>What follows is what the audit log tells of it.</Banner>}
      {life?.declared !== false && (
        <>
          <Group justify="space-between">
            <h2>If it were revoked now</h2>
            <SegmentedControl aria-label="Traffic looked at" size="xs" data={WINDOWS} value={window} onChange={setWindow} />
          </Group>
          {noRadius && <Failure error={noRadius} />}
          {!radius && !noRadius && <Card><Rows count={4} /></Card>}
          {radius && <Radius radius={radius} />}
        </>
      )}
      {noLife && <Failure error={noLife} retry={() => void refetch()} />}
      {!life && !noLife && <Card title="Biography"><Rows /></Card>}
      {life && <Life life={life} />}
    </Page>
  )
}

type Names = string[] | undefined

const names = (list: Names) => (list?.length ? list.join(', ') : undefined)

function Radius({ radius }: { radius: BlastRadius }) {
  const { replay, opens, holders, consequences } = radius
  const lacking = gaps(replay.observed)
  return (
    <>
      <Banner tone={radius.quiet ? 'good' : 'warn'} title={radius.verdict}>{lacking && sentence(lacking)}</Banner>
      <div className="grid grid-2">
        <Card title="What it opens">
          <Facts rows={[
            ['Routes', names(opens.routes)],
            ['Open to anyone', names(opens.open_routes)],
            ['Models', names(opens.models)],
            ['Upstreams', names(opens.upstreams)],
            ['Targets', names(opens.targets)],
            ['Stores', names(opens.stores)],
            ['Credentials', names(opens.credentials)],
            ['Last used', <Moment key="used" time={radius.last_used} />],
            ['In flight', radius.in_flight == null ? undefined : count(radius.in_flight)],
          ]} />
        </Card>
        <Card title="Who may use it" pad={false}>
          {holders.length === 0 ? <Empty icon="key" title="Nobody">No application is allowed a route or model that uses it.</Empty>
            : <DataTable label="Who may use it" columns={holderColumns} rows={holders} rowId={({ application }) => application} />}
        </Card>
      </div>
      {replay.callers.length > 0 && (
        <Card title="Requests that would be refused" pad={false}>
          <DataTable label="Requests that would be refused" columns={callerColumns} rows={replay.callers}
            rowId={(c) => [c.application, c.key, c.route, c.model, c.source].join(' ')} />
        </Card>
      )}
      {(replay.survives.length > 0 || consequences.length > 0) && (
        <Card title="Besides">
          <Stack gap={6} component="ul" m={0} pl={18}>
            {replay.survives.map((one) => <li key={one.because}>{count(one.requests)} requests would be served: {one.because}.</li>)}
            {consequences.map((one) => <li key={`${one.subject} ${one.what}`}><span className="mono">{one.subject}</span>: {one.what}.</li>)}
          </Stack>
        </Card>
      )}
    </>
  )
}

const holder = createColumnHelper<BlastRadius['holders'][number]>()
const holderColumns = [
  holder.accessor('application', { header: 'Application' }),
  holder.accessor('team', { header: 'Team', meta: { from: 'lg' }, cell: ({ getValue }) => getValue() ?? <span className="quiet">None</span> }),
  holder.accessor('keys', { header: 'Keys', meta: { end: true }, cell: ({ getValue }) => count(getValue()) }),
  holder.accessor('requests', { header: 'Would break', meta: { end: true }, cell: ({ getValue }) => count(getValue()) }),
]

const caller = createColumnHelper<BlastRadius['replay']['callers'][number]>()
const callerColumns = [
  caller.accessor('application', { header: 'Application', cell: ({ getValue }) => getValue() ?? <span className="quiet">Anyone</span> }),
  caller.display({ id: 'way', header: 'Route or model', cell: ({ row: { original } }) => original.model ?? original.route ?? '–' }),
  caller.accessor('source', { header: 'From', meta: { from: 'md' }, cell: ({ getValue }) => <span className="mono">{getValue()}</span> }),
  caller.accessor('requests', { header: 'Requests', meta: { end: true }, cell: ({ getValue }) => count(getValue()) }),
  caller.accessor('last', { header: 'Last', cell: ({ getValue }) => <Moment time={getValue()} /> }),
]

function Life({ life }: { life: Biography }) {
  return (
    <Card title="Biography" pad={false} aside={life.issued_by && <Text size="sm" c="dimmed">made by {life.issued_by.name}, {dateTime(life.issued_by.time)}</Text>}>
      {life.abridged && <Text size="sm" c="dimmed" px={20} pb="sm">Events in the middle are left out; the audit log has them all.</Text>}
      <DataTable label="Biography" columns={momentColumns} rows={[...life.moments].reverse()}
        rowId={({ seq, time, version, what }) => `${seq ?? `${what} ${version ?? ''} ${time}`}`} />
    </Card>
  )
}

const moment = createColumnHelper<Biography['moments'][number]>()
const momentColumns = [
  moment.accessor('time', { header: 'When', cell: ({ getValue }) => <Moment time={getValue()} /> }),
  moment.accessor('what', { header: 'What', cell: ({ getValue }) => <Pill tone={momentTone(getValue())}>{title(getValue())}</Pill> }),
  moment.accessor('text', { header: 'Story', cell: ({ getValue }) => sentence(getValue()) }),
  moment.display({
    id: 'who',
    header: 'Who',
    meta: { from: 'md' },
    cell: ({ row: { original: { actor } } }) => actor ? <>{actor.name}{actor.source && <span className="mono quiet"> {actor.source}</span>}</> : <span className="quiet">–</span>,
  }),
]
