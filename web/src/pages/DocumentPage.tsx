// One declared resource as a document: edited, checked by the server, saved only over what was seen.
import { Button, Group, Stack, Text } from '@mantine/core'
import { useDisclosure } from '@mantine/hooks'
import { useQuery } from '@tanstack/react-query'
import { useBlocker, useNavigate, useParams } from '@tanstack/react-router'
import { useState, type ReactNode } from 'react'
import { documents, useDeclareDocument, useSaveDocument } from '@/api/documents'
import { Problem } from '@/api/problem'
import type { DeclaredKind } from '@/api/types'
import { DeleteDialog } from '@/components/DeleteDialog'
import { DocumentEditor } from '@/components/DocumentEditor'
import { Banner, Failure, Rows } from '@/components/Feedback'
import { LinkButton } from '@/components/LinkButton'
import { Card, Page, type Back } from '@/components/Page'
import { declaredName } from '@/lib/document'
import { sentence } from '@/lib/format'
import { isDeclaredKind, one, plainKind } from '@/lib/kinds'
import { begun, failed, isDirty, note, settled, told, type Conflict, type StoredDocument } from '@/lib/saving'

const UNKNOWN = <Page title="There is no such page" lead="The address may be mistyped or out of date. Choose a page in the navigation." />

/** What is lost when one of these is deleted, and where its own page is. */
function words(kind: DeclaredKind): { back: Back; loss: string } {
  const plain = plainKind(kind)
  if (plain) return { back: plain.pages ? { to: plain.pages, label: plain.label } : { to: '/config/$kind', params: { kind }, label: plain.label }, loss: `This ${plain.one} is gone from every worker from the moment you confirm.` }
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

function Editing({ kind, name, stored }: { kind: DeclaredKind; name: string; stored: StoredDocument }) {
  const navigate = useNavigate()
  const [draft, setDraft] = useState(() => begun(stored))
  const [deleting, { open, close }] = useDisclosure()
  const save = useSaveDocument(kind, name)
  const { text, base, conflict, why } = draft
  const dirty = isDirty(draft)
  const { back, loss } = words(kind)
  const type = (next: string) => setDraft((now) => ({ ...now, text: next }))

  function submit(sent: string, over: StoredDocument | undefined) {
    setDraft(({ conflict: _, ...now }) => now)
    save.mutate({ text: sent, over, earlier: draft.earlier }, {
      onSuccess: (outcome) => setDraft((now) => settled(now, sent, outcome)),
      onError: (error) => setDraft((now) => failed(now, sent, Problem.of(error))),
    })
  }
  function take(theirs: StoredDocument) {
    save.reset()
    setDraft(begun(theirs))
  }

  return (
    <Page title={name} back={back} lead={`This ${one(kind)} as it is declared. A change is enforced by every worker before it is confirmed.`}
      actions={<Button variant="default" c="var(--cf-bad)" disabled={save.isPending} onClick={open}>Delete</Button>}>
      {why && <Unenforced why={why} action={<Button size="xs" variant="default" loading={save.isPending} onClick={() => submit(base.text, base)}>Check again</Button>} />}
      {conflict && <Differs conflict={conflict} onTake={take} onSave={(over) => submit(text, over)} canMake={plainKind(kind) !== undefined} />}
      <Form label={`Declaration of ${name}`} text={text} error={save.error} onChange={type}
        onSave={() => submit(text, base)} pending={save.isPending} dirty={dirty} action="Save" note={note(draft, save.isPending)}
        aside={dirty && !save.isPending && <Button variant="default" onClick={() => { type(base.text); save.reset() }}>Discard the changes</Button>} />
      <DeleteDialog kind={kind} name={name} tag={base.tag} opened={deleting} onClose={close} onDeleted={() => {
        close()
        type(base.text)
        void navigate({ ...back, ignoreBlocker: true })
      }}>{loss}</DeleteDialog>
    </Page>
  )
}

/** Stored, but some worker does not enforce it yet. Sending the same again changes nothing and waits for all of them. */
function Unenforced({ why, action }: { why: Problem; action: ReactNode }) {
  return (
    <Banner tone="warn" title="The change is stored but not yet enforced everywhere" action={action}>
      {sentence(why.message)} Until every worker enforces it, some requests may still be treated as before.
    </Banner>
  )
}

interface DiffersProps {
  conflict: Conflict
  /** Whether what is gone can be declared again from here. */
  canMake: boolean
  onTake: (theirs: StoredDocument) => void
  onSave: (over: StoredDocument | undefined) => void
}

function Differs({ conflict, canMake, onTake, onSave }: DiffersProps) {
  const { title, fate } = told(conflict)
  const { theirs } = conflict
  return (
    <Banner tone="warn" title={title}>
      <Stack gap="sm" mt={4}>
        {theirs ? (
          <>
            {fate} This is stored now:
            <pre className="stored-text" tabIndex={0} aria-label="As stored now">{theirs.text}</pre>
            <Group gap="sm">
              <Button size="xs" variant="default" onClick={() => onTake(theirs)}>Take {conflict.sure ? 'theirs' : 'what is stored'}, drop mine</Button>
              <Button size="xs" onClick={() => onSave(theirs)}>Save mine over it</Button>
            </Group>
          </>
        ) : canMake ? <Group gap="sm">{fate} <Button size="xs" onClick={() => onSave(undefined)}>Declare it again</Button></Group> : fate}
      </Stack>
    </Banner>
  )
}

export function NewDocumentPage() {
  const { kind } = useParams({ from: '/inside/declare/$kind' })
  const plain = plainKind(kind)
  const navigate = useNavigate()
  const [text, setText] = useState(plain?.template ?? '')
  const declare = useDeclareDocument(plain?.kind ?? 'routes')
  if (!plain) return UNKNOWN
  const { one: noun } = plain
  const { back } = words(plain.kind)
  const unenforced = declare.data?.why && declare.data
  return (
    <Page title={`New ${noun}`} back={back} lead={plain.next}>
      {unenforced?.why ? (
        <Unenforced why={unenforced.why} action={unenforced.name
          ? <LinkButton size="xs" variant="default" to="/config/$kind/$name" params={{ kind, name: unenforced.name }}>Open {unenforced.name}</LinkButton>
          : <LinkButton size="xs" variant="default" to="/config/$kind" params={{ kind }}>To the list</LinkButton>} />
      ) : (
        // Read-only while it is sent, as the page is left with the answer.
        <Form label={`Declaration of the new ${noun}`} text={text} readOnly={declare.isPending} error={declare.error} onChange={setText}
          pending={declare.isPending} dirty={text !== plain.template} action="Declare it" note={declaredName(text) ? undefined : 'It needs a name.'}
          onSave={() => declare.mutate(text, { onSuccess: ({ name, why }) => {
            if (name && !why) void navigate({ to: '/config/$kind/$name', params: { kind, name }, ignoreBlocker: true })
          } })} />
      )}
    </Page>
  )
}

interface FormProps {
  label: string
  text: string
  readOnly?: boolean
  error: unknown
  pending: boolean
  dirty: boolean
  action: string
  note?: string
  aside?: ReactNode
  onChange: (text: string) => void
  onSave: () => void
}

function Form({ label, text, readOnly, error, pending, dirty, action, note, aside, onChange, onSave }: FormProps) {
  useBlocker({
    shouldBlockFn: () => (dirty || pending) && !window.confirm(pending ? 'Your changes are still being saved. Leave before it is known whether they are?' : 'Leave without saving your changes?'),
    enableBeforeUnload: () => dirty || pending,
  })
  const problem = error ? Problem.of(error) : undefined
  const problems = problem?.problems ?? []
  return (
    <Card>
      <Stack gap="md">
        {problem && (problems.length > 0 ? (
          <Banner tone="bad" title="Nothing was saved">{problems.length === 1 ? 'There is a problem' : `There are ${problems.length} problems`}, told below the text.</Banner>
        ) : <Failure error={problem} />)}
        <DocumentEditor label={label} text={text} problems={problems} readOnly={readOnly} onChange={onChange} onSave={() => !pending && onSave()} />
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
