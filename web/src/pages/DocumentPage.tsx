// One declared resource as a document: edited, checked by the server, saved only over what was seen.
import { Button, Group, Stack, Text } from '@mantine/core'
import { useDisclosure } from '@mantine/hooks'
import { useQuery } from '@tanstack/react-query'
import { useBlocker, useNavigate, useParams } from '@tanstack/react-router'
import { useState, type ReactNode } from 'react'
import { documents, readDocument, useSaveDocument, type StoredDocument } from '@/api/documents'
import { Problem } from '@/api/problem'
import type { DeclaredKind } from '@/api/types'
import { DeleteDialog } from '@/components/DeleteDialog'
import { DocumentEditor } from '@/components/DocumentEditor'
import { Banner, Failure, Rows } from '@/components/Feedback'
import { Card, Page, type Back } from '@/components/Page'
import { declaredName } from '@/lib/document'
import { isDeclaredKind, one, plainKind } from '@/lib/kinds'

const UNKNOWN = <Page title="There is no such page" lead="The address may be mistyped or out of date. Choose a page in the navigation." />

/** What is lost when one of these is deleted, and where its own page is. */
function words(kind: DeclaredKind): { back: Back; loss: string } {
  const plain = plainKind(kind)
  if (plain) return { back: { to: '/config/$kind', params: { kind }, label: plain.label }, loss: `This ${plain.one} is gone from every worker from the moment you confirm.` }
  return kind === 'keys'
    ? { back: { to: '/keys', label: 'Keys' }, loss: 'Every worker refuses this key from the moment you confirm, and its secrets are removed.' }
    : { back: { to: '/credentials', label: 'Credentials' }, loss: 'Every version is revoked and its sealed value destroyed.' }
}

export function DocumentPage() {
  const { kind, name } = useParams({ from: '/inside/config/$kind/$name' })
  return isDeclaredKind(kind) ? <Stored kind={kind} name={name} key={`${kind}/${name}`} /> : UNKNOWN
}

function Stored({ kind, name }: { kind: DeclaredKind; name: string }) {
  const { data, error, refetch } = useQuery(documents.one(kind, name))
  const { back } = words(kind)
  if (data) return <Editing kind={kind} name={name} stored={data} />
  return <Page title={name} back={back}>{error ? <Failure error={error} retry={() => void refetch()} /> : <Card><Rows /></Card>}</Page>
}

/** Another change that came before ours; none when the resource was deleted. */
interface Conflict {
  theirs: StoredDocument | undefined
}

function Editing({ kind, name, stored }: { kind: DeclaredKind; name: string; stored: StoredDocument }) {
  const navigate = useNavigate()
  const [base, setBase] = useState(stored)
  const [text, setText] = useState(stored.text)
  const [conflict, setConflict] = useState<Conflict>()
  const [saved, setSaved] = useState(false)
  const [deleting, { open, close }] = useDisclosure()
  const save = useSaveDocument(kind)
  const dirty = text !== base.text
  const { back, loss } = words(kind)

  function submit(over: StoredDocument | undefined) {
    setSaved(false)
    setConflict(undefined)
    save.mutate({ name, text, tag: over?.tag }, {
      onSuccess: ({ tag }) => {
        setBase({ text, tag })
        setSaved(true)
      },
      onError: async (error) => {
        if (Problem.of(error).code !== 'revision_mismatch') return
        const theirs = await readDocument(kind, name).catch(() => undefined)
        setConflict({ theirs })
      },
    })
  }
  function takeTheirs(theirs: StoredDocument) {
    save.reset()
    setConflict(undefined)
    setBase(theirs)
    setText(theirs.text)
  }

  return (
    <Page title={name} back={back} lead={`This ${one(kind)} as it is declared. A change is enforced by every worker before it is confirmed.`}
      actions={<Button variant="default" c="var(--cf-bad)" onClick={open}>Delete</Button>}>
      {conflict && (
        <Banner tone="warn" title={conflict.theirs ? 'Somebody else changed it while you were editing' : 'Somebody else deleted it while you were editing'}>
          <Stack gap="sm" mt={4}>
            {conflict.theirs ? (
              <>
                Nothing of yours was saved. This is stored now:
                <pre className="stored-text" tabIndex={0} aria-label="As stored now">{conflict.theirs.text}</pre>
                <Group gap="sm">
                  <Button size="xs" variant="default" onClick={() => conflict.theirs && takeTheirs(conflict.theirs)}>Take theirs, drop mine</Button>
                  <Button size="xs" onClick={() => submit(conflict.theirs)}>Save mine over it</Button>
                </Group>
              </>
            ) : plainKind(kind) ? (
              <Group gap="sm">Nothing of yours was saved. <Button size="xs" onClick={() => submit(undefined)}>Declare it again</Button></Group>
            ) : 'Nothing of yours was saved.'}
          </Stack>
        </Banner>
      )}
      <Form label={`Declaration of ${name}`} text={text} error={conflict ? null : save.error} onChange={(next) => { setText(next); setSaved(false) }}
        onSave={() => submit(base)} pending={save.isPending} dirty={dirty} action="Save"
        note={saved ? 'Saved; every worker enforces it.' : dirty ? 'Not saved yet.' : undefined}
        aside={dirty && <Button variant="default" onClick={() => { setText(base.text); save.reset() }}>Discard the changes</Button>} />
      <DeleteDialog kind={kind} name={name} tag={base.tag} opened={deleting} onClose={close} onDeleted={() => {
        close()
        setText(base.text)
        void navigate({ ...back, ignoreBlocker: true })
      }}>{loss}</DeleteDialog>
    </Page>
  )
}

export function NewDocumentPage() {
  const { kind } = useParams({ from: '/inside/declare/$kind' })
  const plain = plainKind(kind)
  const navigate = useNavigate()
  const [text, setText] = useState(plain?.template ?? '')
  const save = useSaveDocument(plain?.kind ?? 'routes')
  if (!plain) return UNKNOWN
  const { one: noun } = plain
  return (
    <Page title={`New ${noun}`} back={words(plain.kind).back} lead={plain.next}>
      <Form label={`Declaration of the new ${noun}`} text={text} error={save.error} onChange={setText} pending={save.isPending} dirty={text !== plain.template} action="Declare it"
        note={declaredName(text) ? undefined : 'It needs a name.'}
        onSave={() => save.mutate({ text }, { onSuccess: ({ name }) => void navigate({ to: '/config/$kind/$name', params: { kind, name }, ignoreBlocker: true }) })} />
    </Page>
  )
}

interface FormProps {
  label: string
  text: string
  error: unknown
  pending: boolean
  dirty: boolean
  action: string
  note?: string
  aside?: ReactNode
  onChange: (text: string) => void
  onSave: () => void
}

function Form({ label, text, error, pending, dirty, action, note, aside, onChange, onSave }: FormProps) {
  useBlocker({
    shouldBlockFn: () => dirty && !pending && !window.confirm('Leave without saving your changes?'),
    enableBeforeUnload: () => dirty,
  })
  const problem = error ? Problem.of(error) : undefined
  const problems = problem?.problems ?? []
  return (
    <Card>
      <Stack gap="md">
        {problem && (problems.length > 0 ? (
          <Banner tone="bad" title="Nothing was saved">{problems.length === 1 ? 'There is a problem' : `There are ${problems.length} problems`}, told below the text.</Banner>
        ) : <Failure error={problem} />)}
        <DocumentEditor label={label} text={text} problems={problems} onChange={onChange} onSave={onSave} />
        <Group justify="space-between" gap="sm">
          <Text size="sm" c="dimmed" role="status">{note}</Text>
          <Group gap="sm">
            {aside}
            <Button onClick={onSave} loading={pending}>{action}</Button>
          </Group>
        </Group>
      </Stack>
    </Card>
  )
}
