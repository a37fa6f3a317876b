// Runs the tests of a version: asks for the key that the calls are made with, and shows how they went.
import { Button, Group, Modal, PasswordInput, Stack, Text } from '@mantine/core'
import { useState, type FormEvent } from 'react'
import { useTestPrompt } from '@/api/prompts'
import { DialogEnd } from '@/components/Dialogs'
import { RunDetails } from './Runs'

export function TestDialog({ name, version, onClose }: { name: string; version: number | undefined; onClose: () => void }) {
  const test = useTestPrompt(name)
  const [key, setKey] = useState('')
  function close() {
    setKey('')
    test.reset()
    onClose()
  }
  function submit(event: FormEvent) {
    event.preventDefault()
    if (version !== undefined && key.trim()) test.mutate({ version, key: key.trim() }, { onSettled: () => setKey('') })
  }
  return (
    <Modal opened={version !== undefined} onClose={close} title={<Text fw={620}>Test version {version} of {name}</Text>} size="lg"
      closeOnClickOutside={!test.isPending} closeButtonProps={{ 'aria-label': 'Close' }}>
      {test.data ? (
        <Stack gap="md">
          <RunDetails run={test.data} />
          <Group justify="flex-end"><Button onClick={close} data-autofocus>Done</Button></Group>
        </Stack>
      ) : (
        <form onSubmit={submit}>
          <Stack gap="md">
            <Text size="sm">Each test is a real call through this node's gateway: the budget of the key's application pays, and the call log shows it. It takes 100 seconds at most.</Text>
            <PasswordInput label="Key of an application that may use the model" description="Used for these calls only, and not kept" placeholder="cfk_live_…" value={key} autoComplete="off" spellCheck={false} data-autofocus
              inputWrapperOrder={['label', 'input', 'description', 'error']} disabled={test.isPending} visibilityToggleButtonProps={{ 'aria-label': 'Show the key' }}
              onChange={({ currentTarget: { value } }) => setKey(value)} />
            <DialogEnd error={test.error} onCancel={close}>
              <Button type="submit" loading={test.isPending} disabled={!key.trim()}>Run the tests</Button>
            </DialogEnd>
          </Stack>
        </form>
      )}
    </Modal>
  )
}
