// The form for a new credential.
import { Button, Modal, PasswordInput, SegmentedControl, Select, SimpleGrid, Stack, Text, TextInput } from '@mantine/core'
import { useForm } from '@mantine/form'
import { useNavigate } from '@tanstack/react-router'
import { Problem } from '@/api/problem'
import { useCreateCredential } from '@/api/queries'
import type { Engine, NewCredential } from '@/api/types'
import { isBlanked, isName, isPeriod, NAME_HINT, PERIOD_HINT } from '@/lib/input'
import { DialogEnd, StoredNote, useUnenforced } from './Dialogs'

const EMPTY = { name: '', description: '', engine: 'static' as Engine, secret: '', alphabet: 'alphanumeric', length: '32', every: '' }
const ALPHABETS = [
  { value: 'alphanumeric', label: 'Letters and digits' },
  { value: 'hex', label: 'Hexadecimal' },
  { value: 'digits', label: 'Digits' },
  { value: 'base64url', label: 'Base64 for URLs' },
  { value: 'printable', label: 'All printable characters' },
]
type Alphabet = NonNullable<NonNullable<NewCredential['generate']>['alphabet']>

export function NewCredentialDialog({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const navigate = useNavigate()
  const create = useCreateCredential()
  const stored = useUnenforced(create, 'new_credential')
  const form = useForm({
    initialValues: EMPTY,
    validate: {
      name: (name) => (isName(name) ? null : NAME_HINT),
      secret: (secret, { engine }) => (engine === 'generated' || secret ? null : 'Paste the value the upstream gave you'),
      length: (length, { engine }) => (engine === 'static' || (Number(length) >= 8 && Number(length) <= 1024) ? null : 'A whole number from 8 to 1024'),
      every: (every) => (!every || isPeriod(every) ? null : PERIOD_HINT),
    },
  })
  const { engine } = form.values

  function close() {
    form.reset()
    create.reset()
    onClose()
  }

  function submit(values: typeof EMPTY) {
    create.mutate(credentialFrom(values), {
      onSuccess: ({ spec: { name } }) => {
        close()
        void navigate({ to: '/credentials/$name', params: { name } })
      },
      onError: (error) => {
        for (const name of ['name', 'secret', 'length', 'every'] as const) {
          const text = Problem.of(error).field(name)
          if (text) form.setFieldError(name, text)
        }
      },
    })
  }

  return (
    <Modal opened={opened} onClose={close} title={<Text fw={620}>Add a credential</Text>} size="lg" closeButtonProps={{ 'aria-label': 'Close' }}>
      {stored ? <StoredNote note={stored} onClose={close} /> : <form onSubmit={form.onSubmit(submit)} noValidate>
        <Stack gap="md">
          <SimpleGrid cols={{ base: 1, xs: 2 }}>
            <TextInput label="Name" placeholder="orders-token" data-autofocus autoComplete="off" {...form.getInputProps('name')} />
            <TextInput label="Description" placeholder="What it opens" {...form.getInputProps('description')} />
          </SimpleGrid>
          <div>
            <Text size="sm" fw={500} mb={6} id="engine-label">Where its value comes from</Text>
            <SegmentedControl aria-labelledby="engine-label" fullWidth data={[{ value: 'static', label: 'I have it' }, { value: 'generated', label: 'Generate it' }]}
              {...form.getInputProps('engine')} />
          </div>
          {engine === 'static' ? (
            <PasswordInput label="Value" description={isBlanked(form.values.secret) ? 'Sealed when it arrives and never shown again' : 'Under 6 bytes it is too short to be blanked where an upstream repeats it in an answer'} autoComplete="off"
              visibilityToggleButtonProps={{ 'aria-label': 'Show or hide the value' }} {...form.getInputProps('secret')} />
          ) : (
            <SimpleGrid cols={{ base: 1, xs: 3 }}>
              <Select label="Characters" data={ALPHABETS} allowDeselect={false} {...form.getInputProps('alphabet')} />
              <TextInput label="Length" inputMode="numeric" {...form.getInputProps('length')} />
              <TextInput label="Rotate every" placeholder="By hand" {...form.getInputProps('every')} />
            </SimpleGrid>
          )}
          <DialogEnd error={create.error} onCancel={close}>
            <Button type="submit" loading={create.isPending}>Add the credential</Button>
          </DialogEnd>
        </Stack>
      </form>}
    </Modal>
  )
}

function credentialFrom({ name, description, engine, secret, alphabet, length, every }: typeof EMPTY): NewCredential {
  const shared = { name, engine, ...(description && { description }) }
  if (engine === 'static') return { ...shared, secret }
  return {
    ...shared,
    generate: { alphabet: alphabet as Alphabet, length: Number(length) },
    ...(every && { rotate: { every, overlap: 'until-drained', limit: null, approval: false, jitter: null, window: null } }),
  }
}
