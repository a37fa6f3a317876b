// One key: how it stands, its secrets, its limits; rotated with overlap, revoked for good.
import { Button, Group, Modal, SegmentedControl, Stack, Text } from '@mantine/core'
import { useDisclosure } from '@mantine/hooks'
import { useQuery } from '@tanstack/react-query'
import { Link, useParams } from '@tanstack/react-router'
import { createColumnHelper } from '@tanstack/react-table'
import { useState } from 'react'
import { queries, useRevokeKey, useRotateKey } from '@/api/queries'
import type { IssuedKey, KeyItem } from '@/api/types'
import { CopyButton } from '@/components/Copy'
import { DataTable } from '@/components/DataTable'
import { ConfirmDialog, DialogEnd, SecretDialog, StoredNote, useUnenforced } from '@/components/Dialogs'
import { Family } from '@/components/Family'
import { Failure, Rows } from '@/components/Feedback'
import { Icon } from '@/components/icons'
import { LinkButton } from '@/components/LinkButton'
import { Moment } from '@/components/Moment'
import { Card, Facts, Page } from '@/components/Page'
import { Pill, Tag } from '@/components/Pill'
import { endsWith } from '@/lib/family'
import { count, dateTime, title } from '@/lib/format'
import { limitText } from '@/lib/limit'
import { keyState, liveSecrets, versionTone } from '@/lib/state'

const BACK = { to: '/keys', label: 'Keys' } as const

export function KeyPage() {
  const { name } = useParams({ from: '/inside/keys/$name' })
  const { data: key, error, refetch } = useQuery(queries.key(name))
  const [rotating, rotate] = useDisclosure()
  const [revoking, revoke] = useDisclosure()
  const [issued, setIssued] = useState<IssuedKey>()
  if (!key) {
    return <Page title={name} back={BACK}>{error ? <Failure error={error} retry={() => void refetch()} /> : <Card><Rows /></Card>}</Page>
  }
  const { tone, label } = keyState(key, Date.now())
  return (
    <Page title={name} back={BACK} lead={<Group gap="md"><Pill tone={tone}>{label}</Pill>{key.spec.description}</Group>}
      actions={<>
          <LinkButton variant="default" to="/config/$kind/$name" params={{ kind: 'keys', name }}>Edit</LinkButton>
          {!key.revoked && <>
          <Button variant="default" leftSection={<Icon name="rotate" size={16} />} onClick={rotate.open}>Rotate</Button>
          <Button variant="default" c="var(--cf-bad)" onClick={revoke.open}>Revoke</Button>
          </>}
        </>}>
      {error && <Failure error={error} retry={() => void refetch()} />}
      <div className="grid grid-2">
        <Card title="Use"><UseFacts item={key} /></Card>
        <Card title="Rules"><RuleFacts item={key} /></Card>
      </div>
      <Card title="Secrets" pad={false} aside={liveSecrets(key).length > 1 && <Tag tone="info">both are accepted until the overlap ends</Tag>}>
        <DataTable label="Secrets" columns={columns} rows={key.secrets} rowId={({ version }) => String(version)} />
      </Card>
      <Family item={key} />
      <RotateDialog name={name} opened={rotating} onClose={rotate.close} onIssued={setIssued} />
      <RevokeDialog name={name} below={endsWith(key.delegation)} opened={revoking} onClose={revoke.close} />
      <SecretDialog issued={issued} note="Both secrets are accepted until the overlap ends. Replace the old one where it is used."
        onClose={() => setIssued(undefined)} />
    </Page>
  )
}

function UseFacts({ item: { id, spec, delegation, last_use: use, created, revoked } }: { item: KeyItem }) {
  return (
    <Facts rows={[
      ['Key id', <Group key="id" gap={4} my={-4}><span className="mono">{id}</span><CopyButton text={id} label="Copy the key id" /></Group>],
      ['Application', spec.application],
      ['Last used', <><Moment time={use?.time} />{use?.source && <> from <span className="mono">{use.source}</span></>}</>],
      ['Uses', <>{count(use?.count ?? 0)} <Link to="/calls" search={{ key: id }} style={{ color: 'var(--cf-accent)' }}>see its requests</Link>{(delegation?.keys_below ?? 0) > 0 && <>, <Link to="/calls" search={{ key: id, below: true }} style={{ color: 'var(--cf-accent)' }}>and those of keys below it</Link></>}</>],
      ['Created', <Moment key="created" time={created} />],
      ['Revoked', revoked && <Moment key="revoked" time={revoked} />],
    ]} />
  )
}

function RuleFacts({ item: { spec } }: { item: KeyItem }) {
  const { allow, networks, limit, metadata } = spec
  return (
    <Facts rows={[
      ['Environment', spec.environment],
      ['Expires', spec.expires ? dateTime(spec.expires) : 'never'],
      ['Not before', spec.not_before && dateTime(spec.not_before)],
      ['Routes', allow ? list(allow.routes) : 'all its application may use'],
      ['Models', allow ? list(allow.models) : 'all its application may use'],
      ['Prompts', allow ? list(allow.prompts) : 'all its application may name'],
      ['Networks', networks?.length ? <span className="mono">{networks.join(', ')}</span> : 'everywhere'],
      ['Limit', limit ? limitText(limit) : 'none of its own'],
      ['Metadata', metadata && Object.entries(metadata).map(([name, value]) => `${name}: ${value}`).join(', ')],
    ]} />
  )
}

function list(names: string[] | undefined): string {
  return names?.length ? names.join(', ') : 'none'
}

interface DialogProps {
  name: string
  opened: boolean
  onClose: () => void
}

function RotateDialog({ name, opened, onClose, onIssued }: DialogProps & { onIssued: (issued: IssuedKey) => void }) {
  const rotate = useRotateKey(name)
  const [overlap, setOverlap] = useState('24h')
  const stored = useUnenforced(rotate, 'rotated_key')
  function close() {
    rotate.reset()
    onClose()
  }
  function start() {
    rotate.mutate(overlap, {
      onSuccess: (issued) => {
        close()
        onIssued(issued)
      },
    })
  }
  return (
    <Modal opened={opened} onClose={close} title={<Text fw={620}>Rotate {name}</Text>} closeButtonProps={{ 'aria-label': 'Close' }}>
      {stored ? <StoredNote note={stored} pending={rotate.isPending} onAgain={start} onClose={close} /> : <Stack gap="md">
        <Text size="sm">A second secret is made under the same key id. The old one stays valid beside it for the time you choose, so nothing fails while you replace it.</Text>
        <div>
          <Text size="sm" fw={500} mb={6} id="overlap-label">The old secret stays valid for</Text>
          <SegmentedControl aria-labelledby="overlap-label" fullWidth value={overlap} onChange={setOverlap}
            data={[{ value: '1h', label: '1 hour' }, { value: '24h', label: '1 day' }, { value: '7d', label: '7 days' }, { value: '30d', label: '30 days' }]} />
        </div>
        <DialogEnd error={rotate.error} onCancel={close}>
          <Button onClick={start} loading={rotate.isPending} data-autofocus>Make a new secret</Button>
        </DialogEnd>
      </Stack>}
    </Modal>
  )
}

function RevokeDialog({ name, below, opened, onClose }: DialogProps & { below: string }) {
  const revoke = useRevokeKey(name)
  return (
    <ConfirmDialog deed="revocation" opened={opened} title={`Revoke ${name}`} word={name} action="Revoke for good" pending={revoke.isPending} error={revoke.error}
      onConfirm={() => revoke.mutate(undefined, { onSuccess: onClose })} onClose={() => { revoke.reset(); onClose() }}>
      Every worker refuses this key from the moment you confirm, and running requests are cut. <b>{below}</b> This cannot be undone.
    </ConfirmDialog>
  )
}

const column = createColumnHelper<KeyItem['secrets'][number]>()
const columns = [
  column.accessor('version', { header: 'Secret', cell: ({ getValue }) => <b style={{ fontWeight: 550 }}>v{getValue()}</b> }),
  column.accessor('state', { header: 'State', cell: ({ getValue }) => <Pill tone={versionTone(getValue())}>{title(getValue())}</Pill> }),
  column.accessor('created', { header: 'Made', cell: ({ getValue }) => <Moment time={getValue()} /> }),
  column.accessor('retires', { header: 'Accepted until', cell: ({ getValue }) => <Moment time={getValue()} never="no end set" /> }),
]
