// Deleting a resource: first what still names it, as that keeps it; then its name, typed.
import { Button, Group, Modal, Stack, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import type { ReactNode } from 'react'
import { documents, useDeleteResource } from '@/api/documents'
import type { DeclaredKind } from '@/api/types'
import { one } from '@/lib/kinds'
import { unenforced } from '@/lib/unenforced'
import { ConfirmDialog } from './Dialogs'
import { Failure, Rows } from './Feedback'

interface DeleteDialogProps {
  kind: DeclaredKind
  name: string
  /** The revision that is seen, as its tag. */
  tag: string
  opened: boolean
  onClose: () => void
  onDeleted: () => void
  /** What is lost with it. */
  children: ReactNode
}

export function DeleteDialog({ kind, name, tag, opened, onClose, onDeleted, children }: DeleteDialogProps) {
  const { data, error, refetch } = useQuery({ ...documents.dependents(kind, name), enabled: opened })
  const remove = useDeleteResource(kind, name)
  const title = `Delete ${name}`
  // Once it is sent, what it began with stays on view until it is closed.
  if (data?.items.length === 0 || unenforced(remove.error, 'deletion')) {
    return (
      <ConfirmDialog deed="deletion" onStored={onDeleted} opened={opened} title={title} word={name} action="Delete for good" pending={remove.isPending} error={remove.error}
        onConfirm={() => remove.mutate(tag, { onSuccess: onDeleted })} onClose={() => { remove.reset(); onClose() }}>
        {children} Nothing else names it.
      </ConfirmDialog>
    )
  }
  return (
    <Modal opened={opened} onClose={onClose} title={<Text fw={620}>{title}</Text>} closeButtonProps={{ 'aria-label': 'Close' }}>
      <Stack gap="md">
        {!data && !error && <Rows count={2} />}
        {error && <Failure error={error} retry={() => void refetch()} />}
        {data && (
          <>
            <Text size="sm">This {one(kind)} is still in use. Change or delete what names it first:</Text>
            <ul className="plain-list" aria-label="What names it">
              {data.items.map((by) => (
                <li key={`${by.kind}/${by.name} ${by.path}`}>
                  <Link to="/config/$kind/$name" params={{ kind: by.kind, name: by.name }}>{one(by.kind)} {by.name}</Link>{' '}
                  <span className="quiet mono">{by.path}</span>
                </li>
              ))}
            </ul>
            {data.more && <Text size="sm" c="dimmed">There are more keys that name it.</Text>}
          </>
        )}
        <Group justify="flex-end"><Button variant="default" onClick={onClose}>Close</Button></Group>
      </Stack>
    </Modal>
  )
}
