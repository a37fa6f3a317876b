// Dialogs that several pages share: a secret shown once, and a change that must be typed to be meant.
import { Button, Checkbox, Group, Modal, Stack, Text, TextInput } from '@mantine/core'
import { useRef, useState, type FormEvent, type ReactNode } from 'react'
import type { IssuedKey } from '@/api/types'
import { unenforced, type Deed, type Unenforced } from '@/lib/unenforced'
import { Command } from './Copy'
import { Banner, Failure } from './Feedback'

/** The secret of a key just made. It cannot be closed by accident. */
export function SecretDialog({ issued, note, onClose }: { issued: IssuedKey | undefined; note: string; onClose: () => void }) {
  const [kept, setKept] = useState(false)
  function close() {
    setKept(false)
    onClose()
  }
  return (
    <Modal opened={issued !== undefined} onClose={close} title={<Text fw={620}>Your key</Text>} size="lg" withCloseButton={false}
      closeOnClickOutside={false} closeOnEscape={false}>
      {issued && (
        <Stack gap="md">
          <Banner tone="warn" title="Shown this once">Copy it to where it is used. Credentialflow keeps only a keyed hash.</Banner>
          <Command text={issued.secret} label="Copy the key" />
          <Text size="sm" c="dimmed">{note}</Text>
          <Text size="sm" fw={550}>Try it</Text>
          <Command text={`curl http://127.0.0.1:8080/YOUR/ROUTE -H "Authorization: Bearer ${issued.secret}"`} />
          <Group justify="space-between" mt="xs">
            <Checkbox label="I have stored the key" checked={kept} onChange={({ currentTarget: { checked } }) => setKept(checked)} />
            <Button disabled={!kept} onClick={close}>Done</Button>
          </Group>
        </Stack>
      )}
    </Modal>
  )
}

/** The end of every form in a dialog: what went wrong, the way out, and the button that does it. */
export function DialogEnd({ error, onCancel, children }: { error: unknown; onCancel: () => void; children: ReactNode }) {
  return (
    <>
      {error !== null && error !== undefined && <Failure error={error} />}
      <Group justify="flex-end" gap="sm">
        <Button variant="default" onClick={onCancel}>Cancel</Button>
        {children}
      </Group>
    </>
  )
}

/** What to say of a dialog's change that is stored but not yet enforced; stays while it is asked for again. */
export function useUnenforced({ error, isPending }: { error: unknown; isPending: boolean }, deed: Deed): Unenforced | undefined {
  const kept = useRef<Unenforced>(undefined)
  if (!isPending) kept.current = unenforced(error, deed)
  return kept.current
}

/** In place of a dialog's form once its change is stored: what is not yet so, and how to go on. */
export function StoredNote({ note: { title, text, again }, pending = false, onAgain, onClose }: { note: Unenforced; pending?: boolean; onAgain?: () => void; onClose: () => void }) {
  return (
    <Stack gap="md">
      <Banner tone="warn" title={title}>{text}</Banner>
      <Group justify="flex-end" gap="sm">
        <Button variant="default" onClick={onClose}>Close</Button>
        {again && onAgain && <Button onClick={onAgain} loading={pending}>{again}</Button>}
      </Group>
    </Stack>
  )
}

interface ConfirmDialogProps {
  deed: Deed
  opened: boolean
  title: string
  /** What must be typed. */
  word: string
  action: string
  pending: boolean
  error: unknown
  onConfirm: () => void
  onClose: () => void
  /** Instead of `onClose` once the change is stored although not yet enforced everywhere. */
  onStored?: () => void
  children: ReactNode
}

/** For what cannot be undone: names the consequence and asks for the name to be typed. */
export function ConfirmDialog({ deed, opened, title, word, action, pending, error, onConfirm, onClose, onStored, children }: ConfirmDialogProps) {
  const [typed, setTyped] = useState('')
  const stored = useUnenforced({ error, isPending: pending }, deed)
  function close() {
    setTyped('')
    onClose()
    if (stored) onStored?.()
  }
  function submit(event: FormEvent) {
    event.preventDefault()
    if (typed === word) onConfirm()
  }
  return (
    <Modal opened={opened} onClose={close} title={<Text fw={620}>{title}</Text>} closeButtonProps={{ 'aria-label': 'Close' }}>
      {stored ? <StoredNote note={stored} onClose={close} /> : <form onSubmit={submit}>
        <Stack gap="md">
          <Text size="sm">{children}</Text>
          <TextInput label={<>Type <b>{word}</b> to confirm</>} value={typed} autoComplete="off" spellCheck={false} data-autofocus
            onChange={({ currentTarget: { value } }) => setTyped(value)} />
          <DialogEnd error={error} onCancel={close}>
            <Button type="submit" color="red.8" disabled={typed !== word} loading={pending}>{action}</Button>
          </DialogEnd>
        </Stack>
      </form>}
    </Modal>
  )
}
