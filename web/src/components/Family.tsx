// Where a key comes from, for whom it acts, and the keys that come from it; any of those can be ended with what is below it.
import { Button, Stack, Text, VisuallyHidden } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { createColumnHelper } from '@tanstack/react-table'
import { useMemo, useState } from 'react'
import { queries, useRevokeKey } from '@/api/queries'
import type { KeyItem } from '@/api/types'
import { actors, allowed, branchState, endsWith, left, tree, type Branch } from '@/lib/family'
import { count } from '@/lib/format'
import { DataTable } from './DataTable'
import { ConfirmDialog } from './Dialogs'
import { Empty } from './Feedback'
import { Moment, useNow } from './Moment'
import { Card, Facts } from './Page'
import { Pill } from './Pill'

export function Family({ item: { id, spec, delegation } }: { item: KeyItem }) {
  const now = useNow(15_000)
  const [ending, setEnding] = useState<string>()
  const branches = useMemo(() => tree(id, delegation?.below ?? []), [id, delegation])
  const columns = useMemo(() => columnsOf(now, setEnding), [now])
  if (!delegation) return null
  const { subject, act, ancestors, keys_below: all, exchanged, budgets } = delegation
  const [acting, ...before] = actors(act)
  return (
    <Card title="Family of keys" pad={false} aside={all > 0 && <Text size="sm" c="dimmed">{count(all)} {all === 1 ? 'key comes' : 'keys come'} from it</Text>}>
      <Stack gap="md" px={20} pb={20} pt={4}>
        <Facts rows={[
          ['Acts for', subject],
          ['Used by', acting && [acting, ...before.map((one) => `for ${one}`)].join(', ')],
          ['What for', spec.actor?.purpose],
          ['Comes from', ancestors.length > 0 && <Chain names={ancestors} />],
          ['Issued', exchanged ? 'at the token endpoint, by the key above it' : undefined],
          ['Budget left', left(budgets)],
          ['May issue', spec.delegate && `keys that live ${spec.delegate.lifetime} at most, ${count(spec.delegate.keys ?? 100)} at once, ${spec.delegate.depth === 1 ? 'which issue none' : `${spec.delegate.depth ?? 1} generations`}`],
        ]} />
      </Stack>
      {branches.length === 0 ? (
        <Empty icon="key" title="No key comes from it" command={`credentialflow key create NAME --application ${spec.application} --parent ${spec.name} --actor WHO`}>
          {spec.delegate ? 'Agents fetch keys with it at the token endpoint; each shows here as long as it is in force.' : 'Give it `delegate`, so that agents fetch keys with it at the token endpoint, or make one by hand.'}
        </Empty>
      ) : (
        <DataTable label="Keys that come from it" columns={columns} rows={branches} rowId={({ key }) => key.id} />
      )}
      {all > branches.length && <Text size="sm" c="dimmed" px={20} pb="sm">The nearest {count(branches.length)} are shown.</Text>}
      <EndDialog name={ending} onClose={() => setEnding(undefined)} />
    </Card>
  )
}

/** The keys above, the nearest first. */
function Chain({ names }: { names: string[] }) {
  return names.map((name, index) => (
    <span key={name}>{index > 0 && ' ← '}<Link to="/keys/$name" params={{ name }} style={{ color: 'var(--cf-accent)' }}>{name}</Link></span>
  ))
}

const column = createColumnHelper<Branch>()
const columnsOf = (now: number, onEnd: (name: string) => void) => [
  column.display({
    id: 'name',
    header: 'Key',
    cell: ({ row: { original: { key, depth } } }) => (
      <div style={{ paddingLeft: depth * 18 }} className="truncate" title={key.name}>
        {depth > 0 && <span className="quiet" aria-hidden="true">└ </span>}
        <Link to="/keys/$name" params={{ name: key.name }}>{key.name}</Link>
      </div>
    ),
  }),
  column.display({
    id: 'who',
    header: 'Used by',
    cell: ({ row: { original: { key: { actor, purpose } } } }) => (
      <>{actor ?? <span className="quiet">not told</span>}{purpose && <div className="quiet truncate" style={{ maxWidth: 220, fontSize: 12.5 }} title={purpose}>{purpose}</div>}</>
    ),
  }),
  column.display({
    id: 'state',
    header: 'State',
    meta: { from: 'md' },
    cell: ({ row: { original: { key } } }) => {
      const { tone, label } = branchState(key, now)
      return <Pill tone={tone}>{label}</Pill>
    },
  }),
  column.display({ id: 'ends', header: 'Ends', cell: ({ row: { original: { key } } }) => <Moment time={key.expires} never="with its parent" /> }),
  column.display({
    id: 'allow',
    header: 'May use',
    meta: { from: 'lg' },
    cell: ({ row: { original: { key } } }) => <div className={key.allow ? undefined : 'quiet'} style={{ maxWidth: 240, overflowWrap: 'anywhere' }}>{allowed(key.allow)}</div>,
  }),
  column.display({
    id: 'left',
    header: 'Budget left',
    meta: { from: 'lg' },
    cell: ({ row: { original: { key } } }) => left(key.budgets) ?? <span className="quiet">none of its own</span>,
  }),
  column.display({
    id: 'end',
    header: () => <VisuallyHidden>What can be done</VisuallyHidden>,
    meta: { end: true },
    cell: ({ row: { original: { key } } }) => (
      <Button size="compact-xs" variant="default" c="var(--cf-bad)" aria-label={`End ${key.name}`} onClick={() => onEnd(key.name)}>End</Button>
    ),
  }),
]

/** Ends a key with all that come from it; says how many those are, as they are now. */
function EndDialog({ name, onClose }: { name: string | undefined; onClose: () => void }) {
  const { data, error } = useQuery({ ...queries.key(name ?? ''), enabled: name !== undefined })
  const revoke = useRevokeKey(name ?? '')
  function close() {
    revoke.reset()
    onClose()
  }
  return (
    <ConfirmDialog deed="revocation" opened={name !== undefined} title={`End ${name ?? ''}`} word={name ?? ''} action="End for good" pending={revoke.isPending} error={revoke.error}
      onConfirm={() => revoke.mutate(undefined, { onSuccess: close })} onClose={close}>
      <b>{data ? endsWith(data.delegation) : error ? 'How many keys come from it is not known now; all of them end with it.' : 'Looking up what comes from it…'}</b> Every worker refuses them from the moment you confirm, and running requests are cut. This cannot be undone.
    </ConfirmDialog>
  )
}
