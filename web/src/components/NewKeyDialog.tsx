// The form for a new key.
import { Button, Modal, NumberInput, Select, SimpleGrid, Stack, TagsInput, Text, TextInput } from '@mantine/core'
import { useForm } from '@mantine/form'
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { Problem } from '@/api/problem'
import { queries, useCreateKey } from '@/api/queries'
import type { IssuedKey, NewKey } from '@/api/types'
import { isName, isNetwork, isPeriod, NAME_HINT, PERIOD_HINT } from '@/lib/input'
import { DialogEnd, StoredNote, useUnenforced } from './Dialogs'
import { Banner } from './Feedback'

const EMPTY = { name: '', application: '', description: '', environment: 'live', expires: '', networks: [] as string[], requests: '' as number | '', tokens: '' as number | '', per: '1m', concurrent: '' as number | '' }

interface NewKeyDialogProps {
  opened: boolean
  onClose: () => void
  onIssued: (issued: IssuedKey) => void
}

export function NewKeyDialog({ opened, onClose, onIssued }: NewKeyDialogProps) {
  const { data: applications } = useQuery({ ...queries.applications(), enabled: opened })
  const create = useCreateKey()
  const stored = useUnenforced(create, 'new_key')
  const form = useForm({
    initialValues: EMPTY,
    validate: {
      name: (name) => (isName(name) ? null : NAME_HINT),
      application: (application) => (application ? null : 'Choose the application that will use it'),
      environment: (environment) => (/^[a-z0-9]{1,12}$/.test(environment) ? null : 'Use 1 to 12 of a-z and 0-9'),
      expires: (expires) => (!expires || new Date(expires).getTime() > Date.now() ? null : 'Choose a time to come'),
      networks: (networks) => (networks.every(isNetwork) ? null : 'Write networks as 10.0.0.0/8 or 2001:db8::/32'),
      per: (per, { requests, tokens }) => ((!requests && !tokens) || isPeriod(per) ? null : PERIOD_HINT),
    },
  })

  function close() {
    form.reset()
    create.reset()
    onClose()
  }

  function submit(values: typeof EMPTY) {
    create.mutate(keyFrom(values), {
      onSuccess: (issued) => {
        close()
        onIssued(issued)
      },
      onError: (error) => {
        for (const name of ['name', 'application', 'environment', 'expires', 'networks', 'limit'] as const) {
          const text = Problem.of(error).field(name)
          if (text) form.setFieldError(name === 'limit' ? 'requests' : name, text)
        }
      },
    })
  }

  return (
    <Modal opened={opened} onClose={close} title={<Text fw={620}>Create a key</Text>} size="lg" closeButtonProps={{ 'aria-label': 'Close' }}>
      {stored ? <StoredNote note={stored} pending={create.isPending} onAgain={() => submit(form.values)} onClose={close} /> : <form onSubmit={form.onSubmit(submit)} noValidate>
        <Stack gap="md">
          {applications?.items.length === 0 && (
            <Banner tone="info" title="A key belongs to an application, and there is none yet">
              <Text size="sm"><Link to="/declare/$kind" params={{ kind: 'applications' }} style={{ color: 'var(--cf-accent)' }}>Declare an application</Link>, then come back.</Text>
            </Banner>
          )}
          <SimpleGrid cols={{ base: 1, xs: 2 }}>
            <TextInput label="Name" placeholder="checkout-production" data-autofocus autoComplete="off" {...form.getInputProps('name')} />
            <Select label="Application" placeholder="Choose" searchable data={applications?.items.map(({ spec }) => spec.name) ?? []} {...form.getInputProps('application')} />
            <TextInput label="Description" placeholder="What it is for" {...form.getInputProps('description')} />
            <TextInput label="Environment" description="Written into the key" inputWrapperOrder={['label', 'input', 'description', 'error']} {...form.getInputProps('environment')} />
            <TextInput type="datetime-local" label="Expires" description="Never, when left empty" inputWrapperOrder={['label', 'input', 'description', 'error']} {...form.getInputProps('expires')} />
            <TagsInput label="Networks" placeholder="Everywhere" description="Press Enter after each, as in 10.0.0.0/8" splitChars={[',', ' ']} acceptValueOnBlur
              inputWrapperOrder={['label', 'input', 'description', 'error']} {...form.getInputProps('networks')} />
            <NumberInput label="At most this many requests" placeholder="No limit" min={1} allowDecimal={false} allowNegative={false} thousandSeparator="," {...form.getInputProps('requests')} />
            <NumberInput label="and this many tokens of models" placeholder="No limit" min={1} allowDecimal={false} allowNegative={false} thousandSeparator="," {...form.getInputProps('tokens')} />
            <TextInput label="in this time" placeholder="1m" {...form.getInputProps('per')} />
            <NumberInput label="At most this many requests at once" placeholder="No limit" min={1} allowDecimal={false} allowNegative={false} thousandSeparator="," {...form.getInputProps('concurrent')} />
          </SimpleGrid>
          <DialogEnd error={create.error} onCancel={close}>
            <Button type="submit" loading={create.isPending}>Create the key</Button>
          </DialogEnd>
        </Stack>
      </form>}
    </Modal>
  )
}

function keyFrom({ name, application, description, environment, expires, networks, requests, tokens, per, concurrent }: typeof EMPTY): NewKey {
  const limit = { ...(requests && { requests }), ...(tokens && { tokens }), ...((requests || tokens) && { per }), ...(concurrent && { concurrent }) }
  return {
    name,
    application,
    environment,
    ...(description && { description }),
    ...(expires && { expires: new Date(expires).toISOString() }),
    ...(networks.length > 0 && { networks }),
    ...(Object.keys(limit).length > 0 && { limit }),
  }
}
