// One credential: its versions and their use, its rotation as it goes, and its end.
import { Button, Group, Modal, PasswordInput, Stack, Text } from '@mantine/core'
import { useDisclosure } from '@mantine/hooks'
import { useQuery } from '@tanstack/react-query'
import { Link, useParams } from '@tanstack/react-router'
import { createColumnHelper } from '@tanstack/react-table'
import { useMemo, useState, type FormEvent } from 'react'
import { queries, useRevokeCredential, useRotateCredential } from '@/api/queries'
import type { CredentialItem, Engine, VersionView } from '@/api/types'
import { DataTable } from '@/components/DataTable'
import { ConfirmDialog, DialogEnd } from '@/components/Dialogs'
import { Empty, Failure, Rows } from '@/components/Feedback'
import { Icon } from '@/components/icons'
import { LinkButton } from '@/components/LinkButton'
import { Moment, useNow } from '@/components/Moment'
import { Card, Facts, Page } from '@/components/Page'
import { Pill, Tag } from '@/components/Pill'
import { RotationPanel } from '@/components/RotationPanel'
import { compact, count, dateTime, title, words } from '@/lib/format'
import { credentialState, versionTone } from '@/lib/state'

const BACK = { to: '/credentials', label: 'Credentials' } as const

export function CredentialPage() {
  const { name } = useParams({ from: '/inside/credentials/$name' })
  const { data: item, error, refetch } = useQuery(queries.credential(name))
  const { data: versions } = useQuery(queries.versions(name))
  const { data: rotations } = useQuery(queries.rotations(name))
  const [rotating, rotate] = useDisclosure()
  const [revoking, setRevoking] = useState<Revoking>()
  const columns = useMemo(() => versionColumns((version) => setRevoking({ version })), [])
  if (!item) {
    return <Page title={name} back={BACK}>{error ? <Failure error={error} retry={() => void refetch()} /> : <Card><Rows /></Card>}</Page>
  }
  const rotation = rotations?.items[0]
  const busy = rotation !== undefined && !rotation.finished
  const { tone, label } = credentialState(item, Date.now())
  return (
    <Page title={name} back={BACK} lead={<Group gap="md"><Pill tone={tone} live={tone === 'info'}>{label}</Pill>{item.spec.description}</Group>}
      actions={
        <>
          <Button leftSection={<Icon name="rotate" size={16} />} onClick={rotate.open} disabled={busy}>{busy ? 'Rotating' : 'Rotate'}</Button>
          <LinkButton variant="default" to="/config/$kind/$name" params={{ kind: 'credentials', name }}>Edit</LinkButton>
          <Button variant="default" c="var(--cf-bad)" onClick={() => setRevoking({})}>Revoke</Button>
        </>
      }>
      {error && <Failure error={error} retry={() => void refetch()} />}
      <div className="grid grid-2">
        <Card title="About"><About item={item} /></Card>
        {rotation ? <RotationPanel rotation={rotation} verified={item.spec.verify != null} /> : (
          <Card title="Rotation" pad={false}>
            <Empty icon="rotate" title="Never rotated" command={`credentialflow credential rotate ${name}`}>
              A new version is promoted while the old one stays valid until no request uses it. No request fails.
            </Empty>
          </Card>
        )}
      </div>
      <Card title="Versions" pad={false}>
        {versions ? <DataTable label="Versions" columns={columns} rows={versions.items} rowId={({ version }) => String(version)} /> : <Rows count={3} />}
      </Card>
      <RotateDialog name={name} engine={item.spec.engine} opened={rotating} onClose={rotate.close} />
      <RevokeDialog name={name} revoking={revoking} onClose={() => setRevoking(undefined)} />
    </Page>
  )
}

function About({ item: { spec, created, updated, last_used: used, rotation_due: due } }: { item: CredentialItem }) {
  const { generate, rotate, verify, tags } = spec
  return (
    <Facts rows={[
      ['Engine', words(spec.engine)],
      ['Value from', spec.value && <span className="mono">{spec.value}</span>],
      ['Generated', generate && `${generate.length ?? 32} characters, ${words(generate.alphabet ?? 'alphanumeric')}`],
      ['Owner', spec.owner],
      ['Tags', tags?.length ? <Group gap={6}>{tags.map((tag) => <Tag key={tag}>{tag}</Tag>)}</Group> : undefined],
      ['Rotated', rotate?.every ? `every ${rotate.every}` : 'by hand'],
      ['Next rotation', due && <RotationDue key="due" due={due} engine={spec.engine} />],
      ['Overlap', words(rotate?.overlap ?? 'until-drained').replace('-', ' ')],
      ['Verified by', verify ? <span className="mono">GET {verify.path} at {verify.upstream}</span> : 'nothing: a new version is used untried'],
      ['Expires', spec.expires ? dateTime(spec.expires) : 'never'],
      ['Last used', <><Moment time={used} /> <Link to="/calls" search={{ credential: spec.name }} style={{ color: 'var(--cf-accent)' }}>see its requests</Link></>],
      ['Created', <Moment key="created" time={created} />],
      ['Changed', <Moment key="updated" time={updated} />],
    ]} />
  )
}

/** When the next rotation is asked for, and who has to do something then. */
function RotationDue({ due, engine }: { due: string; engine: Engine }) {
  const late = new Date(due).getTime() <= useNow()
  const who = engine !== 'static' ? 'happens by itself' : late ? 'waits for the new value: rotate it now' : 'waits for the new value then'
  return <><Moment time={due} /> <span className={late && engine === 'static' ? undefined : 'quiet'} style={late && engine === 'static' ? { color: 'var(--cf-warn)' } : undefined}>{who}</span></>
}

interface RotateDialogProps {
  name: string
  engine: Engine
  opened: boolean
  onClose: () => void
}

function RotateDialog({ name, engine, opened, onClose }: RotateDialogProps) {
  const rotate = useRotateCredential(name)
  const [secret, setSecret] = useState('')
  function close() {
    rotate.reset()
    setSecret('')
    onClose()
  }
  function submit(event: FormEvent) {
    event.preventDefault()
    rotate.mutate(secret ? { secret } : {}, { onSuccess: close })
  }
  return (
    <Modal opened={opened} onClose={close} title={<Text fw={620}>Rotate {name}</Text>} closeButtonProps={{ 'aria-label': 'Close' }}>
      <form onSubmit={submit}>
        <Stack gap="md">
          <Text size="sm">
            The new version is verified and promoted on every worker. The old one stays valid until no request uses it. A version the upstream refuses is taken back by itself.
          </Text>
          {engine === 'static' && (
            <PasswordInput label="New value" description="Leave empty to read it again from where the credential's value comes from" value={secret} data-autofocus autoComplete="off"
              visibilityToggleButtonProps={{ 'aria-label': 'Show or hide the value' }} onChange={({ currentTarget: { value } }) => setSecret(value)} />
          )}
          <DialogEnd error={rotate.error} onCancel={close}>
            <Button type="submit" loading={rotate.isPending}>Start the rotation</Button>
          </DialogEnd>
        </Stack>
      </form>
    </Modal>
  )
}

/** Which version is to be revoked; all of them when none is named. */
interface Revoking {
  version?: number
}

function RevokeDialog({ name, revoking, onClose }: { name: string; revoking: Revoking | undefined; onClose: () => void }) {
  const revoke = useRevokeCredential(name)
  const what = revoking?.version ? `version ${revoking.version} of ${name}` : name
  return (
    <ConfirmDialog deed="revocation" opened={revoking !== undefined} title={`Revoke ${what}`} word={name} action="Revoke for good" pending={revoke.isPending} error={revoke.error}
      onConfirm={() => revoke.mutate(revoking ?? {}, { onSuccess: onClose })} onClose={() => { revoke.reset(); onClose() }}>
      {revoking?.version
        ? 'No worker injects this version from the moment you confirm. This cannot be undone.'
        : 'No worker injects any of its versions from the moment you confirm: requests that need it are refused until a new version is made by rotating. This cannot be undone.'}
    </ConfirmDialog>
  )
}

const column = createColumnHelper<VersionView>()
const versionColumns = (onRevoke: (version: number) => void) => [
  column.accessor('version', { header: 'Version', cell: ({ getValue }) => <b style={{ fontWeight: 550 }}>v{getValue()}</b> }),
  column.accessor('state', { header: 'State', cell: ({ getValue }) => <Pill tone={versionTone(getValue())}>{title(getValue())}</Pill> }),
  column.accessor('last_used', { header: 'Last used', cell: ({ getValue }) => <Moment time={getValue()} /> }),
  column.accessor('uses', { header: 'Uses', meta: { end: true, from: 'md' }, cell: ({ getValue }) => compact(getValue()) }),
  column.accessor('in_flight', { header: 'In flight', meta: { end: true }, cell: ({ getValue }) => count(getValue()) }),
  column.accessor('created', { header: 'Made', meta: { from: 'md' }, cell: ({ getValue }) => <Moment time={getValue()} /> }),
  column.accessor('promoted', { header: 'Promoted', meta: { from: 'lg' }, cell: ({ getValue }) => <Moment time={getValue()} never="–" /> }),
  column.accessor('retired', { header: 'Retired', meta: { from: 'lg' }, cell: ({ getValue }) => <Moment time={getValue()} never="–" /> }),
  column.display({
    id: 'sealed',
    header: 'Sealed with',
    meta: { from: 'xl' },
    cell: ({ row: { original } }) => <span className="quiet">{original.algorithm}, key {original.keyring_id}</span>,
  }),
  column.display({
    id: 'actions',
    header: () => <span className="quiet">Action</span>,
    meta: { end: true },
    cell: ({ row: { original: { state, version } } }) => state === 'current' || state === 'previous' || state === 'pending' ? (
      <Button size="compact-xs" variant="subtle" color="gray" c="var(--cf-bad)" onClick={() => onRevoke(version)} aria-label={`Revoke version ${version}`}>Revoke</Button>
    ) : null,
  }),
]
